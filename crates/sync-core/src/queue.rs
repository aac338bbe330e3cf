//! Which pair is looked at next.
//!
//! A pair waits in one lane, first in first out; lanes share by weight. A pair is in flight once, and one that is
//! touched meanwhile runs once more. Some slots are kept from whoever could take them all: one destination that is
//! slow, one source whose writes are, retries, and, for new namespaces, everybody else. Where writes are not answered
//! at all pairs stand aside.

mod aside;
mod lane;
mod silence;

use std::collections::{BTreeMap, VecDeque};

use crate::index::feed::Moment;
use crate::index::pairs::{DestId, Pair, SourceId};
pub use lane::{Answer, Class, Lane};
use silence::Silences;

/// Retries have at most this part of the slots: where each of them waits for a webhook's deadline they would have
/// all they may, all the time.
const RETRIES: usize = 4;
/// One destination has at most this part of the slots, for it may be one where all that is written waits.
const ONE_DESTINATION: usize = 8;
/// With each write that soon succeeds there it has so many slots more, up to three quarters, until none of its writes is
/// under way: a hundred copies in a new namespace beside a fan-out take six round trips then, of 32 slots, by eighths 25. Not
/// many more: what is written next may be of a kind that waits there.
const MORE: usize = 3;
/// One source leaves this part of the slots to others, if any wait: each of its writes may wait for a webhook.
const NOT_ONE_SOURCE: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    /// Waiting for a slot of its destination.
    Parked,
    /// Its source has all that one may have while others wait.
    Held,
    Delayed(Moment, u64),
    /// Writes of its class are not answered at its destination.
    Aside(Class, u64),
    /// In flight; if touched meanwhile it runs again in this lane. Of a class that is tried.
    InFlight(Option<Lane>, Option<Class>),
}

#[derive(Clone, Copy, Debug)]
struct Place {
    lane: Lane,
    phase: Phase,
}

/// What is in flight to one destination.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    pairs: usize,
    /// How many have soon succeeded in a row since there was none.
    quick: usize,
}

impl Running {
    /// How many may be, of so many slots.
    fn most(self, slots: usize) -> usize {
        let least = (slots / ONE_DESTINATION).max(1);
        (least + MORE * self.quick).min(slots * 3 / 4).max(least)
    }
}

/// The queue of one engine.
#[derive(Debug)]
pub struct Queue {
    slots: usize,
    /// How many of them there were when a pair was last taken.
    slots_now: usize,
    /// Limits per destination and the free slot make sense only where there are many.
    many_destinations: bool,
    places: BTreeMap<Pair, Place>,
    lanes: [(VecDeque<Pair>, u32); 5],
    delayed: BTreeMap<(Moment, u64), Pair>,
    sequence: u64,
    parked: BTreeMap<DestId, VecDeque<Pair>>,
    silences: Silences,
    /// Those that stand aside where another write has just gone unanswered.
    unanswered: Vec<Pair>,
    /// When a pair was last taken.
    now: Moment,
    in_flight: usize,
    retries_in_flight: usize,
    per_destination: BTreeMap<DestId, Running>,
    /// The pairs of each source that has more than its part of the slots, by lane.
    held: BTreeMap<SourceId, BTreeMap<Lane, VecDeque<Pair>>>,
    per_source: BTreeMap<SourceId, usize>,
    /// Pairs of each source that wait or are in flight; those that only wait for time to pass, or for an answer where there
    /// is none, do not count.
    open: BTreeMap<SourceId, usize>,
}

impl Queue {
    /// An empty queue that lets so many pairs be in flight at once.
    pub fn new(slots: usize, many_destinations: bool) -> Self {
        Self {
            slots: slots.max(1),
            slots_now: slots.max(1),
            many_destinations,
            places: BTreeMap::new(),
            lanes: Default::default(),
            delayed: BTreeMap::new(),
            sequence: 0,
            parked: BTreeMap::new(),
            silences: Silences::default(),
            unanswered: Vec::new(),
            now: Moment::ZERO,
            in_flight: 0,
            retries_in_flight: 0,
            per_destination: BTreeMap::new(),
            held: BTreeMap::new(),
            per_source: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    /// Something may be wrong with this pair.
    pub fn push(&mut self, pair: Pair, lane: Lane) {
        match self.places.get_mut(&pair) {
            None => self.open(pair, lane),
            Some(place) => match &mut place.phase {
                Phase::Waiting | Phase::Held if lane < place.lane => {
                    // What stands in the worse lane is passed over when its turn comes.
                    *place = Place { lane, phase: Phase::Waiting };
                    self.lane(lane).push_back(pair);
                }
                Phase::Waiting | Phase::Held | Phase::Parked => place.lane = place.lane.min(lane),
                Phase::Aside(class, turn) if lane < place.lane => {
                    let (site, turn, old) = ((pair.dest, *class), *turn, place.lane);
                    place.lane = lane;
                    self.silences.take(site, (old, turn));
                    self.silences.set_aside(site, (lane, turn), pair);
                }
                Phase::Aside(..) => {}
                Phase::InFlight(again, _) => *again = Some(again.map_or(lane, |old| old.min(lane))),
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
    pub fn pop(&mut self, now: Moment, limit: usize, class: impl Fn(Pair) -> Class) -> Option<(Pair, Lane)> {
        self.now = now;
        while let Some(pair) = self.delayed.first_key_value().filter(|((at, _), _)| *at <= now).map(|(_, pair)| *pair) {
            self.push(pair, Lane::Retry);
        }
        let slots = self.slots.min(limit);
        self.slots_now = slots;
        loop {
            let free = slots.saturating_sub(self.in_flight);
            if free == 0 {
                return None;
            }
            let keep_free = self.many_destinations && free == 1 && slots > 1;
            if let Some(next) = self.next_try(slots, free) {
                return Some(next);
            }
            let retries_full = self.retries_in_flight >= (slots / RETRIES).max(1);
            let may_run =
                |lane: Lane| (lane == Lane::NewNamespace || !keep_free) && (lane != Lane::Retry || !retries_full);
            let of_one_source = if self.many_destinations { (slots - slots / NOT_ONE_SOURCE).max(1) } else { slots };
            let (pair, lane, phase) = self.take(may_run, of_one_source)?;
            let Some(place) = self.places.get_mut(&pair) else { continue };
            if place.lane != lane || place.phase != phase {
                continue;
            }
            if !self.is_answered(pair, lane, class(pair)) {
                // Who waits for the room that it leaves may be of another class.
                self.unpark(pair.dest, 1);
                continue;
            }
            let Some(place) = self.places.get_mut(&pair) else { continue };
            let of_source = self.per_source.get(&pair.source).copied().unwrap_or_default();
            if phase == Phase::Waiting && of_source >= of_one_source {
                place.phase = Phase::Held;
                self.held.entry(pair.source).or_default().entry(lane).or_default().push_back(pair);
                continue;
            }
            let running = self.per_destination.entry(pair.dest).or_default();
            if self.many_destinations && running.pairs >= running.most(slots) {
                place.phase = Phase::Parked;
                self.parked.entry(pair.dest).or_default().push_back(pair);
                continue;
            }
            place.phase = Phase::InFlight(None, None);
            self.retries_in_flight += usize::from(lane == Lane::Retry);
            self.begin(pair);
            return Some((pair, lane));
        }
    }

    fn begin(&mut self, pair: Pair) {
        self.per_destination.entry(pair.dest).or_default().pairs += 1;
        *self.per_source.entry(pair.source).or_default() += 1;
        self.in_flight += 1;
    }

    /// The pair whose turn it is, its lane, and the phase that it is in unless something has happened to it since: of
    /// the best lane that has pairs and a share left. What is held comes before what came later, as soon as its source
    /// has less than `of_one_source`, and anyhow if nobody else waits.
    fn take(&mut self, may_run: impl Fn(Lane) -> bool, of_one_source: usize) -> Option<(Pair, Lane, Phase)> {
        let held = Lane::SHARES.map(|(lane, _)| self.held_in(lane, of_one_source));
        for _ in 0..2 {
            let lanes = self.lanes.iter_mut().zip(Lane::SHARES).zip(held);
            for (((pairs, share), (lane, _)), held) in lanes {
                if *share > 0 && (held.is_some() || !pairs.is_empty()) && may_run(lane) {
                    *share -= 1;
                    return match held {
                        Some(source) => self.take_held(source, lane),
                        None => pairs.pop_front().map(|pair| (pair, lane, Phase::Waiting)),
                    };
                }
            }
            for ((_, share), (_, full)) in self.lanes.iter_mut().zip(Lane::SHARES) {
                *share = full;
            }
        }
        let mut lanes = Lane::SHARES.into_iter().map(|(lane, _)| lane).filter(|lane| may_run(*lane));
        let (source, lane) = lanes.find_map(|lane| Some((self.held_in(lane, usize::MAX)?, lane)))?;
        self.take_held(source, lane)
    }

    /// A source that pairs of this lane are held of, and that has less than `most` in flight.
    fn held_in(&self, lane: Lane, most: usize) -> Option<SourceId> {
        let has_less = |source| self.per_source.get(source).is_none_or(|running| *running < most);
        self.held
            .iter()
            .find(|(source, lanes)| has_less(source) && lanes.contains_key(&lane))
            .map(|(source, _)| *source)
    }

    fn take_held(&mut self, source: SourceId, lane: Lane) -> Option<(Pair, Lane, Phase)> {
        let lanes = self.held.get_mut(&source)?;
        let pairs = lanes.get_mut(&lane)?;
        let pair = pairs.pop_front();
        if pairs.is_empty() {
            lanes.remove(&lane);
        }
        if lanes.is_empty() {
            self.held.remove(&source);
        }
        pair.map(|pair| (pair, lane, Phase::Held))
    }

    /// This pair is not in flight any more.
    pub fn done(&mut self, pair: Pair) {
        let Some(Place { lane, phase: Phase::InFlight(again, tried) }) = self.places.get(&pair).copied() else {
            return;
        };
        self.places.remove(&pair);
        self.in_flight -= 1;
        match tried {
            Some(class) => self.silences.has_tried((pair.dest, class)),
            None => {
                self.retries_in_flight -= usize::from(lane == Lane::Retry);
                one_less(&mut self.open, pair.source);
            }
        }
        one_less(&mut self.per_source, pair.source);
        if let Some(lane) = again {
            self.open(pair, lane);
        }
        if let Some(running) = self.per_destination.get_mut(&pair.dest) {
            running.pairs -= 1;
            let free = running.most(self.slots_now).saturating_sub(running.pairs);
            if running.pairs == 0 {
                self.per_destination.remove(&pair.dest);
            }
            self.unpark(pair.dest, free);
        }
    }

    /// So many of those that wait for this destination are looked at again, in order.
    fn unpark(&mut self, dest: DestId, free: usize) {
        let Some(waiting) = self.parked.get_mut(&dest) else { return };
        let next: Vec<_> = waiting.drain(..free.min(waiting.len())).collect();
        if waiting.is_empty() {
            self.parked.remove(&dest);
        }
        for pair in next.into_iter().rev() {
            if let Some(place) = self.places.get_mut(&pair) {
                place.phase = Phase::Waiting;
                let lane = place.lane;
                self.lane(lane).push_front(pair);
            }
        }
    }

    /// Forgets a pair that waits; one in flight stays until it is done.
    pub fn forget(&mut self, pair: Pair) {
        match self.places.get(&pair) {
            Some(Place { phase: Phase::Delayed(at, sequence), .. }) => drop(self.delayed.remove(&(*at, *sequence))),
            Some(Place { phase: Phase::Aside(class, turn), lane }) => {
                self.silences.take((pair.dest, *class), (*lane, *turn));
            }
            _ => return,
        }
        self.places.remove(&pair);
    }

    /// When the next delayed pair is due, or one that stands aside.
    pub fn wake_at(&self) -> Option<Moment> {
        let delayed = self.delayed.first_key_value().map(|((at, _), _)| *at);
        delayed.into_iter().chain(self.silences.wake_at(self.now)).min()
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
        matches!(self.places.get(&pair), Some(Place { phase: Phase::InFlight(..), .. }))
    }

    /// How many pairs are in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether anything is under way or waits for a slot, but for where writes are not answered.
    pub fn is_busy(&self) -> bool {
        self.has_any() || self.in_flight > self.silences.tried()
    }

    /// Whether any pair waits for a slot, or to be tried where writes are not answered.
    pub fn has_waiting(&self) -> bool {
        self.has_any() || self.silences.has_waiting()
    }

    fn has_any(&self) -> bool {
        !self.held.is_empty() || self.lanes.iter().any(|(pairs, _)| !pairs.is_empty())
    }

    /// How many pairs wait in each lane, and how many for their time to come. One that has got a better lane meanwhile
    /// may count twice.
    pub fn depths(&self) -> Vec<(&'static str, usize)> {
        let waiting = self.lanes.iter().zip(Lane::SHARES).map(|((pairs, _), (lane, _))| (lane.as_str(), pairs.len()));
        let parked = self.parked.values().map(VecDeque::len).sum();
        waiting.chain([("parked", parked), ("aside", self.silences.aside()), ("delayed", self.delayed.len())]).collect()
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

/// Who has none left is not kept.
fn one_less<K: Ord + Copy>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
