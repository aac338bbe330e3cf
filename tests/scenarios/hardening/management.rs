//! What a master does in its own cluster.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, ClusterOptions, eventually};

use super::{Attempt, all_are_refused, no_warnings};
use crate::master::api;
use crate::master::stage::{SOON, Stage, apply, define, end};
use crate::support::World;

const NAME: &str = "operator";
const CLUSTERS: &str = "mw-sync-remote-clusters";

/// What a ClusterDiscovery of this kubeconfig finds.
fn contexts(names: &[&str]) -> String {
    let cluster = json!({ "server": "https://127.0.0.1:1", "certificate-authority-data": "eA==" });
    let context = |name: &&str| json!({ "name": name, "context": { "cluster": "c", "user": "u" } });
    let all = json!({
        "apiVersion": "v1", "kind": "Config", "clusters": [{ "name": "c", "cluster": cluster }],
        "users": [{ "name": "u", "user": { "token": "x" } }],
        "contexts": names.iter().map(context).collect::<Vec<_>>(),
    });
    all.to_string()
}

fn spec(name: &str) -> Value {
    json!({ "kubeconfig": { "secretName": "all", "context": name }, "namespace": NAME })
}

/// What a thief of the master's token would do. `mine` is a person's, `a` a ClusterDiscovery's.
fn attempts() -> Vec<Attempt> {
    let at = |name: &str| api::remote_cluster(NAME, name);
    let object = |labels: Value, more: Value| {
        let mut spec = spec("elsewhere");
        spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        let metadata = json!({ "name": "new", "labels": labels });
        json!({ "apiVersion": "mw-sync.io/v1alpha1", "kind": "RemoteCluster", "metadata": metadata, "spec": spec })
    };
    let found = json!({ "mw-sync.io/discovered-by": "fleet" });
    let create = |what, object| Attempt::create(what, CLUSTERS, at(""), object);
    let patch = |what, name: &str, body| Attempt::patch(what, CLUSTERS, at(name), body);
    vec![
        create("one of nobody's", object(json!({}), json!({}))),
        create("one that takes copies away", object(found.clone(), json!({ "onRemove": "Delete" }))),
        create("one by a proxy", object(found.clone(), json!({ "proxyURL": "http://proxy:3128" }))),
        Attempt::delete("a person's", CLUSTERS, at("mine")),
        patch("making a person's its own", "mine", json!({ "metadata": { "labels": found } })),
        patch("a person's label", "mine", json!({ "metadata": { "labels": { "env": "prod" } } })),
        patch("an annotation", "mine", json!({ "metadata": { "annotations": { "mw-sync.io/abandon": "yes" } } })),
        patch("a person's spec", "mine", json!({ "spec": { "suspend": true } })),
        patch("a finalizer of others", "mine", json!({ "metadata": { "finalizers": null } })),
        patch("the mark", "a", json!({ "metadata": { "labels": { "mw-sync.io/discovered-by": null } } })),
        patch("approval", "a", json!({ "spec": { "suspend": false } })),
        patch("removal", "a", json!({ "spec": { "onRemove": "Delete" } })),
        patch("a proxy", "a", json!({ "spec": { "proxyURL": "http://proxy:3128" } })),
        patch("another's finalizer", "a", json!({ "metadata": { "finalizers": ["example.com/hold"] } })),
    ]
}

async fn cluster_is(stage: &Stage<'_>, name: &str, what: &str, like: impl Fn(&Value) -> bool) {
    eventually(SOON, format!("{name}: {what}"), async || {
        let object = api::get(stage.management, &api::remote_cluster(NAME, name)).await?.context("it is not there")?;
        ensure!(like(&object), "{object:#}");
        Ok(())
    })
    .await;
}

/// Makes, changes, marks and deletes what is discovered; sets finalizers and statuses of whatever there is.
#[tokio::test]
async fn a_master_keeps_its_remote_clusters_and_its_token_is_good_for_no_others() -> Result<()> {
    let management = Cluster::start(ClusterOptions::default()).await?;
    define(&management).await?;
    let stage = Stage::without_crd(&management, NAME).await?;
    apply(&management, "hardening.yaml", NAME).await?;
    stage.kubeconfig("all", &contexts(&["a", "b", "c", "d"])).await?;
    stage.kubeconfig("mine", &contexts(&["x"])).await?;
    let mine = json!({ "kubeconfig": { "secretName": "mine" }, "namespace": NAME, "onRemove": "Delete" });
    stage.remote_cluster_by("mine", &mine).await?;
    let hold = json!({ "metadata": { "finalizers": ["example.com/hold"] } });
    api::merge(&management, &api::remote_cluster(NAME, "mine"), &hold).await?;
    // Before it acts, for the first thing that it does is refused or not.
    let access = management.service_account(NAME, "mw-sync-master").await?;
    let made = Attempt::create(
        "one of nobody's",
        CLUSTERS,
        api::remote_cluster(NAME, ""),
        json!({
            "apiVersion": "mw-sync.io/v1alpha1", "kind": "RemoteCluster", "metadata": { "name": "x" }, "spec": spec("x"),
        }),
    );
    all_are_refused(&World::with(&management, &access), &[made]).await;

    let master = stage.master(&[]).await?;
    let discovery = json!({ "kubeconfig": { "secretName": "all" }, "namespace": NAME, "approval": "Manual" });
    stage.discovery("fleet", &discovery).await?;
    stage.discovers("fleet", "Listed", 4).await;
    stage.clusters_are(&["a", "b", "c", "d", "mine"]).await;
    stage.is("a", "Suspended").await;
    all_are_refused(&World::with(&management, &access), &attempts()).await;
    no_warnings(&management).await?;

    // A person's: its status, and the finalizer in and out, beside somebody else's.
    let finalizers = |object: &Value| object["metadata"]["finalizers"].clone();
    let both = json!(["example.com/hold", "mw-sync.io/remove-copies"]);
    cluster_is(&stage, "mine", "it is kept", |object| finalizers(object) == both).await;
    stage.is("mine", "KubeconfigInvalid").await;
    stage.change("mine", json!({ "onRemove": "Retain" })).await?;
    cluster_is(&stage, "mine", "it is not", |object| finalizers(object) == json!(["example.com/hold"])).await;

    // What was discovered: kept, noted as not listed, listed again, and deleted for a person's sake.
    stage.change("a", json!({ "onRemove": "Delete" })).await?;
    cluster_is(&stage, "a", "it is kept", |object| finalizers(object) == json!(["mw-sync.io/remove-copies"])).await;
    stage.kubeconfig("all", &contexts(&["a", "b", "c"])).await?;
    let since = |object: &Value| object["metadata"]["annotations"]["mw-sync.io/not-listed-since"].clone();
    cluster_is(&stage, "d", "it is not listed", |object| since(object).is_string()).await;
    stage.kubeconfig("all", &contexts(&["a", "b", "c", "d"])).await?;
    cluster_is(&stage, "d", "it is listed again", |object| since(object).is_null()).await;
    stage.remote_cluster_by("by-hand", &spec("b")).await?;
    stage.clusters_are(&["a", "by-hand", "c", "d", "mine"]).await;
    ensure!(!master.stderr().contains("denied"), "{}", master.log_tail(40));
    end(&master).await?;
    management.stop().await;
    Ok(())
}
