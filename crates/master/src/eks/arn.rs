//! Names of clusters and roles in AWS.

use std::fmt;
use std::str::FromStr;

/// Not an ARN of the kind that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no ARN like {0}")]
pub struct BadArn(&'static str);

/// ARN of an EKS cluster: `arn:aws:eks:eu-west-1:111122223333:cluster/prod`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterArn {
    partition: String,
    region: String,
    account: String,
    name: String,
}

impl ClusterArn {
    /// `aws`, `aws-cn`, `aws-us-gov`, ...
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// Where the cluster is.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The twelve digits of the account that it is in.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Its name, unique only within account and region.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for ClusterArn {
    type Err = BadArn;

    fn from_str(text: &str) -> Result<Self, BadArn> {
        const LIKE: BadArn = BadArn("arn:aws:eks:REGION:ACCOUNT:cluster/NAME");
        let [partition, region, account, resource] = parts(text, "eks").ok_or(LIKE)?;
        let name = resource.strip_prefix("cluster/").ok_or(LIKE)?;
        // The region becomes part of host names.
        let plain = |text: &str, more: &[u8]| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
                && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        };
        let ours = plain(region, b"-") && is_account(account) && plain(name, b"-_") && name.len() <= 100;
        if !ours {
            return Err(LIKE);
        }
        let [partition, region, account, name] = [partition, region, account, name].map(str::to_owned);
        Ok(Self { partition, region, account, name })
    }
}

impl fmt::Display for ClusterArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, region, account, name } = self;
        write!(f, "arn:{partition}:eks:{region}:{account}:cluster/{name}")
    }
}

/// ARN of a role, perhaps with a path: `arn:aws:iam::111122223333:role/team/mw-sync`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleArn {
    partition: String,
    account: String,
    /// With its path.
    name: String,
}

impl RoleArn {
    /// `aws`, `aws-cn`, `aws-us-gov`, ...
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// The account that the role is in.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The role that a caller acts as, as `GetCallerIdentity` and `AssumeRole` name it
    /// (`arn:aws:sts::111122223333:assumed-role/mw-sync/SESSION`). Its path is lost there.
    pub fn of_caller(caller: &str) -> Option<Self> {
        let [partition, _, account, resource] = parts(caller, "sts")?;
        let (name, _session) = resource.strip_prefix("assumed-role/")?.split_once('/')?;
        format!("arn:{partition}:iam::{account}:role/{name}").parse().ok()
    }

    /// As ConfigMap `aws-auth` wants it: without the path, or the entry never matches.
    #[must_use]
    pub fn without_path(&self) -> Self {
        let name = self.name.rsplit('/').next().unwrap_or_default().to_owned();
        Self { name, ..self.clone() }
    }
}

impl FromStr for RoleArn {
    type Err = BadArn;

    fn from_str(text: &str) -> Result<Self, BadArn> {
        const LIKE: BadArn = BadArn("arn:aws:iam::ACCOUNT:role/NAME");
        let [partition, region, account, resource] = parts(text, "iam").ok_or(LIKE)?;
        let name = resource.strip_prefix("role/").ok_or(LIKE)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&byte);
        let whole = name.split('/').all(|part| !part.is_empty());
        if !region.is_empty() || !is_account(account) || !whole || !name.bytes().all(plain) || name.len() > 576 {
            return Err(LIKE);
        }
        let [partition, account, name] = [partition, account, name].map(str::to_owned);
        Ok(Self { partition, account, name })
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:{}:iam::{}:role/{}", self.partition, self.account, self.name)
    }
}

/// The account in the ARN of any caller.
pub fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| is_account(account))
}

/// Partition, region, account and resource of an ARN of this service.
fn parts<'a>(text: &'a str, service: &str) -> Option<[&'a str; 4]> {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next();
    let (arn, partition, of) = (next()?, next()?, next()?);
    let rest = [partition, next()?, next()?, next()?];
    let known = partition.starts_with("aws") && partition.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    (arn == "arn" && known && of == service).then_some(rest)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters() {
        for text in [
            "arn:aws:eks:eu-west-1:111122223333:cluster/prod",
            "arn:aws-us-gov:eks:us-gov-west-1:111122223333:cluster/a_B-9",
            "arn:aws-cn:eks:cn-north-1:000000000000:cluster/0",
        ] {
            let arn: ClusterArn = text.parse().unwrap();
            assert_eq!(arn.to_string(), text);
        }
        let arn: ClusterArn = "arn:aws-cn:eks:cn-north-1:111122223333:cluster/prod".parse().unwrap();
        assert_eq!(
            (arn.partition(), arn.region(), arn.account(), arn.name()),
            ("aws-cn", "cn-north-1", "111122223333", "prod")
        );
        for text in [
            "",
            "prod",
            "arn:aws:eks:eu-west-1:11112222333:cluster/prod",
            "arn:aws:eks:eu-west-1:11112222333x:cluster/prod",
            "arn:aws:eks::111122223333:cluster/prod",
            "arn:aws:eks:eu-west-1:111122223333:cluster/",
            "arn:aws:eks:eu-west-1:111122223333:cluster/a/b",
            "arn:aws:eks:eu-west-1:111122223333:cluster/a:b",
            "arn:aws:eks:eu-west-1:111122223333:nodegroup/prod",
            "arn:aws:iam::111122223333:role/prod",
            "arn:evil:eks:eu-west-1:111122223333:cluster/prod",
            "arn:aws:eks:eu.evil.example/:111122223333:cluster/prod",
            "arn:aws:eks:eu-west-1:111122223333:cluster/prod\n",
        ] {
            assert!(text.parse::<ClusterArn>().is_err(), "{text}");
        }
        let long = format!("arn:aws:eks:eu-west-1:111122223333:cluster/{}", "a".repeat(101));
        assert!(long.parse::<ClusterArn>().is_err());
    }

    #[test]
    fn roles() {
        let role: RoleArn = "arn:aws:iam::111122223333:role/team/a/mw-sync".parse().unwrap();
        assert_eq!(role.to_string(), "arn:aws:iam::111122223333:role/team/a/mw-sync");
        assert_eq!(role.without_path().to_string(), "arn:aws:iam::111122223333:role/mw-sync");
        for text in [
            "arn:aws:iam::111122223333:role/",
            "arn:aws:iam::111122223333:role//a",
            "arn:aws:iam::111122223333:role/a/",
            "arn:aws:iam::111122223333:user/a",
            "arn:aws:iam:eu-west-1:111122223333:role/a",
            "arn:aws:iam::111122223333:role/a b",
            "arn:aws:iam::1111:role/a",
        ] {
            assert!(text.parse::<RoleArn>().is_err(), "{text}");
        }
    }

    #[test]
    fn callers() {
        let caller = "arn:aws:sts::111122223333:assumed-role/mw-sync/mw-sync-management";
        assert_eq!(RoleArn::of_caller(caller).unwrap().to_string(), "arn:aws:iam::111122223333:role/mw-sync");
        assert_eq!(account_of(caller), Some("111122223333"));
        let user = "arn:aws:iam::111122223333:user/ann";
        assert_eq!((RoleArn::of_caller(user), account_of(user)), (None, Some("111122223333")));
        assert_eq!(account_of("nonsense"), None);
    }
}
