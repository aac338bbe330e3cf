//! One source to many namespaces, created and updated, each run beside its floor: plain writes of the same bodies by
//! a bare client over the same kind of connection to the same API server.
//!
//! The floor is there three times: plain; with a watch on what it writes, as whoever repairs copies must have one; and by
//! the agent's JSON Patches too. So one sees what of the difference is the server's work, and what the agent's own.
//!
//! Times are the API server's own, from its audit log: from the arrival of the first request (for the agent the
//! annotation or the source's update, for the floor its first write) to the end of the last write. So nothing watches
//! the runs that would slow one side, and neither side gains by how its client learns of the end.

// A program for people, and one that shall fail loudly.
#![allow(clippy::indexing_slicing, clippy::print_stderr, clippy::print_stdout)]

mod agent;
mod budget;
mod copies;
mod floor;
mod log;
mod report;
mod world;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use budget::{Budgets, Strictness};
use copies::Copies;
use floor::Floor;
use report::{Floors, Report};
use world::World;

/// Writes under way at once, on both sides.
const IN_FLIGHT: usize = 64;

/// Measures the fan-out of one source beside plain writes.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --")]
pub(crate) struct Options {
    /// How many namespaces
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    namespaces: u32,
    /// How many pairs of runs, after one that does not count
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: u32,
    #[command(flatten)]
    strictness: Strictness,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if !options.bench {
        println!("nothing measured: this is for `cargo bench`");
        return Ok(ExitCode::SUCCESS);
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(&options))
}

async fn measure(options: &Options) -> Result<ExitCode> {
    let world = World::start(options.namespaces).await?;
    let copies = Copies::default();
    let mut report = Report::default();
    for round in 0..=options.pairs {
        // The agent of the first round makes the objects whose bodies the floor sends from then on.
        let agent = if round == 0 { Some(agent::run(&world, &copies).await?) } else { None };
        let floors = Floors {
            plain: floor::run(&world, &copies, Floor::Plain).await?,
            watched: floor::run(&world, &copies, Floor::Watched).await?,
            patched: floor::run(&world, &copies, Floor::Patched).await?,
        };
        let agent = match agent {
            Some(agent) => agent,
            None => agent::run(&world, &copies).await?,
        };
        println!("{}", report::line(round, &floors, &agent));
        if round > 0 {
            report.add(floors, agent);
        }
    }
    let mut budgets = Budgets::default();
    report.print(options.namespaces, &mut budgets);
    world.stop().await;
    Ok(budgets.verdict(&options.strictness))
}
