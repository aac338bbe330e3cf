//! DESIGN section 6, "the remote cluster is the management cluster itself, or two RemoteClusters are one cluster".

use anyhow::{Context as _, Result};
use serde_json::json;
use testbed::{Cluster, Mark, shared};

use super::api;
use super::removal::is_kept;
use super::stage::{Stage, end, value};

async fn writes(stage: &Stage<'_>, cluster: &Cluster, mark: Mark) -> Result<usize> {
    Ok(cluster.audit().since(mark).await?.user(&stage.remote_user()).writes().count())
}

async fn identity(stage: &Stage<'_>, name: &str) -> Result<String> {
    let object = api::get(stage.management, &api::remote_cluster(stage.name, name)).await?.context("it is there")?;
    object["status"]["identity"].as_str().map(str::to_owned).context("it has an identity")
}

#[tokio::test]
async fn nothing_is_written_to_the_management_cluster_itself() -> Result<()> {
    let management = shared("management").await?;
    let stage = Stage::new(&management, "m-self").await?;
    let access = stage.prepare(&management).await?;
    stage.prepare_also(&management, "m-self-other").await?;
    stage.source("one", "1").await?;
    let mark = management.audit().mark().await?;
    let master = stage.master(&[]).await?;
    for (name, namespace) in [("same", "m-self"), ("other", "m-self-other")] {
        stage.kubeconfig(name, &access.to_yaml()).await?;
        stage.remote_cluster_in(name, namespace).await?;
        let message = stage.is(name, "SelfReference").await;
        assert!(message.contains("delete this RemoteCluster"), "{message}");
    }
    // What is to be taken away first is nothing there: it goes at once, and the sources stay.
    stage.change("same", json!({ "onRemove": "Delete" })).await?;
    is_kept(&stage, "same", true).await;
    api::delete(&management, &api::remote_cluster("m-self", "same")).await?;
    stage.clusters_are(&["other"]).await;
    assert_eq!(writes(&stage, &management, mark).await?, 0);
    assert_eq!(api::get(&management, &api::secret("m-self-other", "one")).await?, None);
    assert!(api::get(&management, &api::secret("m-self", "one")).await?.is_some(), "the source is gone");
    end(&master).await
}

#[tokio::test]
async fn of_two_that_lead_to_one_place_the_older_has_it_until_it_goes() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, "m-twice").await?;
    let access = stage.prepare(&remote).await?;
    let mut master = stage.master(&[]).await?;
    // The older one is also the first by name, should they be made within one second.
    stage.join("a-old", &access).await?;
    stage.asking("for-both", "1", json!({})).await?;
    stage.copy_is(&remote, "for-both", |_| true).await;
    stage.kubeconfig("b-young", &access.to_yaml()).await?;
    stage.remote_cluster("b-young").await?;
    let message = stage.is("b-young", "Duplicate").await;
    assert!(message.contains("RemoteCluster a-old is older"), "{message}");
    assert_eq!(identity(&stage, "a-old").await?, identity(&stage, "b-young").await?);

    // Nothing is written for the younger one, after a restart either.
    stage.asking("for-young", "1", json!({ "mw-sync.io/clusters": "b-*" })).await?;
    for _ in 0..2 {
        end(&master).await?;
        let mark = remote.audit().mark().await?;
        master = stage.master(&[]).await?;
        stage.set("for-both", "2").await?;
        stage.copy_is(&remote, "for-both", |copy| value(copy) == "2").await;
        stage.is("a-old", "Connected").await;
        stage.is("b-young", "Duplicate").await;
        stage.set("for-both", "3").await?;
        stage.copy_is(&remote, "for-both", |copy| value(copy) == "3").await;
        assert_eq!(writes(&stage, &remote, mark).await?, 2, "each update once");
    }
    assert_eq!(api::get(&remote, &stage.path("for-young")).await?, None);

    // The older one rests, and the younger takes over; then it wants its place back.
    stage.change("a-old", json!({ "suspend": true })).await?;
    stage.is("b-young", "Connected").await;
    stage.copy_is(&remote, "for-young", |_| true).await;
    stage.change("a-old", json!({ "suspend": false })).await?;
    stage.is("a-old", "Connected").await;
    stage.is("b-young", "Duplicate").await;
    // After the grace.
    stage.copy_is_gone(&remote, "for-young").await;

    // It goes for good: what both want stays where it is.
    let before = stage.copy_is(&remote, "for-both", |_| true).await;
    api::delete(&management, &api::remote_cluster("m-twice", "a-old")).await?;
    stage.is("b-young", "Connected").await;
    stage.copy_is(&remote, "for-young", |_| true).await;
    let after = stage.copy_is(&remote, "for-both", |_| true).await;
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    // One that is made anew is younger than all.
    stage.remote_cluster("a-old").await?;
    let message = stage.is("a-old", "Duplicate").await;
    assert!(message.contains("RemoteCluster b-young is older"), "{message}");
    end(&master).await
}
