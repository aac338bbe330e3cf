//! Where each source is, in a remote cluster: the copy that we keep there, and what the agent there says of its own.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sync_core::cluster::connection::Connection;
use sync_core::cluster::summary::{self, Stored};
use sync_core::cluster::watch::watch;
use sync_core::core::{Asks, Standing, Standings};
use sync_core::engine::{EngineConfig, EngineState, Inquiries};
use sync_core::fault::Fault;
use sync_core::index::feed::Feed;
use sync_core::ops::preflight::{AGENT_MANIFEST, apply};
use sync_core::reason::Would;
use sync_core::summary::{SILENCE, Summary, Whereabouts};
use sync_core::watches::{Told, Troubles};
use tokio::sync::mpsc;
use tokio::sync::watch as state;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::condition::whole_seconds;
use super::status::Report;

/// Between two looks at how all stands, and after the first change that one is for.
const EVERY: Duration = Duration::from_secs(1);
/// Sources that a status names; one takes up to about 700 bytes.
const COPIES: usize = 500;
/// Its seed is not that of the other watches of the engine.
const SEED: u64 = 1 << 20;

/// What is known of the copies in one remote cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The agent there.
    pub agent: AgentStatus,
    /// By kind and name of the source.
    pub copies: Vec<CopyStatus>,
}

/// Whether the agent of a remote cluster says how it fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum AgentState {
    /// Its summary is not known yet.
    #[default]
    Unknown,
    /// It has written a summary, and goes on to.
    Reporting,
    /// There is no summary: no agent runs there, or one that is not allowed to write it.
    Absent,
    /// It has not written for longer than it should.
    Silent,
    /// What stands there is no summary of a version that this master reads.
    Unreadable,
}

impl AgentState {
    /// The word in status and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Reporting => "Reporting",
            Self::Absent => "Absent",
            Self::Silent => "Silent",
            Self::Unreadable => "Unreadable",
        }
    }
}

/// What the agent of a remote cluster says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Whether it says how it fares.
    pub state: AgentState,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
    /// Namespaces that copies may be in.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub namespaces: i64,
    /// Copies that are still to be written or deleted there.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub pending: i64,
    /// Copies that are not made there.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub refused: i64,
}

/// One source in one remote cluster.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CopyStatus {
    /// Kind and name: Secret/regcred.
    pub source: String,
    /// metadata.uid of the source.
    pub uid: String,
    /// metadata.resourceVersion of the source: what is said here is of this version.
    pub resource_version: String,
    /// The copy is in every namespace there that it belongs in, in this version.
    pub everywhere: bool,
    /// Why not, and where first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is not everywhere, whatever the version: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub since: Option<String>,
    /// When the agent there last reported, if it is silent or has not acted on this version: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_report_time: Option<String>,
}

/// Keeps the [`Receipt`] of one remote cluster.
pub(super) struct Receipts {
    namespace: String,
    seed: u64,
    connection: Connection,
    inquiries: Inquiries,
    engine: state::Receiver<EngineState>,
}

/// What is known of the summary.
enum Heard {
    Nothing,
    Absent,
    Unreadable,
    Summary(Summary, Option<Timestamp>),
}

impl Receipts {
    /// For the engine of this configuration.
    pub(super) fn new(
        config: &EngineConfig,
        connection: Connection,
        inquiries: Inquiries,
        engine: state::Receiver<EngineState>,
    ) -> Self {
        let namespace = config.scope.namespace().unwrap_or_default().to_owned();
        Self { namespace, seed: config.seed.wrapping_add(SEED), connection, inquiries, engine }
    }

    /// Reports until the engine has ended, and then waits for ever.
    pub(super) async fn follow(mut self, report: &state::Sender<Report>) {
        self.report(report).await;
        std::future::pending::<()>().await;
    }

    async fn report(&mut self, report: &state::Sender<Report>) {
        let (sender, mut events) = mpsc::channel(1);
        let Ok(query) = summary::query(&self.namespace) else { return };
        let wrap = |news| Told::of("the agent's summary", news, |feed| feed);
        let mut watches = JoinSet::new();
        watches.spawn(watch(self.connection.watch.clone(), query, self.seed, summary::decode, wrap, sender));
        let (mut heard, mut listed, mut troubles) = (Heard::Nothing, false, Troubles::default());
        let mut silent_at = Instant::now() + SILENCE;
        loop {
            let Some(standings) = self.inquiries.standings().await else { return };
            let silent = silent_at <= Instant::now();
            let receipt = standings.ready.then(|| receipt(&standings, &heard, silent));
            if let Some(receipt) = receipt {
                let news = Some(receipt);
                report.send_if_modified(|report| super::serve::set(&mut report.receipt, news));
            }
            sleep(EVERY).await;
            tokio::select! {
                biased;
                Some(told) = events.recv() => match told {
                    Told::Input(Feed::Init) => listed = false,
                    Told::Input(Feed::Listed(stored)) => {
                        (heard, listed) = (Heard::of(stored), true);
                        // It may have stood there for long, unlike what was written just now.
                        silent_at = Instant::now() + heard.speaks_for(Timestamp::now());
                    }
                    Told::Input(Feed::Applied(stored)) => {
                        heard = Heard::of(stored);
                        silent_at = Instant::now() + SILENCE;
                    }
                    Told::Input(Feed::InitDone(_)) if !listed => heard = Heard::Absent,
                    Told::Input(Feed::InitDone(_)) => {}
                    Told::Input(Feed::Gone(_)) => heard = Heard::Absent,
                    Told::Watch(watch, result) => troubles.note(watch, result),
                },
                changed = self.engine.changed() => if changed.is_err() { return },
                () = sleep_until(silent_at), if !silent => {}
            }
        }
    }
}

impl Heard {
    fn of(stored: Stored) -> Self {
        match stored {
            Stored::Absent | Stored::Foreign => Self::Absent,
            Stored::Summary { json, time } => match Summary::read(&json) {
                // A time that the definition of RemoteClusters has no form for would stop every status.
                Some(summary) => {
                    let time = time.parse().ok().filter(|time| *time >= Timestamp::UNIX_EPOCH);
                    Self::Summary(summary, time.map(whole_seconds))
                }
                None => Self::Unreadable,
            },
        }
    }

    /// For how long from now on nothing is missed, if nothing more is heard.
    fn speaks_for(&self, now: Timestamp) -> Duration {
        match self {
            Self::Summary(_, time) => {
                let age = time.map_or(SILENCE, |time| now.duration_since(time).try_into().unwrap_or_default());
                SILENCE.saturating_sub(age)
            }
            Self::Nothing | Self::Absent | Self::Unreadable => SILENCE,
        }
    }

    const fn state(&self, silent: bool) -> AgentState {
        match self {
            Self::Nothing => AgentState::Unknown,
            Self::Absent => AgentState::Absent,
            Self::Unreadable => AgentState::Unreadable,
            Self::Summary(..) if silent => AgentState::Silent,
            Self::Summary(..) => AgentState::Reporting,
        }
    }
}

fn receipt(standings: &Standings, heard: &Heard, silent: bool) -> Receipt {
    let mut agent = AgentStatus { state: heard.state(silent), ..AgentStatus::default() };
    if let Heard::Summary(summary, _) = heard {
        let sum = |count: fn(&sync_core::summary::SourceSummary) -> u32| {
            summary.sources.values().map(|source| i64::from(count(source))).sum()
        };
        agent.version = Some(summary.agent.clone());
        agent.namespaces = i64::try_from(summary.namespaces).unwrap_or(i64::MAX);
        (agent.pending, agent.refused) = (sum(|source| source.pending), sum(|source| source.refused));
    }
    let copies = standings.sources.iter().filter_map(|standing| copy(standing, heard, agent.state)).take(COPIES);
    Receipt { copies: copies.collect(), agent }
}

/// What is known of one source; nothing of one that this cluster is not selected by.
fn copy(standing: &Standing, heard: &Heard, state: AgentState) -> Option<CopyStatus> {
    let version = standing.version?;
    let tally = standing.tally;
    if tally.synced + tally.pending + tally.refused == 0 {
        return None;
    }
    let missing = not_here(standing).map(|reason| (reason, None)).or_else(|| not_everywhere(standing, heard, state));
    let (reason, last_report) = missing.unzip();
    Some(CopyStatus {
        source: standing.source.to_string(),
        uid: version.uid.to_string(),
        resource_version: version.rv.to_string(),
        everywhere: reason.is_none(),
        reason,
        // Whoever writes it down knows what stood there before.
        since: None,
        last_report_time: last_report.flatten().map(|time| time.to_string()),
    })
}

/// Why our own copy is not as this version wants it.
fn not_here(standing: &Standing) -> Option<String> {
    match (standing.asks, standing.places.first()) {
        (Asks::Frozen, _) => Some("Frozen: the source cannot be understood".to_owned()),
        // How a cluster fails to answer changes with every attempt, and the condition says it.
        (_, Some(place))
            if standing.tally.refused > 0
                || place.reason == Fault::Rejected(String::new()).reason()
                || place.todo == Would::TODO =>
        {
            Some(format!("{} in namespace {}", place.reason, place.namespace))
        }
        _ if standing.tally.pending > 0 => Some("the copy is still to be written".to_owned()),
        _ if standing.replica.is_none() || standing.tally.synced != 1 => Some("there is no copy".to_owned()),
        _ => None,
    }
}

/// Why the agent has not brought it to every namespace, and when it last reported if it may not run; `None` only if it says
/// that it has, of this very copy, and goes on to.
fn not_everywhere(standing: &Standing, heard: &Heard, state: AgentState) -> Option<(String, Option<Timestamp>)> {
    let (missing, last_report) = match (heard, standing.replica) {
        (Heard::Summary(summary, time), Some(replica)) => {
            let silent = state == AgentState::Silent;
            let lack = summary.lacks_by_now(&standing.source, replica, Whereabouts::There, silent)?;
            (lack.why, time.filter(|_| lack.unheard || silent))
        }
        _ => ("the agent there does not say where it is".to_owned(), None),
    };
    let reason = match state {
        AgentState::Reporting => missing,
        AgentState::Unknown => "the agent there has not been heard yet".to_owned(),
        AgentState::Absent => format!("no agent reports there; in that cluster: {}", apply(AGENT_MANIFEST)),
        AgentState::Silent => format!("AgentSilent: {missing}"),
        AgentState::Unreadable => "the agent there is of a version that this master does not understand".to_owned(),
    };
    Some((reason, last_report))
}

#[cfg(test)]
#[path = "receipt_tests.rs"]
mod tests;
