//! How many requests may be under way at once: as many as the server takes, up to `--max-in-flight`.
//!
//! A server that says so is asked for half as much at once, and again for a little more with each round of answers.
//! Latency alone is no reason as long as it is low: it rises with the load on any server, and to wait in its queue
//! costs nothing. Where it is high, fewer are tried for as long as that makes it lower; where it does not, it is not
//! our load that is slow (a webhook, the distance), and fewer at once would only take longer.

use std::time::Duration;

use crate::index::feed::Moment;

/// Nobody waits for a server that answers in this time on average. A quarter of what Kubernetes promises for the
/// slowest hundredth of such calls (SLO: 1 s).
pub(super) const TOLERATED: Duration = Duration::from_millis(250);
/// Above this multiple of the best round seen, latency is well above it.
const WELL_ABOVE: u32 = 2;
/// By which part the limit shrinks and grows in one round.
const PART: usize = 8;

/// What has come since the limit was last looked at. Answers to requests of before do not count: they tell of the
/// limit of before.
#[derive(Debug, Default)]
struct Round {
    since: Moment,
    answers: u32,
    latencies: Duration,
    /// The limit held something back.
    full: bool,
}

/// The limit of one cluster.
#[derive(Debug)]
pub(super) struct Limit {
    most: usize,
    now: usize,
    round: Round,
    /// The lowest mean latency of a round.
    best: Duration,
    /// The last round was slow although it was full: the next one shows for how long its requests wait.
    slow: bool,
    /// The limit and the mean latency that a trial of fewer requests began with.
    trial: Option<(usize, Duration)>,
    /// When it was last halved: requests of before that fail too are the same trouble.
    halved: Moment,
}

impl Limit {
    /// `most` is `--max-in-flight`, and what it begins with: a server has its own means against that.
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self {
            most,
            now: most,
            round: Round::default(),
            best: Duration::MAX,
            slow: false,
            trial: None,
            halved: Moment::ZERO,
        }
    }

    /// At most so many at once.
    pub(super) const fn get(&self) -> usize {
        self.now
    }

    /// A request was sent; with it so many are under way.
    pub(super) const fn sent(&mut self, in_flight: usize) {
        // One slot may be kept for new namespaces.
        self.round.full |= in_flight + 1 >= self.now;
    }

    /// A request that was sent at that moment has had its answer, whatever it says.
    pub(super) fn answered(&mut self, now: Moment, sent: Moment) {
        if sent < self.round.since {
            return;
        }
        self.round.answers += 1;
        self.round.latencies += now.saturating_sub(sent);
        if self.round.answers as usize >= self.now {
            let latency = self.round.latencies / self.round.answers;
            self.now = self.after_round(latency, self.round.full);
            self.best = self.best.min(latency);
            self.round = Round { since: now, ..Round::default() };
        }
    }

    /// The limit after a round of this mean latency.
    fn after_round(&mut self, latency: Duration, full: bool) -> usize {
        let slow = latency > TOLERATED && latency > self.best.saturating_mul(WELL_ABOVE);
        if slow && let Some((limit, then)) = self.trial {
            // Where requests wait for each other, half as many take half the time: half of that will do.
            let fewer = self.now as f64 / limit as f64;
            if latency > then.mul_f64(f64::midpoint(1.0, fewer)) {
                (self.trial, self.best) = (None, latency);
                return limit;
            }
        }
        let step = (self.now / PART).max(1);
        let least = (self.most / PART).max(1);
        if slow && self.now <= least {
            // So few cannot be what makes it slow. It is slow, then.
            (self.trial, self.best) = (None, latency);
        } else if slow && full && std::mem::replace(&mut self.slow, true) {
            self.trial.get_or_insert((self.now, latency));
            return (self.now - step).max(least);
        } else if !slow {
            (self.trial, self.slow) = (None, false);
            return (self.now + step).min(self.most);
        }
        self.now
    }

    /// A request that was sent at that moment was too much for the server. `in_flight` were under way, with it.
    pub(super) fn overloaded(&mut self, now: Moment, sent: Moment, in_flight: usize) {
        if sent < self.halved {
            return;
        }
        self.now = (self.now.min(in_flight) / 2).max(1);
        (self.halved, self.slow, self.trial) = (now, false, None);
        self.round = Round { since: now, ..Round::default() };
    }
}

#[cfg(test)]
#[path = "limit_tests.rs"]
mod tests;
