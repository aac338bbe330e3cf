//! How everything stands at one moment, for whoever asks; and how long some things took.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Core, Outcome, Pair, SourceKey, Tally};
use crate::index::pairs::{DestId, SourceId};
use crate::queue::Lane;

/// How one cluster stands.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// All sources together.
    pub tally: Tally,
    /// Each source.
    pub sources: Vec<(SourceKey, Tally)>,
    /// Copies that are refused or held, by reason.
    pub refused: BTreeMap<&'static str, u32>,
    /// Copies whose last request failed, by reason.
    pub failing: BTreeMap<&'static str, u32>,
    /// How many wait, by lane.
    pub queue: Vec<(&'static str, usize)>,
    /// Requests under way.
    pub in_flight: usize,
    /// Most of them at present.
    pub limit: usize,
}

/// How long something took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// From a change of a source to its last copy here.
    Fanout(Duration),
    /// From the first event of a new namespace to the first copy in it.
    NewNamespace(Duration),
}

impl Core {
    /// How everything stands. What it costs grows with the copies that are not in place.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            tally: self.tally,
            queue: self.queue.depths(),
            in_flight: self.in_flight(),
            limit: self.limit.get(),
            ..Snapshot::default()
        };
        for (id, source) in &self.sources {
            let tally = source.tally.tally;
            if tally == Tally::default() {
                continue;
            }
            snapshot.sources.push((source.key.clone(), tally));
            if tally.pending + tally.refused == 0 {
                continue;
            }
            for (_, state) in self.pairs.range(Pair::all_of(*id)) {
                match state.outcome {
                    Outcome::Failed(reason) => *snapshot.failing.entry(reason).or_default() += 1,
                    Outcome::Held(reason) | Outcome::Refused(reason) => {
                        *snapshot.refused.entry(reason.as_str()).or_default() += 1;
                    }
                    Outcome::Nothing | Outcome::Synced | Outcome::Pending | Outcome::Tried(_) => {}
                }
            }
        }
        snapshot
    }

    /// What has become complete since the last call.
    pub fn take_timings(&mut self) -> Vec<Timing> {
        std::mem::take(&mut self.timings)
    }

    /// A source has changed; its time runs if there is anything to do.
    pub(super) fn fanout_begins(&mut self, id: SourceId, lane: Lane) {
        let counts = lane == Lane::Changed && self.is_ready() && self.licence.leads();
        if let Some(source) = self.sources.get_mut(&id)
            && counts
            && source.tally.tally.pending > 0
        {
            // Of several changes in a row the first counts.
            source.changed.get_or_insert(self.now);
        }
    }

    /// Nothing of this source is under way any more.
    pub(super) fn fanout_ends(&mut self, id: SourceId) {
        if let Some(source) = self.sources.get_mut(&id)
            && source.tally.tally.pending == 0
            && let Some(since) = source.changed.take()
        {
            self.timings.push(Timing::Fanout(self.now.saturating_sub(since)));
        }
    }

    /// A namespace is new, and so many copies were due everywhere before it was looked at.
    pub(super) fn namespace_begins(&mut self, id: DestId, due_before: u32) {
        let counts = self.is_ready() && self.licence.leads() && self.tally.pending > due_before;
        if let Some(dest) = self.dests.get_mut(&id) {
            dest.since = counts.then_some(self.now);
        }
    }

    /// A copy was written there.
    pub(super) fn namespace_has_copy(&mut self, id: DestId) {
        if let Some(since) = self.dests.get_mut(&id).and_then(|dest| dest.since.take()) {
            self.timings.push(Timing::NewNamespace(self.now.saturating_sub(since)));
        }
    }
}
