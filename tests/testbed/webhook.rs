//! An admission webhook that rejects what it is asked about, and says everything that it has seen, or says nothing at all.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::certificates::Authority;

/// What is asked here is not answered.
const SILENCE: &str = "/silence";

/// How it rejects; each has a path of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rejection {
    /// As webhooks do: the request is forbidden.
    Denial,
    /// The same with the code of a server that fails.
    DenialAsFailure,
    /// It fails itself, and shows the request.
    Failure,
}

impl Rejection {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Denial, Self::DenialAsFailure, Self::Failure];

    /// Its name, in lower case.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// Its server. It ends when the value is dropped.
#[derive(Debug)]
pub struct TalkativeWebhook {
    addr: SocketAddr,
    ca_pem: String,
    unanswered: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl TalkativeWebhook {
    /// Starts it.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start() -> Result<Self> {
        let authority = Authority::new()?;
        // No HTTP/2: by hand, HTTP/1.1 is enough.
        let acceptor = authority.acceptor(&["127.0.0.1"], &[])?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let unanswered = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&unanswered);
        let task = tokio::spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, acceptor.clone(), Arc::clone(&count)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { addr, ca_pem: authority.pem().to_owned(), unanswered, task })
    }

    /// Where an API server asks it and gets no answer, and the authority that its certificate is from.
    #[must_use]
    pub fn silent_url(&self) -> (String, &str) {
        (format!("https://{}{SILENCE}", self.addr), &self.ca_pem)
    }

    /// How many requests have had no answer so far.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Where an API server asks it, and the authority that its certificate is from.
    #[must_use]
    pub fn url(&self, rejection: Rejection) -> (String, &str) {
        (format!("https://{}/{}", self.addr, rejection.name()), &self.ca_pem)
    }
}

impl Drop for TalkativeWebhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request per connection.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, unanswered: Arc<AtomicUsize>) -> Result<()> {
    let mut stream = BufReader::new(acceptor.accept(stream).await?);
    let mut first = String::new();
    stream.read_line(&mut first).await?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let path = first.split(' ').nth(1).context("no request")?;
    if path.starts_with(SILENCE) {
        unanswered.fetch_add(1, Ordering::Relaxed);
        // Until the other side has enough of it.
        stream.read_u8().await?;
    }
    let (head, kind, answer) = answer(path, &body)?;
    let text = format!(
        "HTTP/1.1 {head}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
        answer.len()
    );
    stream.write_all(text.as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

fn answer(path: &str, body: &[u8]) -> Result<(&'static str, &'static str, String)> {
    let review: Value = serde_json::from_slice(body)?;
    let says = format!("not in this place: {:?}", review.pointer("/request/object/data").map(Value::to_string));
    let name = path.trim_start_matches('/').split('?').next().unwrap_or_default();
    let rejection = Rejection::ALL.into_iter().find(|known| known.name() == name);
    let code = match rejection.context("a path that is nobody's")? {
        Rejection::Failure => return Ok(("500 Internal Server Error", "text/plain", says)),
        Rejection::DenialAsFailure => 503,
        Rejection::Denial => 403,
    };
    let response = json!({
        "uid": review.pointer("/request/uid"), "allowed": false, "status": { "code": code, "message": says }
    });
    let answer = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response });
    Ok(("200 OK", "application/json", answer.to_string()))
}
