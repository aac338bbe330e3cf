//! One source at one destination: what stands there, by whichever of a reply and an event is newer.

use std::sync::Arc;

use crate::contract::fingerprint::Shape;
use crate::contract::marks::Sighting;
use crate::contract::object::{Rv, Uid};
use crate::index::feed::Moment;
use crate::index::outcome::Outcome;
use crate::mutants::{self, Mutant};
use crate::plan::{Foreign, Replica, There};

/// A source, numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceId(pub u32);

/// A destination, numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DestId(pub u32);

/// A source at a destination. Ordered by source, so that all pairs of one are a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The source.
    pub source: SourceId,
    /// The destination.
    pub dest: DestId,
}

impl Pair {
    /// All pairs of one source.
    pub fn all_of(source: SourceId) -> std::ops::RangeInclusive<Self> {
        Self { source, dest: DestId(0) }..=Self { source, dest: DestId(u32::MAX) }
    }
}

/// Doubt about what stands under the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doubt {
    #[default]
    None,
    /// Something; to be looked at.
    Taken,
    /// Somebody else's, as a look found. No event will tell when it goes.
    Foreign,
    /// Somebody else's with the label of our replicas, so that the watch shows it.
    Labelled,
    /// Ours in at least the version [`Passing::awaited`], which the watch has not shown yet.
    Awaited,
}

/// What is known of few pairs, and not for long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Passing {
    /// Deleted by us, in this last version: its events are ignored until its own deletion has been shown.
    tombstone: Option<(Uid, Rv)>,
    /// A look found this object in this version.
    awaited: Option<(Uid, Rv)>,
    /// The version that a master's replica was switched off in, so that it may be deleted.
    switched_off: Option<Rv>,
    /// The copied keys of writes whose reply was lost: until then they may come to stand there.
    perhaps: Option<(Arc<Shape>, Moment)>,
    /// Somebody else's object that a look has found; it is there while the doubt says so.
    foreign: Option<Foreign>,
    /// The source does not select the destination any more: its replica stays until then.
    stays_until: Option<Moment>,
}

/// What is known of one pair.
#[derive(Clone, Debug, Default)]
pub struct PairState {
    replica: Option<Replica>,
    doubt: Doubt,
    /// The version that our last write made; zero when its event has come.
    echo: Rv,
    /// Apart, because there are many pairs.
    passing: Option<Box<Passing>>,
    /// A watch has shown something since the request in flight was ordered.
    heard: bool,
    /// Admission changed what we wrote of the present version of the source.
    pub mutated: bool,
    /// What is wanted at present has stood there: if it has to be written again, somebody else was there.
    pub stood: bool,
    /// The replica says that its source was a master's replica.
    pub upstream: bool,
    /// Failures in a row.
    pub failures: u8,
    /// What has come of it.
    pub outcome: Outcome,
}

impl PairState {
    /// The same for the plan.
    pub fn there(&self) -> There<'_> {
        match (self.doubt, &self.replica) {
            (Doubt::Taken, _) => There::Taken,
            (Doubt::Foreign, _) => There::Foreign(self.foreign()),
            (Doubt::Labelled, _) => There::Foreign(None),
            (Doubt::Awaited, _) => There::Awaited,
            (Doubt::None, Some(replica)) => There::Ours(replica),
            (Doubt::None, None) => There::Absent,
        }
    }

    /// Our replica, whatever doubt there is about it.
    pub fn replica(&self) -> Option<&Replica> {
        self.replica.as_ref()
    }

    /// The replica has changed since nobody had added anything to it; `false` if that was not known of it anyway.
    pub fn not_alone(&mut self) -> bool {
        self.replica.as_mut().is_some_and(|known| std::mem::replace(&mut known.alone, false))
    }

    /// Whether nothing would be lost with it.
    pub fn is_empty(&self) -> bool {
        self.replica.is_none()
            && self.doubt == Doubt::None
            && self.tombstone().is_none()
            && matches!(self.outcome, Outcome::Nothing)
    }

    fn tombstone(&self) -> Option<(Uid, Rv)> {
        self.passing.as_ref()?.tombstone
    }

    /// Whether a look has found somebody else's object in this version or one of after: what a watch shows of before
    /// is past.
    fn looked_since(&self, rv: Rv) -> bool {
        self.foreign().is_some_and(|found| found.guard.rv >= rv)
    }

    fn awaited(&self) -> Option<(Uid, Rv)> {
        self.passing.as_ref()?.awaited.filter(|_| self.doubt == Doubt::Awaited)
    }

    /// Changes what is passing, and keeps no room for it when it has passed.
    fn pass(&mut self, change: impl FnOnce(&mut Passing)) {
        let mut passing = self.passing.take().unwrap_or_default();
        change(&mut passing);
        self.passing = (*passing != Passing::default()).then_some(passing);
    }

    /// A request is on its way: from now on it counts whether a watch shows anything.
    pub fn ordered(&mut self) {
        self.heard = false;
    }

    /// Whether a watch has shown anything since: then a reply may be about what is past.
    pub fn has_heard(&self) -> bool {
        self.heard
    }

    /// A list or watch has shown an object with the label of our replicas; `false` if that is no news.
    pub fn seen(&mut self, sighting: &Sighting, replica: Option<Replica>) -> bool {
        let is_dead = self.tombstone().is_some_and(|(uid, _)| uid == sighting.uid);
        if is_dead && !mutants::has(Mutant::TombstoneIgnored) {
            return false;
        }
        let is_past = self.replica.as_ref().is_some_and(|known| known.rv > sighting.rv);
        if is_past && !mutants::has(Mutant::OlderEventsCount) {
            return false;
        }
        if self.looked_since(Rv(sighting.rv.0.saturating_add(1))) {
            return false;
        }
        self.heard = true;
        let known_so = match (&replica, &self.replica) {
            (Some(new), Some(known)) => new.rv == known.rv && new.fingerprint == known.fingerprint,
            _ => false,
        };
        let news = !known_so || self.doubt != Doubt::None;
        // At equality the event: it shows what admission made of our write.
        if let (Some(new), Some(known)) = (&replica, &self.replica)
            && new.fingerprint != known.fingerprint
        {
            // And if it is not what admission made of it any more, that is worth a try.
            self.mutated = self.echo == new.rv;
        }
        if sighting.rv >= self.echo {
            self.echo = Rv::default();
        }
        self.upstream = sighting.ours.as_ref().is_some_and(|ours| ours.upstream);
        if self.awaited().is_none_or(|(_, rv)| rv <= sighting.rv) {
            self.doubt = if replica.is_some() { Doubt::None } else { Doubt::Labelled };
        }
        self.replica = replica;
        if self.doubt != Doubt::Awaited && self.passing.is_some() {
            self.pass(|passing| passing.awaited = None);
        }
        news
    }

    /// A watch has shown that this object is gone, or has lost the label of our replicas, with this version.
    pub fn gone(&mut self, uid: Uid, rv: Rv) {
        self.heard = true;
        if self.tombstone().is_some_and(|(dead, _)| dead == uid) {
            return self.pass(|passing| passing.tombstone = None);
        }
        match self.doubt {
            Doubt::Awaited if self.awaited().is_some_and(|(awaited, _)| awaited != uid) => {}
            Doubt::None | Doubt::Taken => {}
            Doubt::Foreign if self.looked_since(rv) => {}
            // Whatever stood there is gone or no longer as it was: a create tells.
            Doubt::Awaited | Doubt::Foreign | Doubt::Labelled => self.doubt = Doubt::None,
        }
        if self.replica.as_ref().is_some_and(|known| known.uid == uid) {
            self.replica = None;
        }
    }

    /// A list as of this version is complete and has not shown it. `restored`: versions have begun anew. `false` if
    /// that is no news.
    pub fn unlisted(&mut self, list: Rv, restored: bool) -> bool {
        let mut news = false;
        let past = |rv: Rv| rv <= list || restored;
        if self.tombstone().is_some_and(|(_, rv)| past(rv)) {
            self.pass(|passing| passing.tombstone = None);
            news = true;
        }
        if self.replica.as_ref().is_some_and(|known| past(known.rv)) {
            (self.replica, self.heard, news) = (None, true, true);
        }
        match self.doubt {
            Doubt::Awaited if self.awaited().is_some_and(|(_, rv)| !past(rv)) => {}
            Doubt::Awaited | Doubt::Labelled => (self.doubt, news) = (Doubt::None, true),
            Doubt::None | Doubt::Taken | Doubt::Foreign => {}
        }
        news
    }

    /// A create or update was answered. `shown`: the watch has shown everything up to this version, so that an
    /// answer at or below it is past, and what the watch has made known is newer.
    pub fn wrote(&mut self, replica: Replica, shown: Rv) {
        if self.passing.is_some() {
            self.pass(|passing| (passing.switched_off, passing.foreign) = (None, None));
        }
        if let Some(known) = self.replica.as_ref().filter(|known| known.rv == replica.rv) {
            // At our own version the event shows what admission made of it.
            self.mutated = known.fingerprint != replica.fingerprint;
            return;
        }
        if replica.rv <= shown || self.replica.as_ref().is_some_and(|known| known.rv > replica.rv) {
            return;
        }
        self.doubt = Doubt::None;
        self.echo = replica.rv;
        self.replica = Some(replica);
    }

    /// The reply to a write was lost: perhaps it was done, or will be until then, even after later ones.
    pub fn perhaps_wrote(&mut self, shape: Arc<Shape>, until: Moment) {
        self.pass(|passing| passing.perhaps = Some((shape, until)));
    }

    /// The copied keys that may stand on the replica but are not on record there.
    pub fn perhaps(&mut self, now: Moment) -> Option<&Arc<Shape>> {
        if self.passing.as_ref()?.perhaps.as_ref()?.1 <= now {
            self.pass(|passing| passing.perhaps = None);
        }
        Some(&self.passing.as_ref()?.perhaps.as_ref()?.0)
    }

    /// A master's replica was switched off: same object, next version.
    pub fn wrote_switch(&mut self, uid: Uid, rv: Rv) {
        if let Some(known) = &mut self.replica
            && known.uid == uid
            && known.rv <= rv
        {
            (known.rv, known.alone) = (rv, false);
            self.pass(|passing| passing.switched_off = Some(rv));
        }
    }

    /// Whether the replica, as it stands, has been switched off by us.
    pub fn is_switched_off(&self) -> bool {
        let off = self.passing.as_ref().and_then(|passing| passing.switched_off);
        off.is_some() && off == self.replica.as_ref().map(|known| known.rv)
    }

    /// A delete of this object was answered, or a request found that it is gone.
    pub fn deleted(&mut self, uid: Uid) {
        if let Some(known) = self.replica.take_if(|known| known.uid == uid) {
            self.pass(|passing| (passing.tombstone, passing.switched_off) = (Some((uid, known.rv)), None));
        }
    }

    /// A request found something else there than we knew.
    pub fn surprised(&mut self) {
        self.doubt = Doubt::Taken;
    }

    /// A look found nothing.
    pub fn looked_nothing(&mut self) {
        if self.heard && self.replica.is_some() {
            // It came after the look, or went before it and that will be shown.
            return;
        }
        (self.doubt, self.replica) = (Doubt::None, None);
    }

    /// A look found somebody else's object. `labelled`: it has the label of our replicas, and our watch has shown
    /// this version of it or one of after.
    pub fn looked_foreign(&mut self, foreign: Foreign, labelled: bool) {
        if self.heard && self.replica.as_ref().is_some_and(|known| known.rv > foreign.guard.rv) {
            return;
        }
        self.replica = None;
        // Then that watch shows its end too, unless it has done so since we asked.
        if labelled && (!self.heard || self.doubt == Doubt::Labelled) {
            self.doubt = Doubt::Labelled;
            return;
        }
        self.doubt = Doubt::Foreign;
        self.pass(|passing| passing.foreign = Some(foreign));
    }

    /// What is in the way, if no watch of ours on replicas shows it.
    pub fn foreign(&self) -> Option<&Foreign> {
        self.passing.as_ref()?.foreign.as_ref().filter(|_| self.doubt == Doubt::Foreign)
    }

    /// It is not in the way any more: a create tells.
    pub fn foreign_gone(&mut self) {
        if self.doubt == Doubt::Foreign {
            self.drop_foreign();
        }
    }

    /// Somebody else's object is of no interest, whether it is there or not.
    pub fn drop_foreign(&mut self) {
        self.doubt = Doubt::None;
        if self.passing.is_some() {
            self.pass(|passing| passing.foreign = None);
        }
    }

    /// Until when the replica stays although it is not selected.
    pub fn stays_until(&self) -> Option<Moment> {
        self.passing.as_ref()?.stays_until
    }

    /// It is selected again, or from now on it stays until then.
    pub fn stay_until(&mut self, until: Option<Moment>) {
        if self.stays_until() != until {
            self.pass(|passing| passing.stays_until = until);
        }
    }

    /// A look found an object of ours. `shown` as in [`PairState::wrote`].
    pub fn looked_ours(&mut self, uid: Uid, rv: Rv, shown: Rv) {
        let known = self.replica.as_ref().is_some_and(|known| known.uid == uid && known.rv >= rv);
        // A version that has been shown and is not what we know has changed since.
        self.doubt = if known || rv <= shown { Doubt::None } else { Doubt::Awaited };
        let awaited = (self.doubt == Doubt::Awaited).then_some((uid, rv));
        self.pass(|passing| passing.awaited = awaited);
    }

    /// Whether no watch will show when things change: a look must.
    pub fn is_unwatched(&self) -> bool {
        matches!(self.doubt, Doubt::Foreign | Doubt::Awaited)
    }

    /// A retry is due: what was refused as foreign, or has been awaited in vain, is looked at again.
    pub fn doubt_again(&mut self) {
        if self.is_unwatched() {
            self.doubt = Doubt::Taken;
        }
    }

    /// What stands there is of no interest any more, unless it is ours or watched. `true` if it is taken for our
    /// replica again, as we know it: a delete is guarded, and needs no look.
    pub fn stop_doubting(&mut self) -> bool {
        if self.replica.is_some() && self.doubt == Doubt::Taken {
            self.doubt = Doubt::None;
            return true;
        }
        if self.replica.is_none() && self.doubt != Doubt::Labelled {
            self.drop_foreign();
        }
        false
    }

    /// What stands there is of another past: nothing that was known is so.
    pub fn restart(&mut self) {
        let Self { mutated, failures, outcome, .. } = *self;
        *self = Self { mutated, failures, outcome, ..Self::default() };
    }
}

#[cfg(test)]
#[path = "pairs_tests.rs"]
mod tests;
