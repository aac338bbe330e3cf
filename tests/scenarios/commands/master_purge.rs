//! `master purge`: the copies in remote clusters go, each switched off first, so that the agents there follow.

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::{FaultProxy, Mode, eventually, shared};

use crate::master::api;
use crate::master::stage::{SOON, Stage, end};

const NAME: &str = "c-purge";

#[tokio::test]
async fn copies_in_remote_clusters_are_switched_off_and_deleted_and_agents_follow() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, NAME).await?;
    let access = stage.prepare(&remote).await?;
    remote.kubectl(&["create", "namespace", "c-purge-app"]).await?;
    let master = stage.master(&["--leader-elect"]).await?;
    let agent = stage.agent(&remote, &["--delete-grace=2s"]).await?;
    stage.join("a", &access).await?;
    stage.asking("one", "1", json!({"mw-sync.io/namespaces": "c-purge-*"})).await?;
    stage.source("two", "2").await?;
    stage.copy_in(&remote, "c-purge-app", "one").await;
    stage.copy_is(&remote, "two", |_| true).await;
    let proxy = FaultProxy::start(remote.server_addr())?;
    proxy.set(Mode::Refuse).await;
    stage.kubeconfig("down", &access.clone().by_server(proxy.url()).to_yaml()).await?;
    stage.remote_cluster("down").await?;

    let purge = async |more: &[&str]| {
        let line = [&["--allow-addresses=127.0.0.1", "purge"], more].concat();
        stage.ask(&line).await
    };
    let (code, told) = purge(&["--yes", "--cluster=a"]).await?;
    ensure!(code == Some(2), "while a master leads: {code:?} {told}");
    end(&master).await?;
    eventually(SOON, "its Lease is given up, or has run out", async || {
        let (_, told) = purge(&["--dry-run", "--cluster=a"]).await?;
        ensure!(!told.contains("still runs"), "{told}");
        anyhow::Ok(())
    })
    .await;
    let (code, told) = purge(&["--yes", "--cluster=none"]).await?;
    ensure!(code == Some(2), "{code:?} {told}");
    let (code, told) = purge(&["--dry-run"]).await?;
    ensure!(code == Some(1) && told.contains("a: Secret/one: 1 to delete (namespaces c-purge)"), "{code:?} {told}");
    ensure!(told.contains("down: API server: cannot connect"), "{told}");

    let mark = remote.audit().mark().await?;
    let (code, told) = purge(&["--yes", "--cluster=a", "--source=secret/one"]).await?;
    ensure!(code == Some(0) && told.contains("1 of 1 copies are gone"), "{code:?} {told}");
    let writes = remote.audit().since(mark).await?.user(&stage.remote_user()).writes();
    let verbs: Vec<_> = writes.entries().iter().map(|entry| entry.verb.as_str()).collect();
    let switched: Vec<_> = verbs.iter().filter(|verb| ["patch", "delete"].contains(*verb)).collect();
    assert_eq!(switched, [&"patch", &"delete"], "{verbs:?}");
    // A copy that is only gone would be SourceVanished there, and stay.
    eventually(SOON, "the agent follows", async || {
        ensure!(api::get(&remote, &api::secret("c-purge-app", "one")).await?.is_none(), "it is there");
        Ok(())
    })
    .await;
    ensure!(api::get(&remote, &stage.path("two")).await?.is_some(), "it was not named");

    // One that cannot be reached stays as it is, and holds up no other.
    let (code, told) = purge(&["--yes"]).await?;
    ensure!(code == Some(1) && told.contains("down: API server: cannot connect"), "{code:?} {told}");
    ensure!(api::get(&remote, &stage.path("two")).await?.is_none(), "{told}");
    drop(agent);
    Ok(())
}
