//! Several processes of one controller: DESIGN section 6, "two replicas of a controller".

mod master;
mod pause;
mod removal;
mod take_over;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;
use sync_core::lease::{LEASE, RENEW};
use testbed::{Cluster, ClusterOptions, Mark, Process, Requests, eventually};

use crate::support::{AGENT, SOON, World, install, spawn, until_said};

/// One of the processes.
struct Agent {
    process: Process,
    /// Tells its requests in the audit log from those of the others.
    token: String,
}

impl Agent {
    /// Starts one, with a token of its own.
    async fn start(cluster: &Cluster) -> Result<Self> {
        let access = cluster.service_account("operator", "mw-sync-agent").await?;
        let token = access.token_id().context("no id")?;
        let kubeconfig: PathBuf = cluster.write_kubeconfig(&access)?;
        let process = spawn(&kubeconfig, &["--leader-elect", "--delete-grace=1s"]).await?;
        Ok(Self { process, token })
    }

    async fn says(&self, what: &str) {
        until_said(&self.process, &[what]).await;
    }

    async fn says_times(&self, what: &str, times: usize) {
        eventually(SOON, format!("it says {what:?}, {times} times"), async || {
            let log = self.process.stderr();
            ensure!(log.lines().filter(|line| line.contains(what)).count() >= times, "{log}");
            Ok(())
        })
        .await;
    }

    /// What it has asked for since, but for its Lease.
    async fn writes(&self, cluster: &Cluster, mark: Mark) -> Result<Requests> {
        let requests = cluster.audit().since(mark).await?.user(AGENT).writes();
        Ok(requests.filter(|entry| entry.token_id == self.token && entry.resource != "leases"))
    }
}

/// A cluster with so many namespaces, an agent that leads in it, and one that stands by.
async fn leader_and_standby(namespaces: usize) -> Result<(Cluster, World, Agent, Agent)> {
    let cluster = Cluster::start(ClusterOptions::default().without_controller_manager()).await?;
    let world = World::of(&cluster);
    install(&cluster).await?;
    for n in 0..namespaces {
        world.namespace(&format!("n-{n:03}")).await?;
    }
    let first = Agent::start(&cluster).await?;
    first.says(": leading").await;
    first.says("all lists have come").await;
    let second = Agent::start(&cluster).await?;
    second.says("standing by").await;
    Ok((cluster, world, first, second))
}

/// The Lease as it is.
async fn lease(world: &World, name: &str) -> Result<Value> {
    let found = world.list("/apis/coordination.k8s.io/v1/namespaces/operator/leases").await?;
    found.into_iter().find(|lease| lease["metadata"]["name"] == name).with_context(|| format!("no lease {name}"))
}

fn time(of: &Value) -> Result<Timestamp> {
    Ok(of.as_str().context("no time")?.parse()?)
}

/// When the Lease was renewed last, which was some seconds ago: one renewal is sent every 5 s.
async fn between_renewals(world: &World, name: &str) -> Timestamp {
    eventually(SOON, "the last renewal is some seconds old", async || {
        let renewed = time(&lease(world, name).await?["spec"]["renewTime"])?;
        let age = Timestamp::now().duration_since(renewed);
        ensure!((2..4).contains(&age.as_secs()), "{age}");
        Ok(renewed)
    })
    .await
}

/// The Lease, which somebody has just taken from one that was killed then: never before it has run out before the eyes
/// of the next one. By the clock of one that sees each renewal at once that is within [`LEASE`] after the end, to the
/// moment, as the unit tests of the election hold; here the next one may see the last renewal late, and be late in taking it.
async fn taken_in_time(world: &World, name: &str, killed: Instant, renewed: Timestamp) -> Result<Value> {
    let (took, lease) = (killed.elapsed(), lease(world, name).await?);
    let pause = time(&lease["spec"]["acquireTime"])?.duration_since(renewed).as_secs_f64();
    println!("taken over {took:?} after kill -9, {pause:.3} s after the last renewal");
    ensure!(pause >= LEASE.as_secs_f64() && took < LEASE + RENEW, "{pause} s, {took:?}");
    Ok(lease)
}
