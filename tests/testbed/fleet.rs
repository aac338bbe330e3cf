//! Many API servers in one: what a master meets in a fleet, without a control plane for each.
//!
//! One listener; each cluster has a loopback address, a certificate, a store, a latency and a fault of its own. They know
//! just what a master asks for in its one namespace, and take note of whatever else they are asked.

mod api;
mod store;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::Kubeconfig;
use crate::certificates::Authority;
use store::Store;

/// How one cluster fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers, after its latency.
    Well,
    /// It takes connections and requests, and says nothing.
    BlackHole,
    /// It answers each request with 503.
    Failing,
}

/// One of the clusters.
struct Member {
    address: Ipv4Addr,
    latency: Duration,
    tls: TlsAcceptor,
    health: Mutex<Health>,
    store: Mutex<Store>,
    /// Something in the store, or the health, has changed.
    news: Notify,
    connections: AtomicUsize,
    most_connections: AtomicUsize,
}

/// All of them. They end when the value is dropped.
pub struct Fleet {
    port: u16,
    ca_pem: String,
    members: Arc<Vec<Arc<Member>>>,
    /// Requests that no member understands.
    odd: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Fleet {
    /// Starts so many; the latency of each is between 1 and 40 ms, and always the same.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start(size: usize) -> Result<Self> {
        let authority = Authority::new()?;
        let members = (0..size).map(|n| Member::new(n, &authority).map(Arc::new)).collect::<Result<Vec<_>>>()?;
        let (members, odd) = (Arc::new(members), Arc::default());
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(accept(listener, Arc::clone(&members), Arc::clone(&odd)));
        Ok(Self { port, ca_pem: authority.pem().to_owned(), members, odd, task })
    }

    /// The address of one cluster's API server.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn url(&self, n: usize) -> String {
        format!("https://{}", SocketAddr::from((self.member(n).address, self.port)))
    }

    /// The authority of all.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The way to one cluster.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn kubeconfig(&self, n: usize) -> Kubeconfig {
        Kubeconfig {
            server: self.url(n),
            ca_pem: self.ca_pem.clone(),
            token: "token-of-ours".to_owned(),
            name: format!("member-{n}"),
            namespace: "operator".to_owned(),
        }
    }

    /// From now on it fares so; what is under way too.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn set(&self, n: usize, health: Health) {
        let member = self.member(n);
        *lock(&member.health) = health;
        member.news.notify_waiters();
    }

    /// When the last of these copies was written with this value of its key `value`; `None` while one is missing.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn has(&self, n: usize, names: &[String], value: &str) -> Option<Instant> {
        let store = lock(&self.member(n).store);
        names.iter().map(|name| store.written(name, value)).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Writes that one cluster has taken so far.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn writes(&self, n: usize) -> usize {
        lock(&self.member(n).store).writes()
    }

    /// Connections that one cluster has now, and the most it ever had at once.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn connections(&self, n: usize) -> (usize, usize) {
        let member = self.member(n);
        (member.connections.load(Ordering::Relaxed), member.most_connections.load(Ordering::Relaxed))
    }

    /// What was asked and is not known here.
    #[must_use]
    pub fn odd_requests(&self) -> Vec<String> {
        lock(&self.odd).clone()
    }

    fn member(&self, n: usize) -> &Member {
        self.members.get(n).expect("there are not so many clusters")
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("port", &self.port).field("size", &self.members.len()).finish()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Member {
    fn new(n: usize, authority: &Authority) -> Result<Self> {
        let [high, low] = u16::try_from(n + 1).context("too many clusters")?.to_be_bytes();
        let address = Ipv4Addr::new(127, 77, high, low);
        let tls = authority.acceptor(&[&address.to_string()], &["h2"])?;
        // Spread over the range, and the same in each run.
        let latency = Duration::from_millis(1 + (n as u64 * 17) % 40);
        Ok(Self {
            address,
            latency,
            tls,
            health: Mutex::new(Health::Well),
            store: Mutex::new(Store::new(n)),
            news: Notify::new(),
            connections: AtomicUsize::new(0),
            most_connections: AtomicUsize::new(0),
        })
    }

    fn health(&self) -> Health {
        *lock(&self.health)
    }

    /// Returns when it answers, in whatever way.
    async fn is_awake(&self) {
        loop {
            let news = self.news.notified();
            if self.health() != Health::BlackHole {
                return;
            }
            news.await;
        }
    }
}

async fn accept(listener: TcpListener, members: Arc<Vec<Arc<Member>>>, odd: Arc<Mutex<Vec<String>>>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let address = stream.local_addr().map(|address| address.ip());
        let member = members.iter().find(|member| address.as_ref().is_ok_and(|address| *address == member.address));
        if let Some(member) = member {
            connections.spawn(talk(stream, Arc::clone(member), Arc::clone(&odd)));
        }
    }
}

async fn talk(stream: TcpStream, member: Arc<Member>, odd: Arc<Mutex<Vec<String>>>) {
    let now = member.connections.fetch_add(1, Ordering::Relaxed) + 1;
    member.most_connections.fetch_max(now, Ordering::Relaxed);
    member.is_awake().await;
    // How a connection ends is the other side's affair.
    if stream.set_nodelay(true).is_ok()
        && let Ok(stream) = member.tls.accept(stream).await
    {
        let member = Arc::clone(&member);
        let service = service_fn(move |request| api::answer(Arc::clone(&member), request, Arc::clone(&odd)));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        drop(connection.await);
    }
    member.connections.fetch_sub(1, Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
