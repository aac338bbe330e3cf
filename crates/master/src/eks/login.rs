//! The login to one cluster: a header that always holds a good token.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use http::HeaderValue;
use sync_core::cluster::header::SwapHeader;
use sync_core::cluster::renew::Renew;
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::arn::RoleArn;
use super::aws::Grant;
use super::clock::WallClock;
use super::error::EksError;
use super::session::{Held, Session};
use super::token::{Audience, Token};

/// A token is used for so long. STS takes it for 15 minutes; a request that waits, and clocks, need some of that.
const LIFE: Duration = Duration::from_secs(10 * 60);
/// A token that is refused at this age is not refused for its age: another one of the same session would be too.
const FRESH: Duration = Duration::from_secs(30);
/// Between two attempts to sign while there is no session for it. The session limits how often AWS is asked.
const PAUSE: Duration = Duration::from_secs(5);
/// Shortest time between two tokens, however short their session is.
const SHORTEST: Duration = Duration::from_secs(1);

/// A token in a header, renewed in time by [`Login::keep`], and at once when a server refuses it.
pub struct Login {
    session: Arc<Session>,
    audience: Audience,
    clock: WallClock,
    header: SwapHeader,
    /// Held while the next token is made.
    signed: Mutex<Signed>,
    /// What the last one was signed with.
    grant: std::sync::Mutex<Arc<Grant>>,
    trouble: watch::Sender<Option<EksError>>,
}

/// The times of a token.
#[derive(Clone, Copy)]
struct Signed {
    at: SystemTime,
    until: SystemTime,
}

impl Login {
    /// Signs the first token.
    ///
    /// # Errors
    /// If there is no session, or no token that clusters would take.
    pub async fn begin(session: Arc<Session>, audience: Audience, clock: WallClock) -> Result<Self, EksError> {
        let held = session.get().await?;
        let (token, signed) = match sign(&audience, &clock, &held) {
            Ok(signed) => signed,
            Err(error) => return Err(shorter(&session, error).await),
        };
        let header = SwapHeader::bearer(token.secret()).map_err(|_| unusable())?;
        let (signed, grant) = (Mutex::new(signed), std::sync::Mutex::new(held.grant));
        Ok(Self { session, audience, clock, header, signed, grant, trouble: watch::Sender::new(None) })
    }

    /// What requests carry.
    pub fn header(&self) -> SwapHeader {
        self.header.clone()
    }

    /// Why there is no good token any more, or nothing; from now on.
    pub fn trouble(&self) -> watch::Receiver<Option<EksError>> {
        self.trouble.subscribe()
    }

    /// How old the token is; nothing while another one is made.
    pub fn age(&self) -> Option<Duration> {
        let signed = self.signed.try_lock().ok()?;
        Some(self.clock.now().duration_since(signed.at).unwrap_or_default())
    }

    /// What it means that the server refuses a token that it should take.
    pub fn unauthorised(&self) -> EksError {
        let caller = self.grant().caller.clone();
        let of_caller = || caller.as_deref().and_then(RoleArn::of_caller);
        let role = self.session.key().role.clone().or_else(of_caller);
        EksError::Unauthorised { caller, role, ahead: self.clock.ahead() }
    }

    /// Keeps the token good, for ever.
    pub async fn keep(&self) {
        // The first one is new.
        let mut wait = SHORTEST;
        loop {
            sleep(wait).await;
            wait = self.look().await;
        }
    }

    /// Signs the next token if it is time for that; returns how long nothing is to be done.
    async fn look(&self) -> Duration {
        let mut signed = self.signed.lock().await;
        let held = match self.session.get().await {
            Ok(held) => held,
            Err(error) => {
                // The old token may be good for a while.
                if self.clock.now() >= signed.until {
                    self.tell(Some(error));
                }
                return PAUSE;
            }
        };
        // A token of the session before is as good until then.
        if self.clock.now() >= signed.until
            && let Err(error) = self.put(&mut signed, &held)
        {
            self.tell(Some(shorter(&self.session, error).await));
            return PAUSE;
        }
        let now = self.clock.now();
        // A session that should have been got anew and was not is asked about again soon.
        let due = if held.due > now { held.due } else { now + PAUSE };
        signed.until.min(due).duration_since(now).unwrap_or_default().max(SHORTEST)
    }

    async fn renewed(&self, refused: &Arc<HeaderValue>) {
        let mut signed = self.signed.lock().await;
        if !Arc::ptr_eq(&self.header.current(), refused) {
            // Somebody else came first.
            return;
        }
        // A clock that was set back makes any age possible.
        let fresh = self.clock.now().duration_since(signed.at).is_ok_and(|age| age < FRESH);
        let held = if fresh { self.session.get_newer().await } else { self.session.get().await };
        // An error is told by whoever keeps the token, when the old one has ended.
        let Ok(held) = held else { return };
        if !fresh || !Arc::ptr_eq(&held.grant, &self.grant()) {
            debug!("a token was refused; signing another one");
            let _told_later = self.put(&mut signed, &held);
        }
    }

    fn put(&self, signed: &mut Signed, held: &Held) -> Result<(), EksError> {
        let (token, times) = sign(&self.audience, &self.clock, held)?;
        self.header.set_bearer(token.secret()).map_err(|_| unusable())?;
        *self.grant.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&held.grant);
        *signed = times;
        debug!("a new token");
        self.tell(None);
        Ok(())
    }

    fn grant(&self) -> Arc<Grant> {
        Arc::clone(&self.grant.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, trouble: Option<EksError>) {
        self.trouble.send_if_modified(|known| {
            let changed = *known != trouble;
            if let (true, Some(error)) = (changed, &trouble) {
                warn!(reason = error.reason(), %error, todo = error.what_to_do(), "no token");
            }
            *known = trouble;
            changed
        });
    }
}

fn sign(audience: &Audience, clock: &WallClock, held: &Held) -> Result<(Token, Signed), EksError> {
    let at = clock.now();
    let token = audience.token(&held.grant.credentials, at)?;
    Ok((token, Signed { at, until: held.end.min(at + LIFE) }))
}

/// Where a token was too long, a newer session may have a shorter one: somebody has been told to see to that.
async fn shorter(session: &Session, error: EksError) -> EksError {
    if let EksError::TokenTooLong(_) = error {
        // For the next attempt; why it cannot be had, that attempt learns.
        let _next = session.get_newer().await;
    }
    error
}

fn unusable() -> EksError {
    EksError::BadDescription("no header can carry a token for it".to_owned())
}

impl Renew for Login {
    fn renew<'a>(&'a self, refused: &'a Arc<HeaderValue>) -> BoxFuture<'a, ()> {
        Box::pin(self.renewed(refused))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("session", &self.session).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
