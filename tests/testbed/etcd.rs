//! The little that is asked of etcd itself, over its JSON gateway.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

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
    let body = body.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.context("etcd does not answer")?;
    // HTTP/1.0: one answer, unchunked, up to the end of the connection.
    let head =
        format!("POST {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.context("etcd's answer broke off")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("etcd's answer is no HTTP")?;
    if head.split_whitespace().nth(1) != Some("200") {
        bail!("etcd: {path}: {answer}");
    }
    serde_json::from_str(body).context("etcd's answer is no JSON")
}

/// Whether it takes requests.
pub(crate) async fn healthy(port: u16) -> Result<()> {
    post(port, "/v3/kv/range", &json!({"key": "AA=="})).await.map(drop)
}
