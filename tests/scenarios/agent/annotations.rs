//! `copy-annotations`.

use anyhow::Result;
use serde_json::{Value, json};

use crate::support::{Kind, asking, shared_agent};

/// Only what is named, in its present value; what others add is left alone.
#[tokio::test]
async fn copies_carry_the_annotations_that_are_named_and_no_others() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    world.namespace("carry").await?;
    let options = json!({
        "mw-sync.io/copy-annotations": "note, example.com/owner,example.com/none",
        "note": "1", "example.com/owner": "blue", "other": "o"
    });
    world.create(&asking(Kind::ConfigMap, "carry", &json!({"a": "1"}), &options)).await?;
    let carried = |copy: &Value| {
        let annotations = copy["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        let ours = |key: &str| key.starts_with("mw-sync.io/") && key != "mw-sync.io/copied";
        Value::Object(annotations.into_iter().filter(|(key, _)| !ours(key)).collect())
    };
    let until = async |expected: Value| {
        let there = (Kind::ConfigMap, "carry", "carry");
        world.until(there, format!("carries {expected}"), |copy| carried(copy) == expected).await
    };
    until(json!({
        "note": "1", "example.com/owner": "blue",
        "mw-sync.io/copied": "annotation:example.com/owner,annotation:note"
    }))
    .await;
    let theirs = json!({"metadata": {"annotations": {"theirs": "t", "note": "drift"}}});
    world.merge(Kind::ConfigMap, "carry", "carry", &theirs).await?;
    let change = json!({"note": "2", "example.com/none": "n", "example.com/owner": null});
    world.annotate(Kind::ConfigMap, "carry", &change).await?;
    until(json!({
        "note": "2", "example.com/none": "n", "theirs": "t",
        "mw-sync.io/copied": "annotation:example.com/none,annotation:note"
    }))
    .await;
    world.annotate(Kind::ConfigMap, "carry", &json!({"mw-sync.io/copy-annotations": "note"})).await?;
    until(json!({"note": "2", "theirs": "t", "mw-sync.io/copied": "annotation:note"})).await;
    world.annotate(Kind::ConfigMap, "carry", &json!({"mw-sync.io/copy-annotations": null})).await?;
    until(json!({"theirs": "t", "mw-sync.io/copied": ""})).await;
    Ok(())
}
