//! The shortest schedule that still fails.

use std::time::Duration;

use super::run::run;
use super::schedule::{Act, Schedule};

/// Most runs that it may take: a few seconds.
const RUNS: usize = 500;

/// Shortens a schedule that fails: leaves out acts, then pauses, then what is special about the scene, as long as the
/// same promise is broken.
pub(super) fn shrink(schedule: Schedule, promise: &str) -> Schedule {
    let mut shrinking = Shrinking { best: schedule, promise: kind(promise).to_owned(), left: RUNS };
    shrinking.acts();
    shrinking.pauses();
    let quick = Duration::from_millis(3);
    shrinking.attempt(|schedule| (schedule.scene.latency, schedule.scene.lag) = (quick, Duration::ZERO));
    shrinking.attempt(|schedule| schedule.scene.max_in_flight = 16);
    shrinking.attempt(|schedule| schedule.pages = None);
    shrinking.best
}

/// Which promise it is about.
pub(super) fn kind(what: &str) -> &str {
    what.split(':').next().unwrap_or_default()
}

struct Shrinking {
    best: Schedule,
    promise: String,
    left: usize,
}

impl Shrinking {
    /// Whether a changed schedule fails too; then it is the best one.
    fn attempt(&mut self, change: impl FnOnce(&mut Schedule)) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let mut schedule = self.best.clone();
        change(&mut schedule);
        let fails = run(&schedule, false).is_err_and(|failure| kind(&failure.what) == self.promise);
        if fails {
            self.best = schedule;
        }
        fails
    }

    /// Leaves out half of the acts, a quarter, and so on down to single ones, for as long as that helps.
    fn acts(&mut self) {
        let mut size = self.best.acts.len().div_ceil(2);
        while size > 0 && self.left > 0 {
            let (mut at, mut helped) = (0, false);
            while at < self.best.acts.len() {
                let out = at..(at + size).min(self.best.acts.len());
                if self.attempt(|schedule| leave_out(schedule, out)) {
                    helped = true;
                } else {
                    at += size;
                }
            }
            if !helped || size > 1 {
                size /= 2;
            }
        }
    }

    fn pauses(&mut self) {
        for n in 0..self.best.acts.len() {
            let (pause, act) = &self.best.acts[n];
            // What is checked needs its time.
            if !pause.is_zero() && !matches!(act, Act::Check(..)) {
                self.attempt(|schedule| schedule.acts[n].0 = Duration::ZERO);
            }
        }
    }
}

/// What comes after stays when it was.
fn leave_out(schedule: &mut Schedule, out: std::ops::Range<usize>) {
    let pause: Duration = schedule.acts.drain(out.clone()).map(|(pause, _)| pause).sum();
    if let Some((before, _)) = schedule.acts.get_mut(out.start) {
        *before += pause;
    }
}
