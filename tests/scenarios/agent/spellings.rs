//! The switch in its spellings, and what `--sync-annotation` and `--strip-labels` add.

use anyhow::Result;
use serde_json::{Value, json};

use crate::support::{Kind, adopting_agent, annotated};

fn source(name: &str, annotations: &Value) -> Value {
    let mut source = annotated(Kind::ConfigMap, name, &json!({"a": "1"}));
    source["metadata"]["annotations"] = annotations.clone();
    source
}

/// `mw-sync.io/sync`, `mw-sync` and those that the flag names; promise 8: of several any `no` wins, at once.
#[tokio::test]
async fn the_switch_has_several_spellings_and_any_no_wins() -> Result<()> {
    let shared = adopting_agent().await?;
    let world = &shared.world;
    world.namespace("spelled").await?;
    let spellings = ["mw-sync.io/sync", "mw-sync", "example.com/copy"];
    for (n, key) in spellings.into_iter().enumerate() {
        let name = format!("spelled-{n}");
        world.create(&source(&name, &json!({key: "ON"}))).await?;
        let copy = world.until_there(Kind::ConfigMap, "spelled", &name).await;
        for spelling in spellings {
            assert!(copy["metadata"]["annotations"][spelling].is_null(), "an agent's copy has no switch: {copy:#}");
        }
        let other = spellings[(n + 1) % spellings.len()];
        world.annotate(Kind::ConfigMap, &name, &json!({other: "0"})).await?;
        // The grace of this agent never ends.
        world.until_gone(Kind::ConfigMap, "spelled", &name).await;
        world.annotate(Kind::ConfigMap, &name, &json!({other: "1"})).await?;
        world.until_there(Kind::ConfigMap, "spelled", &name).await;
    }
    Ok(())
}

/// `--strip-labels`, beside the list of DESIGN section 3.
#[tokio::test]
async fn labels_of_the_flag_are_stripped_too() -> Result<()> {
    let shared = adopting_agent().await?;
    let world = &shared.world;
    world.namespace("stripping").await?;
    let mut source = source("stripping", &json!({"mw-sync": "yes"}));
    source["metadata"]["labels"] =
        json!({"corp.example/owner": "a", "tool.corp.example/id": "b", "helm.sh/chart": "c", "team": "blue"});
    world.create(&source).await?;
    let copy = world.until_there(Kind::ConfigMap, "stripping", "stripping").await;
    let left = json!({"team": "blue", "mw-sync.io/managed-by": "agent", "mw-sync.io/source": "stripping"});
    assert_eq!(copy["metadata"]["labels"], left);
    Ok(())
}
