//! Others that keep touching our copies: no war with them.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, Mark, eventually};

use crate::support::{AGENT, Kind, SOON, World, asking, shared_agent};

/// How often the agent has updated this object since then.
async fn updates(cluster: &Cluster, mark: Mark, namespace: &str, name: &str) -> Result<usize> {
    let updates = cluster.audit().since(mark).await?.user(AGENT).namespace(namespace).updates();
    Ok(updates.filter(|entry| entry.name == name).count())
}

/// Copied into the namespace of its name alone: elsewhere, what other scenarios do would be told of it.
fn source(kind: Kind, name: &str, data: &Value) -> Value {
    asking(kind, name, data, &json!({"mw-sync.io/namespaces": name}))
}

/// Promises 9 and 10: three times it is restored, then it is contested, which is said with who it was.
#[tokio::test]
async fn a_copy_that_is_changed_again_and_again_is_contested() -> Result<()> {
    let shared = shared_agent().await?;
    let (cluster, world) = (&shared.cluster, &shared.world);
    world.namespace("rivals-edit").await?;
    world.create(&source(Kind::Secret, "rivals-edit", &json!({"a": "MQ=="}))).await?;
    world.until_there(Kind::Secret, "rivals-edit", "rivals-edit").await;
    let mark = cluster.audit().mark().await?;
    let theirs = async || {
        let patch = "{\"data\":{\"a\":\"eA==\"}}";
        let of = ["-n", "rivals-edit", "patch", "secret", "rivals-edit", "--field-manager=their-controller"];
        cluster.kubectl(&[&of[..], &["--type=merge", "-p", patch]].concat()).await
    };
    for _ in 0..3 {
        theirs().await?;
        world.until_data(Kind::Secret, "rivals-edit", "rivals-edit", &json!({"a": "MQ=="})).await;
    }
    theirs().await?;
    world.until_said(Kind::Secret, "rivals-edit", "Contested", &["\"their-controller\""]).await;
    world.until_data(Kind::Secret, "rivals-edit", "rivals-edit", &json!({"a": "eA=="})).await;
    assert_eq!(updates(cluster, mark, "rivals-edit", "rivals-edit").await?, 3);
    // A new version of the source is written there, once.
    world.merge(Kind::Secret, "operator", "rivals-edit", &json!({"data": {"a": "Mg=="}})).await?;
    world.until_data(Kind::Secret, "rivals-edit", "rivals-edit", &json!({"a": "Mg=="})).await;
    theirs().await?;
    world.until_said(Kind::Secret, "rivals-edit", "Contested", &["\"their-controller\""]).await;
    assert_eq!(updates(cluster, mark, "rivals-edit", "rivals-edit").await?, 4);
    // And an explicit `no` takes it away.
    world.annotate(Kind::Secret, "rivals-edit", &json!({"mw-sync": "no"})).await?;
    world.until_gone(Kind::Secret, "rivals-edit", "rivals-edit").await;
    Ok(())
}

/// Promise 9: a script that deletes whatever stands there.
#[tokio::test]
async fn a_copy_that_is_deleted_in_a_loop_is_contested() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    world.namespace("rivals-loop").await?;
    world.create(&source(Kind::Secret, "rivals-loop", &json!({"a": "MQ=="}))).await?;
    let (begin, mut said, mut deleted) = (Instant::now(), None::<Instant>, 0);
    // Time enough for a hundred more.
    while said.is_none_or(|said| said.elapsed() < Duration::from_secs(5)) {
        if world.find(Kind::Secret, "rivals-loop", "rivals-loop").await?.is_some() {
            world.delete(Kind::Secret, "rivals-loop", "rivals-loop").await?;
            deleted += 1;
        }
        if said.is_none()
            && world.events(Kind::Secret, "rivals-loop").await?.iter().any(|said| said.reason == "Contested")
        {
            said = Some(Instant::now());
        }
        ensure!(begin.elapsed() < SOON, "never contested");
    }
    assert_eq!(deleted, 4, "the first and three restorations");
    world.annotate(Kind::Secret, "rivals-loop", &json!({"mw-sync": "no"})).await?;
    Ok(())
}

/// Changes copies of this name as they are written, in the namespace of the same name.
fn policy(name: &str, changes: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail", "reinvocationPolicy": "Never",
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                    "resourceRules": [{
                        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                        "resources": ["secrets"]
                    }]
                },
                "matchConditions": [{"name": "name", "expression": format!("object.metadata.name == '{name}'")}],
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": changes}}]
            }
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name}
        }
    ]})
}

/// Makes a namespace where such a policy acts on whatever has the label `probe`, and returns when it does.
async fn in_force(cluster: &Cluster, name: &str, changes: &str, has_changed: impl Fn(&Value) -> bool) -> Result<()> {
    let world = World::of(cluster);
    world.namespace(name).await?;
    for object in policy(name, changes)["items"].as_array().into_iter().flatten() {
        cluster.apply(&object.to_string()).await?;
    }
    let probe = json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "MQ=="},
        "metadata": {"name": name, "namespace": name, "labels": {"mw-sync.io/managed-by": "probe"}}});
    eventually(SOON, "the policy is in force", async || {
        let made = world.create(&probe).await?;
        world.delete(Kind::Secret, name, name).await?;
        ensure!(has_changed(&made), "it is not");
        Ok(())
    })
    .await;
    Ok(())
}

/// Promises 9 and 10: what admission changes is written once per version of the source.
#[tokio::test]
async fn a_copy_that_admission_changes_is_not_written_for_ever() -> Result<()> {
    let shared = shared_agent().await?;
    let (cluster, world) = (&shared.cluster, &shared.world);
    let changes = r#"[JSONPatch{op: "add", path: "/data/theirs", value: "eA=="}]"#;
    in_force(cluster, "rivals-policy", changes, |made| made["data"]["theirs"] == "eA==").await?;
    let mark = cluster.audit().mark().await?;
    world.create(&source(Kind::Secret, "rivals-policy", &json!({"a": "MQ=="}))).await?;
    world.until_said(Kind::Secret, "rivals-policy", "Mutated", &["exempt our field manager"]).await;
    world.merge(Kind::Secret, "operator", "rivals-policy", &json!({"data": {"a": "Mg=="}})).await?;
    world.until_data(Kind::Secret, "rivals-policy", "rivals-policy", &json!({"a": "Mg==", "theirs": "eA=="})).await;
    assert_eq!(updates(cluster, mark, "rivals-policy", "rivals-policy").await?, 1, "one write for each version");
    world.annotate(Kind::Secret, "rivals-policy", &json!({"mw-sync": "no"})).await?;
    world.until_gone(Kind::Secret, "rivals-policy", "rivals-policy").await;
    Ok(())
}

/// Promises 1 and 10: what admission takes our mark off is not ours, and is not taken for a copy.
#[tokio::test]
async fn a_copy_that_admission_takes_the_mark_off_is_refused() -> Result<()> {
    let shared = shared_agent().await?;
    let (cluster, world) = (&shared.cluster, &shared.world);
    let changes = r#"[JSONPatch{op: "remove", path: "/metadata/labels/mw-sync.io~1managed-by"}]"#;
    in_force(cluster, "rivals-unmarked", changes, |made| made["metadata"]["labels"].is_null()).await?;
    world.create(&source(Kind::Secret, "rivals-unmarked", &json!({"a": "MQ=="}))).await?;
    world.until_said(Kind::Secret, "rivals-unmarked", "Rejected", &["has not our label mw-sync.io/managed-by"]).await;
    world.until_said(Kind::Secret, "rivals-unmarked", "ForeignObject", &["rivals-unmarked"]).await;
    // Whoever mends it has a copy.
    cluster.kubectl(&["delete", "mutatingadmissionpolicy", "rivals-unmarked"]).await?;
    cluster.kubectl(&["delete", "mutatingadmissionpolicybinding", "rivals-unmarked"]).await?;
    eventually(SOON, "the policy is in force no more, and the copy is ours", async || {
        let copy = world.get(Kind::Secret, "rivals-unmarked", "rivals-unmarked").await?;
        if copy["metadata"]["labels"]["mw-sync.io/managed-by"] != "agent" {
            world.delete(Kind::Secret, "rivals-unmarked", "rivals-unmarked").await?;
            bail!("it is {copy:#}");
        }
        Ok(())
    })
    .await;
    world.annotate(Kind::Secret, "rivals-unmarked", &json!({"mw-sync": "no"})).await?;
    world.until_gone(Kind::Secret, "rivals-unmarked", "rivals-unmarked").await;
    Ok(())
}

/// Promises 9 and 10: a script that keeps writing a source makes no storm of writes.
#[tokio::test]
async fn a_source_that_changes_all_the_time_is_written_now_and_then() -> Result<()> {
    let shared = shared_agent().await?;
    let (cluster, world) = (&shared.cluster, &shared.world);
    world.namespace("rivals-busy").await?;
    world.create(&source(Kind::ConfigMap, "rivals-busy", &json!({"n": "0"}))).await?;
    world.until_there(Kind::ConfigMap, "rivals-busy", "rivals-busy").await;
    let mark = cluster.audit().mark().await?;
    let (begin, mut n) = (Instant::now(), 0_u64);
    while begin.elapsed() < Duration::from_secs(25) {
        n += 1;
        world.merge(Kind::ConfigMap, "operator", "rivals-busy", &json!({"data": {"n": n.to_string()}})).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The last one arrives too.
    world.until_data(Kind::ConfigMap, "rivals-busy", "rivals-busy", &json!({"n": n.to_string()})).await;
    let written = updates(cluster, mark, "rivals-busy", "rivals-busy").await?;
    let most = 3 + usize::try_from(begin.elapsed().as_secs())? / 10;
    assert!((2..=most).contains(&written), "{n} changes are written {written} times in {:?}", begin.elapsed());
    eventually(SOON, "an Event says that it is busy", async || {
        let of = "--field-selector=involvedObject.kind=ConfigMap,involvedObject.name=rivals-busy";
        let list = cluster.kubectl(&["-n", "operator", "get", "events", of]).await?;
        ensure!(list.contains("SourceBusy"), "{list}");
        anyhow::Ok(())
    })
    .await;
    world.annotate(Kind::ConfigMap, "rivals-busy", &json!({"mw-sync": "no"})).await?;
    world.until_gone(Kind::ConfigMap, "rivals-busy", "rivals-busy").await;
    Ok(())
}
