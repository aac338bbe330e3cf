//! HTTP proxies on the way to a cluster: CONNECT, so that TLS and HTTP/2 pass through untouched.

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

/// A proxy. `Debug` shows no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// `http://HOST:PORT`
    pub(super) uri: Uri,
    /// `Proxy-Authorization`
    pub(super) auth: Option<HeaderValue>,
}

/// A proxy of a kind that we cannot use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only proxies by HTTP are supported: write http://HOST:PORT in proxy-url or HTTPS_PROXY")]
pub struct BadProxy;

impl Proxy {
    /// The proxy at this URL.
    ///
    /// # Errors
    /// If it is none by HTTP.
    pub fn parse(url: &str, server: &Uri) -> Result<Self, BadProxy> {
        let matcher = Matcher::builder().all(url.to_owned()).build();
        Self::of(&matcher.intercept(server).ok_or(BadProxy)?)
    }

    /// The proxy that HTTPS_PROXY names, unless NO_PROXY names the server.
    pub fn from_env(server: &Uri) -> Option<Result<Self, BadProxy>> {
        Matcher::from_env().intercept(server).map(|intercept| Self::of(&intercept))
    }

    fn of(intercept: &Intercept) -> Result<Self, BadProxy> {
        let uri = intercept.uri().clone();
        if uri.scheme() != Some(&Scheme::HTTP) {
            return Err(BadProxy);
        }
        let mut auth = intercept.basic_auth().cloned();
        if let Some(auth) = &mut auth {
            auth.set_sensitive(true);
        }
        Ok(Self { uri, auth })
    }
}
