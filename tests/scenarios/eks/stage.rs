//! One scenario's part of the stand-in for AWS and of the shared clusters.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Mutex;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{
    AccessEntry, Aws, AwsCall, CallMark, EksCluster, Process, Role, SharedCluster, eventually, shared, shared_with,
};
use tokio::sync::OnceCell;

use crate::master::api;
use crate::master::stage::{SOON, Stage, apply, end, value};

/// Account of the management cluster.
pub(crate) const OWN_ACCOUNT: &str = "999900001111";

/// The stand-in that all scenarios share.
pub(crate) async fn aws() -> Result<&'static Aws> {
    static AWS: OnceCell<Aws> = OnceCell::const_new();
    AWS.get_or_try_init(Aws::start).await
}

/// An API server that is the EKS clusters of all scenarios in one account and region.
pub(crate) struct Site {
    /// Its name in the testbed.
    pub(crate) name: &'static str,
    pub(crate) account: &'static str,
    pub(crate) region: &'static str,
    pub(crate) server: SharedCluster,
}

impl Site {
    /// An API server for one scenario only.
    pub(crate) async fn own(name: &'static str, account: &'static str, region: &'static str) -> Result<Self> {
        Self::at(name, account, region).await
    }

    async fn at(name: &'static str, account: &'static str, region: &'static str) -> Result<Self> {
        let aws = aws().await?;
        Ok(Self { name, account, region, server: shared_with(name, || aws.webhook(name)).await? })
    }

    pub(crate) async fn north() -> Result<Self> {
        Self::at("eks-north", "111122223333", "eu-west-1").await
    }

    pub(crate) async fn south() -> Result<Self> {
        Self::at("eks-south", "444455556666", "us-east-1").await
    }
}

/// An EKS cluster of one scenario, and the way in. It, its role and its destination have one name.
#[derive(Clone)]
pub(crate) struct Target {
    /// Of the API server, in the testbed.
    pub(crate) server: &'static str,
    pub(crate) eks: EksCluster,
    pub(crate) role: Role,
    pub(crate) entry: AccessEntry,
}

impl Target {
    /// The user that the master is there.
    pub(crate) fn user(&self) -> String {
        let EksCluster { account, name, .. } = &self.eks;
        format!("arn:aws:sts::{account}:assumed-role/{name}/mw-sync-management")
    }
}

/// A master, its own role, and roles in other accounts that trust it.
pub(crate) struct EksStage<'c> {
    pub(crate) stage: Stage<'c>,
    pub(crate) aws: &'static Aws,
    /// The role of the master's ServiceAccount.
    pub(crate) own: Role,
    /// ARNs of all roles whose sessions the master has had.
    roles: Mutex<Vec<String>>,
}

impl<'c> Deref for EksStage<'c> {
    type Target = Stage<'c>;

    fn deref(&self) -> &Stage<'c> {
        &self.stage
    }
}

/// The management cluster of all scenarios.
pub(crate) async fn management() -> Result<SharedCluster> {
    shared("management").await
}

/// An access entry that lets a role of this account in, by its name without a path, with the rights that
/// `deploy/remote-access.yaml` gives in this namespace.
pub(crate) fn entry(account: &str, role: &str, namespace: &str) -> AccessEntry {
    AccessEntry {
        role: format!("arn:aws:iam::{account}:role/{role}"),
        username: format!("arn:aws:sts::{{{{AccountID}}}}:assumed-role/{role}/{{{{SessionName}}}}"),
        groups: vec![format!("mw-sync-master-{namespace}")],
    }
}

impl<'c> EksStage<'c> {
    /// Installs the master in namespace `name`, with a role of its own.
    pub(crate) async fn new(management: &'c SharedCluster, name: &'static str) -> Result<Self> {
        let aws = aws().await?;
        let stage = Stage::new(management, name).await?;
        let mut own = Role::new(format!("arn:aws:iam::{OWN_ACCOUNT}:role/{name}"));
        own.service_account = Some(format!("token-of-{name}"));
        aws.role(&own).await?;
        let roles = Mutex::new(vec![own.arn.clone()]);
        Ok(Self { stage, aws, own, roles })
    }

    /// An EKS cluster that a site is from now on, a role in its account that the master may assume and that is mapped
    /// there, and the rights that `deploy/remote-access.yaml` gives. All of it has the scenario's name.
    pub(crate) async fn target(&self, site: &Site) -> Result<Target> {
        self.target_named(site, self.name).await
    }

    /// The same with another name. Clusters of one site need several, or they would be one destination.
    pub(crate) async fn target_named(&self, site: &Site, name: &str) -> Result<Target> {
        apply(&site.server, "namespace.yaml", name).await?;
        apply(&site.server, "remote-access.yaml", name).await?;
        let mut role = Role::new(format!("arn:aws:iam::{}:role/team/{name}", site.account));
        role.trusts = vec![self.own.arn.clone()];
        role.external_id = Some(format!("id/of:{name}"));
        let entry = entry(site.account, name, name);
        let eks = EksCluster::of(site.account, site.region, name, &site.server);
        self.roles.lock().unwrap().push(role.arn.clone());
        let target = Target { server: site.name, eks, role, entry };
        self.aws.cluster(&target.eks).await?;
        self.aws.role(&target.role).await?;
        self.let_in(&target, 0).await?;
        Ok(target)
    }

    /// Defines a role, one of this scenario's.
    pub(crate) async fn role(&self, role: &Role) -> Result<()> {
        self.roles.lock().unwrap().push(role.arn.clone());
        self.aws.role(role).await
    }

    /// Lets the target's role in; tokens that were signed before `not_before` have ended.
    pub(crate) async fn let_in(&self, target: &Target, not_before: i64) -> Result<()> {
        self.aws.let_in(target.server, &target.eks, std::slice::from_ref(&target.entry), not_before).await
    }

    /// Lets nobody in.
    pub(crate) async fn let_nobody_in(&self, target: &Target) -> Result<()> {
        let nobody = AccessEntry { role: "arn:aws:iam::000000000000:role/x".to_owned(), ..target.entry.clone() };
        self.aws.let_in(target.server, &target.eks, &[nobody], 0).await
    }

    /// Makes a RemoteCluster of it.
    pub(crate) async fn add(&self, name: &str, target: &Target) -> Result<()> {
        let Target { eks, role, .. } = target;
        let spec = json!({ "arn": eks.arn(), "roleArn": role.arn, "externalId": role.external_id });
        self.add_eks(name, &eks.name, spec).await
    }

    /// Makes a RemoteCluster with this destination and this `spec.eks`.
    pub(crate) async fn add_eks(&self, name: &str, namespace: &str, eks: Value) -> Result<()> {
        let object = json!({
            "apiVersion": "mw-sync.io/v1alpha1", "kind": "RemoteCluster", "metadata": { "name": name },
            "spec": { "namespace": namespace, "eks": eks },
        });
        api::create(self.management, &api::remote_cluster(self.name, ""), &object).await
    }

    /// `spec` of a ClusterDiscovery that finds what this role may see in its account.
    pub(crate) fn account_of(&self, role: &Role, regions: &[&str]) -> Value {
        let eks = json!({ "roleArn": role.arn, "externalId": role.external_id, "regions": regions });
        json!({ "namespace": self.name, "eks": eks })
    }

    /// Waits until a copy is there, in the target's namespace, and has this value.
    pub(crate) async fn copy(&self, site: &Site, target: &Target, name: &str, wanted: &str) -> Value {
        let path = api::secret(&target.eks.name, name);
        eventually(SOON, format!("{}/{name} has value {wanted}", target.eks.name), async || {
            let copy = api::get(&site.server, &path).await?.context("it does not exist")?;
            ensure!(value(&copy) == wanted, "{copy}");
            anyhow::Ok(copy)
        })
        .await
    }

    /// The condition `Ready` as it is now.
    pub(crate) async fn ready(&self, cluster: &str) -> Result<Value> {
        let object = api::get(self.management, &api::remote_cluster(self.name, cluster)).await?;
        Ok(object.context("there is no such RemoteCluster")?["status"]["conditions"][0].clone())
    }

    /// The calls of AWS that this scenario's roles have made, and those by which they were assumed.
    pub(crate) async fn calls(&self, since: CallMark) -> Result<Vec<AwsCall>> {
        let mut calls = self.aws.calls(since).await?;
        let roles = self.roles.lock().unwrap();
        calls.retain(|call| roles.contains(&call.role) || roles.contains(&call.target));
        Ok(calls)
    }

    /// The same without what a slow machine has made necessary: our own session once more, for which the SDK waits 5 s, and
    /// the place of a cluster each time that one could not be connected to, twice a minute at most.
    pub(crate) async fn needed_calls(&self, since: CallMark, master: &Process) -> Result<Vec<AwsCall>> {
        let (mut calls, mut before) = (self.calls(since).await?, BTreeMap::new());
        let lost = master.stderr().matches("reason=\"Unreachable\"").count();
        let mut excused = [("AssumeRoleWithWebIdentity", 4.5..10.0, 1), ("DescribeCluster", 29.0..f64::MAX, lost)];
        calls.retain(|call| {
            let of = (call.operation.clone(), call.region.clone(), call.target.clone());
            let Some(pause) = before.insert(of, call.at).map(|before| call.at - before) else { return true };
            let excuse = excused
                .iter_mut()
                .find(|(operation, pauses, left)| *operation == call.operation && pauses.contains(&pause) && *left > 0);
            excuse.map(|(_, _, left)| *left -= 1).is_none()
        });
        Ok(calls)
    }

    /// Starts the master as a pod with IRSA. Its log is at `trace`, so that a look for what must not be in it sees all.
    pub(crate) async fn master(&self) -> Result<Process> {
        self.master_in_pod(&self.aws.irsa(&self.own)?).await
    }

    /// The same in any environment.
    pub(crate) async fn master_in_pod(&self, env: &[(String, String)]) -> Result<Process> {
        self.stage.master_in(&["--delete-grace=2s", "--log=trace"], env).await
    }

    /// Ends the master, which has to take it well, and looks for secrets in all that it has said.
    pub(crate) async fn end(&self, master: &Process) -> Result<()> {
        end(master).await?;
        self.no_secret_was_said(master).await
    }

    /// Promise 6: nothing of a token, a session or a presigned URL is in the log at `trace`, in an Event, in a condition.
    pub(crate) async fn no_secret_was_said(&self, master: &Process) -> Result<()> {
        let kinds = "remoteclusters,clusterdiscoveries,events.events.k8s.io";
        let objects = ["-n", self.name, "get", kinds, "-o", "json"];
        let said = [master.stdout(), master.stderr(), self.management.kubectl(&objects).await?];
        ensure!(said.iter().any(|text| text.contains("master: started")), "nothing was logged");
        let roles = self.roles.lock().unwrap().clone();
        let mut secrets = self.aws.secrets(&roles).await?;
        ensure!(!secrets.is_empty(), "there were no sessions");
        secrets.extend(["k8s-aws-v1.", "X-Amz-Signature", "X-Amz-Security-Token"].map(str::to_owned));
        secrets.extend(self.own.service_account.clone());
        for text in said {
            for secret in &secrets {
                let line = text.lines().find(|line| line.contains(secret));
                ensure!(line.is_none(), "{secret} was said: {}", line.unwrap_or_default());
            }
        }
        Ok(())
    }
}
