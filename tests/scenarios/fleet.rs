//! Two hundred clusters in four accounts: a start that does not stampede, and troubles that delay no other.

use std::time::Instant;

use anyhow::Result;
use testbed::{Binaries, Health};

use world::{ACCOUNTS, SOURCES, World, count};

#[path = "../bench/fleet/world.rs"]
mod world;

const CLUSTERS: usize = 200;

/// Promises 4, 5 and 9.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clusters_are_served_and_those_in_trouble_delay_no_other() -> Result<()> {
    let world = World::start(CLUSTERS).await?;
    world.set("one").await?;
    let mark = world.aws.mark().await?;
    let began = Instant::now();
    let master = world.master(Binaries::build().await?.master()).await?;
    let start = world.until(began, "one", |_| true).await;
    let calls = world.calls(mark).await?;
    let sessions = count(&calls, "AssumeRole");
    println!(
        "start: {start:?}, {sessions} sessions, most {} a second",
        world::most_a_second(&calls, "DescribeCluster")
    );
    assert_eq!(sessions, ACCOUNTS, "one session for each role");
    // Each is asked about once, and once more only if something did not answer in time.
    let asked = count(&calls, "DescribeCluster");
    assert!((CLUSTERS..=CLUSTERS * 2).contains(&asked), "{asked} calls for {CLUSTERS} clusters");
    for n in 0..CLUSTERS {
        assert_eq!(world.fleet.writes(n), SOURCES, "a write for each copy, in cluster {n}");
        // Watches have one, writes another.
        assert!(world.fleet.connections(n).1 <= 2, "{:?} in cluster {n}", world.fleet.connections(n));
    }

    // One says nothing, a tenth fails: the others have it all the same, while those do not.
    let tenth = |n: usize| n % 10 == 3;
    world.fleet.set(0, Health::BlackHole);
    (0..CLUSTERS).filter(|n| tenth(*n)).for_each(|n| world.fleet.set(n, Health::Failing));
    let began = world.set("two").await?;
    let among = world.until(began, "two", |n| n != 0 && !tenth(n)).await;
    println!("among clusters in trouble: {among:?}");
    assert!((0..CLUSTERS).filter(|n| *n == 0 || tenth(*n)).all(|n| world.fleet.writes(n) == SOURCES));
    (0..CLUSTERS).for_each(|n| world.fleet.set(n, Health::Well));
    world.until(began, "two", |_| true).await;
    for n in (0..CLUSTERS).filter(|n| *n != 0 && !tenth(*n)) {
        assert_eq!(world.fleet.writes(n), 2 * SOURCES, "a write for each change, in cluster {n}");
    }
    assert_eq!(world.fleet.odd_requests(), Vec::<String>::new());
    let rss = master.peak_rss()? >> 20;
    println!("{rss} MiB at its peak");
    assert!(rss < 256, "{rss} MiB for {CLUSTERS} clusters");
    crate::master::stage::end(&master).await
}
