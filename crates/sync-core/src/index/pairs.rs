//! One source at one destination: what stands there, by whichever of a reply and an event is newer.

use crate::contract::marks::Sighting;
use crate::contract::object::{Rv, Uid};
use crate::plan::{Replica, There};
use crate::reason::Reason;

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

/// What has come of a pair, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is wanted and nothing is there.
    #[default]
    Nothing,
    /// The replica is as it should be.
    Synced,
    /// Something is to be done.
    Pending,
    /// Nothing is done for now.
    Held(Reason),
    /// Nothing is done until a person acts.
    Refused(Reason),
    /// The last request failed, with [`Fault::reason`](crate::fault::Fault::reason); it is tried again.
    Failed(&'static str),
}

/// Doubt about what stands under the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doubt {
    #[default]
    None,
    /// Something; to be looked at.
    Taken,
    /// Somebody else's.
    Foreign,
    /// Ours in at least this version, which the watch has not shown yet.
    Awaited(Uid, Rv),
}

/// What is known of one pair.
#[derive(Clone, Debug, Default)]
pub struct PairState {
    replica: Option<Replica>,
    doubt: Doubt,
    /// Deleted: its events are ignored until its own deletion has been shown.
    tombstone: Option<Uid>,
    /// The version that our last update made, until its event has come.
    echo: Option<Rv>,
    /// Admission changed what we wrote of the present version of the source.
    pub mutated: bool,
    /// A master's replica that has been switched off, so that it may be deleted.
    pub switched_off: bool,
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
            (Doubt::Foreign, _) => There::Foreign,
            (Doubt::Awaited(..), _) => There::Awaited,
            (Doubt::None, Some(replica)) => There::Ours(replica),
            (Doubt::None, None) => There::Absent,
        }
    }

    /// Our replica, whatever doubt there is about it.
    pub fn replica(&self) -> Option<&Replica> {
        self.replica.as_ref()
    }

    /// Whether nothing would be lost with it.
    pub fn is_empty(&self) -> bool {
        self.replica.is_none()
            && self.doubt == Doubt::None
            && self.tombstone.is_none()
            && matches!(self.outcome, Outcome::Nothing)
    }

    /// A list or watch has shown an object with the label of our replicas; `false` if that is no news.
    pub fn seen(&mut self, sighting: &Sighting, replica: Option<Replica>) -> bool {
        if self.tombstone == Some(sighting.uid) {
            return false;
        }
        if let Some(known) = &self.replica
            && known.rv > sighting.rv
        {
            return false;
        }
        match (&replica, &self.replica) {
            // At equality the event: it shows what admission made of our write.
            (Some(new), Some(known)) if self.echo == Some(new.rv) && new.fingerprint != known.fingerprint => {
                self.mutated = true;
            }
            _ => {}
        }
        if self.echo.is_some_and(|echo| sighting.rv >= echo) {
            self.echo = None;
        }
        self.upstream = sighting.ours.as_ref().is_some_and(|ours| ours.upstream);
        self.doubt = if replica.is_some() { Doubt::None } else { Doubt::Foreign };
        self.replica = replica;
        true
    }

    /// A watch has shown that it is gone, or a list has not shown it; `false` if that is no news.
    pub fn gone(&mut self, uid: Uid, in_flight: bool) -> bool {
        if self.tombstone == Some(uid) {
            self.tombstone = None;
            return false;
        }
        if in_flight {
            // The reply to our write of this very object may still be on its way.
            self.tombstone = Some(uid);
        }
        match self.doubt {
            Doubt::Awaited(awaited, _) if awaited == uid => self.doubt = Doubt::None,
            // Whatever carried our label there is gone, or lost it: a create tells.
            Doubt::Foreign => self.doubt = Doubt::None,
            _ => {}
        }
        if self.replica.as_ref().is_some_and(|known| known.uid == uid) {
            self.replica = None;
        }
        true
    }

    /// A create or update was answered.
    pub fn wrote(&mut self, replica: Replica) {
        if self.tombstone == Some(replica.uid) {
            self.tombstone = None;
            return;
        }
        self.doubt = Doubt::None;
        self.switched_off = false;
        if self.replica.as_ref().is_some_and(|known| known.rv >= replica.rv) {
            // The event was here first. At our own version it shows what admission made of it.
            let known = self.replica.as_ref().filter(|known| known.rv == replica.rv);
            self.mutated = known.is_some_and(|known| known.fingerprint != replica.fingerprint);
            return;
        }
        self.echo = Some(replica.rv);
        self.replica = Some(replica);
    }

    /// A master's replica was switched off: same object, next version.
    pub fn wrote_switch(&mut self, uid: Uid, rv: Rv) {
        self.switched_off = true;
        if let Some(known) = &mut self.replica
            && known.uid == uid
            && known.rv < rv
        {
            known.rv = rv;
        }
    }

    /// A delete of this object was answered.
    pub fn deleted(&mut self, uid: Uid) {
        self.switched_off = false;
        if self.tombstone == Some(uid) {
            self.tombstone = None;
        } else if self.replica.as_ref().is_some_and(|known| known.uid == uid) {
            self.replica = None;
            self.tombstone = Some(uid);
        }
    }

    /// A request found something else there than we knew.
    pub fn surprised(&mut self) {
        self.doubt = Doubt::Taken;
    }

    /// A look found nothing.
    pub fn looked_nothing(&mut self) {
        (self.doubt, self.replica) = (Doubt::None, None);
    }

    /// A look found somebody else's object.
    pub fn looked_foreign(&mut self) {
        (self.doubt, self.replica) = (Doubt::Foreign, None);
    }

    /// A look found an object of ours; `false` if its event is still to come.
    pub fn looked_ours(&mut self, uid: Uid, rv: Rv) -> bool {
        let shown = self.replica.as_ref().is_some_and(|known| known.uid == uid && known.rv >= rv);
        self.doubt = if shown { Doubt::None } else { Doubt::Awaited(uid, rv) };
        shown
    }

    /// A retry is due: what was refused as foreign, or has been awaited in vain, is looked at again.
    pub fn doubt_again(&mut self) {
        if matches!(self.doubt, Doubt::Foreign | Doubt::Awaited(..)) {
            self.doubt = Doubt::Taken;
        }
    }

    /// A list that is complete did not show the object of this uid, and no event of it will come.
    pub fn forget_tombstone(&mut self) {
        self.tombstone = None;
    }
}
