//! Several processes of one controller: DESIGN section 6, "two replicas of a controller".

mod master;
mod pause;
mod removal;
mod take_over;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use serde_json::Value;
use sync_core::lease::{LEASE, RENEW};
use testbed::{Cluster, ClusterOptions, Mark, Process, Requests, eventually};

use crate::master::stage::Stage;
use crate::support::{SOON, World, install, spawn, until_said};

/// One of the processes.
struct Replica {
    process: Process,
    /// Tells its requests in the audit log from those of the others.
    token: String,
}

impl Replica {
    /// Starts an agent, with a token of its own.
    async fn agent(cluster: &Cluster) -> Result<Self> {
        let access = cluster.service_account("operator", "mw-sync-agent").await?;
        let token = access.token_id().context("no id")?;
        let kubeconfig: PathBuf = cluster.write_kubeconfig(&access)?;
        let process = spawn(&kubeconfig, &["--leader-elect", "--delete-grace=1s"]).await?;
        Ok(Self { process, token })
    }

    /// Starts a master, likewise.
    async fn master(stage: &Stage<'_>) -> Result<Self> {
        let access = stage.access().await?;
        let token = access.token_id().context("no id")?;
        Ok(Self { process: stage.by_access(&access)?.master(&["--leader-elect"]).await?, token })
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

    /// Waits until it stands by and could lead at once.
    async fn stands_by(&self) {
        self.says("standing by").await;
        self.says("all lists have come").await;
    }

    /// What it has written since, but for its Lease.
    async fn writes(&self, cluster: &Cluster, mark: Mark) -> Result<Requests> {
        let requests = cluster.audit().since(mark).await?.writes();
        Ok(requests.filter(|entry| entry.token_id == self.token && entry.resource != "leases"))
    }

    /// Ends it, which it takes well; says how long it took.
    async fn end(&self) -> Result<Duration> {
        let began = Instant::now();
        self.process.terminate();
        let status = self.process.wait_exit(SOON).await?;
        let took = began.elapsed();
        println!("{status} after {took:?}");
        ensure!(status.code() == Some(0), "{status} after {took:?}");
        Ok(took)
    }
}

/// Ends the leader in order: within 5 s, and the standby leads within a second of its release of the Lease; once in three
/// times, for a busy machine may be late. Returns the one that leads then, and how many changes it took.
async fn hand_over(
    cluster: &Cluster,
    mut leader: Replica,
    mut standby: Replica,
    start: impl AsyncFn() -> Result<Replica>,
) -> Result<(Replica, u32)> {
    for changes in 1..=3 {
        let mark = cluster.audit().mark().await?;
        let took = leader.end().await?;
        standby.says(": leading").await;
        let patches = cluster.audit().since(mark).await?.resource("leases").verb("patch");
        let of = |token: &str| patches.clone().filter(|entry| entry.token_id == token && entry.code == 200);
        let (released, taken) = (of(&leader.token), of(&standby.token));
        let taken = taken.each().next().context("it was not taken")?;
        // What the server does not answer in time is left to run out.
        let pause = released.each().last().map(|released| taken.seconds_after(released));
        println!("taken over {pause:.3?} s after the release");
        if pause.is_some_and(|pause| pause < 1.0) && took < Duration::from_secs(5) {
            return Ok((standby, changes));
        }
        (leader, standby) = (standby, start().await?);
        standby.stands_by().await;
    }
    bail!("no leader ends and no standby leads in time")
}

/// A cluster with so many namespaces, an agent that leads in it, and one that stands by.
async fn leader_and_standby(namespaces: usize) -> Result<(Cluster, World, Replica, Replica)> {
    let cluster = Cluster::start(ClusterOptions::default().without_controller_manager()).await?;
    let world = World::of(&cluster);
    install(&cluster).await?;
    for n in 0..namespaces {
        world.namespace(&format!("n-{n:03}")).await?;
    }
    let first = Replica::agent(&cluster).await?;
    first.says(": leading").await;
    first.says("all lists have come").await;
    let second = Replica::agent(&cluster).await?;
    second.stands_by().await;
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

/// Kills the leader, and says when it renewed its Lease last: some seconds before, for one renewal is sent every 5 s.
async fn kill(world: &World, name: &str, leader: &Replica) -> Result<Timestamp> {
    let renewed = async || time(&lease(world, name).await?["spec"]["renewTime"]);
    eventually(SOON, "the last renewal is some seconds old", async || {
        let age = Timestamp::now().duration_since(renewed().await?);
        ensure!((2..4).contains(&age.as_secs()), "{age}");
        Ok(())
    })
    .await;
    leader.process.kill9();
    leader.process.wait_exit(SOON).await?;
    renewed().await
}

/// The Lease, which somebody has taken from one that was killed: never before it has run out before the eyes of the next
/// one. By the clock of one that sees each renewal at once that is [`LEASE`] after the last, to the moment, as the unit tests
/// of the election hold; here the next one may see that one late, and be late in taking it.
async fn taken_in_time(world: &World, name: &str, renewed: Timestamp) -> Result<Value> {
    let lease = lease(world, name).await?;
    let pause = time(&lease["spec"]["acquireTime"])?.duration_since(renewed).as_secs_f64();
    println!("taken over after kill -9, {pause:.3} s after the last renewal");
    ensure!((LEASE.as_secs_f64()..(LEASE + RENEW).as_secs_f64()).contains(&pause), "{pause} s");
    Ok(lease)
}
