//! The status for people, on loopback only: `/status` as JSON, and `/`, a page over it.
//!
//! It names objects, namespaces and clusters, and no content of any. A browser on the machine of a person who forwards the
//! port may be made to ask by any page that is open in it: so only requests that name this machine are answered, and
//! what is answered may be read by no other page.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

use super::health::Health;
use super::http::{Answer, Answers, TEXT, page};
use crate::contract::rules::{Role, Rules};
use crate::leadership::Leading;

/// The page: one file, nothing of it from elsewhere.
const PAGE: &str = include_str!("page.html");
/// An answer is given again for so long, to whoever asks meanwhile.
const FRESH: Duration = Duration::from_secs(1);
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// What a controller knows: a JSON object with `sources`, and what else it has.
pub trait Shows: Send + Sync {
    /// As of now, or why it cannot be told.
    fn show(&self) -> BoxFuture<'_, Result<Map<String, Value>, String>>;
}

/// What every status begins with.
pub(super) struct Head {
    pub(super) rules: Arc<Rules>,
    pub(super) leading: Leading,
    pub(super) health: Health,
}

/// Both pages.
#[derive(Clone)]
pub(super) struct StatusPages(Arc<Inner>);

struct Inner {
    head: Head,
    shows: Arc<dyn Shows>,
    last: Mutex<Option<(Instant, String)>>,
    policy: HeaderValue,
}

impl StatusPages {
    pub(super) fn new(head: Head, shows: Arc<dyn Shows>) -> Self {
        Self(Arc::new(Inner { head, shows, last: Mutex::default(), policy: policy() }))
    }

    async fn status(&self) -> Result<String, String> {
        // Several who ask at once are one.
        let mut last = self.0.last.lock().await;
        if let Some((at, text)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let mut status = self.0.head.tell();
        status.append(&mut self.0.shows.show().await?);
        let text = Value::Object(status).to_string();
        *last = Some((Instant::now(), text.clone()));
        Ok(text)
    }
}

impl Head {
    fn tell(&self) -> Map<String, Value> {
        let controller = match self.rules.role {
            Role::Master => "master",
            Role::Agent => "agent",
        };
        let told = json!({
            "controller": controller,
            "version": super::version::version(),
            "cluster": self.rules.cluster_name,
            "sourceNamespace": self.rules.source_namespace,
            "leads": self.leading.leads(),
            "dryRun": self.leading.is_dry(),
            "missing": self.health.missing(),
        });
        if let Value::Object(told) = told { told } else { Map::new() }
    }
}

impl Answers for StatusPages {
    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        if !host.is_some_and(is_this_machine) {
            return page(
                StatusCode::MISDIRECTED_REQUEST,
                TEXT,
                "ask for it as localhost, as kubectl port-forward does\n",
            );
        }
        let mut answer = match request.uri().path() {
            "/" => page(StatusCode::OK, HTML, PAGE),
            "/status" => match self.status().await {
                Ok(text) => page(StatusCode::OK, JSON, text),
                Err(why) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, why),
            },
            _ => page(StatusCode::NOT_FOUND, TEXT, "there are / and /status\n"),
        };
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, self.0.policy.clone());
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        answer
    }
}

/// Whether a Host header names a loopback address, whatever the port: a name that somebody else's DNS leads here is none.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// Only the page's own script runs, and it can ask only us.
fn policy() -> HeaderValue {
    let script = PAGE.split_once("<script>").and_then(|(_, rest)| rest.split_once("</script>"));
    let hash = STANDARD.encode(Sha256::digest(script.map_or("", |(script, _)| script)));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{hash}'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

impl fmt::Debug for StatusPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusPages")
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
