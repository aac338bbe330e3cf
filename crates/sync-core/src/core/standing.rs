//! How every source stands at this moment, for whoever asks: a summary, a page, a status.

use std::time::Duration;

use super::{Core, Destination, Pair, Place, SourceId, SourceState, Tally, Want};
use crate::contract::object::{SourceKey, Version};
use crate::reason::Reason;

/// What a source asks for, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Copies.
    Copies,
    /// It cannot be understood: what stands follows it, nothing is created or deleted.
    Frozen,
    /// It is never replicated.
    Never,
    /// Its copies are to go, or wait for it to come back: with the reason.
    Leaving(Reason),
    /// No copies.
    Nothing,
    /// It has not been named; only copies of it are known.
    Unknown,
}

/// How one source stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The source.
    pub source: SourceKey,
    /// The version of it that is acted on, if it asks for copies or is frozen. Nothing that was counted is of an earlier
    /// one.
    pub version: Option<Version>,
    /// What it asks for.
    pub asks: Asks,
    /// How its pairs stand: all of them, if nothing is pending or refused, are as this version wants them.
    pub tally: Tally,
    /// For how long something has been pending or refused.
    pub unsettled_for: Option<Duration>,
    /// The copy, where there is one destination only.
    pub replica: Option<Version>,
    /// The first few places that are not as they should be.
    pub places: Vec<Place>,
}

/// How all sources stand in one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standings {
    /// All lists have come: before that, nothing below is more than a beginning.
    pub ready: bool,
    /// How many destinations there are, those that no source selects included.
    pub destinations: usize,
    /// By kind and name.
    pub sources: Vec<Standing>,
}

impl Core {
    /// How all sources stand, each with so many places at most. It looks at every pair of those that are not in place: ask
    /// now and then.
    pub fn standings(&self, places: usize) -> Standings {
        let open = self.dests.values().filter(|dest| dest.state == Some(Destination::Open));
        let sources = self.source_ids.values().filter_map(|id| self.standing(*id, places)).collect();
        Standings { ready: self.is_ready(), destinations: open.count(), sources }
    }

    /// Grows when [`Core::standings`] may have changed although no count has.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    fn standing(&self, id: SourceId, places: usize) -> Option<Standing> {
        let SourceState { key, want, version, tally, .. } = self.sources.get(&id)?;
        let asks = match want {
            Some(Want::On(_)) => Asks::Copies,
            Some(Want::Frozen(_)) => Asks::Frozen,
            Some(Want::Never) => Asks::Never,
            Some(Want::Leaving(reason)) => Asks::Leaving(*reason),
            Some(Want::Off(_)) => Asks::Nothing,
            None => Asks::Unknown,
        };
        let settled = self.report(id, places)?;
        let mut replica = None;
        if self.scope.namespace().is_some() {
            let known = self.pairs.range(Pair::all_of(id)).find_map(|(_, state)| state.replica());
            replica = known.map(|known| Version { uid: known.uid, rv: known.rv });
        }
        let (source, version) = (key.clone(), *version);
        let unsettled_for = tally.since.map(|since| self.now.saturating_sub(since));
        Some(Standing { source, version, asks, tally: settled.tally, unsettled_for, replica, places: settled.places })
    }
}
