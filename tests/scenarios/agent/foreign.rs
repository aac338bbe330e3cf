//! Objects that stand in the way.

use anyhow::Result;
use serde_json::{Value, json};

use crate::support::{AGENT, Kind, annotated, shared_agent, version};

fn theirs(namespace: &str, labels: &Value, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "data": {"theirs": "MQ=="},
        "metadata": {"name": "foreign", "namespace": namespace, "labels": labels, "annotations": annotations}
    })
}

/// Promises 1, 5 and 10.
#[tokio::test]
async fn a_foreign_object_is_refused_and_its_place_is_taken_when_it_goes() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    let none = json!({});
    let objects = [
        theirs("foreign-plain", &none, &none),
        theirs("foreign-label", &json!({"mw-sync.io/managed-by": "agent"}), &none),
        theirs(
            "foreign-other",
            &json!({"mw-sync.io/managed-by": "agent"}),
            &json!({"mw-sync.io/origin": "ops/foreign"}),
        ),
        theirs(
            "foreign-copied",
            &json!({"mw-sync.io/managed-by": "agent"}),
            &json!({"mw-sync.io/origin": "operator/another"}),
        ),
        theirs(
            "foreign-master",
            &json!({"mw-sync.io/managed-by": "master"}),
            &json!({"mw-sync.io/origin": "m/operator/foreign"}),
        ),
    ];
    let mut before = Vec::new();
    for object in &objects {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        world.namespace(namespace).await?;
        before.push((namespace, world.create(object).await?));
    }
    world.namespace("foreign-free").await?;
    world.create(&annotated(Kind::Secret, "foreign", &json!({"ours": "MQ=="}))).await?;
    world.until_data(Kind::Secret, "foreign-free", "foreign", &json!({"ours": "MQ=="})).await;
    shared.until_line("source=Secret/foreign ", &["ForeignObject", "refused=5"]).await;
    // More reasons to write there.
    world.merge(Kind::Secret, "operator", "foreign", &json!({"data": {"ours": "Mg=="}})).await?;
    world.until_data(Kind::Secret, "foreign-free", "foreign", &json!({"ours": "Mg=="})).await;
    let mark = shared.cluster.audit().mark().await?;
    for (namespace, was) in &before {
        let now = world.get(Kind::Secret, namespace, "foreign").await?;
        assert_eq!(version(&now), version(was), "{namespace}");
        world.delete(Kind::Secret, namespace, "foreign").await?;
        world.until_data(Kind::Secret, namespace, "foreign", &json!({"ours": "Mg=="})).await;
    }
    let deleted = shared.cluster.audit().since(mark).await?.user(AGENT).verb("delete");
    // In namespaces of other tests copies may go with the namespace's wish for any.
    let deleted = deleted.filter(|entry| entry.name == "foreign" && entry.namespace.starts_with("foreign-"));
    assert_eq!(deleted.count(), 0);
    Ok(())
}

/// Promise 1: the end of a source is none of theirs.
#[tokio::test]
async fn a_foreign_object_outlives_the_source() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    for name in ["outlives", "outlives-free"] {
        world.namespace(name).await?;
    }
    let mut object = theirs("outlives", &json!({}), &json!({}));
    object["metadata"]["name"] = "outlives".into();
    let was = world.create(&object).await?;
    world.create(&annotated(Kind::Secret, "outlives", &json!({}))).await?;
    world.until_there(Kind::Secret, "outlives-free", "outlives").await;
    world.delete(Kind::Secret, "operator", "outlives").await?;
    world.until_gone(Kind::Secret, "outlives-free", "outlives").await;
    assert_eq!(version(&world.get(Kind::Secret, "outlives", "outlives").await?), version(&was));
    Ok(())
}
