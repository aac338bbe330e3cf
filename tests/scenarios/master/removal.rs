//! DESIGN section 6, "RemoteCluster removed": with `onRemove: Delete` its copies go first, and there are ways out.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, ClusterOptions, FaultProxy, Mode, eventually, shared};

use super::api;
use super::stage::{SOON, Stage, define, end};

const FINALIZER: &str = "mw-sync.io/remove-copies";

/// A RemoteCluster whose copies go with it, connected.
async fn join(stage: &Stage<'_>, name: &str, kubeconfig: &str) -> Result<()> {
    stage.kubeconfig(name, kubeconfig).await?;
    stage.remote_cluster(name).await?;
    stage.change(name, json!({ "onRemove": "Delete" })).await?;
    stage.is(name, "Connected").await;
    is_kept(stage, name, true).await;
    Ok(())
}

pub(super) async fn is_kept(stage: &Stage<'_>, name: &str, kept: bool) {
    eventually(SOON, format!("{name} has our finalizer: {kept}"), async || {
        let object = api::get(stage.management, &api::remote_cluster(stage.name, name)).await?.context("it is gone")?;
        let found = object["metadata"]["finalizers"].to_string();
        ensure!(found.contains(FINALIZER) == kept, "{found}");
        Ok(())
    })
    .await;
}

async fn remove(stage: &Stage<'_>, name: &str) -> Result<()> {
    api::delete(stage.management, &api::remote_cluster(stage.name, name)).await
}

async fn is_gone(stage: &Stage<'_>, name: &str) {
    eventually(SOON, format!("RemoteCluster {name} is gone"), async || {
        let object = api::get(stage.management, &api::remote_cluster(stage.name, name)).await?;
        ensure!(object.is_none(), "{}", object.unwrap_or_default()["status"]);
        Ok(())
    })
    .await;
}

fn marks(copy: &Value) -> &Value {
    &copy["metadata"]["labels"]["mw-sync.io/managed-by"]
}

#[tokio::test]
async fn the_copies_of_a_remote_cluster_go_before_it() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, "m-removed").await?;
    let access = stage.prepare(&remote).await?;
    let mut master = stage.master(&[]).await?;
    join(&stage, "far", &access.to_yaml()).await?;
    // Only while it says so.
    stage.change("far", json!({ "onRemove": "Retain" })).await?;
    is_kept(&stage, "far", false).await;
    stage.change("far", json!({ "onRemove": "Delete" })).await?;
    is_kept(&stage, "far", true).await;

    stage.source("one", "1").await?;
    stage.asking("kept", "1", json!({ "mw-sync.io/on-delete": "retain" })).await?;
    stage.source("frozen", "1").await?;
    stage.source("orphan", "1").await?;
    for name in ["one", "kept", "frozen", "orphan"] {
        stage.copy_is(&remote, name, |_| true).await;
    }
    stage.annotate("frozen", json!({ "mw-sync.io/clustres": "x" })).await?;
    api::create(&remote, &api::secret("m-removed", ""), &api::opaque("foreign", "1")).await?;
    // Two of them it has to find: what was deleted while it was down, and the order to remove the cluster.
    end(&master).await?;
    api::delete(&management, &stage.path("orphan")).await?;
    remove(&stage, "far").await?;
    let mark = remote.audit().mark().await?;
    master = stage.master_with(&["--delete-grace=1h"]).await?;
    is_gone(&stage, "far").await;
    for name in ["one", "frozen", "orphan"] {
        stage.copy_is_gone(&remote, name).await;
    }
    stage.copy_is(&remote, "kept", |copy| marks(copy).is_null()).await;
    stage.copy_is(&remote, "foreign", |_| true).await;
    // Each is switched off first, so that an agent there takes its copies away.
    let requests = remote.audit().since(mark).await?.user(&stage.remote_user()).resource("secrets").writes();
    let mut verbs: Vec<_> = requests.each().map(|request| (request.name.clone(), request.verb.clone())).collect();
    verbs.sort();
    let expected = [("frozen", "delete"), ("frozen", "patch"), ("kept", "patch"), ("one", "delete"), ("one", "patch")];
    let expected = expected.iter().chain(&[("orphan", "delete"), ("orphan", "patch")]);
    let expected: Vec<_> = expected.map(|(name, verb)| ((*name).to_owned(), (*verb).to_owned())).collect();
    assert_eq!(verbs, expected);
    end(&master).await
}

#[tokio::test]
async fn one_that_cannot_be_reached_stays_until_it_can_or_is_let_go() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-b").await?);
    let stage = Stage::new(&management, "m-stuck").await?;
    let access = stage.prepare(&remote).await?;
    let proxy = FaultProxy::start(remote.server_addr())?;
    let through = access.clone().by_server(proxy.url()).to_yaml();
    let mut master = stage.master(&[]).await?;
    stage.source("one", "1").await?;

    join(&stage, "back", &through).await?;
    stage.copy_is(&remote, "one", |_| true).await;
    proxy.set(Mode::Refuse).await;
    remove(&stage, "back").await?;
    let message = stage.is("back", "Unreachable").await;
    assert!(message.contains("annotate it with mw-sync.io/abandon=yes"), "{message}");
    // In the middle of it.
    end(&master).await?;
    master = stage.master(&[]).await?;
    // What it says last is still true; and nothing has changed.
    stage.is("back", "Unreachable").await;
    stage.change("back", json!({ "suspend": true })).await?;
    let message = stage.is("back", "Suspended").await;
    proxy.set(Mode::Pass).await;
    assert!(message.contains("mw-sync.io/abandon=yes"), "{message}");
    stage.copy_is(&remote, "one", |_| true).await;
    stage.change("back", json!({ "suspend": false })).await?;
    is_gone(&stage, "back").await;
    stage.copy_is_gone(&remote, "one").await;

    // The ways out: an annotation, and another word in the spec.
    for name in ["abandoned", "retained"] {
        join(&stage, name, &through).await?;
        stage.copy_is(&remote, "one", |_| true).await;
        proxy.set(Mode::Refuse).await;
        remove(&stage, name).await?;
        stage.is(name, "Unreachable").await;
        if name == "abandoned" {
            let path = api::remote_cluster(stage.name, name);
            let yes = json!({ "metadata": { "annotations": { "mw-sync.io/abandon": "yes" } } });
            api::merge(&management, &path, &yes).await?;
        } else {
            stage.change(name, json!({ "onRemove": "Retain" })).await?;
        }
        is_gone(&stage, name).await;
        stage.copy_is(&remote, "one", |copy| marks(copy) == "master").await;
        proxy.set(Mode::Pass).await;
    }

    // Two lead there: what one leaves is the other's.
    join(&stage, "first", &access.to_yaml()).await?;
    stage.kubeconfig("second", &access.to_yaml()).await?;
    stage.remote_cluster("second").await?;
    stage.is("second", "Duplicate").await;
    let before = stage.copy_is(&remote, "one", |_| true).await;
    remove(&stage, "first").await?;
    is_gone(&stage, "first").await;
    stage.is("second", "Connected").await;
    let after = stage.copy_is(&remote, "one", |_| true).await;
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    end(&master).await
}

async fn remote_with_a_copy<'r>(stage: &Stage<'_>, remote: &'r Cluster) -> Result<&'r Cluster> {
    let access = stage.prepare(remote).await?;
    join(stage, "far", &access.to_yaml()).await?;
    stage.source("one", "1").await?;
    stage.copy_is(remote, "one", |_| true).await;
    Ok(remote)
}

/// The master's rights are in that namespace, and Kubernetes deletes what is in it in any order: they may go before the
/// RemoteCluster is let go. Then a person does what README.md says; but that is the exception.
#[tokio::test]
async fn whoever_deletes_the_namespace_of_all_has_not_meant_the_copies() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let mut by_hand = Vec::new();
    for name in ["m-ending", "m-ending-2", "m-ending-3"] {
        let stage = Stage::new(&management, name).await?;
        let master = stage.master_with(&["--delete-grace=0s"]).await?;
        let remote = remote_with_a_copy(&stage, &remote).await?;
        let goes = management.kubectl(&["delete", "namespace", name, "--wait=true", "--timeout=60s"]).await;
        if let Err(error) = &goes {
            println!("{name}: {error:#}\n{}", master.log_tail(20));
            by_hand.push(name);
            let patch = r#"--patch={"metadata": {"finalizers": null}}"#;
            management.kubectl(&["-n", name, "patch", "remotecluster", "far", "--type=merge", patch]).await?;
            let gone = format!("namespace/{name}");
            management.kubectl(&["wait", "--for=delete", &gone, "--timeout=60s"]).await?;
        }
        stage.copy_is(remote, "one", |copy| marks(copy) == "master").await;
        end(&master).await?;
        if goes.is_ok() {
            return Ok(());
        }
    }
    panic!("no namespace went by itself: {by_hand:?}");
}

/// The kubeconfig may be deleted before the RemoteCluster, and that is another plan for it: no reason to wait anew.
#[tokio::test]
async fn in_a_namespace_that_goes_the_finalizer_is_dropped_once_and_does_not_come_back() -> Result<()> {
    // Nobody deletes what is in the namespace: it is there for as long as we look.
    let management = Cluster::start(ClusterOptions::default().without_controller_manager()).await?;
    let remote = shared("remote-a").await?;
    define(&management).await?;
    let stage = Stage::without_crd(&management, "m-ending-once").await?;
    let master = stage.master(&[]).await?;
    remote_with_a_copy(&stage, &remote).await?;
    let path = api::remote_cluster(stage.name, "far");
    let mark = management.audit().mark().await?;
    management.kubectl(&["delete", "namespace", stage.name, "--wait=false"]).await?;
    is_kept(&stage, "far", false).await;
    api::delete(&management, &api::secret(stage.name, "far")).await?;
    eventually(SOON, "the kubeconfig is missed", async || {
        let far = api::get(&management, &path).await?.context("it is gone")?;
        let ready = &far["status"]["conditions"][0];
        ensure!(ready["reason"] == "SecretMissing", "{ready}");
        Ok(())
    })
    .await;
    let patches = management.audit().since(mark).await?.user(&stage.user()).resource("remoteclusters").verb("patch");
    // A status that is written meanwhile makes one a lost race.
    let patches = patches.filter(|entry| !entry.request_uri.contains("/status") && entry.code == 200);
    assert_eq!(patches.count(), 1, "{:#?}", patches.entries());
    is_kept(&stage, "far", false).await;
    end(&master).await?;
    management.stop().await;
    Ok(())
}

#[tokio::test]
async fn whoever_deletes_the_definition_has_not_meant_the_copies() -> Result<()> {
    let (management, remote) = (Cluster::start(ClusterOptions::default()).await?, shared("remote-a").await?);
    define(&management).await?;
    let definition = "crd/remoteclusters.mw-sync.io";
    let stage = Stage::without_crd(&management, "m-undefined").await?;
    let master = stage.master_with(&["--delete-grace=0s"]).await?;
    let remote = remote_with_a_copy(&stage, &remote).await?;
    management.kubectl(&["delete", definition, "--wait=true", "--timeout=60s"]).await?;
    stage.copy_is(remote, "one", |copy| marks(copy) == "master").await;
    end(&master).await?;
    management.stop().await;
    Ok(())
}
