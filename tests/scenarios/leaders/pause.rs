//! A leader stands still, its Lease goes, and it wakes up.

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::eventually;

use super::leader_and_standby;
use crate::support::{Kind, SOON, annotated};

const NAMESPACES: usize = 150;
/// Most requests of an agent that are under way at once.
const IN_FLIGHT: usize = 32;

/// No two write at once, in whatever state one was stopped: here in the middle of a fan-out, with more to do for it when
/// it wakes up than there was.
///
/// It begins nothing more. What it had begun may still leave it, for its connection wakes up before its deadlines: that is
/// for versions that are no more, and changes nothing.
#[tokio::test]
async fn a_leader_that_wakes_up_after_its_lease_has_gone_changes_nothing() -> Result<()> {
    let (cluster, world, first, second) = leader_and_standby(NAMESPACES).await?;

    world.create(&annotated(Kind::Secret, "regcred", &json!({"a": "MQ=="}))).await?;
    world.until_there(Kind::Secret, "n-000", "regcred").await;
    first.process.pause();
    // Nothing that is under way is about these.
    let made = world.places(Kind::Secret, "regcred").await?;
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
    // What the first had sent has been answered by now.
    let mark = cluster.audit().mark().await?;
    // Its connection is still there, and full of events when it wakes up: changes, and copies that are gone.
    world.merge(Kind::Secret, "operator", "regcred", &json!({"data": {"a": "Mw=="}})).await?;
    for place in made.iter().take(20) {
        world.delete(Kind::Secret, place, "regcred").await?;
    }
    first.process.resume();
    first.says("not leading any more").await;
    first.says("standing by").await;
    all("Mw==").await;
    world.create(&annotated(Kind::Secret, "more", &json!({"a": "MQ=="}))).await?;
    world.until_there(Kind::Secret, "n-149", "more").await;
    let late = first.writes(&cluster, mark).await?;
    let done = late.clone().filter(|entry| entry.code < 400);
    assert!(done.count() == 0 && late.count() <= IN_FLIGHT, "{:#?}", late.entries());
    println!("{} copies were there when it was stopped; {} requests left it later", made.len(), late.count());

    // And it is a standby as any.
    second.end().await?;
    first.says_times(": leading", 2).await;
    world.merge(Kind::Secret, "operator", "regcred", &json!({"data": {"a": "NA=="}})).await?;
    all("NA==").await;
    first.end().await?;
    cluster.stop().await;
    Ok(())
}
