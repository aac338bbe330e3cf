//! An API server that has too much to do, and says so.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testbed::{Cluster, ClusterOptions, eventually};

use super::port::{address, fetch, samples};
use crate::support::{AGENT, Kind, SOON, World, annotated, install, spawn};

/// Promise 5, "concurrency adapts": what it refuses with 429 is written later, with fewer requests at once.
#[tokio::test]
async fn what_a_busy_server_refuses_is_written_later_and_with_fewer_requests_at_once() -> Result<()> {
    const NAMESPACES: usize = 150;
    /// With those of every cluster.
    const PLACES: usize = NAMESPACES + 4;
    const IN_FLIGHT: f64 = 64.0;
    // It answers 429 with Retry-After to whoever comes while three others are served; people, in `system:masters`, it always
    // serves.
    let options = ClusterOptions::default().without_controller_manager();
    let options = options.api_server_arg("--enable-priority-and-fairness=false");
    let cluster = Cluster::start(options.api_server_arg("--max-mutating-requests-inflight=3")).await?;
    let world = World::of(&cluster);
    for n in 0..NAMESPACES {
        world.namespace(&format!("n-{n:03}")).await?;
    }
    let agent = spawn(&install(&cluster).await?, &["--max-in-flight=64"]).await?;
    let address = address(&agent).await;
    let limit_and_queue = async || {
        let samples = samples(&fetch(address, "/metrics").await?.1)?;
        let queue =
            samples.iter().filter(|(name, _)| name.starts_with("mw_sync_queue{lane=")).map(|(_, waiting)| waiting);
        Ok::<_, anyhow::Error>((
            samples.get("mw_sync_in_flight_limit").copied().context("no such metric")?,
            queue.sum::<f64>(),
        ))
    };
    let mark = cluster.audit().mark().await?;
    let (mut low, mut waiting, mut names) = (IN_FLIGHT, 0_f64, Vec::new());
    for n in 0..6 {
        let name = format!("many-{n}");
        world.create(&annotated(Kind::Secret, &name, &json!({"a": "MQ=="}))).await?;
        names.push(name);
    }
    for name in &names {
        eventually(SOON, format!("{name} is everywhere"), async || {
            let (limit, queue) = limit_and_queue().await?;
            (low, waiting) = (low.min(limit), waiting.max(queue));
            let there = world.copies(Kind::Secret, name).await?.len();
            ensure!(there == PLACES, "{there} copies");
            Ok(())
        })
        .await;
    }
    let creates = cluster.audit().since(mark).await?.user(AGENT).resource("secrets").verb("create");
    let refused = creates.clone().filter(|entry| entry.code == 429).count();
    let done = creates.clone().filter(|entry| entry.code == 201).count();
    println!("{done} writes, {refused} refused, at least {low} at once");
    assert_eq!(done, names.len() * PLACES);
    assert!(refused > 0, "the server had enough to do: {:?}", creates.counts());
    assert!(refused < done, "most were not refused: {refused} of {done}");
    assert!(low < IN_FLIGHT / 2.0, "fewer at once: {low}");
    assert!(waiting > 0.0, "what waits is counted");
    eventually(SOON, "and what does not is not", async || {
        let (_, queue) = limit_and_queue().await?;
        ensure!(queue == 0.0, "{queue}");
        anyhow::Ok(())
    })
    .await;
    Ok(())
}
