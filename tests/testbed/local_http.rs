//! Requests to programs of the testbed on this machine: JSON there and back.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends one request on a connection of its own. `what` is the program, for errors.
pub(crate) async fn post(what: &str, port: u16, path: &str, body: &Value) -> Result<Value> {
    let body = body.to_string();
    let mut stream =
        TcpStream::connect(("127.0.0.1", port)).await.with_context(|| format!("{what} does not answer"))?;
    // HTTP/1.0: one answer, unchunked, up to the end of the connection.
    let head = format!("POST {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
    // In one piece: whoever answers without the body, and closes before it comes, takes the answer away with a reset.
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.with_context(|| format!("{what}'s answer broke off"))?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("{what}'s answer is no HTTP"))?;
    if head.split_whitespace().nth(1) != Some("200") {
        bail!("{what}: {path}: {answer}");
    }
    serde_json::from_str(body).with_context(|| format!("{what}'s answer is no JSON"))
}
