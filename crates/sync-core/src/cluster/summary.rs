//! The agent's summary, written to its cluster.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::query::Query;
use super::request::Limits;
use super::wire::Item;
use super::write::{APPLY, DEADLINE, request};
use super::{path, read, request};
use crate::contract::keys::{AGENT_CONFIG_MAP, PULL_SECRETS_LISTED};
use crate::contract::object::{Kind, Object};
use crate::contract::rules::Rules;
use crate::fault::Fault;
use crate::summary::{KEY, TIME};

/// Field manager of the summary: what else stands in that ConfigMap is another's.
const MANAGER: &str = "mw-sync-agent-summary";

/// What stands under the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// No summary.
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
    let found = read::get_object(client, Kind::ConfigMap, &rules.source_namespace, AGENT_CONFIG_MAP).await?;
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
    Ok(Query::all(path::of_kind(Kind::ConfigMap, namespace)?).named(AGENT_CONFIG_MAP))
}

fn stored(mut object: Object) -> Stored {
    let ours = |key: &String| [KEY, TIME, PULL_SECRETS_LISTED].contains(&key.as_str());
    if !object.content.data.keys().all(ours) || !object.content.binary_data.is_empty() {
        return Stored::Foreign;
    }
    match object.content.data.remove(KEY) {
        Some(json) => Stored::Summary { json, time: object.content.data.remove(TIME).unwrap_or_default() },
        None => Stored::Absent,
    }
}

/// Writes it, whatever stands there: a server-side apply of our two keys, which leaves the note of
/// [`service_accounts`](super::service_accounts) beside them as it is. The name is ours by contract; look with [`get`] before
/// the first one all the same.
///
/// # Errors
/// Any answer but success.
pub async fn apply(
    client: &kube::Client,
    rules: &Rules,
    json: &str,
    time: &str,
    deadline: Duration,
) -> Result<(), Fault> {
    apply_data(client, rules, json!({ KEY: json, TIME: time }), deadline).await
}

/// Takes it away, if there is one: nobody is to believe it any more. What others have in that ConfigMap stays.
///
/// # Errors
/// Any answer but success.
pub async fn withdraw(client: &kube::Client, rules: &Rules) -> Result<(), Fault> {
    match get(client, rules).await? {
        Stored::Absent | Stored::Foreign => Ok(()),
        Stored::Summary { .. } => apply_data(client, rules, json!({}), DEADLINE).await,
    }
}

async fn apply_data(client: &kube::Client, rules: &Rules, data: Value, deadline: Duration) -> Result<(), Fault> {
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": AGENT_CONFIG_MAP },
        "data": data,
    });
    let path = path::of_object(Kind::ConfigMap, &rules.source_namespace, AGENT_CONFIG_MAP)?;
    let path = format!("{path}?fieldManager={MANAGER}&force=true");
    let request = request(Method::PATCH, &path, APPLY, &Bytes::from(object.to_string()))?;
    request::send(client, request, Limits { deadline, ..Limits::METADATA }).await.map(drop)
}
