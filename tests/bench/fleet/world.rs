//! A master, a stand-in for AWS and many clusters in four accounts.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use testbed::{Aws, AwsCall, CallMark, Cluster, ClusterOptions, EksCluster, Fleet, Process, Role, eventually};

/// Accounts that the clusters are spread over; one role is assumed in each.
pub(crate) const ACCOUNTS: usize = 4;
/// How many sources there are.
pub(crate) const SOURCES: usize = 10;
/// For a thousand clusters on two slow cores.
const DEADLINE: Duration = Duration::from_secs(300);
/// How many requests at once make the world.
const AT_ONCE: usize = 32;

/// All of it. It ends when the value is dropped.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) aws: Aws,
    pub(crate) fleet: Fleet,
    pub(crate) size: usize,
    names: Vec<String>,
    own: Role,
}

impl World {
    /// With so many RemoteClusters, and no source yet.
    pub(crate) async fn start(size: usize) -> Result<Self> {
        let cluster = Cluster::start(ClusterOptions::default().without_controller_manager()).await?;
        cluster.kubectl(&["apply", "-f", "deploy/crds.yaml", "-f", "deploy/namespace.yaml"]).await?;
        cluster.until_established().await;
        cluster.kubectl(&["apply", "-f", "deploy/master.yaml"]).await?;
        let (aws, fleet) = (Aws::start().await?, Fleet::start(size).await?);
        let mut own = Role::new("arn:aws:iam::999900001111:role/mw-sync-master");
        own.service_account = Some("token-of-the-master".to_owned());
        aws.role(&own).await?;
        for account in 0..ACCOUNTS {
            let mut role = Role::new(role_in(account));
            role.trusts = vec![own.arn.clone()];
            aws.role(&role).await?;
        }
        let names = (0..SOURCES).map(|n| format!("source-{n}")).collect();
        let world = Self { cluster, aws, fleet, size, names, own };
        // The stand-in answers one at a time.
        for n in 0..size {
            world.aws.cluster(&world.eks(n)).await?;
        }
        world
            .for_each(0..size, async |n| {
                let eks = json!({ "arn": world.eks(n).arn(), "roleArn": role_in(n % ACCOUNTS) });
                let object = json!({
                    "apiVersion": "mw-sync.io/v1alpha1", "kind": "RemoteCluster", "metadata": { "name": name(n) },
                    "spec": { "eks": eks },
                });
                world.send("POST", "/apis/mw-sync.io/v1alpha1/namespaces/operator/remoteclusters", &object).await
            })
            .await?;
        Ok(world)
    }

    fn eks(&self, n: usize) -> EksCluster {
        EksCluster {
            account: account(n % ACCOUNTS),
            region: "eu-west-1".to_owned(),
            name: name(n),
            endpoint: Some(self.fleet.url(n)),
            authority: Some(self.fleet.ca_pem().to_owned()),
            ..EksCluster::default()
        }
    }

    /// Starts the master as a pod with IRSA.
    pub(crate) async fn master(&self, program: &Path) -> Result<Process> {
        let kubeconfig = self.cluster.kubeconfig_for_service_account("operator", "mw-sync-master").await?;
        let mut env = self.aws.irsa(&self.own)?;
        env.push(("KUBECONFIG".to_owned(), kubeconfig.display().to_string()));
        Process::spawn(program, ["--log-format=text", "--allow-addresses=127.0.0.0/8"], env)
    }

    /// Makes all sources have this value, and returns when it began.
    pub(crate) async fn set(&self, value: &str) -> Result<Instant> {
        let began = Instant::now();
        let data = json!({ "value": ByteString(value.as_bytes().to_vec()) });
        self.for_each(0..SOURCES, async |n| {
            let source = json!({
                "apiVersion": "v1", "kind": "Secret", "data": data,
                "metadata": { "name": self.names.get(n), "annotations": { "mw-sync": "yes" } },
            });
            let path = "/api/v1/namespaces/operator/secrets";
            let one = format!("{path}/source-{n}?fieldManager=people&force=true");
            self.send("PATCH", &one, &source).await
        })
        .await?;
        Ok(began)
    }

    /// Waits until these clusters have this value of all sources, and returns how long after `began` the last write came.
    pub(crate) async fn until(&self, began: Instant, value: &str, which: impl Fn(usize) -> bool) -> Duration {
        let last = eventually(DEADLINE, format!("all have {value}"), async || {
            let written: Vec<_> =
                (0..self.size).filter(|n| which(*n)).map(|n| self.fleet.has(n, &self.names, value)).collect();
            let missing = written.iter().filter(|written| written.is_none()).count();
            ensure!(missing == 0, "{missing} clusters lack it; odd requests: {:?}", self.fleet.odd_requests());
            written.into_iter().flatten().max().context("no cluster")
        })
        .await;
        last.saturating_duration_since(began)
    }

    /// Calls of AWS since then that the master made.
    pub(crate) async fn calls(&self, since: CallMark) -> Result<Vec<AwsCall>> {
        self.aws.calls(since).await
    }

    async fn for_each(&self, of: impl Iterator<Item = usize>, each: impl AsyncFn(usize) -> Result<()>) -> Result<()> {
        stream::iter(of).map(|n| Ok(each(n))).try_buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Result<()> {
        let content = if method == "PATCH" { "application/apply-patch+yaml" } else { "application/json" };
        let request = Request::builder().method(method).uri(path).header("content-type", content);
        let request = request.body(body.to_string().into_bytes())?;
        self.cluster.client().request::<Value>(request).await.map(drop).with_context(|| path.to_owned())
    }
}

/// The most calls of one operation within any second.
pub(crate) fn most_a_second(calls: &[AwsCall], operation: &str) -> usize {
    let mut at: Vec<_> = calls.iter().filter(|call| call.operation == operation).map(|call| call.at).collect();
    at.sort_by(f64::total_cmp);
    let within = |n: usize, from: f64| at.iter().skip(n).take_while(|at| **at < from + 1.0).count();
    at.iter().enumerate().map(|(n, from)| within(n, *from)).max().unwrap_or_default()
}

/// How many calls of one operation.
pub(crate) fn count(calls: &[AwsCall], operation: &str) -> usize {
    calls.iter().filter(|call| call.operation == operation).count()
}

fn name(n: usize) -> String {
    format!("cluster-{n:04}")
}

fn account(n: usize) -> String {
    format!("{:012}", 100_000_000_001 + n as u64)
}

fn role_in(n: usize) -> String {
    format!("arn:aws:iam::{}:role/team/mw-sync", account(n))
}
