//! What `status` of a RemoteCluster says next. Pure: the time is handed in, and no change is no write.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use sync_core::fault::{Fault, message};

use super::condition::{self, Ready, whole_seconds};
use super::crd::{RemoteClusterStatus, Sources};
use super::receipt::{CopyStatus, Receipt};
use super::secret::{SecretError, SecretRef};
use crate::eks::error::EksError;

/// How a remote cluster fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It can be written to.
    Ready,
    /// The first answer is still to come.
    Connecting,
    /// `spec.suspend`
    Suspended,
    /// No kubeconfig in the Secret.
    Secret(SecretError),
    /// The kubeconfig cannot be used. The text is the reader's, which quotes nothing from it.
    KubeconfigInvalid(String),
    /// `spec.proxyURL` cannot be used.
    ProxyInvalid(String),
    /// The server does not accept what the kubeconfig in this Secret has.
    LoginRefused(SecretRef),
    /// On the way to an EKS cluster.
    Eks(EksError),
    /// A request failed; [`Fault::NamespaceMissing`] is the destination's.
    Fault(Fault),
    /// The source namespace, of this name, is missing or Terminating.
    SourceNamespaceMissing(String),
    /// What tells the destination from all others is not there.
    Unidentified,
    /// It is the management cluster.
    SelfReference,
    /// The RemoteCluster of this name, which comes before it, has the same destination.
    Duplicate(String),
    /// Our finalizer cannot be set, or taken away.
    NotKept(Fault),
    /// It is being deleted, and its copies first; what is in the way, if something is.
    Removing(Option<String>),
}

impl Outcome {
    /// Nobody would set out for it, so that it is in nobody's way. One that does not answer now keeps the place that it had.
    pub fn leads_nowhere(&self) -> bool {
        matches!(self, Self::Suspended | Self::Secret(_) | Self::KubeconfigInvalid(_) | Self::Eks(EksError::BadSpec(_)))
    }

    /// The word for the condition and for the metric's label.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Ready => "Connected",
            Self::Connecting => "Connecting",
            Self::Suspended => "Suspended",
            Self::Secret(error) => error.reason(),
            Self::KubeconfigInvalid(_) => "KubeconfigInvalid",
            Self::ProxyInvalid(_) => "ProxyInvalid",
            Self::LoginRefused(_) => Fault::Unauthorised.reason(),
            Self::Eks(error) => error.reason(),
            Self::Fault(fault) | Self::NotKept(fault) => fault.reason(),
            Self::SourceNamespaceMissing(_) => "SourceNamespaceMissing",
            Self::Unidentified => Fault::NamespaceMissing.reason(),
            Self::SelfReference => "SelfReference",
            Self::Duplicate(_) => "Duplicate",
            Self::Removing(_) => "Removing",
        }
    }

    /// Something is wrong; else it is only worth knowing.
    pub(super) const fn is_warning(&self) -> bool {
        !matches!(self, Self::Ready | Self::Connecting | Self::Suspended | Self::Removing(None))
    }

    /// What is the matter and what to do. `destination` is `spec.namespace`.
    pub fn message(&self, destination: &str) -> String {
        match self {
            Self::Ready => format!("connected; copies are kept in namespace {destination} there"),
            Self::Connecting => "connecting for the first time".to_owned(),
            Self::Suspended => "nothing is written or deleted there; set spec.suspend to false to go on".to_owned(),
            Self::Secret(error) => error.to_string(),
            Self::KubeconfigInvalid(text) => format!("the kubeconfig cannot be used: {}", message(text)),
            Self::ProxyInvalid(text) => format!("spec.proxyURL cannot be used: {}", message(text)),
            Self::LoginRefused(place) => format!(
                "{}; renew the token or certificate in the kubeconfig of {place}: {}",
                Fault::Unauthorised,
                place.renewal()
            ),
            Self::Eks(error) => format!("{error}; {}", error.what_to_do()),
            Self::Fault(Fault::NamespaceMissing) => format!(
                "namespace {destination} does not exist there; make it and our access to it: kubectl apply -f \
                 deploy/namespace.yaml -f deploy/remote-access.yaml"
            ),
            Self::Fault(Fault::NamespaceTerminating) => {
                format!("namespace {destination} is being deleted there; wait until it is gone, and make it anew")
            }
            // A Role goes with its namespace, and then the server does not say that the namespace is gone.
            Self::Fault(fault @ Fault::Forbidden(_)) => format!(
                "{fault}; perhaps namespace {destination} does not exist there, or our rights in it: kubectl apply -f \
                 deploy/namespace.yaml -f deploy/remote-access.yaml"
            ),
            Self::Fault(fault) => format!("{fault}; {}", fault.what_to_do()),
            Self::SourceNamespaceMissing(source) => format!(
                "namespace {source} of this cluster is missing or being deleted; copies stay as they are until it is back"
            ),
            Self::Unidentified => format!(
                "namespace {destination} does not exist there, or has no ConfigMap kube-root-ca.crt, which every namespace \
                 has; make it and our access to it: kubectl apply -f deploy/namespace.yaml -f deploy/remote-access.yaml"
            ),
            Self::SelfReference => "this is the management cluster itself, and nothing is written; delete this \
                 RemoteCluster (an agent here fills the namespaces of this cluster)"
                .to_owned(),
            Self::Duplicate(older) => format!(
                "RemoteCluster {older} is older, or made by a person, and leads to namespace {destination} of the same cluster; nothing is written \
                 by this one until that one is gone; delete one of the two"
            ),
            Self::NotKept(fault) => format!(
                "our finalizer, which spec.onRemove is about, cannot be changed on this RemoteCluster: {fault}; {} \
                 (deploy/master.yaml)",
                fault.what_to_do()
            ),
            Self::Removing(None) => "its copies there are being deleted".to_owned(),
            Self::Removing(Some(trouble)) => format!("its copies there are to be deleted; {trouble}"),
        }
    }
}

/// What is known of a remote cluster now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// `metadata.generation` of the RemoteCluster that was acted on.
    pub generation: Option<i64>,
    /// `spec.namespace`
    pub destination: String,
    /// It is being deleted, and waits until its copies are gone.
    pub going: bool,
    /// How it fares.
    pub outcome: Outcome,
    /// The API server's address, if the kubeconfig could be read.
    pub server: Option<String>,
    /// Its version, if it has said so.
    pub version: Option<String>,
    /// The version that AWS says it has.
    pub described: Option<String>,
    /// Which destination it is, if it has said so.
    pub identity: Option<String>,
    /// Counts of the engine, if one runs.
    pub sources: Option<Sources>,
    /// Where each source is, if an engine runs.
    pub receipt: Option<Receipt>,
}

impl Report {
    /// Of a RemoteCluster of which nothing is known yet.
    pub const fn new(generation: Option<i64>, destination: String) -> Self {
        let (going, outcome) = (false, Outcome::Connecting);
        Self {
            generation,
            destination,
            going,
            outcome,
            server: None,
            version: None,
            described: None,
            identity: None,
            sources: None,
            receipt: None,
        }
    }

    /// It goes to this server: what another one has said of itself is not this one's.
    pub(super) fn goes_to(&mut self, server: String) {
        if self.server.as_ref() != Some(&server) {
            (self.server, self.version, self.identity) = (Some(server), None, None);
        }
    }

    /// The engine has ended: what it counted is not known any more.
    pub(super) fn forget_engine(&mut self) {
        (self.sources, self.receipt) = (None, None);
    }

    /// Of the condition.
    pub(super) fn message(&self) -> String {
        let text = self.outcome.message(&self.destination);
        if !self.going || matches!(self.outcome, Outcome::Connecting | Outcome::Removing(None)) {
            return text;
        }
        format!(
            "{text}; this RemoteCluster goes when its copies there are gone: mend that, or annotate it with \
             mw-sync.io/abandon=yes, and they stay there"
        )
    }
}

impl RemoteClusterStatus {
    /// The condition `Ready`, once somebody has written it.
    pub fn ready(&self) -> Option<&Condition> {
        condition::ready(&self.conditions)
    }
}

/// The status to write, or `None` if `old` says all that already.
///
/// Server, version and identity are kept from `old` while they are not known anew, the latter two only for the same server.
/// Conditions of other types are left alone. `lastTransitionTime` moves only when `Ready` changes between True and
/// False, and stays while a cluster that was Ready is connected to anew. Counts change often: the caller decides how
/// often it asks.
pub fn next(old: Option<&RemoteClusterStatus>, report: &Report, now: Timestamp) -> Option<RemoteClusterStatus> {
    let before = old.cloned().unwrap_or_default();
    // A master that has just been restarted knows nothing yet, and that is no news: Ready must not go and come back.
    let was_ready = before.ready().is_some_and(|ready| ready.status == "True");
    // One that goes to another server knows that what is said here is of the one before.
    let moves = report.server.is_some() && report.server != before.server;
    if report.outcome == Outcome::Connecting && was_ready && before.observed_generation == report.generation && !moves {
        return None;
    }
    let server = report.server.clone().or_else(|| before.server.clone());
    let kept = |old: &Option<String>| old.clone().filter(|_| server == before.server);
    let version = newest(report.version.clone().or_else(|| kept(&before.version)), report.described.clone());
    let identity = report.identity.clone().or_else(|| kept(&before.identity));
    // What was said of a version stays true of it, in the same cluster; an engine that has just begun knows nothing newer yet.
    let (agent, copies) = match &report.receipt {
        Some(receipt) => (Some(receipt.agent.clone()), dated(&receipt.copies, &before.copies, now)),
        None if report.sources.is_some() && !moves && identity == before.identity => {
            (before.agent.clone(), before.copies.clone())
        }
        None => (None, Vec::new()),
    };
    let next = RemoteClusterStatus {
        conditions: Ready {
            is: report.outcome == Outcome::Ready,
            reason: report.outcome.reason(),
            message: report.message(),
            generation: report.generation,
        }
        .among(&before.conditions, now),
        server,
        version,
        identity,
        sources: report.sources,
        agent,
        copies,
        observed_generation: report.generation,
    };
    (old != Some(&next)).then_some(next)
}

/// What the server has said, which says more, unless it has been upgraded since, as AWS describes it.
fn newest(said: Option<String>, described: Option<String>) -> Option<String> {
    match (said, described) {
        (Some(said), Some(described)) if !said.starts_with(&format!("v{described}.")) => Some(described),
        (said, described) => said.or(described),
    }
}

/// Since when each is not everywhere: what was so before was so since then.
fn dated(copies: &[CopyStatus], before: &[CopyStatus], now: Timestamp) -> Vec<CopyStatus> {
    let before: BTreeMap<_, _> = before.iter().map(|copy| (&copy.source, &copy.since)).collect();
    let dated = copies.iter().cloned().map(|copy| {
        let known = before.get(&copy.source).and_then(|since| (*since).clone());
        let since = (!copy.everywhere).then(|| known.unwrap_or_else(|| whole_seconds(now).to_string()));
        CopyStatus { since, ..copy }
    });
    dated.collect()
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
