//! What `status` of a ClusterDiscovery says. Pure: the time is handed in, and no change is no write.

use jiff::Timestamp;
use sync_core::fault::Fault;

use super::crd::{ClusterDiscoveryStatus, Clusters};
use super::decide::{Decision, Refusal, Shrunk};
use super::list::Trouble;
use crate::remote::condition::Ready;

/// Most names or reasons that a message has.
const SOME: usize = 5;

/// How a ClusterDiscovery fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Each cluster that was found has its RemoteCluster; those that are no longer found.
    Listed(Clusters, Vec<String>),
    /// The list is whole and empty, and never had anything.
    NothingFound,
    /// Something could not be looked at; the first of so many.
    Trouble(Trouble, usize),
    /// The list has lost too many.
    Shrunk(Shrunk),
    /// Some that were found have no RemoteCluster; those that are no longer found.
    Refused(Vec<Refusal>, Vec<String>),
    /// A RemoteCluster could not be written.
    NotWritten(Fault),
}

impl Outcome {
    /// What a look has come to.
    pub(super) fn of(troubles: &[Trouble], decision: &Decision, failed: Option<Fault>) -> Self {
        match (failed, troubles.first(), &decision.shrunk) {
            (Some(fault), ..) => Self::NotWritten(fault),
            (None, Some(first), _) => Self::Trouble(first.clone(), troubles.len()),
            (None, None, Some(shrunk)) => Self::Shrunk(shrunk.clone()),
            _ if !decision.refused.is_empty() => Self::Refused(decision.refused.clone(), decision.leaving.clone()),
            _ if decision.clusters.found == 0 => Self::NothingFound,
            _ => Self::Listed(decision.clusters, decision.leaving.clone()),
        }
    }

    /// The word for the condition.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Listed(..) => "Listed",
            Self::NothingFound => "NothingFound",
            Self::Trouble(trouble, _) => trouble.reason(),
            Self::Shrunk(_) => "ListShrunk",
            Self::Refused(..) => "NameTaken",
            Self::NotWritten(fault) => fault.reason(),
        }
    }

    /// What is the matter and what to do; `namespace` is that of the RemoteClusters.
    pub(super) fn message(&self, namespace: &str) -> String {
        match self {
            Self::Listed(Clusters { found, suspended, .. }, leaving) => {
                let waiting = format!(
                    ", of which {suspended} are suspended: set spec.suspend of these to false, and copies are made there"
                );
                let waiting = if *suspended == 0 { "" } else { &waiting };
                format!("{found} found; each has its RemoteCluster{waiting}{}", not_listed(leaving))
            }
            Self::NothingFound => {
                "no cluster was found; check regions and tags, or the contexts of the kubeconfig; nothing \
                 is written meanwhile"
                    .to_owned()
            }
            Self::Trouble(first, 1) => format!("{first}; until then no RemoteCluster is taken away"),
            Self::Trouble(first, all) => {
                format!("{first}; and {} more; until then no RemoteCluster is taken away", all - 1)
            }
            Self::Shrunk(Shrunk { lacks, of }) => format!(
                "the list lacks {} of {of} clusters, and of so many none is taken away; if they are gone, delete their \
                 RemoteClusters: kubectl -n {namespace} delete remotecluster {}",
                lacks.len(),
                some(lacks.iter(), " ")
            ),
            Self::Refused(refused, leaving) => some(refused.iter(), "; ") + &not_listed(leaving),
            Self::NotWritten(fault) => {
                format!("a RemoteCluster cannot be written: {fault}; {} (deploy/master.yaml)", fault.what_to_do())
            }
        }
    }
}

fn not_listed(leaving: &[String]) -> String {
    match leaving {
        [] => String::new(),
        names => format!("; NotListed, and deleted 24 h after that began: {}", some(names.iter(), ", ")),
    }
}

fn some<T: ToString>(all: impl ExactSizeIterator<Item = T>, between: &str) -> String {
    let more = all.len().saturating_sub(SOME);
    let first: Vec<_> = all.take(SOME).map(|one| one.to_string()).collect();
    let first = first.join(between);
    if more == 0 { first } else { format!("{first}{between}... ({more} more)") }
}

/// The status to write, or `None` if `old` says all that already. `clusters` are kept from `old` while a list is not whole.
pub(super) fn next(
    old: Option<&ClusterDiscoveryStatus>,
    outcome: &Outcome,
    clusters: Option<Clusters>,
    (generation, namespace): (Option<i64>, &str),
    now: Timestamp,
) -> Option<ClusterDiscoveryStatus> {
    let before = old.cloned().unwrap_or_default();
    let (is, reason) = (matches!(outcome, Outcome::Listed(..)), outcome.reason());
    let ready = Ready { is, reason, message: outcome.message(namespace), generation };
    let next = ClusterDiscoveryStatus {
        conditions: ready.among(&before.conditions, now),
        clusters: clusters.or(before.clusters),
        observed_generation: generation,
    };
    (old != Some(&next)).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eks::error::{EksError, Service};
    use crate::remote::condition::ready;

    fn clusters(found: i64) -> Clusters {
        Clusters { found, ..Clusters::default() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 500_000_000).unwrap()
    }

    #[test]
    fn the_first_that_is_wrong_is_said_and_what_to_do() {
        let trouble = Trouble::eks("eu-west-1", EksError::Throttled(Service::Eks));
        let lacks: Vec<_> = (0..7).map(|n| format!("c-{n}")).collect();
        let shrunk = Decision { shrunk: Some(Shrunk { lacks, of: 8 }), ..Decision::default() };
        let refused = Decision { refused: vec![Refusal::Twice("a".to_owned())], ..Decision::default() };
        let well = Decision { clusters: clusters(3), ..Decision::default() };
        let waiting = Decision { clusters: Clusters { suspended: 2, ..clusters(3) }, ..Decision::default() };
        let leaving = vec!["a".to_owned(), "b".to_owned()];
        let going = Decision { leaving: leaving.clone(), ..well.clone() };
        let both = Decision { leaving, ..refused.clone() };
        let troubles = [trouble.clone(), trouble];
        for (troubles, decision, failed, reason, text) in [
            (&[][..], &well, None, "Listed", "3 found; each has its RemoteCluster"),
            (&[], &waiting, None, "Listed", "2 are suspended: set spec.suspend of these to false"),
            (&[], &going, None, "Listed", "its RemoteCluster; NotListed, and deleted 24 h after that began: a, b"),
            (&[], &both, None, "NameTaken", "of them away; NotListed, and deleted 24 h after that began: a, b"),
            (&[], &Decision::default(), None, "NothingFound", "check regions and tags"),
            (&[], &refused, None, "NameTaken", "two that were found would be RemoteCluster a"),
            (
                &[],
                &shrunk,
                None,
                "ListShrunk",
                "lacks 7 of 8 clusters, and of so many none is taken away; if they are gone, delete their RemoteClusters: \
                 kubectl -n operator delete remotecluster c-0 c-1 c-2 c-3 c-4 ... (2 more)",
            ),
            (&troubles[..1], &shrunk, None, "Throttled", "eu-west-1: AWS EKS asks to slow down; wait: we try again"),
            (&troubles, &well, None, "Throttled", "and 1 more; until then no RemoteCluster is taken away"),
            (&troubles, &well, Some(Fault::Forbidden("create".into())), "Forbidden", "deploy/master.yaml"),
        ] {
            let outcome = Outcome::of(troubles, decision, failed);
            let status = next(None, &outcome, None, (Some(1), "operator"), at(0)).unwrap();
            let condition = ready(&status.conditions).unwrap();
            assert_eq!((condition.reason.as_str(), condition.status == "True"), (reason, reason == "Listed"));
            assert!(condition.message.contains(text), "{reason}: {}", condition.message);
        }
    }

    #[test]
    fn nothing_new_is_no_write_and_counts_stay_while_a_list_fails() {
        let listed = Outcome::Listed(clusters(3), Vec::new());
        let first = next(None, &listed, Some(clusters(3)), (Some(1), "operator"), at(0)).unwrap();
        let read: ClusterDiscoveryStatus = serde_json::from_value(serde_json::to_value(&first).unwrap()).unwrap();
        assert_eq!(next(Some(&read), &listed, Some(clusters(3)), (Some(1), "operator"), at(99)), None);
        let trouble = Trouble::eks("eu-west-1", EksError::Throttled(Service::Eks));
        let failed = next(Some(&read), &Outcome::Trouble(trouble, 1), None, (Some(1), "operator"), at(99)).unwrap();
        assert_eq!(failed.clusters, Some(clusters(3)));
    }
}
