//! What the agent tells the master: ConfigMap `mw-sync-agent`.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, ClusterOptions, eventually};

use crate::support::{AGENT, Kind, SOON, World, annotated, install, spawn, start, uid, version};

const SUMMARY: (Kind, &str, &str) = (Kind::ConfigMap, "operator", "mw-sync-agent");

async fn told(world: &World) -> Result<Value> {
    let object = world.get(SUMMARY.0, SUMMARY.1, SUMMARY.2).await?;
    let json = object["data"]["summary.json"].as_str().context("no summary in it")?;
    Ok(serde_json::from_str(json)?)
}

/// Waits until the summary has this to say of a source in its present version.
async fn until_told(world: &World, name: &str, counts: [u64; 3]) -> Result<Value> {
    let source = world.get(Kind::Secret, "operator", name).await?;
    let told = eventually(SOON, format!("the summary says {counts:?} of {name}"), async || {
        let told = told(world).await?["sources"][format!("Secret/{name}")].take();
        let [synced, pending, refused] = counts;
        ensure!(told["uid"] == uid(&source) && told["resourceVersion"] == version(&source), "{told:#}");
        let is = told["synced"] == synced && told["pending"] == pending && told["refused"] == refused;
        ensure!(is, "{told:#}");
        anyhow::Ok(told)
    });
    Ok(told.await)
}

/// Promises 4, 6 and 10.
#[tokio::test]
async fn the_summary_tells_which_version_is_where_and_a_restart_does_not_repeat_it() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default().without_controller_manager()).await?;
    let world = World::of(&cluster);
    world.namespace("sum-a").await?;
    let theirs = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken", "namespace": "sum-a"}});
    world.create(&theirs).await?;
    let agent = start(&cluster, &[]).await?;
    world.create(&annotated(Kind::Secret, "sum", &json!({"password": "aHVudGVyMg=="}))).await?;
    world.create(&annotated(Kind::Secret, "taken", &json!({}))).await?;
    // default, kube-node-lease, kube-public, kube-system, sum-a
    until_told(&world, "sum", [5, 0, 0]).await?;
    let taken = until_told(&world, "taken", [4, 0, 1]).await?;
    assert_eq!(taken["places"], json!([{"namespace": "sum-a", "reason": "ForeignObject"}]));
    // A version with the same content is told too: who waits for it must hear of it.
    world.annotate(Kind::Secret, "sum", &json!({"note": "seen"})).await?;
    until_told(&world, "sum", [5, 0, 0]).await?;
    world.merge(Kind::Secret, "operator", "sum", &json!({"data": {"password": "MQ=="}})).await?;
    until_told(&world, "sum", [5, 0, 0]).await?;
    let summary = world.get(SUMMARY.0, SUMMARY.1, SUMMARY.2).await?;
    assert!(!summary.to_string().contains("aHVudGVyMg"), "{summary:#}");

    let mark = cluster.audit().mark().await?;
    agent.terminate();
    ensure!(agent.wait_exit(SOON).await?.success());
    let agent = start(&cluster, &[]).await?;
    // It is up when it follows a change, and the summary was read before that is told.
    world.annotate(Kind::Secret, "taken", &json!({"mw-sync": "no"})).await?;
    world.until_gone(Kind::Secret, "default", "taken").await;
    eventually(SOON, "the source that is off is told no more", async || {
        ensure!(told(&world).await?["sources"]["Secret/taken"].is_null(), "{:#}", told(&world).await?);
        anyhow::Ok(())
    })
    .await;
    let requests = cluster.audit().since(mark).await?.user(AGENT).namespace("operator");
    let writes = requests.entries().iter().filter(|entry| entry.request_uri.contains("mw-sync-agent-summary"));
    assert!(writes.count() <= 2, "{:#?}", requests.counts());
    drop(agent);
    cluster.stop().await;
    Ok(())
}

/// Promise 1: somebody else's ConfigMap of that name stays as it is.
#[tokio::test]
async fn a_foreign_config_map_is_not_written_over() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default().without_controller_manager()).await?;
    let world = World::of(&cluster);
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"},
                        "metadata": {"name": "mw-sync-agent", "namespace": "operator"}});
    let kubeconfig = install(&cluster).await?;
    let theirs = world.create(&theirs).await?;
    let agent = spawn(&kubeconfig, &[]).await?;
    eventually(SOON, "the agent says so", async || {
        let log = agent.stderr();
        ensure!(log.contains("is not an agent's; no summary is written: delete it"), "{log}");
        anyhow::Ok(())
    })
    .await;
    let after = world.get(SUMMARY.0, SUMMARY.1, SUMMARY.2).await?;
    assert_eq!(version(&after), version(&theirs));
    drop(agent);
    cluster.stop().await;
    Ok(())
}
