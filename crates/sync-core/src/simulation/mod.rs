//! The whole engine against API servers in memory, under paused time.
//!
//! The real [`engine`](crate::engine), source feed, watches and writes run unchanged; what is simulated is below their
//! `kube::Client`: a network that loses and delays, and servers with versions, history and guards. One seed decides
//! everything that is random, before the run begins ([`schedule`]), so that any run can be repeated, and a failing one
//! is shortened ([`shrink`]).
//!
//! | module | what |
//! |---|---|
//! | [`api`] | API servers, as state machines |
//! | [`network`], [`streams`], [`faults`] | what is between a process and a server |
//! | [`process`] | our process, the real thing |
//! | [`users`], [`schedule`] | what happens, and when |
//! | [`judge`], [`known`], [`told`], [`verdict`] | each request, by what the process has been told |
//! | [`oracle`], [`wishes`] | the world in the end, from the users' objects alone |
//! | [`accounts`], [`entries`] | ServiceAccounts: people and who wrote what; judge and oracle of our entries |
//! | [`run`], [`seeds`], [`shrink`] | one run, many, and the shortest that fails |
//! | [`tenure`], [`takeover`] | two processes and one Lease: who may write, and what happens to them |
//! | [`discretion`] | what people are told, without a byte of a payload |
//! | [`leaders`] | several processes and one Lease, by themselves |
//!
//! `SIM_SEED=n` runs one seed, `SIM_SEEDS=n` so many, `SIM_SEEDS=from..to` those.

mod accounts;
mod api;
mod conformance_tests;
mod discretion;
mod entries;
mod faults;
mod judge;
mod known;
mod leaders;
mod mutant_tests;
mod network;
mod oracle;
mod process;
mod run;
mod sabotage;
mod schedule;
mod seeds;
mod shrink;
mod stage;
mod streams;
mod takeover;
mod tenure;
mod told;
mod users;
mod verdict;
mod wishes;

use std::ops::Range;

use schedule::Schedule;

pub(crate) use sabotage::Sabotage;

const SEEDS: u64 = 1000;

#[test]
fn any_seed_keeps_the_promises() {
    if let Some((seed, failure)) = seeds::first_failure(asked_for(), || ()) {
        panic!("{}", seeds::report(seed, &failure));
    }
}

/// The seeds that the environment names.
fn asked_for() -> Range<u64> {
    let number =
        |text: &str| text.parse::<u64>().unwrap_or_else(|error| panic!("{text:?} is no number of seeds: {error}"));
    match (std::env::var("SIM_SEED"), std::env::var("SIM_SEEDS")) {
        (Ok(one), _) => number(&one)..number(&one) + 1,
        (_, Ok(many)) => {
            let seeds = many.split_once("..").map_or_else(|| 0..number(&many), |(from, to)| number(from)..number(to));
            assert!(!seeds.is_empty(), "{many:?} is no seed at all");
            seeds
        }
        _ => 0..SEEDS,
    }
}

#[test]
fn a_seed_is_a_run() {
    let logged = |seed| {
        let (result, log) = run::logged(&Schedule::new(seed));
        result.unwrap();
        log
    };
    for seed in 0..10 {
        let (once, again) = (logged(seed), logged(seed));
        assert!(once.len() > 100, "nothing happens");
        let other = once.iter().zip(&again).find(|(once, again)| once != again);
        assert_eq!((other, once.len()), (None, again.len()), "seed {seed}");
    }
}
