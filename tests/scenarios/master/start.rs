//! What may be missing when the master starts.

use anyhow::Result;
use testbed::{Binaries, Cluster, ClusterOptions, FaultProxy, Mode, Process, shared};

use super::stage::{Stage, apply, define, end};
use crate::support::{until_may_not, until_said};

#[tokio::test]
async fn a_missing_definition_is_said_and_waited_for() -> Result<()> {
    // Its own: the definition counts for the whole cluster.
    let management = Cluster::start(ClusterOptions::default()).await?;
    let remote = shared("remote-a").await?;
    let stage = Stage::without_crd(&management, "m-start").await?;
    let access = stage.prepare(&remote).await?;
    let master = stage.master(&[]).await?;
    until_said(&master, &["kubectl apply -f deploy/crds.yaml"]).await;
    // Sources can be known before there is a cluster to copy them to.
    stage.source("early", "1").await?;
    define(&management).await?;
    stage.join("a", &access).await?;
    stage.copy_is(&remote, "early", |_| true).await;
    end(&master).await?;
    management.stop().await;
    Ok(())
}

/// Promises 3 and 10.
#[tokio::test]
async fn missing_rights_in_the_management_cluster_are_named_and_waited_for() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, "m-rights").await?;
    let access = stage.prepare(&remote).await?;
    management.kubectl(&["-n", "m-rights", "delete", "rolebinding", "--all"]).await?;
    stage.kubeconfig("a", &access.to_yaml()).await?;
    stage.remote_cluster("a").await?;
    stage.source("early", "1").await?;
    let as_master = format!("--as={}", stage.user());
    until_may_not(&management, &["list", "secrets", "-n", "m-rights", &as_master]).await;
    let master = stage.master(&[]).await?;
    for resource in ["secrets", "configmaps", "remoteclusters"] {
        let cannot = format!("cannot watch resource \"{resource}\"");
        until_said(&master, &["WARN", "Forbidden", &cannot, "deploy/"]).await;
    }
    apply(&management, "master.yaml", "m-rights").await?;
    stage.is("a", "Connected").await;
    stage.copy_is(&remote, "early", |_| true).await;
    end(&master).await
}

/// Promises 3 and 10.
#[tokio::test]
async fn an_unreachable_management_cluster_is_waited_for() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let proxy = FaultProxy::start(management.server_addr())?;
    let stage = Stage::new(&management, "m-away").await?.by(&proxy).await?;
    stage.kubeconfig("a", &stage.prepare(&remote).await?.to_yaml()).await?;
    stage.remote_cluster("a").await?;
    stage.source("early", "1").await?;
    proxy.set(Mode::Refuse).await;
    let master = stage.master(&[]).await?;
    until_said(&master, &["WARN", "Unreachable", "check the server's address"]).await;
    proxy.set(Mode::Pass).await;
    stage.copy_is(&remote, "early", |_| true).await;
    // Cut while it works, and without an answer.
    proxy.set(Mode::BlackHole).await;
    stage.source("late", "1").await?;
    until_said(&master, &["WARN", "NoAnswer"]).await;
    proxy.set(Mode::Pass).await;
    stage.copy_is(&remote, "late", |_| true).await;
    end(&master).await
}

/// Promises 2, 3 and 10: the source namespace goes, and comes back.
#[tokio::test]
async fn a_missing_source_namespace_is_said_and_waited_for() -> Result<()> {
    let management = Cluster::start(ClusterOptions::default()).await?;
    let remote = shared("remote-a").await?;
    define(&management).await?;
    let stage = Stage::without_crd(&management, "m-missing").await?;
    let access = stage.prepare(&remote).await?;
    // Its own account goes with the namespace.
    let account = ["create", "clusterrolebinding", "outliving", "--clusterrole=cluster-admin"];
    management.kubectl(&[&account[..], &["--serviceaccount=default:default"]].concat()).await?;
    let kubeconfig = management.kubeconfig_for_service_account("default", "default").await?;
    management.kubectl(&["delete", "namespace", "m-missing"]).await?;
    let args = ["--source-namespace=m-missing", "--allow-addresses=127.0.0.1,localhost"];
    let master = Process::spawn(Binaries::build().await?.master(), args, [("KUBECONFIG", &kubeconfig)])?;
    until_said(&master, &["WARN", "the source namespace does not exist", "kubectl create namespace m-missing"]).await;
    apply(&management, "namespace.yaml", "m-missing").await?;
    stage.source("early", "1").await?;
    stage.join("a", &access).await?;
    stage.copy_is(&remote, "early", |_| true).await;
    end(&master).await?;
    management.stop().await;
    Ok(())
}
