//! Request bodies. They name no namespace, so one serialisation serves every destination.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::desired::Desired;
use super::fingerprint::Shape;
use super::keys;
use super::object::{Kind, Rv, Uid};

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

    /// The body of an update of replicas with these copied keys.
    pub fn update(&self, desired: &Desired, old: &Arc<Shape>) -> Bytes {
        let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        updates.entry(Arc::clone(old)).or_insert_with(|| update(desired, old).into()).clone()
    }
}

/// The body of a create.
pub fn create(desired: &Desired) -> Vec<u8> {
    let mut object = Map::new();
    object.insert("apiVersion".into(), "v1".into());
    object.insert("kind".into(), desired.key.kind.as_str().into());
    object.insert(
        "metadata".into(),
        json!({ "name": &*desired.key.name, "labels": desired.labels, "annotations": desired.annotations }),
    );
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
    Value::Object(object).to_string().into_bytes()
}

/// The body of an update: a JSON Patch that fails on the server unless the object still carries our marks, and
/// that takes away the copied keys in `old` which are wanted no more. A key is dropped by `add` then `remove`,
/// because `remove` alone fails where somebody else was faster.
pub fn update(desired: &Desired, old: &Shape) -> Vec<u8> {
    let mut patch = vec![
        test("labels", keys::MANAGED_BY, desired.labels.get(keys::MANAGED_BY)),
        test("annotations", keys::ORIGIN, desired.annotations.get(keys::ORIGIN)),
    ];
    // `add` of null or of an empty map takes a field away; all of them are said every time, so that what the
    // source lacks is gone.
    patch.push(json!({ "op": "add", "path": "/data", "value": desired.content.data }));
    if desired.key.kind == Kind::ConfigMap {
        patch.push(json!({ "op": "add", "path": "/binaryData", "value": desired.content.binary_data }));
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
    Value::Array(patch).to_string().into_bytes()
}

/// The body of the write before a master's delete: it switches the replica off, so that the agent there knows
/// that its copies are to go. Guarded by the replica's version.
pub fn switch_off(uid: Uid, rv: Rv) -> Vec<u8> {
    json!([
        { "op": "test", "path": "/metadata/uid", "value": uid.to_string() },
        { "op": "test", "path": "/metadata/resourceVersion", "value": rv.to_string() },
        { "op": "add", "path": path("annotations", keys::SYNC), "value": "no" },
    ])
    .to_string()
    .into_bytes()
}

/// The body of a delete: exactly this object in exactly this version, or nothing.
pub fn delete(uid: Uid, rv: Rv) -> Vec<u8> {
    json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": { "uid": uid.to_string(), "resourceVersion": rv.to_string() },
    })
    .to_string()
    .into_bytes()
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
