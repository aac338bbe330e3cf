//! An API server in memory: what a controller of Secrets, ConfigMaps, ServiceAccounts and Namespaces can see of a real
//! one.
//!
//! It is a state machine: [`Server::handle`] takes a request and the time and answers at once; delays, losses and the
//! streams of watches are the network's business. What it answers is held to be what a real server answers by the
//! cases in `tests/conformance`, which run against both.

mod apply;
pub(super) mod patch;
pub(super) mod select;
pub(super) mod status;
pub(super) mod store;
mod valid;
pub(super) mod verbs;

pub(super) use select::{LEASES, Request, Selector};
pub(super) use store::{Change, Id, Object, Store};
pub(super) use verbs::{Answer, Opened, Server};

use serde_json::Value;

/// A label or annotation of an object.
pub(super) fn meta<'a>(object: &'a Value, map: &str, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get(map)?.get(key)?.as_str()
}

/// `metadata.resourceVersion`
pub(super) fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// `metadata.uid`
pub(super) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// Whether it is being deleted.
pub(super) fn is_terminating(object: &Value) -> bool {
    object["metadata"].get("deletionTimestamp").is_some()
}
