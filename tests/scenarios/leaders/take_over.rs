//! A leader ends, in order or not, and the standby goes on.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::eventually;

use super::{Replica, hand_over, kill, leader_and_standby, taken_in_time};
use crate::support::{AGENT, BUILT_IN, Kind, SOON, annotated};

/// Promises 3 and 4, across two changes of the leader: each copy is written once, whoever leads.
#[tokio::test]
async fn the_standby_takes_over_at_once_from_a_leader_that_ends_and_within_the_lease_from_one_that_is_killed()
-> Result<()> {
    let (cluster, world, first, second) = leader_and_standby(0).await?;

    let mark = cluster.audit().mark().await?;
    world.create(&annotated(Kind::Secret, "regcred", &json!({"a": "MQ=="}))).await?;
    for place in BUILT_IN {
        world.until_data(Kind::Secret, place, "regcred", &json!({"a": "MQ=="})).await;
    }
    world.annotate(Kind::Secret, "regcred", &json!({"mw-sync.io/typo": "x"})).await?;
    first.says("Frozen").await;
    assert_eq!(second.writes(&cluster, mark).await?.count(), 0, "it stands by");

    let mark = cluster.audit().mark().await?;
    let (second, changes) = hand_over(&cluster, first, second, async || Replica::agent(&cluster).await).await?;

    // It acts, and nothing that stood is written again.
    world.annotate(Kind::Secret, "regcred", &json!({"mw-sync.io/typo": null})).await?;
    world.merge(Kind::Secret, "operator", "regcred", &json!({"data": {"a": "Mg=="}})).await?;
    for place in BUILT_IN {
        world.until_data(Kind::Secret, place, "regcred", &json!({"a": "Mg=="})).await;
    }
    let writes = cluster.audit().since(mark).await?.user(AGENT).writes().resource("secrets");
    assert_eq!(writes.count(), 4, "{:#?}", writes.counts());

    // Killed: nothing is written until the Lease has run out before the eyes of the next one.
    let third = Replica::agent(&cluster).await?;
    third.stands_by().await;
    let mark = cluster.audit().mark().await?;
    let renewed = kill(&world, "mw-sync-agent", &second).await?;
    world.merge(Kind::Secret, "operator", "regcred", &json!({"data": {"a": "Mw=="}})).await?;
    third.says(": leading").await;
    let lease = taken_in_time(&world, "mw-sync-agent", renewed).await?;
    let said = (&lease["spec"]["leaseTransitions"], &lease["spec"]["leaseDurationSeconds"]);
    assert_eq!(said, (&(changes + 1).into(), &15.into()));
    world.until_data(Kind::Secret, "default", "regcred", &json!({"a": "Mw=="})).await;
    eventually(SOON, "all copies", async || {
        let copies = world.copies(Kind::Secret, "regcred").await?;
        ensure!(copies.len() == 4 && copies.iter().all(|copy| copy["data"]["a"] == "Mw=="), "{copies:#?}");
        Ok(())
    })
    .await;
    let writes = third.writes(&cluster, mark).await?.resource("secrets");
    assert_eq!(writes.count(), 4, "{:#?}", writes.counts());
    third.end().await?;
    cluster.stop().await;
    Ok(())
}

/// SIGTERM in the middle of a fan-out: what is under way ends, nothing else begins, and the other one does the rest.
#[tokio::test]
async fn a_leader_that_is_told_to_stop_in_the_middle_leaves_the_rest_to_the_standby() -> Result<()> {
    const NAMESPACES: usize = 150;
    let (cluster, world, first, second) = leader_and_standby(NAMESPACES).await?;
    let mark = cluster.audit().mark().await?;
    world.create(&annotated(Kind::Secret, "regcred", &json!({"a": "MQ=="}))).await?;
    world.until_there(Kind::Secret, "n-000", "regcred").await;
    let took = first.end().await?;
    assert!(took < Duration::from_secs(5), "{took:?}");
    let places = NAMESPACES + 4;
    eventually(SOON, "all copies", async || {
        let copies = world.copies(Kind::Secret, "regcred").await?;
        ensure!(copies.len() == places, "{} of {places}", copies.len());
        Ok(())
    })
    .await;
    let (by_first, by_second) = (first.writes(&cluster, mark).await?, second.writes(&cluster, mark).await?);
    let created = |requests: testbed::Requests| requests.verb("create").filter(|entry| entry.code == 201).count();
    let (first_made, second_made) = (created(by_first.clone()), created(by_second.clone()));
    println!("{first_made} copies by the first, {second_made} by the second");
    assert_eq!(first_made + second_made, places, "one write each");
    // The lines of a log are in the order of the answers.
    let secrets = cluster.audit().since(mark).await?.user(AGENT).resource("secrets").verb("create");
    let by: Vec<_> = secrets.each().map(|entry| entry.token_id == first.token).collect();
    assert!(by.is_sorted_by(|a, b| a >= b), "the two take turns: {by:?}");

    // It ends in time also where nobody answers what is under way, or takes the Lease back.
    world.create(&annotated(Kind::Secret, "unheard", &json!({"a": "MQ=="}))).await?;
    world.until_there(Kind::Secret, "n-000", "unheard").await;
    cluster.pause_api_server();
    let took = second.end().await?;
    cluster.resume_api_server();
    // Two seconds more than with one: nobody else waits for it here.
    assert!(took < Duration::from_secs(7), "{took:?} without an answer");
    cluster.stop().await;
    Ok(())
}
