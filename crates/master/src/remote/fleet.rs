//! All remote clusters: each has a task of its own, started, restarted and stopped as its RemoteCluster says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use sync_core::cluster::addresses::AddressRules;
use sync_core::cluster::connection::Connection;
use sync_core::cluster::query::Query;
use sync_core::cluster::watch::watch;
use sync_core::contract::rules::Rules;
use sync_core::index::feed::{Feed, Labels};
use sync_core::leadership::Leading;
use sync_core::ops::metrics::Metrics;
use sync_core::ops::shutdown::Shutdown;
use sync_core::rng;
use sync_core::source_feed::SourceFeed;
use sync_core::watches::{Told, Troubles};
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::watch as state;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use super::claims::{self, Claim, Claims, Rank};
use super::crd::{EksCluster, KubeconfigRef, RemoteCluster, RemoteClusterSpec, RemoteClusterStatus};
use super::gauges::Gauges;
use super::objects::{Known, Objects, decode};
use super::removal::{self, End};
use super::secret::{self, SecretRef, kubeconfig_in};
use super::serve::{self, Plan, Start, What};
use super::status::Outcome;
use crate::eks::Eks;
use crate::eks::error::EksError;
use crate::eks::target::Target;

/// How much the watches may be ahead, in events.
const AHEAD: usize = 64;
/// An engine drains its requests in 3.5 s; longer than this nobody waits for it, for the lease is to be given up too.
const STOP: Duration = Duration::from_secs(4);

/// What all remote clusters share.
#[derive(Debug)]
pub struct Shared {
    /// Who we are.
    pub rules: Arc<Rules>,
    /// The management cluster.
    pub connection: Connection,
    /// The sources.
    pub sources: SourceFeed,
    /// Addresses that API servers may have.
    pub addresses: AddressRules,
    /// The way to EKS clusters.
    pub eks: Eks,
    /// Most requests under way at once, per remote cluster.
    pub max_in_flight: usize,
    /// Whether this process may write. A standby connects to all remote clusters and watches there too, so that it
    /// can go on at once.
    pub leading: Leading,
    /// Where everything is counted.
    pub metrics: Metrics,
    /// What is told of remote clusters there, beside what their engines do.
    pub gauges: Arc<Gauges>,
    /// Whose turn it is to write a status: [`TURNS`](super::teller::TURNS) of them.
    pub turns: Arc<Semaphore>,
    /// The lists of RemoteClusters and of kubeconfigs have come.
    pub listed: state::Sender<bool>,
    /// RemoteClusters and kubeconfigs that there are.
    pub known: Known,
    /// Seed of the jitter.
    pub seed: u64,
}

impl Shared {
    /// Path of all RemoteClusters.
    pub(crate) fn remote_clusters(&self) -> String {
        remote_clusters(&self.rules.source_namespace)
    }

    /// Path of the RemoteCluster of this name.
    pub(crate) fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.remote_clusters())
    }

    /// Seed of the jitter of one remote cluster: with the same, all that an outage has cut off would come back in step.
    pub(crate) fn seed_of(&self, name: &str) -> u64 {
        rng::seed_of(self.seed, name)
    }
}

/// The set of remote clusters.
struct Fleet {
    shared: Arc<Shared>,
    clusters: Objects<RemoteCluster>,
    secrets: Objects<Secret>,
    claims: Arc<Claims>,
    running: BTreeMap<String, Running>,
}

struct Running {
    uid: Option<String>,
    plan: Plan,
    /// Sources select by them; a change needs no new engine.
    labels: state::Sender<Labels>,
    stop: Shutdown,
    task: JoinHandle<Option<RemoteClusterStatus>>,
}

enum Input {
    Cluster(Box<Feed<RemoteCluster>>),
    Secret(Box<Feed<Secret>>),
}

pub(crate) fn remote_clusters(namespace: &str) -> String {
    format!("/apis/mw-sync.io/v1alpha1/namespaces/{namespace}/remoteclusters")
}

/// Keeps a task for each RemoteCluster until told to stop, and then ends them all.
pub async fn run(shared: Arc<Shared>, shutdown: Shutdown) {
    let (sender, mut events) = mpsc::channel(AHEAD);
    let namespace = shared.rules.source_namespace.clone();
    let client = shared.connection.watch.clone();
    let heard = shared.metrics.watch("remoteclusters", "");
    let clusters = Query { heard, ..Query::all(shared.remote_clusters()) };
    // Of all types: who has made one of the wrong type is to be told so, whenever that was.
    let heard = shared.metrics.watch("kubeconfigs", "");
    let secrets = Query { heard, ..Query::all(format!("/api/v1/namespaces/{namespace}/secrets")) };
    let mut watches = tokio::task::JoinSet::new();
    let wrap = |news| Told::of("remoteclusters", news, |feed| Input::Cluster(Box::new(feed)));
    watches.spawn(watch(client.clone(), clusters, shared.seed, decode::<RemoteCluster>, wrap, sender.clone()));
    let wrap = |news| Told::of("kubeconfig secrets", news, |feed| Input::Secret(Box::new(feed)));
    watches.spawn(watch(client, secrets, shared.seed.wrapping_add(1), secret::decode, wrap, sender));

    let mut fleet = Fleet {
        clusters: Objects::of(&shared.known.clusters),
        secrets: Objects::of(&shared.known.secrets),
        shared,
        claims: Arc::default(),
        running: BTreeMap::new(),
    };
    let mut troubles = Troubles::default();
    loop {
        tokio::select! {
            biased;
            () = shutdown.begun() => break,
            Some(told) = events.recv() => match told {
                Told::Input(Input::Cluster(feed)) => fleet.clusters(*feed),
                Told::Input(Input::Secret(feed)) => fleet.secrets(*feed),
                Told::Watch(watch, result) => {
                    if watch == "remoteclusters" && result == Err(sync_core::fault::Fault::NotFound) {
                        warn!("RemoteCluster is not installed; waiting for it (kubectl apply -f deploy/crds.yaml)");
                    }
                    troubles.note(watch, result);
                }
            },
        }
        let listed = fleet.listed();
        fleet.shared.listed.send_if_modified(|known| std::mem::replace(known, listed) != listed);
    }
    fleet.stop().await;
}

impl Fleet {
    fn listed(&self) -> bool {
        self.clusters.is_complete() && self.secrets.is_complete()
    }

    fn clusters(&mut self, feed: Feed<RemoteCluster>) {
        for name in self.clusters.take(feed) {
            self.look_at(&name);
        }
    }

    fn secrets(&mut self, feed: Feed<Secret>) {
        let done = matches!(feed, Feed::InitDone(_));
        let changed = self.secrets.take(feed);
        let secret = |cluster: &RemoteCluster| cluster.spec.kubeconfig.as_ref().map(|from| from.secret_name.clone());
        let uses = |cluster: &RemoteCluster| secret(cluster).is_some_and(|name| changed.contains(&name));
        for name in self.clusters.names(|cluster| done || uses(cluster)) {
            self.look_at(&name);
        }
    }

    /// Makes the task of this name what its RemoteCluster says.
    fn look_at(&mut self, name: &str) {
        if !self.listed() {
            return;
        }
        let known = self.clusters.get(name).and_then(|cluster| Some((End::of(&cluster)?, cluster)));
        let Some((end, cluster)) = known else {
            if let Some(old) = self.running.remove(name) {
                info!(cluster = name, "no longer a remote cluster");
                old.stop.begin();
            }
            return;
        };
        let cluster = &*cluster;
        let (plan, uid) = (self.plan(cluster, end), cluster.metadata.uid.clone());
        let labels = cluster.metadata.labels.clone().unwrap_or_default();
        let old = match self.running.remove(name) {
            Some(same) if same.plan == plan && same.uid == uid && !same.task.is_finished() => {
                same.labels.send_if_modified(|known| serve::set(known, labels));
                self.running.insert(name.to_owned(), same);
                return;
            }
            other => other,
        };
        let stop = Shutdown::default();
        let previous = old.map(|old| {
            old.stop.begin();
            old.task
        });
        let (labels, seen) = state::channel(labels);
        let start = Start {
            shared: Arc::clone(&self.shared),
            name: name.to_owned(),
            uid: uid.clone(),
            kept: removal::is_kept(&cluster.metadata),
            plan: plan.clone(),
            labels: seen,
            claim: self.claim(cluster, &plan),
            status: cluster.status.clone(),
            previous,
        };
        let task = tokio::spawn(serve::serve(start, stop.clone()));
        self.running.insert(name.to_owned(), Running { uid, plan, labels, stop, task });
    }

    /// To where it led when it was last connected, if it is to be connected: after a restart all come at once, and the
    /// fastest is not the oldest.
    fn claim(&self, cluster: &RemoteCluster, plan: &Plan) -> Claim {
        let claim = self.claims.claim(Rank::of(cluster));
        claim.put(claims::led(cluster).filter(|_| !matches!(plan.what, What::Only(_))));
        claim
    }

    fn plan(&self, cluster: &RemoteCluster, end: End) -> Plan {
        let spec = &cluster.spec;
        let secret = spec.kubeconfig.as_ref().and_then(|from| self.secrets.get(&from.secret_name));
        let what = what(spec, &self.shared.rules.source_namespace, secret.as_deref());
        let (generation, destination) = (cluster.metadata.generation, spec.namespace.clone());
        Plan { generation, destination, proxy: spec.proxy_url.clone(), what, end }
    }

    /// Ends all tasks at once, and returns when they have ended.
    async fn stop(self) {
        for running in self.running.values() {
            running.stop.begin();
        }
        let all = async {
            for (name, running) in self.running {
                if running.task.await.is_err() {
                    warn!(cluster = name, "its task had failed");
                }
            }
        };
        if timeout(STOP, all).await.is_err() {
            self.shared.leading.leave_open();
            warn!("stopped before all remote clusters had ended");
        }
    }
}

/// What a RemoteCluster asks for; `secret` is the one that it names, if it is there.
pub(super) fn what(spec: &RemoteClusterSpec, namespace: &str, secret: Option<&Secret>) -> What {
    match (&spec.eks, &spec.kubeconfig) {
        _ if spec.suspend => What::Only(Outcome::Suspended),
        (Some(eks), None) => by_eks(eks),
        (None, Some(kubeconfig)) => by_kubeconfig(kubeconfig, namespace, secret),
        // The CRD's rules let no such object in.
        _ => What::Only(Outcome::Eks(EksError::BadSpec("write exactly one of eks and kubeconfig".to_owned()))),
    }
}

fn by_kubeconfig(kubeconfig: &KubeconfigRef, namespace: &str, secret: Option<&Secret>) -> What {
    let KubeconfigRef { secret_name, key, context } = kubeconfig;
    let place = SecretRef { namespace: namespace.to_owned(), name: secret_name.clone(), key: key.clone() };
    match kubeconfig_in(secret, place.clone()) {
        Ok(bytes) => What::Connect { kubeconfig: bytes.to_vec(), context: context.clone(), place },
        Err(error) => What::Only(Outcome::Secret(error)),
    }
}

fn by_eks(eks: &EksCluster) -> What {
    match Target::parse(&eks.arn, eks.role_arn.as_deref(), eks.external_id.as_deref()) {
        Ok(target) => What::Eks(target),
        Err(error) => What::Only(Outcome::Eks(error)),
    }
}
