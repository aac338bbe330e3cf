//! What a run is made of, shared by the servers, the network, the process and whoever drives them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::accounts::Ledger;
use super::api::{Id, Object, Server, meta};
use super::faults::Faults;
use super::judge::Judge;
use super::tenure::Tenure;
use crate::contract::rules::Role;

/// The namespace of the sources, and the one that a master fills.
pub(super) const OPERATOR: &str = "operator";
/// What objects are called. Those with `m` are, at an agent, what a master has put there.
pub(super) const NAMES: [&str; 5] = ["s0", "s1", "s2", "m0", "aws-auth"];
/// The uid of the first source namespace there is.
pub(super) const FIRST_UID: &str = "00000001-0000-4000-8000-000000000001";
/// `--delete-grace`
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// What does not change in a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    pub(super) seed: u64,
    pub(super) role: Role,
    /// An agent has one cluster. The first of a master's is the management cluster, the others are remote ones.
    pub(super) clusters: usize,
    pub(super) max_in_flight: usize,
    /// `--allow-adopt`
    pub(super) allow_adopt: bool,
    /// `--take-over` of the first source namespace there is.
    pub(super) take_over: bool,
    /// There are ServiceAccounts, and sources that are to be listed there.
    pub(super) pulls: bool,
    /// Longest way of a request, and of an answer.
    pub(super) latency: Duration,
    /// There are two processes, of which one leads.
    pub(super) standby: bool,
    /// How much watches are behind at most, each event by itself.
    pub(super) lag: Duration,
}

impl Scene {
    /// What is written on copies of the source of this name.
    pub(super) fn origin(&self, name: &str) -> String {
        let prefix = if self.role == Role::Master { "management/" } else { "" };
        format!("{prefix}{OPERATOR}/{name}")
    }

    /// Whether an object carries the marks of our replicas.
    pub(super) fn is_marked(&self, id: &Id, object: &Value) -> bool {
        meta(object, "labels", "mw-sync.io/managed-by") == Some(self.role.as_str())
            && meta(object, "annotations", "mw-sync.io/origin") == Some(&self.origin(&id.name))
    }

    /// The clusters that copies belong in.
    pub(super) fn destinations(&self) -> std::ops::Range<usize> {
        usize::from(self.role == Role::Master)..self.clusters
    }

    /// Whether copies of sources may stand in this namespace.
    pub(super) fn is_destination(&self, cluster: usize, namespace: &str) -> bool {
        !namespace.is_empty()
            && self.destinations().contains(&cluster)
            && (namespace == OPERATOR) == (self.role == Role::Master)
    }

    /// A number below `limit` that depends on nothing but the seed and what it is for.
    pub(super) fn chance(&self, what: &str, number: u64, limit: u64) -> u64 {
        let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = what.bytes().chain(number.to_le_bytes()).fold(self.seed ^ 0xcbf2_9ce4_8422_2325, fnv);
        crate::rng::Rng::new(hash).below(limit)
    }

    /// A part of a duration, likewise.
    pub(super) fn part_of(&self, whole: Duration, what: &str, number: u64) -> Duration {
        Duration::from_millis(self.chance(what, number, u64::try_from(whole.as_millis()).unwrap_or(u64::MAX) + 1))
    }
}

/// What has been asked for, by what it costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) requests: u64,
    /// Lists and watches.
    pub(super) watches: u64,
    /// Of the Lease that processes share.
    pub(super) leases: u64,
    /// Writes of Secrets and ConfigMaps.
    pub(super) writes: u64,
    /// Those that changed something.
    pub(super) changes: u64,
}

/// Everything that changes, under one lock that is never held over a wait.
#[derive(Debug)]
pub(super) struct State {
    pub(super) scene: Scene,
    pub(super) start: Instant,
    pub(super) servers: Vec<Server>,
    pub(super) faults: Faults,
    /// Of each process that lives: one that was killed is heard no more, and hears nothing.
    pub(super) judges: BTreeMap<u64, Judge>,
    /// Processes that stand still, their clocks running on, and until when.
    pub(super) pauses: BTreeMap<u64, Instant>,
    pub(super) tenure: Tenure,
    pub(super) ledger: Ledger,
    /// The label `env` of each RemoteCluster.
    pub(super) labels: Vec<&'static str>,
    /// How many processes there have been.
    pub(super) born: u64,
    pub(super) counts: Counts,
    log: Option<Vec<String>>,
    failure: Option<String>,
}

impl State {
    /// Writes down what happens, if anybody will read it.
    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        let at = self.start.elapsed();
        if let Some(log) = &mut self.log {
            log.push(format!("{:>9.3} {}", at.as_secs_f64(), what()));
        }
    }

    /// A promise is broken. The first one counts.
    pub(super) fn fail(&mut self, what: String) {
        self.note(|| format!("BROKEN: {what}"));
        self.failure.get_or_insert(what);
    }

    /// Takes note of a judgement.
    pub(super) fn judged(&mut self, judgement: Result<(), String>) {
        if let Err(what) = judgement {
            self.fail(what);
        }
    }

    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    pub(super) fn take_log(&mut self) -> Vec<String> {
        self.log.take().unwrap_or_default()
    }

    /// Whether a process has not been killed.
    pub(super) fn lives(&self, process: u64) -> bool {
        self.judges.contains_key(&process)
    }

    /// Lets the judge of a process know something, if that lives.
    pub(super) fn judge<T>(&mut self, process: u64, of: impl FnOnce(&mut Judge) -> T) -> Option<T> {
        self.judges.get_mut(&process).map(of)
    }

    /// Until when a process stands still, if it does.
    pub(super) fn paused(&self, process: u64) -> Option<Instant> {
        self.pauses.get(&process).copied().filter(|until| *until > Instant::now())
    }

    /// A process dies at this moment; whoever drives the run tidies it away.
    pub(super) fn kill(&mut self, process: u64) {
        if self.judges.remove(&process).is_some() {
            self.pauses.remove(&process);
            self.note(|| format!("process {process} is killed"));
        }
    }

    /// The same in the middle of a request, as [`Faults::kills`](super::faults::Faults::kills) says.
    pub(super) fn crash(&mut self, process: u64) {
        self.note(|| format!("process {process} crashes"));
        self.kill(process);
    }

    pub(super) fn get(&self, cluster: usize, id: &Id) -> Option<&Object> {
        self.servers.get(cluster)?.store.get(id)
    }
}

/// A handle on the state.
#[derive(Clone)]
pub(super) struct Stage {
    state: Arc<Mutex<State>>,
    /// Wakes whoever waits, first come first served: a watch channel would draw lots.
    changed: Arc<Notify>,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stage")
    }
}

impl Stage {
    /// `log`: whether what happens is written down.
    pub(super) fn new(scene: Scene, log: bool) -> Self {
        let start = Instant::now();
        let labels = vec![""; scene.clusters];
        let state = State {
            scene,
            start,
            servers: (1..).take(scene.clusters).map(Server::new).collect(),
            faults: Faults::default(),
            judges: BTreeMap::from([(0, Judge::new(scene, &labels))]),
            pauses: BTreeMap::new(),
            tenure: Tenure::default(),
            ledger: Ledger::default(),
            labels,
            born: 0,
            counts: Counts::default(),
            log: log.then(Vec::new),
            failure: None,
        };
        Self { state: Arc::new(Mutex::new(state)), changed: Arc::default() }
    }

    /// Waits until a process does not stand still.
    pub(super) async fn awake(&self, process: u64) {
        self.wait(|state| state.paused(process).map_or(Ok(()), |until| Err(Some(until)))).await;
    }

    /// Runs a future of a process: while that stands still nothing is done.
    pub(super) async fn run<F: Future>(self, process: u64, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        loop {
            self.awake(process).await;
            let once = std::future::poll_fn(|cx| {
                let paused = self.lock().paused(process);
                if paused.is_some() { Poll::Ready(None) } else { future.as_mut().poll(cx).map(Some) }
            });
            if let Some(output) = once.await {
                return output;
            }
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Looks at the state and changes it; whoever waits looks again.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_waiters();
        result
    }

    /// Looks, and looks again with each change and at the moment that the look has named, until it has found something.
    pub(super) async fn wait<T>(&self, mut look: impl FnMut(&mut State) -> Result<T, Option<Instant>>) -> T {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let until = match look(&mut self.lock()) {
                Ok(found) => return found,
                Err(until) => until,
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = async { match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                } } => {}
            }
        }
    }
}
