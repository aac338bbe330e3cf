//! Request bodies. They name no namespace, so one serialisation serves every destination.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::desired::Desired;
use super::fingerprint::Shape;
use super::object::Kind;
use super::options::{OnConflict, OnDelete};
use super::rules::Role;
use super::{keys, marks};
use crate::plan::{Adoption, Guard};

/// The bodies for one version of a source, each serialised on first use and then shared by all destinations.
///
/// [`Desired::bodies`](super::desired::Desired::bodies) hands out the same one while anybody holds it: kept for ever,
/// a body would cost nearly twice the payload.
#[derive(Debug, Default)]
pub struct Bodies {
    create: OnceLock<Bytes>,
    updates: Mutex<BTreeMap<Arc<Shape>, Bytes>>,
}

impl Bodies {
    /// The body of a create.
    pub fn create(&self, desired: &Desired) -> Bytes {
        self.create.get_or_init(|| create(desired).into()).clone()
    }

    /// The body of an update of exactly this version of a replica that nobody has added anything to; `None` if it is
    /// too large to have one for each destination.
    pub fn replace(&self, desired: &Desired, guard: Guard) -> Option<Bytes> {
        let create = self.create(desired);
        (create.len() <= REPLACE_LIMIT).then(|| replace(&create, guard))
    }

    /// The body of an update of replicas with these copied keys.
    pub fn update(&self, desired: &Desired, old: &Arc<Shape>) -> Bytes {
        let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        updates.entry(Arc::clone(old)).or_insert_with(|| update(desired, old).into()).clone()
    }
}

/// Largest body that there is one of for each destination, because a guard is in it: with 64 requests at once that is
/// 4 MiB. Larger updates are JSON Patches, which share theirs.
const REPLACE_LIMIT: usize = 64 << 10;

/// What the body of a create begins with.
const METADATA: &str = r#"{"metadata":{"#;

/// The body of a create.
pub fn create(desired: &Desired) -> Vec<u8> {
    let mut object = Map::new();
    object.insert("apiVersion".into(), "v1".into());
    object.insert("kind".into(), desired.key.kind.as_str().into());
    let metadata = json!({ "name": &*desired.key.name, "labels": desired.labels, "annotations": desired.annotations });
    if let Some(secret_type) = &desired.content.secret_type {
        object.insert("type".into(), secret_type.as_str().into());
    }
    if desired.content.immutable {
        object.insert("immutable".into(), true.into());
    }
    if !desired.content.data.is_empty() {
        object.insert("data".into(), json!(desired.content.data));
    }
    if !desired.content.binary_data.is_empty() {
        object.insert("binaryData".into(), json!(desired.content.binary_data));
    }
    // Metadata first, so that a guard can be put in.
    let (metadata, object) = (metadata.to_string(), Value::Object(object).to_string());
    let [metadata, object] = [&metadata, &object].map(|map| map.strip_prefix('{').unwrap_or_default());
    format!("{METADATA}{metadata},{object}").into_bytes()
}

/// The body of an update by a PUT: that of a create, and the one version of the one object that it is for.
///
/// A PUT takes away whatever it does not name. It is as safe as a JSON Patch, because it is sent only if a watch has
/// shown this very version and nobody had added anything to it, and because the server refuses it when the object is
/// another or has changed in any way since, whoever did it and if only a label was added. To an API server it is a
/// quarter less work, so it is what an update is unless something speaks against it: something was added, a write of ours
/// has had no answer, another incarnation of the source namespace made the replica, the body is large, or a PUT was just
/// refused.
pub fn replace(create: &Bytes, guard: Guard) -> Bytes {
    let Guard { uid, rv } = guard;
    let head = format!(r#"{METADATA}"uid":"{uid}","resourceVersion":"{rv}","#);
    let rest = create.get(METADATA.len()..).unwrap_or_default();
    [head.as_bytes(), rest].concat().into()
}

/// The body of any other update: a JSON Patch that fails on the server unless the object still carries our marks, and
/// that takes away the copied keys in `old` which are wanted no more. A key is dropped by `add` then `remove`,
/// because `remove` alone fails where somebody else was faster.
pub fn update(desired: &Desired, old: &Shape) -> Vec<u8> {
    let mut patch = vec![
        test("labels", keys::MANAGED_BY, desired.labels.get(keys::MANAGED_BY)),
        test("annotations", keys::ORIGIN, desired.annotations.get(keys::ORIGIN)),
    ];
    write_all(&mut patch, desired, old);
    Value::Array(patch).to_string().into_bytes()
}

/// The body of the write that makes somebody's object a replica, guarded by its version.
pub fn adopt(desired: &Desired, adoption: &Adoption) -> Vec<u8> {
    let mut patch = guarded(adoption.guard);
    for (map, has) in [("labels", adoption.has_labels), ("annotations", adoption.has_annotations)] {
        if !has {
            patch.push(json!({ "op": "add", "path": format!("/metadata/{map}"), "value": {} }));
        }
    }
    write_all(&mut patch, desired, &adoption.left);
    patch.extend(drop_key("annotations", keys::RELEASED_FROM));
    let how = match adoption.asked {
        Some(OnConflict::Adopt) => Some(marks::ADOPTED),
        Some(OnConflict::AdoptEqual) => Some(marks::ADOPTED_EQUAL),
        // What it was before it was released stands there still.
        Some(OnConflict::Refuse) | None => None,
    };
    patch.extend(how.map(|how| json!({ "op": "add", "path": path("annotations", keys::ADOPTED), "value": how })));
    Value::Array(patch).to_string().into_bytes()
}

/// The body of the write that makes a replica somebody's object again: our marks go, and one stays from which a source
/// of this origin knows it and takes it back. What a master retains is from then on a source of that cluster; what it
/// only gives back to whom it was adopted from is switched off.
pub fn release(role: Role, origin: &str, guard: Guard, how: OnDelete) -> Vec<u8> {
    let mut patch = guarded(guard);
    let labels = [keys::MANAGED_BY, keys::SOURCE].map(|key| drop_key("labels", key));
    let mut marks = vec![keys::ORIGIN, keys::ORIGIN_UID, keys::COPIED];
    if role == Role::Agent {
        marks.extend([keys::UPSTREAM, keys::ON_DELETE]);
    }
    patch.extend(labels.into_iter().flatten());
    patch.extend(marks.into_iter().flat_map(|key| drop_key("annotations", key)));
    patch.push(json!({ "op": "add", "path": path("annotations", keys::RELEASED_FROM), "value": origin }));
    if role == Role::Master && how == OnDelete::Delete {
        patch.extend(off());
    }
    Value::Array(patch).to_string().into_bytes()
}

/// Makes labels, annotations and content what they should be.
fn write_all(patch: &mut Vec<Value>, desired: &Desired, old: &Shape) {
    // `add` of null takes a field away; all of them are said every time, so that what the source lacks is gone. Never
    // an empty map: to an API server that is a change of an immutable object that has none.
    let field = |map: &BTreeMap<String, String>| (!map.is_empty()).then(|| json!(map));
    patch.push(json!({ "op": "add", "path": "/data", "value": field(&desired.content.data) }));
    if desired.key.kind == Kind::ConfigMap {
        patch.push(json!({ "op": "add", "path": "/binaryData", "value": field(&desired.content.binary_data) }));
    }
    let immutable = desired.content.immutable.then_some(true);
    patch.push(json!({ "op": "add", "path": "/immutable", "value": immutable }));
    for (map, wanted, copied) in
        [("labels", &desired.labels, &old.labels), ("annotations", &desired.annotations, &old.annotations)]
    {
        for (key, value) in wanted {
            patch.push(json!({ "op": "add", "path": path(map, key), "value": value }));
        }
        for key in copied.iter().filter(|key| !wanted.contains_key(*key)) {
            patch.extend(drop_key(map, key));
        }
    }
    // Whoever was told how copies end may be wanted again.
    if desired.annotations.contains_key(keys::SYNC) && !desired.annotations.contains_key(keys::ON_DELETE) {
        patch.extend(drop_key("annotations", keys::ON_DELETE));
    }
}

/// The body of the write before a master's delete: it switches the replica off, so that the agent there knows
/// that its copies are to go. Guarded by the replica's version.
pub fn switch_off(guard: Guard) -> Vec<u8> {
    let mut patch = guarded(guard);
    patch.extend(off());
    Value::Array(patch).to_string().into_bytes()
}

/// Tells the agent there that its copies are to be deleted, whatever stood on the replica so far.
fn off() -> [Value; 2] {
    [(keys::SYNC, "no"), (keys::ON_DELETE, "delete")]
        .map(|(key, value)| json!({ "op": "add", "path": path("annotations", key), "value": value }))
}

/// The body of a delete: exactly this object in exactly this version, or nothing.
pub fn delete(guard: Guard) -> Vec<u8> {
    let Guard { uid, rv } = guard;
    json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": { "uid": uid.to_string(), "resourceVersion": rv.to_string() },
    })
    .to_string()
    .into_bytes()
}

/// Exactly this object in exactly this version.
fn guarded(guard: Guard) -> Vec<Value> {
    vec![
        json!({ "op": "test", "path": "/metadata/uid", "value": guard.uid.to_string() }),
        json!({ "op": "test", "path": "/metadata/resourceVersion", "value": guard.rv.to_string() }),
    ]
}

fn test(map: &str, key: &str, value: Option<&String>) -> Value {
    json!({ "op": "test", "path": path(map, key), "value": value })
}

fn drop_key(map: &str, key: &str) -> [Value; 2] {
    [json!({ "op": "add", "path": path(map, key), "value": "" }), json!({ "op": "remove", "path": path(map, key) })]
}

/// JSON Pointer to a label or annotation.
fn path(map: &str, key: &str) -> String {
    format!("/metadata/{map}/{}", key.replace('~', "~0").replace('/', "~1"))
}
