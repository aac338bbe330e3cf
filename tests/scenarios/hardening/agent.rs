//! The agent.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, ClusterOptions};

use super::{Attempt, all_are_refused, no_warnings};
use crate::support::{Kind, SOON, World, asking, install, spawn, uid};

const COPIES: &str = "mw-sync-copies";
const ADOPTION: &str = "mw-sync-adoption";
const TYPES: &str = "mw-sync-secret-types";
const ACCOUNTS: &str = "mw-sync-service-accounts";

fn secrets(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/{name}").trim_end_matches('/').to_owned()
}

fn marked(name: &str, origin: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {
            "name": name, "labels": {"mw-sync.io/managed-by": "agent"},
            "annotations": {"mw-sync.io/origin": origin, "kubernetes.io/service-account.name": "default"}
        }
    })
}

fn pull(name: &str, options: &Value) -> Value {
    let mut source = asking(Kind::Secret, name, &json!({".dockerconfigjson": "eyJhdXRocyI6e319"}), options);
    source["type"] = "kubernetes.io/dockerconfigjson".into();
    source
}

/// What a thief of the agent's token would do. `life` is a copy in `default`, all else is somebody's.
fn attempts() -> Vec<Attempt> {
    let theirs = secrets("default", "theirs");
    let account = "/api/v1/namespaces/default/serviceaccounts/robot";
    let take = json!({
        "metadata": {"labels": {"mw-sync.io/managed-by": "agent"},
                     "annotations": {"mw-sync.io/origin": "operator/theirs", "mw-sync.io/adopted": "adopt"}}
    });
    let unmarked = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}});
    let annotate = |key: &str, value: Value| json!({"metadata": {"annotations": {key: value}}});
    let entries = |names: &[&str]| names.iter().map(|name| json!({ "name": name })).collect::<Value>();
    vec![
        Attempt::create("without marks", COPIES, secrets("default", ""), unmarked),
        Attempt::create("another's marks", COPIES, secrets("default", ""), marked("a", "operator/b", "Opaque")),
        Attempt::create("another source", COPIES, secrets("default", ""), marked("a", "other/a", "Opaque")),
        Attempt::create("a source", COPIES, secrets("operator", ""), marked("a", "operator/a", "Opaque")),
        Attempt::create(
            "the token of an account",
            TYPES,
            secrets("default", ""),
            marked("a", "operator/a", "kubernetes.io/service-account-token"),
        ),
        Attempt::patch("somebody's data", COPIES, theirs.clone(), json!({"data": {"a": "Mg=="}})),
        Attempt::patch("taking over", ADOPTION, theirs.clone(), take),
        Attempt::delete("somebody's Secret", COPIES, theirs),
        Attempt::delete("the source", COPIES, secrets("operator", "life")),
        Attempt::patch("the source's data", COPIES, secrets("operator", "life"), json!({"data": {"a": "Mg=="}})),
        Attempt::patch(
            "a copy without marks",
            COPIES,
            secrets("default", "life"),
            json!({"metadata": {"labels": {"mw-sync.io/managed-by": null}}}),
        ),
        Attempt::patch(
            "a copy as a master's",
            COPIES,
            secrets("default", "life"),
            json!({"metadata": {"labels": {"mw-sync.io/managed-by": "master"}}}),
        ),
        Attempt::patch(
            "a master's copy",
            ADOPTION,
            secrets("default", "masters"),
            json!({"metadata": marked("masters", "operator/masters", "Opaque")["metadata"]}),
        ),
        Attempt::delete("its notes", COPIES, "/api/v1/namespaces/operator/configmaps/mw-sync-agent"),
        Attempt::patch(
            "a role",
            ACCOUNTS,
            account,
            annotate("eks.amazonaws.com/role-arn", "arn:aws:iam::1:role/a".into()),
        ),
        Attempt::patch("somebody's annotation", ACCOUNTS, account, annotate("example.com/theirs", Value::Null)),
        Attempt::patch("a label", ACCOUNTS, account, json!({"metadata": {"labels": {"a": "b"}}})),
        Attempt::patch("mounting", ACCOUNTS, account, json!({"automountServiceAccountToken": true})),
        Attempt::patch("Secrets", ACCOUNTS, account, json!({"secrets": [{"name": "life"}]})),
        Attempt::patch("out", ACCOUNTS, account, json!({"imagePullSecrets": entries(&["puller"])})),
        Attempt::patch("in", ACCOUNTS, account, json!({"imagePullSecrets": entries(&["x", "puller", "life"])})),
    ]
}

/// Creates, updates, repairs, makes anew, releases, takes back and deletes.
async fn whole_life(world: &World) -> Result<()> {
    let both = ["default", "kube-system"];
    let copies = both.map(|namespace| (Kind::Secret, namespace, "life"));
    let first = world.until_there(Kind::Secret, "default", "life").await;
    for copy in copies {
        let (kind, namespace, name) = copy;
        world.merge(kind, namespace, name, &json!({"data": {"drift": "MQ=="}})).await?;
        world.until(copy, "is repaired", |copy| copy["data"] == first["data"]).await;
    }
    // Another type is another Secret.
    world.delete(Kind::Secret, "operator", "life").await?;
    let mut other = asking(Kind::Secret, "life", &json!({"a": "MQ=="}), &json!({"mw-sync.io/on-delete": "retain"}));
    world.create(&other).await?;
    // In both before the next is asked for: a copy that is released, and not taken back, is not ours to delete.
    for copy in copies {
        world.until(copy, "is anew", |copy| copy["type"] == "Opaque").await;
    }
    let second = world.get(Kind::Secret, "default", "life").await?;
    ensure!(uid(&second) != uid(&first));

    let free = |copy: &Value| copy["metadata"]["labels"]["mw-sync.io/managed-by"].is_null();
    world.annotate(Kind::Secret, "life", &json!({"mw-sync": "no"})).await?;
    for copy in copies {
        world.until(copy, "is released", free).await;
    }
    world.annotate(Kind::Secret, "life", &json!({"mw-sync": "yes", "mw-sync.io/on-delete": null})).await?;
    for copy in copies {
        world.until(copy, "is taken back", |copy| !free(copy)).await;
    }
    ensure!(uid(&world.get(Kind::Secret, "default", "life").await?) == uid(&second));
    other["kind"] = "ConfigMap".into();
    world.create(&other).await?;
    world.until_there(Kind::ConfigMap, "default", "life").await;
    for kind in [Kind::Secret, Kind::ConfigMap] {
        world.annotate(kind, "life", &json!({"mw-sync": "no", "mw-sync.io/on-delete": null})).await?;
        for namespace in both {
            world.until_gone(kind, namespace, "life").await;
        }
    }
    Ok(())
}

/// Nothing is taken over, until the binding is left out.
async fn adoption(cluster: &Cluster, world: &World) -> Result<()> {
    let there = (Kind::Secret, "default", "theirs");
    let options = json!({"mw-sync.io/on-conflict": "adopt", "mw-sync.io/namespaces": "default"});
    world.create(&asking(Kind::Secret, "theirs", &json!({"a": "Mg=="}), &options)).await?;
    world.until_said(Kind::Secret, "theirs", "Rejected", &[ADOPTION]).await;
    let copy = world.get(Kind::Secret, "default", "theirs").await?;
    ensure!(copy["data"] == json!({"a": "MQ=="}) && copy["metadata"]["labels"].is_null(), "{copy:#}");
    cluster.kubectl(&["delete", "validatingadmissionpolicybinding", ADOPTION]).await?;
    let taken = world.until(there, "is taken over", |copy| copy["data"] == json!({"a": "Mg=="})).await;
    ensure!(uid(&taken) == uid(&copy));
    world.annotate(Kind::Secret, "theirs", &json!({"mw-sync": "no"})).await?;
    world.until(there, "is given back", |copy| copy["metadata"]["labels"].is_null()).await;
    Ok(())
}

#[tokio::test]
async fn an_agent_lives_and_its_token_is_good_for_nothing_else() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let world = World::of(&cluster);
    let kubeconfig = install(&cluster).await?;
    for file in ["deploy/agent-service-accounts.yaml", "deploy/hardening.yaml"] {
        cluster.kubectl(&["apply", "-f", file]).await?;
    }
    let mut theirs = json!({
        "apiVersion": "v1", "kind": "Secret", "data": {"a": "MQ=="},
        "metadata": {"name": "theirs", "namespace": "default"}
    });
    world.create(&theirs).await?;
    theirs["metadata"] = json!({
        "name": "masters", "namespace": "default", "labels": {"mw-sync.io/managed-by": "master"},
        "annotations": {"mw-sync.io/origin": "management/operator/masters"}
    });
    world.create(&theirs).await?;
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "imagePullSecrets": [{"name": "x"}],
        "automountServiceAccountToken": false,
        "metadata": {"name": "robot", "namespace": "default", "annotations": {"example.com/theirs": "x"}}
    });
    world.create(&account).await?;

    let agent = spawn(&kubeconfig, &["--delete-grace=1s", "--allow-adopt"]).await?;
    world.create(&pull("life", &json!({}))).await?;
    world.until_there(Kind::Secret, "default", "life").await;
    world.create(&pull("puller", &json!({"mw-sync.io/image-pull-secret": "*"}))).await?;
    let entries = |names: &'static [&str]| {
        move |account: &Value| {
            let entries = account["imagePullSecrets"].as_array().map(Vec::as_slice).unwrap_or_default();
            entries.iter().map(|entry| entry["name"].as_str().unwrap_or_default()).eq(names.iter().copied())
        }
    };
    let robot = (Kind::ServiceAccount, "default", "robot");
    world.until(robot, "pulls with the copy", entries(&["x", "puller"])).await;

    let access = cluster.service_account("operator", "mw-sync-agent").await?;
    all_are_refused(&World::with(&cluster, &access), &attempts()).await;
    no_warnings(&cluster).await?;

    whole_life(&world).await?;
    world.annotate(Kind::Secret, "puller", &json!({"mw-sync": "no"})).await?;
    world.until(robot, "pulls with theirs alone", entries(&["x"])).await;
    adoption(&cluster, &world).await?;
    agent.terminate();
    ensure!(agent.wait_exit(SOON).await?.success(), "it ends well:\n{}", agent.stderr());
    cluster.stop().await;
    Ok(())
}
