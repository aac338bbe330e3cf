//! What a master does in a remote cluster.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, ClusterOptions, shared};

use super::{Attempt, all_are_refused};
use crate::master::api;
use crate::master::stage::{Stage, apply, end, value};
use crate::support::{Kind, World};

const NAME: &str = "m-hardened";
const COPIES: &str = "mw-sync-copies";
const ADOPTION: &str = "mw-sync-adoption";
const TYPES: &str = "mw-sync-secret-types";

fn marked(name: &str, by: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {
            "name": name, "labels": {"mw-sync.io/managed-by": by},
            "annotations": {"mw-sync.io/origin": format!("management/{NAME}/{name}")}
        }
    })
}

/// What a thief of the master's access would do. `life` is a copy, `theirs` is somebody's.
fn attempts() -> Vec<Attempt> {
    let (all, theirs, life) = (api::secret(NAME, ""), api::secret(NAME, "theirs"), api::secret(NAME, "life"));
    let unmarked = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}});
    let mut other = marked("a", "master", "Opaque");
    other["metadata"]["name"] = "b".into();
    let origin = json!({"metadata": {"annotations": {"mw-sync.io/origin": "other/operator/life"}}});
    let taken = json!({"metadata": marked("theirs", "master", "Opaque")["metadata"]});
    vec![
        Attempt::create("without marks", COPIES, all.clone(), unmarked),
        Attempt::create("with an agent's", COPIES, all.clone(), marked("a", "agent", "Opaque")),
        Attempt::create("with another's", COPIES, all.clone(), other),
        Attempt::create("a kubeconfig", TYPES, all, marked("a", "master", "mw-sync.io/kubeconfig")),
        Attempt::patch("somebody's data", COPIES, theirs.clone(), json!({"data": {"a": "Mg=="}})),
        Attempt::patch("taking over", ADOPTION, theirs.clone(), taken),
        Attempt::delete("somebody's Secret", COPIES, theirs),
        Attempt::patch("a copy as another cluster's", COPIES, life.clone(), origin),
        Attempt::patch(
            "a copy without marks",
            COPIES,
            life,
            json!({"metadata": {"labels": {"mw-sync.io/managed-by": null}}}),
        ),
    ]
}

/// Creates, updates, makes anew, takes over, releases, takes back and deletes.
#[tokio::test]
async fn a_master_lives_and_its_access_is_good_for_nothing_else() -> Result<()> {
    let (management, remote) = tokio::try_join!(shared("management"), Cluster::start(ClusterOptions::default()))?;
    let stage = Stage::new(&management, NAME).await?;
    let access = stage.prepare(&remote).await?;
    apply(&remote, "hardening.yaml", NAME).await?;
    World::of(&remote)
        .create(&json!({
            "apiVersion": "v1", "kind": "Secret", "data": {"a": "MQ=="}, "metadata": {"name": "theirs", "namespace": NAME}
        }))
        .await?;
    let master = stage.master(&[]).await?;
    stage.join("there", &access).await?;
    stage.source("life", "1").await?;
    let first = stage.copy_is(&remote, "life", |copy| value(copy) == "1").await;
    all_are_refused(&World::with(&remote, &access), &attempts()).await;
    // The same by the group that an access entry of EKS names, whatever else it may.
    let as_group = ["--as=a-role", "--as-group=mw-sync-master", "--as-group=system:masters"];
    let create = ["-n", NAME, "create", "configmap", "mine", "--dry-run=server"];
    let denied = remote.kubectl(&[&create[..], &as_group].concat()).await.expect_err("no marks").to_string();
    ensure!(denied.contains("ValidatingAdmissionPolicy 'mw-sync-copies'"), "{denied}");

    stage.set("life", "2").await?;
    stage.copy_is(&remote, "life", |copy| value(copy) == "2").await;
    api::merge(&management, &stage.path("life"), &json!({"immutable": true})).await?;
    stage.copy_is(&remote, "life", |copy| copy["immutable"] == true).await;
    api::delete(&management, &stage.path("life")).await?;
    stage.source("life", "3").await?;
    let second = stage.copy_is(&remote, "life", |copy| value(copy) == "3").await;
    ensure!(second["metadata"]["uid"] != first["metadata"]["uid"], "it was immutable");
    end(&master).await?;

    // Made by an earlier incarnation.
    let (old, new) =
        ("11111111-0000-4000-8000-000000000001", &second["metadata"]["annotations"]["mw-sync.io/origin-uid"]);
    let incarnation = json!({"metadata": {"annotations": {"mw-sync.io/origin-uid": old}}});
    api::merge(&remote, &stage.path("life"), &incarnation).await?;
    let master = stage.master(&["--take-over", old]).await?;
    stage.copy_is(&remote, "life", |copy| copy["metadata"]["annotations"]["mw-sync.io/origin-uid"] == *new).await;

    let ours = |copy: &Value| copy["metadata"]["labels"]["mw-sync.io/managed-by"] == "master";
    stage.annotate("life", json!({"mw-sync": "no", "mw-sync.io/on-delete": "retain"})).await?;
    stage.copy_is(&remote, "life", |copy| !ours(copy)).await;
    stage.annotate("life", json!({"mw-sync": "yes", "mw-sync.io/on-delete": null})).await?;
    stage.copy_is(&remote, "life", ours).await;
    stage.annotate("life", json!({"mw-sync": "no"})).await?;
    stage.copy_is_gone(&remote, "life").await;
    ensure!(World::of(&remote).get(Kind::Secret, NAME, "theirs").await?["data"] == json!({"a": "MQ=="}));
    end(&master).await?;
    remote.stop().await;
    Ok(())
}
