//! The HTTP clients of one cluster.
//!
//! kube's own stack speaks HTTP/1.1 only, opens one connection per request in flight, retries every verb and logs
//! bodies; so the stack below [`kube::Client`] is ours: HTTP/2 over rustls, no retry, no redirect, no trace layer.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::TryFutureExt as _;
use futures::future::try_join;
use http::{HeaderValue, Request, Response, Uri, header};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::client::{Body, ConfigExt as _};
use serde::Deserialize;
use tokio::net::TcpStream;
use tower::{BoxError, Layer as _, Service, ServiceBuilder, ServiceExt as _};

use super::access::{Access, AccessError, Login};
use super::addresses::AddressRules;
use super::read;
use crate::fault::{Fault, message};

/// How long a new connection may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For TCP, to all addresses of a name together.
    tcp: Duration,
    /// For TCP and TLS together: a peer that accepts and then says nothing would hold the attempt for ever.
    handshake: Duration,
}

impl Patience {
    /// Of a controller, which tries again. Shorter than the shortest deadline of a write, 4 s, or which of the two is told
    /// would be chance, and a status that flaps.
    pub const CONTROLLER: Self = Self { tcp: Duration::from_secs(3), handshake: Duration::from_millis(3500) };
    /// Of a person, who has asked once. Shorter than the deadline of a read, 10 s, for the same reason.
    pub const PERSON: Self = Self { tcp: Duration::from_secs(8), handshake: Duration::from_secs(9) };
}

/// HTTP/2 pings find out that a peer is gone, long before TCP does.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// One whole Secret in flight per stream, and several streams that nobody reads at the moment: a watch whose reader
/// waits must not stop the others on the connection.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Two clients with a connection each, so that writes which wait never hold up a watch that starts again.
#[derive(Clone)]
pub struct Connection {
    /// For lists, watches and reads.
    pub watch: kube::Client,
    /// For orders.
    pub write: kube::Client,
}

/// What a server says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVersion {
    /// E.g. `v1.36.3-eks-1234567`; cut and escaped.
    pub git: String,
}

impl Connection {
    /// Makes the clients; nothing is sent yet. `user_agent` is like `mw-sync-agent/0.1.0`. They belong to the tokio
    /// runtime that this is called in.
    ///
    /// # Errors
    /// If a header cannot carry something of the access.
    pub fn new(access: &Access, user_agent: &str) -> Result<Self, AccessError> {
        Self::with(access, user_agent, Patience::CONTROLLER)
    }

    /// The same, with more or less patience.
    ///
    /// # Errors
    /// As [`Connection::new`].
    pub fn with(access: &Access, user_agent: &str, patience: Patience) -> Result<Self, AccessError> {
        let client = || client(access, user_agent, patience);
        Ok(Self { watch: client()?, write: client()? })
    }

    /// To our own cluster: by the usual rules of a kubeconfig, with this context, or as a pod. Its server's address comes
    /// with it, and nothing is sent yet.
    ///
    /// # Errors
    /// If there is no way to reach a cluster.
    pub async fn local(
        context: Option<&str>,
        user_agent: &str,
        patience: Patience,
    ) -> Result<(Uri, Self), AccessError> {
        let access = Access::local(context).await?;
        Ok((access.server().clone(), Self::with(&access, user_agent, patience)?))
    }

    /// Asks for the version on both, so that the connections are there, and known to be HTTP/2 or not, before many
    /// requests come at once.
    ///
    /// # Errors
    /// If either gets no answer.
    pub async fn warm(&self) -> Result<ServerVersion, Fault> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            git_version: String,
        }
        let ask = async |client| match read::get_json::<Version>(client, "/version").await {
            // So ends the first connection to a server without HTTP/2.
            Err(Fault::Connect(_)) => read::get_json(client, "/version").await,
            answer => answer,
        };
        let (version, _) = try_join(ask(&self.watch), ask(&self.write)).await?;
        Ok(ServerVersion { git: message(&version.git_version.chars().take(64).collect::<String>()) })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

fn client(access: &Access, user_agent: &str, patience: Patience) -> Result<kube::Client, AccessError> {
    let http1_only = Arc::new(AtomicBool::new(access.server().scheme_str() == Some("http")));
    let mut builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
    builder.timer(TokioTimer::new()).pool_timer(TokioTimer::new());
    let http1 = builder.pool_idle_timeout(Duration::from_secs(90)).build::<_, Body>(connector(access, None, patience));
    // With HTTP/2 for certain there is one dial, however many requests wait for it; with a choice each request would
    // dial to find out, and a burst after an idle hour would open a connection per request. So it is kept, too.
    let http2 = builder
        .http2_only(true)
        .pool_idle_timeout(None)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .build::<_, Body>(connector(access, Some(Arc::clone(&http1_only)), patience));
    let http = tower::service_fn(move |request| {
        if http1_only.load(Ordering::Relaxed) { http1.request(request) } else { http2.request(request) }
    });
    let http = http.map_err(BoxError::from);
    match &access.login {
        Login::None => finish(access, user_agent, http),
        Login::Header(swap) => finish(access, user_agent, swap.layer(http)),
        Login::Renewing(renewing) => finish(access, user_agent, renewing.layer(http)),
        Login::Kube(auth) => finish(access, user_agent, auth.layer(http)),
    }
}

fn finish<S, B>(access: &Access, user_agent: &str, service: S) -> Result<kube::Client, AccessError>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Send + 'static,
    S::Future: Send + 'static,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let no_header = || AccessError::Local("the user agent or an impersonation fits in no HTTP header".to_owned());
    let mut config = access.config.clone();
    let user_agent = HeaderValue::from_str(user_agent).map_err(|_| no_header())?;
    config.headers.push((header::USER_AGENT, user_agent));
    let headers = config.extra_headers_layer().map_err(|_| no_header())?;
    let service = ServiceBuilder::new().layer(config.base_uri_layer()).layer(headers).service(service);
    Ok(kube::Client::new(service, config.default_namespace))
}

/// What a connector promises.
type Connecting<T> = std::pin::Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;
type Tcp = TokioIo<TcpStream>;
type Tls = MaybeHttpsStream<Tcp>;

/// A connector to any server over TLS, or to one that speaks HTTP/2. One that does not is remembered.
fn connector(
    access: &Access,
    http1_only: Option<Arc<AtomicBool>>,
    patience: Patience,
) -> impl Service<Uri, Response = Tls, Error = BoxError, Future = Connecting<Tls>> + Clone + Send + Sync + 'static {
    let builder = HttpsConnectorBuilder::new().with_tls_config(access.tls.clone());
    // A local kubeconfig may name a `kubectl proxy`; a remote cluster's URL was checked.
    let mut builder = if access.addresses.is_some() { builder.https_only() } else { builder.https_or_http() };
    if let Some(name) = &access.tls_name {
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name.clone()));
    }
    let https = builder.enable_all_versions().wrap_connector(tcp(access, patience.tcp));
    tower::service_fn(move |uri| {
        let (connecting, http1_only) = (https.clone().oneshot(uri), http1_only.clone());
        let timed = async move {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
            let stream = tokio::time::timeout(patience.handshake, connecting).await.map_err(late)??;
            match http1_only {
                Some(http1_only) if !stream.connected().is_negotiated_h2() => {
                    http1_only.store(true, Ordering::Relaxed);
                    Err(io::Error::new(io::ErrorKind::Unsupported, "the server has no HTTP/2: HTTP/1.1 is next").into())
                }
                _ => Ok(stream),
            }
        };
        Box::pin(timed) as Connecting<Tls>
    })
}

/// To the server, or to the proxy and by that to the server.
fn tcp(
    access: &Access,
    timeout: Duration,
) -> impl Service<Uri, Response = Tcp, Error = BoxError, Future = Connecting<Tcp>> + Clone + Send + Sync + 'static {
    let mut tcp = HttpConnector::new_with_resolver(Resolver(access.addresses.clone()));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(timeout));
    tcp.set_keepalive(Some(Duration::from_secs(30)));
    let tunnel = access.proxy.as_ref().map(|proxy| {
        let tunnel = Tunnel::new(proxy.uri.clone(), tcp.clone());
        proxy.auth.iter().cloned().fold(tunnel, Tunnel::with_auth)
    });
    tower::service_fn(move |uri| match tunnel.clone() {
        Some(tunnel) => Box::pin(tunnel.oneshot(uri).map_err(BoxError::from)) as Connecting<Tcp>,
        None => Box::pin(tcp.clone().oneshot(uri).map_err(BoxError::from)),
    })
}

/// The system's resolver, without the addresses that are not allowed: a name can be made to lead anywhere, and
/// differently each time. Addresses in a URL do not come here; they were checked when the access was made.
#[derive(Clone)]
struct Resolver(Option<AddressRules>);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), io::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let rules = self.0.clone();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            allowed(rules.as_ref(), name.as_str(), found).map(Vec::into_iter)
        })
    }
}

fn allowed(rules: Option<&AddressRules>, name: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, io::Error> {
    let Some(rules) = rules.filter(|rules| !rules.allows_name(name)) else { return Ok(found) };
    let (mut kept, mut why) = (Vec::new(), None);
    for address in found {
        match rules.check_ip(address.ip()) {
            Ok(()) => kept.push(address),
            Err(forbidden) => why = Some((address.ip(), forbidden)),
        }
    }
    match (kept.is_empty(), why) {
        (true, Some((ip, why))) => {
            let entry = AddressRules::entry(&ip.to_string());
            let text = format!("the name leads to {why}, which master --allow-addresses={entry} would allow");
            Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
        }
        _ => Ok(kept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_to_what_only_we_can_reach() {
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let (inside, outside) = (address("169.254.169.254"), address("10.1.2.3"));
        let (none, some) = (AddressRules::default(), "evil.example".parse().unwrap());
        assert_eq!(allowed(Some(&none), "evil.example", vec![inside, outside]).unwrap(), [outside]);
        let refused = allowed(Some(&none), "evil.example", vec![inside]).unwrap_err().to_string();
        assert!(refused.contains("a link-local address, which master --allow-addresses=169.254.169.254 "), "{refused}");
        assert_eq!(allowed(Some(&some), "evil.example", vec![inside]).unwrap(), [inside]);
        assert_eq!(allowed(None, "evil.example", vec![inside]).unwrap(), [inside]);
    }
}
