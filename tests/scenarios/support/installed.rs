//! The agent, running as its ServiceAccount.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Binaries, Cluster, Process, SharedCluster, eventually, shared};
use tokio::sync::OnceCell;

use super::{Kind, SOON, World};

/// The agent's user, for the audit log.
pub(crate) const AGENT: &str = "system:serviceaccount:operator:mw-sync-agent";

/// The cluster with one agent that many tests use at a time. The agent copies into all namespaces, those of other
/// tests too, so each test has sources and namespaces of its own names.
pub(crate) struct Shared {
    pub(crate) cluster: SharedCluster,
    pub(crate) world: World,
    pub(crate) agent: &'static Process,
}

impl Shared {
    /// `--delete-grace` of [`shared_agent`].
    pub(crate) const GRACE: Duration = Duration::from_secs(3);

    /// Installs and starts the agent unless another test has. Its log is at `trace`, so that a look for what must not
    /// be in it sees all.
    async fn with(name: &'static str, agent: &'static OnceCell<Process>, flags: &[&str]) -> Result<Self> {
        let cluster = shared(name).await?;
        let begin = async || {
            let kubeconfig = install(&cluster).await?;
            spawn(&kubeconfig, &[flags, &["--log=trace"]].concat()).await
        };
        let agent = agent.get_or_try_init(begin).await?;
        Ok(Self { world: World::of(&cluster), agent, cluster: cluster.clone() })
    }

    /// Waits until the last line of the agent's log about this says all of that.
    pub(crate) async fn until_line(&self, about: &str, words: &[&str]) {
        eventually(SOON, format!("the agent says {words:?} of {about}"), async || {
            let log = self.agent.stderr();
            let line = log.lines().rfind(|line| line.contains(about)).unwrap_or_default();
            ensure!(words.iter().all(|word| line.contains(word)), "{line}");
            Ok(())
        })
        .await;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.agent.log_tail(60));
        }
    }
}

/// The shared cluster whose agent has a short grace and may not adopt.
pub(crate) async fn shared_agent() -> Result<Shared> {
    static AGENT: OnceCell<Process> = OnceCell::const_new();
    Shared::with("agent", &AGENT, &["--delete-grace=3s"]).await
}

/// The shared cluster whose agent may adopt, stays out of `kept-out-*`, and has a grace that never ends within a test.
pub(crate) async fn adopting_agent() -> Result<Shared> {
    static AGENT: OnceCell<Process> = OnceCell::const_new();
    let flags = ["--delete-grace=1h", "--allow-adopt", "--exclude-namespaces=kept-out-*"];
    let further = ["--sync-annotation=example.com/copy", "--strip-labels=*.corp.example/"];
    let flags = [&flags[..], &further].concat();
    Shared::with("adopting", &AGENT, &flags).await
}

/// Applies what a person applies, though not by kubectl, as `manifests` and `readme` do, and returns the kubeconfig of the
/// agent's ServiceAccount.
pub(crate) async fn install(cluster: &Cluster) -> Result<PathBuf> {
    cluster.apply_files(&["deploy/namespace.yaml", "deploy/agent.yaml"]).await?;
    cluster.kubeconfig_for_service_account("operator", "mw-sync-agent").await
}

/// The kubeconfig of an account that is bound to what `deploy/` gives the agent cluster-wide, and outlives the source
/// namespace; the agent's own does not.
pub(crate) async fn outliving(cluster: &Cluster) -> Result<PathBuf> {
    cluster.apply_files(&["deploy/namespace.yaml", "deploy/agent.yaml"]).await?;
    cluster.kubectl(&["-n", "default", "create", "serviceaccount", "outliving"]).await?;
    let binding = ["create", "clusterrolebinding", "outliving", "--clusterrole=mw-sync-agent"];
    cluster.kubectl(&[&binding[..], &["--serviceaccount=default:outliving"]].concat()).await?;
    cluster.kubeconfig_for_service_account("default", "outliving").await
}

/// Runs the agent.
pub(crate) async fn spawn(kubeconfig: &Path, flags: &[&str]) -> Result<Process> {
    Process::spawn(Binaries::build().await?.agent(), flags, [("KUBECONFIG", kubeconfig)])
}

/// [`install`] and [`spawn`].
pub(crate) async fn start(cluster: &Cluster, flags: &[&str]) -> Result<Process> {
    spawn(&install(cluster).await?, flags).await
}

/// A source with these data, and what else it asks for.
pub(crate) fn asking(kind: Kind, name: &str, data: &Value, options: &Value) -> Value {
    let mut source = annotated(kind, name, data);
    for (key, value) in options.as_object().into_iter().flatten() {
        source["metadata"]["annotations"][key] = value.clone();
    }
    source
}

/// A source with these data: of a Secret in base64, of a ConfigMap as they are.
pub(crate) fn annotated(kind: Kind, name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": kind.name(), "data": data,
        "metadata": {"name": name, "namespace": "operator", "annotations": {"mw-sync": "yes"}}
    })
}
