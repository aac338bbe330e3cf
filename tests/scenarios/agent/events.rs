//! What is said of a source where a person looks first.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::json;

use crate::support::{Kind, annotated, shared_agent};

/// Promise 10: an Event on the source, one per change of outcome and never one per namespace.
#[tokio::test]
async fn what_troubles_a_source_is_one_event_and_so_is_its_end() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    let places = ["events-a", "events-b", "events-c"];
    for namespace in places {
        world.namespace(namespace).await?;
        let theirs =
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "told", "namespace": namespace } });
        world.create(&theirs).await?;
    }
    world.create(&annotated(Kind::Secret, "told", &json!({"a": "MQ=="}))).await?;
    let refusal = world.until_said(Kind::Secret, "told", "ForeignObject", &places).await;
    assert_eq!(refusal.kind, "Warning");
    for namespace in places {
        world.delete(Kind::Secret, namespace, "told").await?;
    }
    let end = world.until_said(Kind::Secret, "told", "Synced", &[]).await;
    assert_eq!(end.kind, "Normal");
    world.annotate(Kind::Secret, "told", &json!({"mw-sync": "perhaps"})).await?;
    world.until_said(Kind::Secret, "told", "Frozen", &["\"perhaps\": write yes"]).await;
    let all = world.events(Kind::Secret, "told").await?;
    let reasons: BTreeSet<_> = all.iter().map(|said| said.reason.as_str()).collect();
    assert_eq!((all.len(), reasons.len()), (3, 3), "one each: {all:?}");
    assert!(all.iter().all(|said| said.note.starts_with("agent: ")), "who says it: {all:?}");
    Ok(())
}
