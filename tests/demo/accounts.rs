//! The AWS accounts of the demo: a stand-in for AWS has them, and the remote clusters are EKS clusters there.

use anyhow::{Context as _, Result};
use testbed::{AccessEntry, Aws, ClusterOptions, EksCluster, Role};

use crate::site::Site;

/// Account of the management cluster.
const OWN: &str = "999900001111";
/// Account and region of each remote cluster.
pub(crate) const REMOTES: [(&str, &str, &str); 2] =
    [("north", "111122223333", "eu-north-1"), ("south", "444455556666", "us-east-1")];

/// Roles and clusters.
#[derive(Debug)]
pub(crate) struct Accounts {
    aws: Aws,
    /// Of the master's ServiceAccount, by IRSA.
    master: Role,
}

impl Accounts {
    /// Starts the stand-in, with the master's own role.
    pub(crate) async fn start() -> Result<Self> {
        let aws = Aws::start().await?;
        let mut master = Role::new(format!("arn:aws:iam::{OWN}:role/mw-sync-master"));
        master.service_account = Some("token-of-mw-sync-master".to_owned());
        aws.role(&master).await?;
        Ok(Self { aws, master })
    }

    /// What a cluster is started with.
    pub(crate) fn options(&self, name: &str) -> Result<ClusterOptions> {
        let remote = REMOTES.iter().any(|(remote, ..)| *remote == name);
        if remote { self.aws.webhook(name) } else { Ok(ClusterOptions::default()) }
    }

    /// What the master finds in its pod.
    pub(crate) fn environment(&self) -> Result<Vec<(String, String)>> {
        self.aws.irsa(&self.master)
    }

    /// Makes a site an EKS cluster, and a role in its account that the master may assume and that is let in there.
    /// Returns the ARNs of both.
    pub(crate) async fn eks(&self, site: &Site) -> Result<(String, String)> {
        let remote = REMOTES.iter().find(|(name, ..)| *name == site.name);
        let (name, account, region) = remote.with_context(|| format!("{} is no remote cluster", site.name))?;
        let eks = EksCluster::of(account, region, name, &site.cluster);
        let mut role = Role::new(format!("arn:aws:iam::{account}:role/mw-sync"));
        role.trusts = vec![self.master.arn.clone()];
        let entry = AccessEntry {
            role: role.arn.clone(),
            username: format!("arn:aws:sts::{account}:assumed-role/mw-sync/{{{{SessionName}}}}"),
            groups: vec!["mw-sync-master".to_owned()],
        };
        self.aws.role(&role).await?;
        self.aws.cluster(&eks).await?;
        self.aws.let_in(name, &eks, &[entry], 0).await?;
        Ok((eks.arn(), role.arn))
    }
}
