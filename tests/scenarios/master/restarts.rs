//! DESIGN section 6, "watch cut, 410 Gone, API server restart", of either cluster.

use anyhow::{Result, ensure};
use serde_json::Value;
use testbed::{Cluster, ClusterOptions, Mark, eventually};

use super::api;
use super::stage::{SOON, Stage, define, end, value};

/// What the master has written of Secrets in the remote cluster.
async fn written(stage: &Stage<'_>, remote: &Cluster, mark: Mark) -> Result<Vec<String>> {
    let requests = remote.audit().since(mark).await?.user(&stage.remote_user()).resource("secrets").writes();
    Ok(requests.each().map(|request| request.verb.clone()).collect())
}

async fn watches(cluster: &Cluster, user: &str, mark: Mark, at_least: usize) {
    eventually(SOON, format!("{user} watches again"), async || {
        let requests = cluster.audit().since(mark).await?.user(user).verb("watch");
        let begun = requests.filter(|entry| entry.code == 200).count();
        ensure!(begun >= at_least, "{begun} of {at_least}");
        Ok(())
    })
    .await;
}

/// Promises 3 and 4: what was missed is made good, what is right is not written.
#[tokio::test]
async fn api_servers_that_restart_without_their_history_are_survived() -> Result<()> {
    let management = Cluster::start(ClusterOptions::default()).await?;
    let remote = Cluster::start(ClusterOptions::default()).await?;
    define(&management).await?;
    let stage = Stage::without_crd(&management, "operator").await?;
    let access = stage.prepare(&remote).await?;
    let master = stage.master(&[]).await?;
    stage.join("far", &access).await?;
    for name in ["kept", "changed", "off"] {
        stage.source(name, "1").await?;
        stage.copy_is(&remote, name, |_| true).await;
    }
    let uid = |copy: &Value| copy["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let before = stage.copy_is(&remote, "changed", |_| true).await;

    // The remote one, while its sources change.
    let mark = remote.audit().mark().await?;
    remote.stop_api_server().await?;
    stage.set("changed", "2").await?;
    api::annotate(&management, &stage.path("off"), Some("no")).await?;
    remote.compact_etcd().await?;
    remote.start_api_server().await?;
    let after = stage.copy_is(&remote, "changed", |copy| value(copy) == "2").await;
    assert_eq!(uid(&after), uid(&before));
    stage.copy_is_gone(&remote, "off").await;
    stage.is("far", "Connected").await;
    let mut verbs = written(&stage, &remote, mark).await?;
    // A write that was under way when the server went may be there twice, for its answer was lost.
    verbs.sort();
    verbs.dedup();
    assert_eq!(verbs, ["delete", "patch", "update"]);

    // The management cluster: nothing follows from its restart.
    let (mark, at_home) = (remote.audit().mark().await?, management.audit().mark().await?);
    management.expire_watches().await?;
    // Secrets, ConfigMaps, the namespace; RemoteClusters and kubeconfigs.
    watches(&management, &stage.user(), at_home, 5).await;
    stage.source("new", "1").await?;
    stage.copy_is(&remote, "new", |_| true).await;
    assert_eq!(written(&stage, &remote, mark).await?, ["create"]);
    stage.is("far", "Connected").await;
    ensure!(master.is_running(), "it was never restarted");
    end(&master).await?;
    management.stop().await;
    remote.stop().await;
    Ok(())
}
