//! A small server for pages that are read: for probes, and the [status](super::status).
//!
//! Anybody in the cluster may reach a port of ours, so a request is small, quick, and one of few.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

/// At most so many connections; the oldest makes way for the next, so that nobody can keep a kubelet out.
const CONNECTIONS: usize = 64;
/// For a request's head to arrive; an idle connection lasts no longer either.
const HEAD: Duration = Duration::from_secs(10);
/// A connection as a whole: whoever reads no answer is not waited for.
const LIFE: Duration = Duration::from_secs(120);
/// Bytes of a request's head; hyper's least.
const HEAD_BYTES: usize = 8 << 10;
/// Lines of a request's head.
const HEAD_LINES: usize = 64;
/// After a connection that could not be accepted: there may be no file descriptors left.
const PAUSE: Duration = Duration::from_millis(200);

/// Type of what is for people.
pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What is answered.
pub(super) type Answer = Response<Full<Bytes>>;

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another program has it.
    #[error("{0} {1}: another program listens there; choose another port, or 0 for any that is free")]
    InUse(&'static str, SocketAddr),
    /// Whatever the system says.
    #[error("{0} {1}: {2}")]
    Refused(&'static str, SocketAddr, io::Error),
}

/// Opens the port that this flag names. Without IPv6, `[::]` means all addresses of IPv4.
///
/// # Errors
/// If the address is taken, or none of this machine.
pub async fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    let error = match TcpListener::bind(address).await {
        Ok(listener) => return Ok(listener),
        Err(error) => error,
    };
    if error.kind() == io::ErrorKind::AddrInUse {
        return Err(ListenError::InUse(flag, address));
    }
    let fallback = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    if address.ip() == Ipv6Addr::UNSPECIFIED
        && let Ok(listener) = TcpListener::bind(fallback).await
    {
        return Ok(listener);
    }
    Err(ListenError::Refused(flag, address, error))
}

/// Whoever has pages.
pub(super) trait Answers: Clone + Send + Sync + 'static {
    /// The answer to a GET, or a HEAD.
    fn answer(&self, request: &Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// Answers for as long as the process lives.
pub(super) async fn serve(listener: TcpListener, pages: impl Answers) {
    let (mut tasks, mut oldest) = (JoinSet::new(), VecDeque::<AbortHandle>::new());
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(PAUSE).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        oldest.retain(|task| !task.is_finished());
        if oldest.len() >= CONNECTIONS
            && let Some(task) = oldest.pop_front()
        {
            task.abort();
        }
        oldest.push_back(tasks.spawn(talk(stream, pages.clone())));
    }
}

async fn talk(stream: TcpStream, pages: impl Answers) {
    let answer = service_fn(move |request| {
        let pages = pages.clone();
        async move { Ok::<_, Infallible>(answer(&pages, &request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_LINES)
        .serve_connection(TokioIo::new(stream), answer);
    match timeout(LIFE, connection).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => debug!(%error, "a connection to our port ended"),
    }
}

async fn answer(pages: &impl Answers, request: &Request<Incoming>) -> Answer {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n");
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    pages.answer(request).await
}

/// One page, which nobody is to keep.
pub(super) fn page(status: StatusCode, content: HeaderValue, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, content);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
