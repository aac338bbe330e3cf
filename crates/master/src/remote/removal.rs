//! The end of a RemoteCluster that says `onRemove: Delete`: the copies in its cluster go first.
//!
//! A finalizer keeps the object until then, and is there only while it says so. Nobody has to wait for ever for a cluster
//! that does not come back: `Freed` has the ways out.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::json;
use sync_core::cluster::read;
use sync_core::contract::source::Switch;
use sync_core::core::{Place, Tally};
use sync_core::engine::EngineState;
use sync_core::fault::Fault;
use sync_core::index::news::SourceNews;
use sync_core::ops::shutdown::Shutdown;
use sync_core::plan::Want;
use sync_core::rng::Rng;
use sync_core::source_feed::Subscription;
use tokio::sync::watch as state;
use tokio::time::sleep;
use tracing::{info, warn};

use super::crd::{OnRemove, RemoteCluster};
use super::fleet::Shared;
use super::serve::{self, BACKOFF_FIRST, BACKOFF_MOST, What, Work};
use super::status::Outcome;

/// Keeps a RemoteCluster until its copies are gone.
const FINALIZER: &str = "mw-sync.io/remove-copies";
/// Annotation on a RemoteCluster: it may go although its copies are not gone.
const ABANDON: &str = "mw-sync.io/abandon";
/// The definition of RemoteClusters.
pub(crate) const DEFINITION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/remoteclusters.mw-sync.io";
/// Longest time between two looks whether namespace and definition are being deleted.
const LOOK: Duration = Duration::from_secs(30);

/// What a RemoteCluster says of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// None in sight; whether its copies shall go before it.
    Stays(OnRemove),
    /// It is being deleted, and waits for us.
    Goes,
    /// The same, and nothing is to be deleted any more.
    LetGo,
}

impl End {
    /// Reads it; `None` for an object that is being deleted and does not wait for us.
    pub(super) fn of(cluster: &RemoteCluster) -> Option<Self> {
        if cluster.metadata.deletion_timestamp.is_none() {
            return Some(Self::Stays(cluster.spec.on_remove));
        }
        let word = cluster.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ABANDON));
        let let_go = word.is_some_and(|word| Switch::parse(word) == Some(Switch::Yes))
            || cluster.spec.on_remove == OnRemove::Retain;
        is_kept(&cluster.metadata).then_some(if let_go { Self::LetGo } else { Self::Goes })
    }
}

/// Whether our finalizer is there.
pub(super) fn is_kept(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// Why a RemoteCluster need not wait any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freed {
    /// No copy is left.
    Emptied,
    /// Nothing was ever written there.
    SelfReference,
    /// Another RemoteCluster leads there, and what is there is its own from now on.
    Shared,
    /// AWS says that there is no such cluster.
    ClusterGone,
    /// The namespace that it is in, or its definition, is being deleted: nobody has meant the copies.
    AllGo,
    /// A person has said so.
    LetGo,
}

impl fmt::Display for Freed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Emptied => "no copy is left there",
            Self::SelfReference => "it was the management cluster, and nothing was written",
            Self::Shared => "another RemoteCluster leads there: the copies are left to it",
            Self::ClusterGone => "the cluster does not exist in AWS any more",
            Self::AllGo => "its namespace or definition is being deleted: the copies stay there",
            Self::LetGo => "it says onRemove: Retain or mw-sync.io/abandon: the copies stay there",
        })
    }
}

/// The removal of one RemoteCluster, under way.
#[derive(Debug)]
pub(super) struct Removal(state::Sender<Option<Freed>>);

impl Removal {
    pub(super) fn new() -> Self {
        Self(state::Sender::new(None))
    }

    /// It need not wait any longer.
    pub(super) fn free(&self, why: Freed) {
        self.0.send_replace(Some(why));
    }

    /// What to tell of an engine at whose cluster nothing is the matter.
    pub(super) fn outcome(&self, engine: &EngineState) -> Outcome {
        let EngineState { ready, tally, places, .. } = engine;
        if *ready && *tally == Tally::default() {
            self.free(Freed::Emptied);
        }
        let place = places.first().map(|Place { reason, message, todo, .. }| {
            format!(
                "{} are left: {reason}, {}",
                tally.pending + tally.refused,
                if message.is_empty() { todo } else { message.as_str() }
            )
        });
        Outcome::Removing(place)
    }

    async fn freed(&self) -> Freed {
        let mut freed = self.0.subscribe();
        loop {
            if let Some(why) = *freed.borrow_and_update() {
                return why;
            }
            if freed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The news of the sources as they are where nothing is wanted any more: each copy ends as its source or the copy itself
/// says, at once. No source has to be confirmed to be gone: a person has said that the copies go.
pub(super) fn farewell(mut from: Subscription) -> Subscription {
    let (sender, to) = from.behind();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                biased;
                () = sender.closed() => return,
                news = from.next() => {
                    let Some(news) = news else { return };
                    if sender.send(unwanted(news)).is_err() {
                        return;
                    }
                }
            }
        }
    });
    to
}

fn unwanted(news: SourceNews) -> SourceNews {
    match news {
        SourceNews::Want(key, want) => {
            let how = match want {
                Want::On(desired) => Some(desired.options.on_delete),
                Want::Off(how) => how,
                // What cannot be read now may have been when the copy was made.
                Want::Frozen(_) | Want::Never | Want::Leaving(_) => None,
            };
            SourceNews::Want(key, Want::Off(how))
        }
        other => other,
    }
}

/// Makes sure that the finalizer is there, or is not; returns when it is so. `None` if it was told to stop before.
pub(super) async fn keep(work: &Work<'_>, wanted: bool, stop: &Shutdown) -> Option<()> {
    let mut leading = work.shared.leading.clone();
    if leading.is_dry() {
        // It is as it is, and what would follow is only tried.
        return Some(());
    }
    let mut rng = Rng::new(work.shared.seed_of(work.name));
    let mut failures = 0_u8;
    loop {
        // What is in a namespace that goes shall go with it: the kubeconfig before it, perhaps, and our rights too.
        let wanted = wanted && !namespace_goes(work.shared);
        let answer = match patch_for(work, wanted, failures == 0).await {
            Ok(None) => return Some(()),
            Ok(Some(patch)) if leading.allows() => write(work, patch).await,
            Ok(Some(_)) => Ok(false),
            Err(fault) => Err(fault),
        };
        let pause = match answer {
            Ok(true) => return Some(()),
            // Whoever leads does it, if that is not us soon.
            Ok(false) => rng.jittered(LOOK),
            Err(fault) => {
                failures = failures.saturating_add(1);
                if fault != Fault::Conflict {
                    warn!(reason = fault.reason(), %fault, todo = fault.what_to_do(), "cannot set the finalizer");
                    work.say(Outcome::NotKept(fault));
                } else if failures == 1 {
                    // The watch was behind; now it is read.
                    continue;
                }
                rng.backoff(BACKOFF_FIRST, failures, BACKOFF_MOST)
            }
        };
        let stands_by = !leading.allows();
        tokio::select! {
            biased;
            () = stop.begun() => return None,
            () = leading.allowed(), if stands_by => {}
            () = sleep(pause) => {}
        }
    }
}

/// What makes the finalizers as they should be, for exactly this object in exactly the version that is known: what others
/// have written there stays. `None` if nothing is to be done.
async fn patch_for(work: &Work<'_>, wanted: bool, as_watched: bool) -> Result<Option<Bytes>, Fault> {
    let Work { shared, name, uid, .. } = work;
    let is_due = |metadata: &ObjectMeta| {
        let may = !(wanted && metadata.deletion_timestamp.is_some());
        metadata.uid == *uid && may && is_kept(metadata) != wanted
    };
    if as_watched {
        let watched = shared.known.clusters.borrow().by_name.get(*name).map(|cluster| cluster.metadata.clone());
        // That nothing is to be done the watch does not know: it may be behind what we have written.
        if let Some(metadata) = watched.filter(is_due) {
            return Ok(Some(patch(metadata, wanted)));
        }
    }
    match read::get_json::<RemoteCluster>(&shared.connection.write, &shared.path_of(name)).await {
        Ok(object) => Ok(Some(object.metadata).filter(is_due).map(|metadata| patch(metadata, wanted))),
        Err(Fault::NotFound) => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn patch(metadata: ObjectMeta, wanted: bool) -> Bytes {
    let mut finalizers = metadata.finalizers.unwrap_or_default();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    finalizers.extend(wanted.then(|| FINALIZER.to_owned()));
    let patch = json!({ "metadata": {
        "uid": metadata.uid, "resourceVersion": metadata.resource_version, "finalizers": finalizers
    } });
    Bytes::from(patch.to_string())
}

async fn write(work: &Work<'_>, patch: Bytes) -> Result<bool, Fault> {
    let Work { shared, name, .. } = work;
    let manager = shared.rules.role.field_manager();
    match read::patch::<RemoteCluster>(&shared.connection.write, &shared.path_of(name), manager, patch).await {
        Ok(_) | Err(Fault::NotFound) => Ok(true),
        Err(fault) => Err(fault),
    }
}

/// Deletes the copies and lets the RemoteCluster go, if nothing stands in the way.
pub(super) async fn remove(work: &Work<'_>, what: What, stop: &Shutdown) {
    let freed = match &work.removal {
        Some(removal) => empty(work, removal, what, stop).await,
        None => Some(Freed::LetGo),
    };
    let Some(why) = freed else { return };
    info!(%why, "the RemoteCluster may go");
    let _stopped_before = keep(work, false, stop).await;
}

/// `None` if it was told to stop before.
async fn empty(work: &Work<'_>, removal: &Removal, what: What, stop: &Shutdown) -> Option<Freed> {
    let mut rng = Rng::new(work.shared.seed_of(work.name));
    // Before anything is deleted: whoever deletes the definition, or the namespace, has not meant the copies.
    let mut failures = 0_u8;
    loop {
        match all_go(work.shared).await {
            Ok(true) => return Some(Freed::AllGo),
            Ok(false) => break,
            Err(fault) => {
                warn!(reason = fault.reason(), %fault, "cannot tell whether namespace and definition stay");
                work.say(Outcome::Removing(Some(format!(
                    "cannot tell whether its namespace and definition stay: {fault}"
                ))));
            }
        }
        failures = failures.saturating_add(1);
        tokio::select! {
            biased;
            () = stop.begun() => return None,
            () = sleep(rng.backoff(BACKOFF_FIRST, failures, BACKOFF_MOST)) => {}
        }
    }
    work.say(Outcome::Removing(None));
    let leave = Shutdown::default();
    let mut working = pin!(serve::work_on(work, what, &leave));
    let freed = tokio::select! {
        biased;
        () = stop.begun() => None,
        why = removal.freed() => Some(why),
        () = until_all_go(work.shared, &mut rng) => Some(Freed::AllGo),
        // It ends by itself only if the engine has failed.
        () = &mut working => return None,
    };
    leave.begin();
    working.as_mut().await;
    freed
}

/// Takes the finalizer away as soon as the namespace is being deleted: our rights go with it. Never returns.
pub(super) async fn give_up(work: &Work<'_>, stop: &Shutdown) {
    until_namespace_goes(work.shared).await;
    info!("the namespace of this RemoteCluster is being deleted: it may go, and its copies stay");
    let _stopped_before = keep(work, false, stop).await;
    std::future::pending::<()>().await;
}

fn namespace_goes(shared: &Shared) -> bool {
    shared.sources.state().borrow().namespace_terminating
}

async fn until_namespace_goes(shared: &Shared) {
    let mut sources = shared.sources.state();
    if sources.wait_for(|sources| sources.namespace_terminating).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn until_all_go(shared: &Shared, rng: &mut Rng) {
    loop {
        tokio::select! {
            biased;
            () = until_namespace_goes(shared) => return,
            () = sleep(rng.jittered(LOOK)) => {}
        }
        if all_go(shared).await == Ok(true) {
            return;
        }
    }
}

/// Whether the namespace of RemoteClusters, or their definition, is being deleted, and they all with it.
async fn all_go(shared: &Shared) -> Result<bool, Fault> {
    #[derive(Deserialize)]
    struct Definition {
        metadata: ObjectMeta,
    }
    if namespace_goes(shared) {
        return Ok(true);
    }
    let client = &shared.connection.write;
    let namespace = read::get_namespace(client, &shared.rules.source_namespace).await?;
    let definition: Definition = read::get_json(client, DEFINITION).await?;
    Ok(namespace.is_none_or(|namespace| namespace.terminating) || definition.metadata.deletion_timestamp.is_some())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn what_an_object_says_of_its_end() {
        let check = |on_remove: &str, deleted: bool, finalizers: &[&str], abandon: Option<&str>, end: Option<End>| {
            let spec = format!("{{kubeconfig: {{secretName: a}}, onRemove: {on_remove}}}");
            let mut cluster = RemoteCluster::new("a", serde_yaml::from_str(&spec).unwrap());
            cluster.metadata.deletion_timestamp = deleted.then_some(Time(jiff::Timestamp::UNIX_EPOCH));
            cluster.metadata.finalizers = Some(finalizers.iter().map(|&name| name.to_owned()).collect());
            cluster.metadata.annotations = abandon.map(|word| [(ABANDON.to_owned(), word.to_owned())].into());
            assert_eq!(End::of(&cluster), end, "{on_remove} {deleted} {finalizers:?} {abandon:?}");
        };
        check("Retain", false, &[], None, Some(End::Stays(OnRemove::Retain)));
        check("Delete", false, &[FINALIZER], None, Some(End::Stays(OnRemove::Delete)));
        // An order to abandon counts when it goes.
        check("Delete", false, &[FINALIZER], Some("yes"), Some(End::Stays(OnRemove::Delete)));
        check("Delete", true, &["foreign", FINALIZER], None, Some(End::Goes));
        check("Delete", true, &[FINALIZER], Some("no"), Some(End::Goes));
        check("Delete", true, &[FINALIZER], Some("perhaps"), Some(End::Goes));
        check("Delete", true, &[FINALIZER], Some("True"), Some(End::LetGo));
        check("Retain", true, &[FINALIZER], None, Some(End::LetGo));
        // Somebody else's affair.
        check("Delete", true, &["foreign"], None, None);
        check("Retain", true, &[], None, None);
    }
}
