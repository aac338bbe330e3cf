//! What a copy carries beside its data.

use anyhow::Result;
use serde_json::{Value, json};

use crate::support::{Kind, annotated, shared_agent, uid};

/// DESIGN section 3, exactly; promise 6 for the annotations, which may hold a payload (kubectl's last-applied).
#[tokio::test]
async fn a_copy_carries_labels_and_marks_and_nothing_else() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    world.namespace("marks").await?;
    let mut source = annotated(Kind::Secret, "marks", &json!({"a": "MQ=="}));
    source["metadata"]["labels"] = json!({
        "team": "payments", "app.kubernetes.io/name": "registry", "app.kubernetes.io/instance": "prod",
        "app.kubernetes.io/managed-by": "Helm", "argocd.argoproj.io/instance": "a", "helm.sh/chart": "c",
        "kustomize.toolkit.fluxcd.io/name": "f", "olm.owner": "o", "reconcile.external-secrets.io/managed": "true"
    });
    source["metadata"]["annotations"] = json!({
        "mw-sync": "yes", "note": "n", "kubectl.kubernetes.io/last-applied-configuration": "{}"
    });
    source["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.create(&source).await?;
    let operator = world.get(Kind::Namespace, "", "operator").await?;
    let copy = world.until_there(Kind::Secret, "marks", "marks").await;
    let expected = json!({
        "team": "payments", "app.kubernetes.io/name": "registry",
        "mw-sync.io/managed-by": "agent", "mw-sync.io/source": "marks"
    });
    assert_eq!(copy["metadata"]["labels"], expected);
    let expected = json!({
        "mw-sync.io/origin": "operator/marks", "mw-sync.io/origin-uid": uid(&operator),
        "mw-sync.io/copied": "label:app.kubernetes.io/name,label:team"
    });
    assert_eq!(copy["metadata"]["annotations"], expected);
    assert!(copy["metadata"]["finalizers"].is_null() && copy["metadata"]["ownerReferences"].is_null(), "{copy:#}");
    world.merge(Kind::Secret, "operator", "marks", &json!({"metadata": {"finalizers": null}})).await?;
    Ok(())
}

/// Promise 3: an API server takes even an empty map for a change of an immutable object.
#[tokio::test]
async fn labels_of_immutable_copies_follow() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    world.namespace("immutable").await?;
    for (kind, name, data) in [
        (Kind::ConfigMap, "immutable-data", json!({"a": "1"})),
        (Kind::ConfigMap, "immutable-empty", Value::Null),
        (Kind::Secret, "immutable-data", json!({"a": "MQ=="})),
        (Kind::Secret, "immutable-empty", Value::Null),
    ] {
        let mut source = annotated(kind, name, &data);
        source["immutable"] = true.into();
        world.create(&source).await?;
        let copy = world.until_there(kind, "immutable", name).await;
        world.merge(kind, "operator", name, &json!({"metadata": {"labels": {"team": "a"}}})).await?;
        let follows = |copy: &Value| copy["metadata"]["labels"]["team"] == "a";
        let now = world.until((kind, "immutable", name), "has the label", follows).await;
        assert_eq!((uid(&now), &now["data"]), (uid(&copy), &copy["data"]));
    }
    Ok(())
}

/// DESIGN section 3: a label dropped at the source is dropped at the copies; what others add survives.
#[tokio::test]
async fn labels_follow_the_source_and_those_of_others_survive() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    world.namespace("labels").await?;
    let mut source = annotated(Kind::ConfigMap, "labels", &json!({"a": "1"}));
    source["metadata"]["labels"] = json!({"kept": "1", "dropped": "1"});
    world.create(&source).await?;
    world.until_there(Kind::ConfigMap, "labels", "labels").await;
    let theirs = json!({"metadata": {"labels": {"theirs": "l"}, "annotations": {"theirs": "a"}}});
    world.merge(Kind::ConfigMap, "labels", "labels", &theirs).await?;

    let change = json!({"metadata": {"labels": {"kept": "2", "dropped": null, "new": "1"}}});
    world.merge(Kind::ConfigMap, "operator", "labels", &change).await?;
    let there = (Kind::ConfigMap, "labels", "labels");
    let copy = world.until(there, "has the new label", |copy| copy["metadata"]["labels"]["new"] == "1").await;
    let expected = json!({
        "kept": "2", "new": "1", "theirs": "l", "mw-sync.io/managed-by": "agent", "mw-sync.io/source": "labels"
    });
    assert_eq!(copy["metadata"]["labels"], expected);
    assert_eq!(copy["metadata"]["annotations"]["theirs"], "a");
    assert_eq!(copy["metadata"]["annotations"]["mw-sync.io/copied"], "label:kept,label:new");

    // All labels gone.
    world.merge(Kind::ConfigMap, "operator", "labels", &json!({"metadata": {"labels": null}})).await?;
    let copy = world.until(there, "lost them", |copy| copy["metadata"]["labels"]["kept"] == Value::Null).await;
    let expected = json!({"theirs": "l", "mw-sync.io/managed-by": "agent", "mw-sync.io/source": "labels"});
    assert_eq!(copy["metadata"]["labels"], expected);
    Ok(())
}
