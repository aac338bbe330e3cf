//! One of our processes, the real thing: a source feed and an engine for each cluster that copies belong in; an agent's
//! entries of ServiceAccounts between them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::judge::Judge;
use super::network::connection;
use super::sabotage::{self, Sabotage};
use super::stage::{FIRST_UID, GRACE, OPERATOR, Stage};
use crate::contract::object::Uid;
use crate::contract::rules::{Role, Rules};
use crate::contract::strip::StripList;
use crate::core::Scope;
use crate::engine::{self, EngineConfig, EngineState, Inquiries};
use crate::entries::{self, EntriesConfig};
use crate::index::feed::Labels;
use crate::leadership::Leading;
use crate::ops::metrics::Metrics;
use crate::ops::shutdown::Shutdown;
use crate::source_feed::{SourceFeed, SourceFeedConfig};

pub(super) struct Process {
    /// It is the present one while the stage says so.
    pub(super) number: u64,
    shutdown: Shutdown,
    /// And an agent's entries.
    engines: Vec<JoinHandle<()>>,
    labelled: Vec<watch::Sender<Labels>>,
    /// How each cluster says it is doing.
    pub(super) states: Vec<(usize, watch::Receiver<EngineState>)>,
}

impl Process {
    /// Starts one, which is the present one from now on.
    pub(super) fn start(stage: &Stage) -> Self {
        let (scene, process, labels) = {
            let mut state = stage.lock();
            state.process += 1;
            state.judge = Judge::new(state.scene, &state.labels);
            state.note(|| "a process starts".to_owned());
            (state.scene, state.process, state.labels.clone())
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
        let leading = Leading::alone();
        let config = SourceFeedConfig {
            rules: Arc::clone(&rules),
            seed: scene.seed.wrapping_add(process),
            wall_clock: || jiff::Timestamp::UNIX_EPOCH,
            instance: format!("process-{process}"),
            leading: leading.clone(),
            metrics: Metrics::default(),
        };
        let feed = SourceFeed::start(config, connection(stage, process, 0), shutdown.clone());
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
                metrics: Metrics::default(),
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
                    metrics: Metrics::default(),
                    inquiries,
                    seed: config.seed,
                };
                let subscription = std::mem::replace(&mut sources, passed);
                entries =
                    Some(tokio::spawn(entries::run(config, connection.clone(), subscription, news, shutdown.clone())));
            }
            engines.push(tokio::spawn(engine::run(config, connection, sources, sender, desk, shutdown.clone())));
            states.push((cluster, state));
        }
        engines.extend(entries);
        Self { number: process, shutdown, engines, states, labelled }
    }

    /// The RemoteCluster of a destination has this label from now on.
    pub(super) fn relabel(&self, cluster: usize, env: &str) {
        if let Some(n) = self.states.iter().position(|(n, _)| *n == cluster) {
            self.labelled[n].send_replace(label(env));
        }
    }

    /// SIGKILL.
    pub(super) fn kill(self, stage: &Stage) {
        stage.lock().process += 1;
        self.engines.iter().for_each(JoinHandle::abort);
        self.shutdown.begin();
    }

    /// SIGTERM.
    pub(super) async fn stop(self) {
        self.shutdown.begin();
        for engine in self.engines {
            drop(engine.await);
        }
    }
}

fn label(env: &str) -> Labels {
    [("env".to_owned(), env.to_owned())].into_iter().filter(|(_, env)| !env.is_empty()).collect()
}
