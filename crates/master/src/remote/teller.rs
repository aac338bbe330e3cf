//! Writes the status of one RemoteCluster, and an Event when its reason changes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use sync_core::announce::PAUSE;
use sync_core::cluster::events::{self, Event};
use sync_core::cluster::read;
use sync_core::fault::Fault;
use sync_core::leadership::Leading;
use sync_core::lease::Term;
use sync_core::ops;
use sync_core::rng::Rng;
use tokio::sync::watch as state;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::crd::{RemoteCluster, RemoteClusterStatus};
use super::fleet::Shared;
use super::serve::{BACKOFF_FIRST, BACKOFF_MOST};
use super::status::{self, Outcome, Report};

/// At least so long between two writes of a status: counts change with every request.
const STATUS_PAUSE: Duration = Duration::from_secs(1);

/// Statuses that are written at once: a start changes those of the whole fleet, and our own API server has other clients.
pub const TURNS: usize = 16;

/// Writes the status.
pub(super) struct Teller {
    shared: Arc<Shared>,
    name: String,
    uid: Option<String>,
    /// What stands in the object, as far as we know.
    last: Option<RemoteClusterStatus>,
    said: Said,
    rng: Rng,
}

/// What has been said in Events: one per change of the reason, and not often.
#[derive(Debug, Default)]
struct Said {
    reason: Option<String>,
    at: Option<Instant>,
}

impl Said {
    /// When this is to be said, if it is.
    fn due(&self, outcome: &Outcome, now: Instant) -> Option<Instant> {
        // That an attempt has begun is no news, and what comes of it will be.
        let is_news = *outcome != Outcome::Connecting && self.reason.as_deref() != Some(outcome.reason());
        is_news.then(|| self.at.map_or(now, |at| now.max(at + PAUSE)))
    }
}

impl Teller {
    /// For the RemoteCluster of this name and uid, in whose status `last` stands: that has been said.
    pub(super) fn new(
        shared: Arc<Shared>,
        name: String,
        uid: Option<String>,
        last: Option<RemoteClusterStatus>,
    ) -> Self {
        let rng = Rng::new(shared.seed_of(&name));
        let reason = reason_of(last.as_ref());
        Self { shared, name, uid, last, said: Said { reason, at: None }, rng }
    }

    /// Writes each report that says something new, until nobody reports any more. Returns the status that stands then.
    pub(super) async fn tell(mut self, reports: state::Receiver<Report>) -> Option<RemoteClusterStatus> {
        self.write_all(reports).await;
        self.last
    }

    async fn write_all(&mut self, mut reports: state::Receiver<Report>) {
        let (mut failures, mut leading, mut term) = (0_u8, self.shared.leading.clone(), None);
        loop {
            let mut until_the_end = reports.clone();
            tokio::select! {
                biased;
                () = leading.allowed() => {}
                () = ended(&mut until_the_end) => return,
            }
            if leading.term() != term {
                term = leading.term();
                self.read().await;
            }
            let mut report = reports.borrow_and_update().clone();
            let turns = Arc::clone(&self.shared.turns);
            let mut turn = None;
            if self.is_news(&report) {
                let mut until_the_end = reports.clone();
                turn = tokio::select! {
                    biased;
                    () = ended(&mut until_the_end) => return,
                    turn = turns.acquire() => turn.ok(),
                };
                // It may have been a while.
                if !leading.allows() || leading.term() != term {
                    continue;
                }
                report = reports.borrow_and_update().clone();
            }
            let written = self.write(&report).await;
            drop(turn);
            match written {
                Ok(()) => failures = 0,
                // It has been deleted: its end comes by the watch.
                Err(Fault::NotFound) => debug!("the RemoteCluster is gone"),
                Err(fault) => {
                    failures = failures.saturating_add(1);
                    warn!(reason = fault.reason(), %fault, todo = fault.what_to_do(), "cannot write the status");
                }
            }
            let event = self.said.due(&report.outcome, Instant::now());
            if failures == 0 && event.is_some_and(|at| at <= Instant::now()) {
                self.announce(&report).await;
                continue;
            }
            let pause =
                if failures == 0 { STATUS_PAUSE } else { self.rng.backoff(BACKOFF_FIRST, failures, BACKOFF_MOST) };
            let mut until_the_end = reports.clone();
            tokio::select! {
                biased;
                () = ended(&mut until_the_end) => return,
                () = sleep(pause) => {}
            }
            if failures > 0 {
                continue;
            }
            tokio::select! {
                biased;
                changed = reports.changed() => if changed.is_err() { return },
                () = sleep_until(event.unwrap_or_else(Instant::now)), if event.is_some() => {}
                () = begins(&mut leading, term) => {}
            }
        }
    }

    /// What it would say is in the status: it is not tried again.
    async fn announce(&mut self, report: &Report) {
        self.said = Said { reason: Some(report.outcome.reason().to_owned()), at: Some(Instant::now()) };
        let Some(uid) = &self.uid else { return };
        let rules = &self.shared.rules;
        let (reason, note, warning) = (report.outcome.reason(), &report.message(), report.outcome.is_warning());
        let (api_version, kind, name) = ("mw-sync.io/v1alpha1", "RemoteCluster", self.name.as_str());
        let (time, instance) = (jiff::Timestamp::now(), ops::instance(rules.role));
        let id = &events::id_at(time);
        let event = Event { id, api_version, kind, name, uid, action: "Connect", reason, note, warning };
        let written = events::write(&self.shared.connection.write, rules, event, time, &instance).await;
        if let Err(fault) = written {
            warn!(reason = fault.reason(), %fault, "cannot write an Event");
        }
    }

    /// Another process has led, and written what we do not know.
    async fn read(&mut self) {
        let client = &self.shared.connection.watch;
        if let Ok(cluster) = read::get_json::<RemoteCluster>(client, &self.shared.path_of(&self.name)).await {
            self.last = cluster.status;
            self.said.reason = reason_of(self.last.as_ref());
        }
    }

    fn is_news(&self, report: &Report) -> bool {
        status::next(self.last.as_ref(), report, jiff::Timestamp::now()).is_some()
    }

    async fn write(&mut self, report: &Report) -> Result<(), Fault> {
        let Some(status) = status::next(self.last.as_ref(), report, jiff::Timestamp::now()) else { return Ok(()) };
        let path = format!("{}/status", self.shared.path_of(&self.name));
        let patch = Bytes::from(json!({ "status": status }).to_string());
        let manager = self.shared.rules.role.field_manager();
        let client = &self.shared.connection.write;
        read::patch::<RemoteCluster>(client, &path, manager, patch).await?;
        let reason = report.outcome.reason();
        // Counts and versions change all the time.
        if reason_of(self.last.as_ref()).as_deref() != Some(reason) {
            info!(reason, "status");
        }
        self.last = Some(status);
        Ok(())
    }
}

fn reason_of(status: Option<&RemoteClusterStatus>) -> Option<String> {
    Some(status?.ready()?.reason.clone())
}

/// Returns when this process has begun to lead again: what stands in the status then is another's.
async fn begins(leading: &mut Leading, before: Option<Term>) {
    while leading.term().is_none_or(|term| Some(term) == before) {
        leading.changed().await;
    }
}

/// Returns when nobody reports any more.
async fn ended(reports: &mut state::Receiver<Report>) {
    while reports.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_reason_is_said_and_not_often() {
        let mut now = Instant::now();
        let mut said = Said { reason: Some("Connected".to_owned()), at: None };
        let down = Outcome::Fault(Fault::Connect("refused".to_owned()));
        // A restart, and an attempt.
        assert_eq!(said.due(&Outcome::Ready, now), None);
        assert_eq!(said.due(&Outcome::Connecting, now), None);
        assert_eq!(said.due(&down, now), Some(now));
        said = Said { reason: Some(down.reason().to_owned()), at: Some(now) };
        // Other words for the same reason.
        assert_eq!(said.due(&Outcome::Fault(Fault::Connect("no route".to_owned())), now), None);
        let second = Duration::from_secs(1);
        now += second;
        assert_eq!(said.due(&Outcome::Ready, now), Some(now + PAUSE - second));
        now += PAUSE;
        assert_eq!(said.due(&Outcome::Ready, now), Some(now));
        assert_eq!(Said::default().due(&Outcome::Ready, now), Some(now));
    }
}
