//! Writes the agent's summary: soon after a change, at most every 10 s, and now and then as a sign of life.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sync_core::cluster::connection::Connection;
use sync_core::cluster::summary::{self, Stored};
use sync_core::contract::keys::AGENT_CONFIG_MAP;
use sync_core::contract::rules::Rules;
use sync_core::engine::{EngineState, Inquiries};
use sync_core::fault::Fault;
use sync_core::leadership::Leading;
use sync_core::ops::shutdown::Shutdown;
use sync_core::ops::version::version;
use sync_core::rng::Rng;
use sync_core::summary::{HEARTBEAT, Summary, age};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, warn};

/// Least time between two writes (DESIGN section 7).
const EVERY: Duration = Duration::from_secs(10);
/// A change is told so much later: most fan-outs are over by then, and need no second write.
const SETTLING: Duration = Duration::from_millis(500);
/// First and longest pause after a failure.
const BACKOFF_FIRST: Duration = Duration::from_secs(2);
const BACKOFF_MOST: Duration = Duration::from_secs(300);

/// Who writes the summary.
#[derive(Debug)]
pub struct Summaries {
    /// Who we are.
    rules: Arc<Rules>,
    /// Seed of the jitter.
    seed: u64,
    /// The way to the cluster.
    connection: Connection,
    /// Whether this process may write.
    leading: Leading,
    /// Where to ask how all stands.
    inquiries: Inquiries,
    flight: Option<JoinHandle<Result<(), Fault>>>,
}

/// How long a write that is under way may take to end when we are told to stop.
const ENDING: Duration = Duration::from_secs(1);

/// What stands there, as far as we know.
struct Written {
    json: String,
    /// When the next sign of life is due.
    beat: Instant,
}

impl Summaries {
    /// Nothing is written yet.
    pub const fn new(
        rules: Arc<Rules>,
        seed: u64,
        connection: Connection,
        leading: Leading,
        inquiries: Inquiries,
    ) -> Self {
        Self { rules, seed, connection, leading, inquiries, flight: None }
    }

    /// Runs until it is told to stop or the engine has ended.
    pub async fn run(mut self, mut state: watch::Receiver<EngineState>, shutdown: Shutdown) {
        tokio::select! {
            biased;
            () = shutdown.begun() => {}
            () = self.write_all(&mut state) => {}
        }
        if let Some(flight) = self.flight.take()
            && timeout(ENDING, flight).await.is_err()
        {
            self.leading.leave_open();
        }
    }

    async fn write_all(&mut self, state: &mut watch::Receiver<EngineState>) {
        if state.wait_for(|state| state.ready).await.is_err() {
            return;
        }
        let mut rng = Rng::new(self.seed);
        let (mut written, mut failures) = (None, 0_u8);
        loop {
            self.leading.allowed().await;
            // Another process may have led meanwhile.
            let term = self.leading.term();
            let known = match written.take().filter(|(known, _)| *known == term) {
                Some((_, known)) => known,
                None => self.begin(&mut rng).await,
            };
            let known = &mut written.insert((term, known)).1;
            // The look at what stands there may have taken longer than we led.
            if !self.leading.allows() || self.leading.term() != term {
                continue;
            }
            state.mark_unchanged();
            let Some(standings) = self.inquiries.standings().await else { return };
            let json = Summary::of(version(), &standings).and_then(|summary| summary.to_json().ok());
            let pause = match json.filter(|json| *json != known.json || known.beat <= Instant::now()) {
                None => Duration::ZERO,
                Some(json) => match self.write(known, json).await {
                    Ok(()) => {
                        failures = 0;
                        EVERY
                    }
                    Err(fault) => {
                        failures = failures.saturating_add(1);
                        if failures == 1 {
                            warn!(reason = fault.reason(), %fault, "cannot write the summary; trying again");
                        }
                        rng.backoff(BACKOFF_FIRST, failures, BACKOFF_MOST)
                    }
                },
            };
            let beat = known.beat;
            sleep(pause).await;
            if failures == 0 {
                tokio::select! {
                    biased;
                    changed = state.changed() => match changed {
                        Ok(()) => sleep(SETTLING).await,
                        Err(_) => return,
                    },
                    () = sleep_until(beat) => {}
                }
            }
        }
    }

    /// What the agent before this one has written: what is still true is not written again.
    async fn begin(&self, rng: &mut Rng) -> Written {
        let mut failures = 0_u8;
        loop {
            let fault = match summary::get(&self.connection.write, &self.rules).await {
                Ok(Stored::Summary { json, time }) => {
                    let left = age(&time, Timestamp::now()).map_or(Duration::ZERO, |age| HEARTBEAT.saturating_sub(age));
                    return Written { json, beat: Instant::now() + left };
                }
                Ok(Stored::Absent) => return Written { json: String::new(), beat: Instant::now() },
                Ok(Stored::Foreign) => None,
                Err(fault) => Some(fault),
            };
            failures = failures.saturating_add(1);
            match fault {
                _ if failures > 1 => {}
                None => warn!("ConfigMap {AGENT_CONFIG_MAP} is not an agent's; no summary is written: delete it"),
                Some(fault) => warn!(reason = fault.reason(), %fault, "cannot read the summary; trying again"),
            }
            sleep(rng.backoff(BACKOFF_FIRST, failures, BACKOFF_MOST)).await;
        }
    }

    async fn write(&mut self, written: &mut Written, json: String) -> Result<(), Fault> {
        let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let (connection, rules) = (self.connection.clone(), Arc::clone(&self.rules));
        let (body, deadline) = (json.clone(), self.leading.deadline());
        let request = async move { summary::apply(&connection.write, &rules, &body, &time, deadline).await };
        // A task of its own: it goes on to its end although nobody may wait for it any more.
        let result = self.flight.insert(tokio::spawn(request)).await;
        self.flight = None;
        let result = result.unwrap_or_else(|_| Err(Fault::NoAnswer("not sent to the end".to_owned())));
        if result.is_ok() {
            debug!("summary written");
            *written = Written { json, beat: Instant::now() + HEARTBEAT };
        }
        result
    }
}
