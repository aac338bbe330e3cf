//! `--dry-run`: the master as ever, and nothing written, here or there.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{eventually, shared};

use super::api;
use super::stage::{SOON, Stage, end, value};
use crate::agent::port::{fetch, port};

/// Promises 4 and 10.
#[tokio::test]
async fn a_dry_run_leaves_remote_clusters_and_their_status_alone() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, "m-dry").await?;
    let access = stage.prepare(&remote).await?;
    stage.kubeconfig("a", &access.to_yaml()).await?;
    let kubeconfig = json!({"kubeconfig": {"secretName": "a"}, "namespace": "m-dry", "onRemove": "Delete"});
    stage.remote_cluster_by("a", &kubeconfig).await?;
    stage.discovery("found", &json!({"kubeconfig": {"secretName": "a"}, "namespace": "m-dry"})).await?;
    stage.source("one", "1").await?;
    stage.source("two", "1").await?;
    api::create(&remote, &api::secret("m-dry", ""), &api::opaque("two", "theirs")).await?;
    let path = api::remote_cluster("m-dry", "a");
    let before = api::get(&management, &path).await?.context("no RemoteCluster")?;

    let (here, there) = (management.audit().mark().await?, remote.audit().mark().await?);
    let master = stage.master(&["--dry-run", "--leader-elect"]).await?;
    eventually(SOON, "it tells what it would do", async || {
        let log = master.stderr();
        let told = |source: &str, words: &str| {
            log.lines().any(|line| line.contains(&format!("source={source} ")) && line.contains(words))
        };
        ensure!(told("Secret/one", "1 WouldCreate") && told("Secret/two", "ForeignObject"), "{log}");
        ensure!(log.contains("NOTHING is written") && log.contains("acts on no ClusterDiscovery"), "{log}");
        Ok(())
    })
    .await;
    let port = port(&master, "kubectl port-forward").await;
    eventually(SOON, "so does its page", async || {
        let status: Value = serde_json::from_str(&fetch(port, "/status").await?.1)?;
        let (one, a) = (&status["sources"][0], &status["clusters"][0]);
        ensure!(status["dryRun"] == true && a["ready"] == true && a["sources"]["pending"] == 1, "{status}");
        ensure!(one["missing"][0]["reason"] == "WouldCreate in namespace m-dry", "{status}");
        Ok(())
    })
    .await;
    // A change is tried too.
    stage.set("one", "2").await?;
    eventually(SOON, "the change is tried", async || {
        let tries = remote.audit().since(there).await?.user(&stage.remote_user()).writes().verb("create");
        let tries = tries.filter(|entry| entry.code == 201);
        ensure!(tries.count() == 2, "{:#?}", tries.counts());
        Ok(())
    })
    .await;
    end(&master).await?;
    for (asked, who) in [
        (remote.audit().since(there).await?.user(&stage.remote_user()), "there"),
        (management.audit().since(here).await?.user(&stage.user()), "here"),
    ] {
        for entry in asked.writes().entries() {
            assert!(entry.request_uri.contains("dryRun=All"), "{who}: {} {}", entry.verb, entry.request_uri);
        }
    }
    ensure!(api::get(&remote, &stage.path("one")).await?.is_none(), "it was written");
    let after = api::get(&management, &path).await?.context("no RemoteCluster")?;
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"], "{after}");
    assert_eq!(stage.all_clusters().await?.len(), 1, "discovery has made one");

    // For real.
    let master = stage.master(&[]).await?;
    stage.copy_is(&remote, "one", |copy| value(copy) == "2").await;
    stage.is("a", "Connected").await;
    end(&master).await
}
