//! Failed requests, told apart by what follows from them. The words are fixed: metrics, Events and status share them.

use std::time::Duration;

/// Why a request did not do what it was for.
///
/// Messages come from a server and are untrusted: whoever makes a `Fault` has cut and escaped them
/// ([`message`]), and leaves them out where a server might quote the request's body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No connection: refused, no route, name not found.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The TLS handshake failed: the certificate is not from the authority that we know, or not for this name.
    #[error("no TLS connection: {0}")]
    Tls(String),
    /// No complete answer within the deadline, or the connection broke. Whether a write was done is in doubt.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The same of a write, while the server answers other requests.
    #[error("no answer, though the server answers others: look for a webhook that hangs ({0})")]
    Hangs(String),
    /// 429: the server asks us to slow down, for so long if it said so.
    #[error("the server asks to slow down")]
    Throttled(Option<Duration>),
    /// 5xx: the server cannot answer now.
    #[error("the server cannot answer ({code}): {message}")]
    Unavailable {
        /// HTTP status.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// 401
    #[error("the server does not accept our credentials")]
    Unauthorised,
    /// 403: a right is missing, or a policy forbids it.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// 403 with cause `NamespaceTerminating`, or any answer that says so.
    #[error("the namespace is being deleted")]
    NamespaceTerminating,
    /// 404 of the namespace.
    #[error("the namespace does not exist")]
    NamespaceMissing,
    /// 404 of the object, or of the whole kind (a CRD that is not installed).
    #[error("not found")]
    NotFound,
    /// 409 to a create.
    #[error("an object of this name exists")]
    AlreadyExists,
    /// 409: the object is not in the version that the request was guarded with.
    #[error("the object has changed")]
    Conflict,
    /// 422 without `details.name`: a `test` of a JSON Patch failed, or its parent is missing.
    #[error("the object is not as the request expected it")]
    LostRace,
    /// 410: the watch cannot be continued from there.
    #[error("the server has forgotten the version to continue from")]
    Expired,
    /// The server, a webhook, a policy or a quota rejects the object.
    #[error("rejected: {0}")]
    Rejected(String),
    /// An answer that is none of an API server's.
    #[error("an answer that cannot be understood (HTTP {0})")]
    Odd(u16),
}

impl Fault {
    /// Of a write that is not sent, because others like it go unanswered there.
    pub fn others_hang() -> Self {
        Self::Hangs("others there did".to_owned())
    }

    /// The word for Events, status, metric labels and logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Connect(_) => "Unreachable",
            Self::Tls(_) => "CertificateMismatch",
            Self::NoAnswer(_) => "NoAnswer",
            Self::Hangs(_) => "WriteHangs",
            Self::Throttled(_) => "Throttled",
            Self::Unavailable { .. } => "ServerUnavailable",
            Self::Unauthorised => "Unauthorised",
            Self::Forbidden(_) => "Forbidden",
            Self::NamespaceTerminating => "NamespaceTerminating",
            Self::NamespaceMissing => "NamespaceMissing",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::LostRace => "LostRace",
            Self::Expired => "Expired",
            Self::Rejected(_) => "Rejected",
            Self::Odd(_) => "OddAnswer",
        }
    }

    /// What a person can do about it.
    pub const fn what_to_do(&self) -> &'static str {
        match self {
            Self::Connect(_) => "check the server's address and the network between; we try again",
            Self::Tls(_) => "check certificate-authority-data and the server's name",
            Self::NoAnswer(_) | Self::Throttled(_) | Self::Unavailable { .. } => {
                "wait: we try again, more and more slowly"
            }
            Self::Hangs(_) => {
                "look for a webhook that does not answer: kubectl get \
                 mutatingwebhookconfigurations,validatingwebhookconfigurations; we try again, more and more slowly"
            }
            Self::Unauthorised => "renew the token or certificate that we log in with",
            Self::Forbidden(_) => "grant the right that the message names (deploy/ has the complete set)",
            Self::NamespaceTerminating => "wait until the namespace is gone",
            Self::NamespaceMissing => "create the namespace",
            Self::NotFound => "check that it is installed",
            Self::AlreadyExists | Self::Conflict | Self::LostRace | Self::Expired => "nothing: we look again",
            Self::Rejected(_) => "change the quota, policy or webhook that the message names",
            Self::Odd(_) => "check that the address is an API server's and no proxy answers for it",
        }
    }

    /// Whether this is about the connection or the whole server, so that a request elsewhere would fare no better.
    pub const fn is_of_the_cluster(&self) -> bool {
        matches!(
            self,
            Self::Connect(_)
                | Self::Tls(_)
                | Self::NoAnswer(_)
                | Self::Throttled(_)
                | Self::Unauthorised
                | Self::Odd(_)
        )
    }

    /// Whether a write that fails so may have been done, or may be later.
    pub const fn leaves_in_doubt(&self) -> bool {
        matches!(self, Self::NoAnswer(_) | Self::Hangs(_) | Self::Odd(_) | Self::Unavailable { .. })
    }

    /// Whether it may have nothing to do with what was asked for, so that the same request may fare better later.
    pub const fn is_passing(&self) -> bool {
        self.is_of_the_cluster() || matches!(self, Self::Unavailable { .. } | Self::Hangs(_))
    }
}

/// Longest server message that we pass on, in characters.
const MESSAGE_LIMIT: usize = 300;

/// A server's words made fit for logs and status: control characters escaped, at most 300 characters.
pub fn message(text: &str) -> String {
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == MESSAGE_LIMIT {
            out.push('…');
            break;
        }
        // Bidirectional controls reorder what a terminal shows; escape_debug leaves them alone.
        if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_cut_and_escaped() {
        assert_eq!(message("a\n\u{1b}[31mb\u{202e}"), "a\\u{a}\\u{1b}[31mb\\u{202e}");
        assert_eq!(message(&"ä".repeat(400)).chars().count(), MESSAGE_LIMIT + 1);
        assert_eq!(message("quota exceeded"), "quota exceeded");
    }
}
