//! ServiceAccounts as a server keeps them, and JSON Patch on them.

use serde_json::{Value, json};

use super::plan::Account;
use crate::contract::keys;
use crate::contract::object::{Rv, Uid};

pub(super) const PREFIX: &str = "operator/";

pub(super) fn uid(n: u8) -> Uid {
    Uid::parse(&format!("00000000-0000-4000-8000-0000000000{n:02x}")).unwrap()
}

/// A ServiceAccount as a server keeps it: nothing empty.
pub(super) fn stored(pull_secrets: &[&str], annotations: &[(&str, &str)]) -> Value {
    let mut object = json!({ "metadata": {
        "namespace": "app", "name": "default", "uid": uid(1).to_string(), "resourceVersion": "7",
    } });
    if !annotations.is_empty() {
        object["metadata"]["annotations"] = annotations.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
    }
    if !pull_secrets.is_empty() {
        object["imagePullSecrets"] = pull_secrets.iter().map(|name| json!({ "name": name })).collect();
    }
    object
}

pub(super) fn read(object: &Value) -> Account {
    let text = |key: &str| object["metadata"][key].as_str().unwrap();
    let empty = serde_json::Map::new();
    let annotations = object["metadata"]["annotations"].as_object().unwrap_or(&empty);
    let names = object["imagePullSecrets"].as_array().into_iter().flatten();
    Account {
        namespace: text("namespace").to_owned(),
        name: text("name").to_owned(),
        uid: Uid::parse(text("uid")).unwrap(),
        rv: Rv::parse(text("resourceVersion")).unwrap(),
        pull_secrets: names.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect(),
        other_annotations: annotations.keys().any(|key| key != keys::ADDED_PULL_SECRETS),
        added: annotations.get(keys::ADDED_PULL_SECRETS).map(|value| value.as_str().unwrap().to_owned()),
    }
}

/// JSON Patch (RFC 6902), as far as it is used here, with the errors that a server has; what is left empty goes.
fn applied(object: &Value, patch: &[Value]) -> Option<Value> {
    let mut object = object.clone();
    for op in patch {
        let path = op["path"].as_str()?;
        let (parent, last) = path.rsplit_once('/')?;
        let last = last.replace("~1", "/").replace("~0", "~");
        let place = object.pointer_mut(parent)?;
        match (op["op"].as_str()?, place) {
            ("test", Value::Object(map)) if map.get(&last)? == &op["value"] => {}
            ("add", Value::Object(map)) => drop(map.insert(last, op["value"].clone())),
            ("add", Value::Array(list)) if last == "-" => list.push(op["value"].clone()),
            ("remove", Value::Object(map)) => drop(map.remove(&last)?),
            ("remove", Value::Array(list)) if last.parse::<usize>().ok()? < list.len() => {
                list.remove(last.parse().ok()?);
            }
            _ => return None,
        }
    }
    Some(object)
}

/// The object after a patch, in the next version and without what is empty; null if the server refuses it.
pub(super) fn patched(object: &Value, patch: &[u8]) -> Value {
    let patch: Vec<Value> = serde_json::from_slice(patch).unwrap();
    let Some(mut object) = applied(object, &patch) else { return Value::Null };
    let full = |value: &Value| match value {
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    };
    object.as_object_mut().unwrap().retain(|_, value| full(value));
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|_, value| full(value));
    let version: u64 = metadata["resourceVersion"].as_str().unwrap().parse().unwrap();
    metadata["resourceVersion"] = (version + 1).to_string().into();
    object
}
