//! Discovery: a ClusterDiscovery names an account, or a kubeconfig, and has a RemoteCluster kept for each cluster there.
//!
//! ```text
//!   AWS (ListClusters, DescribeCluster) --+
//!                                         +--> list --> decide --> RemoteClusters --> remote::fleet
//!   a kubeconfig's contexts --------------+                ^
//!                                 the RemoteClusters that there are
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`crd`] | the object |
//! | `list` | what is there now, and what could not be looked at |
//! | `found` | a cluster that was found: its name, the way to it, its labels |
//! | `decide` | what is to be made, changed, marked and deleted; pure, with the table of situations |
//! | `owned` | what stands on a RemoteCluster of ours, and what of it is kept so |
//! | `status` | what is said of it all |
//! | `keep` | looks, decides and writes, again and again |
//!
//! A RemoteCluster is ours by a label that names the ClusterDiscovery, and by nothing else: it has no owner in the sense of
//! Kubernetes, so that nothing goes with a ClusterDiscovery that is deleted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sync_core::cluster::query::Query;
use sync_core::cluster::watch::watch;
use sync_core::fault::Fault;
use sync_core::ops::shutdown::Shutdown;
use sync_core::watches::{Told, Troubles};
use tokio::sync::{mpsc, watch as state};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{Instrument as _, info_span, warn};

pub mod crd;
mod decide;
mod found;
mod keep;
mod list;
mod owned;
mod status;

use crd::ClusterDiscovery;
use keep::Object;

use crate::remote::crd::RemoteCluster;
use crate::remote::fleet::Shared;
use crate::remote::objects::{Objects, Shelf, decode};

const API_VERSION: &str = "mw-sync.io/v1alpha1";
const KIND: &str = "ClusterDiscovery";
const WATCH: &str = "clusterdiscoveries";
/// How much the watch may be ahead, in events.
const AHEAD: usize = 64;
/// A write has 4 s; longer than that nobody waits for one.
const STOP: Duration = Duration::from_secs(5);

/// Whether a ClusterDiscovery has made a RemoteCluster.
pub(crate) fn made(cluster: &RemoteCluster) -> bool {
    owned::Owner::of(cluster) != owned::Owner::Person
}

/// Path of the ClusterDiscovery of this name.
fn path_of(shared: &Shared, name: &str) -> String {
    format!("{}/{name}", paths(shared))
}

fn paths(shared: &Shared) -> String {
    format!("/apis/{API_VERSION}/namespaces/{}/{WATCH}", shared.rules.source_namespace)
}

/// The ClusterDiscoveries that are kept.
struct Keepers {
    shared: Arc<Shared>,
    objects: Objects<ClusterDiscovery>,
    running: BTreeMap<String, (state::Sender<Object>, Shutdown)>,
    tasks: JoinSet<()>,
}

/// Keeps all ClusterDiscoveries until told to stop.
pub async fn run(shared: Arc<Shared>, shutdown: Shutdown) {
    let (sender, mut events) = mpsc::channel(AHEAD);
    let query = Query { heard: shared.metrics.watch(WATCH, ""), ..Query::all(paths(&shared)) };
    let wrap = |news| Told::of(WATCH, news, |feed| feed);
    let (client, seed) = (shared.connection.watch.clone(), shared.seed.wrapping_add(2));
    let mut watches = JoinSet::new();
    watches.spawn(watch(client, query, seed, decode::<ClusterDiscovery>, wrap, sender));
    let objects = Objects::of(&Shelf::default());
    let mut keepers = Keepers { shared, objects, running: BTreeMap::new(), tasks: JoinSet::new() };
    let mut troubles = Troubles::default();
    loop {
        tokio::select! {
            biased;
            () = shutdown.begun() => break,
            Some(told) = events.recv() => match told {
                Told::Input(feed) => {
                    for name in keepers.objects.take(feed) {
                        keepers.look_at(&name);
                    }
                }
                Told::Watch(watch, result) => {
                    if result == Err(Fault::NotFound) {
                        warn!("ClusterDiscovery is not installed; waiting for it (kubectl apply -f deploy/crds.yaml)");
                    }
                    troubles.note(watch, result);
                }
            },
            Some(ended) = keepers.tasks.join_next() => if ended.is_err() {
                warn!("a ClusterDiscovery's task has failed; restart the master and report this");
            }
        }
    }
    keepers.stop().await;
}

impl Keepers {
    /// Makes the task of this name what its ClusterDiscovery says.
    fn look_at(&mut self, name: &str) {
        let object = self.objects.get(name).filter(|object| object.metadata.deletion_timestamp.is_none());
        match (object, self.running.get(name)) {
            (Some(object), Some((sender, _))) if !sender.is_closed() => drop(sender.send_replace(object)),
            (Some(object), _) => {
                let (sender, seen) = state::channel(object);
                let stop = Shutdown::default();
                let span = info_span!("discovery", name);
                let keep = keep::keep(Arc::clone(&self.shared), seen, stop.clone());
                self.tasks.spawn(keep.instrument(span));
                self.running.insert(name.to_owned(), (sender, stop));
            }
            (None, Some(_)) => {
                if let Some((_, stop)) = self.running.remove(name) {
                    stop.begin();
                }
            }
            (None, None) => {}
        }
    }

    /// Ends all tasks at once, and returns when they have ended.
    async fn stop(mut self) {
        for (_, stop) in self.running.values() {
            stop.begin();
        }
        if timeout(STOP, async { while self.tasks.join_next().await.is_some() {} }).await.is_err() {
            self.shared.leading.leave_open();
            warn!("stopped before all ClusterDiscoveries had ended");
        }
    }
}
