//! Sessions: credentials that end, got anew in time, each by one caller at a time however many clusters want it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sync_core::rng::Rng;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::aws::{Aws, Grant, SessionKey};
use super::clock::WallClock;
use super::error::{EksError, Service};

/// What we ask for. Our own credentials are a role's session in a pod, and from one session to the next AWS grants an
/// hour at most: more would be refused.
pub const DURATION: Duration = Duration::from_secs(3600);
/// A session is got anew at least so long before its end, so that there is time for that to fail, and a token that is
/// signed with it just before lives as long as any.
const EARLY: Duration = Duration::from_secs(20 * 60);
/// Up to so much earlier still, so that sessions which began together are not renewed together.
const SPREAD: Duration = Duration::from_secs(10 * 60);
/// A token is signed only for a time that ends so long before its session does.
const MARGIN: Duration = Duration::from_secs(60);
/// For one attempt, the SDK's own repetitions included.
const DEADLINE: Duration = Duration::from_secs(30);
/// First and longest pause between failed attempts.
const BACKOFF_FIRST: Duration = Duration::from_secs(2);
const BACKOFF_MOST: Duration = Duration::from_secs(300);
/// A session that a cluster refuses is got anew only if it is older than this.
const YOUNG: Duration = Duration::from_secs(300);

/// Credentials that can be used now.
#[derive(Clone, Debug)]
pub struct Held {
    /// The credentials.
    pub grant: Arc<Grant>,
    /// From then on newer ones can be had.
    pub due: SystemTime,
    /// From then on these must not be used any more.
    pub end: SystemTime,
    since: Instant,
    /// Not asked again before: some sources keep giving the same ones until shortly before they end.
    rest: Duration,
}

/// The session of one key.
pub struct Session {
    key: SessionKey,
    name: Arc<str>,
    aws: Arc<dyn Aws>,
    clock: WallClock,
    /// Of all sessions of a region, so that a start does not ask for all at once.
    slots: Arc<Semaphore>,
    state: Mutex<State>,
}

struct State {
    held: Option<Held>,
    failed: Option<Failed>,
    rng: Rng,
}

struct Failed {
    error: EksError,
    times: u8,
    again: Instant,
}

impl Session {
    /// Nothing is asked yet.
    pub fn new(
        key: SessionKey,
        name: Arc<str>,
        aws: Arc<dyn Aws>,
        clock: WallClock,
        slots: Arc<Semaphore>,
        seed: u64,
    ) -> Self {
        let state = Mutex::new(State { held: None, failed: None, rng: Rng::new(seed) });
        Self { key, name, aws, clock, slots, state }
    }

    /// Whose it is.
    pub const fn key(&self) -> &SessionKey {
        &self.key
    }

    /// Credentials: those at hand, or newer ones if it is time for that.
    ///
    /// # Errors
    /// If there are none, or they have ended, and newer ones cannot be had; each attempt is made for all callers.
    pub async fn get(&self) -> Result<Held, EksError> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        match &state.held {
            Some(held) if now < held.due || (now < held.end && held.since.elapsed() < held.rest) => Ok(held.clone()),
            _ => self.attempt(&mut state).await,
        }
    }

    /// Credentials that are newer than those which a cluster has just refused, unless these are young: a role that was
    /// deleted and made again has none of its old sessions accepted.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub async fn get_newer(&self) -> Result<Held, EksError> {
        let mut state = self.state.lock().await;
        match &state.held {
            Some(held) if held.since.elapsed() < YOUNG && self.clock.now() < held.end => Ok(held.clone()),
            _ => self.attempt(&mut state).await,
        }
    }

    /// Whoever goes away in the middle leaves everything as it was.
    async fn attempt(&self, state: &mut State) -> Result<Held, EksError> {
        if let Some(Failed { error, again, .. }) = &state.failed
            && Instant::now() < *again
        {
            return self.still_good(state).ok_or_else(|| error.clone());
        }
        let late = |_| EksError::AwsUnreachable { service: Service::Sts, words: "not within the deadline".to_owned() };
        // Nobody closes it.
        let slot = self.slots.acquire().await;
        let answer = timeout(DEADLINE, self.aws.session(&self.key, &self.name)).await.map_err(late).flatten();
        drop(slot);
        match answer {
            Ok(grant) => {
                let held = self.held(grant, &mut state.rng);
                if state.failed.take().is_some() {
                    info!(key = ?self.key, "a session can be had again");
                } else {
                    debug!(key = ?self.key, caller = held.grant.caller, "a new session");
                }
                state.held = Some(held.clone());
                Ok(held)
            }
            Err(error) => {
                let times = state.failed.as_ref().map_or(0, |failed| failed.times).saturating_add(1);
                if state.failed.as_ref().is_none_or(|failed| failed.error != error) {
                    warn!(key = ?self.key, reason = error.reason(), %error, todo = error.what_to_do(), "no new session");
                }
                let again = Instant::now() + state.rng.backoff(BACKOFF_FIRST, times, BACKOFF_MOST);
                state.failed = Some(Failed { error: error.clone(), times, again });
                self.still_good(state).ok_or(error)
            }
        }
    }

    fn still_good(&self, state: &State) -> Option<Held> {
        state.held.clone().filter(|held| self.clock.now() < held.end)
    }

    fn held(&self, grant: Grant, rng: &mut Rng) -> Held {
        let now = self.clock.now();
        // Long-lived keys have no end; they may be replaced all the same.
        let expiry = grant.credentials.expiry();
        let life = expiry.map_or(DURATION, |end| end.duration_since(now).unwrap_or_default());
        // The lengths are for an hour. Of a shorter session they are parts: a token of the last one is on its way while the
        // next one is got.
        let (early, spread, margin) = (EARLY.min(life / 3), SPREAD.min(life / 6), MARGIN.min(life / 4));
        let spread = Duration::from_millis(rng.below(u64::try_from(spread.as_millis()).unwrap_or(0)));
        let due = now + (life - early - spread);
        let end = expiry.map_or(now + 10 * DURATION, |_| now + (life - margin));
        Held { grant: Arc::new(grant), due, end, since: Instant::now(), rest: margin }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What CloudTrail shows, and the username in clusters that say `{{SessionName}}`: the master's cluster. AWS takes 2 to
/// 64 characters of few kinds.
pub fn session_name(cluster_name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) { c } else { '-' };
    format!("mw-sync-{cluster_name}").chars().map(plain).take(64).collect()
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
