//! No wasted request.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::{Cluster, ClusterOptions, eventually};

use super::port::{asked_for_a_minute, is_renewal, only_renewals};
use crate::support::{AGENT, BUILT_IN, Kind, SOON, World, annotated, start};

/// Promise 4: after the last event there is none at all, watches that are begun anew included.
#[tokio::test]
async fn an_idle_minute_brings_no_request() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default().without_controller_manager()).await?;
    let world = World::of(&cluster);
    let begin = cluster.audit().mark().await?;
    let agent = start(&cluster, &[]).await?;
    for (kind, name) in [(Kind::Secret, "one"), (Kind::Secret, "two"), (Kind::ConfigMap, "one")] {
        world.create(&annotated(kind, name, &json!({}))).await?;
    }
    world.create(&annotated(Kind::Secret, "frozen", &json!({}))).await?;
    for namespace in ["idle-a", "idle-b", "default"] {
        if namespace != "default" {
            world.namespace(namespace).await?;
        }
        world.until_there(Kind::Secret, namespace, "one").await;
        world.until_there(Kind::Secret, namespace, "two").await;
        world.until_there(Kind::ConfigMap, namespace, "one").await;
        world.until_there(Kind::Secret, namespace, "frozen").await;
    }
    world.annotate(Kind::Secret, "frozen", &json!({"mw-sync": "perhaps"})).await?;
    world.annotate(Kind::Secret, "two", &json!({"mw-sync": "no"})).await?;
    for namespace in BUILT_IN.into_iter().chain(["idle-a", "idle-b"]) {
        world.until_gone(Kind::Secret, namespace, "two").await;
    }

    // Something is in the way too, and stays there.
    let theirs = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken", "namespace": "idle-a"}});
    world.create(&theirs).await?;
    world.create(&annotated(Kind::Secret, "taken", &json!({}))).await?;
    eventually(SOON, "the refusal is said and its name watched", async || {
        let log = agent.stderr();
        let refused = log.lines().any(|line| line.contains("source=Secret/taken ") && line.contains("ForeignObject"));
        let watches = cluster.audit().since(begin).await?.user(AGENT).verb("watch");
        let watched = watches.filter(|entry| entry.request_uri.contains("metadata.name%3Dtaken"));
        ensure!(refused && watched.count() > 0, "{log}");
        anyhow::Ok(())
    })
    .await;
    // The watch on the name begins with its list, and then there is no need to look again. The summary says so too.
    world
        .until((Kind::ConfigMap, "operator", "mw-sync-agent"), "tells of the refusal", |summary| {
            summary["data"]["summary.json"].as_str().is_some_and(|json| json.contains("ForeignObject"))
        })
        .await;
    let in_time = async |seconds| {
        let mark = cluster.audit().mark().await?;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        anyhow::Ok(cluster.audit().since(mark).await?.user(AGENT))
    };
    eventually(SOON, "it has told what there is", async || {
        let requests = in_time(12).await?;
        ensure!(requests.count() == 0, "{:#?}", requests.counts());
        anyhow::Ok(())
    })
    .await;

    let (mark, cpu) = (cluster.audit().mark().await?, agent.cpu_seconds()?);
    asked_for_a_minute(&agent).await?;
    let cpu = agent.cpu_seconds()? - cpu;
    let requests = cluster.audit().since(mark).await?.user(AGENT);
    assert_eq!(requests.count(), 0, "{:#?}", requests.counts());
    // It goes, which is noticed at once.
    world.delete(Kind::Secret, "idle-a", "taken").await?;
    world
        .until((Kind::Secret, "idle-a", "taken"), "is a copy", |object| {
            object["metadata"]["labels"]["mw-sync.io/managed-by"] == "agent"
        })
        .await;
    let requests = cluster.audit().since(mark).await?.user(AGENT).namespace("idle-a");
    assert_eq!(requests.count(), 1, "one create, no look: {:#?}", requests.counts());
    println!("an idle minute: no request, {cpu:.2} s of processor time, {} KiB resident", agent.rss()? / 1024);

    // As it is deployed, two that share a Lease: one holds it, and that is all.
    agent.terminate();
    agent.wait_exit(SOON).await?;
    let leader = start(&cluster, &["--leader-elect"]).await?;
    let standby = start(&cluster, &["--leader-elect"]).await?;
    world.annotate(Kind::Secret, "one", &json!({"mw-sync": "no"})).await?;
    world.until_gone(Kind::Secret, "idle-b", "one").await;
    eventually(SOON, "one leads, one stands by, and both have told what there is", async || {
        ensure!(
            leader.stderr().contains("standing by") != standby.stderr().contains("standing by"),
            "they do not know yet"
        );
        let requests = in_time(12).await?;
        ensure!(requests.each().all(is_renewal), "{:#?}", requests.counts());
        anyhow::Ok(())
    })
    .await;
    only_renewals(&in_time(60).await?);
    cluster.stop().await;
    Ok(())
}
