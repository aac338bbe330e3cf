//! `plan` says what would be written, writes nothing, and a run does exactly that.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, ClusterOptions, eventually, shared};

use super::agent;
use crate::master::api;
use crate::master::stage::{SOON, Stage, end, value};
use crate::support::{AGENT, Kind, World, annotated, asking, install, spawn};

/// `action Kind/name namespace`, or `refuse` with the reason.
fn lines(told: &str, cluster: &str) -> Result<BTreeSet<String>> {
    let document: Value = serde_json::from_str(told).with_context(|| told.to_owned())?;
    let clusters = document["clusters"].as_array().context("no clusters")?;
    let of = clusters.iter().find(|of| of["cluster"] == cluster).context("not this cluster")?;
    let text = |copy: &Value, key: &str| copy[key].as_str().unwrap_or_default().to_owned();
    let line = |copy: &Value| {
        let words = ["action", "source", "namespace", "reason"].map(|key| text(copy, key));
        words.join(" ").trim().to_owned()
    };
    Ok(of["copies"].as_array().with_context(|| told.to_owned())?.iter().map(line).collect())
}

#[tokio::test]
async fn what_an_agent_would_do_is_what_it_does() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let world = World::of(&cluster);
    let kubeconfig = install(&cluster).await?;
    for namespace in ["p-app", "p-full"] {
        world.namespace(namespace).await?;
    }
    // Copies that are there, and then change.
    let only = json!({"mw-sync.io/namespaces": "p-*"});
    for name in ["changed", "gone", "same", "switched-off", "fixed"] {
        let mut source = asking(Kind::Secret, name, &json!({"a": "MQ=="}), &only);
        source["immutable"] = (name == "fixed").into();
        world.create(&source).await?;
    }
    let before = spawn(&kubeconfig, &[]).await?;
    for name in ["changed", "gone", "same", "switched-off", "fixed"] {
        for namespace in ["p-app", "p-full"] {
            world.until_there(Kind::Secret, namespace, name).await;
        }
    }
    before.terminate();
    before.wait_exit(SOON).await?;
    world.merge(Kind::Secret, "operator", "changed", &json!({"data": {"a": "Mg=="}})).await?;
    world.delete(Kind::Secret, "operator", "gone").await?;
    world.annotate(Kind::Secret, "switched-off", &json!({"mw-sync": "no"})).await?;
    world.delete(Kind::Secret, "operator", "fixed").await?;
    let mut fixed = asking(Kind::Secret, "fixed", &json!({"a": "Mg=="}), &only);
    fixed["immutable"] = true.into();
    world.create(&fixed).await?;
    world.create(&asking(Kind::ConfigMap, "new", &json!({"a": "1"}), &only)).await?;
    // In the way, and no room.
    let mut foreign = annotated(Kind::ConfigMap, "in-the-way", &json!({"a": "theirs"}));
    foreign["metadata"] = json!({"name": "in-the-way", "namespace": "p-app"});
    world.create(&foreign).await?;
    world.create(&asking(Kind::ConfigMap, "in-the-way", &json!({"a": "1"}), &only)).await?;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": {"configmaps": "1"}},
    });
    let path = "/api/v1/namespaces/p-full/resourcequotas";
    world.send(http::Method::POST, path, "application/json", &quota).await?;
    eventually(SOON, "the quota counts", async || {
        let full = format!("{path}/full");
        let found = world.send(http::Method::GET, &full, "application/json", &Value::Null).await?;
        ensure!(found["status"]["used"]["configmaps"] == "1", "{found}");
        Ok(())
    })
    .await;

    let mark = cluster.audit().mark().await?;
    let (code, told) = agent(&kubeconfig, &["plan", "--output=json"]).await?;
    let planned = lines(&told, "")?;
    let expected: BTreeSet<_> = [
        "create ConfigMap/new p-app",
        "create ConfigMap/new p-full Rejected",
        "create ConfigMap/in-the-way p-full Rejected",
        "refuse ConfigMap/in-the-way p-app ForeignObject",
        "update Secret/changed p-app",
        "update Secret/changed p-full",
        "delete Secret/gone p-app",
        "delete Secret/gone p-full",
        "delete Secret/switched-off p-app",
        "delete Secret/switched-off p-full",
        "recreate Secret/fixed p-app",
        "recreate Secret/fixed p-full",
    ]
    .map(str::to_owned)
    .into();
    assert_eq!(planned, expected);
    ensure!(code == Some(2), "{code:?}");
    let asked = cluster.audit().since(mark).await?.user(AGENT);
    for entry in asked.clone().writes().entries() {
        assert!(entry.request_uri.contains("dryRun=All"), "{} {}", entry.verb, entry.request_uri);
    }
    assert_eq!(world.copies(Kind::Secret, "gone").await?.len(), 2);

    // The real run.
    let mark = cluster.audit().mark().await?;
    let running = spawn(&kubeconfig, &["--delete-grace=1s"]).await?;
    world.until_there(Kind::ConfigMap, "p-app", "new").await;
    for namespace in ["p-app", "p-full"] {
        world.until_data(Kind::Secret, namespace, "changed", &json!({"a": "Mg=="})).await;
        world.until_data(Kind::Secret, namespace, "fixed", &json!({"a": "Mg=="})).await;
        world.until_gone(Kind::Secret, namespace, "gone").await;
        world.until_gone(Kind::Secret, namespace, "switched-off").await;
    }
    running.terminate();
    running.wait_exit(SOON).await?;
    let done = cluster.audit().since(mark).await?.user(AGENT);
    let writes = done.writes();
    let done: BTreeSet<_> = writes
        .entries()
        .iter()
        .filter(|entry| entry.code < 300 && entry.namespace.starts_with("p-"))
        .map(|entry| {
            format!("{} {} {}", entry.resource, entry.namespace, if entry.verb == "create" { "" } else { &entry.name })
        })
        .collect();
    let expected: BTreeSet<_> = planned
        .iter()
        .filter_map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            let [action, source, namespace] = words[..] else { return None };
            let (kind, name) = source.split_once('/')?;
            let name = if action == "create" { "" } else { name };
            Some(format!("{}s {namespace} {name}", kind.to_ascii_lowercase()))
        })
        // The second half of what is made anew.
        .chain(["p-app", "p-full"].map(|namespace| format!("secrets {namespace} ")))
        .collect();
    assert_eq!(done, expected);
    let (code, told) = agent(&kubeconfig, &["plan"]).await?;
    ensure!(code == Some(2) && told.contains("ForeignObject") && told.ends_with("\n3 refused\n"), "{code:?} {told}");
    cluster.stop().await;
    Ok(())
}

#[tokio::test]
async fn what_a_master_would_do_is_told_per_cluster() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, "c-plan").await?;
    let access = stage.prepare(&remote).await?;
    stage.kubeconfig("a", &access.to_yaml()).await?;
    stage.remote_cluster("a").await?;
    stage.source("one", "1").await?;
    let plan = async || stage.ask(&["--allow-addresses=127.0.0.1", "plan", "--output=json"]).await;

    let mark = remote.audit().mark().await?;
    let (code, told) = plan().await?;
    assert_eq!(lines(&told, "a")?, BTreeSet::from(["create Secret/one c-plan".to_owned()]));
    ensure!(code == Some(1), "{code:?}");
    for entry in remote.audit().since(mark).await?.user(&stage.remote_user()).writes().entries() {
        assert!(entry.request_uri.contains("dryRun=All"), "{} {}", entry.verb, entry.request_uri);
    }
    ensure!(api::get(&remote, &stage.path("one")).await?.is_none(), "it was written");

    let master = stage.master(&[]).await?;
    stage.copy_is(&remote, "one", |copy| value(copy) == "1").await;
    end(&master).await?;
    let (code, told) = plan().await?;
    ensure!(code == Some(0) && lines(&told, "a")?.is_empty(), "{code:?} {told}");
    stage.annotate("one", json!({"mw-sync": "no"})).await?;
    let (code, told) = plan().await?;
    assert_eq!(lines(&told, "a")?, BTreeSet::from(["delete Secret/one c-plan".to_owned()]));
    ensure!(code == Some(1), "{code:?}");
    // Another way to the same place: the older one has it, as for the controller.
    stage.kubeconfig("b", &access.to_yaml()).await?;
    stage.remote_cluster("b").await?;
    let (code, told) = plan().await?;
    ensure!(code == Some(2) && told.contains("RemoteCluster a is older"), "{code:?} {told}");
    assert_eq!(lines(&told, "a")?, BTreeSet::from(["delete Secret/one c-plan".to_owned()]));
    stage.kubeconfig("a", "clusters: [").await?;
    let (code, told) = plan().await?;
    ensure!(code == Some(2) && told.contains("the kubeconfig cannot be used"), "{code:?} {told}");
    Ok(())
}

/// `image-pull-secret` is a right of its own, which the agent may not have.
#[tokio::test]
async fn entries_in_service_accounts_are_planned_where_there_is_the_right() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let world = World::of(&cluster);
    let kubeconfig = install(&cluster).await?;
    world.namespace("s-app").await?;
    let before = world.until_there(Kind::ServiceAccount, "s-app", "default").await;
    let options = json!({"mw-sync.io/namespaces": "s-*", "mw-sync.io/image-pull-secret": "default"});
    let mut pull = asking(Kind::Secret, "pull", &json!({".dockerconfigjson": "eyJhdXRocyI6e319"}), &options);
    pull["type"] = "kubernetes.io/dockerconfigjson".into();
    world.create(&pull).await?;

    let start = cluster.audit().mark().await?;
    let planned = async || {
        let (code, told) = agent(&kubeconfig, &["plan", "--output=json"]).await?;
        anyhow::Ok((code, lines(&told, "")?.into_iter().collect::<Vec<_>>()))
    };
    let missing = ["create Secret/pull s-app", "refuse Secret/pull * Forbidden"].map(str::to_owned);
    assert_eq!(planned().await?, (Some(2), missing.into()));
    cluster.apply_files(&["deploy/agent-service-accounts.yaml"]).await?;
    let both = ["create Secret/pull s-app", "list Secret/pull s-app"].map(str::to_owned);
    // Rights act a moment after they were given.
    eventually(SOON, "both are planned", async || {
        let planned = planned().await?;
        ensure!(planned == (Some(1), both.to_vec()), "{planned:?}");
        anyhow::Ok(())
    })
    .await;
    let (_, told) = agent(&kubeconfig, &["plan"]).await?;
    ensure!(told.contains("list     Secret/pull in ServiceAccount s-app/default\n"), "{told}");
    for entry in cluster.audit().since(start).await?.user(AGENT).writes().entries() {
        assert!(entry.request_uri.contains("dryRun=All"), "{} {}", entry.verb, entry.request_uri);
    }
    let now = world.get(Kind::ServiceAccount, "s-app", "default").await?;
    assert_eq!(now["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);

    let running = spawn(&kubeconfig, &[]).await?;
    let listed = |account: &Value| account["imagePullSecrets"] == json!([{"name": "pull"}]);
    world.until((Kind::ServiceAccount, "s-app", "default"), "lists it", listed).await;
    world.until_there(Kind::Secret, "s-app", "pull").await;
    running.terminate();
    running.wait_exit(SOON).await?;
    assert_eq!(planned().await?, (Some(0), Vec::new()));
    world.annotate(Kind::Secret, "pull", &json!({"mw-sync": "no"})).await?;
    let gone = ["delete Secret/pull s-app", "unlist Secret/pull s-app"].map(str::to_owned);
    assert_eq!(planned().await?, (Some(1), gone.into()));
    cluster.stop().await;
    Ok(())
}
