//! Two masters.

use anyhow::Result;
use testbed::{Cluster, ClusterOptions};

use super::{Replica, hand_over, kill, lease, taken_in_time};
use crate::master::stage::{SOON, Stage, define, value};
use crate::support::World;

/// The standby is connected to the remote clusters already: it writes there, and of them, from the first moment on, and
/// nothing before.
#[tokio::test]
async fn a_standby_master_goes_on_with_copies_and_status() -> Result<()> {
    let management = Cluster::start(ClusterOptions::default()).await?;
    let remote = Cluster::start(ClusterOptions::default()).await?;
    let world = World::of(&management);
    define(&management).await?;
    let stage = Stage::without_crd(&management, "operator").await?;
    let access = stage.prepare(&remote).await?;
    let start = async || Replica::master(&stage).await;
    let first = start().await?;
    stage.join("far", &access).await?;
    stage.source("regcred", "1").await?;
    stage.copy_is(&remote, "regcred", |_| true).await;
    let mark = management.audit().mark().await?;
    let second = start().await?;
    second.stands_by().await;
    let writes = second.writes(&management, mark).await?;
    assert_eq!(writes.count(), 0, "{:#?}", writes.entries());

    let at_remote = remote.audit().mark().await?;
    let (second, changes) = hand_over(&management, first, second, start).await?;
    stage.set("regcred", "2").await?;
    stage.copy_is(&remote, "regcred", |copy| value(copy) == "2").await;
    stage.source("another", "1").await?;
    stage.copy_is(&remote, "another", |_| true).await;
    let writes = remote.audit().since(at_remote).await?.user(&stage.remote_user()).writes();
    assert_eq!(writes.count(), 2, "one write per copy: {:#?}", writes.counts());
    // Its status follows: two sources are in place.
    testbed::eventually(SOON, "the status tells of both", async || {
        let far =
            management.kubectl(&["get", "remoteclusters.mw-sync.io", "far", "-n", "operator", "-o", "json"]).await?;
        anyhow::ensure!(far.contains("\"synced\": 2"), "{far}");
        Ok(())
    })
    .await;
    assert_eq!(lease(&world, "mw-sync-master").await?["spec"]["leaseTransitions"], changes);

    // Killed.
    let third = start().await?;
    third.stands_by().await;
    let renewed = kill(&world, "mw-sync-master", &second).await?;
    stage.set("regcred", "3").await?;
    third.says(": leading").await;
    taken_in_time(&world, "mw-sync-master", renewed).await?;
    stage.copy_is(&remote, "regcred", |copy| value(copy) == "3").await;
    third.end().await?;
    management.stop().await;
    remote.stop().await;
    Ok(())
}
