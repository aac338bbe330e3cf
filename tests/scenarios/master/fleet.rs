//! RemoteClusters come, change and go, and only their own engine notices.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, Kubeconfig, Mark, eventually, shared};

use super::api;
use super::stage::{SOON, Stage, end, value};
use crate::support::until_said;

/// Of one engine: Secrets, ConfigMaps, the agent's summary.
const WATCHES: usize = 3;

/// Lists and new watches of the master in a cluster: an engine that starts has some, one that runs has none.
async fn starts(stage: &Stage<'_>, remote: &Cluster, mark: Mark) -> Result<usize> {
    let requests = remote.audit().since(mark).await?.user(&stage.remote_user());
    Ok(requests.filter(|request| matches!(request.verb.as_str(), "list" | "watch")).count())
}

async fn has(remote: &Cluster, stage: &Stage<'_>, name: &str, wanted: &str) {
    stage.copy_is(remote, name, |copy| value(copy) == wanted).await;
}

/// Two accesses in one file; the current context is the first.
fn merged(first: &Kubeconfig, second: &Kubeconfig) -> Result<String> {
    // Each is a list of one in every place.
    let (first, second) = (first.to_yaml(), second.to_yaml());
    let part = |text: &str, from: &str, to: Option<&str>| -> Result<String> {
        let rest = text.split_once(from).map(|(_, rest)| rest);
        let part = rest.map(|rest| to.and_then(|to| rest.split_once(to)).map_or(rest, |(part, _)| part));
        part.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("a kubeconfig without {from}"))
    };
    let mut text = part(&first, "", Some("clusters:\n"))?;
    for (list, next) in [("clusters:\n", Some("users:\n")), ("users:\n", Some("contexts:\n")), ("\ncontexts:\n", None)]
    {
        text.push_str(list.trim_start());
        text.push_str(&part(&first, list, next)?);
        text.push_str(&part(&second, list, next)?);
    }
    Ok(text)
}

#[tokio::test]
async fn remote_clusters_come_change_and_go_without_touching_each_other() -> Result<()> {
    let management = shared("management").await?;
    let (a, b) = (shared("remote-a").await?, shared("remote-b").await?);
    let stage = Stage::new(&management, "m-fleet").await?;
    let mut at_a = stage.prepare(&a).await?;
    let mut at_b = stage.prepare(&b).await?;
    let master = stage.master(&[]).await?;
    stage.source("one", "1").await?;

    // Added, each at its time.
    let mark_a = a.audit().mark().await?;
    stage.join("first", &at_a).await?;
    has(&a, &stage, "one", "1").await;
    eventually(SOON, "all is watched", async || {
        let watches = starts(&stage, &a, mark_a).await?;
        ensure!(watches == WATCHES, "{watches} of {WATCHES} watches");
        Ok(())
    })
    .await;
    let mark_a = a.audit().mark().await?;
    stage.join("second", &at_b).await?;
    has(&b, &stage, "one", "1").await;

    // Suspended: nothing is written there, and what is there stays.
    stage.change("second", json!({ "suspend": true })).await?;
    stage.is("second", "Suspended").await;
    let mark_b = b.audit().mark().await?;
    api::merge(&management, &stage.path("one"), &json!({ "stringData": { "key": "2" } })).await?;
    stage.source("two", "1").await?;
    has(&a, &stage, "one", "2").await;
    has(&a, &stage, "two", "1").await;
    let asked = b.audit().since(mark_b).await?.user(&stage.remote_user());
    assert_eq!(asked.count(), 0, "{:#?}", asked.counts());
    // Deleted meanwhile: it is an orphan there when we come back.
    api::annotate(&management, &stage.path("one"), Some("no")).await?;
    stage.copy_is_gone(&a, "one").await;
    has(&b, &stage, "one", "1").await;
    stage.change("second", json!({ "suspend": false })).await?;
    stage.is("second", "Connected").await;
    stage.copy_is_gone(&b, "one").await;
    has(&b, &stage, "two", "1").await;

    // Another Secret content: the same cluster by a new token.
    at_b.token = b.service_account_token("m-fleet", "mw-sync-remote", 3600).await?;
    let mark_b = b.audit().mark().await?;
    stage.kubeconfig("second", &at_b.to_yaml()).await?;
    eventually(SOON, "the engine starts anew", async || {
        let watches = starts(&stage, &b, mark_b).await?;
        ensure!(watches == WATCHES, "{watches} of {WATCHES} watches");
        Ok(())
    })
    .await;
    stage.is("second", "Connected").await;
    api::merge(&management, &stage.path("two"), &json!({ "stringData": { "key": "2" } })).await?;
    has(&b, &stage, "two", "2").await;
    // A change of it that changes nothing for us starts nothing.
    let mark_b = b.audit().mark().await?;
    let label = json!({ "metadata": { "labels": { "seen": "yes" } } });
    api::merge(&management, &stage.path("second"), &label).await?;
    api::merge(&management, &api::remote_cluster("m-fleet", "second"), &label).await?;
    api::merge(&management, &stage.path("two"), &json!({ "stringData": { "key": "3" } })).await?;
    has(&b, &stage, "two", "3").await;
    assert_eq!(starts(&stage, &b, mark_b).await?, 0);
    assert_eq!(starts(&stage, &a, mark_a).await?, 0, "the first cluster's engine was restarted");

    // Removed: its copies stay, and nothing reaches it any more.
    api::delete(&management, &api::remote_cluster("m-fleet", "second")).await?;
    until_said(&master, &["no longer a remote cluster", "second"]).await;
    api::merge(&management, &stage.path("two"), &json!({ "stringData": { "key": "4" } })).await?;
    has(&a, &stage, "two", "4").await;
    has(&b, &stage, "two", "3").await;
    // And added again: what was missed comes.
    stage.join("second", &at_b).await?;
    has(&b, &stage, "two", "4").await;
    api::delete(&management, &api::remote_cluster("m-fleet", "second")).await?;

    // Another context of one file: it moves from one cluster to the other.
    at_a.name = "at-a".to_owned();
    at_b.name = "at-b".to_owned();
    stage.kubeconfig("third", &merged(&at_a, &at_b)?).await?;
    api::delete(&management, &api::remote_cluster("m-fleet", "first")).await?;
    stage.remote_cluster("third").await?;
    stage.is("third", "Connected").await;
    api::merge(&management, &stage.path("two"), &json!({ "stringData": { "key": "5" } })).await?;
    has(&a, &stage, "two", "5").await;
    stage.change("third", json!({ "kubeconfig": { "context": "at-b" } })).await?;
    stage.is("third", "Connected").await;
    has(&b, &stage, "two", "5").await;
    api::merge(&management, &stage.path("two"), &json!({ "stringData": { "key": "6" } })).await?;
    has(&b, &stage, "two", "6").await;
    has(&a, &stage, "two", "5").await;
    let status = api::get(&management, &api::remote_cluster("m-fleet", "third")).await?.unwrap_or(Value::Null);
    let server = status["status"]["server"].as_str().unwrap_or_default().trim_end_matches('/').to_owned();
    assert_eq!(server, b.server_url(), "{status}");
    end(&master).await
}
