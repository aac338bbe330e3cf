//! Objects as they are on the wire, and what is made of them on arrival.
//!
//! Objects are read one by one, so that one which cannot be understood costs only itself. Nothing of their content
//! is ever shown.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tracing::warn;

use crate::contract::keys;
use crate::contract::marks::{MANAGER_LIMIT, Sighting};
use crate::contract::object::{Content, Kind, Object, Rv, Uid};
use crate::contract::rules::Rules;
use crate::contract::source::{Source, Switch};
use crate::fault::message;
use crate::index::feed::{ForeignSeen, NamespaceSeen};
use crate::order::Metadata;
use crate::plan::Destination;
use crate::service_accounts::plan::Account;

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

    /// A whole Secret or ConfigMap.
    pub(super) fn into_object(self, kind: Kind) -> Option<Object> {
        let Meta { name, namespace, uid, resource_version, labels, annotations, .. } = self.metadata;
        let secret_type = match kind {
            Kind::Secret => Some(self.secret_type?),
            Kind::ConfigMap => None,
        };
        Some(Object {
            kind,
            namespace: namespace.filter(|namespace| !namespace.is_empty())?,
            name: name.filter(|name| !name.is_empty())?,
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
        })
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
            namespace: namespace.filter(|namespace| !namespace.is_empty())?,
            name: name.filter(|name| !name.is_empty())?,
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
            name: name.filter(|name| !name.is_empty())?,
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
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const UID: &str = "11111111-0000-4000-8000-000000000001";

    fn raw(value: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    fn item(value: &Value) -> Item {
        Item::read(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn nulls_are_absent_and_other_fields_do_not_matter() {
        let json = json!({
            "metadata": { "name": "a", "namespace": "b", "uid": UID, "resourceVersion": "7", "labels": null,
                          "annotations": null, "managedFields": [{ "manager": "x" }] },
            "type": "Opaque", "immutable": null, "data": { "k": null, "l": "dg==" }, "binaryData": null,
            "stringData": {}, "status": null,
        });
        let object = item(&json).into_object(Kind::Secret).unwrap();
        assert_eq!((object.name.as_str(), object.rv, object.content.immutable), ("a", Rv(7), false));
        assert_eq!(object.content.data, [("k".into(), String::new()), ("l".into(), "dg==".into())].into());
        assert!(object.labels.is_empty() && object.content.binary_data.is_empty());
    }

    #[test]
    fn what_lacks_its_identity_is_no_object() {
        let good = json!({ "name": "a", "namespace": "b", "uid": UID, "resourceVersion": "7" });
        assert!(item(&json!({ "metadata": good })).into_object(Kind::ConfigMap).is_some());
        assert!(item(&json!({ "metadata": good })).into_object(Kind::Secret).is_none(), "a Secret without a type");
        for key in ["name", "namespace", "uid", "resourceVersion"] {
            for bad in [Value::Null, json!("")] {
                let mut metadata = good.clone();
                metadata[key] = bad;
                assert!(item(&json!({ "metadata": metadata })).into_object(Kind::ConfigMap).is_none(), "{key}");
            }
        }
        for bad in ["x", "-1", "1.5", "99999999999999999999999"] {
            let mut metadata = good.clone();
            metadata["resourceVersion"] = bad.into();
            assert!(item(&json!({ "metadata": metadata })).into_metadata().is_none(), "{bad}");
        }
        assert!(namespace(&raw(&json!([1]))).is_none());
        assert!(namespace(&raw(&json!({ "metadata": { "name": 1 } }))).is_none());
    }

    #[test]
    fn who_touched_a_replica_last() {
        let managed = |manager: Value, time: &str| {
            json!({ "manager": manager, "operation": "Update", "time": format!("2026-01-01T00:00:{time}Z"),
                "fieldsType": "FieldsV1", "fieldsV1": { "f:data": {} } })
        };
        let last = |fields: Value| {
            let json = json!({ "metadata": { "managedFields": fields } });
            item(&json).last_manager_but("mw-sync-agent")
        };
        let (us, a, b) = (json!("mw-sync-agent"), json!("kubectl-edit"), json!("fluxcd"));
        assert_eq!(last(json!([managed(a.clone(), "07"), managed(us.clone(), "09"), managed(b, "05")])).unwrap(), a);
        for none in [json!([managed(us, "09")]), json!([]), Value::Null, json!([managed(Value::Null, "01")])] {
            assert_eq!(last(none), None);
        }
        assert_eq!(last(json!([managed(json!("ä".repeat(128)), "07")])).unwrap(), "ä".repeat(32));
    }

    #[test]
    fn a_service_account_is_reduced_to_its_entries_and_our_record() {
        let account = |annotations: Value, entries: Value| {
            let metadata = json!({ "name": "default", "namespace": "app", "uid": UID, "resourceVersion": "7",
                                   "annotations": annotations });
            service_account(&raw(&json!({ "metadata": metadata, "imagePullSecrets": entries, "secrets": [{}] })))
        };
        let bare = account(Value::Null, Value::Null).unwrap();
        assert_eq!((bare.pull_secrets.len(), bare.other_annotations, bare.added), (0, false, None));
        let ours = json!({ "mw-sync.io/added-pull-secrets": "x" });
        let full = account(ours, json!([{ "name": "a" }, null, {}, { "name": null }, { "name": "b" }])).unwrap();
        assert_eq!(full.pull_secrets, ["a", "", "", "", "b"]);
        assert_eq!((full.other_annotations, full.added.as_deref()), (false, Some("x")));
        assert!(account(json!({ "other": "x" }), json!([])).unwrap().other_annotations);
        assert!(account(json!({}), json!(["a"])).is_none());
    }

    #[test]
    fn the_state_of_a_namespace() {
        let state = |more: Value, status: Value| {
            let mut metadata = json!({ "name": "a", "uid": UID, "resourceVersion": "7" });
            metadata.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
            namespace(&raw(&json!({ "metadata": metadata, "status": status }))).unwrap().state
        };
        let annotated = |key: &str, value: &str| json!({ "annotations": { key: value } });
        let active = || json!({ "phase": "Active" });
        assert_eq!(state(json!({}), active()), Destination::Open);
        assert_eq!(state(json!({}), Value::Null), Destination::Open, "metadata only");
        assert_eq!(state(json!({}), json!({ "phase": "Terminating" })), Destination::Leaving);
        let leaving = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "annotations": { "mw-sync": "no" } });
        assert_eq!(state(leaving, Value::Null), Destination::Leaving);
        for no in ["no", "Off", "0", "false"] {
            assert_eq!(state(annotated("mw-sync.io/sync", no), active()), Destination::Excluded);
            assert_eq!(state(annotated("mw-sync", no), active()), Destination::Excluded);
        }
        for open in ["yes", "", "maybe"] {
            assert_eq!(state(annotated("mw-sync", open), active()), Destination::Open, "{open}");
        }
    }
}
