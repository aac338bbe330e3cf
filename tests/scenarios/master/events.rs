//! Events on a RemoteCluster: each change of its reason, and not often.

use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{FaultProxy, Mode, eventually, shared};

use super::stage::{SOON, Stage, end};
use crate::support::World;

/// Kind, reason and note of each.
async fn said(stage: &Stage<'_>, name: &str) -> Result<Vec<(String, String, String)>> {
    let events = World::of(stage.management).events_of(stage.name, "RemoteCluster", name).await?;
    Ok(events.into_iter().map(|said| (said.kind, said.reason, said.note)).collect())
}

async fn until_said(stage: &Stage<'_>, name: &str, kind: &str, reason: &str, words: &str) {
    eventually(SOON, format!("{kind} {reason}: {words}"), async || {
        let all = said(stage, name).await?;
        ensure!(all.iter().any(|(of, why, note)| of == kind && why == reason && note.contains(words)), "{all:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_change_of_the_reason_is_said_once_and_not_often() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, "m-events").await?;
    let access = stage.prepare(&remote).await?;
    let proxy = FaultProxy::start(remote.server_addr())?;
    let master = stage.master(&[]).await?;
    stage.remote_cluster("far").await?;
    until_said(&stage, "far", "Warning", "SecretMissing", "create secret generic far").await;
    stage.kubeconfig("far", &access.clone().by_server(proxy.url()).to_yaml()).await?;
    until_said(&stage, "far", "Normal", "Connected", "namespace m-events").await;
    stage.source("one", "1").await?;
    stage.copy_is(&remote, "one", |_| true).await;
    eventually(SOON, "the status counts the copy", async || {
        let all = stage.all_clusters().await?;
        ensure!(all["far"]["status"]["sources"]["synced"] == 1, "{:#}", all["far"]["status"]);
        Ok(())
    })
    .await;
    // Counts change all the time, and the log is for what is news.
    let log = master.stderr();
    let logged = log.lines().filter(|line| line.contains("status") && line.contains("reason=\"Connected\""));
    assert_eq!(logged.count(), 1, "{log}");
    // It comes and goes: of what happens within the pause the last counts.
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        proxy.set(Mode::Refuse).await;
        stage.is("far", "Unreachable").await;
        proxy.set(Mode::Pass).await;
        stage.is("far", "Connected").await;
    }
    proxy.set(Mode::Refuse).await;
    until_said(&stage, "far", "Warning", "Unreachable", "cannot connect").await;
    let all = said(&stage, "far").await?;
    let most = 3 + began.elapsed().as_secs() / 10;
    assert!(all.len() as u64 <= most, "{} in {:?}: {all:?}", all.len(), began.elapsed());
    // A new master has nothing new to say.
    proxy.set(Mode::Pass).await;
    stage.is("far", "Connected").await;
    let before = eventually(SOON, "it is said that all is well again", async || {
        let all = said(&stage, "far").await?;
        ensure!(all.iter().filter(|(_, reason, _)| reason == "Connected").count() >= 2, "{all:?}");
        Ok(all.len())
    })
    .await;
    end(&master).await?;
    let master = stage.master(&[]).await?;
    stage.set("one", "2").await?;
    stage.copy_is(&remote, "one", |copy| super::stage::value(copy) == "2").await;
    assert_eq!(said(&stage, "far").await?.len(), before);
    end(&master).await
}
