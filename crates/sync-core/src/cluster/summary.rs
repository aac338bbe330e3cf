//! The agent's summary, written to its cluster.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;
use serde_json::value::RawValue;

use super::query::Query;
use super::request::Limits;
use super::wire::Item;
use super::write::{JSON, JSON_PATCH, request};
use super::{path, read, request};
use crate::contract::object::{Kind, Object};
use crate::contract::rules::Rules;
use crate::fault::Fault;
use crate::summary::{KEY, LABEL, LABEL_VALUE, NAME, TIME};

/// What stands under the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Nothing.
    Absent,
    /// Somebody else's ConfigMap.
    Foreign,
    /// An agent's summary and when it was written, as they stand there.
    Summary {
        /// [`KEY`]
        json: String,
        /// [`TIME`]
        time: String,
    },
}

/// Reads it.
///
/// # Errors
/// Any answer but the object or that there is none.
pub async fn get(client: &kube::Client, rules: &Rules) -> Result<Stored, Fault> {
    let found = read::get_object(client, Kind::ConfigMap, &rules.source_namespace, NAME).await?;
    Ok(found.map_or(Stored::Absent, stored))
}

/// The same of what a watch shows.
pub fn decode(json: &RawValue) -> Option<Stored> {
    Some(stored(Item::read(json.get().as_bytes())?.into_object(Kind::ConfigMap)?))
}

/// The watch on it.
///
/// # Errors
/// If the namespace cannot be one.
pub fn query(namespace: &str) -> Result<Query, Fault> {
    let query = Query::all(path::of_kind(Kind::ConfigMap, namespace)?);
    Ok(Query { fields: Some(format!("metadata.name={NAME}")), ..query })
}

fn stored(mut object: Object) -> Stored {
    if object.labels.get(LABEL).is_none_or(|label| label != LABEL_VALUE) {
        return Stored::Foreign;
    }
    let mut take = |key| object.content.data.remove(key).unwrap_or_default();
    Stored::Summary { json: take(KEY), time: take(TIME) }
}

/// Writes it where none is.
///
/// # Errors
/// Any answer but success.
pub async fn create(
    client: &kube::Client,
    rules: &Rules,
    json: &str,
    time: &str,
    deadline: Duration,
) -> Result<(), Fault> {
    let namespace = &rules.source_namespace;
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": NAME, "namespace": namespace, "labels": { LABEL: LABEL_VALUE } },
        "data": { KEY: json, TIME: time },
    });
    let path = path::of_kind(Kind::ConfigMap, namespace)?;
    send(client, rules, Method::POST, &path, JSON, &object, deadline).await
}

/// Writes it over what an agent has written.
///
/// # Errors
/// Any answer but success; [`Fault::LostRace`] if what stands there is not an agent's.
pub async fn update(
    client: &kube::Client,
    rules: &Rules,
    json: &str,
    time: &str,
    deadline: Duration,
) -> Result<(), Fault> {
    let label = format!("/metadata/labels/{}", LABEL.replace('/', "~1"));
    let patch = json!([
        { "op": "test", "path": label, "value": LABEL_VALUE },
        { "op": "add", "path": "/data", "value": { KEY: json, TIME: time } },
    ]);
    let path = path::of_object(Kind::ConfigMap, &rules.source_namespace, NAME)?;
    send(client, rules, Method::PATCH, &path, JSON_PATCH, &patch, deadline).await
}

async fn send(
    client: &kube::Client,
    rules: &Rules,
    method: Method,
    path: &str,
    content: &str,
    body: &serde_json::Value,
    deadline: Duration,
) -> Result<(), Fault> {
    let path = format!("{path}?fieldManager={}", path::encode(rules.role.field_manager()));
    let request = request(method, &path, content, &Bytes::from(body.to_string()))?;
    request::send(client, request, Limits { deadline, ..Limits::METADATA }).await.map(drop)
}
