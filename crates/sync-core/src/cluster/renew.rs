//! One retry of a request whose credential was refused, with a newer one.
//!
//! A credential may end earlier than its owner knows: a clock jumped, a laptop slept, a role was made anew. Without
//! this each such end would be a failed request, and a pause of the whole cluster.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use kube::client::Body;
use tokio::time::timeout;
use tower::{Layer, Service, ServiceExt as _};

use super::header::SwapHeader;

/// A request with a deadline waits for the newer credential, and half of the shortest deadline is left for the retry.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who makes a newer credential when a server refuses the one that we have.
pub trait Renew: Send + Sync {
    /// Puts a newer credential than the refused one into the header, or leaves it alone if a newer one would fare no
    /// better. Many callers may come at once, and each may leave at any time.
    fn renew<'a>(&'a self, refused: &'a Arc<HeaderValue>) -> BoxFuture<'a, ()>;
}

/// Puts the header on each request, and once more on one that was refused with 401, if it has changed meanwhile.
#[derive(Clone)]
pub(super) struct Renewing {
    pub(super) header: SwapHeader,
    pub(super) renew: Arc<dyn Renew>,
}

impl Renewing {
    /// Another header than the refused one, if there is or will soon be one.
    async fn newer(&self, refused: &Arc<HeaderValue>) -> Option<Arc<HeaderValue>> {
        let other = || Some(self.header.current()).filter(|current| !Arc::ptr_eq(current, refused));
        if let Some(other) = other() {
            return Some(other);
        }
        let _late = timeout(PATIENCE, self.renew.renew(refused)).await;
        other()
    }
}

impl fmt::Debug for Renewing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewing")
    }
}

impl<S> Layer<S> for Renewing {
    type Service = RenewingService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RenewingService { inner, renewing: self.clone() }
    }
}

/// See [`Renewing`].
#[derive(Clone, Debug)]
pub(super) struct RenewingService<S> {
    inner: S,
    renewing: Renewing,
}

impl<S, B> Service<Request<Body>> for RenewingService<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let again = copy(&request);
        let sent = self.renewing.header.current();
        request.headers_mut().insert(AUTHORIZATION, HeaderValue::clone(&sent));
        let answer = self.inner.call(request);
        let (inner, renewing) = (self.inner.clone(), self.renewing.clone());
        Box::pin(async move {
            let answer = answer.await?;
            let (StatusCode::UNAUTHORIZED, Some(mut again)) = (answer.status(), again) else { return Ok(answer) };
            let Some(newer) = renewing.newer(&sent).await else { return Ok(answer) };
            drop(answer);
            again.headers_mut().insert(AUTHORIZATION, HeaderValue::clone(&newer));
            inner.oneshot(again).await
        })
    }
}

/// The same request once more, unless its body comes from a stream.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use super::*;
    use http_body_util::BodyExt as _;

    /// Puts these tokens into the header, one at each call.
    struct Tokens(SwapHeader, Mutex<Vec<&'static str>>);

    impl Renew for Tokens {
        fn renew<'a>(&'a self, _: &'a Arc<HeaderValue>) -> BoxFuture<'a, ()> {
            Box::pin(async {
                let next = self.1.lock().unwrap().pop();
                match next {
                    Some("never") => std::future::pending().await,
                    Some(token) => self.0.set_bearer(token).unwrap(),
                    None => {}
                }
            })
        }
    }

    /// What was sent to a server that accepts `good`, and its last answer.
    async fn sent(tokens: &[&'static str]) -> (Vec<String>, StatusCode) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let server = tower::service_fn(move |request: Request<Body>| {
            let log = Arc::clone(&log);
            async move {
                let (head, body) = request.into_parts();
                let token = head.headers[AUTHORIZATION].to_str().unwrap().to_owned();
                let body = body.collect().await.unwrap().to_bytes();
                let (kind, body) = (head.headers["content-type"].to_str().unwrap(), String::from_utf8_lossy(&body));
                log.lock().unwrap().push(format!("{} {} {kind} {body} {token}", head.method, head.uri));
                let code = if token == "Bearer good" { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
                Ok::<_, Infallible>(Response::builder().status(code).body(()).unwrap())
            }
        });
        let header = SwapHeader::bearer("old").unwrap();
        let left = Mutex::new(tokens.iter().rev().copied().collect());
        let renewing = Renewing { header: header.clone(), renew: Arc::new(Tokens(header, left)) };
        let request =
            Request::patch("/x?y").header("content-type", "a/b").body(Body::from("{}".to_owned().into_bytes()));
        let answer = renewing.layer(server).oneshot(request.unwrap()).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        (seen, answer.status())
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_request_is_sent_once_more_with_a_newer_token() {
        let line = |token: &str| format!("PATCH /x?y a/b {{}} Bearer {token}");
        assert_eq!(sent(&["good"]).await, (vec![line("old"), line("good")], StatusCode::OK));
        // Not a second time, whatever comes.
        assert_eq!(sent(&["bad", "good"]).await, (vec![line("old"), line("bad")], StatusCode::UNAUTHORIZED));
        // Not at all without a newer one.
        for none in [&[][..], &["never"]] {
            assert_eq!(sent(none).await, (vec![line("old")], StatusCode::UNAUTHORIZED));
        }
    }

    #[tokio::test]
    async fn a_token_that_was_swapped_meanwhile_needs_no_renewal() {
        let header = SwapHeader::bearer("old").unwrap();
        let swap = header.clone();
        let server = tower::service_fn(move |request: Request<Body>| {
            let good = request.headers()[AUTHORIZATION] == "Bearer good";
            swap.set_bearer("good").unwrap();
            let code = if good { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            std::future::ready(Ok::<_, Infallible>(Response::builder().status(code).body(()).unwrap()))
        });
        let renew = Arc::new(Tokens(header.clone(), Mutex::new(vec!["worse"])));
        let service = Renewing { header: header.clone(), renew: Arc::clone(&renew) as Arc<dyn Renew> }.layer(server);
        let answer = service.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!((answer.status(), renew.1.lock().unwrap().len()), (StatusCode::OK, 1));
    }
}
