//! When copies go, and when they do not.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{Cluster, ClusterOptions, Mark, Requests, eventually};

use crate::support::{AGENT, BUILT_IN, Kind, SOON, Shared, World, annotated, shared_agent, start, uid};

/// What the agent has asked for of an object of this name, in any namespace.
async fn asked(cluster: &Cluster, mark: Mark, name: &str) -> Result<Requests> {
    Ok(cluster.audit().since(mark).await?.user(AGENT).filter(|entry| entry.name == name))
}

/// Promises 2 and 8.
#[tokio::test]
async fn copies_go_after_the_grace_confirmed_by_one_look() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    for name in ["going-a", "going-b"] {
        world.namespace(name).await?;
    }
    for (kind, name) in [(Kind::Secret, "going-deleted"), (Kind::ConfigMap, "going-plain")] {
        world.create(&annotated(kind, name, &Value::Null)).await?;
        for namespace in ["going-a", "going-b"] {
            world.until_there(kind, namespace, name).await;
        }
    }
    let mark = shared.cluster.audit().mark().await?;
    world.delete(Kind::Secret, "operator", "going-deleted").await?;
    world.annotate(Kind::ConfigMap, "going-plain", &json!({"mw-sync": null})).await?;
    for (kind, name) in [(Kind::Secret, "going-deleted"), (Kind::ConfigMap, "going-plain")] {
        eventually(SOON, format!("no copy of {name}"), async || {
            let left = world.copies(kind, name).await?.len();
            anyhow::ensure!(left == 0, "{left} are left");
            Ok(())
        })
        .await;
        let all = shared.cluster.audit().since(mark).await?;
        let changed = all.clone().user("admin").namespace("operator").filter(|entry| entry.name == name).writes();
        let asked = all.user(AGENT).filter(|entry| entry.name == name);
        assert_eq!(asked.clone().verb("get").namespace("operator").count(), 1, "{:#?}", asked.counts());
        assert_eq!(asked.clone().verb("get").count(), 1, "only the source is looked at: {:#?}", asked.counts());
        // A namespace of another test may opt out meanwhile.
        let deletes = asked.verb("delete").filter(|entry| entry.namespace.starts_with("going-"));
        let first = deletes.each().min_by_key(|entry| &entry.received).expect("there were some");
        let waited = first.seconds_after(changed.each().next().expect("we changed it"));
        assert!(waited >= Shared::GRACE.as_secs_f64(), "after {waited} s already");
    }
    // The ConfigMap that lost its annotation is still its owner's.
    world.get(Kind::ConfigMap, "operator", "going-plain").await?;
    Ok(())
}

/// Promise 8, with a grace that never ends within a test, so that no time is measured.
#[tokio::test]
async fn only_an_explicit_no_acts_at_once_and_coming_back_costs_no_deletion() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default().without_controller_manager()).await?;
    let world = World::of(&cluster);
    let agent = start(&cluster, &["--delete-grace=1h"]).await?;
    let all = async |name: &str, data: &Value| {
        let mut uids = Vec::new();
        for namespace in BUILT_IN {
            uids.push(uid(&world.until_data(Kind::Secret, namespace, name, data).await).to_owned());
        }
        uids
    };
    let (one, two) = (json!({"a": "MQ=="}), json!({"a": "Mg=="}));
    for name in ["off", "switch", "deleted"] {
        world.create(&annotated(Kind::Secret, name, &one)).await?;
    }
    let (switch, deleted) = (all("switch", &one).await, all("deleted", &one).await);
    all("off", &one).await;

    let mark = cluster.audit().mark().await?;
    world.annotate(Kind::Secret, "off", &json!({"mw-sync": "No"})).await?;
    for namespace in BUILT_IN {
        world.until_gone(Kind::Secret, namespace, "off").await;
    }
    // A switch that goes after a `no` brings nothing back; a new one does.
    world.annotate(Kind::Secret, "off", &json!({"mw-sync": null})).await?;

    world.annotate(Kind::Secret, "switch", &json!({"mw-sync": null})).await?;
    world.delete(Kind::Secret, "operator", "deleted").await?;
    for name in ["switch", "deleted"] {
        eventually(SOON, "the agent has noticed", async || {
            let log = agent.stderr();
            let said =
                log.lines().any(|line| line.contains(&format!("Secret/{name} ")) && line.contains("are deleted in"));
            if said { Ok(()) } else { Err(log) }
        })
        .await;
    }
    assert_eq!((all("switch", &one).await, all("deleted", &one).await), (switch.clone(), deleted.clone()));
    // Back, with other data: an update.
    let back = json!({"data": two, "metadata": {"annotations": {"mw-sync": "yes"}}});
    world.merge(Kind::Secret, "operator", "switch", &back).await?;
    world.create(&annotated(Kind::Secret, "deleted", &two)).await?;
    assert_eq!((all("switch", &two).await, all("deleted", &two).await), (switch, deleted));
    for name in ["switch", "deleted"] {
        let asked = asked(&cluster, mark, name).await?;
        let updates = asked.clone().updates().count();
        assert_eq!((asked.count(), updates), (BUILT_IN.len(), BUILT_IN.len()), "{:#?}", asked.counts());
    }
    world.annotate(Kind::Secret, "off", &json!({"mw-sync": "yes"})).await?;
    all("off", &one).await;
    agent.terminate();
    assert!(agent.wait_exit(Duration::from_secs(30)).await?.success());
    cluster.stop().await;
    Ok(())
}
