//! Dry runs: what was tried, so that it is not tried again before something else is to be done there.
//!
//! The answer to a dry run is an outcome and never state: nothing was stored, so the plan is the same as before. A pair
//! whose request would have been done rests until its plan is another one; one that is refused is tried again as ever.

use std::collections::BTreeMap;

use super::{Core, Pair};
use crate::contract::fingerprint::Fingerprint;
use crate::contract::object::Uid;
use crate::plan::{Action, There};
use crate::reason::Would;

/// A write, as far as another one like it would have the same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) would: Would,
    wants: Option<Fingerprint>,
    /// On which object.
    uid: Option<Uid>,
}

impl Attempt {
    /// `None` for what is no write.
    pub(super) fn of(action: &Action, there: There<'_>) -> Option<Self> {
        let replica = match there {
            There::Ours(replica) => Some(replica.uid),
            There::Absent | There::Taken | There::Foreign(_) | There::Awaited => None,
        };
        let (would, desired, uid) = match action {
            Action::Create(desired) => (Would::Create, Some(desired), None),
            Action::Update(desired, _) => (Would::Update, Some(desired), replica),
            Action::Recreate(desired, guard) => (Would::Recreate, Some(desired), Some(guard.uid)),
            Action::Adopt(desired, adoption) => (Would::Adopt, Some(desired), Some(adoption.guard.uid)),
            Action::Delete(guard) => (Would::Delete, None, Some(guard.uid)),
            Action::Release(guard, _) => (Would::Release, None, Some(guard.uid)),
            Action::Keep | Action::Hold(_) | Action::Refuse(_) | Action::Look | Action::LookInside => return None,
        };
        Some(Self { would, wants: desired.map(|desired| desired.fingerprint.clone()), uid })
    }
}

/// What has been tried and would have been done. Empty but for dry runs.
pub(super) type Attempts = BTreeMap<Pair, Attempt>;

impl Core {
    /// What this order, which is under way, is for, if it is a write.
    pub fn would(&self, order: u64) -> Option<Would> {
        Some(self.flights.get(&order)?.attempt.as_ref()?.would)
    }

    /// What would be done about the pair, if just that has been tried.
    pub(super) fn tried(&self, pair: Pair, action: &Action) -> Option<Would> {
        let tried = self.attempts.get(&pair)?;
        (self.attempt(pair, action).as_ref() == Some(tried)).then_some(tried.would)
    }

    /// The write that this action is.
    pub(super) fn attempt(&self, pair: Pair, action: &Action) -> Option<Attempt> {
        Attempt::of(action, self.known(pair).map_or(There::Absent, super::PairState::there))
    }

    /// Whether a request is due.
    pub(super) fn is_due(&mut self, pair: Pair, action: &Action) -> bool {
        let due = match action {
            Action::Create(_)
            | Action::Update(..)
            | Action::Recreate(..)
            | Action::Delete(_)
            | Action::Release(..)
            | Action::Adopt(..) => self.tried(pair, action).is_none(),
            // What was tried may be to be done still, when that is known.
            Action::Look | Action::LookInside => return true,
            Action::Keep | Action::Hold(_) | Action::Refuse(_) => false,
        };
        if due || self.tried(pair, action).is_none() {
            self.attempts.remove(&pair);
        }
        due
    }
}
