//! What is to be done about what was found. Pure: every situation is a line of its table test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::crd::{Approval, ClusterDiscovery, Clusters};
use super::found::{Found, Way};
use super::owned::{self, Owner};
use crate::remote::crd::{OnRemove, RemoteCluster, RemoteClusterSpec};

/// A RemoteCluster whose cluster is no longer listed goes after so long, in which it was looked for all the time.
pub(super) const NOT_LISTED: SignedDuration = SignedDuration::from_hours(24);
/// More than so many of a hundred do not go by themselves: a role or a filter may show less than there is.
const LOST_MOST: usize = 30;

/// What a ClusterDiscovery says of the RemoteClusters that it keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// Of the ClusterDiscovery.
    pub(super) name: &'a str,
    /// `spec.namespace`
    pub(super) namespace: &'a str,
    /// New ones wait for a person.
    pub(super) manual: bool,
}

impl<'a> Asked<'a> {
    pub(super) fn of(discovery: &'a ClusterDiscovery) -> Self {
        let (name, spec) = (discovery.metadata.name.as_deref().unwrap_or_default(), &discovery.spec);
        Self { name, namespace: &spec.namespace, manual: spec.approval == Approval::Manual }
    }
}

/// What is to be done about one RemoteCluster. What exists is changed in exactly the version that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Make it.
    Create(Box<RemoteCluster>),
    /// A merge patch on it.
    Update(String, Value),
    /// Note since when its cluster is not listed, by the same.
    NotListed(String, Value),
    /// Note that it is still not, by the same.
    StillNotListed(String, Value),
    /// Note that it does not go by itself, by the same.
    Hold(String, Value),
    /// Delete it.
    Delete(String, Why),
}

impl Action {
    /// Of the RemoteCluster.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Create(cluster) => cluster.metadata.name.as_deref().unwrap_or_default(),
            Self::Update(name, _)
            | Self::NotListed(name, _)
            | Self::StillNotListed(name, _)
            | Self::Hold(name, _)
            | Self::Delete(name, _) => name,
        }
    }
}

/// Why a RemoteCluster goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its cluster has not been listed for long enough.
    NotListed,
    /// A person has made the RemoteCluster of this name for it.
    ByHand(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed => f.write_str("its cluster has not been listed for 24 h"),
            Self::ByHand(name) => write!(f, "RemoteCluster {name}, which a person has made, leads to its cluster"),
        }
    }
}

/// Why a cluster has no RemoteCluster of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A RemoteCluster that leads elsewhere has its name.
    Taken(String),
    /// This other ClusterDiscovery has made a RemoteCluster of its name.
    Elsewhere(String, String),
    /// Another one that was found is called so too.
    Twice(String),
    /// A RemoteCluster has its name, and cannot be understood.
    Unreadable(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(name) => write!(f, "RemoteCluster {name} leads elsewhere: delete it, or call it otherwise"),
            Self::Elsewhere(name, other) => write!(
                f,
                "RemoteCluster {name} is kept by ClusterDiscovery {other}: let only one of the two find the cluster, or, if \
                 that one is gone, set label {} of it to this one",
                owned::LABEL
            ),
            Self::Twice(name) => write!(f, "two that were found would be RemoteCluster {name}: take one of them away"),
            Self::Unreadable(name) => write!(
                f,
                "RemoteCluster {name} is there and cannot be understood, perhaps it is for a newer version: upgrade the master, \
                 or delete it"
            ),
        }
    }
}

/// Nothing is taken away: the list has lost too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shrunk {
    /// The RemoteClusters whose clusters it lacks.
    pub(super) lacks: Vec<String>,
    /// Of so many.
    pub(super) of: usize,
}

/// What follows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Decision {
    pub(super) actions: Vec<Action>,
    pub(super) clusters: Clusters,
    pub(super) refused: Vec<Refusal>,
    pub(super) shrunk: Option<Shrunk>,
    /// The RemoteClusters that go if their clusters are not listed again.
    pub(super) leaving: Vec<String>,
}

impl Decision {
    /// Some more have no RemoteCluster.
    pub(super) fn refuse(&mut self, more: Vec<Refusal>) {
        self.refused.extend(more);
        self.clusters.refused = count(self.refused.len());
    }
}

/// All RemoteClusters that there are, by name.
pub(super) type Existing = BTreeMap<String, Arc<RemoteCluster>>;

/// How much a list says of what is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// Something could not be looked at.
    Not,
    /// It was all that there was, a while ago.
    Before,
    /// It is all that there is.
    Now,
}

/// Decides what follows from a list and from the RemoteClusters that there are.
pub(super) fn decide(asked: Asked<'_>, found: &[Found], whole: Whole, existing: &Existing, now: Timestamp) -> Decision {
    let by_hand = by_hand(existing);
    let mut decision = Decision::default();
    let (mut names, mut hand_made) = (BTreeSet::new(), 0);
    for found in found {
        if !names.insert(found.name.as_str()) {
            decision.refused.push(Refusal::Twice(found.name.clone()));
            continue;
        }
        let standing = existing.get(&found.name);
        let rival = by_hand.get(&(found.way.cluster(), asked.namespace));
        hand_made += usize::from(rival.is_some());
        match about(asked, found, standing.map(AsRef::as_ref), rival.copied()) {
            Ok(action) => decision.actions.extend(action),
            Err(refusal) => decision.refused.push(refusal),
        }
    }
    let ours = || existing.iter().filter(|(_, cluster)| Owner::of(cluster) == Owner::Discovery(asked.name));
    let ours = || ours().filter(|(_, cluster)| !owned::is_leaving(cluster));
    // One that was copied from ours under another name leads to a cluster that is there.
    let ways: BTreeSet<_> = found.iter().map(|found| found.way.cluster()).collect();
    let is_found = |cluster: &RemoteCluster| Way::of(&cluster.spec).is_some_and(|way| ways.contains(&way.cluster()));
    let (lacks, there): (Vec<_>, Vec<_>) =
        ours().partition(|(name, cluster)| !names.contains(name.as_str()) && !is_found(cluster));
    let of = lacks.len() + there.len();
    let is_held = lacks.iter().any(|(_, cluster)| owned::is_held(cluster));
    if whole != Whole::Not && (is_held || lacks.len() * 100 > of * LOST_MOST) {
        if whole == Whole::Now {
            decision.actions.extend(lacks.iter().filter_map(|(name, cluster)| held(name, cluster, now)));
        }
        let lacks = lacks.iter().map(|(name, _)| (*name).clone()).collect();
        decision.shrunk = Some(Shrunk { lacks, of });
    } else if whole == Whole::Now {
        decision.actions.extend(lacks.iter().filter_map(|(name, cluster)| absent(name, cluster, now)));
    }
    if whole != Whole::Not && decision.shrunk.is_none() {
        decision.leaving = lacks.iter().map(|(name, _)| (*name).clone()).collect();
    }
    decision.clusters = Clusters {
        found: count(found.len()),
        by_hand: count(hand_made),
        suspended: count(there.iter().filter(|(_, cluster)| cluster.spec.suspend).count()),
        refused: count(decision.refused.len()),
        not_listed: count(lacks.len()),
    };
    decision
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The RemoteClusters that people have made, by where they lead; of several the first by name.
fn by_hand(existing: &Existing) -> BTreeMap<(String, &str), &str> {
    let mut places = BTreeMap::new();
    for (name, cluster) in existing {
        if Owner::of(cluster) == Owner::Person
            && !owned::is_leaving(cluster)
            && let Some(way) = Way::of(&cluster.spec)
        {
            places.entry((way.cluster(), cluster.spec.namespace.as_str())).or_insert(name.as_str());
        }
    }
    places
}

/// About a cluster that was found; `rival` leads there too, and was made by a person.
fn about(
    asked: Asked<'_>,
    found: &Found,
    standing: Option<&RemoteCluster>,
    rival: Option<&str>,
) -> Result<Option<Action>, Refusal> {
    let Some(standing) = standing else {
        return Ok(rival.is_none().then(|| Action::Create(Box::new(made(asked, found)))));
    };
    let name = found.name.clone();
    match (Owner::of(standing), rival) {
        // It goes, and then its name is free.
        _ if owned::is_leaving(standing) => Ok(None),
        (Owner::Discovery(owner), Some(rival)) if owner == asked.name => {
            // With Delete its copies would go with it, which are the other one's by now.
            let gone = standing.spec.on_remove == OnRemove::Retain;
            Ok(gone.then(|| Action::Delete(name, Why::ByHand(rival.to_owned()))))
        }
        (_, Some(_)) => Ok(None),
        (Owner::Discovery(owner), None) if owner == asked.name => {
            let same = Way::of(&standing.spec).is_some_and(|way| is_same(&way, &found.way));
            if !same || standing.spec.namespace != asked.namespace {
                return Err(Refusal::Taken(name));
            }
            Ok(owned::update(found, standing).map(|patch| Action::Update(name, patch)))
        }
        (Owner::Discovery(owner), None) => Err(Refusal::Elsewhere(name, owner.to_owned())),
        (Owner::Person, None) => Err(Refusal::Taken(name)),
    }
}

/// Whether the one can be made the other: an ARN cannot be changed, the way of a kubeconfig can.
fn is_same(standing: &Way, found: &Way) -> bool {
    match (standing, found) {
        (Way::Eks(standing), Way::Eks(found)) => standing.arn == found.arn,
        (Way::Kubeconfig(_), Way::Kubeconfig(_)) => true,
        _ => false,
    }
}

/// About a RemoteCluster of ours whose cluster is not listed.
fn absent(name: &str, cluster: &RemoteCluster, now: Timestamp) -> Option<Action> {
    let (name, time) = (name.to_owned(), owned::written(now));
    let patch = |marks: Value| json!({ "metadata": { "annotations": marks } });
    match owned::Missing::of(cluster, now) {
        Some(missing) if now.duration_since(missing.since) >= NOT_LISTED => Some(Action::Delete(name, Why::NotListed)),
        Some(missing) if missing.is_stale(now) => {
            Some(Action::StillNotListed(name, patch(json!({ owned::NOT_LISTED_AT: time }))))
        }
        Some(_) => None,
        None => {
            let marks = json!({ owned::NOT_LISTED_SINCE: time, owned::NOT_LISTED_AT: time });
            Some(Action::NotListed(name, patch(marks)))
        }
    }
}

/// About one that is missing in a list that has lost too many: new clusters in the list must not make that few.
fn held(name: &str, cluster: &RemoteCluster, now: Timestamp) -> Option<Action> {
    if owned::is_held(cluster) {
        return None;
    }
    let marks = json!({
        owned::LIST_SHRUNK: owned::written(now), owned::NOT_LISTED_SINCE: null, owned::NOT_LISTED_AT: null
    });
    Some(Action::Hold(name.to_owned(), json!({ "metadata": { "annotations": marks } })))
}

fn made(asked: Asked<'_>, found: &Found) -> RemoteCluster {
    let (eks, kubeconfig) = match found.way.clone() {
        Way::Eks(eks) => (Some(eks), None),
        Way::Kubeconfig(kubeconfig) => (None, Some(kubeconfig)),
    };
    let (namespace, on_remove) = (asked.namespace.to_owned(), OnRemove::Retain);
    let spec = RemoteClusterSpec { eks, kubeconfig, proxy_url: None, namespace, suspend: asked.manual, on_remove };
    let mut cluster = RemoteCluster::new(&found.name, spec);
    let mut labels = found.labels.clone();
    labels.insert(owned::LABEL.to_owned(), asked.name.to_owned());
    cluster.metadata.labels = Some(labels);
    cluster.metadata.annotations = owned::note(&found.labels).map(|note| [(owned::FROM_TAGS.to_owned(), note)].into());
    cluster
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
