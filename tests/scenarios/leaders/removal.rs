//! A leader is killed while it takes the copies of a RemoteCluster away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testbed::{Cluster, ClusterOptions, FaultProxy, Mode, eventually};

use crate::master::api;
use crate::master::stage::{SOON, Stage, define, end};
use crate::support::until_said;

const COPIES: usize = 40;
/// Before the remote cluster, each way: with two requests at once, and two for each copy, the copies need 12 s to go.
const WAY: Duration = Duration::from_millis(150);

/// Names and versions of the Secrets of a namespace.
async fn secrets(cluster: &Cluster, namespace: &str) -> Result<BTreeMap<String, String>> {
    let list = api::get(cluster, &api::secret(namespace, "")).await?.context("no list")?;
    let item = |item: &serde_json::Value| {
        let text = |field: &str| item["metadata"][field].as_str().unwrap_or_default().to_owned();
        (text("name"), text("resourceVersion"))
    };
    Ok(list["items"].as_array().into_iter().flatten().map(item).collect())
}

/// Promise 3 for `onRemove: Delete`: what one has begun the next one finishes, each copy is deleted once, and nothing else.
#[tokio::test]
async fn the_next_leader_finishes_the_removal_of_a_remote_cluster() -> Result<()> {
    let management = Cluster::start(ClusterOptions::default()).await?;
    let remote = Cluster::start(ClusterOptions::default()).await?;
    define(&management).await?;
    let stage = Stage::without_crd(&management, "operator").await?;
    let access = stage.prepare(&remote).await?;
    stage.prepare_also(&remote, "other").await?;
    let proxy = FaultProxy::start(remote.server_addr())?;
    let args = ["--leader-elect", "--max-in-flight=2"];
    let first = stage.master(&args).await?;
    until_said(&first, &[": leading"]).await;
    stage.kubeconfig("far", &access.clone().by_server(proxy.url()).to_yaml()).await?;
    stage.remote_cluster_by("far", &json!({ "kubeconfig": { "secretName": "far" }, "onRemove": "Delete" })).await?;
    stage.kubeconfig("other", &access.to_yaml()).await?;
    stage.remote_cluster_in("other", "other").await?;
    api::create(&remote, &api::secret("operator", ""), &api::opaque("foreign", "1")).await?;
    for n in 0..COPIES {
        stage.source(&format!("s-{n:02}"), "1").await?;
    }
    stage.asking("kept", "1", json!({ "mw-sync.io/on-delete": "retain" })).await?;
    for namespace in ["operator", "other"] {
        eventually(SOON, format!("all copies are in {namespace}"), async || {
            let count = secrets(&remote, namespace).await?.keys().filter(|name| *name != "foreign").count();
            ensure!(count == COPIES + 1, "{count}");
            Ok(())
        })
        .await;
    }
    let before = secrets(&remote, "other").await?;
    let second = stage.master(&args).await?;
    until_said(&second, &["all lists have come"]).await;

    proxy.set(Mode::Delay(WAY)).await;
    let mark = remote.audit().mark().await?;
    api::delete(&management, &api::remote_cluster("operator", "far")).await?;
    let left =
        async || anyhow::Ok(secrets(&remote, "operator").await?.keys().filter(|name| name.starts_with("s-")).count());
    eventually(SOON, "it has begun", async || {
        let left = left().await?;
        ensure!(left < COPIES - 4, "{left} are left");
        Ok(())
    })
    .await;
    first.kill9();
    let at_the_end = left().await?;
    assert!(at_the_end > 4, "{at_the_end} were left: not in the middle");
    println!("killed with {at_the_end} of {COPIES} copies left");
    proxy.set(Mode::Pass).await;
    until_said(&second, &[": leading"]).await;
    eventually(SOON, "the RemoteCluster is gone", async || {
        let far = api::get(&management, &api::remote_cluster("operator", "far")).await?;
        ensure!(far.is_none(), "{}", far.unwrap_or_default());
        Ok(())
    })
    .await;

    assert_eq!(left().await?, 0);
    let kept = api::get(&remote, &api::secret("operator", "kept")).await?.context("it says retain")?;
    assert!(kept["metadata"]["labels"]["mw-sync.io/managed-by"].is_null(), "{kept:#}");
    assert!(api::get(&remote, &api::secret("operator", "foreign")).await?.is_some());
    assert_eq!(secrets(&remote, "other").await?, before, "another RemoteCluster's copies");
    let writes = remote.audit().since(mark).await?.user(&stage.remote_user()).writes();
    let deleted = |code| {
        let deleted = writes.clone().verb("delete").filter(move |entry| entry.code == code);
        deleted.each().map(|entry| entry.name.clone()).collect::<Vec<_>>()
    };
    let mut names = deleted(200);
    // What was under way as the first one was killed may have been done, and nobody was there to be told.
    let unheard = deleted(504);
    names.extend(unheard.iter().filter(|name| !names.contains(name)).cloned().collect::<BTreeSet<_>>());
    names.sort();
    let expected: Vec<_> = (0..COPIES).map(|n| format!("s-{n:02}")).collect();
    assert_eq!(names, expected, "each once; unheard {unheard:?}");
    let others = writes.filter(|entry| !entry.name.starts_with("s-") && entry.name != "kept");
    assert_eq!(others.count(), 0, "{:#?}", others.entries());
    end(&second).await?;
    management.stop().await;
    remote.stop().await;
    Ok(())
}
