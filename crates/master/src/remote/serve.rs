//! One remote cluster: connect, run an engine, and say in the RemoteCluster's status how it fares.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use sync_core::cluster::access::Access;
use sync_core::cluster::connection::Connection;
use sync_core::cluster::read;
use sync_core::contract::keys::KUBECONFIG_TYPE;
use sync_core::contract::object::Kind;
use sync_core::core::{Scope, Tally};
use sync_core::engine::{self, EngineConfig, EngineState};
use sync_core::fault::{Fault, message};
use sync_core::index::feed::Labels;
use sync_core::ops::shutdown::Shutdown;
use sync_core::rng::Rng;
use tokio::sync::watch as state;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::{Instrument as _, debug, info, info_span, warn};

use super::crd::{RemoteCluster, RemoteClusterStatus, Sources};
use super::fleet::Shared;
use super::secret::SecretError;
use super::status::{self, Outcome, Report};

/// At least so long between two writes of a status: counts change with every request.
const STATUS_PAUSE: Duration = Duration::from_secs(1);
/// First pause after a failure, doubled each time.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest pause between two attempts to connect: somebody who has just mended a cluster waits for it.
const BACKOFF_MOST: Duration = Duration::from_secs(30);

/// What is to be done about a remote cluster. Equal plans need no restart.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// `metadata.generation` of the RemoteCluster.
    pub generation: Option<i64>,
    /// `spec.namespace`
    pub destination: String,
    /// Connect or not.
    pub what: What,
}

/// Connect or not. `Debug` does not show the kubeconfig, which is a credential.
#[derive(Clone, PartialEq)]
pub enum What {
    /// Nothing but to say this.
    Only(Outcome),
    /// Copy to it.
    Connect {
        /// The file.
        kubeconfig: Vec<u8>,
        /// Which context of it.
        context: Option<String>,
    },
}

impl fmt::Debug for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only(outcome) => f.debug_tuple("Only").field(outcome).finish(),
            Self::Connect { context, .. } => {
                f.debug_struct("Connect").field("context", context).finish_non_exhaustive()
            }
        }
    }
}

/// Serves one remote cluster until `stop`, after `previous` has ended. Returns the status that stands then.
pub async fn serve(
    shared: Arc<Shared>,
    name: String,
    plan: Plan,
    labels: state::Receiver<Labels>,
    status: Option<RemoteClusterStatus>,
    previous: Option<JoinHandle<Option<RemoteClusterStatus>>>,
    stop: Shutdown,
) -> Option<RemoteClusterStatus> {
    let mut last = status;
    if let Some(previous) = previous {
        // The one before knows better what it has written than a watch that may be behind.
        last = previous.await.ok().flatten().or(last);
    }
    let Plan { generation, destination, what } = plan;
    let report =
        Report { generation, destination, outcome: Outcome::Connecting, server: None, version: None, sources: None };
    let span = info_span!("remote", cluster = name);
    let (sender, reports) = state::channel(report);
    let mut teller = Teller { shared: Arc::clone(&shared), name: name.clone(), last, rng: Rng::new(shared.seed) };
    let work = work(&shared, &name, what, labels, sender, &stop).instrument(span.clone());
    // Both to the end: a write that is under way must be known to the next task of this name.
    tokio::join!(work, teller.tell(reports).instrument(span));
    teller.last
}

/// Everything but telling. Ends when `stop` has begun and nothing is under way any more; nothing is reported then.
async fn work(
    shared: &Shared,
    name: &str,
    what: What,
    labels: state::Receiver<Labels>,
    report: state::Sender<Report>,
    stop: &Shutdown,
) {
    let (kubeconfig, context) = match what {
        What::Only(outcome) => {
            let outcome = explain(shared, outcome).await;
            return say_until(&report, outcome, stop).await;
        }
        What::Connect { kubeconfig, context } => (kubeconfig, context),
    };
    let access = Access::from_kubeconfig(&kubeconfig, context.as_deref(), &shared.addresses);
    drop(kubeconfig);
    let connection = access.and_then(|access| {
        report.send_modify(|report| report.server = Some(access.server().to_string()));
        Connection::new(&access, shared.rules.role.user_agent())
    });
    let connection = match connection {
        Ok(connection) => connection,
        Err(error) => return say_until(&report, Outcome::KubeconfigInvalid(error.to_string()), stop).await,
    };
    if connect(shared, &connection, &report, stop).await.is_none() {
        return;
    }
    run(shared, name, labels, connection, &report, stop).await;
}

/// The watch shows Secrets of our type only: one that it does not show may be there, of another type.
async fn explain(shared: &Shared, outcome: Outcome) -> Outcome {
    let Outcome::Secret(SecretError::Missing(place)) = &outcome else { return outcome };
    let found = read::get_object(&shared.connection.write, Kind::Secret, &place.namespace, &place.name).await;
    let other = found.ok().flatten().and_then(|secret| secret.content.secret_type).filter(|of| of != KUBECONFIG_TYPE);
    match other {
        Some(other) => Outcome::Secret(SecretError::WrongType(place.clone(), message(&other))),
        None => outcome,
    }
}

async fn say_until(report: &state::Sender<Report>, outcome: Outcome, stop: &Shutdown) {
    info!(reason = outcome.reason(), "nothing is copied there");
    report.send_modify(|report| report.outcome = outcome);
    stop.begun().await;
}

/// Asks for the version until there is an answer: a cluster that is down costs one request now and then.
async fn connect(
    shared: &Shared,
    connection: &Connection,
    report: &state::Sender<Report>,
    stop: &Shutdown,
) -> Option<()> {
    let mut rng = Rng::new(shared.seed);
    let mut failures = 0_u8;
    loop {
        let answer = tokio::select! {
            biased;
            () = stop.begun() => return None,
            answer = connection.warm() => answer,
        };
        match answer {
            Ok(version) => {
                info!(version = version.git, "connected");
                report.send_modify(|report| report.version = Some(version.git));
                return Some(());
            }
            Err(fault) => {
                failures = failures.saturating_add(1);
                if failures == 1 {
                    warn!(reason = fault.reason(), %fault, todo = fault.what_to_do(), "cannot connect; trying again");
                }
                report.send_if_modified(|report| set(&mut report.outcome, Outcome::Fault(fault)));
            }
        }
        tokio::select! {
            biased;
            () = stop.begun() => return None,
            () = sleep(rng.backoff(BACKOFF_FIRST, failures, BACKOFF_MOST)) => {}
        }
    }
}

async fn run(
    shared: &Shared,
    name: &str,
    labels: state::Receiver<Labels>,
    connection: Connection,
    report: &state::Sender<Report>,
    stop: &Shutdown,
) {
    let destination = report.borrow().destination.clone();
    let config = EngineConfig {
        rules: Arc::clone(&shared.rules),
        scope: Scope::One { namespace: destination, cluster: name.to_owned() },
        labels,
        max_in_flight: shared.max_in_flight,
        seed: shared.seed,
    };
    let (sender, mut engine_state) = state::channel(EngineState::default());
    let mut sources = shared.sources.state();
    // On a task of its own: it plans and reads replies, and that should not wait for the status.
    let engine = engine::run(config, connection, shared.sources.subscribe(), sender, stop.clone());
    let mut engine = tokio::spawn(engine.in_current_span());
    loop {
        let source_missing = sources.borrow_and_update().namespace_missing;
        let outcome = outcome(&engine_state.borrow_and_update(), source_missing, &shared.rules.source_namespace);
        let counts = counts(engine_state.borrow().tally);
        report.send_if_modified(|report| {
            let changed = set(&mut report.outcome, outcome);
            set(&mut report.sources, Some(counts)) || changed
        });
        tokio::select! {
            biased;
            ended = &mut engine => {
                if ended.is_err() {
                    warn!("the engine has failed; restart the master and report this");
                }
                return;
            }
            Ok(()) = engine_state.changed() => {}
            Ok(()) = sources.changed() => {}
        }
    }
}

/// What the engine's state means for the condition.
fn outcome(engine: &EngineState, source_missing: bool, source_namespace: &str) -> Outcome {
    // One source that may not be written is that source's affair; the right to write at all is the cluster's.
    let forbidden = engine.places.iter().find(|place| place.reason == Fault::Forbidden(String::new()).reason());
    match (&engine.fault, forbidden) {
        (Some(fault), _) => Outcome::Fault(fault.clone()),
        (None, _) if source_missing => Outcome::SourceNamespaceMissing(source_namespace.to_owned()),
        (None, Some(place)) => {
            // The fault says that itself.
            let words = place.message.strip_prefix("forbidden: ").unwrap_or(&place.message);
            Outcome::Fault(Fault::Forbidden(words.to_owned()))
        }
        (None, None) if engine.ready => Outcome::Ready,
        (None, None) => Outcome::Connecting,
    }
}

fn counts(tally: Tally) -> Sources {
    let Tally { synced, pending, refused } = tally;
    Sources { synced: synced.into(), pending: pending.into(), refused: refused.into() }
}

/// Whether it was another value before.
pub(super) fn set<T: PartialEq>(place: &mut T, value: T) -> bool {
    let changed = *place != value;
    *place = value;
    changed
}

/// Writes the status.
struct Teller {
    shared: Arc<Shared>,
    name: String,
    last: Option<RemoteClusterStatus>,
    rng: Rng,
}

impl Teller {
    /// Writes each report that says something new, until nobody reports any more.
    async fn tell(&mut self, mut reports: state::Receiver<Report>) {
        let mut failures = 0_u8;
        loop {
            let report = reports.borrow_and_update().clone();
            match self.write(&report).await {
                Ok(()) => failures = 0,
                // It has been deleted: its end comes by the watch.
                Err(Fault::NotFound) => debug!("the RemoteCluster is gone"),
                Err(fault) => {
                    failures = failures.saturating_add(1);
                    warn!(reason = fault.reason(), %fault, todo = fault.what_to_do(), "cannot write the status");
                }
            }
            let pause =
                if failures == 0 { STATUS_PAUSE } else { self.rng.backoff(BACKOFF_FIRST, failures, BACKOFF_MOST) };
            let mut until_the_end = reports.clone();
            tokio::select! {
                biased;
                () = async { while until_the_end.changed().await.is_ok() {} } => return,
                () = sleep(pause) => {}
            }
            if failures == 0 && reports.changed().await.is_err() {
                return;
            }
        }
    }

    async fn write(&mut self, report: &Report) -> Result<(), Fault> {
        let Some(status) = status::next(self.last.as_ref(), report, jiff::Timestamp::now()) else { return Ok(()) };
        let namespace = &self.shared.rules.source_namespace;
        let path = format!("/apis/mw-sync.io/v1alpha1/namespaces/{namespace}/remoteclusters/{}", self.name);
        let patch = Bytes::from(json!({ "status": status }).to_string());
        let manager = self.shared.rules.role.field_manager();
        let client = &self.shared.connection.write;
        read::patch_status::<RemoteCluster>(client, &path, manager, patch).await?;
        info!(reason = report.outcome.reason(), "status");
        self.last = Some(status);
        Ok(())
    }
}
