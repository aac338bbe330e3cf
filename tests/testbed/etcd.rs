//! The little that is asked of etcd itself, over its JSON gateway.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::local_http;

/// Drops all history: nobody can read, or watch from, a revision before the present one.
pub(crate) async fn compact(port: u16) -> Result<i64> {
    // Any key: what counts is the revision in the answer's header. A key is base64, and this one is a zero byte.
    let range = post(port, "/v3/kv/range", &json!({"key": "AA=="})).await?;
    let revision = range.pointer("/header/revision").and_then(Value::as_str).context("etcd tells no revision")?;
    let revision: i64 = revision.parse()?;
    post(port, "/v3/kv/compaction", &json!({"revision": revision.to_string(), "physical": true})).await?;
    Ok(revision)
}

async fn post(port: u16, path: &str, body: &Value) -> Result<Value> {
    local_http::post("etcd", port, path, body).await
}

/// Whether it takes requests.
pub(crate) async fn healthy(port: u16) -> Result<()> {
    post(port, "/v3/kv/range", &json!({"key": "AA=="})).await.map(drop)
}
