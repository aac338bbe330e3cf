//! Destinations that come, go and opt out.

use anyhow::{Context as _, Result};
use serde_json::json;
use testbed::Entry;

use crate::support::{AGENT, Kind, annotated, shared_agent, uid, version};

/// Promise 3.
#[tokio::test]
async fn a_new_namespace_is_filled_and_so_is_one_that_comes_back() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    world.create(&annotated(Kind::Secret, "comes", &json!({"a": "MQ=="}))).await?;
    world.create(&annotated(Kind::ConfigMap, "comes", &json!({"a": "1"}))).await?;
    world.until_there(Kind::Secret, "default", "comes").await;
    for _ in 0..5 {
        world.namespace("comes").await?;
        world.until_data(Kind::Secret, "comes", "comes", &json!({"a": "MQ=="})).await;
        world.until_data(Kind::ConfigMap, "comes", "comes", &json!({"a": "1"})).await;
        world.delete(Kind::Namespace, "", "comes").await?;
        world.until_gone(Kind::Namespace, "", "comes").await;
    }
    Ok(())
}

/// Promise 5: a namespace that is on its way out is left alone, and delays nobody.
#[tokio::test]
async fn a_terminating_namespace_is_left_alone() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    world.create(&annotated(Kind::Secret, "ends", &json!({"a": "MQ=="}))).await?;
    for name in ["ends", "ends-not"] {
        world.namespace(name).await?;
        world.until_there(Kind::Secret, name, "ends").await;
    }
    // Something that holds it for as long as we like.
    let held = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "held", "namespace": "ends", "finalizers": ["example.com/hold"]}
    });
    world.create(&held).await?;
    world.delete(Kind::Namespace, "", "ends").await?;
    world.until_gone(Kind::Secret, "ends", "ends").await;
    // Changes of namespaces come to the agent in order: it knows that the one before ends.
    world.namespace("ends-later").await?;
    world.until_there(Kind::Secret, "ends-later", "ends").await;
    let mark = shared.cluster.audit().mark().await?;
    world.merge(Kind::Secret, "operator", "ends", &json!({"data": {"a": "Mg=="}})).await?;
    world.create(&annotated(Kind::Secret, "ends-more", &json!({}))).await?;
    world.until_there(Kind::Secret, "ends-not", "ends-more").await;
    world.until_data(Kind::Secret, "ends-not", "ends", &json!({"a": "Mg=="})).await;
    // What it had sent there before, for another scenario perhaps, may be answered after the mark.
    let asked = shared.cluster.audit().since(mark).await?;
    let merged = asked.clone().user("admin").filter(|entry| entry.namespace == "operator" && entry.name == "ends");
    let merged = merged.each().next().context("we did")?.received.clone();
    let asked = asked.user(AGENT).namespace("ends").filter(|entry| entry.received > merged);
    assert_eq!(asked.count(), 0, "{:#?}", asked.counts());
    world.merge(Kind::ConfigMap, "ends", "held", &json!({"metadata": {"finalizers": null}})).await?;
    world.until_gone(Kind::Namespace, "", "ends").await;
    Ok(())
}

/// Promise 8, for a namespace: an explicit `no` acts at once.
#[tokio::test]
async fn a_namespace_opts_out_and_in_again() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    let sources = [Kind::Secret, Kind::ConfigMap];
    for kind in sources {
        world.create(&annotated(kind, "opt", &json!({}))).await?;
    }
    let out = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "opt-from-the-start", "annotations": {"mw-sync": "no"}}
    });
    world.create(&out).await?;
    world.namespace("opt").await?;
    world.namespace("opt-not").await?;
    for kind in sources {
        world.until_there(kind, "opt", "opt").await;
        world.until_there(kind, "opt-not", "opt").await;
        assert!(world.find(kind, "opt-from-the-start", "opt").await?.is_none());
    }
    for key in ["mw-sync.io/sync", "mw-sync"] {
        let set = |value: serde_json::Value| json!({"metadata": {"annotations": {key: value}}});
        let mine = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine", "namespace": "opt"}
        });
        let mine = world.create(&mine).await?;
        world.merge(Kind::Namespace, "", "opt", &set("off".into())).await?;
        for kind in sources {
            world.until_gone(kind, "opt", "opt").await;
            world.get(kind, "opt-not", "opt").await?;
        }
        assert_eq!(version(&world.get(Kind::Secret, "opt", "mine").await?), version(&mine));
        world.delete(Kind::Secret, "opt", "mine").await?;
        world.merge(Kind::Namespace, "", "opt", &set(serde_json::Value::Null)).await?;
        for kind in sources {
            world.until_there(kind, "opt", "opt").await;
        }
    }
    // A value that says nothing is no opt-out.
    let before = world.get(Kind::Secret, "opt", "opt").await?;
    world.merge(Kind::Namespace, "", "opt", &json!({"metadata": {"annotations": {"mw-sync": "perhaps"}}})).await?;
    world.merge(Kind::Secret, "operator", "opt", &json!({"data": {"a": "MQ=="}})).await?;
    let after = world.until_data(Kind::Secret, "opt", "opt", &json!({"a": "MQ=="})).await;
    assert_eq!(uid(&after), uid(&before));
    Ok(())
}

/// Promise 7: the source namespace holds sources and no copies.
#[tokio::test]
async fn the_source_namespace_is_no_destination() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    let source = world.create(&annotated(Kind::Secret, "own", &json!({"a": "MQ=="}))).await?;
    world.until_there(Kind::Secret, "default", "own").await;
    world.annotate(Kind::Secret, "own", &json!({"mw-sync": "no"})).await?;
    world.until_gone(Kind::Secret, "default", "own").await;
    let now = world.get(Kind::Secret, "operator", "own").await?;
    assert_eq!((uid(&now), &now["data"]), (uid(&source), &source["data"]));
    let mark = shared.cluster.audit().mark().await?;
    world.create(&annotated(Kind::Secret, "own-fence", &json!({}))).await?;
    world.until_there(Kind::Secret, "default", "own-fence").await;
    // Events and its summary it writes there, and nothing else.
    let writes = shared.cluster.audit().since(mark).await?.user(AGENT).namespace("operator").writes();
    let said = |entry: &Entry| entry.resource == "events" || entry.name == "mw-sync-agent";
    let writes = writes.filter(|entry| !said(entry));
    assert_eq!(writes.count(), 0, "{:#?}", writes.entries());
    Ok(())
}
