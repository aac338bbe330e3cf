//! One of our processes, the real thing: a source feed and an engine for each cluster that copies belong in; an agent's
//! entries of ServiceAccounts between them.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use super::judge::Judge;
use super::network::connection;
use super::sabotage::{self, Sabotage};
use super::stage::{FIRST_UID, GRACE, OPERATOR, Scene, Stage};
use crate::cluster::lease::Candidate;
use crate::contract::object::Uid;
use crate::contract::rules::{Role, Rules};
use crate::contract::strip::StripList;
use crate::core::Scope;
use crate::engine::{self, EngineConfig, EngineState, Inquiries};
use crate::entries::{self, EntriesConfig};
use crate::index::feed::Labels;
use crate::leadership::Leadership;
use crate::ops::metrics::Metrics;
use crate::ops::shutdown::Shutdown;
use crate::source_feed::{SourceFeed, SourceFeedConfig};

pub(super) struct Process {
    /// It is the present one while the stage says so.
    pub(super) number: u64,
    shutdown: Shutdown,
    /// And an agent's entries.
    engines: Vec<JoinHandle<()>>,
    feed: SourceFeed,
    leadership: Leadership,
    election: Option<AbortHandle>,
    pub(super) metrics: Metrics,
    labelled: Vec<watch::Sender<Labels>>,
    /// How each cluster says it is doing.
    pub(super) states: Vec<(usize, watch::Receiver<EngineState>)>,
}

impl Process {
    /// Starts one, which is the present one from now on.
    pub(super) fn start(stage: &Stage) -> Self {
        let (scene, process, labels) = {
            let mut state = stage.lock();
            state.born += 1;
            let (scene, process, labels) = (state.scene, state.born, state.labels.clone());
            // Before the first one there was nobody.
            state.judges.remove(&0);
            state.judges.insert(process, Judge::new(scene, &labels));
            state.note(|| format!("process {process} starts"));
            (scene, process, labels)
        };
        let cluster_name = (scene.role == Role::Master).then_some("management");
        let rules = Rules::new(scene.role, OPERATOR, cluster_name, StripList::with::<&str>(&[]).unwrap());
        let first = Uid::parse(FIRST_UID);
        let take_over = match sabotage::has(Sabotage::AllTakenOver) {
            true => sabotage::first_uids(),
            false => first.into_iter().filter(|_| scene.take_over).collect(),
        };
        let grace = if sabotage::has(Sabotage::NoGrace) { Duration::ZERO } else { GRACE };
        let rules = Rules { delete_grace: grace, allow_adopt: scene.allow_adopt, take_over, ..rules };
        let (rules, shutdown) = (Arc::new(rules), Shutdown::default());
        let spawn = |task| tokio::spawn(stage.clone().run(process, task));
        let (leadership, election) = lead(stage, scene, process, &rules);
        let (leading, metrics) = (leadership.leading(), Metrics::default());
        let config = SourceFeedConfig {
            rules: Arc::clone(&rules),
            seed: scene.seed.wrapping_add(process),
            wall_clock: || jiff::Timestamp::UNIX_EPOCH,
            instance: format!("process-{process}"),
            leading: leading.clone(),
            metrics: metrics.clone(),
        };
        let feed =
            SourceFeed::start_by(config, connection(stage, process, 0), shutdown.clone(), |task| drop(spawn(task)));
        let (mut engines, mut states, mut labelled) = (Vec::new(), Vec::new(), Vec::new());
        let mut entries = None;
        for cluster in scene.destinations() {
            let scope = match scene.role {
                Role::Agent => Scope::Namespaces,
                Role::Master => Scope::One { namespace: OPERATOR.to_owned(), cluster: format!("cluster-{cluster}") },
            };
            let (label, labels) = watch::channel(label(labels[cluster]));
            labelled.push(label);
            let config = EngineConfig {
                rules: Arc::clone(&rules),
                labels,
                scope,
                max_in_flight: scene.max_in_flight,
                leading: leading.clone(),
                metrics: metrics.clone(),
                seed: scene.seed.wrapping_add(process * 100).wrapping_add(cluster as u64),
            };
            let (sender, state) = watch::channel(EngineState::default());
            let connection = connection(stage, process, cluster);
            let (inquiries, desk) = Inquiries::new();
            let mut sources = feed.subscribe();
            if scene.role == Role::Agent {
                let (news, passed) = sources.behind();
                let config = EntriesConfig {
                    rules: Arc::clone(&rules),
                    leading: leading.clone(),
                    metrics: metrics.clone(),
                    inquiries,
                    seed: config.seed,
                };
                let subscription = std::mem::replace(&mut sources, passed);
                let run = entries::run(config, connection.clone(), subscription, news, shutdown.clone());
                entries = Some(spawn(run.boxed()));
            }
            engines.push(spawn(engine::run(config, connection, sources, sender, desk, shutdown.clone()).boxed()));
            states.push((cluster, state));
        }
        engines.extend(entries);
        Self { number: process, shutdown, engines, feed, leadership, election, metrics, states, labelled }
    }

    /// The RemoteCluster of a destination has this label from now on.
    pub(super) fn relabel(&self, cluster: usize, env: &str) {
        if let Some(n) = self.states.iter().position(|(n, _)| *n == cluster) {
            self.labelled[n].send_replace(label(env));
        }
    }

    /// SIGKILL.
    pub(super) fn kill(self, stage: &Stage) {
        stage.change(|state| state.kill(self.number));
        self.election.iter().for_each(AbortHandle::abort);
        self.engines.iter().for_each(JoinHandle::abort);
        self.shutdown.begin();
    }

    /// SIGTERM.
    pub(super) async fn stop(self, stage: &Stage) {
        self.shutdown.begin();
        for engine in self.engines {
            drop(engine.await);
        }
        if self.election.is_some() {
            self.feed.ended().await;
            self.leadership.end().await;
        }
        stage.change(|state| state.kill(self.number));
    }
}

/// It is the only one, or one of two.
fn lead(stage: &Stage, scene: Scene, process: u64, rules: &Rules) -> (Leadership, Option<AbortHandle>) {
    if !scene.standby {
        return (Leadership::alone(), None);
    }
    let candidate = Candidate::new(rules, format!("process-{process}"));
    let heard = Metrics::default().watch("leases", "");
    let (seed, wall_clock) = (scene.seed.wrapping_add(process), || jiff::Timestamp::UNIX_EPOCH);
    let mut election = None;
    let leadership = Leadership::shared_by(candidate, connection(stage, process, 0), seed, heard, wall_clock, |task| {
        let task = tokio::spawn(stage.clone().run(process, task));
        election = Some(task.abort_handle());
        task
    });
    (leadership.unwrap(), election)
}

fn label(env: &str) -> Labels {
    [("env".to_owned(), env.to_owned())].into_iter().filter(|(_, env)| !env.is_empty()).collect()
}
