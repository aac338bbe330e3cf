//! One scenario's part of the shared clusters.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Binaries, Cluster, FaultProxy, Kubeconfig, Process, SharedCluster, eventually};
use tokio::sync::OnceCell;

use super::api;
pub(crate) use crate::support::SOON;
use crate::support::{Kind, World};

/// A source namespace of a management cluster, and the master's access to it.
pub(crate) struct Stage<'c> {
    pub(crate) management: &'c Cluster,
    /// Name of the source namespace, and of the destination in each remote cluster.
    pub(crate) name: &'static str,
    kubeconfig: PathBuf,
}

/// What `deploy/` ships, for a source namespace of this name.
fn manifest(file: &str, name: &str) -> Result<String> {
    let path = format!("{}/../deploy/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).with_context(|| path)?;
    if name == "operator" {
        return Ok(text);
    }
    let text = text.replace("namespace: operator", &format!("namespace: {name}"));
    let text = text.replace("name: operator", &format!("name: {name}"));
    let text = text.replace("resourceNames: [operator]", &format!("resourceNames: [{name}]"));
    let text = text.replace("'system:serviceaccount:operator:", &format!("'system:serviceaccount:{name}:"));
    // ClusterRoles have no namespace.
    let text = text.replace("name: mw-sync-agent", &format!("name: mw-sync-agent-{name}"));
    Ok(text.replace("name: mw-sync-master", &format!("name: mw-sync-master-{name}")))
}

/// The master's ServiceAccount there.
fn account(name: &str) -> String {
    if name == "operator" { "mw-sync-master".to_owned() } else { format!("mw-sync-master-{name}") }
}

/// Applies the definitions of RemoteClusters and ClusterDiscoveries, and returns when there can be some.
pub(crate) async fn define(cluster: &Cluster) -> Result<()> {
    cluster.apply_files(&["deploy/crds.yaml"]).await?;
    cluster.until_established().await;
    Ok(())
}

/// Applies a file of `deploy/`, for a source namespace of this name.
pub(crate) async fn apply(cluster: &Cluster, file: &str, name: &str) -> Result<()> {
    cluster.apply(&manifest(file, name)?).await
}

impl<'c> Stage<'c> {
    /// Installs the master in namespace `name` of the shared management cluster; its program is still to be started.
    pub(crate) async fn new(management: &'c SharedCluster, name: &'static str) -> Result<Self> {
        // Once: two that apply the same new object at once, and one of them fails.
        static DEFINED: OnceCell<()> = OnceCell::const_new();
        DEFINED.get_or_try_init(async || define(management).await).await?;
        Self::without_crd(management, name).await
    }

    /// The same in any cluster, but for the definition of RemoteClusters.
    pub(crate) async fn without_crd(management: &'c Cluster, name: &'static str) -> Result<Self> {
        apply(management, "namespace.yaml", name).await?;
        apply(management, "master.yaml", name).await?;
        let kubeconfig = management.kubeconfig_for_service_account(name, &account(name)).await?;
        Ok(Self { management, name, kubeconfig })
    }

    /// The master reaches the management cluster by this proxy.
    pub(crate) async fn by(&self, proxy: &FaultProxy) -> Result<Self> {
        self.by_access(&self.access().await?.by_server(proxy.url()))
    }

    /// The master has this access to the management cluster.
    pub(crate) fn by_access(&self, access: &Kubeconfig) -> Result<Self> {
        Ok(Self { kubeconfig: self.management.write_kubeconfig(access)?, ..*self })
    }

    /// The access of the master's ServiceAccount, with a new token.
    pub(crate) async fn access(&self) -> Result<Kubeconfig> {
        self.management.service_account(self.name, &account(self.name)).await
    }

    /// The kubeconfig of the master's ServiceAccount.
    pub(crate) fn kubeconfig_file(&self) -> &Path {
        &self.kubeconfig
    }

    /// The user that the master is in the management cluster.
    pub(crate) fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.name, account(self.name))
    }

    /// The user that the master is in a remote cluster.
    pub(crate) fn remote_user(&self) -> String {
        format!("system:serviceaccount:{}:mw-sync-remote", self.name)
    }

    /// Starts the master, with a grace of 2 s.
    pub(crate) async fn master(&self, args: &[&str]) -> Result<Process> {
        self.master_with(&[&["--delete-grace=2s"], args].concat()).await
    }

    /// Starts the master with its own grace.
    pub(crate) async fn master_with(&self, args: &[&str]) -> Result<Process> {
        self.master_in(args, &[]).await
    }

    /// The same in a pod that has more in its environment.
    pub(crate) async fn master_in(&self, args: &[&str], env: &[(String, String)]) -> Result<Process> {
        let namespace = format!("--source-namespace={}", self.name);
        let fixed = [namespace.as_str(), "--allow-addresses=127.0.0.1,localhost"];
        let program = Binaries::build().await?.master();
        let kubeconfig = self.kubeconfig.display().to_string();
        let env = env.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        Process::spawn(program, fixed.iter().chain(args), env.chain([("KUBECONFIG", kubeconfig.as_str())]))
    }

    /// Runs a command of the master to its end: its status, and what it has written.
    pub(crate) async fn ask(&self, command: &[&str]) -> Result<(Option<i32>, String)> {
        let namespace = format!("--source-namespace={}", self.name);
        let line = [namespace.as_str()].into_iter().chain(command.iter().copied());
        let process = Process::spawn(Binaries::build().await?.master(), line, [("KUBECONFIG", &self.kubeconfig)])?;
        let status = process.wait_exit(SOON * 2).await?;
        Ok((status.code(), process.stdout()))
    }

    /// Installs and starts an agent in a remote cluster, whose source namespace is the master's destination.
    pub(crate) async fn agent(&self, remote: &Cluster, args: &[&str]) -> Result<Process> {
        let access = self.prepare_agent(remote).await?;
        self.agent_by(&remote.write_kubeconfig(&access)?, args).await
    }

    /// What an agent in a remote cluster needs; returns its access.
    pub(crate) async fn prepare_agent(&self, remote: &Cluster) -> Result<Kubeconfig> {
        apply(remote, "agent.yaml", self.name).await?;
        remote.service_account(self.name, &format!("mw-sync-agent-{}", self.name)).await
    }

    /// Starts an agent that has this kubeconfig file.
    pub(crate) async fn agent_by(&self, kubeconfig: &Path, args: &[&str]) -> Result<Process> {
        let namespace = format!("--source-namespace={}", self.name);
        let program = Binaries::build().await?.agent();
        Process::spawn(program, [namespace.as_str()].iter().chain(args), [("KUBECONFIG", kubeconfig)])
    }

    /// Takes away what an agent in a remote cluster has made, by its own command.
    pub(crate) async fn purge_agent(&self, remote: &Cluster) -> Result<()> {
        let purge = self.agent_by(&remote.admin_kubeconfig(), &["purge", "--yes"]).await?;
        let status = purge.wait_exit(SOON).await?;
        ensure!(status.success(), "{status}: {}", purge.stderr());
        Ok(())
    }

    /// The user that such an agent is.
    pub(crate) fn agent_user(&self) -> String {
        format!("system:serviceaccount:{0}:mw-sync-agent-{0}", self.name)
    }

    /// The namespace and the rights in a remote cluster, as the head of `remote-access.yaml` says; returns the access.
    pub(crate) async fn prepare(&self, remote: &Cluster) -> Result<Kubeconfig> {
        let name = self.name;
        apply(remote, "namespace.yaml", name).await?;
        apply(remote, "remote-access.yaml", name).await?;
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "mw-sync-remote", "namespace": name },
        });
        remote.apply(&account.to_string()).await?;
        self.bind(remote, name, "mw-sync-remote-token", ("Role", "mw-sync-remote")).await?;
        remote.service_account(name, "mw-sync-remote").await
    }

    /// A further destination in a prepared cluster, for the same access.
    pub(crate) async fn prepare_also(&self, remote: &Cluster, namespace: &str) -> Result<()> {
        let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
        remote.apply(&object.to_string()).await?;
        self.bind(remote, namespace, "also", ("ClusterRole", "admin")).await
    }

    /// Gives the account of [`Stage::prepare`] the rights of a role in a namespace.
    async fn bind(&self, remote: &Cluster, namespace: &str, name: &str, (kind, role): (&str, &str)) -> Result<()> {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": name, "namespace": namespace },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": "mw-sync-remote", "namespace": self.name }],
        });
        remote.apply(&binding.to_string()).await
    }

    /// Puts a kubeconfig into a Secret, a new one or the one that is there.
    pub(crate) async fn kubeconfig(&self, name: &str, text: &str) -> Result<()> {
        let path = api::secret(self.name, name);
        let data = json!({ "stringData": { "kubeconfig": text } });
        if api::get(self.management, &path).await?.is_some() {
            return api::merge(self.management, &path, &data).await;
        }
        let mut secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "mw-sync.io/kubeconfig", "metadata": { "name": name },
        });
        secret["stringData"] = data["stringData"].clone();
        api::create(self.management, &api::secret(self.name, ""), &secret).await
    }

    /// A RemoteCluster that names a Secret of its own name.
    pub(crate) async fn remote_cluster(&self, name: &str) -> Result<()> {
        self.remote_cluster_in(name, self.name).await
    }

    /// The same with another namespace there.
    pub(crate) async fn remote_cluster_in(&self, name: &str, namespace: &str) -> Result<()> {
        let spec = json!({ "namespace": namespace, "kubeconfig": { "secretName": name } });
        self.remote_cluster_by(name, &spec).await
    }

    /// A RemoteCluster as it is told.
    pub(crate) async fn remote_cluster_by(&self, name: &str, spec: &Value) -> Result<()> {
        let object = json!({
            "apiVersion": "mw-sync.io/v1alpha1", "kind": "RemoteCluster", "metadata": { "name": name }, "spec": spec,
        });
        api::create(self.management, &api::remote_cluster(self.name, ""), &object).await
    }

    /// Both, and waits until the cluster is connected.
    pub(crate) async fn join(&self, name: &str, access: &Kubeconfig) -> Result<()> {
        self.kubeconfig(name, &access.to_yaml()).await?;
        self.remote_cluster(name).await?;
        self.is(name, "Connected").await;
        Ok(())
    }

    /// A ClusterDiscovery as it is told.
    pub(crate) async fn discovery(&self, name: &str, spec: &Value) -> Result<()> {
        let object = json!({
            "apiVersion": "mw-sync.io/v1alpha1", "kind": "ClusterDiscovery", "metadata": { "name": name }, "spec": spec,
        });
        api::create(self.management, &api::discovery(self.name, ""), &object).await
    }

    /// Has a ClusterDiscovery look now, as a person does: by a change of its annotations.
    pub(crate) async fn look(&self, name: &str) -> Result<()> {
        static LOOKS: AtomicU32 = AtomicU32::new(0);
        let look = LOOKS.fetch_add(1, Ordering::Relaxed).to_string();
        let patch = json!({ "metadata": { "annotations": { "example.com/look": look } } });
        api::merge(self.management, &api::discovery(self.name, name), &patch).await
    }

    /// Waits until a ClusterDiscovery is `Ready` or not for this reason, and has found so many; returns its message.
    pub(crate) async fn discovers(&self, name: &str, reason: &str, found: i64) -> String {
        let path = api::discovery(self.name, name);
        eventually(SOON, format!("{name} is {reason} and has found {found}"), async || {
            let object = api::get(self.management, &path).await?.context("there is no such ClusterDiscovery")?;
            let (ready, clusters) = (&object["status"]["conditions"][0], &object["status"]["clusters"]);
            let current = ready["observedGeneration"] == object["metadata"]["generation"];
            ensure!(current && ready["reason"] == reason, "{ready}");
            ensure!(clusters["found"].as_i64().unwrap_or_default() == found, "{clusters}");
            Ok(ready["message"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    /// All RemoteClusters, by name.
    pub(crate) async fn all_clusters(&self) -> Result<BTreeMap<String, Value>> {
        let list = api::get(self.management, &api::remote_cluster(self.name, "")).await?.context("no list")?;
        let name = |item: &Value| item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Ok(list["items"].as_array().into_iter().flatten().map(|item| (name(item), item.clone())).collect())
    }

    /// Waits until the RemoteClusters have these names and no others.
    pub(crate) async fn clusters_are(&self, names: &[&str]) {
        let names: Vec<_> = names.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        eventually(SOON, format!("the RemoteClusters are {names:?}"), async || {
            let all = self.all_clusters().await?;
            ensure!(all.keys().eq(&names), "{:?}", all.keys());
            Ok(())
        })
        .await;
    }

    /// Sets labels of a RemoteCluster; null takes one away.
    pub(crate) async fn relabel(&self, name: &str, labels: Value) -> Result<()> {
        let path = api::remote_cluster(self.name, name);
        api::merge(self.management, &path, &json!({ "metadata": { "labels": labels } })).await
    }

    /// Changes the spec of a RemoteCluster.
    pub(crate) async fn change(&self, name: &str, spec: Value) -> Result<()> {
        api::merge(self.management, &api::remote_cluster(self.name, name), &json!({ "spec": spec })).await
    }

    /// Waits until the condition `Ready` has this reason, for the present generation, and returns its message.
    pub(crate) async fn is(&self, cluster: &str, reason: &str) -> String {
        let path = api::remote_cluster(self.name, cluster);
        eventually(SOON, format!("{cluster} is {reason}"), async || {
            let object = api::get(self.management, &path).await?.context("there is no such RemoteCluster")?;
            let ready = &object["status"]["conditions"][0];
            let current = ready["observedGeneration"] == object["metadata"]["generation"];
            ensure!(current && ready["type"] == "Ready" && ready["reason"] == reason, "{ready}");
            let expected = if reason == "Connected" { "True" } else { "False" };
            ensure!(ready["status"] == expected, "{ready}");
            Ok(ready["message"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    /// Makes a source of one key.
    pub(crate) async fn source(&self, name: &str, value: &str) -> Result<()> {
        api::create(self.management, &api::secret(self.name, ""), &api::opaque(name, value)).await?;
        api::annotate(self.management, &self.path(name), Some("yes")).await
    }

    /// Makes a source of one key that asks for this.
    pub(crate) async fn asking(&self, name: &str, value: &str, options: Value) -> Result<()> {
        let mut source = api::opaque(name, value);
        source["metadata"]["annotations"] = options;
        source["metadata"]["annotations"]["mw-sync"] = "yes".into();
        api::create(self.management, &api::secret(self.name, ""), &source).await
    }

    /// Sets annotations of a source; null takes one away.
    pub(crate) async fn annotate(&self, name: &str, annotations: Value) -> Result<()> {
        api::merge(self.management, &self.path(name), &json!({ "metadata": { "annotations": annotations } })).await
    }

    /// Changes the value of a source.
    pub(crate) async fn set(&self, name: &str, value: &str) -> Result<()> {
        api::merge(self.management, &self.path(name), &json!({ "stringData": { "key": value } })).await
    }

    /// Waits until there is an Event with this reason and these words on a source.
    pub(crate) async fn until_said(&self, name: &str, reason: &str, words: &[&str]) {
        World::of(self.management).until_said_in(self.name, Kind::Secret, name, reason, words).await;
    }

    /// Path of a Secret of the source namespace, and of its copy.
    pub(crate) fn path(&self, name: &str) -> String {
        api::secret(self.name, name)
    }

    /// Waits until the copy in a remote cluster is there and like this.
    pub(crate) async fn copy_is(&self, remote: &Cluster, name: &str, like: impl Fn(&Value) -> bool) -> Value {
        eventually(SOON, format!("the copy of {name} is as expected"), async || {
            let copy = api::get(remote, &self.path(name)).await?.context("it does not exist")?;
            ensure!(like(&copy), "{copy}");
            Ok(copy)
        })
        .await
    }

    /// Waits until there is a copy in another namespace than usual.
    pub(crate) async fn copy_in(&self, remote: &Cluster, namespace: &str, name: &str) {
        eventually(SOON, format!("{name} is in {namespace}"), async || {
            api::get(remote, &api::secret(namespace, name)).await?.context("it does not exist")
        })
        .await;
    }

    /// Waits until there is no copy.
    pub(crate) async fn copy_is_gone(&self, remote: &Cluster, name: &str) {
        eventually(SOON, format!("the copy of {name} is gone"), async || {
            ensure!(api::get(remote, &self.path(name)).await?.is_none(), "it is there");
            Ok(())
        })
        .await;
    }
}

/// `data.key` of a Secret.
pub(crate) fn value(secret: &Value) -> String {
    let bytes = serde_json::from_value::<k8s_openapi::ByteString>(secret["data"]["key"].clone()).unwrap_or_default();
    String::from_utf8_lossy(&bytes.0).into_owned()
}

/// Ends the master, which has to take it well.
pub(crate) async fn end(master: &Process) -> Result<()> {
    master.terminate();
    let status = master.wait_exit(Duration::from_secs(10)).await?;
    ensure!(status.success(), "{status}\n{}", master.log_tail(20));
    Ok(())
}
