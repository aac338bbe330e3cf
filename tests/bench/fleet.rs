//! A master and a thousand clusters in four accounts, all but the management cluster simulated: how long ten sources take
//! to all of them, what one black hole and a tenth that fail cost the others, and what the start costs AWS.

// A program for people, and one that shall fail loudly.
#![allow(clippy::print_stderr, clippy::print_stdout)]

mod budget;
#[path = "fleet/world.rs"]
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use sync_core::index::pace;
use testbed::{Binaries, Health};

use budget::{Budgets, Strictness};
use world::{ACCOUNTS, SOURCES, World, count, most_a_second};

const MIB: f64 = (1 << 20) as f64;
/// DESIGN section 11: what clusters that are ill may cost the others, as a part of what it takes without them.
const ILL: f64 = 1.05;

/// Measures a master with many clusters.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench fleet --")]
struct Options {
    /// How many clusters
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=5000))]
    clusters: u32,
    /// How many rounds of each kind
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// For how many seconds a cluster has been ill when the sources change: 0 is the moment at which its watches break
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=600))]
    ill_for: u64,
    #[command(flatten)]
    strictness: Strictness,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if !options.bench {
        println!("nothing measured: this is for `cargo bench --bench fleet`");
        return Ok(ExitCode::SUCCESS);
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(&options))
}

async fn measure(options: &Options) -> Result<ExitCode> {
    let mut budgets = Budgets::default();
    eprintln!("building the master, starting a cluster, a stand-in for AWS and {} clusters ...", options.clusters);
    let program = Binaries::build_release().await?.master();
    let world = World::start(options.clusters as usize).await?;
    world.set("begin").await?;
    let mark = world.aws.mark().await?;
    let began = Instant::now();
    let master = world.master(program).await?;
    let start = world.until(began, "begin", |_| true).await;
    let calls = world.calls(mark).await?;
    println!(
        "start: {} clusters have {SOURCES} sources after {:.2} s; AssumeRole {} times for {ACCOUNTS} roles, DescribeCluster {} \
         times, at most {} in a second",
        world.size,
        start.as_secs_f64(),
        count(&calls, "AssumeRole") + count(&calls, "AssumeRoleWithWebIdentity"),
        count(&calls, "DescribeCluster"),
        most_a_second(&calls, "DescribeCluster"),
    );

    let tenth = |n: usize| n % 10 == 3;
    // Each is of the clusters that are always well, so that all count the same ones.
    let counted = |n: usize| n != 0 && !tenth(n);
    let (mut plain, mut hole, mut failing) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=options.rounds {
        for (kind, times) in [("plain", &mut plain), ("hole", &mut hole), ("failing", &mut failing)] {
            let ill = |n: usize| (kind == "hole" && n == 0) || (kind == "failing" && tenth(n));
            let health = if kind == "hole" { Health::BlackHole } else { Health::Failing };
            (0..world.size).filter(|n| ill(*n)).for_each(|n| world.fleet.set(n, health));
            tokio::time::sleep(Duration::from_secs(options.ill_for)).await;
            let value = format!("{kind}-{round}");
            let began = world.set(&value).await?;
            let took = world.until(began, &value, counted).await;
            // The first is to warm up.
            if round > 0 {
                times.push(took);
            }
            (0..world.size).for_each(|n| world.fleet.set(n, Health::Well));
            world.until(began, &value, |_| true).await;
            // Sources that change more often are busy, and would be held back.
            tokio::time::sleep_until((began + pace::EVERY).into()).await;
        }
        if round > 0 {
            let last = |times: &[Duration]| times.last().map_or(0.0, Duration::as_secs_f64);
            println!(
                "  round {round}: plain {:.3} s, with a black hole {:.3} s, with a tenth that fails {:.3} s",
                last(&plain),
                last(&hole),
                last(&failing)
            );
        }
    }
    ensure!(world.fleet.odd_requests().is_empty(), "{:?}", world.fleet.odd_requests());
    let base = median(&mut plain);
    println!("{SOURCES} sources to {} clusters, median: {base:.3} s", world.size);
    budgets.hold("with a black hole", median(&mut hole) / base, ILL, " x");
    budgets.hold("with a tenth that fails", median(&mut failing) / base, ILL, " x");
    let connections: usize = (0..world.size).map(|n| world.fleet.connections(n).0).sum();
    println!(
        "master: {connections} connections, {:.1} MiB RSS, {:.1} MiB at its peak, {:.1} s of CPU",
        master.rss()? as f64 / MIB,
        master.peak_rss()? as f64 / MIB,
        master.cpu_seconds()?
    );
    // Cluster facts are read again after 5 to 10 min, sessions end after an hour and are renewed before that.
    println!("AWS calls an hour, computed: {} DescribeCluster, {} AssumeRole", world.size * 8, ACCOUNTS * 2);
    master.terminate();
    ensure!(master.wait_exit(Duration::from_secs(30)).await?.success(), "{}", master.log_tail(20));
    Ok(budgets.verdict(&options.strictness))
}

/// In seconds.
fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(f64::NAN, Duration::as_secs_f64)
}
