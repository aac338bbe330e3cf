//! Which cluster, and as whom: `spec.eks` of a RemoteCluster, read.

use std::fmt;

use super::arn::{ClusterArn, RoleArn};
use super::aws::SessionKey;
use super::error::EksError;

/// A cluster, and the way to log in to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The cluster.
    pub arn: ClusterArn,
    /// The role to assume; none means that our own credentials are used as they are.
    pub role: Option<RoleArn>,
    /// What the role's trust policy asks for.
    pub external_id: Option<String>,
    /// What the session is called, if it is not called after the master.
    pub session_name: Option<String>,
    /// The way to the cluster, if it is not the one that the environment names; it may hold a password.
    pub proxy: Option<String>,
}

impl Target {
    /// Reads the fields of `spec.eks`. The CRD has the same rules: this is for an object that is older than they are.
    ///
    /// # Errors
    /// If they cannot be understood, or the role cannot describe the cluster because it is of another account.
    pub fn parse(arn: &str, role: Option<&str>, external_id: Option<&str>) -> Result<Self, EksError> {
        let bad = |field: &str, why: String| EksError::BadSpec(format!("{field}: {why}"));
        let arn: ClusterArn = arn.parse().map_err(|why| bad("arn", format!("{why}")))?;
        let role: Option<RoleArn> = role.map(str::parse).transpose().map_err(|why| bad("roleArn", format!("{why}")))?;
        if role.as_ref().is_some_and(|role| (role.partition(), role.account()) != (arn.partition(), arn.account())) {
            return Err(bad(
                "roleArn",
                format!("it must be a role of account {}, which the cluster is in", arn.account()),
            ));
        }
        let plain = |id: &str| {
            (2..=1224).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte))
        };
        match external_id {
            Some(_) if role.is_none() => Err(bad("externalId", "it needs a roleArn".to_owned())),
            Some(id) if !plain(id) => Err(bad("externalId", "2 to 1224 letters, digits and _+=,.@:/-".to_owned())),
            _ => {
                let external_id = external_id.map(str::to_owned);
                Ok(Self { arn, role, external_id, session_name: None, proxy: None })
            }
        }
    }

    /// Clusters with equal keys share a session.
    pub fn session_key(&self) -> SessionKey {
        let Self { arn, role, external_id, session_name, proxy: _ } = self.clone();
        SessionKey { role, external_id, session_name, region: arn.region().to_owned() }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arn, role, .. } = self;
        f.debug_struct("Target").field("arn", arn).field("role", role).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/prod";
    const ROLE: &str = "arn:aws:iam::111122223333:role/mw-sync";

    #[test]
    fn what_is_taken() {
        let target = Target::parse(ARN, Some(ROLE), Some("a/b:c")).unwrap();
        let key = target.session_key();
        assert_eq!((key.region.as_str(), key.external_id.as_deref()), ("eu-west-1", Some("a/b:c")));
        assert_eq!(key.role.clone().unwrap().to_string(), ROLE);
        assert!(!format!("{target:?}{key:?}").contains("a/b:c"));
        assert_eq!(Target::parse(ARN, None, None).unwrap().session_key().role, None);
    }

    #[test]
    fn what_is_not() {
        let other = "arn:aws:iam::999900001111:role/mw-sync";
        let china = "arn:aws-cn:iam::111122223333:role/mw-sync";
        for (arn, role, id, text) in [
            ("prod", None, None, "arn: no ARN like arn:aws:eks:"),
            (ARN, Some("mw-sync"), None, "roleArn: no ARN like arn:aws:iam:"),
            (ARN, Some(other), None, "a role of account 111122223333"),
            (ARN, Some(china), None, "a role of account 111122223333"),
            (ARN, None, Some("id"), "externalId: it needs a roleArn"),
            (ARN, Some(ROLE), Some("a"), "externalId: 2 to 1224"),
            (ARN, Some(ROLE), Some("a b"), "externalId: 2 to 1224"),
        ] {
            let error = Target::parse(arn, role, id).unwrap_err();
            assert!(error.reason() == "InvalidSpec" && error.to_string().contains(text), "{error}");
        }
    }
}
