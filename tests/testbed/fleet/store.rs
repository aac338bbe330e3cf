//! What one cluster of a [`Fleet`](super::Fleet) holds: Secrets and ConfigMaps of one namespace.

use std::collections::BTreeMap;
use std::time::Instant;

use k8s_openapi::ByteString;
use serde_json::{Value, json};

/// Kind (`secrets`, `configmaps`) and name.
pub(super) type Key = (String, String);

/// One change, for watches.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) version: u64,
    pub(super) kind: String,
    pub(super) json: String,
}

/// Objects, and all that has ever happened to them.
#[derive(Debug)]
pub(super) struct Store {
    number: usize,
    version: u64,
    objects: BTreeMap<Key, (Value, Instant)>,
    events: Vec<Event>,
    writes: usize,
}

/// Why a write is refused: HTTP status and reason.
pub(super) type Refused = (u16, &'static str);

impl Store {
    /// With the ConfigMap that every namespace has.
    pub(super) fn new(number: usize) -> Self {
        let mut store = Self { number, version: 1, objects: BTreeMap::new(), events: Vec::new(), writes: 0 };
        let root = json!({ "metadata": { "name": "kube-root-ca.crt", "namespace": "operator" } });
        // Nothing is there that it could meet.
        let _made = store.create("configmaps", root);
        store.writes = 0;
        store
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) const fn writes(&self) -> usize {
        self.writes
    }

    pub(super) fn get(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(kind.to_owned(), name.to_owned())).map(|(object, _)| object)
    }

    pub(super) fn list(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |((of, _), _)| of == kind).map(|(_, (object, _))| object)
    }

    /// Events of a kind after a version.
    pub(super) fn since(&self, kind: &str, version: u64) -> Vec<Event> {
        let from = self.events.partition_point(|event| event.version <= version);
        self.events.iter().skip(from).filter(|event| event.kind == kind).cloned().collect()
    }

    /// When a Secret was written, if its key `value` has this value.
    pub(super) fn written(&self, name: &str, value: &str) -> Option<Instant> {
        let (object, at) = self.objects.get(&("secrets".to_owned(), name.to_owned()))?;
        let held: ByteString = serde_json::from_value(object.pointer("/data/value")?.clone()).ok()?;
        (held.0 == value.as_bytes()).then_some(*at)
    }

    pub(super) fn create(&mut self, kind: &str, object: Value) -> Result<Value, Refused> {
        let name = name_of(&object).ok_or((422, "Invalid"))?;
        if self.get(kind, &name).is_some() {
            return Err((409, "AlreadyExists"));
        }
        let uid = format!("{:08x}-0000-4000-8000-{:012x}", self.number, self.version);
        Ok(self.put((kind.to_owned(), name), object, &uid, "ADDED"))
    }

    pub(super) fn replace(&mut self, kind: &str, name: &str, object: Value) -> Result<Value, Refused> {
        let old = self.get(kind, name).ok_or((404, "NotFound"))?;
        let of = |object: &Value, field: &str| object.pointer(&format!("/metadata/{field}")).cloned();
        for field in ["uid", "resourceVersion"] {
            if of(&object, field).is_some_and(|wanted| Some(wanted) != of(old, field)) {
                return Err((409, "Conflict"));
            }
        }
        let uid = of(old, "uid").and_then(|uid| uid.as_str().map(str::to_owned)).unwrap_or_default();
        Ok(self.put((kind.to_owned(), name.to_owned()), object, &uid, "MODIFIED"))
    }

    /// A JSON Patch of an object's maps.
    pub(super) fn patch(&mut self, kind: &str, name: &str, patch: &Value) -> Result<Value, Refused> {
        let mut object = self.get(kind, name).ok_or((404, "NotFound"))?.clone();
        let done = patch.as_array().and_then(|steps| steps.iter().try_for_each(|step| apply(&mut object, step)));
        done.ok_or((422, "Invalid"))?;
        self.replace(kind, name, object)
    }

    fn put(&mut self, key: Key, mut object: Value, uid: &str, event: &str) -> Value {
        self.version += 1;
        self.writes += 1;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), "operator".into());
            metadata.insert("uid".to_owned(), uid.into());
            metadata.insert("resourceVersion".to_owned(), self.version.to_string().into());
            metadata.insert("creationTimestamp".to_owned(), "2026-01-01T00:00:00Z".into());
        }
        let json = format!("{}\n", json!({ "type": event, "object": object }));
        self.events.push(Event { version: self.version, kind: key.0.clone(), json });
        self.objects.insert(key, (object.clone(), Instant::now()));
        object
    }
}

fn name_of(object: &Value) -> Option<String> {
    object.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned)
}

/// One operation, as an API server understands it: what is missing equals null.
fn apply(object: &mut Value, step: &Value) -> Option<()> {
    let text = |field: &str| step.get(field).and_then(Value::as_str);
    let (parent, key) = text("path")?.rsplit_once('/')?;
    let key = key.replace("~1", "/").replace("~0", "~");
    let (parent, value) = (object.pointer_mut(parent)?.as_object_mut()?, step.get("value").unwrap_or(&Value::Null));
    match text("op")? {
        "test" => (parent.get(&key).unwrap_or(&Value::Null) == value).then_some(()),
        "add" => {
            parent.insert(key, value.clone());
            Some(())
        }
        "replace" => parent.get_mut(&key).map(|old| *old = value.clone()),
        "remove" => parent.remove(&key).map(drop),
        _ => None,
    }
}
