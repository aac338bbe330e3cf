//! `image-pull-secret`: entries in `imagePullSecrets` of ServiceAccounts, and none of anybody else's touched.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, ClusterOptions, Process, eventually};

use crate::support::{AGENT, Kind, SOON, World, asking, install, spawn, version};

const OPTION: &str = "mw-sync.io/image-pull-secret";
const RECORD: &str = "mw-sync.io/added-pull-secrets";
const GRACE: &str = "--delete-grace=3s";

/// A pull secret that is copied, with these annotations beside.
fn credential(name: &str, options: &Value) -> Value {
    let mut source = asking(Kind::Secret, name, &json!({".dockerconfigjson": "eyJhdXRocyI6e319"}), options);
    source["type"] = "kubernetes.io/dockerconfigjson".into();
    source
}

fn account(namespace: &str, name: &str, entries: &[&str]) -> Value {
    let entries: Vec<_> = entries.iter().map(|name| json!({ "name": name })).collect();
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "imagePullSecrets": entries,
        "metadata": {"name": name, "namespace": namespace, "annotations": {"example.com/theirs": "x"}}
    })
}

fn entries(account: &Value) -> Vec<&str> {
    account["imagePullSecrets"].as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str()).collect()
}

/// The sources that the record on a ServiceAccount names.
fn recorded(account: &Value) -> Vec<&str> {
    let record = account["metadata"]["annotations"][RECORD].as_str().unwrap_or_default();
    record.split(',').filter_map(|mark| mark.split(':').next()).filter(|origin| !origin.is_empty()).collect()
}

async fn until_entries(world: &World, namespace: &str, name: &str, expected: &[&str], record: &[&str]) -> Value {
    let what = format!("lists {expected:?}, of which ours are {record:?}");
    let is = |account: &Value| entries(account) == expected && recorded(account) == record;
    world.until((Kind::ServiceAccount, namespace, name), what, is).await
}

/// A cluster on which the agent may do what this option needs.
async fn cluster() -> Result<(Cluster, World, std::path::PathBuf)> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let kubeconfig = install(&cluster).await?;
    cluster.apply_files(&["deploy/agent-service-accounts.yaml"]).await?;
    let world = World::of(&cluster);
    Ok((cluster, world, kubeconfig))
}

async fn until_logged(agent: &Process, words: &str) {
    // What it has found noted at its start it believes for a minute.
    eventually(2 * SOON, format!("the agent says: {words}"), async || {
        let log = agent.stderr();
        if log.contains(words) { Ok(()) } else { Err(log) }
    })
    .await;
}

/// Promises 1, 4 and 7, from the first entry to the last.
#[tokio::test]
async fn entries_come_stay_and_go_and_nobody_elses_do() -> Result<()> {
    let (cluster, world, kubeconfig) = cluster().await?;
    world.namespace("old").await?;
    for (name, theirs) in [("build-a", &["x", "y"][..]), ("build-own", &["regcred", "z"]), ("other", &["x"])] {
        world.create(&account("old", name, theirs)).await?;
    }
    let start = cluster.audit().mark().await?;
    let agent = spawn(&kubeconfig, &[GRACE]).await?;
    world.create(&credential("regcred", &json!({}))).await?;
    world.until_there(Kind::Secret, "old", "regcred").await;
    let asked = cluster.audit().since(start).await?.user(AGENT);
    let accounts = asked.clone().resource("serviceaccounts");
    assert_eq!(accounts.count(), 0, "no source asks for it: {:#?}", accounts.counts());
    let note = world.find(Kind::ConfigMap, "operator", "mw-sync-agent").await?;
    assert!(note.is_none_or(|note| note["data"]["pull-secrets"].is_null()));

    world.annotate(Kind::Secret, "regcred", &json!({OPTION: "default,build-*"})).await?;
    until_entries(&world, "old", "default", &["regcred"], &["operator/regcred"]).await;
    let built = until_entries(&world, "old", "build-a", &["x", "y", "regcred"], &["operator/regcred"]).await;
    assert_eq!(built["metadata"]["annotations"]["example.com/theirs"], "x");
    // Made by the controller manager after the namespace, and by somebody later still.
    world.namespace("new").await?;
    until_entries(&world, "new", "default", &["regcred"], &["operator/regcred"]).await;
    world.create(&account("new", "build-late", &["z"])).await?;
    until_entries(&world, "new", "build-late", &["z", "regcred"], &["operator/regcred"]).await;
    // Taken out by hand, and other entries moved.
    world.merge(Kind::ServiceAccount, "old", "build-a", &account("old", "build-a", &["y", "w", "x"])).await?;
    until_entries(&world, "old", "build-a", &["y", "w", "x", "regcred"], &["operator/regcred"]).await;
    let asked = cluster.audit().since(start).await?.user(AGENT).resource("serviceaccounts");
    // Streaming lists.
    let lists = asked.clone().filter(|entry| !entry.request_uri.contains("resourceVersion=")).verb("watch");
    assert_eq!((asked.clone().verb("list").count(), lists.count()), (0, 1), "{:#?}", asked.counts());
    assert_eq!(asked.clone().writes().filter(|entry| entry.name.contains("own") || entry.name == "other").count(), 0);

    // A restart has nothing to write, but for what is new.
    agent.terminate();
    ensure!(agent.wait_exit(SOON).await?.success(), "it ends well:\n{}", agent.stderr());
    let mark = cluster.audit().mark().await?;
    let agent = spawn(&kubeconfig, &[GRACE]).await?;
    world.namespace("fence").await?;
    until_entries(&world, "fence", "default", &["regcred"], &["operator/regcred"]).await;
    let summary = |entry: &testbed::Entry| entry.request_uri.contains("fieldManager=mw-sync-agent-summary");
    let elsewhere = |entry: &testbed::Entry| entry.namespace != "fence" && !summary(entry);
    let writes = cluster.audit().since(mark).await?.user(AGENT).writes().filter(elsewhere);
    assert_eq!(writes.count(), 0, "{:#?}", writes.entries());

    // An explicit `no`: the entries go, and then the Secrets.
    world.annotate(Kind::Secret, "regcred", &json!({"mw-sync": "no"})).await?;
    for namespace in ["old", "new", "fence", "default", "kube-system"] {
        world.until_gone(Kind::Secret, namespace, "regcred").await;
    }
    until_entries(&world, "old", "build-a", &["y", "w", "x"], &[]).await;
    until_entries(&world, "new", "build-late", &["z"], &[]).await;
    let bare = until_entries(&world, "old", "default", &[], &[]).await;
    assert_eq!(bare["metadata"]["annotations"], Value::Null);
    let own = world.get(Kind::ServiceAccount, "old", "build-own").await?;
    assert_eq!((entries(&own), recorded(&own)), (vec!["regcred", "z"], vec![]), "it was theirs");
    until_logged(&agent, "ServiceAccounts are not watched any more").await;
    let asked = cluster.audit().since(mark).await?.user(AGENT);
    let last_entry =
        asked.clone().resource("serviceaccounts").verb("patch").entries().iter().map(|e| e.at.clone()).max();
    let first_delete = asked.resource("secrets").verb("delete").entries().iter().map(|e| e.received.clone()).min();
    assert!(last_entry.is_some() && last_entry < first_delete, "{last_entry:?}, {first_delete:?}");
    let note = world.get(Kind::ConfigMap, "operator", "mw-sync-agent").await?;
    assert_eq!(note["data"]["pull-secrets"], Value::Null);

    // Nothing is asked of ServiceAccounts from now on.
    let mark = cluster.audit().mark().await?;
    world.create(&account("new", "build-last", &[])).await?;
    world.create(&credential("fence", &json!({}))).await?;
    world.until_there(Kind::Secret, "new", "fence").await;
    let asked = cluster.audit().since(mark).await?.user(AGENT).resource("serviceaccounts");
    let begun = asked.each().filter(|entry| entry.verb != "watch" || entry.stage == testbed::Stage::ResponseStarted);
    assert_eq!(begun.count(), 0, "{:#?}", asked.entries());
    cluster.stop().await;
    Ok(())
}

/// Promises 2, 3 and 8: what a process left behind is found by the next one, though no source asks for it any more.
#[tokio::test]
async fn what_is_left_over_is_found_after_a_kill() -> Result<()> {
    let (cluster, world, kubeconfig) = cluster().await?;
    world.namespace("left").await?;
    let agent = spawn(&kubeconfig, &[GRACE]).await?;
    let (deleted, unasked, retained) = ("deleted", "unasked", "retained");
    world.create(&credential(deleted, &json!({OPTION: "default"}))).await?;
    world.create(&credential(unasked, &json!({OPTION: "default"}))).await?;
    world.create(&credential(retained, &json!({OPTION: "default", "mw-sync.io/on-delete": "retain"}))).await?;
    let all = |account: &Value| entries(account).len() == 3;
    for namespace in ["left", "default"] {
        world.until((Kind::ServiceAccount, namespace, "default"), "lists all three", all).await;
        world.until_there(Kind::Secret, namespace, retained).await;
    }
    agent.kill9();
    agent.wait_exit(SOON).await?;
    world.delete(Kind::Secret, "operator", deleted).await?;
    world.annotate(Kind::Secret, unasked, &json!({OPTION: null})).await?;
    world.delete(Kind::Secret, "operator", retained).await?;

    let agent = spawn(&kubeconfig, &[GRACE]).await?;
    for namespace in ["left", "default"] {
        // What is retained is theirs from now on, Secret and entry.
        until_entries(&world, namespace, "default", &[retained], &[]).await;
        world.until_gone(Kind::Secret, namespace, deleted).await;
        world.get(Kind::Secret, namespace, unasked).await?;
        world.get(Kind::Secret, namespace, retained).await?;
    }
    until_logged(&agent, "ServiceAccounts are not watched any more").await;
    agent.terminate();
    ensure!(agent.wait_exit(SOON).await?.success(), "it ends well:\n{}", agent.stderr());

    // And the one after that has nothing to look for.
    let mark = cluster.audit().mark().await?;
    let _agent = spawn(&kubeconfig, &[GRACE]).await?;
    world.create(&credential("fence", &json!({}))).await?;
    world.until_there(Kind::Secret, "left", "fence").await;
    let asked = cluster.audit().since(mark).await?.user(AGENT).resource("serviceaccounts");
    assert_eq!(asked.count(), 0, "{:#?}", asked.counts());
    cluster.stop().await;
    Ok(())
}

/// Promise 8: an entry goes before its Secret where a namespace is selected no more, and nothing moves while a source is
/// frozen.
#[tokio::test]
async fn entries_follow_the_selection_and_rest_while_frozen() -> Result<()> {
    let (cluster, world, kubeconfig) = cluster().await?;
    world.labelled("in", &json!({"team": "a"})).await?;
    world.labelled("out", &json!({"team": "a"})).await?;
    // An entry goes in time before the grace is over, here 5 s.
    let _agent = spawn(&kubeconfig, &["--delete-grace=15s"]).await?;
    let options = json!({OPTION: "default", "mw-sync.io/namespace-selector": "team=a"});
    world.create(&credential("chosen", &options)).await?;
    for namespace in ["in", "out"] {
        until_entries(&world, namespace, "default", &["chosen"], &["operator/chosen"]).await;
        world.until_there(Kind::Secret, namespace, "chosen").await;
    }
    let elsewhere = world.get(Kind::ServiceAccount, "default", "default").await?;
    assert!(entries(&elsewhere).is_empty());
    let mark = cluster.audit().mark().await?;
    world.relabel("out", &json!({"team": "b"})).await?;
    world.until_gone(Kind::Secret, "out", "chosen").await;
    until_entries(&world, "out", "default", &[], &[]).await;
    let asked = cluster.audit().since(mark).await?.user(AGENT).namespace("out");
    let mut asked: Vec<_> = asked.each().collect();
    asked.sort_by_key(|entry| &entry.received);
    let order: Vec<_> = asked.iter().map(|entry| format!("{} {}", entry.verb, entry.resource)).collect();
    assert_eq!(order, ["patch serviceaccounts", "delete secrets"]);

    world.annotate(Kind::Secret, "chosen", &json!({"mw-sync.io/namespacez": "a"})).await?;
    world.until_said(Kind::Secret, "chosen", "Frozen", &["namespacez"]).await;
    let empty = json!({"imagePullSecrets": null});
    let emptied = world.merge(Kind::ServiceAccount, "in", "default", &empty).await?;
    world.relabel("out", &json!({"team": "a"})).await?;
    world.create(&credential("fence", &json!({OPTION: "builder"}))).await?;
    world.create(&account("in", "builder", &[])).await?;
    until_entries(&world, "in", "builder", &["fence"], &["operator/fence"]).await;
    assert_eq!(version(&world.get(Kind::ServiceAccount, "in", "default").await?), version(&emptied));
    let thaw = json!({"mw-sync.io/namespacez": null});
    world.annotate(Kind::Secret, "chosen", &thaw).await?;
    for namespace in ["in", "out"] {
        until_entries(&world, namespace, "default", &["chosen"], &["operator/chosen"]).await;
    }
    cluster.stop().await;
    Ok(())
}

/// Promises 5 and 10: without the opt-in right an Event says what to do, all else works, and it recovers by itself.
#[tokio::test]
async fn a_missing_right_is_said_and_comes_in_time() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let kubeconfig = install(&cluster).await?;
    let world = World::of(&cluster);
    let _agent = spawn(&kubeconfig, &[GRACE]).await?;
    world.create(&credential("unable", &json!({OPTION: "default"}))).await?;
    world.until_there(Kind::Secret, "default", "unable").await;
    let todo = "kubectl apply -f deploy/agent-service-accounts.yaml";
    let said =
        world.until_said(Kind::Secret, "unable", "Forbidden", &["imagePullSecrets", "serviceaccounts", todo]).await;
    println!("{said:?}");
    world.create(&credential("other", &json!({}))).await?;
    world.until_there(Kind::Secret, "default", "other").await;
    // Nothing was ever listed, so a deletion waits for nothing.
    world.annotate(Kind::Secret, "other", &json!({"mw-sync": "no"})).await?;
    world.until_gone(Kind::Secret, "default", "other").await;
    let (_, command) = todo.split_once(' ').expect("a command");
    cluster.kubectl(&command.split(' ').collect::<Vec<_>>()).await?;
    until_entries(&world, "default", "default", &["unable"], &["operator/unable"]).await;
    world.until_said(Kind::Secret, "unable", "Synced", &[]).await;
    cluster.stop().await;
    Ok(())
}
