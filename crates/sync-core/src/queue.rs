//! Which pair is looked at next.
//!
//! A pair waits in one lane, first in first out; lanes share by weight. A pair is in flight once, and one that is
//! touched meanwhile runs once more. Some slots are kept from whoever could take them all: one destination that is
//! slow, retries, and, for new namespaces, everybody else.

use std::collections::{BTreeMap, VecDeque};

use crate::index::feed::Moment;
use crate::index::pairs::{DestId, Pair, SourceId};

/// Why a pair waits, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Its namespace is new.
    NewNamespace,
    /// Its source changed.
    Changed,
    /// Its source was switched off or is gone.
    Removed,
    /// Its replica was touched by somebody else.
    Drift,
    /// It failed before.
    Retry,
}

impl Lane {
    /// All, the most urgent first, each with its share.
    const SHARES: [(Self, u32); 5] =
        [(Self::NewNamespace, 8), (Self::Changed, 4), (Self::Removed, 4), (Self::Drift, 2), (Self::Retry, 1)];
}

/// Retries have at most this part of the slots: where each of them waits for a webhook's deadline they would have
/// all they may, all the time.
const RETRIES: usize = 4;
/// One destination has at most this part of the slots.
const ONE_DESTINATION: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    /// Waiting for a slot of its destination.
    Parked,
    Delayed(Moment, u64),
    /// In flight; if touched meanwhile it runs again in this lane.
    InFlight(Option<Lane>),
}

#[derive(Clone, Copy, Debug)]
struct Place {
    lane: Lane,
    phase: Phase,
}

/// The queue of one engine.
#[derive(Debug)]
pub struct Queue {
    slots: usize,
    /// Limits per destination and the free slot make sense only where there are many.
    many_destinations: bool,
    places: BTreeMap<Pair, Place>,
    lanes: [(VecDeque<Pair>, u32); 5],
    delayed: BTreeMap<(Moment, u64), Pair>,
    sequence: u64,
    parked: BTreeMap<DestId, VecDeque<Pair>>,
    in_flight: usize,
    retries_in_flight: usize,
    per_destination: BTreeMap<DestId, usize>,
    /// Pairs of each source that wait or are in flight; those that only wait for time to pass do not count.
    open: BTreeMap<SourceId, u32>,
}

impl Queue {
    /// An empty queue that lets so many pairs be in flight at once.
    pub fn new(slots: usize, many_destinations: bool) -> Self {
        Self {
            slots: slots.max(1),
            many_destinations,
            places: BTreeMap::new(),
            lanes: Default::default(),
            delayed: BTreeMap::new(),
            sequence: 0,
            parked: BTreeMap::new(),
            in_flight: 0,
            retries_in_flight: 0,
            per_destination: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    /// Something may be wrong with this pair.
    pub fn push(&mut self, pair: Pair, lane: Lane) {
        match self.places.get_mut(&pair) {
            None => self.open(pair, lane),
            Some(place) => match &mut place.phase {
                Phase::Waiting if lane < place.lane => {
                    // What stands in the worse lane is passed over when its turn comes.
                    place.lane = lane;
                    self.lane(lane).push_back(pair);
                }
                Phase::Waiting | Phase::Parked => place.lane = place.lane.min(lane),
                Phase::InFlight(again) => *again = Some(again.map_or(lane, |old| old.min(lane))),
                Phase::Delayed(at, sequence) => {
                    self.delayed.remove(&(*at, *sequence));
                    self.open(pair, lane);
                }
            },
        }
    }

    fn open(&mut self, pair: Pair, lane: Lane) {
        *self.open.entry(pair.source).or_default() += 1;
        self.places.insert(pair, Place { lane, phase: Phase::Waiting });
        self.lane(lane).push_back(pair);
    }

    /// Look at this pair when it is time, unless something happens before. No effect on one that waits already.
    pub fn push_later(&mut self, pair: Pair, at: Moment) {
        let phase = Phase::Delayed(at, self.sequence);
        match self.places.get(&pair) {
            None => {}
            Some(Place { phase: Phase::Delayed(old, sequence), .. }) => drop(self.delayed.remove(&(*old, *sequence))),
            Some(_) => return,
        }
        self.delayed.insert((at, self.sequence), pair);
        self.sequence += 1;
        self.places.insert(pair, Place { lane: Lane::Retry, phase });
    }

    /// Takes the pair to look at now; [`Queue::done`] gives its slot back. At most `limit` are in flight after it.
    pub fn pop(&mut self, now: Moment, limit: usize) -> Option<(Pair, Lane)> {
        while let Some(pair) = self.delayed.first_key_value().filter(|((at, _), _)| *at <= now).map(|(_, pair)| *pair) {
            self.push(pair, Lane::Retry);
        }
        let slots = self.slots.min(limit);
        loop {
            let free = slots.saturating_sub(self.in_flight);
            if free == 0 {
                return None;
            }
            let keep_free = self.many_destinations && free == 1 && slots > 1;
            let retries_full = self.retries_in_flight >= (slots / RETRIES).max(1);
            let may_run =
                |lane: Lane| (lane == Lane::NewNamespace || !keep_free) && (lane != Lane::Retry || !retries_full);
            let lane = self.choose(may_run)?;
            let Some(pair) = self.lane(lane).pop_front() else { continue };
            let Some(place) = self.places.get_mut(&pair) else { continue };
            if place.lane != lane || place.phase != Phase::Waiting {
                continue;
            }
            let running = self.per_destination.entry(pair.dest).or_default();
            if self.many_destinations && *running >= (slots / ONE_DESTINATION).max(1) {
                place.phase = Phase::Parked;
                self.parked.entry(pair.dest).or_default().push_back(pair);
                continue;
            }
            *running += 1;
            place.phase = Phase::InFlight(None);
            self.in_flight += 1;
            self.retries_in_flight += usize::from(lane == Lane::Retry);
            return Some((pair, lane));
        }
    }

    /// The best lane that has pairs and a share left.
    fn choose(&mut self, may_run: impl Fn(Lane) -> bool) -> Option<Lane> {
        for _ in 0..2 {
            for ((pairs, share), (lane, _)) in self.lanes.iter_mut().zip(Lane::SHARES) {
                if *share > 0 && !pairs.is_empty() && may_run(lane) {
                    *share -= 1;
                    return Some(lane);
                }
            }
            for ((_, share), (_, full)) in self.lanes.iter_mut().zip(Lane::SHARES) {
                *share = full;
            }
        }
        None
    }

    /// This pair is not in flight any more.
    pub fn done(&mut self, pair: Pair) {
        let Some(Place { lane, phase: Phase::InFlight(again) }) = self.places.get(&pair).copied() else { return };
        self.places.remove(&pair);
        self.in_flight -= 1;
        self.retries_in_flight -= usize::from(lane == Lane::Retry);
        if let Some(running) = self.per_destination.get_mut(&pair.dest) {
            *running -= 1;
            if *running == 0 {
                self.per_destination.remove(&pair.dest);
            }
        }
        if let Some(open) = self.open.get_mut(&pair.source) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(&pair.source);
            }
        }
        if let Some(lane) = again {
            self.open(pair, lane);
        }
        self.unpark(pair.dest);
    }

    fn unpark(&mut self, dest: DestId) {
        let Some(waiting) = self.parked.get_mut(&dest) else { return };
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.parked.remove(&dest);
        }
        if let Some(pair) = next
            && let Some(place) = self.places.get_mut(&pair)
        {
            place.phase = Phase::Waiting;
            let lane = place.lane;
            self.lane(lane).push_front(pair);
        }
    }

    /// Forgets a pair that waits; one in flight stays until it is done.
    pub fn forget(&mut self, pair: Pair) {
        if let Some(Place { phase: Phase::Delayed(at, sequence), .. }) = self.places.get(&pair) {
            self.delayed.remove(&(*at, *sequence));
            self.places.remove(&pair);
        }
    }

    /// When the next delayed pair is due.
    pub fn wake_at(&self) -> Option<Moment> {
        self.delayed.first_key_value().map(|((at, _), _)| *at)
    }

    /// Whether a pair of this source waits or is in flight.
    pub fn is_open(&self, source: SourceId) -> bool {
        self.open.contains_key(&source)
    }

    /// Whether this pair waits, is in flight or is delayed.
    pub fn contains(&self, pair: Pair) -> bool {
        self.places.contains_key(&pair)
    }

    /// Whether this pair is in flight.
    pub fn is_in_flight(&self, pair: Pair) -> bool {
        matches!(self.places.get(&pair), Some(Place { phase: Phase::InFlight(_), .. }))
    }

    /// How many pairs are in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether any pair waits for a slot.
    pub fn has_waiting(&self) -> bool {
        self.lanes.iter().any(|(pairs, _)| !pairs.is_empty())
    }

    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Pair> {
        let [new, changed, removed, drift, retry] = &mut self.lanes;
        match lane {
            Lane::NewNamespace => &mut new.0,
            Lane::Changed => &mut changed.0,
            Lane::Removed => &mut removed.0,
            Lane::Drift => &mut drift.0,
            Lane::Retry => &mut retry.0,
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
