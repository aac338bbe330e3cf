//! Many seeds, on all processors.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::run::{Failure, run};
use super::schedule::Schedule;
use super::shrink::shrink;

/// A run takes some 20 ms. One that takes so long will never end: the clock stands still while something is busy.
const STUCK: Duration = Duration::from_secs(120);

/// Runs these seeds until one fails; the first of those that do, and how. `prepare` is called in each thread.
pub(super) fn first_failure(seeds: Range<u64>, prepare: impl Fn() + Sync) -> Option<(u64, Failure)> {
    first_failure_of(seeds, Schedule::new, prepare)
}

/// The same of schedules that have a number.
pub(super) fn first_failure_of(
    seeds: Range<u64>,
    schedule: impl Fn(u64) -> Schedule + Sync,
    prepare: impl Fn() + Sync,
) -> Option<(u64, Failure)> {
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(BTreeMap::new()));
    let running = Mutex::new(BTreeMap::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        prepare();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || !failed.lock().unwrap().is_empty() {
                return;
            }
            running.lock().unwrap().insert(seed, Instant::now());
            if let Err(failure) = run(&schedule(seed), false) {
                failed.lock().unwrap().insert(seed, failure);
            }
            running.lock().unwrap().remove(&seed);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
            let stuck =
                running.lock().unwrap().iter().find(|(_, since)| since.elapsed() > STUCK).map(|(seed, _)| *seed);
            if let Some(seed) = stuck {
                let schedule = schedule(seed);
                let of = schedule.scene.seed;
                eprintln!(
                    "SIM_SEED={of}, or what was made of it, does not end: something is busy while no time passes"
                );
                eprintln!("{schedule}");
                std::process::abort();
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    failed.into_inner().unwrap().pop_first()
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}, pages {:?}, operator stays {}", self.scene, self.pages, self.operator_stays)?;
        let mut at = Duration::ZERO;
        for (pause, act) in &self.acts {
            at += *pause;
            writeln!(f, "{:>9.3} {act:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

/// Tells all about a failure: the shortest schedule that fails so, and what happens in it.
pub(super) fn report(seed: u64, failure: &Failure) -> String {
    let short = shrink(Schedule::new(seed), &failure.what);
    let (what, log) = match run(&short, true) {
        Ok(()) => (failure.what.clone(), Vec::new()),
        Err(failure) => (failure.what, failure.log),
    };
    let quiet = |line: &&String| !line.contains("BOOKMARK") && !line.contains("#Event") && !line.contains("/leases");
    let log: Vec<_> = log.iter().filter(quiet).map(String::as_str).collect();
    let acts = Schedule::new(seed).acts.len();
    format!(
        "{what}\n\nThe shortest schedule that fails so ({} acts of {acts}):\n{short}\nWhat happens in it:\n{}\n\n\
         SIM_SEED={seed} cargo test -p sync-core simulation\n",
        short.acts.len(),
        log.join("\n")
    )
}
