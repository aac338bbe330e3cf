//! What a failed request means: the server's answer, or an error of the transport, as a [`Fault`].

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use crate::fault::{Fault, message};

/// Longest Retry-After that is believed; a server cannot send us away for a day.
const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(300);

/// A failed request: the fault, and what only some callers need to know of the answer.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What it means.
    pub fault: Fault,
    /// HTTP status; 0 if there was no answer.
    pub code: u16,
    /// Plural of the kind and name of what a 404 says is missing. A 404 that does not say so comes from something
    /// that does not know the path, and never means that an object is gone.
    pub missing: Option<(String, String)>,
}

impl Refusal {
    /// Whether the server says that this very object does not exist.
    pub fn is_missing(&self, plural: &str, name: &str) -> bool {
        self.missing.as_ref().is_some_and(|(kind, missing)| kind == plural && missing == name)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { fault, code: 0, missing: None }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        refusal.fault
    }
}

/// `meta/v1.Status`, the body of every failure that an API server itself reports.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    kind: Option<String>,
    message: Option<String>,
    reason: Option<String>,
    code: Option<u16>,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    name: Option<String>,
    kind: Option<String>,
    retry_after_seconds: Option<u64>,
    causes: Option<Vec<Cause>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: Option<String>,
}

/// The meaning of an answer that is no success.
pub fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Refusal {
    let code = status.as_u16();
    let retry_after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    match serde_json::from_slice::<Status>(body) {
        Ok(status) if status.kind.as_deref() == Some("Status") => by_status(code, retry_after, status),
        _ => Refusal { fault: without_status(code, retry_after, body), code, missing: None },
    }
}

/// The meaning of the `Status` that a watch delivers as its last event.
pub fn of_error_event(body: &[u8]) -> Fault {
    match serde_json::from_slice::<Status>(body) {
        Ok(status) if status.kind.as_deref() == Some("Status") => {
            by_status(status.code.unwrap_or(0), None, status).fault
        }
        _ => Fault::Odd(0),
    }
}

/// The API server itself answers some requests in plain text: 429 of priority and fairness, 500 of its filters, 404
/// for a group that it does not serve. Any other text is somebody else's, and none of it is ever shown.
fn without_status(code: u16, retry_after: Option<u64>, body: &[u8]) -> Fault {
    match code {
        401 => Fault::Unauthorised,
        404 if body.trim_ascii() == b"404 page not found" => Fault::NotFound,
        429 => Fault::Throttled(delay(retry_after)),
        500..=599 => Fault::Unavailable { code, message: "no details".to_owned() },
        _ => Fault::Odd(code),
    }
}

fn by_status(code: u16, retry_after: Option<u64>, status: Status) -> Refusal {
    let details = status.details.unwrap_or_default();
    let text = status.message.unwrap_or_default();
    let reason = status.reason.unwrap_or_default();
    let has_name = details.name.as_deref().is_some_and(|name| !name.is_empty());
    let terminating =
        details.causes.iter().flatten().any(|cause| cause.reason.as_deref() == Some("NamespaceTerminating"));
    let retry_after = retry_after.or(details.retry_after_seconds);
    let fault = match code {
        // Before all others: a webhook chooses the code of its denial.
        400..=599 if denied(&text) => Fault::Rejected(denial(&text)),
        _ if terminating => Fault::NamespaceTerminating,
        _ if matches!(reason.as_str(), "Expired" | "Gone") || code == 410 => Fault::Expired,
        // The decoder's complaint quotes what it could not read.
        400 => Fault::Rejected("the request was malformed (400)".to_owned()),
        401 => Fault::Unauthorised,
        403 if over_quota(&text) => Fault::Rejected(message(&text)),
        403 => Fault::Forbidden(message(&text)),
        404 if details.kind.as_deref() == Some("namespaces") => Fault::NamespaceMissing,
        404 => Fault::NotFound,
        409 if reason == "AlreadyExists" => Fault::AlreadyExists,
        409 => Fault::Conflict,
        422 if !has_name => Fault::LostRace,
        429 => Fault::Throttled(delay(retry_after)),
        402..=499 => Fault::Rejected(message(&text)),
        500..=599 => Fault::Unavailable { code, message: uncalled(&text).unwrap_or_else(|| message(&text)) },
        _ => Fault::Odd(code),
    };
    let missing = match (code, details.kind, details.name) {
        (404, Some(kind), Some(name)) if has_name => Some((kind, name)),
        _ => None,
    };
    Refusal { fault, code, missing }
}

fn delay(seconds: Option<u64>) -> Option<Duration> {
    seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_LIMIT))
}

/// A denial by a webhook or a ValidatingAdmissionPolicy, in the API server's fixed words around theirs.
fn denied(text: &str) -> bool {
    (text.contains("admission webhook \"") && text.contains("\" denied the request"))
        || (text.contains("AdmissionPolicy '") && text.contains(" denied request"))
}

/// What kept the API server from an answer of a webhook, in words that are its own.
const UNCALLED: [&str; 6] = [
    "context deadline exceeded",
    "connection refused",
    "no such host",
    "no endpoints available",
    "certificate",
    "invalid webhook response",
];

/// Which webhook it could not call. What that has answered instead of a review is quoted there, and it has seen the
/// payload.
fn uncalled(text: &str) -> Option<String> {
    let (name, rest) = text.split_once("failed calling webhook \"")?.1.split_once('"')?;
    let why = UNCALLED.iter().find(|words| rest.contains(**words)).unwrap_or(&"no review");
    Some(message(&format!("failed calling webhook {name:?}: {why}")))
}

/// Which webhook or policy it was, and nothing of its own words: it has seen the payload and may quote it.
fn denial(text: &str) -> String {
    let named = |before: &str, quote: char| text.split_once(before)?.1.split_once(quote).map(|(name, _)| name);
    if let Some(name) = named("admission webhook \"", '"') {
        message(&format!("admission webhook {name:?} denied the request"))
    } else if let Some(name) = named("ValidatingAdmissionPolicy '", '\'') {
        message(&format!("ValidatingAdmissionPolicy {name:?} denied the request"))
    } else {
        "an admission policy denied the request".to_owned()
    }
}

/// The words of the ResourceQuota plugin.
fn over_quota(text: &str) -> bool {
    ["exceeded quota: ", "failed quota: ", "insufficient quota to match", "status unknown for quota: "]
        .iter()
        .any(|words| text.contains(words))
}

/// The meaning of an error below HTTP.
pub fn transport(error: &kube::Error) -> Fault {
    let mut seen = Seen::default();
    seen.walk(error);
    let text = message(&seen.text);
    if seen.login {
        Fault::Unauthorised
    } else if seen.tls {
        Fault::Tls(text)
    } else if seen.connect {
        Fault::Connect(text)
    } else {
        Fault::NoAnswer(text)
    }
}

/// What the chain of an error's sources holds.
#[derive(Default)]
struct Seen {
    login: bool,
    tls: bool,
    connect: bool,
    /// The innermost error's words; the outer ones only say that there was an error.
    text: String,
}

impl Seen {
    fn walk(&mut self, error: &(dyn StdError + 'static)) {
        // An exec plugin that failed would show what it printed.
        if error.is::<kube::client::AuthError>() {
            self.login = true;
            return;
        }
        self.tls |= error.is::<rustls::Error>();
        self.connect |= error
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect);
        let io = error.downcast_ref::<io::Error>();
        self.connect |= io.is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
        // io::Error says nothing of its inner error in source(), only of that one's source.
        match io.and_then(io::Error::get_ref) {
            Some(inner) => self.walk(inner),
            None => match error.source() {
                Some(source) => self.walk(source),
                None => self.text = error.to_string(),
            },
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
