//! What is asked of AWS. Everything else here is ours, and is tested without it.

use std::fmt;

use aws_credential_types::Credentials;
use futures::future::BoxFuture;

use super::arn::{ClusterArn, RoleArn, account_of};
use super::error::EksError;
use super::facts::Facts;
use super::token::Audience;

/// AWS.
pub trait Aws: fmt::Debug + Send + Sync {
    /// Credentials: of the role in the key under this session name, or our own.
    fn session<'a>(&'a self, key: &'a SessionKey, name: &'a str) -> BoxFuture<'a, Result<Grant, EksError>>;

    /// What the cluster is like, asked with these credentials.
    fn describe<'a>(&'a self, grant: &'a Grant, arn: &'a ClusterArn) -> BoxFuture<'a, Result<Facts, EksError>>;

    /// The names of all clusters of a region that are where these credentials are, in their own account.
    fn clusters<'a>(&'a self, grant: &'a Grant, region: &'a str) -> BoxFuture<'a, Result<Vec<String>, EksError>>;

    /// What tokens for a cluster are addressed to.
    fn audience<'a>(&'a self, region: &'a str, cluster: &'a str) -> BoxFuture<'a, Result<Audience, EksError>>;
}

/// Clusters with equal keys share a session.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The role to assume; none means that our own credentials are used as they are.
    pub role: Option<RoleArn>,
    /// What its trust policy asks for.
    pub external_id: Option<String>,
    /// What the session is called, if it is not called after the master.
    pub session_name: Option<String>,
    /// Of the STS that is asked: the cluster's own.
    pub region: String,
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An external id is half a password to some.
        let Self { role, external_id: _, session_name: _, region } = self;
        f.debug_struct("SessionKey").field("role", role).field("region", region).finish_non_exhaustive()
    }
}

/// Credentials, and whose they are. `Debug` shows no credential.
#[derive(Clone)]
pub struct Grant {
    /// They may end.
    pub credentials: Credentials,
    /// The caller that AWS sees, if we know:
    /// `arn:aws:sts::111122223333:assumed-role/mw-sync/mw-sync-management`.
    pub caller: Option<String>,
}

impl Grant {
    /// The account that they are of, if we know.
    pub fn account(&self) -> Option<&str> {
        self.caller.as_deref().and_then(account_of)
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("caller", &self.caller).finish_non_exhaustive()
    }
}
