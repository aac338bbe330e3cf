//! Objects as they are on the wire, and what is made of them on arrival.
//!
//! Objects are read one by one, so that one which cannot be understood costs only itself. Nothing of their content
//! is ever shown.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tracing::warn;

use super::path;
use crate::contract::keys;
use crate::contract::marks::{MANAGER_LIMIT, Sighting};
use crate::contract::object::{Content, Kind, Object, Rv, Uid};
use crate::contract::rules::Rules;
use crate::contract::source::{Source, Switch};
use crate::fault::{Fault, message};
use crate::index::feed::{ForeignSeen, NamespaceSeen};
use crate::order::Metadata;
use crate::plan::Destination;
use crate::service_accounts::plan::Account;

/// A `MicroTime`: RFC 3339 in UTC with microseconds.
pub(crate) fn micro_time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// A Secret, a ConfigMap, a Namespace, or the metadata of anything.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Item {
    #[serde(deserialize_with = "nullable")]
    metadata: Meta,
    #[serde(rename = "type")]
    secret_type: Option<String>,
    immutable: Option<bool>,
    #[serde(deserialize_with = "texts")]
    data: BTreeMap<String, String>,
    #[serde(deserialize_with = "texts")]
    binary_data: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    status: Phase,
    image_pull_secrets: Option<Vec<Option<Name>>>,
    #[serde(rename = "apiVersion")]
    _version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    #[serde(flatten)]
    more: More,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    #[serde(deserialize_with = "texts")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "texts")]
    annotations: BTreeMap<String, String>,
    deletion_timestamp: Option<String>,
    #[serde(deserialize_with = "nullable")]
    managed_fields: Vec<Managed>,
    #[serde(rename = "creationTimestamp")]
    _created: IgnoredAny,
    #[serde(flatten)]
    more: More,
}

/// Whether there are fields besides those that are named above.
#[derive(Default)]
struct More(bool);

impl<'de> Deserialize<'de> for More {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let rest = BTreeMap::<String, IgnoredAny>::deserialize(from)?;
        Ok(Self(!rest.is_empty()))
    }
}

/// Who set some fields of an object; which they are does not matter.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Managed {
    manager: Option<String>,
    time: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Phase {
    phase: Option<String>,
}

fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// What is there, if it is a name. Names go into logs, and into the paths of requests.
fn name_in(text: Option<String>) -> Option<String> {
    text.filter(|text| path::segment(text).is_ok())
}

/// Go writes an empty map or an empty byte slice as null.
fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let map: Option<BTreeMap<String, Option<String>>> = Option::deserialize(from)?;
    Ok(map.into_iter().flatten().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

impl Item {
    /// Reads one object.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// Reads the object that an answer is.
    pub(super) fn answered(body: &[u8]) -> Result<Self, Fault> {
        Self::read(body).ok_or(Fault::Odd(200))
    }

    /// A whole Secret or ConfigMap.
    pub(super) fn into_object(self, kind: Kind) -> Option<Object> {
        let more = self.more.0 || self.metadata.more.0 || self.metadata.deletion_timestamp.is_some();
        let Meta { name, namespace, uid, resource_version, labels, annotations, .. } = self.metadata;
        let secret_type = match kind {
            Kind::Secret => Some(self.secret_type?),
            Kind::ConfigMap => None,
        };
        Some(Object {
            kind,
            namespace: name_in(namespace)?,
            name: name_in(name)?,
            uid: Uid::parse(&uid?)?,
            rv: Rv::parse(&resource_version?)?,
            labels,
            annotations,
            content: Content {
                secret_type,
                immutable: self.immutable.unwrap_or(false),
                data: self.data,
                binary_data: self.binary_data,
            },
            more,
        })
    }

    /// A label.
    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.get(key).map(String::as_str)
    }

    /// Its metadata.
    pub(super) fn into_metadata(self) -> Option<Metadata> {
        let Meta { uid, resource_version, labels, annotations, .. } = self.metadata;
        Some(Metadata { uid: Uid::parse(&uid?)?, rv: Rv::parse(&resource_version?)?, labels, annotations })
    }

    fn into_account(self) -> Option<Account> {
        let Meta { name, namespace, uid, resource_version, mut annotations, .. } = self.metadata;
        let added = annotations.remove(keys::ADDED_PULL_SECRETS);
        // Entries without a name keep their place.
        let names = self.image_pull_secrets.into_iter().flatten().map(|entry| entry.unwrap_or_default().name);
        Some(Account {
            namespace: name_in(namespace)?,
            name: name_in(name)?,
            uid: Uid::parse(&uid?)?,
            rv: Rv::parse(&resource_version?)?,
            pull_secrets: names.map(Option::unwrap_or_default).collect(),
            other_annotations: !annotations.is_empty(),
            added,
        })
    }

    /// The last field manager besides this one.
    fn last_manager_but(&mut self, us: &str) -> Option<String> {
        let managers = std::mem::take(&mut self.metadata.managed_fields).into_iter();
        // RFC 3339, always in UTC: their order as texts is that in time.
        let others = managers.filter(|managed| managed.manager.as_deref().is_some_and(|name| name != us));
        let mut name = others.max_by(|a, b| a.time.cmp(&b.time))?.manager?;
        name.truncate(name.floor_char_boundary(MANAGER_LIMIT));
        Some(name)
    }

    /// `metadata.uid`
    pub(super) fn uid(&self) -> Option<Uid> {
        Uid::parse(self.metadata.uid.as_deref()?)
    }

    /// Whether it is on its way out: a namespace's phase follows its deletionTimestamp.
    pub(super) fn is_leaving(&self) -> bool {
        self.metadata.deletion_timestamp.is_some() || self.status.phase.as_deref() == Some("Terminating")
    }

    fn into_namespace(self) -> Option<NamespaceSeen> {
        let annotations = &self.metadata.annotations;
        let opted_out = [keys::SYNC, keys::SYNC_SHORT]
            .iter()
            .any(|key| annotations.get(*key).and_then(|value| Switch::parse(value)) == Some(Switch::No));
        let state = if self.is_leaving() {
            Destination::Leaving
        } else if opted_out {
            Destination::Excluded
        } else {
            Destination::Open
        };
        let Meta { name, uid, resource_version, labels, .. } = self.metadata;
        Some(NamespaceSeen {
            labels,
            name: name_in(name)?,
            uid: Uid::parse(&uid?)?,
            rv: Rv::parse(&resource_version?)?,
            state,
        })
    }
}

/// Reads an object, and says which one it was if that fails.
fn understood<T>(what: &'static str, json: &RawValue, read: impl FnOnce(Item) -> Option<T>) -> Option<T> {
    let understood = Item::read(json.get().as_bytes()).and_then(read);
    if understood.is_none() {
        let named = serde_json::from_str::<Named>(json.get()).unwrap_or_default().metadata;
        let shown = |name: Option<String>| message(name.as_deref().unwrap_or("?"));
        warn!(
            kind = what,
            namespace = shown(named.namespace),
            name = shown(named.name),
            "an object cannot be understood and is passed over"
        );
    }
    understood
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    metadata: Name,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Name {
    name: Option<String>,
    namespace: Option<String>,
}

/// For a watch on the source namespace.
pub fn source(rules: Rules, kind: Kind) -> impl Fn(&RawValue) -> Option<Source> + Send + Sync + 'static {
    move |json| understood(kind.as_str(), json, |item| Some(Source::read(&rules, item.into_object(kind)?)))
}

/// For a watch on our replicas: the bytes are dropped here.
pub fn replica(rules: Rules, kind: Kind) -> impl Fn(&RawValue) -> Option<Sighting> + Send + Sync + 'static {
    move |json| {
        understood(kind.as_str(), json, |mut item| {
            let manager = item.last_manager_but(rules.role.field_manager());
            Some(Sighting { manager, ..Sighting::read(&rules, item.into_object(kind)?) })
        })
    }
}

/// For a watch on all objects of a name.
pub fn foreign(json: &RawValue) -> Option<ForeignSeen> {
    understood("object", json, |mut item| {
        let namespace = item.metadata.namespace.take().filter(|namespace| !namespace.is_empty())?;
        Some(ForeignSeen { namespace, metadata: item.into_metadata()? })
    })
}

/// For a watch on namespaces.
pub fn namespace(json: &RawValue) -> Option<NamespaceSeen> {
    understood("Namespace", json, Item::into_namespace)
}

/// For a watch on ServiceAccounts.
pub fn service_account(json: &RawValue) -> Option<Account> {
    understood("ServiceAccount", json, Item::into_account)
}

/// A page of a list. Go writes an empty list as null.
#[derive(Deserialize)]
pub(super) struct Page<'a> {
    pub(super) metadata: PageHead,
    #[serde(borrow)]
    pub(super) items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageHead {
    pub(super) resource_version: String,
    pub(super) r#continue: Option<String>,
}

/// A line of a watch.
#[derive(Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) object: &'a RawValue,
}

/// What a watch needs to know of an object.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Head {
    pub(super) metadata: HeadMeta,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct HeadMeta {
    pub(super) resource_version: Option<String>,
    pub(super) annotations: Option<HeadAnnotations>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct HeadAnnotations {
    #[serde(rename = "k8s.io/initial-events-end")]
    end: Option<String>,
}

impl HeadAnnotations {
    pub(super) fn end_of_list(&self) -> bool {
        self.end.as_deref() == Some("true")
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
