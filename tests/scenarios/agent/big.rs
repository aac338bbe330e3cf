//! Large payloads.

use anyhow::Result;
use k8s_openapi::ByteString;
use serde_json::json;
use testbed::{Cluster, ClusterOptions, eventually};

use crate::support::{Kind, SOON, World, annotated, install, spawn};

/// The most that a server takes in one Secret (`MaxSecretSize`).
const LARGEST: usize = 1 << 20;
const NAMESPACES: usize = 200;
const BUDGET: u64 = 150 << 20;

/// Promise 9: 200 copies of the largest Secret cost the agent no 200 MiB, made, changed or found at a start.
#[tokio::test]
async fn two_hundred_copies_of_a_mebibyte_need_little_memory() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default().without_controller_manager()).await?;
    let world = World::of(&cluster);
    let kubeconfig = install(&cluster).await?;
    for n in 0..NAMESPACES {
        world.namespace(&format!("n-{n:03}")).await?;
    }
    let all = NAMESPACES + 4;
    let data = |first: u8| json!({"large": ByteString((0..LARGEST).map(|n| n.to_le_bytes()[0] ^ first).collect())});
    let (one, two) = (data(1), data(2));
    let agent = spawn(&kubeconfig, &[]).await?;
    world.create(&annotated(Kind::Secret, "large", &one)).await?;
    let said = format!("in place source=Secret/large synced={all}");
    let times = async |process: &testbed::Process, count: usize| {
        eventually(3 * SOON, format!("{count} times: {said}"), async || {
            let log = process.stderr();
            if log.matches(&said).count() >= count { Ok(()) } else { Err(process.log_tail(20)) }
        })
        .await;
    };
    times(&agent, 1).await;
    let created = agent.peak_rss()?;
    world.merge(Kind::Secret, "operator", "large", &json!({"data": two})).await?;
    times(&agent, 2).await;
    for n in [0, 99, 199] {
        world.until_data(Kind::Secret, &format!("n-{n:03}"), "large", &two).await;
    }
    let changed = agent.peak_rss()?;
    agent.terminate();
    agent.wait_exit(SOON).await?;

    let agent = spawn(&kubeconfig, &[]).await?;
    times(&agent, 1).await;
    let listed = agent.peak_rss()?;
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "peak MiB: {} after creates, {} after updates, {} after a restart; {} resident",
        mib(created),
        mib(changed),
        mib(listed),
        mib(agent.rss()?)
    );
    assert!(changed < BUDGET && listed < BUDGET, "{changed} and {listed} bytes");
    cluster.stop().await;
    Ok(())
}
