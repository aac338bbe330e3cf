//! Copies that somebody else touches.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::Entry;

use crate::support::{AGENT, Kind, annotated, shared_agent, uid, version};

/// Promise 3.
#[tokio::test]
async fn a_copy_that_was_edited_or_deleted_is_restored() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    let edits = [
        json!({"data": {"a": "Mg=="}}),
        json!({"data": {"more": "Mg=="}}),
        json!({"data": null}),
        json!({"metadata": {"labels": {"team": "b"}}}),
        json!({"metadata": {"labels": {"team": null}}}),
        json!({"metadata": {"labels": {"mw-sync.io/source": null}}}),
        json!({"metadata": {"annotations": {"mw-sync.io/copied": "label:other"}}}),
        json!({"metadata": {"annotations": {"mw-sync.io/origin-uid": null}}}),
    ];
    let mut source = annotated(Kind::Secret, "drift", &json!({"a": "MQ=="}));
    source["metadata"]["labels"] = json!({"team": "a"});
    world.create(&source).await?;
    let mark = shared.cluster.audit().mark().await?;
    // Each in a place of its own: the fourth edit of one copy would not be undone at once.
    for (n, edit) in edits.iter().enumerate() {
        let namespace = format!("drift-{n}");
        world.namespace(&namespace).await?;
        let there = (Kind::Secret, &*namespace, "drift");
        let first = world.until_there(Kind::Secret, &namespace, "drift").await;
        let equal = |copy: &Value| {
            let (now, then) = (&copy["metadata"], &first["metadata"]);
            copy["data"] == first["data"]
                && now["labels"] == then["labels"]
                && now["annotations"] == then["annotations"]
        };
        let edited = world.merge(Kind::Secret, &namespace, "drift", edit).await?;
        assert!(!equal(&edited), "{edit} is an edit");
        let restored = world.until(there, format!("is restored after {edit}"), equal).await;
        assert_eq!(uid(&restored), uid(&first));
        world.delete(Kind::Secret, &namespace, "drift").await?;
        let anew = world.until(there, "is there again", |copy| uid(copy) != uid(&first)).await;
        assert!(equal(&anew), "{anew:#}");
    }
    // A busy machine makes some of the times long; a pause of our own would make all of them.
    let writes = shared.cluster.audit().since(mark).await?.resource("secrets").writes();
    let writes = writes.filter(|entry| entry.namespace.starts_with("drift-"));
    let by_us = |edit: &Entry| {
        // The log does not name what is created.
        let ours = |entry: &&Entry| entry.username == AGENT && ["", "drift"].contains(&&*entry.name);
        let same = |entry: &&Entry| entry.namespace == edit.namespace && ours(entry);
        let times = writes.each().filter(same).filter(|entry| entry.received > edit.received);
        times.map(|entry| entry.seconds_after(edit)).min_by(f64::total_cmp)
    };
    let mut took: Vec<f64> = writes.each().filter(|entry| entry.username != AGENT).filter_map(by_us).collect();
    took.sort_by(f64::total_cmp);
    println!("restored after {took:.3?} s");
    assert_eq!(took.len(), 2 * edits.len(), "{:#?}", writes.counts());
    assert!(took[edits.len() / 2] < 1.0 && took[edits.len()] < 5.0, "restored after {took:?} s");
    Ok(())
}

/// Promise 1: without our marks it is not ours any more.
#[tokio::test]
async fn a_copy_without_its_marks_is_never_touched_again() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    let strips = [
        ("stripped-label", json!({"metadata": {"labels": {"mw-sync.io/managed-by": null}}})),
        ("stripped-value", json!({"metadata": {"labels": {"mw-sync.io/managed-by": "somebody"}}})),
        ("stripped-origin", json!({"metadata": {"annotations": {"mw-sync.io/origin": null}}})),
        ("stripped-other", json!({"metadata": {"annotations": {"mw-sync.io/origin": "elsewhere/stripped"}}})),
    ];
    world.namespace("stripped").await?;
    let mut left = Vec::new();
    for (name, strip) in &strips {
        world.namespace(name).await?;
        left.push((*name, strip));
    }
    world.create(&annotated(Kind::ConfigMap, "stripped", &json!({"a": "1"}))).await?;
    let mut kept = Vec::new();
    for (name, strip) in left {
        world.until_there(Kind::ConfigMap, name, "stripped").await;
        let mut edit = strip.clone();
        edit["data"] = json!({"mine": "1"});
        kept.push((name, world.merge(Kind::ConfigMap, name, "stripped", &edit).await?));
    }
    shared.until_line("source=ConfigMap/stripped ", &["ForeignObject", "refused=4"]).await;
    // The source changes, goes and is switched off: theirs stay as they are.
    world.merge(Kind::ConfigMap, "operator", "stripped", &json!({"data": {"a": "2"}})).await?;
    world.until_data(Kind::ConfigMap, "stripped", "stripped", &json!({"a": "2"})).await;
    world.annotate(Kind::ConfigMap, "stripped", &json!({"mw-sync": "off"})).await?;
    world.until_gone(Kind::ConfigMap, "stripped", "stripped").await;
    for (namespace, was) in kept {
        let now = world.get(Kind::ConfigMap, namespace, "stripped").await?;
        assert_eq!((uid(&now), version(&now)), (uid(&was), version(&was)), "{namespace}");
    }
    Ok(())
}
