//! What happens while the agent is down, and when the source namespace goes.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, ClusterOptions, Process, eventually};

use crate::support::{AGENT, BUILT_IN, Kind, SOON, World, annotated, install, outliving, spawn, start, uid, version};

async fn stop(agent: Process) -> Result<()> {
    agent.terminate();
    ensure!(agent.wait_exit(SOON).await?.success(), "it ends well:\n{}", agent.stderr());
    Ok(())
}

/// Promises 2, 3 and 8: a restart sees what went on without it.
#[tokio::test]
async fn what_happened_while_it_was_down_is_made_good() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let world = World::of(&cluster);
    let kubeconfig = install(&cluster).await?;
    world.namespace("down-goes").await?;
    world.namespace("down").await?;
    for name in ["deleted", "plain", "off", "edited", "kept"] {
        world.create(&annotated(Kind::Secret, name, &json!({"a": "MQ=="}))).await?;
    }
    let agent = spawn(&kubeconfig, &[]).await?;
    for name in ["deleted", "plain", "off", "edited", "kept"] {
        world.until_there(Kind::Secret, "down", name).await;
        world.until_there(Kind::Secret, "down-goes", name).await;
    }
    let kept = world.get(Kind::Secret, "down", "kept").await?;
    stop(agent).await?;

    world.delete(Kind::Secret, "operator", "deleted").await?;
    world.annotate(Kind::Secret, "plain", &json!({"mw-sync": null})).await?;
    world.annotate(Kind::Secret, "off", &json!({"mw-sync": "no"})).await?;
    world.merge(Kind::Secret, "operator", "edited", &json!({"data": {"a": "Mg=="}})).await?;
    world.merge(Kind::Secret, "kube-public", "edited", &json!({"data": {"b": "Mg=="}})).await?;
    world.delete(Kind::Secret, "default", "edited").await?;
    world.delete(Kind::Namespace, "", "down-goes").await?;
    world.until_gone(Kind::Namespace, "", "down-goes").await;
    world.namespace("down-new").await?;
    world.create(&annotated(Kind::ConfigMap, "new", &json!({"a": "1"}))).await?;

    let mark = cluster.audit().mark().await?;
    let agent = spawn(&kubeconfig, &["--delete-grace=2s"]).await?;
    for namespace in ["down", "down-new", "default", "kube-public"] {
        for name in ["deleted", "plain", "off"] {
            world.until_gone(Kind::Secret, namespace, name).await;
        }
        world.until_data(Kind::Secret, namespace, "edited", &json!({"a": "Mg=="})).await;
        world.until_there(Kind::Secret, namespace, "kept").await;
        world.until_there(Kind::ConfigMap, namespace, "new").await;
    }
    assert_eq!(version(&world.get(Kind::Secret, "down", "kept").await?), version(&kept), "promise 4");
    let requests = cluster.audit().since(mark).await?.user(AGENT);
    // Beside the look for the agent's own note.
    let looks = requests.clone().verb("get").filter(|entry| entry.name != "mw-sync-agent");
    // The two that are gone, and their namespace for each.
    let of_objects = looks.clone().filter(|entry| entry.resource == "secrets");
    assert_eq!((looks.count(), of_objects.count()), (4, 2), "{:#?}", requests.counts());
    stop(agent).await?;
    cluster.stop().await;
    Ok(())
}

/// Every copy of the sources below, with its uid.
async fn uids(world: &World) -> Result<Vec<String>> {
    let mut uids = Vec::new();
    for (kind, name) in SOURCES {
        uids.extend(world.copies(kind, name).await?.iter().map(|copy| uid(copy).to_owned()));
    }
    uids.sort();
    Ok(uids)
}

const SOURCES: [(Kind, &str); 2] = [(Kind::Secret, "regcred"), (Kind::ConfigMap, "settings")];

/// Promise 2: the end of the source namespace is no end of a source.
#[tokio::test]
async fn a_source_namespace_that_goes_and_comes_back_costs_no_deletion() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let world = World::of(&cluster);
    let kubeconfig = outliving(&cluster).await?;
    let mark = cluster.audit().mark().await?;
    let agent = spawn(&kubeconfig, &["--delete-grace=500ms"]).await?;
    for (kind, name) in SOURCES {
        world.create(&annotated(kind, name, &Value::Null)).await?;
        for namespace in BUILT_IN {
            world.until_there(kind, namespace, name).await;
        }
    }
    let before = uids(&world).await?;

    // Held while it is Terminating, long enough for its contents to go.
    let held = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "held", "namespace": "operator", "finalizers": ["example.com/hold"]}
    });
    world.create(&held).await?;
    world.delete(Kind::Namespace, "", "operator").await?;
    for (kind, name) in SOURCES {
        world.until_gone(kind, "operator", name).await;
    }
    // Drift is repaired or not, as it may; a copy that goes in this time is not made again before the source is.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(uids(&world).await?, before, "while it is Terminating");
    world.merge(Kind::ConfigMap, "operator", "held", &json!({"metadata": {"finalizers": null}})).await?;
    world.until_gone(Kind::Namespace, "", "operator").await;
    eventually(SOON, "the agent says so", async || {
        let log = agent.stderr();
        if log.contains("kubectl create namespace operator") { Ok(()) } else { Err(log) }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(uids(&world).await?, before, "while it is missing");

    // Another incarnation, empty: longer than the grace, and a restart.
    let kubeconfig = install(&cluster).await?;
    let operator = world.get(Kind::Namespace, "", "operator").await?;
    world.create(&annotated(Kind::Secret, "fence", &json!({}))).await?;
    world.until_there(Kind::Secret, "default", "fence").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(uids(&world).await?, before, "while it is empty");
    stop(agent).await?;
    let agent = spawn(&kubeconfig, &["--delete-grace=500ms"]).await?;
    world.create(&annotated(Kind::Secret, "fence-2", &json!({}))).await?;
    world.until_there(Kind::Secret, "default", "fence-2").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(uids(&world).await?, before, "after a restart");

    // The sources come back, and take over what stands there.
    for (kind, name) in SOURCES {
        world.create(&annotated(kind, name, &json!({"a": "MQ=="}))).await?;
        for namespace in BUILT_IN {
            let copy = world.until_data(kind, namespace, name, &json!({"a": "MQ=="})).await;
            assert_eq!(copy["metadata"]["annotations"]["mw-sync.io/origin-uid"], uid(&operator));
        }
    }
    assert_eq!(uids(&world).await?, before, "taken over");
    let deletes = cluster.audit().since(mark).await?.user_agent("mw-sync-agent/").verb("delete");
    assert_eq!(deletes.count(), 0, "{:#?}", deletes.counts());
    // And are sources as any.
    world.annotate(Kind::Secret, "regcred", &json!({"mw-sync": "no"})).await?;
    for namespace in BUILT_IN {
        world.until_gone(Kind::Secret, namespace, "regcred").await;
    }
    stop(agent).await?;
    cluster.stop().await;
    Ok(())
}

/// Promise 2: an agent whose own account went with the source namespace knows nothing, and so deletes nothing.
#[tokio::test]
async fn without_credentials_nothing_is_gone() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let world = World::of(&cluster);
    let agent = start(&cluster, &["--delete-grace=500ms"]).await?;
    for (kind, name) in SOURCES {
        world.create(&annotated(kind, name, &Value::Null)).await?;
        for namespace in BUILT_IN {
            world.until_there(kind, namespace, name).await;
        }
    }
    let before = uids(&world).await?;
    let mark = cluster.audit().mark().await?;
    world.delete(Kind::Namespace, "", "operator").await?;
    world.until_gone(Kind::Namespace, "", "operator").await;
    install(&cluster).await?;
    // Its watches end with a restart; until then a server lets them be.
    cluster.stop_api_server().await?;
    cluster.start_api_server().await?;
    eventually(SOON, "the agent is told that it is nobody", async || {
        let log = agent.stderr();
        if log.contains("Unauthorised") { Ok(()) } else { Err(log) }
    })
    .await;
    assert!(agent.is_running());
    assert_eq!(uids(&world).await?, before);
    let deletes = cluster.audit().since(mark).await?.user_agent("mw-sync-agent/").verb("delete");
    assert_eq!(deletes.count(), 0, "{:#?}", deletes.counts());
    stop(agent).await?;
    cluster.stop().await;
    Ok(())
}
