//! Namespaces in which a write was answered that they are being deleted or do not exist, although no event has said
//! so. The event comes, as a rule, and until then it would be in vain to write there. But the answer may have been of
//! one API server that is behind another, and then no event comes: so there is another try now and then, in silence.

use std::collections::{BTreeMap, BTreeSet};

use super::{BACKOFF_FIRST, BACKOFF_PAIR, Core, Destination, Lane, Moment};
use crate::index::pairs::DestId;

#[derive(Debug)]
struct Refusal {
    times: u8,
    /// What it was before.
    was: Destination,
    /// When it is tried again; `None` while that is under way.
    due: Option<Moment>,
}

/// Those of one cluster.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    of: BTreeMap<DestId, Refusal>,
    due: BTreeSet<(Moment, DestId)>,
}

impl Leaving {
    /// A request there succeeded. If it was not another try, it says nothing: deletions do while it is terminating.
    pub(super) fn succeeded(&mut self, dest: DestId) {
        if self.of.get(&dest).is_some_and(|refusal| refusal.due.is_none()) {
            self.of.remove(&dest);
        }
    }

    /// An event has told what it is.
    pub(super) fn forget(&mut self, dest: DestId) {
        if let Some(at) = self.of.remove(&dest).and_then(|refusal| refusal.due) {
            self.due.remove(&(at, dest));
        }
    }

    /// When the next is tried again.
    pub(super) fn wake_at(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl Core {
    /// A write has found the namespace gone or going: until an event says otherwise it is no destination, or until it
    /// is tried again.
    pub(super) fn dest_is_leaving(&mut self, id: DestId) {
        let Some(dest) = self.dests.get_mut(&id) else { return };
        let was = match dest.state {
            Some(Destination::Leaving) | None => return,
            Some(was) => was,
        };
        dest.state = Some(Destination::Leaving);
        let refusal = self.leaving.of.entry(id).or_insert(Refusal { times: 0, was, due: None });
        refusal.times = refusal.times.saturating_add(1);
        let at = self.now.saturating_add(self.rng.backoff(BACKOFF_FIRST, refusal.times, BACKOFF_PAIR));
        (refusal.was, refusal.due) = (was, Some(at));
        self.leaving.due.insert((at, id));
        self.touch_dest(id, Lane::Removed);
    }

    /// Tries those again for which it is time.
    pub(super) fn try_leaving(&mut self) {
        while let Some((at, id)) = self.leaving.due.first().copied().filter(|(at, _)| *at <= self.now) {
            self.leaving.due.remove(&(at, id));
            let (Some(refusal), Some(dest)) = (self.leaving.of.get_mut(&id), self.dests.get_mut(&id)) else { continue };
            (refusal.due, dest.state) = (None, Some(refusal.was));
            self.touch_dest(id, Lane::Retry);
        }
    }
}
