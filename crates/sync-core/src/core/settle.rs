//! Pairs for which no request is due, and what is forgotten when nothing is known of them any more.

use super::{Action, Core, Destination, Lane, MUTATED_AGAIN, Outcome, Pair, PairState, Selected, There, Want};
use crate::index::pairs::{DestId, SourceId};
use crate::mutants::{self, Mutant};
use crate::reason::Reason;

impl Core {
    /// An action that needs no request.
    pub(super) fn settle(&mut self, pair: Pair, action: &Action) {
        self.note_selected(pair);
        self.drop_strangers(pair);
        let there = self.known(pair).map_or(There::Absent, PairState::there);
        let open = self.dests.get(&pair.dest).is_some_and(|dest| dest.state == Some(Destination::Open));
        let outcome = match (action, there) {
            (Action::Keep, There::Ours(_)) if open => Outcome::Synced,
            (Action::Hold(_), There::Absent) => Outcome::Nothing,
            (Action::Hold(reason), _) => Outcome::Held(*reason),
            (Action::Refuse(reason), _) => Outcome::Refused(*reason),
            // It would be a request, and was tried.
            _ => self.tried(pair, action).map_or(Outcome::Nothing, Outcome::Tried),
        };
        self.ask_about(pair);
        let mut known_again = false;
        if matches!(outcome, Outcome::Synced | Outcome::Nothing | Outcome::Tried(_)) {
            if let Some(state) = self.pairs.get_mut(&pair) {
                state.failures = 0;
                if matches!(action, Action::Keep) {
                    known_again = state.stop_doubting();
                    state.stood |= outcome == Outcome::Synced;
                }
            }
            self.queue.forget(pair);
        }
        if let (Action::Refuse(Reason::Contested), Some(until)) = (action, self.rivals.holds(self.now, pair)) {
            self.queue.push_later(pair, until);
        }
        if matches!(action, Action::Refuse(Reason::Mutated)) && !self.queue.contains(pair) {
            let pause = self.rng.jittered(MUTATED_AGAIN);
            self.queue.push_later(pair, self.now.saturating_add(pause));
        }
        self.set_outcome(pair, outcome);
        self.note_in_the_way(pair);
        if let Some(until) = self.known(pair).and_then(PairState::stays_until).filter(|until| *until > self.now) {
            self.queue.push_later(pair, until);
        }
        if known_again {
            return self.touch(pair, Lane::Removed);
        }
        self.tidy(pair);
    }

    /// What is not ours, of a name that no source of ours has, is nobody's business: the copies of another agent with its
    /// own source namespace, for one. If there is such a source one day, a create tells.
    fn drop_strangers(&mut self, pair: Pair) {
        let wanted = self.sources.get(&pair.source).is_some_and(|source| source.want.is_some());
        if !wanted
            && self.sources_complete
            && let Some(state) = self.pairs.get_mut(&pair)
            && state.replica().is_none()
            && matches!(state.there(), There::Foreign(_))
        {
            state.drop_foreign();
        }
    }

    /// A replica that is selected no more stays for the grace, which begins when that is first seen; if it is selected
    /// again, the next one is as long. While its source is frozen there is none: that copies are not selected is perhaps
    /// what cannot be understood.
    pub(super) fn note_selected(&mut self, pair: Pair) {
        let want = self.sources.get(&pair.source).and_then(|source| source.want.as_ref());
        let selected = matches!(want, Some(Want::Frozen(_))) || self.selected(pair) == Selected::Yes;
        let grace = self.now.saturating_add(self.rules.delete_grace);
        let deciding = self.sources_complete && self.dests_complete;
        if let Some(state) = self.pairs.get_mut(&pair) {
            let until = match state.stays_until() {
                _ if selected => None,
                // Nothing ends before everything that decides about it is known.
                None => (deciding && state.replica().is_some()).then_some(grace),
                until => until,
            };
            state.stay_until(until);
        }
    }

    /// Replicas stand here of a source that is unknown: is it one at all? Or of one that cannot be read, in the place of a
    /// master's replica: when it goes, or has gone before they were listed, only they still tell that.
    fn ask_about(&mut self, pair: Pair) {
        if mutants::has(Mutant::OrphansIgnored) {
            return;
        }
        if let Some(source) = self.sources.get_mut(&pair.source)
            && matches!(source.want, None | Some(Want::Never | Want::Frozen(_) | Want::Leaving(Reason::Leaving)))
            && !source.asked
            && self.sources_complete
            && self.listings.of(source.key.kind).complete
            && self.pairs.get(&pair).is_some_and(|state| state.replica().is_some())
        {
            // Once: all of them are known.
            source.asked = true;
            let upstream = self.pairs.range(Pair::all_of(pair.source)).any(|(_, state)| state.upstream);
            if upstream || source.want.is_none() {
                self.asks.push((source.key.clone(), upstream));
            }
        }
    }

    /// Forgets a pair of which nothing is known, and its source and destination if that was the last thing known.
    fn tidy(&mut self, pair: Pair) {
        if self.queue.contains(pair) {
            return;
        }
        if self.known(pair).is_some_and(PairState::is_empty) {
            self.pairs.remove(&pair);
            if let Some(dest) = self.dests.get_mut(&pair.dest) {
                dest.pairs -= 1;
            }
        }
        self.drop_unused_dest(pair.dest);
        self.drop_unused_source(pair.source);
    }

    /// What is known of a pair.
    pub(super) fn known(&self, pair: Pair) -> Option<&PairState> {
        self.pairs.get(&pair).map(|state| &**state)
    }

    /// The same, to change it.
    pub(super) fn state(&mut self, pair: Pair) -> &mut PairState {
        self.pairs.entry(pair).or_insert_with(|| {
            if let Some(dest) = self.dests.get_mut(&pair.dest) {
                dest.pairs += 1;
            }
            Box::default()
        })
    }

    pub(super) fn drop_unused_source(&mut self, id: SourceId) {
        let Some(source) = self.sources.get(&id).filter(|source| source.forgotten || source.want.is_none()) else {
            return;
        };
        let used = self.pairs.range(Pair::all_of(id)).next().is_some() || self.queue.is_open(id);
        if !used {
            self.source_ids.remove(&source.key);
            self.sources.remove(&id);
            self.touched.remove(&id);
        }
    }

    pub(super) fn drop_unused_dest(&mut self, id: DestId) {
        if let Some(dest) = self.dests.get(&id)
            && dest.state.is_none()
            && dest.pairs == 0
        {
            self.dest_ids.remove(&dest.name);
            self.dests.remove(&id);
            self.queue.forget_silence(id);
        }
    }
}
