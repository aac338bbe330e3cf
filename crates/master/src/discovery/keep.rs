//! One ClusterDiscovery: looks, decides and writes, again and again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use serde::de::IgnoredAny;
use serde_json::json;
use sync_core::cluster::events::{self, Event};
use sync_core::cluster::read;
use sync_core::fault::Fault;
use sync_core::ops;
use sync_core::ops::shutdown::Shutdown;
use sync_core::rng::Rng;
use tokio::sync::watch as state;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::crd::{ClusterDiscovery, ClusterDiscoveryStatus, Clusters};
use super::decide::{Action, Asked, Existing, Refusal, Whole, decide};
use super::list::{Listing, list};
use super::status::{self, Outcome};
use super::{API_VERSION, KIND, owned, path_of};
use crate::remote::condition::ready;
use crate::remote::crd::RemoteCluster;
use crate::remote::fleet::Shared;
use crate::remote::objects::Book;

/// Longest time between two looks while all is well; half of it is the shortest.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// First and longest pause between looks that failed.
const BACKOFF_FIRST: Duration = Duration::from_secs(4);
const BACKOFF_MOST: Duration = Duration::from_secs(300);
/// Shortest time between two looks, however often somebody changes the object.
const GAP: Duration = Duration::from_secs(5);
/// RemoteClusters change often: what follows from that is decided after so long.
const SETTLE: Duration = Duration::from_secs(2);
/// What was seen so long ago says no more what is gone.
const FRESH: Duration = Duration::from_secs(60);

/// A ClusterDiscovery as last seen.
pub(super) type Object = Arc<ClusterDiscovery>;

/// Keeps its RemoteClusters until told to stop. A write that is under way then is waited for.
pub(super) async fn keep(shared: Arc<Shared>, mut object: state::Receiver<Object>, stop: Shutdown) {
    let name = object.borrow().metadata.name.clone().unwrap_or_default();
    let rng = Rng::new(shared.seed_of(&name));
    let mut keeper = Keeper { shared, name, uid: None, last: None, reason: None, hidden: BTreeSet::new(), rng };
    let (mut failures, mut sessions) = (0_u8, Vec::new());
    while let Some(discovery) = keeper.may_look(&mut object, &stop).await {
        let began = Instant::now();
        // As it was before: a change meanwhile counts as one.
        let secret = keeper.secret(&discovery);
        let listing = tokio::select! {
            biased;
            () = stop.begun() => return,
            () = changed(&mut object, &discovery) => None,
            listing = list(&keeper.shared, &discovery) => Some(listing),
        };
        if let Some(mut listing) = listing {
            // Those of the look before were shared with this one. One that could not be had is asked for anew by whoever
            // has mended that and has it looked again.
            drop(std::mem::replace(&mut sessions, std::mem::take(&mut listing.sessions)));
            if !listing.troubles.is_empty() {
                sessions.clear();
            }
            failures = if listing.troubles.is_empty() { 0 } else { failures.saturating_add(1) };
            let pause = match failures {
                0 => keeper.rng.jittered(EVERY),
                _ => keeper.rng.backoff(BACKOFF_FIRST, failures, BACKOFF_MOST),
            };
            let look = Look { discovery, listing, secret, next: began + pause };
            keeper.settle(&look, &mut object, &stop).await;
        }
        tokio::select! {
            biased;
            () = stop.begun() => return,
            () = sleep_until(began + GAP) => {}
        }
    }
}

/// Returns when the object asks for something else, or a person has touched its annotations: that looks at once.
async fn changed(object: &mut state::Receiver<Object>, seen: &Object) {
    let was = &seen.metadata;
    let is_other = |object: &Object| {
        let now = &object.metadata;
        (&now.uid, now.generation, &now.annotations) != (&was.uid, was.generation, &was.annotations)
    };
    if object.wait_for(is_other).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Returns when the Secret that was read has changed.
async fn other_secret(mut secrets: state::Receiver<Book<Secret>>, look: &Look) {
    let is_other = |book: &Book<Secret>| version(book, &look.discovery) != look.secret;
    if secrets.wait_for(is_other).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Returns a while after RemoteClusters have changed.
async fn settled(clusters: &mut state::Receiver<Book<RemoteCluster>>) {
    if clusters.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    sleep(SETTLE).await;
}

/// What was asked and found.
struct Look {
    discovery: Object,
    listing: Listing,
    /// Version of the Secret that was read, if there was one.
    secret: Option<String>,
    /// When it is time for the next one.
    next: Instant,
}

struct Keeper {
    shared: Arc<Shared>,
    /// Of the ClusterDiscovery.
    name: String,
    /// Of the one that `last` and `reason` are about.
    uid: Option<String>,
    /// What we have written into its status since we began to lead.
    last: Option<ClusterDiscoveryStatus>,
    /// The reason that was last said in an Event.
    reason: Option<String>,
    /// Names of RemoteClusters that are there, says the server, and that no watch had shown at the last attempt.
    hidden: BTreeSet<String>,
    rng: Rng,
}

impl Keeper {
    /// Waits until this process leads and knows all RemoteClusters and kubeconfigs; `None` if it was told to stop before.
    async fn may_look(&mut self, object: &mut state::Receiver<Object>, stop: &Shutdown) -> Option<Object> {
        let (mut leading, known) = (self.shared.leading.clone(), &self.shared.known);
        if !leading.allows() {
            // Another process leads, and writes what we do not know.
            (self.last, self.reason) = (None, None);
        }
        let (mut clusters, mut secrets) = (known.clusters.subscribe(), known.secrets.subscribe());
        let all = async {
            leading.allowed().await;
            // It cannot fail: the senders are ours.
            let _known = clusters.wait_for(|book| book.complete).await.is_ok();
            let _known = secrets.wait_for(|book| book.complete).await.is_ok();
        };
        tokio::select! {
            biased;
            () = stop.begun() => return None,
            () = all => {}
        }
        let discovery = object.borrow_and_update().clone();
        if self.uid != discovery.metadata.uid {
            (self.uid, self.last, self.reason) = (discovery.metadata.uid.clone(), None, None);
        }
        Some(discovery)
    }

    /// Does what follows from a look, and again whenever RemoteClusters have changed, until it is time for the next look.
    async fn settle(&mut self, look: &Look, object: &mut state::Receiver<Object>, stop: &Shutdown) {
        let Look { discovery, listing, next, .. } = look;
        let looked = Instant::now();
        let mut clusters = self.shared.known.clusters.subscribe();
        let mut failures = 0_u8;
        loop {
            clusters.mark_unchanged();
            let whole = match listing.troubles.is_empty() {
                true if looked.elapsed() < FRESH => Whole::Now,
                true => Whole::Before,
                false => Whole::Not,
            };
            let failed = self.once(discovery, listing, whole, stop).await;
            if !self.shared.leading.leads() {
                return;
            }
            failures = if failed { failures.saturating_add(1) } else { 0 };
            let pause = self.rng.backoff(SETTLE, failures, BACKOFF_MOST);
            let secrets = self.shared.known.secrets.subscribe();
            tokio::select! {
                biased;
                () = stop.begun() => return,
                () = changed(object, discovery) => return,
                () = other_secret(secrets, look) => return,
                () = sleep_until(*next) => return,
                () = sleep(pause), if failed => {}
                () = settled(&mut clusters), if !failed => {}
            }
        }
    }

    fn secret(&self, discovery: &ClusterDiscovery) -> Option<String> {
        version(&self.shared.known.secrets.borrow(), discovery)
    }

    /// Decides once, and does it. Returns whether something could not be written.
    async fn once(&mut self, discovery: &ClusterDiscovery, listing: &Listing, whole: Whole, stop: &Shutdown) -> bool {
        let existing = self.shared.known.clusters.borrow().by_name.clone();
        let mut decision = decide(Asked::of(discovery), &listing.found, whole, &existing, Timestamp::now());
        let (mut failed, mut raced) = (None, false);
        let (mut hidden, mut unreadable) = (BTreeSet::new(), Vec::new());
        for action in &decision.actions {
            if stop.has_begun() || !self.shared.leading.allows() {
                return true;
            }
            match self.act(action, &existing).await {
                Ok(()) => {}
                // The watch will say what is there by now, unless it cannot be understood.
                Err(Fault::AlreadyExists) => {
                    let name = action.name();
                    match self.hidden.contains(name) {
                        true => unreadable.push(Refusal::Unreadable(name.to_owned())),
                        false => raced = true,
                    }
                    hidden.insert(name.to_owned());
                }
                Err(Fault::Conflict | Fault::NotFound) => raced = true,
                Err(fault) => {
                    let (cluster, reason, todo) = (action.name(), fault.reason(), fault.what_to_do());
                    match failed {
                        None => warn!(cluster, reason, %fault, todo, "cannot write a RemoteCluster"),
                        Some(_) => debug!(cluster, reason, %fault, "cannot write a RemoteCluster either"),
                    }
                    // What is refused of one need not be of the next, and a webhook may hang over one.
                    let of_all = match &fault {
                        Fault::NoAnswer(_) => matches!(failed, Some(Fault::NoAnswer(_))),
                        Fault::Forbidden(_) => true,
                        other => other.is_of_the_cluster(),
                    };
                    failed.get_or_insert(fault);
                    if of_all {
                        break;
                    }
                }
            }
        }
        self.hidden = hidden;
        if raced && failed.is_none() {
            return true;
        }
        // No watch shows when what cannot be understood goes.
        let retry = failed.is_some() || !unreadable.is_empty();
        decision.refuse(unreadable);
        let outcome = Outcome::of(&listing.troubles, &decision, failed);
        let clusters = (whole != Whole::Not).then_some(decision.clusters);
        self.tell(discovery, &outcome, clusters).await || retry
    }

    async fn act(&self, action: &Action, existing: &Existing) -> Result<(), Fault> {
        let shared = &self.shared;
        let (client, manager) = (&shared.connection.write, shared.rules.role.field_manager());
        match action {
            Action::Create(cluster) => {
                let name = cluster.metadata.name.as_deref().unwrap_or_default();
                let body = serde_json::to_vec(cluster).map_err(|_| Fault::Odd(200))?;
                read::create(client, &shared.remote_clusters(), manager, &Bytes::from(body)).await?;
                info!(cluster = name, suspended = cluster.spec.suspend, "found; made a RemoteCluster");
            }
            Action::Update(name, patch)
            | Action::NotListed(name, patch)
            | Action::StillNotListed(name, patch)
            | Action::Hold(name, patch) => {
                let metadata = &existing.get(name).ok_or(Fault::NotFound)?.metadata;
                let body = Bytes::from(owned::exactly(patch, metadata).to_string());
                read::patch::<IgnoredAny>(client, &shared.path_of(name), manager, body).await?;
                if let Action::StillNotListed(..) = action {
                    debug!(cluster = name, "still not listed");
                } else if let Action::NotListed(..) = action {
                    warn!(
                        cluster = name,
                        "no longer listed; its RemoteCluster goes in 24 h, unless it is listed again"
                    );
                    let note = format!(
                        "ClusterDiscovery {} no longer finds its cluster; this RemoteCluster is deleted in 24 h, unless it \
                         is found again; take label {} away to keep it",
                        self.name,
                        owned::LABEL
                    );
                    self.say("RemoteCluster", name, metadata.uid.as_deref(), ("NotListed", &note, true)).await;
                } else {
                    info!(cluster = name, "its RemoteCluster follows what was found");
                }
            }
            Action::Delete(name, why) => {
                let metadata = &existing.get(name).ok_or(Fault::NotFound)?.metadata;
                let [uid, version] = [&metadata.uid, &metadata.resource_version].map(|field| field.as_deref());
                let (uid, version) = (uid.unwrap_or_default(), version.unwrap_or_default());
                read::delete(client, &shared.path_of(name), uid, version).await?;
                info!(cluster = name, %why, "deleted its RemoteCluster");
                let note = format!("deleted RemoteCluster {name}: {why}");
                self.say("ClusterDiscovery", &self.name, self.uid.as_deref(), ("Deleted", &note, true)).await;
            }
        }
        Ok(())
    }

    /// Writes the status, if it says something new. Returns whether that failed.
    async fn tell(&mut self, discovery: &ClusterDiscovery, outcome: &Outcome, clusters: Option<Clusters>) -> bool {
        if !self.shared.leading.allows() {
            return true;
        }
        let old = self.last.as_ref().or(discovery.status.as_ref());
        let said = |status: &ClusterDiscoveryStatus| ready(&status.conditions).map(|ready| ready.reason.clone());
        let before = self.reason.clone().or_else(|| old.and_then(said));
        let namespace = &self.shared.rules.source_namespace;
        let of = (discovery.metadata.generation, namespace.as_str());
        let Some(next) = status::next(old, outcome, clusters, of, Timestamp::now()) else { return false };
        let path = format!("{}/status", path_of(&self.shared, &self.name));
        let patch = Bytes::from(json!({ "status": next }).to_string());
        let manager = self.shared.rules.role.field_manager();
        let written = read::patch::<IgnoredAny>(&self.shared.connection.write, &path, manager, patch).await;
        if let Err(fault) = written {
            warn!(reason = fault.reason(), %fault, todo = fault.what_to_do(), "cannot write the status");
            return fault != Fault::NotFound;
        }
        info!(reason = outcome.reason(), found = next.clusters.map(|clusters| clusters.found), "status");
        self.last = Some(next);
        if before.as_deref() != Some(outcome.reason()) {
            self.reason = Some(outcome.reason().to_owned());
            let (reason, note) = (outcome.reason(), outcome.message(namespace));
            let warning = !matches!(outcome, Outcome::Listed(..));
            self.say(KIND, &self.name, discovery.metadata.uid.as_deref(), (reason, &note, warning)).await;
        }
        false
    }

    /// Writes an Event. What it says is in the status and the log too: it is not tried again.
    async fn say(&self, kind: &str, name: &str, uid: Option<&str>, (reason, note, warning): (&str, &str, bool)) {
        let Some(uid) = uid else { return };
        let rules = &self.shared.rules;
        let (time, instance) = (Timestamp::now(), ops::instance(rules.role));
        let id = &events::id_at(time);
        let event = Event { id, api_version: API_VERSION, kind, name, uid, action: "Discover", reason, note, warning };
        let written = events::write(&self.shared.connection.write, rules, event, time, &instance).await;
        if let Err(fault) = written {
            warn!(reason = fault.reason(), %fault, "cannot write an Event");
        }
    }
}

/// Version of the Secret that a ClusterDiscovery names, if it names one that is there.
fn version(secrets: &Book<Secret>, discovery: &ClusterDiscovery) -> Option<String> {
    let file = discovery.spec.kubeconfig.as_ref()?;
    secrets.by_name.get(&file.secret_name)?.metadata.resource_version.clone()
}
