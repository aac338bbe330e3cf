//! What has come of each source, counted as it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::interner::Interner;
use super::{Core, DestId, Fault, Outcome, Pair, SourceId};
use crate::contract::object::SourceKey;
use crate::index::feed::Moment;
use crate::reason::{Counts, Reason, Would};

/// How many places a report names.
pub(crate) const PLACES: usize = 3;

/// So many different texts of a server are kept for one source.
pub(super) const TEXTS: usize = 32;

/// How the pairs of one source, or of all, stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// As they should be.
    pub synced: u32,
    /// A request is due, under way, or failed and tried again; in a dry run also one that would succeed.
    pub pending: u32,
    /// Nothing is done for now, or until a person acts.
    pub refused: u32,
}

/// One destination that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The namespace.
    pub namespace: String,
    /// From the lists in [`Reason`](crate::reason::Reason) and [`Fault`].
    pub reason: &'static str,
    /// The server's words, if it said any.
    pub message: String,
    /// What a person can do about it, if the server's words do not say.
    pub todo: &'static str,
}

/// A source for which nothing is due or under way any more.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The source.
    pub source: SourceKey,
    /// How its pairs stand.
    pub tally: Tally,
    /// Why some are not as they should be.
    pub reasons: Counts,
    /// The first few of these, the first of each reason before all others.
    pub places: Vec<Place>,
    /// How many copies are deleted soon because they are selected no more.
    pub not_selected: u32,
}

#[derive(Debug, Default)]
pub(super) struct SourceTally {
    pub(super) tally: Tally,
    /// Since when not all is in place.
    pub(super) since: Option<Moment>,
    words: Words,
}

/// What the server said of each destination that failed. Each text is kept once, for most say the same of all.
#[derive(Debug, Default)]
struct Words {
    of: BTreeMap<DestId, Arc<str>>,
    texts: Interner<str>,
}

impl Words {
    fn note(&mut self, dest: DestId, text: &str) {
        self.of.remove(&dest);
        // Of that many different ones this one is not missed: the reason stands there anyhow.
        if let Some(text) = self.texts.intern_within(text, TEXTS) {
            self.of.insert(dest, text);
        }
    }

    fn forget(&mut self, dest: DestId) {
        self.of.remove(&dest);
        if self.of.is_empty() {
            self.texts.forget_unused();
        }
    }
}

impl Tally {
    fn slot(&mut self, outcome: Outcome) -> Option<&mut u32> {
        match outcome {
            Outcome::Nothing => None,
            Outcome::Synced => Some(&mut self.synced),
            // Its deletion is only a matter of time.
            Outcome::Pending
            | Outcome::Tried(_)
            | Outcome::Failed(_)
            | Outcome::Held(Reason::Leaving | Reason::NotSelected) => Some(&mut self.pending),
            Outcome::Held(_) | Outcome::Refused(_) => Some(&mut self.refused),
        }
    }
}

impl Core {
    pub(super) fn set_outcome(&mut self, pair: Pair, outcome: Outcome) {
        let before = self.pairs.get(&pair).map_or(Outcome::Nothing, |state| state.outcome);
        if before == outcome {
            return;
        }
        if let Some(source) = self.sources.get_mut(&pair.source) {
            for tally in [&mut source.tally.tally, &mut self.tally] {
                if let Some(count) = tally.slot(before) {
                    *count = count.saturating_sub(1);
                }
                if let Some(count) = tally.slot(outcome) {
                    *count += 1;
                }
            }
            let Tally { pending, refused, .. } = source.tally.tally;
            let since = source.tally.since.unwrap_or(self.now);
            source.tally.since = (pending + refused > 0).then_some(since);
            source.tally.words.forget(pair.dest);
        }
        self.state(pair).outcome = outcome;
        self.touched.insert(pair.source);
    }

    /// Those that wait where a write has gone unanswered are told of as if they had been tried.
    pub(super) fn note_unanswered(&mut self) {
        for pair in self.queue.take_unanswered() {
            if self.known(pair).is_some_and(|state| state.outcome == Outcome::Pending) {
                self.note_failure(pair, &Fault::others_hang());
            }
        }
    }

    pub(super) fn note_failure(&mut self, pair: Pair, fault: &Fault) {
        self.set_outcome(pair, Outcome::Failed(fault.reason()));
        if let Some(source) = self.sources.get_mut(&pair.source) {
            source.tally.words.note(pair.dest, &fault.to_string());
        }
    }

    /// Sources whose outcome has changed since the last call and for which nothing is due or under way. Before the
    /// lists that decide it have come, nothing is due, and still nothing is settled.
    pub fn take_settled(&mut self) -> Vec<Settled> {
        // A standby does not look at what is in the way, and whoever leads reports.
        if !self.licence.leads() {
            return Vec::new();
        }
        let known = |id: &SourceId| {
            let listed = |source: &super::SourceState| self.listings.of(source.key.kind).complete;
            self.sources_complete && self.dests_complete && self.sources.get(id).is_none_or(listed)
        };
        let ready: Vec<_> = self.touched.iter().filter(|id| !self.queue.is_open(**id) && known(id)).copied().collect();
        let mut settled = Vec::new();
        for id in ready {
            self.changes += 1;
            self.touched.remove(&id);
            self.fanout_ends(id);
            settled.extend(self.report(id, PLACES));
            if let Some(source) = self.sources.get_mut(&id) {
                source.bodies = None;
            }
        }
        settled
    }

    /// How all sources stand.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// With so many places at most.
    pub(super) fn report(&self, id: SourceId, most: usize) -> Option<Settled> {
        let source = self.sources.get(&id)?;
        let tally = source.tally.tally;
        let mut settled = Settled {
            source: source.key.clone(),
            tally,
            reasons: Counts::default(),
            places: Vec::new(),
            not_selected: 0,
        };
        if tally.pending + tally.refused == 0 {
            return Some(settled);
        }
        let (mut more, mut tried) = (Vec::new(), Vec::new());
        for (pair, state) in self.pairs.range(Pair::all_of(id)) {
            let (reason, todo) = match state.outcome {
                Outcome::Nothing | Outcome::Synced | Outcome::Pending | Outcome::Held(Reason::Leaving) => continue,
                Outcome::Held(Reason::NotSelected) => {
                    settled.not_selected += 1;
                    continue;
                }
                Outcome::Held(reason) | Outcome::Refused(reason) => (reason.as_str(), reason.what_to_do()),
                Outcome::Tried(would) => (would.as_str(), Would::TODO),
                Outcome::Failed(reason) => (reason, ""),
            };
            let Some(dest) = self.dests.get(&pair.dest) else { continue };
            let is_first = settled.reasons.add(reason);
            let places = match state.outcome {
                // What is in the way comes first.
                Outcome::Tried(_) => &mut tried,
                _ if is_first => &mut settled.places,
                _ => &mut more,
            };
            if places.len() < most {
                let message = if reason == Reason::Contested.as_str() {
                    self.rivals.says(*pair)
                } else {
                    source.tally.words.of.get(&pair.dest).map(ToString::to_string).unwrap_or_default()
                };
                places.push(Place { namespace: dest.name.to_string(), reason, message, todo });
            }
        }
        settled.places.extend(more.into_iter().chain(tried));
        settled.places.truncate(most);
        Some(settled)
    }
}
