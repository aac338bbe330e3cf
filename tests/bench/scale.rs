//! A hundred sources to a thousand namespaces: how long a new namespace waits behind 100,000 writes, what the agent's
//! memory holds then, of which what it holds without sources is not the replicas', what 20,000 Secrets that are none of its
//! business add, and what a restart costs. With `--strict` a budget that is missed is a failure.
//!
//! Times are the API server's own, from its audit log, as in the other benchmark.

// A program for people, and one that shall fail loudly.
#![allow(clippy::indexing_slicing, clippy::print_stderr, clippy::print_stdout)]

mod budget;
mod log;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clap::Parser;
use http::Method;
use jiff::Timestamp;
use serde_json::json;
use testbed::{Process, Requests};
use tokio::time::sleep;

use budget::{Budgets, Strictness};
use log::said;
use world::{World, docker_config, secrets, send, send_all};

/// Requests under way at once while all is made ready.
const IN_FLIGHT: usize = 64;
const MIB: f64 = (1 << 20) as f64;
/// DESIGN section 11: what the slowest of a hundred new namespaces may take, in milliseconds.
const NEW_NAMESPACE_P99: f64 = 250.0;
/// What 100,000 replicas may take: resident memory in MiB, and what each may add to that of none, in bytes.
const RSS: f64 = 64.0;
const PER_REPLICA: f64 = 256.0;
/// What 20,000 unrelated Secrets may add, in MiB.
const UNRELATED: f64 = 1.0;
const AGENT: &str = "system:serviceaccount:operator:mw-sync-agent";

/// Measures an agent with many sources and many namespaces.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench scale --")]
struct Options {
    /// How many namespaces there are at first
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    namespaces: u32,
    /// How many sources
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    sources: u32,
    /// How many namespaces are created while the fan-out runs, one a second
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    new: u32,
    /// The agent's `--max-in-flight`, at first what it has when nobody says anything
    #[arg(long, default_value_t = 32)]
    in_flight: usize,
    /// How many Secrets that are no sources are created afterwards
    #[arg(long, default_value_t = 20_000)]
    unrelated: u32,
    #[command(flatten)]
    strictness: Strictness,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if !options.bench {
        println!("nothing measured: this is for `cargo bench --bench scale`");
        return Ok(ExitCode::SUCCESS);
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(&options))
}

async fn measure(options: &Options) -> Result<ExitCode> {
    let mut budgets = Budgets::default();
    let world = World::start(options.namespaces).await?;
    let agent = start(&world, options.in_flight).await?;
    said(&agent, "all sources are known", 1).await;
    let without = settled_rss(&agent).await?;
    println!("agent, {} namespaces and no source: RSS {:.1} MiB", world.namespaces.len(), without / MIB);
    stop(&agent).await?;

    create_secrets(&world, "operator", "source", options.sources, true).await?;
    let places = world.namespaces.len() as u32 + options.new;
    let replicas = places * options.sources;

    let mark = world.cluster.audit().mark().await?;
    let agent = start(&world, options.in_flight).await?;
    let mut new = Vec::new();
    for n in 0..options.new {
        sleep(Duration::from_secs(1)).await;
        let name = format!("new-{n:04}");
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        // The audit log does not name what is created; it is the same clock.
        new.push((name, Timestamp::now()));
        send(&world.connection, Method::POST, "/api/v1/namespaces", namespace.to_string().into()).await?;
    }
    said(&agent, &format!("synced={places}\n"), options.sources as usize).await;
    let requests = world.cluster.audit().since(mark).await?;
    let p99 = report_fan_out(&requests, options, &new)?;
    budgets.hold("new namespace, p99", p99, NEW_NAMESPACE_P99, " ms");

    println!("agent, {replicas} replicas:");
    println!("  peak RSS   {:.1} MiB", agent.peak_rss()? as f64 / MIB);
    let before = settled_rss(&agent).await?;
    let per_replica = |rss: f64| (rss - without) / f64::from(replicas);
    budgets.hold("RSS", before / MIB, RSS, " MiB");
    budgets.hold("memory per replica", per_replica(before), PER_REPLICA, " bytes");

    // Half of them where the agent reads each.
    for namespace in ["tenant-00000", "operator"] {
        create_secrets(&world, namespace, "unrelated", options.unrelated / 2, false).await?;
    }
    let after = settled_rss(&agent).await?;
    println!("  {} unrelated Secrets", options.unrelated);
    budgets.hold("what they add", (after - before) / MIB, UNRELATED, " MiB");
    stop(&agent).await?;

    let mark = world.cluster.audit().mark().await?;
    let agent = start(&world, options.in_flight).await?;
    said(&agent, &format!("synced={places}\n"), options.sources as usize).await;
    let rss = settled_rss(&agent).await?;
    let requests = world.cluster.audit().since(mark).await?.user(AGENT);
    println!("restarted:");
    println!(
        "  RSS        {:.1} MiB, {:.0} bytes a replica, at its peak {:.1} MiB",
        rss / MIB,
        per_replica(rss),
        agent.peak_rss()? as f64 / MIB
    );
    println!("  requests   {} in all", requests.count());
    budgets.hold("writes", requests.writes().count() as f64, 0.0, "");
    stop(&agent).await?;
    world.stop().await;
    Ok(budgets.verdict(&options.strictness))
}

async fn start(world: &World, in_flight: usize) -> Result<Process> {
    let args = ["--log-format=text".to_owned(), format!("--max-in-flight={in_flight}")];
    Process::spawn(world.agent, args, [("KUBECONFIG", &world.agent_kubeconfig)])
}

async fn stop(agent: &Process) -> Result<()> {
    agent.terminate();
    ensure!(agent.wait_exit(Duration::from_secs(10)).await?.success(), "{}", agent.log_tail(20));
    Ok(())
}

/// What is resident when nothing has been done for a while.
async fn settled_rss(agent: &Process) -> Result<f64> {
    sleep(Duration::from_secs(5)).await;
    Ok(agent.rss()? as f64)
}

async fn create_secrets(world: &World, namespace: &str, name: &str, count: u32, on: bool) -> Result<()> {
    let annotations = if on { json!({ "mw-sync": "yes" }) } else { json!({}) };
    let bodies = (0..count).map(|n| {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
            "metadata": { "name": format!("{name}-{n:05}"), "annotations": annotations },
            "data": docker_config(&format!("{name}-{n}")),
        });
        (secrets(namespace), Bytes::from(secret.to_string()))
    });
    send_all(&world.connection, &Method::POST, bodies).await
}

/// The whole, and how long each new namespace waited for its last copy: in time, which is the server's, and in writes, which
/// says how much of what the server could do was for others.
///
/// Returns what the slowest of a hundred took, in milliseconds.
fn report_fan_out(requests: &Requests, options: &Options, new: &[(String, Timestamp)]) -> Result<f64> {
    let writes = requests.clone().user(AGENT).resource("secrets").writes();
    let mut last: BTreeMap<&str, Timestamp> = BTreeMap::new();
    let (mut begin, mut end) = (Timestamp::MAX, Timestamp::MIN);
    for write in writes.entries() {
        let (received, answered) = (write.received.parse()?, write.at.parse()?);
        (begin, end) = (Timestamp::min(begin, received), Timestamp::max(end, answered));
        let of = last.entry(&write.namespace).or_insert(answered);
        *of = (*of).max(answered);
    }
    let seconds = end.duration_since(begin).as_secs_f64();
    println!("\n{} sources to {} namespaces, {} in flight", options.sources, last.len(), options.in_flight);
    println!("  {} writes in {seconds:.1} s, {:.0} a second", writes.count(), writes.count() as f64 / seconds);

    let mut answers = Vec::new();
    for write in writes.entries() {
        answers.push(write.at.parse::<Timestamp>()?);
    }
    let (mut waits, mut ahead) = (Vec::new(), Vec::new());
    for (name, created) in new {
        let complete = last.get(name.as_str()).with_context(|| format!("nothing in {name}"))?;
        ensure!(*created < end, "{name} came after the fan-out: fewer --new, or more --sources");
        waits.push(complete.duration_since(*created).as_millis());
        ahead.push(answers.iter().filter(|at| (created..=complete).contains(at)).count() as i128);
    }
    let (waits, ahead) = (Spread::of(waits), Spread::of(ahead));
    println!("  {} new namespaces meanwhile", new.len());
    println!("    complete after ms                   {waits}");
    println!("    writes answered meanwhile, anywhere {ahead}");
    Ok(waits.at(0.99) as f64)
}

/// How values are spread.
struct Spread(Vec<i128>);

impl Spread {
    fn of(mut values: Vec<i128>) -> Self {
        values.sort_unstable();
        Self(values)
    }

    fn at(&self, part: f64) -> i128 {
        self.0[((self.0.len() as f64 * part).ceil() as usize).clamp(1, self.0.len()) - 1]
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "median {}, p90 {}, p99 {}", self.at(0.5), self.at(0.9), self.at(0.99))
    }
}
