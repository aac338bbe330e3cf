//! What an object must be like, and how it may change.

use serde_json::{Value, json};

use super::status::{Refusal, invalid};
use super::{Id, LEASES};

/// As the server writes it: what is empty or null is left out, and a Secret has a type.
pub(super) fn normalise(id: &Id, object: &mut Value) {
    let is_empty = |value: &Value| match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        value => value.is_null(),
    };
    if let Some(fields) = object.as_object_mut() {
        for field in ["data", "binaryData", "immutable", "imagePullSecrets"] {
            if fields.get(field).is_some_and(is_empty) {
                fields.remove(field);
            }
        }
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["labels", "annotations", "managedFields"] {
            if metadata.get(field).is_some_and(is_empty) {
                metadata.remove(field);
            }
        }
        metadata.remove("generateName");
    }
    if id.plural == "secrets" && object["type"].as_str().is_none_or(str::is_empty) {
        object["type"] = "Opaque".into();
    }
    if id.plural == "namespaces" {
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = id.name.as_str().into();
        if object["status"]["phase"].is_null() {
            object["status"]["phase"] = "Active".into();
        }
    }
    object["apiVersion"] = if id.plural == LEASES { "coordination.k8s.io/v1" } else { "v1" }.into();
    object["kind"] = match id.plural {
        "secrets" => "Secret",
        "configmaps" => "ConfigMap",
        "serviceaccounts" => "ServiceAccount",
        LEASES => "Lease",
        _ => "Namespace",
    }
    .into();
    object["metadata"]["name"] = id.name.as_str().into();
    if !id.namespace.is_empty() {
        object["metadata"]["namespace"] = id.namespace.as_str().into();
    }
}

/// Whether `new`, as it was sent, may take the place of `old`. To an immutable object an empty map is a change where
/// there was none, but for the data of a ConfigMap.
pub(super) fn update(id: &Id, old: &Value, new: &Value) -> Result<(), Refusal> {
    if id.plural == "secrets" && old["type"] != new["type"] {
        return Err(invalid(id, "type", "field is immutable"));
    }
    if old["immutable"] == json!(true) {
        if new["immutable"] != json!(true) {
            return Err(invalid(id, "immutable", "field is immutable when `immutable` is set"));
        }
        let same = |field: &str| old[field] == new[field];
        let no_data = |object: &Value| object["data"].as_object().is_none_or(serde_json::Map::is_empty);
        let both_empty = id.plural == "configmaps" && no_data(old) && no_data(new);
        if !(same("data") || both_empty) || !same("binaryData") {
            return Err(invalid(id, "data", "field is immutable when `immutable` is set"));
        }
    }
    Ok(())
}
