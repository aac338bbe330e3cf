//! One cluster in memory, as far as a controller can tell: objects, namespaces, versions, guarded requests.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::contract::fingerprint::{payload_digest, type_digest};
use crate::contract::object::{Content, Kind, Object, Rv, Uid};
use crate::fault::Fault;
use crate::index::feed::{Labels, NamespaceSeen};
use crate::order::{Looked, Metadata, Order, Reply, Step};
use crate::plan::{Destination, Inside};

/// Kind, namespace, name.
pub(super) type Id = (Kind, String, String);

#[derive(Clone, Debug)]
pub(super) struct Namespace {
    pub(super) uid: Uid,
    pub(super) rv: Rv,
    pub(super) terminating: bool,
    pub(super) opted_out: bool,
}

/// What a watch is told of.
#[derive(Debug)]
pub(super) enum Change {
    Object { before: Option<Box<Object>>, after: Option<Box<Object>>, rv: Rv },
    Namespace { seen: NamespaceSeen, gone: bool },
}

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) rv: u64,
    made: u128,
    pub(super) namespaces: BTreeMap<String, Namespace>,
    pub(super) objects: BTreeMap<Id, Object>,
    pub(super) changes: Vec<Change>,
}

pub(super) fn seen(name: &str, ns: &Namespace) -> NamespaceSeen {
    let state = match (ns.terminating, ns.opted_out) {
        (true, _) => Destination::Leaving,
        (false, true) => Destination::Excluded,
        (false, false) => Destination::Open,
    };
    NamespaceSeen { name: name.to_owned(), uid: ns.uid, rv: ns.rv, state, labels: Labels::new() }
}

pub(super) fn id_of(object: &Object) -> Id {
    (object.kind, object.namespace.clone(), object.name.clone())
}

impl World {
    /// `salt` keeps the uids of two worlds apart.
    pub(super) fn new(salt: u128) -> Self {
        Self { made: salt << 64, ..Self::default() }
    }

    fn uid(&mut self) -> Uid {
        self.made += 1;
        let hex = format!("{:032x}", self.made);
        Uid::parse(&format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])).unwrap()
    }

    fn next(&mut self) -> Rv {
        self.rv += 1;
        Rv(self.rv)
    }

    /// Creates or replaces; a uid is kept, and an equal object is no new version.
    pub(super) fn put(&mut self, mut object: Object) -> Rv {
        let before = self.objects.get(&id_of(&object)).cloned().map(Box::new);
        match &before {
            Some(old) => {
                (object.uid, object.rv) = (old.uid, old.rv);
                let same = |f: &dyn Fn(&Object) -> String| f(old) == f(&object);
                if same(&|o| format!("{:?}{:?}", o.labels, o.annotations)) && old.content == object.content {
                    return old.rv;
                }
            }
            None => object.uid = self.uid(),
        }
        object.rv = self.next();
        let rv = object.rv;
        self.objects.insert(id_of(&object), object.clone());
        self.changes.push(Change::Object { before, after: Some(Box::new(object)), rv });
        rv
    }

    pub(super) fn remove(&mut self, id: &Id) {
        if let Some(before) = self.objects.remove(id) {
            let rv = self.next();
            self.changes.push(Change::Object { before: Some(Box::new(before)), after: None, rv });
        }
    }

    pub(super) fn create_namespace(&mut self, name: &str) {
        if !self.namespaces.contains_key(name) {
            let uid = self.uid();
            let ns = Namespace { uid, rv: Rv(0), terminating: false, opted_out: false };
            self.namespaces.insert(name.to_owned(), ns);
            self.change_namespace(name, |_| ());
        }
    }

    pub(super) fn change_namespace(&mut self, name: &str, change: impl Fn(&mut Namespace)) {
        let rv = self.next();
        if let Some(ns) = self.namespaces.get_mut(name) {
            change(ns);
            ns.rv = rv;
            self.changes.push(Change::Namespace { seen: seen(name, ns), gone: false });
        }
    }

    /// One step of the namespace controller; `false` if no namespace is terminating.
    pub(super) fn terminate_a_bit(&mut self) -> bool {
        let Some(name) = self.namespaces.iter().find(|(_, ns)| ns.terminating).map(|(name, _)| name.clone()) else {
            return false;
        };
        if let Some(id) = self.objects.keys().find(|(_, ns, _)| *ns == name).cloned() {
            self.remove(&id);
        } else if let Some(mut ns) = self.namespaces.remove(&name) {
            ns.rv = self.next();
            self.changes.push(Change::Namespace { seen: seen(&name, &ns), gone: true });
        }
        true
    }

    /// Whether a guarded delete would hit, and what.
    pub(super) fn hit(&self, order: &Order) -> Option<&Object> {
        let object = self.objects.get(&(order.kind, order.namespace.to_string(), order.name.to_string()))?;
        let Step::Delete(body) = &order.step else { return None };
        let options = json_of(body);
        let guard = &options["preconditions"];
        (guard["uid"] == object.uid.to_string() && guard["resourceVersion"] == object.rv.to_string()).then_some(object)
    }

    fn change(&mut self, old: &Object, new: Object) -> Result<Reply, Fault> {
        let data = |o: &Object| (o.content.data.clone(), o.content.binary_data.clone());
        if old.content.immutable && (data(old) != data(&new) || !new.content.immutable) {
            return Err(Fault::Rejected("field is immutable".into()));
        }
        assert_eq!(old.content.secret_type, new.content.secret_type);
        let rv = self.put(new);
        Ok(Reply::Written { uid: old.uid, rv })
    }

    pub(super) fn execute(&mut self, order: &Order) -> Result<Reply, Fault> {
        let id: Id = (order.kind, order.namespace.to_string(), order.name.to_string());
        let there = self.objects.get(&id).cloned();
        match &order.step {
            Step::Create(body) => {
                match self.namespaces.get(&id.1) {
                    None => return Err(Fault::NamespaceMissing),
                    Some(ns) if ns.terminating => return Err(Fault::NamespaceTerminating),
                    Some(_) if there.is_some() => return Err(Fault::AlreadyExists),
                    Some(_) => {}
                }
                let value = json_of(body);
                assert_eq!(value["metadata"]["name"], *order.name);
                assert_eq!(value["kind"], order.kind.as_str());
                assert!(value["metadata"].get("namespace").is_none());
                let rv = self.put(from_json(&id, &value));
                Ok(Reply::Written { uid: self.objects[&id].uid, rv })
            }
            Step::Replace(body) => {
                let old = there.ok_or(Fault::NotFound)?;
                let (is, value) = (to_json(&old), json_of(body));
                if ["uid", "resourceVersion"].iter().any(|guard| is["metadata"][guard] != value["metadata"][guard]) {
                    return Err(Fault::Conflict);
                }
                self.change(&old, from_json(&id, &value))
            }
            Step::Update(body) | Step::SwitchOff(body) | Step::Release(body) | Step::Adopt(body) => {
                let old = there.ok_or(Fault::NotFound)?;
                let mut value = to_json(&old);
                for op in json_of(body).as_array().into_iter().flatten() {
                    patch(&mut value, op).ok_or(Fault::LostRace)?;
                }
                self.change(&old, from_json(&id, &value))
            }
            Step::Delete(_) => {
                there.ok_or(Fault::NotFound)?;
                self.hit(order).ok_or(Fault::Conflict)?;
                self.remove(&id);
                Ok(Reply::Deleted)
            }
            Step::Look | Step::LookInside => Ok(Reply::Looked(there.map(|object| {
                let Object { uid, rv, labels, annotations, content, .. } = object;
                let inside = matches!(order.step, Step::LookInside).then(|| Inside {
                    payload: payload_digest(&content),
                    secret_type: type_digest(&content),
                    immutable: content.immutable,
                });
                Looked { metadata: Metadata { uid, rv, labels, annotations }, inside }
            }))),
        }
    }
}

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

fn to_json(object: &Object) -> Value {
    let content = &object.content;
    let mut metadata = json!({ "uid": object.uid.to_string(), "resourceVersion": object.rv.to_string() });
    // The server leaves empty maps out, and then a patch of a key in them fails.
    for (field, map) in [("labels", &object.labels), ("annotations", &object.annotations)] {
        if !map.is_empty() {
            metadata[field] = json!(map);
        }
    }
    json!({ "metadata": metadata, "type": content.secret_type, "immutable": content.immutable,
        "data": content.data, "binaryData": content.binary_data })
}

fn from_json(id: &Id, value: &Value) -> Object {
    let map = |value: &Value| -> BTreeMap<String, String> {
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        value.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), text(v))).collect()
    };
    let metadata = &value["metadata"];
    Object {
        kind: id.0,
        namespace: id.1.clone(),
        name: id.2.clone(),
        uid: Uid::parse("00000000-0000-4000-8000-000000000000").unwrap(),
        rv: Rv(0),
        labels: map(&metadata["labels"]),
        annotations: map(&metadata["annotations"]),
        content: Content {
            secret_type: value["type"].as_str().map(str::to_owned),
            immutable: value["immutable"].as_bool().unwrap_or(false),
            data: map(&value["data"]),
            binary_data: map(&value["binaryData"]),
        },
        more: false,
    }
}

/// One operation of a JSON Patch; `None` if it fails.
fn patch(value: &mut Value, op: &Value) -> Option<()> {
    let (parent, last) = op["path"].as_str()?.rsplit_once('/')?;
    let key = last.replace("~1", "/").replace("~0", "~");
    let parent: &mut Map<String, Value> = value.pointer_mut(parent)?.as_object_mut()?;
    match op["op"].as_str()? {
        "test" => (parent.get(&key)? == &op["value"]).then_some(()),
        "add" => {
            parent.insert(key, op["value"].clone());
            Some(())
        }
        "remove" => parent.remove(&key).map(drop),
        other => panic!("{other}"),
    }
}
