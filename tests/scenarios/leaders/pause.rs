//! A leader stands still, its Lease goes, and it wakes up.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::eventually;

use super::leader_and_standby;
use crate::support::{Kind, SOON, annotated};

const NAMESPACES: usize = 150;

/// No two write at once, in whatever state one was stopped: here in the middle of a fan-out, with more to do for it when
/// it wakes up than there was.
#[tokio::test]
async fn a_leader_that_wakes_up_after_its_lease_has_gone_writes_nothing() -> Result<()> {
    let (cluster, world, first, second) = leader_and_standby(NAMESPACES).await?;

    world.create(&annotated(Kind::Secret, "regcred", &json!({"a": "MQ=="}))).await?;
    world.until_there(Kind::Secret, "n-000", "regcred").await;
    first.process.pause();
    // What it had sent by then is answered and in the log.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mark = cluster.audit().mark().await?;
    world.merge(Kind::Secret, "operator", "regcred", &json!({"data": {"a": "Mg=="}})).await?;
    second.says(": leading").await;
    let all = async |data: &str| {
        let places = NAMESPACES + 4;
        eventually(SOON, format!("all copies are {data}"), async || {
            let copies = world.copies(Kind::Secret, "regcred").await?;
            let right = copies.iter().filter(|copy| copy["data"]["a"] == data).count();
            ensure!(right == places, "{right} of {places}");
            Ok(())
        })
        .await;
    };
    all("Mg==").await;
    // Its connection is still there, and full of events when it wakes up: changes, and copies that are gone.
    world.merge(Kind::Secret, "operator", "regcred", &json!({"data": {"a": "Mw=="}})).await?;
    for n in 0..20 {
        world.delete(Kind::Secret, &format!("n-{n:03}"), "regcred").await?;
    }
    first.process.resume();
    first.says("not leading any more").await;
    first.says("standing by").await;
    all("Mw==").await;
    world.create(&annotated(Kind::Secret, "more", &json!({"a": "MQ=="}))).await?;
    world.until_there(Kind::Secret, "n-149", "more").await;
    let late = first.writes(&cluster, mark).await?;
    assert_eq!(late.count(), 0, "{:#?}", late.entries());

    // And it is a standby as any.
    second.process.terminate();
    assert_eq!(second.process.wait_exit(SOON).await?.code(), Some(0));
    first.says_times(": leading", 2).await;
    world.merge(Kind::Secret, "operator", "regcred", &json!({"data": {"a": "NA=="}})).await?;
    all("NA==").await;
    first.process.terminate();
    assert_eq!(first.process.wait_exit(SOON).await?.code(), Some(0));
    cluster.stop().await;
    Ok(())
}
