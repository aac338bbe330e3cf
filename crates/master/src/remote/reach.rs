//! What a failed request to a remote cluster means, by the way that leads to it.

use std::sync::Arc;

use sync_core::fault::Fault;
use tokio::sync::watch as state;

use super::secret::SecretRef;
use super::status::Outcome;
use crate::eks::error::EksError;
use crate::eks::facts::Place;
use crate::eks::login::Login;
use crate::eks::scout::Seen;

/// The way to a remote cluster.
pub(crate) enum Reach {
    /// What the kubeconfig in this Secret says is all that there is.
    Kubeconfig(SecretRef),
    /// AWS knows more.
    Eks(EksReach),
}

/// See [`Reach::Eks`].
pub(crate) struct EksReach {
    pub(crate) place: Arc<Place>,
    pub(crate) login: Arc<Login>,
    /// Why there is no good token.
    pub(crate) no_token: state::Receiver<Option<EksError>>,
    pub(crate) seen: state::Receiver<Seen>,
    /// Whether AWS should be asked where the cluster is.
    pub(crate) lost: Arc<state::Sender<bool>>,
}

impl Reach {
    /// What to tell of a failed request; AWS is asked anew where the cluster is, if that may be the reason.
    pub(crate) fn outcome(&self, fault: Fault) -> Outcome {
        match self {
            Self::Kubeconfig(place) => match fault {
                Fault::Unauthorised => Outcome::LoginRefused(place.clone()),
                other => Outcome::Fault(other),
            },
            Self::Eks(eks) => eks.outcome(fault),
        }
    }

    /// No request fails.
    pub(crate) fn well(&self) {
        if let Self::Eks(eks) = self {
            eks.set_lost(false);
        }
    }

    /// What else outcomes depend on.
    pub(crate) fn news(&self) -> News {
        match self {
            Self::Kubeconfig(_) => News(None),
            Self::Eks(eks) => News(Some((eks.no_token.clone(), eks.seen.clone()))),
        }
    }
}

/// Changes that may make another outcome of the same fault.
pub(crate) struct News(Option<(state::Receiver<Option<EksError>>, state::Receiver<Seen>)>);

impl News {
    /// Returns at the next one. Never, if there is none.
    pub(crate) async fn next(&mut self) {
        if let Some((no_token, seen)) = &mut self.0 {
            tokio::select! {
                biased;
                Ok(()) = no_token.changed() => return,
                Ok(()) = seen.changed() => return,
                else => {}
            }
        }
        std::future::pending::<()>().await;
    }
}

impl EksReach {
    fn outcome(&self, fault: Fault) -> Outcome {
        self.set_lost(matches!(fault, Fault::Connect(_) | Fault::Tls(_) | Fault::Unauthorised));
        // A cluster that has gone answers in any of these ways.
        let gone = self.seen.borrow().error.clone().filter(|error| matches!(error, EksError::ClusterNotFound { .. }));
        match (fault, gone) {
            (Fault::Connect(_) | Fault::Tls(_) | Fault::Unauthorised | Fault::NoAnswer(_), Some(gone)) => {
                Outcome::Eks(gone)
            }
            (Fault::Connect(words), None) => {
                let Place { endpoint, restricted, .. } = &*self.place;
                Outcome::Eks(EksError::NotReachable { endpoint: endpoint.clone(), restricted: *restricted, words })
            }
            (Fault::Tls(words), None) => Outcome::Eks(EksError::CertificateMismatch(words)),
            (Fault::Unauthorised, None) => {
                Outcome::Eks(self.no_token.borrow().clone().unwrap_or_else(|| self.login.unauthorised()))
            }
            (other, _) => Outcome::Fault(other),
        }
    }

    fn set_lost(&self, lost: bool) {
        self.lost.send_if_modified(|known| std::mem::replace(known, lost) != lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eks::error::Service;
    use crate::eks::tests_support::{FakeAws, arn, facts, key};

    #[test]
    fn who_renews_a_kubeconfig_is_told_how() {
        let place = SecretRef { namespace: "ops".to_owned(), name: "north".to_owned(), key: "config".to_owned() };
        let outcome = Reach::Kubeconfig(place).outcome(Fault::Unauthorised);
        let message = outcome.message("operator");
        let command = "kubectl -n ops create secret generic north --type=mw-sync.io/kubeconfig --from-file=config=FILE \
                       --dry-run=client -o yaml | kubectl apply -f -";
        assert!(outcome.reason() == "Unauthorised" && message.ends_with(command), "{message}");
    }

    #[tokio::test(start_paused = true)]
    async fn aws_says_more_of_a_fault_and_is_asked_about_some() {
        let aws = FakeAws::new();
        let eks = aws.eks();
        let place = Arc::new(facts().place(&arn()).unwrap());
        let login = Arc::new(eks.login(eks.session(&key()), &arn(), &place).await.unwrap());
        let (no_token, no_token_seen) = state::channel(None);
        let (seen, seen_seen) = state::channel(Seen { place: Some(Arc::clone(&place)), error: None });
        let lost = Arc::new(state::Sender::new(false));
        let ours = EksReach { place, login, no_token: no_token_seen, seen: seen_seen, lost: Arc::clone(&lost) };
        let reach = Reach::Eks(ours);
        let check = |fault: Fault, reason: &str, text: &str, asks: bool| {
            let outcome = reach.outcome(fault);
            let message = outcome.message("operator");
            assert!(outcome.reason() == reason && message.contains(text), "{reason}: {} {message}", outcome.reason());
            assert_eq!(*lost.borrow(), asks, "{reason}");
        };
        let words = || "words".to_owned();
        check(Fault::Connect(words()), "Unreachable", "https://A.gr7.eu-west-1.eks.amazonaws.com: words", true);
        check(Fault::Forbidden(words()), "Forbidden", "words", false);
        check(Fault::Tls(words()), "CertificateMismatch", "words; look for a proxy", true);
        reach.well();
        assert!(!*lost.borrow());
        check(Fault::Unauthorised, "Unauthorised", "role/team/mw-sync an access entry", true);

        let mut news = reach.news();
        no_token.send_replace(Some(EksError::Throttled(Service::Sts)));
        news.next().await;
        check(Fault::Unauthorised, "Throttled", "AWS STS", true);
        check(Fault::Connect(words()), "Unreachable", "words", true);
        let error = Some(EksError::ClusterNotFound { arn: arn(), account: None });
        seen.send_modify(|seen| seen.error = error);
        news.next().await;
        for fault in [Fault::Connect(words()), Fault::Tls(words()), Fault::Unauthorised] {
            check(fault, "ClusterNotFound", "no cluster prod", true);
        }
        check(Fault::Forbidden(words()), "Forbidden", "words", false);
        // No more news.
        assert!(tokio::time::timeout(std::time::Duration::from_secs(60), news.next()).await.is_err());
    }
}
