//! EKS clusters: from an ARN and a role to a connection that stays logged in.
//!
//! ```text
//!   our own credentials --AssumeRole--> session --DescribeCluster--> scout: where is it?  -> engine stops, starts
//!                                          |
//!                                          +------signs (no request)--> login: the header -> swapped on open connections
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`target`], [`arn`] | what a RemoteCluster asks for; [`command`]: what a login command in a kubeconfig does |
//! | [`aws`] | what is asked of AWS: the seam for tests; [`sdk`] asks it, `answer` reads its refusals, [`counted`] counts |
//! | [`roles`] | those that may be assumed |
//! | [`session`] | credentials of a role, shared by its clusters and got anew in time |
//! | [`facts`], [`scout`] | endpoint, authority and status, looked at again and again |
//! | [`token`], [`login`] | the token, and the header that always has a good one |
//! | [`clock`] | the time of day as AWS has it |
//! | [`error`] | what can go wrong, and what to do |
//!
//! Nothing here decides anything about copies: an error stops nothing but a connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sync_core::rng;
use tokio::sync::Semaphore;
use tokio::time::timeout;

mod answer;
pub mod arn;
pub mod aws;
pub mod clock;
pub mod command;
pub mod counted;
pub mod error;
pub mod facts;
pub mod login;
pub mod roles;
pub mod scout;
pub mod sdk;
pub mod session;
mod shelf;
pub mod target;
pub mod token;

#[cfg(test)]
#[path = "tests_support.rs"]
pub(crate) mod tests_support;

use arn::ClusterArn;
use aws::{Aws, Grant, SessionKey};
use clock::WallClock;
use error::{EksError, Service};
use facts::{Facts, Place};
use login::Login;
use session::Session;
use shelf::Shelf;

/// DescribeCluster has a budget per account and region, which others need too: 150 nodes that start at once use it up.
pub(crate) const DESCRIBES: usize = 5;
/// For one description, the SDK's own repetitions included.
const DEADLINE: Duration = Duration::from_secs(30);
/// For a list with all its pages.
const LIST_DEADLINE: Duration = Duration::from_secs(120);
/// Sessions are asked for in our own account, for all others.
const SESSIONS: usize = 10;

/// What all EKS clusters share.
pub struct Eks {
    aws: Arc<dyn Aws>,
    clock: WallClock,
    session_name: Arc<str>,
    seed: u64,
    sessions: Shelf<SessionKey, Session>,
    /// By account and region; sessions have no account.
    slots: Shelf<(String, String), Semaphore>,
}

impl Eks {
    /// For the master of this name. Nothing is asked of AWS before a cluster needs it.
    pub fn new(aws: Arc<dyn Aws>, clock: WallClock, cluster_name: &str, seed: u64) -> Self {
        let session_name = session::session_name(cluster_name).into();
        Self { aws, clock, session_name, seed, sessions: Shelf::default(), slots: Shelf::default() }
    }

    /// The session of a key, shared by all who hold it.
    pub fn session(&self, key: &SessionKey) -> Arc<Session> {
        self.sessions.get_or(key, || {
            let slots = self.slots.get_or(&(String::new(), key.region.clone()), || Semaphore::new(SESSIONS));
            let (aws, clock) = (Arc::clone(&self.aws), self.clock.clone());
            let name = key.session_name.as_deref().map_or_else(|| Arc::clone(&self.session_name), Arc::from);
            Session::new(key.clone(), name, aws, clock, slots, self.seed_of(&format!("{key:?}")))
        })
    }

    /// Where a cluster is now.
    ///
    /// # Errors
    /// If AWS does not say, or what it says is nowhere to go.
    pub async fn describe(&self, session: &Session, arn: &ClusterArn) -> Result<Place, EksError> {
        self.facts(session, arn).await?.place(arn)
    }

    /// What AWS says of a cluster.
    ///
    /// # Errors
    /// If it says nothing.
    pub async fn facts(&self, session: &Session, arn: &ClusterArn) -> Result<Facts, EksError> {
        let grant = session.get().await?.grant;
        let answer = self.facts_as(&grant, arn).await;
        match newer(session, &grant, &answer).await? {
            Some(newer) => self.facts_as(&newer, arn).await,
            None => answer,
        }
    }

    async fn facts_as(&self, grant: &Grant, arn: &ClusterArn) -> Result<Facts, EksError> {
        if let Some(account) = grant.account().filter(|account| *account != arn.account()) {
            // There may be one of that name in our account, which is not the one.
            return Err(EksError::ClusterNotFound { arn: arn.clone(), account: Some(account.to_owned()) });
        }
        let key = (arn.account().to_owned(), arn.region().to_owned());
        let slots = self.slots.get_or(&key, || Semaphore::new(DESCRIBES));
        // Nobody closes it.
        let slot = slots.acquire().await;
        let answer = timeout(DEADLINE, self.aws.describe(grant, arn)).await;
        drop(slot);
        answer.unwrap_or_else(|_| Err(late()))
    }

    /// The names of all clusters of the session's account in the session's region, and whose session it is.
    ///
    /// # Errors
    /// If AWS does not say, or not all of them.
    pub async fn clusters(&self, session: &Session) -> Result<(Vec<String>, Option<String>), EksError> {
        let grant = session.get().await?.grant;
        let answer = self.clusters_as(&grant, session).await;
        match newer(session, &grant, &answer).await? {
            Some(newer) => self.clusters_as(&newer, session).await,
            None => answer,
        }
    }

    async fn clusters_as(&self, grant: &Grant, session: &Session) -> Result<(Vec<String>, Option<String>), EksError> {
        let names = timeout(LIST_DEADLINE, self.aws.clusters(grant, &session.key().region)).await;
        Ok((names.unwrap_or_else(|_| Err(late()))?, grant.caller.clone()))
    }

    /// A login to a cluster at a place.
    ///
    /// # Errors
    /// If there is no session, or no token that clusters would take.
    pub async fn login(&self, session: Arc<Session>, arn: &ClusterArn, place: &Place) -> Result<Login, EksError> {
        let audience = self.aws.audience(arn.region(), &place.token_name).await?;
        Login::begin(session, audience, self.clock.clone()).await
    }

    /// Seed of the jitter of one of many.
    pub fn seed_of(&self, name: &str) -> u64 {
        rng::seed_of(self.seed, name)
    }
}

/// Newer credentials of the session, if there are any and AWS has just taken the old ones for none: a role that was deleted
/// and made again has none of its old sessions accepted.
async fn newer<T>(
    session: &Session,
    old: &Arc<Grant>,
    answer: &Result<T, EksError>,
) -> Result<Option<Arc<Grant>>, EksError> {
    let Err(EksError::NoCredentials(_)) = answer else { return Ok(None) };
    let newer = session.get_newer().await?.grant;
    Ok((!Arc::ptr_eq(&newer, old)).then_some(newer))
}

fn late() -> EksError {
    EksError::AwsUnreachable { service: Service::Eks, words: "not within the deadline".to_owned() }
}

impl fmt::Debug for Eks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eks").field("aws", &self.aws).field("clock", &self.clock).finish_non_exhaustive()
    }
}
