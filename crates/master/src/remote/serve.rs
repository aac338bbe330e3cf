//! One remote cluster: connect, run an engine, and say in the RemoteCluster's status how it fares.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sync_core::cluster::access::Access;
use sync_core::cluster::connection::{Connection, Patience};
use sync_core::contract::rules::Role;
use sync_core::core::{Scope, Tally};
use sync_core::engine::{self, EngineConfig, EngineState, Inquiries};
use sync_core::fault::Fault;
use sync_core::index::feed::Labels;
use sync_core::ops::shutdown::Shutdown;
use sync_core::rng::Rng;
use tokio::sync::watch as state;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::{Instrument as _, info, info_span, warn};

use super::claims::Claim;
use super::crd::{OnRemove, RemoteClusterStatus, Sources};
use super::fleet::Shared;
use super::follow;
use super::identity::{self, Identity, Unknown};
use super::reach::Reach;
use super::receipt::Receipts;
use super::removal::{self, End, Removal};
use super::secret::SecretRef;
use super::status::{Outcome, Report};
use super::teller::Teller;
use super::way::Way;
use crate::eks::target::Target;

/// First pause after a failure, doubled each time.
pub(super) const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest pause between two attempts to connect, or to write a status: somebody who has just mended a cluster waits for it.
pub(super) const BACKOFF_MOST: Duration = Duration::from_secs(120);

/// What is to be done about a remote cluster. Equal plans need no restart.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// `metadata.generation` of the RemoteCluster.
    pub generation: Option<i64>,
    /// `spec.namespace`
    pub destination: String,
    /// `spec.proxyURL`
    pub proxy: Option<String>,
    /// Connect or not.
    pub what: What,
    /// And whether to copy or to take away.
    pub end: End,
}

/// Connect or not. `Debug` does not show the kubeconfig, which is a credential.
#[derive(Clone, PartialEq)]
pub enum What {
    /// Nothing but to say this.
    Only(Outcome),
    /// Copy to it, wherever AWS says that it is.
    Eks(Target),
    /// Copy to it.
    Connect {
        /// The file.
        kubeconfig: Vec<u8>,
        /// Which context of it.
        context: Option<String>,
        /// Where it is from.
        place: SecretRef,
    },
}

impl fmt::Debug for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only(outcome) => f.debug_tuple("Only").field(outcome).finish(),
            Self::Eks(target) => f.debug_tuple("Eks").field(target).finish(),
            Self::Connect { context, .. } => {
                f.debug_struct("Connect").field("context", context).finish_non_exhaustive()
            }
        }
    }
}

/// What a task for one remote cluster begins with.
pub(super) struct Start {
    pub(super) shared: Arc<Shared>,
    /// Of the RemoteCluster.
    pub(super) name: String,
    /// Of the RemoteCluster.
    pub(super) uid: Option<String>,
    /// It has our finalizer.
    pub(super) kept: bool,
    pub(super) plan: Plan,
    pub(super) labels: state::Receiver<Labels>,
    pub(super) claim: Claim,
    /// As last read.
    pub(super) status: Option<RemoteClusterStatus>,
    /// The task before, which is to end first.
    pub(super) previous: Option<JoinHandle<Option<RemoteClusterStatus>>>,
}

/// Serves one remote cluster until `stop`. Returns the status that stands then.
pub(super) async fn serve(start: Start, stop: Shutdown) -> Option<RemoteClusterStatus> {
    let Start { shared, name, uid, kept, plan, labels, claim, status, previous } = start;
    let mut last = status;
    if let Some(previous) = previous {
        // The one before knows better what it has written than a watch that may be behind.
        last = previous.await.ok().flatten().or(last);
    }
    let Plan { generation, destination, proxy, what, end } = plan;
    let span = info_span!("remote", cluster = name);
    let report = Report { going: matches!(end, End::Goes), ..Report::new(generation, destination) };
    let (report, reports) = state::channel(report);
    shared.gauges.serves(&name, reports.clone());
    let teller = Teller::new(Arc::clone(&shared), name.clone(), uid.clone(), last);
    let removal = (end == End::Goes).then(Removal::new);
    let work_here = Work { shared: &shared, name: &name, uid, labels, proxy, claim, removal, report };
    let work = work(work_here, what, end, kept, &stop);
    // Both to the end: a write that is under way must be known to the next task of this name.
    tokio::join!(work.instrument(span.clone()), teller.tell(reports).instrument(span)).1
}

/// What the work on one remote cluster needs.
pub(super) struct Work<'a> {
    pub(super) shared: &'a Shared,
    /// Of the RemoteCluster.
    pub(super) name: &'a str,
    /// Of the RemoteCluster.
    pub(super) uid: Option<String>,
    pub(super) labels: state::Receiver<Labels>,
    /// `spec.proxyURL`
    pub(super) proxy: Option<String>,
    pub(super) claim: Claim,
    /// Copies are taken away, and none is made.
    pub(super) removal: Option<Removal>,
    /// Dropped when the work is done.
    pub(super) report: state::Sender<Report>,
}

impl Work<'_> {
    /// Tells how the cluster fares, and whether that is news.
    pub(super) fn say(&self, outcome: Outcome) -> bool {
        self.report.send_if_modified(|report| set(&mut report.outcome, outcome))
    }

    /// Tells why nothing is copied, until that may have changed.
    pub(super) async fn say_until(&self, outcome: Outcome, stop: &Shutdown) {
        info!(reason = outcome.reason(), "nothing is copied there");
        self.say(outcome);
        stop.begun().await;
    }

    /// The clients, by the proxy that `spec.proxyURL` names or else the way itself. Nothing is sent.
    pub(super) fn connection(&self, access: Access) -> Result<Connection, Box<Outcome>> {
        self.report.send_modify(|report| report.goes_to(access.server().to_string()));
        connection(access, self.proxy.as_deref(), self.shared.rules.role, Patience::CONTROLLER)
    }
}

/// See [`Work::connection`].
pub(super) fn connection(
    access: Access,
    proxy: Option<&str>,
    role: Role,
    patience: Patience,
) -> Result<Connection, Box<Outcome>> {
    let access = match proxy {
        Some(url) => access.by_proxy(url).map_err(|error| Box::new(Outcome::ProxyInvalid(error.to_string())))?,
        None => access,
    };
    let connection = Connection::with(&access, role.user_agent(), patience);
    connection.map_err(|error| Box::new(Outcome::KubeconfigInvalid(error.to_string())))
}

/// Everything but telling. Ends when `stop` has begun and nothing is under way any more; nothing is reported then.
async fn work(work: Work<'_>, what: What, end: End, kept: bool, stop: &Shutdown) {
    match end {
        End::Stays(OnRemove::Retain) if !kept => work_on(&work, what, stop).await,
        End::Stays(on_remove) => {
            let keep = on_remove == OnRemove::Delete;
            // Before the first copy is made, or it could go without us.
            if removal::keep(&work, keep, stop).await.is_none() {
                return;
            }
            tokio::select! {
                biased;
                () = work_on(&work, what, stop) => {}
                () = removal::give_up(&work, stop), if keep => {}
            }
        }
        End::Goes | End::LetGo => removal::remove(&work, what, stop).await,
    }
}

/// Goes to the cluster, and does there what is to be done.
pub(super) async fn work_on(work: &Work<'_>, what: What, stop: &Shutdown) {
    match what {
        What::Only(outcome) => work.say_until(outcome, stop).await,
        What::Eks(target) => follow::follow(work, &target, stop).await,
        What::Connect { kubeconfig, context, place } => {
            let way = Way::read(&kubeconfig, context.as_deref(), &work.shared.addresses);
            drop(kubeconfig);
            let connection = match way {
                Ok(Way::Eks(target)) => return follow::follow(work, &target, stop).await,
                Ok(Way::Straight(access)) => work.connection(*access),
                Err(words) => Err(Box::new(Outcome::KubeconfigInvalid(words))),
            };
            match connection {
                Ok(connection) => run(work, connection, &Reach::Kubeconfig(place), stop).await,
                Err(outcome) => {
                    // It leads nowhere, and is in nobody's way.
                    work.claim.put(None);
                    work.say_until(*outcome, stop).await;
                }
            }
        }
    }
}

/// Connects, and copies until told to stop.
pub(super) async fn run(work: &Work<'_>, connection: Connection, reach: &Reach, stop: &Shutdown) {
    if let Some(identity) = connect(work, &connection, reach, stop).await {
        identity::copy(work, &connection, reach, &identity, stop).await;
    }
}

/// Asks who is there until there is an answer: a cluster that is down costs one request now and then.
async fn connect(work: &Work<'_>, connection: &Connection, reach: &Reach, stop: &Shutdown) -> Option<Identity> {
    let mut rng = Rng::new(work.shared.seed_of(work.name));
    let mut failures = 0_u8;
    let mut greeted = false;
    loop {
        let answer = tokio::select! {
            biased;
            () = stop.begun() => return None,
            answer = greet(work, connection, &mut greeted) => answer,
        };
        match answer {
            Ok(identity) => return Some(identity),
            Err(unknown) => {
                failures = failures.saturating_add(1);
                if let Some(outcome) = unknown.outcome(reach) {
                    let message = outcome.message(&work.report.borrow().destination);
                    if failures == 1 {
                        warn!(reason = outcome.reason(), message, "cannot connect; trying again");
                    }
                    work.say(outcome);
                }
            }
        }
        tokio::select! {
            biased;
            () = stop.begun() => return None,
            () = sleep(rng.backoff(BACKOFF_FIRST, failures, BACKOFF_MOST)) => {}
        }
    }
}

/// The version is asked for once, and where we are until that is known.
async fn greet(work: &Work<'_>, connection: &Connection, greeted: &mut bool) -> Result<Identity, Unknown> {
    if !*greeted {
        let version = connection.warm().await.map_err(Unknown::There)?;
        info!(version = version.git, "connected");
        work.report.send_modify(|report| report.version = Some(version.git));
        *greeted = true;
    }
    let destination = work.report.borrow().destination.clone();
    identity::ask(&work.shared.connection, connection, &destination).await
}

/// Runs an engine until told to stop.
pub(super) async fn copy(work: &Work<'_>, connection: Connection, reach: &Reach, stop: &Shutdown) {
    let Work { shared, name, labels, report, removal, .. } = work;
    let destination = report.borrow().destination.clone();
    let config = EngineConfig {
        rules: Arc::clone(&shared.rules),
        scope: Scope::One { namespace: destination, cluster: (*name).to_owned() },
        labels: labels.clone(),
        max_in_flight: shared.max_in_flight,
        leading: shared.leading.clone(),
        metrics: shared.metrics.clone(),
        seed: shared.seed_of(name),
    };
    let (sender, mut engine_state) = state::channel(EngineState::default());
    let (mut sources, mut news) = (shared.sources.state(), reach.news());
    // On a task of its own: it plans and reads replies, and that should not wait for the status.
    let (inquiries, desk) = Inquiries::new();
    let receipts = Receipts::new(&config, connection.clone(), inquiries, engine_state.clone());
    let mut receipts = pin!(receipts.follow(report));
    let sources_here = shared.sources.subscribe();
    let sources_here = if removal.is_some() { removal::farewell(sources_here) } else { sources_here };
    let engine = engine::run(config, connection, sources_here, sender, desk, stop.clone());
    let mut engine = tokio::spawn(engine.in_current_span());
    loop {
        let source_missing = sources.borrow_and_update().namespace_missing;
        let now = engine_state.borrow_and_update().clone();
        let outcome = match (outcome(&now, source_missing, &shared.rules.source_namespace), removal) {
            (Outcome::Fault(fault), _) => reach.outcome(fault),
            (outcome, removal) => {
                reach.well();
                removal.as_ref().map_or(outcome, |removal| removal.outcome(&now))
            }
        };
        let counts = counts(now.tally);
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
            () = news.next() => {}
            // It goes on for as long as the engine does.
            () = &mut receipts => {}
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
