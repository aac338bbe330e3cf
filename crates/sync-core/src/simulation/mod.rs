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

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use faults::{Boundary, Class, Fate};
use schedule::{Act, Schedule};
use users::User;

pub(crate) use sabotage::Sabotage;

const SEEDS: u64 = 1000;

#[test]
fn any_seed_keeps_the_promises() {
    if let Some((seed, failure)) = seeds::first_failure(asked_for(), || ()) {
        panic!("{}", seeds::report(seed, &failure));
    }
}

/// A process that is killed at any request, at each of its boundaries, leaves nothing that the next one does not mend.
#[test]
fn a_crash_at_any_request_is_survived() {
    const REQUESTS: u32 = 40;
    const SEEDS: usize = 6;
    let schedule = |(seed, boundary, before): (u64, Boundary, u32)| {
        let mut schedule = Schedule::new(seed);
        // This one alone.
        schedule.acts.retain(|(_, act)| !matches!(act, Act::Crash(..) | Act::Kill(_)));
        schedule.acts.insert(0, (Duration::ZERO, Act::Crash(Class::All, boundary, before)));
        schedule
    };
    // In others there are fewer requests while anything can fail.
    let crashes = |case| run::logged(&schedule(case)).1.iter().any(|line| line.ends_with(" crashes"));
    let reaches = |seed: &u64| Boundary::ALL.into_iter().all(|boundary| crashes((*seed, boundary, REQUESTS - 1)));
    let seeds: Vec<_> = (0..100).filter(reaches).take(SEEDS).collect();
    assert_eq!(seeds.len(), SEEDS, "{seeds:?} have {REQUESTS} requests");
    let boundaries = |seed| Boundary::ALL.into_iter().map(move |boundary| (seed, boundary));
    let requests = |(seed, boundary)| (0..REQUESTS).map(move |before| (seed, boundary, before));
    let cases: Vec<_> = seeds.into_iter().flat_map(boundaries).flat_map(requests).collect();
    let case = |n: u64| cases[usize::try_from(n).unwrap()];
    if let Some((n, failure)) = seeds::first_failure_of(0..cases.len() as u64, |n| schedule(case(n)), || ()) {
        panic!("seed and crash {:?}: {}", case(n), failure.what);
    }
}

/// Everything that can go wrong and that people do: a kind of act, and what there is of it.
const ACTS: [(&str, &str); 17] = [
    ("Ambush", "Writes Reads Watches Leases All"),
    ("Fate", "Swallowed Lost ReplyLost Late DoneBut Odd DoneButOdd"),
    ("Refused", "401 403 404 409 429 500 503"),
    ("Close", "Rejecting Hanging"),
    ("Cut", "End Break Silence"),
    ("Watch", "SourceSecrets SourceConfigMaps SourceNamespace Secrets ConfigMaps Namespaces Accounts"),
    ("Crash", "Writes Reads Watches Leases"),
    ("Boundary", "Sent Done Answered"),
    ("Pause", "Leader Standby"),
    ("Kill", "Leader Standby"),
    ("Source", "Make Annotate Options Note Change Fix Delete"),
    ("Namespace", "Create Delete OptOut Relabel"),
    ("Replica", "Delete Data Label DropSource Relabel DropMark OtherOrigin Mark Fix Make"),
    ("Account", "Create Delete List Unlist TurnAround Note DropRecord"),
    ("Cluster", "Relabel Down Lag Expire"),
    ("Server", "Compact Stale"),
    ("Time", "Jump Check Restart"),
];

/// They are all in the seeds of every test run.
#[test]
fn every_trouble_comes_up() {
    let mut seen = BTreeSet::new();
    for (_, act) in (0..SEEDS).flat_map(|seed| Schedule::new(seed).acts) {
        let parts = match &act {
            Act::Ambush(class, Fate::Refused(code), _) => vec![("Ambush", text(class)), ("Refused", text(code))],
            Act::Ambush(class, fate, _) => vec![("Ambush", text(class)), ("Fate", text(fate))],
            Act::Close(_, _, how, _) => vec![("Close", text(how))],
            Act::Cut(slot, cut) => vec![("Cut", text(cut)), ("Watch", text(&slot.what))],
            Act::Crash(class, boundary, _) => vec![("Crash", text(class)), ("Boundary", text(boundary))],
            Act::Pause(whom, _) => vec![("Pause", text(whom))],
            Act::Kill(whom) => vec![("Kill", text(whom))],
            Act::User(User::Source(_, _, what)) => vec![("Source", text(what))],
            Act::User(User::Namespace(_, _, what)) => vec![("Namespace", text(what))],
            Act::User(User::Replica(_, _, _, _, what)) => vec![("Replica", text(what))],
            Act::User(User::Account(_, _, what)) => vec![("Account", text(what))],
            Act::Relabel(..) | Act::Down(..) | Act::Lag(..) | Act::Expire(_) => vec![("Cluster", text(&act))],
            Act::Compact(_) | Act::Stale(..) => vec![("Server", text(&act))],
            Act::Jump(_) | Act::Check(..) | Act::Restart => vec![("Time", text(&act))],
        };
        seen.extend(parts);
    }
    let wanted = ACTS.iter().flat_map(|(kind, all)| all.split(' ').map(move |one| (*kind, one.to_owned())));
    assert_eq!(seen, wanted.collect(), "what comes up, and what should");
}

/// What it is, without what it is about.
fn text(of: &impl std::fmt::Debug) -> String {
    format!("{of:?}").split(['(', '{', ' ']).next().unwrap_or_default().to_owned()
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
