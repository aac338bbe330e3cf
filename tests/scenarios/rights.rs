//! RBAC proved: what `deploy/` grants is what the controllers need, verb by verb.
//!
//! One fleet, run as `deploy/` says, in which everything happens that needs a right; then the audit logs are compared
//! with the manifests. A right that is granted and not used fails, and so does one that was needed and is missing. All
//! other scenarios run with these accounts and rights too, so what they do without a right fails there.

mod granted;

use anyhow::{Result, ensure};
use granted::{Right, granted, is_denied, listed};
use http::Method;
use serde_json::{Value, json};
use sync_core::ops::rights;
use testbed::{Cluster, ClusterOptions, Entry, Kubeconfig, Process, eventually};

use crate::master::stage::{Stage, end};
use crate::support::{AGENT, Deployed, Kind, SOON, World};

/// Every file that grants something.
const FILES: [&str; 4] =
    ["deploy/agent.yaml", "deploy/agent-service-accounts.yaml", "deploy/master.yaml", "deploy/remote-access.yaml"];
const KINDS: [Kind; 2] = [Kind::Secret, Kind::ConfigMap];

fn source(kind: Kind, name: &str, options: &Value) -> Value {
    let mut object = crate::support::asking(kind, name, &json!({"a": "MQ=="}), options);
    if kind == Kind::Secret {
        object["type"] = "kubernetes.io/dockerconfigjson".into();
        object["data"] = json!({".dockerconfigjson": "eyJhdXRocyI6e319"});
    }
    object
}

/// A management cluster with a master, a remote one with an agent.
struct Fleet {
    management: Cluster,
    remote: Cluster,
}

impl Fleet {
    /// Servers that refuse a streaming list, as those before 1.34 do by default, are listed.
    async fn start() -> Result<Self> {
        let options = || ClusterOptions::default().api_server_arg("--feature-gates=WatchList=false");
        let (management, remote) = tokio::try_join!(Cluster::start(options()), Cluster::start(options()))?;
        management.kubectl(&["apply", "-f", "deploy/namespace.yaml", "-f", "deploy/crds.yaml"]).await?;
        management.until_established().await;
        Ok(Self { management, remote })
    }

    /// Installs and starts both controllers, and makes the way from one to the other.
    async fn controllers(&self) -> Result<(Stage<'_>, Kubeconfig, [Process; 2])> {
        let stage = Stage::without_crd(&self.management, "operator").await?;
        let access = stage.prepare(&self.remote).await?;
        for file in ["deploy/agent.yaml", "deploy/agent-service-accounts.yaml"] {
            self.remote.kubectl(&["apply", "-f", file]).await?;
        }
        let flags = ["--delete-grace=1s", "--allow-addresses=127.0.0.1"];
        let master = Deployed::of(&self.management, "master").await?.with(&flags).spawn(&self.management).await?;
        let agent = Deployed::of(&self.remote, "agent").await?.with(&flags[..1]).spawn(&self.remote).await?;
        Ok((stage, access, [master, agent]))
    }

    async fn requests(&self) -> Result<Vec<Entry>> {
        let mut all = Vec::new();
        for cluster in [&self.management, &self.remote] {
            all.extend_from_slice(cluster.audit().all().await?.entries());
        }
        Ok(all)
    }
}

/// From the first copy to the last, and all that can stand in its way.
async fn whole_life(fleet: &Fleet, stage: &Stage<'_>, access: &Kubeconfig) -> Result<()> {
    let (management, remote) = (World::of(&fleet.management), World::of(&fleet.remote));
    remote.namespace("app").await?;
    // The master reads the Secret that a RemoteCluster names, to say what is wrong with it.
    let mut other = source(Kind::Secret, "remote", &json!({}));
    other["metadata"]["annotations"] = Value::Null;
    management.create(&other).await?;
    stage.remote_cluster("remote").await?;
    stage.is("remote", "SecretWrongType").await;
    management.delete(Kind::Secret, "operator", "remote").await?;
    stage.kubeconfig("remote", &access.to_yaml()).await?;
    stage.is("remote", "Connected").await;

    for kind in KINDS {
        // Copied to the other cluster, and from there into every namespace.
        let pulled = json!({"mw-sync.io/image-pull-secret": "default"});
        let options = if kind == Kind::Secret { pulled } else { json!({}) };
        management.create(&source(kind, "copied", &options)).await?;
        remote.until_there(kind, "app", "copied").await;
        // Changed.
        management.annotate(kind, "copied", &json!({"mw-sync.io/copy-annotations": "note", "note": "2"})).await?;
        let second = |copy: &Value| copy["metadata"]["annotations"]["note"] == "2";
        remote.until((kind, "app", "copied"), "is the second version", second).await;
        // Changed, where somebody has added something.
        let theirs = json!({"metadata": {"labels": {"theirs": "x"}}});
        remote.merge(kind, "app", "copied", &theirs).await?;
        management.annotate(kind, "copied", &json!({"note": "3"})).await?;
        let third = |copy: &Value| copy["metadata"]["annotations"]["note"] == "3";
        let copy = remote.until((kind, "app", "copied"), "is the third version", third).await;
        assert_eq!(copy["metadata"]["labels"]["theirs"], "x");
        // Objects that are not ours, in the way of either controller.
        for (world, place) in [(&management, "operator"), (&remote, "app")] {
            let name = format!("in-the-way-in-{place}");
            let mut foreign = source(kind, &name, &json!({}));
            foreign["metadata"] = json!({"name": name, "namespace": place});
            remote.create(&foreign).await?;
            world.create(&source(kind, &name, &json!({}))).await?;
            world.until_said(kind, &name, "ForeignObject", &[]).await;
        }
    }
    let pulls = |account: &Value| account["imagePullSecrets"][0]["name"] == "copied";
    remote.until((Kind::ServiceAccount, "app", "default"), "pulls with the copy", pulls).await;

    // Clusters that are discovered, and one that a person has made, which takes the place of one of these.
    stage.discovery("found", &json!({ "kubeconfig": { "secretName": "remote" } })).await?;
    stage.discovers("found", "Listed", 1).await;
    stage.clusters_are(&["remote", &access.name]).await;
    let kubeconfig = json!({ "secretName": "remote", "context": access.name });
    stage.remote_cluster_by("mine", &json!({ "kubeconfig": kubeconfig })).await?;
    stage.clusters_are(&["remote", "mine"]).await;
    fleet.management.kubectl(&["-n", "operator", "delete", "cld/found", "rcl/mine"]).await?;

    // Deleted: the copies go after a last look at the source and its namespace.
    for kind in KINDS {
        remote.create(&source(kind, "local", &json!({}))).await?;
        remote.until_there(kind, "app", "local").await;
        remote.delete(kind, "operator", "local").await?;
        management.delete(kind, "operator", "copied").await?;
        for name in ["local", "copied"] {
            remote.until_gone(kind, "app", name).await;
        }
        remote.until_gone(kind, "operator", "copied").await;
    }
    // The cluster too, and what is left there before it.
    stage.change("remote", json!({ "onRemove": "Delete" })).await?;
    stage.is("remote", "Connected").await;
    let delete = ["-n", "operator", "delete", "remotecluster", "remote", "--wait=true", "--timeout=60s"];
    fleet.management.kubectl(&delete).await.map(drop)
}

/// Changes a Lease all the time, until its leader has met somebody who was faster, and has read it.
async fn a_race_for_the_lease(cluster: &Cluster, user: &str, name: &str) {
    let world = World::of(cluster);
    let uri = format!("/apis/coordination.k8s.io/v1/namespaces/operator/leases/{name}");
    eventually(SOON, format!("{user} reads its Lease"), async || {
        for count in 0..50 {
            let change = json!({"metadata": {"annotations": {"example.com/count": count.to_string()}}});
            world.send(Method::PATCH, &uri, "application/merge-patch+json", &change).await?;
        }
        let read = cluster.audit().all().await?.user(user).resource("leases").verb("get");
        ensure!(read.count() > 0, "not yet");
        Ok(())
    })
    .await;
}

/// `check` asks for what the manifests grant, verb by verb, and for nothing else.
#[test]
fn what_check_asks_for_is_what_is_granted() -> Result<()> {
    let master = "system:serviceaccount:operator:mw-sync-master";
    let remote = "system:serviceaccount:operator:mw-sync-remote";
    let lists = [
        (AGENT, rights::AGENT),
        (AGENT, rights::AGENT_SERVICE_ACCOUNTS),
        (master, rights::MASTER),
        (remote, rights::REMOTE),
    ];
    for (file, (user, list)) in FILES.into_iter().zip(lists) {
        let mut granted: Vec<_> = granted(file)?.iter().map(Right::to_string).collect();
        let mut listed = listed(user, list);
        granted.sort();
        listed.sort();
        assert_eq!(listed, granted, "{file}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_granted_is_used_and_nothing_else_is_needed() -> Result<()> {
    let mut rights = Vec::new();
    for file in FILES {
        let of_file = granted(file)?;
        assert!(!of_file.is_empty(), "{file} grants nothing: this test reads it wrongly");
        rights.extend(of_file);
    }
    let fleet = Fleet::start().await?;
    let (stage, access, controllers) = fleet.controllers().await?;
    whole_life(&fleet, &stage, &access).await?;
    let master = stage.user();
    tokio::join!(
        a_race_for_the_lease(&fleet.management, &master, "mw-sync-master"),
        a_race_for_the_lease(&fleet.remote, AGENT, "mw-sync-agent"),
    );
    for controller in &controllers {
        end(controller).await?;
    }
    // What else the master's pod is asked to do.
    let (code, told) = stage.ask(&["check"]).await?;
    ensure!(code == Some(0), "{code:?} {told}");

    let requests = fleet.requests().await?;
    let ours = |entry: &&Entry| rights.iter().any(|right| right.user == entry.username);
    let denied = requests.iter().filter(ours).filter(|entry| is_denied(entry));
    let denied: Vec<_> =
        denied.map(|entry| format!("{} {} {}", entry.username, entry.verb, entry.request_uri)).collect();
    assert!(denied.is_empty(), "needed and not granted: {denied:#?}");
    let unused = rights.iter().filter(|right| !requests.iter().any(|entry| right.is_used_by(entry)));
    let unused: Vec<_> = unused.map(Right::to_string).collect();
    assert!(unused.is_empty(), "granted and not needed: {unused:#?}");
    drop(controllers);
    tokio::join!(fleet.management.stop(), fleet.remote.stop());
    Ok(())
}
