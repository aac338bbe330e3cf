//! The Authorization header of requests, which can be changed while connections are open.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use k8s_openapi::ByteString;
use tower::{Layer, Service};

/// A credential that no header can carry: control characters in it, or a line break at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credential holds characters that no HTTP header can carry: remove line breaks and spaces around it")]
pub struct BadCredential;

/// A handle on the header: all clones change together. As a layer it puts the header on each request.
#[derive(Clone)]
pub struct SwapHeader(Arc<ArcSwap<HeaderValue>>);

impl SwapHeader {
    /// A bearer token.
    ///
    /// # Errors
    /// If a header cannot carry it.
    pub fn bearer(token: &str) -> Result<Self, BadCredential> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(value("Bearer", token)?))))
    }

    /// User name and password.
    ///
    /// # Errors
    /// If the name holds a colon, which ends it.
    pub fn basic(user: &str, password: &str) -> Result<Self, BadCredential> {
        if user.contains(':') {
            return Err(BadCredential);
        }
        let pair = ByteString(format!("{user}:{password}").into_bytes());
        let base64 = serde_json::to_value(pair).ok().and_then(|value| value.as_str().map(str::to_owned));
        Ok(Self(Arc::new(ArcSwap::from_pointee(value("Basic", &base64.ok_or(BadCredential)?)?))))
    }

    /// Another token from the next request on, open connections included.
    ///
    /// # Errors
    /// If a header cannot carry it; the old one stays.
    pub fn set_bearer(&self, token: &str) -> Result<(), BadCredential> {
        self.0.store(Arc::new(value("Bearer", token)?));
        Ok(())
    }

    /// What it holds now, a credential; the same `Arc` until it is swapped.
    pub fn current(&self) -> Arc<HeaderValue> {
        self.0.load_full()
    }
}

fn value(scheme: &str, credential: &str) -> Result<HeaderValue, BadCredential> {
    if credential.is_empty() || credential.contains(|c: char| c.is_whitespace()) {
        return Err(BadCredential);
    }
    let mut value = HeaderValue::try_from(format!("{scheme} {credential}")).map_err(|_| BadCredential)?;
    // Not shown by Debug, and not kept in HTTP/2's header table.
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for SwapHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SwapHeader")
    }
}

impl<S> Layer<S> for SwapHeader {
    type Service = SwapHeaderService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SwapHeaderService { inner, header: self.clone() }
    }
}

/// See [`SwapHeader`].
#[derive(Clone, Debug)]
pub struct SwapHeaderService<S> {
    inner: S,
    header: SwapHeader,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for SwapHeaderService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.headers_mut().insert(AUTHORIZATION, HeaderValue::clone(&self.header.0.load()));
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use tower::ServiceExt as _;

    #[tokio::test]
    async fn a_swap_counts_from_the_next_request_on() {
        let header = SwapHeader::bearer("one").unwrap();
        let echo = tower::service_fn(async |request: Request<()>| {
            let value = request.headers()[AUTHORIZATION].clone();
            Ok::<_, Infallible>((value.to_str().unwrap().to_owned(), value.is_sensitive()))
        });
        let service = header.layer(echo);
        let send = async || service.clone().oneshot(Request::new(())).await.unwrap();
        assert_eq!(send().await, ("Bearer one".to_owned(), true));
        header.clone().set_bearer("two").unwrap();
        assert_eq!(send().await, ("Bearer two".to_owned(), true));
        for bad in ["", "a\n", " a", "a\u{7f}"] {
            assert_eq!(header.set_bearer(bad), Err(BadCredential), "{bad:?}");
        }
        assert_eq!(send().await.0, "Bearer two");
        assert!(!format!("{header:?}").contains("two"));
    }

    #[tokio::test]
    async fn basic() {
        let header = SwapHeader::basic("Aladdin", "open sesame").unwrap();
        assert_eq!(**header.0.load(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(SwapHeader::basic("a:b", "c").is_err());
    }
}
