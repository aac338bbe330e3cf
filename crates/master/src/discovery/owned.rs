//! What stands on a RemoteCluster that was discovered, and what of it is kept as it should be.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

use super::found::{Found, Way};
use crate::remote::condition::whole_seconds;
use crate::remote::crd::{EksCluster, KubeconfigRef, RemoteCluster};

/// Label: the ClusterDiscovery that keeps it. Without it the RemoteCluster is a person's.
pub(super) const LABEL: &str = "mw-sync.io/discovered-by";
/// Annotation: since when its cluster is not listed.
pub(super) const NOT_LISTED_SINCE: &str = "mw-sync.io/not-listed-since";
/// Annotation: when it was last looked for and not listed, or up to [`STALE`] before that.
pub(super) const NOT_LISTED_AT: &str = "mw-sync.io/not-listed-at";
/// The mark above is renewed after so long: each look would be too many writes.
pub(super) const STALE: SignedDuration = SignedDuration::from_mins(30);
/// After so long without a look nobody knows whether it was listed meanwhile. Looks are up to 10 min apart, and an hour of
/// trouble should not count.
pub(super) const LOST_SIGHT: SignedDuration = SignedDuration::from_hours(2);
/// The clock of the process that made the mark may have been so much ahead of ours.
const SKEW: SignedDuration = SignedDuration::from_mins(1);
/// Annotation: its cluster was missing in a list that had lost too many. It does not go by itself, however long the list
/// stays so and whatever else is found: only a list that has it again, or a person, takes the mark away.
pub(super) const LIST_SHRUNK: &str = "mw-sync.io/list-shrunk";
/// Annotation: the labels that came from tags, so that one that has gone there goes here.
pub(super) const FROM_TAGS: &str = "mw-sync.io/labels-from-tags";

/// Who has made a RemoteCluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    Person,
    /// The ClusterDiscovery of this name.
    Discovery(&'a str),
}

impl<'a> Owner<'a> {
    pub(super) fn of(cluster: &'a RemoteCluster) -> Self {
        let label = cluster.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL));
        label.map_or(Self::Person, |name| Self::Discovery(name))
    }
}

/// It is being deleted.
pub(super) fn is_leaving(cluster: &RemoteCluster) -> bool {
    cluster.metadata.deletion_timestamp.is_some()
}

fn annotation<'a>(cluster: &'a RemoteCluster, key: &str) -> Option<&'a str> {
    cluster.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// For how long a cluster has been looked for in vain, without a gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Missing {
    pub(super) since: Timestamp,
    at: Timestamp,
}

impl Missing {
    /// As the marks say it; `None` if they cannot be read, or nobody has looked for too long.
    pub(super) fn of(cluster: &RemoteCluster, now: Timestamp) -> Option<Self> {
        let time = |key| annotation(cluster, key)?.parse::<Timestamp>().ok();
        let (since, at) = (time(NOT_LISTED_SINCE)?, time(NOT_LISTED_AT)?);
        (since <= at && at <= now + SKEW && now.duration_since(at) <= LOST_SIGHT).then_some(Self { since, at })
    }

    /// The mark is to be renewed.
    pub(super) fn is_stale(self, now: Timestamp) -> bool {
        now.duration_since(self.at) >= STALE
    }
}

/// Whether it was missing in a list that had lost too many.
pub(super) fn is_held(cluster: &RemoteCluster) -> bool {
    annotation(cluster, LIST_SHRUNK).is_some()
}

/// As the mark says a time.
pub(super) fn written(time: Timestamp) -> String {
    whole_seconds(time).to_string()
}

/// What [`FROM_TAGS`] says of these labels.
pub(super) fn note(labels: &BTreeMap<String, String>) -> Option<String> {
    (!labels.is_empty()).then(|| labels.keys().map(String::as_str).collect::<Vec<_>>().join(","))
}

/// The merge patch that makes a RemoteCluster of ours as what was found; `None` if it is so. What else people have set on it
/// stays: `suspend`, `onRemove`, a proxy, further labels.
pub(super) fn update(found: &Found, cluster: &RemoteCluster) -> Option<Value> {
    let mut patch = Map::new();
    let (labels, annotations) = (labels(found, cluster), annotations(found, cluster));
    let mut metadata = Map::new();
    for (key, changes) in [("labels", labels), ("annotations", annotations)] {
        if !changes.is_empty() {
            metadata.insert(key.to_owned(), changes.into());
        }
    }
    if !metadata.is_empty() {
        patch.insert("metadata".to_owned(), metadata.into());
    }
    if Way::of(&cluster.spec).as_ref() != Some(&found.way) {
        patch.insert("spec".to_owned(), spec(&found.way));
    }
    (!patch.is_empty()).then(|| patch.into())
}

/// The patch, for the object and the version that was looked at and no other.
pub(super) fn exactly(patch: &Value, metadata: &ObjectMeta) -> Value {
    let mut patch = patch.as_object().cloned().unwrap_or_default();
    let mut of = patch.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    of.insert("uid".to_owned(), json!(metadata.uid));
    of.insert("resourceVersion".to_owned(), json!(metadata.resource_version));
    patch.insert("metadata".to_owned(), of.into());
    patch.into()
}

/// In full: what is not said is taken away.
fn spec(way: &Way) -> Value {
    match way {
        Way::Eks(EksCluster { arn, role_arn, external_id }) => {
            json!({ "eks": { "arn": arn, "roleArn": role_arn, "externalId": external_id } })
        }
        Way::Kubeconfig(KubeconfigRef { secret_name, key, context }) => {
            json!({ "kubeconfig": { "secretName": secret_name, "key": key, "context": context } })
        }
    }
}

fn labels(found: &Found, cluster: &RemoteCluster) -> Map<String, Value> {
    let none = BTreeMap::new();
    let there = cluster.metadata.labels.as_ref().unwrap_or(&none);
    let before = annotation(cluster, FROM_TAGS).unwrap_or_default().split(',');
    // Ours says whose it is, whatever stands in the note.
    let gone = before.filter(|key| *key != LABEL && !found.labels.contains_key(*key) && there.contains_key(*key));
    let gone = gone.map(|key| (key.to_owned(), Value::Null));
    let changed = found.labels.iter().filter(|(key, value)| there.get(*key) != Some(value));
    gone.chain(changed.map(|(key, value)| (key.clone(), value.clone().into()))).collect()
}

fn annotations(found: &Found, cluster: &RemoteCluster) -> Map<String, Value> {
    let wanted =
        [(FROM_TAGS, note(&found.labels)), (NOT_LISTED_SINCE, None), (NOT_LISTED_AT, None), (LIST_SHRUNK, None)];
    let changed = wanted.into_iter().filter(|(key, value)| annotation(cluster, key) != value.as_deref());
    changed.map(|(key, value)| (key.to_owned(), value.into())).collect()
}
