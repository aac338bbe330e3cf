//! An API server that means harm: whoever owns a remote cluster can have one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::Kubeconfig;
use crate::certificates::Authority;

/// Bytes of an answer that is too long: nobody reads them all.
const HUGE: u64 = 2 << 30;
/// What a terminal would follow, what a browser would run, and what reverses text.
const MARKUP: &str = "<script>alert(1)</script>\\u001b[31mred\\u001b]0;title\\u0007\\u202egnirts\\u0000";

/// Its clock stands still.
const DATE: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

/// What it does; each has a path of its own, and so one server does all at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attack {
    /// Each answer has 2 GB.
    HugeAnswers,
    /// Lists have 2 GB, all else is well.
    HugeLists,
    /// The same in a further cluster: what it costs must not add up.
    HugeListsToo,
    /// Each answer is an error of 2 GB.
    HugeErrors,
    /// Watches send a line that does not end.
    EndlessLine,
    /// Watches send lines that are no events, without a pause.
    Garbage,
    /// Errors, as an API server writes them, in words for terminals and browsers.
    Markup,
    /// Errors of a web page.
    Page,
    /// It sends us elsewhere, with our token.
    Redirect,
    /// Answers come one byte a second, and do not end.
    Drip,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::HugeAnswers,
        Self::HugeLists,
        Self::HugeListsToo,
        Self::HugeErrors,
        Self::EndlessLine,
        Self::Garbage,
        Self::Markup,
        Self::Page,
        Self::Redirect,
        Self::Drip,
    ];

    /// Its name, in lower case.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// A server for all attacks. It ends when the value is dropped.
#[derive(Debug)]
pub struct HostileServer {
    addr: SocketAddr,
    ca_pem: String,
    lured: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl HostileServer {
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
        let lured = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&lured);
        let task = tokio::spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, acceptor.clone(), addr, Arc::clone(&count)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { addr, ca_pem: authority.pem().to_owned(), lured, task })
    }

    /// The way to one attack.
    #[must_use]
    pub fn kubeconfig(&self, attack: Attack) -> Kubeconfig {
        Kubeconfig {
            server: format!("https://{}/{}", self.addr, attack.name()),
            ca_pem: self.ca_pem.clone(),
            token: "token-of-ours".to_owned(),
            name: attack.name(),
            namespace: "operator".to_owned(),
        }
    }

    /// How often somebody has followed a redirect.
    #[must_use]
    pub fn lured(&self) -> usize {
        self.lured.load(Ordering::Relaxed)
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request per connection.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, addr: SocketAddr, lured: Arc<AtomicUsize>) -> Result<()> {
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
            length = value.trim().parse().unwrap_or(0);
        }
    }
    tokio::io::copy(&mut tokio::io::AsyncReadExt::take(&mut stream, length), &mut tokio::io::sink()).await?;
    let path = first.split(' ').nth(1).context("no request")?;
    let (attack, path) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
    let Some(attack) = Attack::ALL.into_iter().find(|known| known.name() == attack) else {
        lured.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    };
    let answer = Answer { stream: stream.into_inner(), attack, addr };
    answer.to(path).await
}

struct Answer<S> {
    stream: S,
    attack: Attack,
    addr: SocketAddr,
}

impl<S: tokio::io::AsyncWrite + Unpin> Answer<S> {
    async fn to(mut self, path: &str) -> Result<()> {
        let (watches, lists) =
            (path.contains("watch=1") || path.contains("watch=true"), path.contains("labelSelector"));
        match self.attack {
            Attack::HugeAnswers => self.repeat("200 OK", "{\"gitVersion\":\"", "A", HUGE).await,
            Attack::HugeErrors => {
                self.repeat("500 No", "{\"kind\":\"Status\",\"code\":500,\"message\":\"", "A", HUGE).await
            }
            Attack::HugeLists | Attack::HugeListsToo if lists && !watches => {
                self.repeat("200 OK", "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[{\"a\":\"", "A", HUGE).await
            }
            Attack::EndlessLine if watches => {
                self.repeat("200 OK", "{\"type\":\"ADDED\",\"object\":{\"a\":\"", "A", u64::MAX).await
            }
            Attack::Garbage if watches => self.repeat("200 OK", "", "{\"no\": \"event\"}\n", u64::MAX).await,
            Attack::Markup if !path.starts_with("version") => {
                let status = format!(
                    "{{\"kind\":\"Status\",\"status\":\"Failure\",\"code\":403,\"reason\":\"Forbidden\",\"message\":\"{}\"}}",
                    MARKUP.repeat(100)
                );
                self.whole("403 No", &status).await
            }
            Attack::Page if !path.starts_with("version") => {
                self.whole("403 <b>No</b>", "<html><body>hunter2 <script>alert(1)</script>\u{1b}[31m").await
            }
            Attack::Redirect => {
                let head = format!("HTTP/1.1 307 There\r\nLocation: https://{}/elsewhere\r\n", self.addr);
                self.stream
                    .write_all(format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
                    .await?;
                Ok(self.stream.flush().await?)
            }
            Attack::Drip => {
                self.head("200 OK").await?;
                loop {
                    self.stream.write_all(b"1\r\n \r\n").await?;
                    self.stream.flush().await?;
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
            _ => self.well(path, watches).await,
        }
    }

    /// As a good server with nothing in it.
    async fn well(&mut self, path: &str, watches: bool) -> Result<()> {
        if watches {
            self.head("200 OK").await?;
            self.stream.flush().await?;
            return std::future::pending().await;
        }
        let number = Attack::ALL.iter().position(|known| *known == self.attack).unwrap_or_default();
        let body = if path.starts_with("version") {
            // Words for a terminal here too.
            "{\"gitVersion\":\"v1.36.0\\u001b[31m\"}".to_owned()
        } else if path.contains("kube-root-ca.crt") {
            format!(
                "{{\"metadata\":{{\"name\":\"kube-root-ca.crt\",\"namespace\":\"x\",\"resourceVersion\":\"1\",\
                 \"uid\":\"0a1b2c3d-0000-4abc-8def-0000000000{number:02}\"}}}}"
            )
        } else {
            "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[]}".to_owned()
        };
        self.whole("200 OK", &body).await
    }

    async fn whole(&mut self, status: &str, body: &str) -> Result<()> {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nDate: {DATE}\r\nContent-Type: application/json\r\n");
        self.stream
            .write_all(format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").as_bytes())
            .await?;
        self.stream.flush().await?;
        Ok(self.stream.shutdown().await?)
    }

    async fn head(&mut self, status: &str) -> Result<()> {
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
        Ok(self.stream.write_all(head.as_bytes()).await?)
    }

    /// A beginning, and then one thing so often, until nobody reads any more.
    async fn repeat(&mut self, status: &str, begin: &str, then: &str, bytes: u64) -> Result<()> {
        self.head(status).await?;
        self.chunk(begin).await?;
        let block = then.repeat((64 << 10) / then.len());
        let mut sent = 0_u64;
        while sent < bytes {
            self.chunk(&block).await?;
            sent += block.len() as u64;
        }
        Ok(self.stream.flush().await?)
    }

    async fn chunk(&mut self, text: &str) -> Result<()> {
        if !text.is_empty() {
            self.stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await?;
        }
        Ok(())
    }
}
