//! What is said of a source where a person looks first.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, eventually};

use crate::support::{Kind, SOON, annotated, shared_agent};

/// Type, reason and note of each Event on a Secret of the source namespace.
pub(super) async fn events(cluster: &Cluster, name: &str) -> Result<Vec<(String, String, String)>> {
    let of = format!("--field-selector=involvedObject.kind=Secret,involvedObject.name={name}");
    let list = cluster.kubectl(&["-n", "operator", "get", "events", &of, "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&list)?;
    let text = |event: &Value, key: &str| event[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"));
    let items = list["items"].as_array().context("no items")?;
    items.iter().map(|e| Ok((text(e, "type")?, text(e, "reason")?, text(e, "message")?))).collect()
}

/// Promise 10: an Event on the source, one per change of outcome and never one per namespace.
#[tokio::test]
async fn what_troubles_a_source_is_one_event_and_so_is_its_end() -> Result<()> {
    let shared = shared_agent().await?;
    let (cluster, world) = (&shared.cluster, &shared.world);
    let places = ["events-a", "events-b", "events-c"];
    for namespace in places {
        world.namespace(namespace).await?;
        let theirs =
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "told", "namespace": namespace } });
        world.create(&theirs).await?;
    }
    world.create(&annotated(Kind::Secret, "told", &json!({"a": "MQ=="}))).await?;
    eventually(SOON, "the refusal is an Event", async || {
        let events = events(cluster, "told").await?;
        let refused = events.iter().any(|(kind, reason, note)| {
            (kind.as_str(), reason.as_str()) == ("Warning", "ForeignObject")
                && places.iter().all(|place| note.contains(place))
        });
        ensure!(refused, "{events:?}");
        Ok(())
    })
    .await;
    for namespace in places {
        world.delete(Kind::Secret, namespace, "told").await?;
    }
    eventually(SOON, "the end of it is an Event", async || {
        let events = events(cluster, "told").await?;
        ensure!(events.iter().any(|(kind, reason, _)| kind == "Normal" && reason == "Synced"), "{events:?}");
        Ok(())
    })
    .await;
    world.annotate(Kind::Secret, "told", &json!({"mw-sync": "perhaps"})).await?;
    eventually(SOON, "the freeze is an Event", async || {
        let events = events(cluster, "told").await?;
        let frozen =
            events.iter().any(|(_, reason, note)| reason == "Frozen" && note.contains("\"perhaps\": write yes"));
        ensure!(frozen, "{events:?}");
        Ok(())
    })
    .await;
    let all = events(cluster, "told").await?;
    let reasons: BTreeSet<_> = all.iter().map(|(_, reason, _)| reason.as_str()).collect();
    assert_eq!((all.len(), reasons.len()), (3, 3), "one each: {all:?}");
    Ok(())
}
