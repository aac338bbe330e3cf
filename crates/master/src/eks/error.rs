//! Why an EKS cluster cannot be logged in to. The words are fixed, and each text says what to do.
//!
//! AWS answers with a code and words of its own. The words are passed on, cut and escaped, only for codes whose words
//! explain something (`answer.rs`): those of a wrong signature quote the request, session token included.

use std::fmt;

use sync_core::cluster::addresses::Forbidden;

use super::arn::{ClusterArn, RoleArn};

/// What went wrong on the way to an EKS cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EksError {
    /// `spec.eks` says something that cannot be; the CRD's rules let nothing of it in.
    #[error("spec.eks cannot be used: {0}")]
    BadSpec(String),
    /// We have no credentials of our own, or they have been taken back.
    #[error("no AWS credentials of our own: {0}")]
    NoCredentials(String),
    /// `--allow-roles` does not have it, so that nothing was asked of AWS.
    #[error("{0} is no role that this master may assume")]
    RoleNotAllowed(RoleArn),
    /// `sts:AssumeRole` was refused.
    #[error("AWS does not let {} assume {role}: {words}", whom(.caller))]
    AssumeRoleDenied {
        /// The one in `spec.eks.roleArn`.
        role: RoleArn,
        /// Who we are, if we know.
        caller: Option<String>,
        /// AWS's own.
        words: String,
    },
    /// `eks:DescribeCluster` was refused.
    #[error("AWS does not let {} describe the cluster: {words}", whom(.caller))]
    DescribeDenied {
        /// As whom we asked, if we know.
        caller: Option<String>,
        /// AWS's own.
        words: String,
    },
    /// `eks:ListClusters` was refused.
    #[error("AWS does not let {} list clusters: {words}", whom(.caller))]
    ListDenied {
        /// As whom we asked, if we know.
        caller: Option<String>,
        /// AWS's own.
        words: String,
    },
    /// There is no such cluster where we looked, or we may not look where it is.
    #[error("there is no cluster {} in {} of account {}", .arn.name(), .arn.region(), looked_in(.arn, .account))]
    ClusterNotFound {
        /// The one in `spec.eks.arn`.
        arn: ClusterArn,
        /// The account that our session is in, if we know.
        account: Option<String>,
    },
    /// AWS described another cluster than the one that it was asked for.
    #[error("AWS described {described} when asked for {asked}; nothing is sent there")]
    WrongCluster {
        /// The one in `spec.eks.arn`.
        asked: ClusterArn,
        /// The ARN in the answer, cut and escaped.
        described: String,
    },
    /// The cluster is not there yet, or going.
    #[error("the cluster is {0}")]
    ClusterNotActive(String),
    /// The description lacks something, or has something in it that cannot be.
    #[error("the description of the cluster cannot be used: {0}")]
    BadDescription(String),
    /// The endpoint is at an address that only we can reach.
    #[error("the endpoint of the cluster is refused: {entry} is {why}")]
    AddressNotAllowed {
        /// What allows it.
        entry: String,
        /// What kind of address.
        why: Forbidden,
    },
    /// No connection to the API server.
    #[error("cannot connect to {endpoint}: {words}")]
    NotReachable {
        /// Of the cluster.
        endpoint: String,
        /// The cluster has no public endpoint, or one for chosen addresses only.
        restricted: bool,
        /// The transport's own.
        words: String,
    },
    /// The API server's certificate is of none of the authorities that the description has.
    #[error("no TLS connection: {0}")]
    CertificateMismatch(String),
    /// 401 to a fresh token.
    #[error("the cluster does not accept us as {}", whom(.caller))]
    Unauthorised {
        /// As whom the token logs in.
        caller: Option<String>,
        /// The role to map, if the token is a role's. With its path, if we know that.
        role: Option<RoleArn>,
        /// How many seconds AWS is ahead of our clock.
        ahead: i64,
    },
    /// AWS asks us to slow down.
    #[error("{0} asks to slow down")]
    Throttled(Service),
    /// AWS refuses a request for its date.
    #[error("{0} says that the clock of this machine is off")]
    ClockSkew(Service),
    /// The token is longer than a cluster takes.
    #[error("the login token would have {0} characters, and clusters take no more than 4096")]
    TokenTooLong(usize),
    /// No answer of AWS.
    #[error("{service} does not answer: {words}")]
    AwsUnreachable {
        /// Which part of AWS.
        service: Service,
        /// The transport's own.
        words: String,
    },
    /// Any other refusal.
    #[error("{service} refuses the request: {code}")]
    AwsRefused {
        /// Which part of AWS.
        service: Service,
        /// Its code, cut and escaped.
        code: String,
    },
}

/// The two parts of AWS that are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Sessions.
    Sts,
    /// Descriptions of clusters.
    Eks,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sts => "AWS STS",
            Self::Eks => "AWS EKS",
        })
    }
}

fn whom(caller: &Option<String>) -> &str {
    caller.as_deref().unwrap_or("us")
}

fn looked_in<'a>(arn: &'a ClusterArn, account: &'a Option<String>) -> &'a str {
    account.as_deref().unwrap_or_else(|| arn.account())
}

impl EksError {
    /// The word for the condition, logs and metric labels.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::BadSpec(_) => "InvalidSpec",
            Self::NoCredentials(_) => "NoCredentials",
            Self::RoleNotAllowed(_) => "RoleNotAllowed",
            Self::AssumeRoleDenied { .. } => "AssumeRoleDenied",
            Self::DescribeDenied { .. } => "DescribeDenied",
            Self::ListDenied { .. } => "ListDenied",
            Self::ClusterNotFound { .. } => "ClusterNotFound",
            Self::WrongCluster { .. } => "WrongCluster",
            Self::ClusterNotActive(_) => "ClusterNotActive",
            Self::BadDescription(_) => "BadDescription",
            Self::AddressNotAllowed { .. } => "AddressNotAllowed",
            // The three that a request of any cluster can meet have the same word there.
            Self::NotReachable { .. } => "Unreachable",
            Self::CertificateMismatch(_) => "CertificateMismatch",
            Self::Unauthorised { .. } => "Unauthorised",
            Self::Throttled(_) => "Throttled",
            Self::ClockSkew(_) => "ClockSkew",
            Self::TokenTooLong(_) => "TokenTooLong",
            Self::AwsUnreachable { .. } => "AwsUnreachable",
            Self::AwsRefused { .. } => "AwsRefused",
        }
    }

    /// Whether it is this account that says that it has no such cluster.
    pub fn says_gone_in(&self, of: &str) -> bool {
        matches!(self, Self::ClusterNotFound { account: Some(account), .. } if account == of)
    }

    /// What a person can do about it.
    pub fn what_to_do(&self) -> String {
        match self {
            Self::BadSpec(_) => "correct spec.eks".to_owned(),
            Self::NoCredentials(_) => {
                "give ServiceAccount mw-sync-master a role (annotation eks.amazonaws.com/role-arn, \
                 or a Pod Identity association) and restart the pod; the role of the node counts only with \
                 --allow-node-role"
                    .to_owned()
            }
            Self::RoleNotAllowed(_) => "add it to --allow-roles, if that is meant".to_owned(),
            Self::AssumeRoleDenied { role, caller, .. } => format!(
                "let the trust policy of {role} allow sts:AssumeRole to {us}, and sts:TagSession too if that comes from \
                 Pod Identity; let a policy of {us} allow both on {role}; compare spec.eks.externalId with the trust \
                 policy's sts:ExternalId",
                us = whom(caller)
            ),
            Self::DescribeDenied { caller, .. } => {
                format!("let a policy of {} allow eks:DescribeCluster on the cluster", whom(caller))
            }
            Self::ListDenied { caller, .. } => {
                format!("let a policy of {} allow eks:ListClusters on all resources", whom(caller))
            }
            Self::ClusterNotFound { arn, account: Some(account) } if account != arn.account() => {
                format!("the cluster is in account {}: name a role of that account in spec.eks.roleArn", arn.account())
            }
            Self::ClusterNotFound { .. } => {
                "compare spec.eks.arn with what `aws eks describe-cluster` shows: account, region and name".to_owned()
            }
            Self::WrongCluster { .. } => "check spec.eks.arn and spec.eks.roleArn".to_owned(),
            Self::ClusterNotActive(_) => {
                "wait until it is ACTIVE; if it never will be, delete this RemoteCluster".to_owned()
            }
            Self::BadDescription(_) => "look at it with `aws eks describe-cluster`; we try again".to_owned(),
            Self::AddressNotAllowed { entry, .. } => {
                format!("run master with --allow-addresses={entry}, if that is meant")
            }
            Self::NotReachable { restricted: true, .. } => {
                "its endpoint is private or for chosen addresses only: we need a \
                 route to it (peering, Transit Gateway), and its security group must let us in on port 443"
                    .to_owned()
            }
            Self::NotReachable { restricted: false, .. } => {
                "check the network between, proxies included; we try again".to_owned()
            }
            Self::CertificateMismatch(_) => {
                "look for a proxy between that ends TLS; a rotated authority is found by itself".to_owned()
            }
            Self::Unauthorised { role, ahead, .. } => unauthorised(role.as_ref(), *ahead),
            Self::Throttled(_) => "wait: we try again, more and more slowly".to_owned(),
            Self::ClockSkew(_) => "correct the clock of the node".to_owned(),
            Self::TokenTooLong(_) => {
                "shorten what makes the session's token long: session tags (Pod Identity's can be turned off: \
                 disableSessionTags) and session policies"
                    .to_owned()
            }
            Self::AwsUnreachable { .. } => {
                "check the way to AWS: proxies (HTTPS_PROXY, NO_PROXY), VPC endpoints, name resolution".to_owned()
            }
            Self::AwsRefused { .. } => {
                "look the code up in AWS's documentation; the log has the request's id".to_owned()
            }
        }
    }
}

/// A cluster does not say why it refuses a token, so all causes are named, the likely ones first.
fn unauthorised(role: Option<&RoleArn>, ahead: i64) -> String {
    let map = role.map_or_else(
        || "give our principal an access entry in the cluster with Kubernetes group mw-sync-master".to_owned(),
        |role| {
            format!(
                "give {role} an access entry in the cluster with Kubernetes group mw-sync-master (in aws-auth: {})",
                role.without_path()
            )
        },
    );
    let clock = if ahead == 0 { String::new() } else { format!("; our clock is {ahead} s behind AWS's") };
    format!(
        "{map}; if it has one: was the role deleted and made again (make the entry anew)? Does the cluster reach STS, and is \
         STS throttling it?{clock}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_says_what_is_the_matter_and_what_to_do() {
        let arn = || "arn:aws:eks:eu-west-1:111122223333:cluster/prod".parse::<ClusterArn>().unwrap();
        let role = || "arn:aws:iam::111122223333:role/team/mw-sync".parse::<RoleArn>().unwrap();
        let caller = || Some("arn:aws:sts::999900001111:assumed-role/mw/x".to_owned());
        let words = || "not authorized".to_owned();
        let unreachable = |restricted| EksError::NotReachable {
            endpoint: "https://a.eks".to_owned(),
            restricted,
            words: "no route".to_owned(),
        };
        for (error, reason, texts) in [
            (EksError::NoCredentials("none found".into()), "NoCredentials", ["none found", "--allow-node-role"]),
            (EksError::RoleNotAllowed(role()), "RoleNotAllowed", ["role/team/mw-sync is no role", "--allow-roles"]),
            (
                EksError::AssumeRoleDenied { role: role(), caller: caller(), words: words() },
                "AssumeRoleDenied",
                ["assume arn:aws:iam::111122223333:role/team/mw-sync: not authorized", "sts:TagSession"],
            ),
            (
                EksError::DescribeDenied { caller: None, words: words() },
                "DescribeDenied",
                ["does not let us describe", "eks:DescribeCluster"],
            ),
            (
                EksError::ClusterNotFound { arn: arn(), account: None },
                "ClusterNotFound",
                ["prod in eu-west-1 of account 111122223333", "account, region and name"],
            ),
            (
                EksError::ClusterNotFound { arn: arn(), account: Some("999900001111".into()) },
                "ClusterNotFound",
                ["of account 999900001111", "is in account 111122223333"],
            ),
            (unreachable(true), "Unreachable", ["no route", "private"]),
            (unreachable(false), "Unreachable", ["no route", "network between"]),
            (
                EksError::Unauthorised { caller: caller(), role: Some(role()), ahead: 0 },
                "Unauthorised",
                ["111122223333:role/team/mw-sync an access entry", "aws-auth: arn:aws:iam::111122223333:role/mw-sync)"],
            ),
            (
                EksError::Unauthorised { caller: None, role: None, ahead: -600 },
                "Unauthorised",
                ["our principal", "-600 s behind"],
            ),
            (
                EksError::AddressNotAllowed { entry: "::1".to_owned(), why: Forbidden::Loopback },
                "AddressNotAllowed",
                ["::1 is a loopback address", "run master with --allow-addresses=::1,"],
            ),
            (EksError::TokenTooLong(5000), "TokenTooLong", ["5000 characters", "disableSessionTags"]),
        ] {
            assert_eq!(error.reason(), reason);
            let text = format!("{error}; {}", error.what_to_do());
            for part in texts {
                assert!(text.contains(part), "{text}");
            }
        }
    }
}
