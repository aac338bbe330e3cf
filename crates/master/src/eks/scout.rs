//! Looks where a cluster is, again and again: AWS rotates certificate authorities by itself, and people delete clusters
//! and make them anew.

use std::sync::Arc;
use std::time::Duration;

use sync_core::rng::Rng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::Eks;
use super::arn::ClusterArn;
use super::error::EksError;
use super::facts::Place;
use super::session::Session;

/// Longest time between two looks; half of it is the shortest while all is well.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// Shortest time between two looks that answered, however much trouble there is.
const GAP: Duration = Duration::from_secs(30);
/// First and longest pause between looks that failed.
const BACKOFF_FIRST: Duration = Duration::from_secs(2);
const BACKOFF_MOST: Duration = Duration::from_secs(300);

/// What is known of where a cluster is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Where it was when it was last seen to serve.
    pub place: Option<Arc<Place>>,
    /// Why the last look found nothing.
    pub error: Option<EksError>,
}

/// Looks for ever. While `trouble` says so, it looks more often, and at once when that begins.
pub async fn scout(
    eks: &Eks,
    session: &Session,
    arn: &ClusterArn,
    seen: &watch::Sender<Seen>,
    mut trouble: watch::Receiver<bool>,
    mut rng: Rng,
) {
    let (mut failures, mut worries) = (0_u8, 0_u8);
    loop {
        let failed = publish(seen, eks.describe(session, arn).await);
        let looked = Instant::now();
        let worried = *trouble.borrow_and_update();
        failures = if failed { failures.saturating_add(1) } else { 0 };
        worries = if worried { worries.saturating_add(1) } else { 0 };
        let pause = match (failed, worried) {
            (true, _) => rng.backoff(BACKOFF_FIRST, failures, BACKOFF_MOST),
            (false, true) => rng.backoff(2 * GAP, worries, EVERY),
            (false, false) => rng.jittered(EVERY),
        };
        let mut next = looked + pause;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(next) => break,
                Ok(()) = trouble.changed() => {
                    // AWS itself is asked no sooner than its own failures allow.
                    if *trouble.borrow_and_update() && !failed {
                        next = next.min(looked + GAP);
                    }
                }
            }
        }
    }
}

/// Whether the look failed.
fn publish(seen: &watch::Sender<Seen>, found: Result<Place, EksError>) -> bool {
    let failed = found.is_err();
    seen.send_if_modified(|seen| {
        let next = match found {
            Ok(place) => {
                // The same `Arc` for the same place.
                let known = seen.place.clone().filter(|known| **known == place);
                Seen { place: Some(known.unwrap_or_else(|| Arc::new(place))), error: None }
            }
            // That AWS does not answer, or no longer lets us look, says nothing of the cluster, and "not found" may be
            // a fault of ours. In these two cases there is nobody to talk to.
            Err(error @ (EksError::WrongCluster { .. } | EksError::ClusterNotActive(_))) => {
                Seen { place: None, error: Some(error) }
            }
            Err(error) => Seen { place: seen.place.clone(), error: Some(error) },
        };
        let changed = *seen != next;
        if changed {
            tell(&next);
        }
        *seen = next;
        changed
    });
    failed
}

fn tell(next: &Seen) {
    match (&next.error, &next.place) {
        (Some(error), _) => {
            warn!(reason = error.reason(), %error, todo = error.what_to_do(), "cannot find the cluster in AWS");
        }
        (None, Some(place)) => info!(endpoint = place.endpoint, "found the cluster in AWS"),
        (None, None) => {}
    }
}

#[cfg(test)]
#[path = "scout_tests.rs"]
mod tests;
