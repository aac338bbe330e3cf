//! The answers of a server that refuses.

use serde_json::{Value, json};

use super::Id;

/// Status code and body.
pub(in super::super) type Refusal = (u16, Value);

pub(in super::super) fn failure(code: u16, reason: &str, message: &str, details: &Value) -> Refusal {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": details, "code": code });
    (code, body)
}

fn of(id: &Id) -> Value {
    json!({ "name": id.name, "kind": id.plural })
}

fn kind(id: &Id) -> &'static str {
    match id.plural {
        "secrets" => "Secret",
        "serviceaccounts" => "ServiceAccount",
        _ => "ConfigMap",
    }
}

pub(in super::super) fn not_found(id: &Id) -> Refusal {
    failure(404, "NotFound", &format!("{} {:?} not found", id.plural, id.name), &of(id))
}

pub(super) fn already_exists(id: &Id) -> Refusal {
    failure(409, "AlreadyExists", &format!("{} {:?} already exists", id.plural, id.name), &of(id))
}

pub(in super::super) fn conflict(id: &Id) -> Refusal {
    let details = json!({ "name": id.name, "kind": kind(id) });
    failure(409, "Conflict", &format!("Operation cannot be fulfilled on {} {:?}", id.plural, id.name), &details)
}

/// The same of a PUT.
pub(super) fn outdated(id: &Id) -> Refusal {
    failure(409, "Conflict", &format!("Operation cannot be fulfilled on {} {:?}", id.plural, id.name), &of(id))
}

pub(super) fn terminating(id: &Id) -> Refusal {
    let mut details = of(id);
    let message = format!("namespace {} is being terminated", id.namespace);
    details["causes"] =
        json!([{ "reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace" }]);
    failure(403, "Forbidden", "unable to create new content", &details)
}

/// The object is wrong: its name is told.
pub(super) fn invalid(id: &Id, field: &str, message: &str) -> Refusal {
    let kind = kind(id);
    let details = json!({ "name": id.name, "kind": kind, "causes":
        [{ "reason": "FieldValueForbidden", "message": message, "field": field }] });
    failure(422, "Invalid", &format!("{kind} {:?} is invalid: {field}: {message}", id.name), &details)
}

/// The request does not fit the object: no name is told.
pub(super) fn unprocessable() -> Refusal {
    failure(422, "Invalid", "the server rejected our request due to an error in our request", &json!({}))
}

pub(in super::super) fn bad_request(message: &str) -> Refusal {
    failure(400, "BadRequest", message, &json!({}))
}

pub(in super::super) fn expired() -> Refusal {
    failure(410, "Expired", "too old resource version", &Value::Null)
}
