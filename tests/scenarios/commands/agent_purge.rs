//! `agent purge`: copies and entries of ours go, and nothing else.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Binaries, Cluster, ClusterOptions, Terminal, eventually};

use super::agent;
use crate::support::{Kind, SOON, World, annotated, asking, install, spawn};

/// A copy that an earlier incarnation of the source namespace has left.
fn stranded(name: &str, origin: &str) -> Value {
    let origin_uid = "0a1b2c3d-0000-4abc-8def-00000000000f";
    json!({
        "apiVersion": "v1", "kind": "Secret", "data": { "a": "MQ==" },
        "metadata": {
            "name": name, "namespace": "app", "labels": { "mw-sync.io/managed-by": "agent", "mw-sync.io/source": name },
            "annotations": { "mw-sync.io/origin": origin, "mw-sync.io/origin-uid": origin_uid },
        },
    })
}

/// What a person sees who types this when asked.
async fn asked(kubeconfig: &Path, command: &[&str], answer: &str) -> Result<(Option<i32>, String)> {
    let terminal = Terminal::open()?;
    let env = [("KUBECONFIG", kubeconfig)];
    let process = terminal.spawn(&[0, 1, 2], Binaries::build().await?.agent(), command, env)?;
    terminal.shows("Shall all of that go, by https://", SOON).await;
    ensure!(terminal.screen().contains("Secret/left: 1 to delete (namespaces app)"), "{}", terminal.screen());
    terminal.answer(answer)?;
    let code = process.wait_exit(SOON).await?.code();
    if code == Some(0) {
        terminal.shows("are gone", SOON).await;
    }
    Ok((code, terminal.screen()))
}

#[tokio::test]
async fn all_copies_and_entries_go_once_the_agent_has_been_stopped_and_nothing_else() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let (world, admin) = (World::of(&cluster), cluster.admin_kubeconfig());
    let kubeconfig = install(&cluster).await?;
    cluster.apply_files(&["deploy/agent-service-accounts.yaml"]).await?;
    world.namespace("app").await?;
    let running = spawn(&kubeconfig, &["--leader-elect"]).await?;
    let pulled = json!({"mw-sync.io/image-pull-secret": "default"});
    let mut source = asking(Kind::Secret, "pulled", &json!({".dockerconfigjson": "eyJhdXRocyI6e319"}), &pulled);
    source["type"] = "kubernetes.io/dockerconfigjson".into();
    world.create(&source).await?;
    let kept = json!({"mw-sync.io/on-delete": "retain"});
    world.create(&asking(Kind::ConfigMap, "kept", &json!({"a": "1"}), &kept)).await?;
    world.create(&annotated(Kind::Secret, "other", &json!({"a": "MQ=="}))).await?;
    let listed = |account: &Value| account["imagePullSecrets"][0]["name"] == "pulled";
    world.until((Kind::ServiceAccount, "app", "default"), "lists it", listed).await;
    world.until_there(Kind::ConfigMap, "app", "kept").await;
    world.until_there(Kind::Secret, "app", "other").await;
    world.create(&stranded("left", "operator/left")).await?;
    world.create(&stranded("theirs", "elsewhere/theirs")).await?;

    // It would be restored at once.
    let (code, told) = agent(&admin, &["purge", "--yes"]).await?;
    ensure!(code == Some(2) && told.contains("an agent still runs and would restore it all"), "{code:?} {told}");
    running.terminate();
    running.wait_exit(SOON).await?;
    // Once its Lease is given up, or has run out.
    eventually(SOON, "the Deployment is in the way", async || {
        let (code, told) = agent(&admin, &["purge", "--yes"]).await?;
        ensure!(code == Some(2) && told.contains("Deployment mw-sync-agent has 2 replicas"), "{code:?} {told}");
        ensure!(told.contains("kubectl -n operator delete deployment mw-sync-agent"), "{told}");
        anyhow::Ok(())
    })
    .await;
    cluster.kubectl(&["-n", "operator", "delete", "deployment", "mw-sync-agent"]).await?;

    // Nobody can be asked, and nobody has said so.
    let mark = cluster.audit().mark().await?;
    let (code, told) = agent(&admin, &["purge"]).await?;
    ensure!(code == Some(2) && told.contains("add --yes"), "{code:?} {told}");
    let (code, told) = agent(&admin, &["purge", "--dry-run"]).await?;
    ensure!(code == Some(0) && told.contains("nothing was changed"), "{code:?} {told}");
    for words in [
        "ServiceAccount app/default: our entries in imagePullSecrets go",
        "Secret/left: 1 to delete (namespaces app)",
        "ConfigMap/kept: 0 to delete, 5 to release: ",
        "Secret/other: ",
    ] {
        ensure!(told.contains(words), "{words}: {told}");
    }
    ensure!(!told.contains("theirs"), "{told}");
    let purged = |entry: &&testbed::Entry| entry.user_agent.starts_with("mw-sync-agent/");
    let since = cluster.audit().since(mark).await?;
    assert_eq!(since.clone().writes().entries().iter().filter(purged).count(), 0);

    // A person is asked, and everything but a yes is a no.
    for answer in ["n", "", "yess"] {
        let (code, screen) = asked(&admin, &["purge"], answer).await?;
        ensure!(code == Some(2) && !screen.contains("are gone"), "{answer:?}: {code:?} {screen}");
    }
    let since = cluster.audit().since(mark).await?;
    assert_eq!(since.writes().entries().iter().filter(purged).count(), 0);
    let summary = async || {
        let object = world.get(Kind::ConfigMap, "operator", "mw-sync-agent").await?;
        Ok::<_, anyhow::Error>(object["data"]["summary.json"].clone())
    };
    ensure!(summary().await?.is_string(), "what the agent has said stands there still");
    let (code, screen) = asked(&admin, &["purge", "--source=secret/left"], "Yes").await?;
    ensure!(code == Some(0) && screen.contains("1 of 1 copies are gone"), "{code:?} {screen}");
    world.get(Kind::Secret, "app", "other").await?;
    ensure!(summary().await?.is_null(), "a master would believe it");
    let (code, told) = agent(&admin, &["purge", "--yes"]).await?;
    ensure!(code == Some(0), "{code:?} {told}");
    for name in ["pulled", "other", "left"] {
        assert_eq!(world.places(Kind::Secret, name).await?, Vec::<String>::new(), "{name}");
    }
    for account in world.all(Kind::ServiceAccount).await? {
        let entries = account["imagePullSecrets"].as_array().is_some_and(|entries| !entries.is_empty());
        let recorded = account["metadata"]["annotations"]["mw-sync.io/added-pull-secrets"].is_string();
        ensure!(!entries && !recorded, "{account:#}");
    }
    let kept = world.get(Kind::ConfigMap, "app", "kept").await?;
    assert_eq!(kept["metadata"]["labels"]["mw-sync.io/managed-by"], Value::Null, "{kept:#}");
    assert_eq!(kept["metadata"]["annotations"]["mw-sync.io/released-from"], "operator/kept", "{kept:#}");
    world.get(Kind::Secret, "app", "theirs").await?;
    world.get(Kind::Secret, "operator", "other").await?;
    let (code, told) = agent(&admin, &["purge", "--yes"]).await?;
    ensure!(code == Some(0) && told.contains("there is nothing of ours"), "{code:?} {told}");
    cluster.stop().await;
    Ok(())
}
