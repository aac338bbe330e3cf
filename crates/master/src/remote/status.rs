//! What `status` of a RemoteCluster says next. Pure: the time is handed in, and no change is no write.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use sync_core::fault::{Fault, message};

use super::crd::{RemoteClusterStatus, Sources};
use super::receipt::{CopyStatus, Receipt};
use super::secret::SecretError;
use crate::eks::error::EksError;

/// Type of the one condition.
pub const READY: &str = "Ready";

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
    /// The RemoteCluster of this name, which is older, has the same destination.
    Duplicate(String),
    /// Our finalizer cannot be set, or taken away.
    NotKept(Fault),
    /// It is being deleted, and its copies first; what is in the way, if something is.
    Removing(Option<String>),
}

impl Outcome {
    /// The word for the condition and for the metric's label.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Ready => "Connected",
            Self::Connecting => "Connecting",
            Self::Suspended => "Suspended",
            Self::Secret(error) => error.reason(),
            Self::KubeconfigInvalid(_) => "KubeconfigInvalid",
            Self::ProxyInvalid(_) => "ProxyInvalid",
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
                "RemoteCluster {older} is older and leads to namespace {destination} of the same cluster; nothing is written \
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
            identity: None,
            sources: None,
            receipt: None,
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
        self.conditions.iter().find(|condition| condition.type_ == READY)
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
    if report.outcome == Outcome::Connecting && was_ready && before.observed_generation == report.generation {
        return None;
    }
    let server = report.server.clone().or_else(|| before.server.clone());
    let kept = |old: &Option<String>| old.clone().filter(|_| server == before.server);
    let version = report.version.clone().or_else(|| kept(&before.version));
    let identity = report.identity.clone().or_else(|| kept(&before.identity));
    // What was said of a version stays true of it; an engine that has just begun knows nothing newer yet.
    let (agent, copies) = match &report.receipt {
        Some(receipt) => (Some(receipt.agent.clone()), dated(&receipt.copies, &before.copies, now)),
        None if report.sources.is_some() => (before.agent.clone(), before.copies.clone()),
        None => (None, Vec::new()),
    };
    let next = RemoteClusterStatus {
        conditions: conditions(&before, report, now),
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

fn conditions(before: &RemoteClusterStatus, report: &Report, now: Timestamp) -> Vec<Condition> {
    let status = if report.outcome == Outcome::Ready { "True" } else { "False" };
    let since = before.ready().filter(|old| old.status == status).map(|old| old.last_transition_time.clone());
    let ready = Condition {
        type_: READY.to_owned(),
        status: status.to_owned(),
        reason: report.outcome.reason().to_owned(),
        message: report.message(),
        // Kubernetes writes whole seconds; with more the object read back would differ from what was written.
        last_transition_time: since.unwrap_or_else(|| Time(whole_seconds(now))),
        observed_generation: report.generation,
    };
    let mut conditions = before.conditions.clone();
    match conditions.iter_mut().find(|condition| condition.type_ == READY) {
        Some(place) => *place = ready,
        None => conditions.push(ready),
    }
    conditions
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    // Always within the range that a `Timestamp` has, for it comes from one.
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::secret::SecretRef;

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 500_000_000).unwrap()
    }

    fn report(outcome: Outcome) -> Report {
        Report { outcome, ..Report::new(Some(1), "operator".to_owned()) }
    }

    fn ready(status: &RemoteClusterStatus) -> &Condition {
        status.ready().unwrap()
    }

    #[test]
    fn every_outcome_has_its_reason_and_says_what_to_do() {
        let place = || SecretRef { namespace: "operator".into(), name: "prod".into(), key: "kubeconfig".into() };
        for (outcome, reason, text) in [
            (Outcome::Ready, "Connected", "namespace operator"),
            (Outcome::Connecting, "Connecting", "first time"),
            (Outcome::Suspended, "Suspended", "set spec.suspend to false"),
            (Outcome::Secret(SecretError::Missing(place())), "SecretMissing", "create secret generic prod"),
            (
                Outcome::Secret(SecretError::WrongType(place(), "Opaque".into())),
                "SecretWrongType",
                "--type=mw-sync.io/kubeconfig",
            ),
            (Outcome::Secret(SecretError::KeyMissing(place())), "SecretKeyMissing", "spec.kubeconfig.key"),
            (Outcome::KubeconfigInvalid("no \u{1b}context".into()), "KubeconfigInvalid", "no \\u{1b}context"),
            (Outcome::ProxyInvalid("a loopback".into()), "ProxyInvalid", "spec.proxyURL cannot be used: a loopback"),
            (
                Outcome::Eks(EksError::ClusterNotActive("CREATING".into())),
                "ClusterNotActive",
                "is CREATING; wait until",
            ),
            (Outcome::Fault(Fault::Connect("refused".into())), "Unreachable", "cannot connect: refused; check"),
            (Outcome::Fault(Fault::Unauthorised), "Unauthorised", "renew the token"),
            (Outcome::Fault(Fault::NamespaceMissing), "NamespaceMissing", "deploy/remote-access.yaml"),
            (Outcome::Fault(Fault::NamespaceTerminating), "NamespaceTerminating", "wait until it is gone"),
            (Outcome::SourceNamespaceMissing("ops".into()), "SourceNamespaceMissing", "namespace ops of this cluster"),
            (Outcome::Unidentified, "NamespaceMissing", "deploy/remote-access.yaml"),
            (Outcome::SelfReference, "SelfReference", "delete this RemoteCluster"),
            (Outcome::Duplicate("old".into()), "Duplicate", "RemoteCluster old is older"),
            (Outcome::NotKept(Fault::Forbidden("patch".into())), "Forbidden", "deploy/master.yaml"),
            (Outcome::Removing(None), "Removing", "being deleted"),
            (Outcome::Removing(Some("1 are left".into())), "Removing", "1 are left"),
        ] {
            let is_ready = outcome == Outcome::Ready;
            let status = next(None, &report(outcome), at(0)).unwrap();
            let condition = ready(&status);
            assert_eq!((condition.reason.as_str(), condition.status == "True"), (reason, is_ready));
            assert!(condition.message.contains(text), "{reason}: {}", condition.message);
        }
    }

    #[test]
    fn one_that_waits_for_its_end_says_how_to_end_that() {
        for (outcome, says) in [
            (Outcome::Fault(Fault::Connect("refused".into())), true),
            (Outcome::Suspended, true),
            (Outcome::Removing(Some("1 are left".into())), true),
            (Outcome::Removing(None), false),
            (Outcome::Connecting, false),
        ] {
            let status = next(None, &Report { going: true, ..report(outcome) }, at(0)).unwrap();
            let message = &ready(&status).message;
            assert_eq!(message.contains("mw-sync.io/abandon=yes"), says, "{message}");
        }
    }

    #[test]
    fn nothing_new_is_no_write_whatever_the_time() {
        let report = Report { server: Some("https://a".into()), version: Some("v1".into()), ..report(Outcome::Ready) };
        let status = next(None, &report, at(10)).unwrap();
        assert_eq!(next(Some(&status), &report, at(99)), None);
        // As it comes back from an API server.
        let read: RemoteClusterStatus = serde_json::from_value(serde_json::to_value(&status).unwrap()).unwrap();
        assert_eq!(next(Some(&read), &report, at(99)), None);
    }

    #[test]
    fn how_long_a_copy_is_missing_is_told_whatever_the_version_and_reason() {
        let mut status = None;
        for (second, version, reason, since) in [
            (10, "1", Some("pending"), Some("1970-01-01T00:00:10Z")),
            (20, "1", Some("Forbidden"), Some("1970-01-01T00:00:10Z")),
            (30, "2", Some("pending"), Some("1970-01-01T00:00:10Z")),
            (40, "2", None, None),
            (50, "3", Some("pending"), Some("1970-01-01T00:00:50Z")),
        ] {
            let copy = CopyStatus {
                source: "Secret/a".to_owned(),
                uid: "u".to_owned(),
                resource_version: version.to_owned(),
                everywhere: reason.is_none(),
                reason: reason.map(str::to_owned),
                since: None,
            };
            let receipt = Some(Receipt { copies: vec![copy], ..Receipt::default() });
            let report = Report { receipt, ..report(Outcome::Ready) };
            status = next(status.as_ref(), &report, at(second));
            assert_eq!(status.as_ref().unwrap().copies[0].since.as_deref(), since, "{second}");
            assert_eq!(next(status.as_ref(), &report, at(second + 5)), None, "no news");
        }
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut status = next(None, &report(Outcome::Connecting), at(10)).unwrap();
        for (outcome, second, since) in [
            (Outcome::Suspended, 20, 10),
            (Outcome::Ready, 30, 30),
            (Outcome::Fault(Fault::Unauthorised), 40, 40),
            (Outcome::Fault(Fault::NamespaceMissing), 50, 40),
            (Outcome::Ready, 60, 60),
        ] {
            status = next(Some(&status), &report(outcome), at(second)).unwrap();
            assert_eq!(ready(&status).last_transition_time.0, Timestamp::from_second(since).unwrap());
        }
    }

    #[test]
    fn server_and_version_stay_while_unknown_and_counts_do_not() {
        let sources = Some(Sources { synced: 2, pending: 0, refused: 1 });
        let [server, version, identity] = ["https://a", "v1.33.1", "0a1b"].map(|text| Some(text.to_owned()));
        let first = Report { server: server.clone(), version: version.clone(), ..report(Outcome::Ready) };
        let first = Report { identity: identity.clone(), sources, ..first };
        let first = next(None, &first, at(0)).unwrap();
        assert_eq!(first.sources, sources);
        let second = next(Some(&first), &report(Outcome::Suspended), at(0)).unwrap();
        assert_eq!((&second.server, &second.version, second.sources), (&server, &version, None));
        assert_eq!(second.identity, identity);
        let moved = Report { server: Some("https://b".into()), ..report(Outcome::Connecting) };
        let moved = next(Some(&second), &moved, at(0)).unwrap();
        assert_eq!((moved.version, moved.identity), (None, None));
    }

    #[test]
    fn a_restart_of_the_master_takes_ready_away_from_nobody() {
        let before = next(None, &report(Outcome::Ready), at(10)).unwrap();
        assert_eq!(next(Some(&before), &report(Outcome::Connecting), at(20)), None);
        let failed = next(Some(&before), &report(Outcome::Fault(Fault::Unauthorised)), at(30)).unwrap();
        assert_eq!(next(Some(&failed), &report(Outcome::Connecting), at(40)).unwrap().conditions.len(), 1);
        // Another spec may be another cluster.
        let changed = Report { generation: Some(2), ..report(Outcome::Connecting) };
        let changed = next(Some(&before), &changed, at(50)).unwrap();
        assert_eq!(ready(&changed).reason, "Connecting");
    }

    #[test]
    fn conditions_of_others_stay() {
        let mut status = next(None, &report(Outcome::Connecting), at(0)).unwrap();
        let other = Condition { type_: "Audited".to_owned(), ..ready(&status).clone() };
        status.conditions.insert(0, other.clone());
        let status = next(Some(&status), &Report { generation: Some(2), ..report(Outcome::Ready) }, at(1)).unwrap();
        assert_eq!((status.conditions.len(), &status.conditions[0]), (2, &other));
        assert_eq!((status.observed_generation, ready(&status).observed_generation), (Some(2), Some(2)));
    }

    #[test]
    fn a_merge_patch_takes_out_what_is_not_known() {
        let status = next(None, &report(Outcome::Suspended), at(0)).unwrap();
        let patch = serde_json::to_value(status).unwrap();
        assert!(patch["sources"].is_null() && patch.as_object().unwrap().contains_key("sources"), "{patch}");
    }
}
