//! The roles that may be assumed, whoever asks for it: `--allow-roles`.
//!
//! A RemoteCluster names a role, so whoever may write one could have the master be anybody whom it may assume. It is held
//! here, at the only place where a role is assumed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};
use sync_core::contract::patterns::glob_matches;

use super::arn::{ClusterArn, RoleArn};
use super::aws::{Aws, Grant, SessionKey};
use super::error::EksError;
use super::facts::Facts;
use super::token::Audience;

/// ARNs of roles; `*` stands for any characters, `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRules(Vec<String>);

/// An entry of `--allow-roles` that could match no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no ARN of a role, nor one with * and ?: write arn:aws:iam::ACCOUNT:role/NAME")]
pub struct BadRole(String);

impl FromStr for RoleRules {
    type Err = BadRole;

    /// ARNs and globs, separated by commas. A comma in a role's own name is written as `?`.
    fn from_str(text: &str) -> Result<Self, BadRole> {
        let entries: Vec<_> =
            text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect();
        match entries.iter().find(|entry| !is_of_roles(entry)) {
            Some(bad) => Err(BadRole(bad.clone())),
            None => Ok(Self(entries)),
        }
    }
}

/// A glob may not take the place of what is the same in every role's ARN: `arn:aws:*` would seem to say something.
fn is_of_roles(entry: &str) -> bool {
    let parts: Vec<_> = entry.splitn(6, ':').collect();
    let plain = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    match parts[..] {
        ["arn", partition, "iam", "", account, resource] => {
            let name = resource.strip_prefix("role/");
            plain(partition, b"-*?") && plain(account, b"*?") && name.is_some_and(|name| plain(name, b"+=.@_-/*?"))
        }
        _ => false,
    }
}

impl RoleRules {
    /// Whether it may be assumed.
    pub fn allow(&self, role: &RoleArn) -> bool {
        let role = role.to_string();
        self.0.iter().any(|entry| glob_matches(entry, &role))
    }
}

/// AWS, asked for no other roles.
#[derive(Debug)]
pub struct Bounded {
    aws: Arc<dyn Aws>,
    roles: Option<RoleRules>,
}

impl Bounded {
    /// Without rules any role may be assumed.
    pub fn new(aws: Arc<dyn Aws>, roles: Option<RoleRules>) -> Self {
        Self { aws, roles }
    }
}

impl Aws for Bounded {
    fn session<'a>(&'a self, key: &'a SessionKey, name: &'a str) -> BoxFuture<'a, Result<Grant, EksError>> {
        match (&self.roles, &key.role) {
            (Some(rules), Some(role)) if !rules.allow(role) => {
                let error = EksError::RoleNotAllowed(role.clone());
                async { Err(error) }.boxed()
            }
            _ => self.aws.session(key, name),
        }
    }

    fn describe<'a>(&'a self, grant: &'a Grant, arn: &'a ClusterArn) -> BoxFuture<'a, Result<Facts, EksError>> {
        self.aws.describe(grant, arn)
    }

    fn clusters<'a>(&'a self, grant: &'a Grant, region: &'a str) -> BoxFuture<'a, Result<Vec<String>, EksError>> {
        self.aws.clusters(grant, region)
    }

    fn audience<'a>(&'a self, region: &'a str, cluster: &'a str) -> BoxFuture<'a, Result<Audience, EksError>> {
        self.aws.audience(region, cluster)
    }
}

impl fmt::Display for RoleRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eks::Eks;
    use crate::eks::tests_support::{FakeAws, ROLE, arn, key};

    #[test]
    fn which_roles() {
        let rules: RoleRules = " arn:aws:iam::111122223333:role/mw-sync, arn:aws*:iam::*:role/team/*,".parse().unwrap();
        for (role, allowed) in [
            ("arn:aws:iam::111122223333:role/mw-sync", true),
            ("arn:aws:iam::111122223333:role/mw-sync2", false),
            ("arn:aws:iam::111122223334:role/mw-sync", false),
            ("arn:aws:iam::111122223333:role/x/mw-sync", false),
            ("arn:aws-cn:iam::999900001111:role/team/a/b", true),
            ("arn:aws:iam::111122223333:role/MW-sync", false),
        ] {
            assert_eq!(rules.allow(&role.parse().unwrap()), allowed, "{role}");
        }
        assert!(!"".parse::<RoleRules>().unwrap().allow(&ROLE.parse().unwrap()), "none is none");
        for bad in [
            "*",
            "mw-sync",
            "arn:aws:*",
            "arn:aws:iam::111122223333:user/x",
            "arn:aws:iam::1:role/",
            "arn:aws:sts::1:role/a",
        ] {
            assert_eq!(bad.parse::<RoleRules>(), Err(BadRole(bad.to_owned())));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_asked_of_aws_for_another_role() {
        let aws = FakeAws::new();
        let bounded = |rules: Option<&str>| {
            let rules = rules.map(|rules| rules.parse().unwrap());
            Eks::new(Arc::new(Bounded::new(Arc::clone(&aws) as _, rules)), aws.clock(), "management", 1)
        };
        let eks = bounded(Some("arn:aws:iam::*:role/other"));
        let session = eks.session(&key());
        let error = eks.describe(&session, &arn()).await.unwrap_err();
        assert_eq!((error.reason(), aws.log().len()), ("RoleNotAllowed", 0));
        // As ourselves: no role is assumed.
        let own = SessionKey { role: None, ..key() };
        eks.session(&own).get().await.unwrap();
        for rules in [Some(ROLE), None] {
            let eks = bounded(rules);
            eks.describe(&eks.session(&key()), &arn()).await.unwrap();
        }
    }
}
