//! Pairs that stand aside, because writes like theirs are not answered at their destination.

use super::silence::Site;
use super::{Answer, Class, DestId, Lane, Moment, Pair, Phase, Place, Queue, one_less};

/// This part of the slots is for trying again there.
const TRIES: usize = 8;

impl Queue {
    /// One of them, if it is time to try and there is a slot for that, of so many of which so many are free.
    pub(super) fn next_try(&mut self, slots: usize, free: usize) -> Option<(Pair, Lane)> {
        // With one slot the server itself is in trouble: not where an answer is least likely, if there is a choice.
        let is_choice = if slots > 1 { free > 1 || !self.many_destinations } else { !self.has_any() };
        if !is_choice || self.silences.tried() >= (slots / TRIES).max(1) {
            return None;
        }
        let has_room = |dest| {
            let running = self.per_destination.get(&dest).copied().unwrap_or_default();
            !self.many_destinations || running.pairs < running.most(slots)
        };
        let ((_, class), pair) = self.silences.next(self.now, has_room)?;
        let place = self.places.get_mut(&pair)?;
        place.phase = Phase::InFlight(None, Some(class));
        let lane = place.lane;
        self.begin(pair);
        Some((pair, lane))
    }

    /// Whether writes like that of this pair are answered; else it stands aside from now on.
    pub(super) fn is_answered(&mut self, pair: Pair, lane: Lane, class: Class) -> bool {
        let site = (pair.dest, class);
        if !self.silences.has(site) {
            return true;
        }
        let turn = self.sequence;
        self.sequence += 1;
        self.places.insert(pair, Place { lane, phase: Phase::Aside(class, turn) });
        self.silences.set_aside(site, (lane, turn), pair);
        one_less(&mut self.open, pair.source);
        false
    }

    /// Those that stand aside where another write has gone unanswered since the last call: they would fare no better.
    pub fn take_unanswered(&mut self) -> Vec<Pair> {
        let mut pairs = std::mem::take(&mut self.unanswered);
        pairs.retain(|pair| self.is_aside(*pair));
        pairs
    }

    /// Whether this pair stands aside.
    pub fn is_aside(&self, pair: Pair) -> bool {
        matches!(self.places.get(&pair), Some(Place { phase: Phase::Aside(..), .. }))
    }

    /// A write to this destination has had its answer, or will have none. Then its pair is [`done`](Self::done).
    pub fn answered(&mut self, now: Moment, dest: DestId, class: Class, answer: Answer) {
        if let Some(running) = self.per_destination.get_mut(&dest) {
            running.quick = if answer == Answer::Soon { running.quick + 1 } else { 0 };
        }
        match answer {
            Answer::Soon | Answer::Other => self.silence_ends((dest, class)),
            Answer::None if self.many_destinations => {
                self.silences.begin((dest, class), now);
                self.unanswered.extend(self.silences.at((dest, class)));
            }
            Answer::None => {}
        }
    }

    /// This destination is no more, or is another one: that it did not answer means nothing now.
    pub fn forget_silence(&mut self, dest: DestId) {
        for site in self.silences.of(dest) {
            self.silence_ends(site);
        }
    }

    fn silence_ends(&mut self, site: Site) {
        for pair in self.silences.end(site).into_iter().rev() {
            if let Some(place) = self.places.get_mut(&pair) {
                place.phase = Phase::Waiting;
                let lane = place.lane;
                *self.open.entry(pair.source).or_default() += 1;
                self.lane(lane).push_front(pair);
            }
        }
    }
}
