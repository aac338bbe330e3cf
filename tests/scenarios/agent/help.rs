//! What it says when it cannot work, and that it goes on when that is mended.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Binaries, FaultProxy, Mode, Process, SharedCluster, shared};
use tokio::sync::{Mutex, MutexGuard};

use crate::support::{Kind, SOON, World, annotated, install, outliving, spawn, until_may_not, until_said};

/// Promise 10: what no waiting can mend ends it with status 2 and one clear text; the master too.
#[tokio::test]
async fn what_waiting_cannot_mend_ends_it_with_status_2() -> Result<()> {
    let (cluster, binaries) = (shared("mending").await?, Binaries::build().await?);
    let good = cluster.admin_kubeconfig();
    let broken = cluster.dir().join("broken.kubeconfig");
    std::fs::write(&broken, "apiVersion: v1\nclusters: [\n")?;
    let without = cluster.dir().join("without-context.kubeconfig");
    std::fs::write(&without, std::fs::read_to_string(&good)?.replace("current-context: admin\n", ""))?;
    let nowhere = Path::new("/nowhere/kubeconfig");
    for (kubeconfig, flag, expected) in [
        (&*good, "--delete-grace=30", &["--delete-grace", "ms, s, m or h"][..]),
        (&good, "--no-such-flag", &["--no-such-flag"]),
        (nowhere, "--log=info", &["/nowhere/kubeconfig"]),
        (&broken, "--log=info", &["kubeconfig cannot be read at line", "kubectl config view"]),
        (&without, "--log=info", &["no current-context", "--context"]),
        (&good, "--context=other", &["no context \"other\"", "kubectl config get-contexts"]),
        // Set and empty counts as unset, and `HOME` has none.
        (Path::new(""), "--log=info", &["KUBECONFIG"]),
    ] {
        for program in [binaries.agent(), binaries.master()] {
            let process = Process::spawn(program, [flag], [("KUBECONFIG", kubeconfig)])?;
            let status = process.wait_exit(SOON).await?;
            let said = process.stderr();
            assert_eq!(status.code(), Some(2), "{flag}: {said}");
            for words in expected {
                assert!(said.contains(words), "{flag}: no {words} in {said}");
            }
            assert!(!said.contains("panicked") && said.lines().count() < 12, "{said}");
        }
    }
    Ok(())
}

/// One at a time: each has an agent of its own.
async fn alone() -> Result<(MutexGuard<'static, ()>, SharedCluster, World)> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    let guard = ALONE.lock().await;
    let cluster = shared("mending").await?;
    let world = World::of(&cluster);
    Ok((guard, cluster, world))
}

/// Ends the agent and takes the source and its copies away.
async fn clear(world: &World, agent: Process, namespace: &str, name: &str) -> Result<()> {
    let off = json!({"metadata": {"annotations": {"mw-sync": "no"}}});
    world.merge(Kind::Secret, namespace, name, &off).await?;
    world.until_gone(Kind::Secret, "default", name).await;
    agent.terminate();
    ensure!(agent.wait_exit(SOON).await?.success(), "it ends well:\n{}", agent.stderr());
    Ok(())
}

/// Promises 3 and 10.
#[tokio::test]
async fn an_unreachable_cluster_is_waited_for() -> Result<()> {
    let (_alone, cluster, world) = alone().await?;
    install(&cluster).await?;
    world.create(&annotated(Kind::Secret, "unreachable", &json!({}))).await?;
    let proxy = FaultProxy::start(cluster.server_addr())?;
    let access = cluster.service_account("operator", "mw-sync-agent").await?.by_server(proxy.url());
    let kubeconfig = cluster.write_kubeconfig(&access)?;
    proxy.set(Mode::Refuse).await;
    let agent = spawn(&kubeconfig, &[]).await?;
    until_said(&agent, &["WARN", "Unreachable", "check the server's address"]).await;
    proxy.set(Mode::Pass).await;
    world.until_there(Kind::Secret, "default", "unreachable").await;
    until_said(&agent, &["watching again"]).await;
    // Cut while it works, and without an answer.
    proxy.set(Mode::BlackHole).await;
    world.merge(Kind::Secret, "operator", "unreachable", &json!({"data": {"a": "MQ=="}})).await?;
    until_said(&agent, &["WARN", "NoAnswer"]).await;
    proxy.set(Mode::Pass).await;
    world.until_data(Kind::Secret, "default", "unreachable", &json!({"a": "MQ=="})).await;
    clear(&world, agent, "operator", "unreachable").await
}

/// Promises 2, 3 and 10.
#[tokio::test]
async fn a_missing_source_namespace_is_waited_for() -> Result<()> {
    let (_alone, cluster, world) = alone().await?;
    let agent = spawn(&outliving(&cluster).await?, &["--source-namespace=later"]).await?;
    until_said(&agent, &["WARN", "the source namespace does not exist", "kubectl create namespace later"]).await;
    world.namespace("later").await?;
    let mut source = annotated(Kind::Secret, "later", &Value::Null);
    source["metadata"]["namespace"] = "later".into();
    world.create(&source).await?;
    world.until_there(Kind::Secret, "default", "later").await;
    clear(&world, agent, "later", "later").await
}

/// Promises 3 and 10.
#[tokio::test]
async fn missing_rights_are_named_and_waited_for() -> Result<()> {
    let (_alone, cluster, world) = alone().await?;
    let kubeconfig = install(&cluster).await?;
    let binding = ["clusterrolebinding", "mw-sync-agent"];
    cluster.kubectl(&[&["delete"], &binding[..]].concat()).await?;
    world.create(&annotated(Kind::Secret, "rights", &json!({}))).await?;
    let as_agent = "--as=system:serviceaccount:operator:mw-sync-agent";
    until_may_not(&cluster, &["list", "secrets", "-A", as_agent]).await;
    let agent = spawn(&kubeconfig, &[]).await?;
    until_said(&agent, &["WARN", "Forbidden", "cannot watch resource \"secrets\"", "deploy/"]).await;
    until_said(&agent, &["WARN", "Forbidden", "namespaces", "deploy/"]).await;
    assert!(world.copies(Kind::Secret, "rights").await?.is_empty());
    cluster.kubectl(&["apply", "-f", "deploy/agent.yaml"]).await?;
    world.until_there(Kind::Secret, "default", "rights").await;

    // Only the right to change copies is missing.
    let read_only = json!([{"op": "replace", "path": "/rules/2/verbs", "value": ["get", "list", "watch"]}]).to_string();
    cluster.kubectl(&["patch", "clusterrole", "mw-sync-agent", "--type=json", "-p", &read_only]).await?;
    until_may_not(&cluster, &["update", "secrets", "-A", as_agent]).await;
    world.merge(Kind::Secret, "operator", "rights", &json!({"data": {"a": "MQ=="}})).await?;
    until_said(&agent, &["WARN", "not everywhere", "Forbidden", "cannot update resource"]).await;
    cluster.kubectl(&["apply", "-f", "deploy/agent.yaml"]).await?;
    world.until_data(Kind::Secret, "default", "rights", &json!({"a": "MQ=="})).await;
    clear(&world, agent, "operator", "rights").await
}
