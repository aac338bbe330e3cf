//! Replicas that somebody keeps changing or deleting, or making again: no war with a webhook or another controller.
//!
//! What was restored three times within five minutes is `Contested`: from then on it is restored only after a pause,
//! one minute after the third time and twice as long each time, up to half an hour. It ends when the replica has been
//! left alone for five minutes after a pause. A change of the source ends nothing, but it is written there once, at
//! once: people who rotate a credential want it there, and one write is no war.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::interner::Interner;
use crate::fault::message;
use crate::index::feed::Moment;
use crate::index::pairs::{DestId, Pair, SourceId};

/// So many restorations within this time are one too many.
pub(crate) const WINDOW: Duration = Duration::from_secs(300);
/// The first pause.
pub(crate) const FIRST: Duration = Duration::from_secs(60);
/// The longest pause.
pub(crate) const LONGEST: Duration = Duration::from_secs(1800);

/// What is known of one replica that was touched.
#[derive(Debug, Default)]
struct Rival {
    /// The last two restorations, the later one second.
    restored: [Option<Moment>; 2],
    pauses: u8,
    /// It is not restored before.
    until: Moment,
    /// Something else is wanted than before: that is written once.
    fresh: bool,
    /// Who touched it last, besides us.
    manager: Option<Arc<str>>,
    /// When it was last heard of.
    heard: Moment,
}

impl Rival {
    /// It has been left alone for long enough.
    fn is_over(&self, now: Moment) -> bool {
        now >= self.until.max(self.heard).saturating_add(WINDOW)
    }
}

/// All of one cluster.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    of: BTreeMap<Pair, Rival>,
    managers: Interner<str>,
    /// How many there were when those that are over were last forgotten.
    kept: usize,
}

impl Rivals {
    fn of(&mut self, now: Moment, pair: Pair) -> &mut Rival {
        if self.of.len() > 2 * self.kept + 16 && !self.of.contains_key(&pair) {
            self.of.retain(|_, rival| !rival.is_over(now));
            self.managers.forget_unused();
            self.kept = self.of.len();
        }
        let rival = self.of.entry(pair).or_default();
        if rival.is_over(now) {
            *rival = Rival::default();
        }
        rival.heard = now;
        rival
    }

    /// Somebody has touched a replica: this field manager, or one that is not known (who deletes leaves no name).
    pub(super) fn touched(&mut self, now: Moment, pair: Pair, manager: Option<&str>) {
        let manager = manager.map(|name| self.managers.intern(name));
        if manager.is_some() || self.of.contains_key(&pair) {
            self.of(now, pair).manager = manager;
        }
    }

    /// What is wanted of a replica, and stood there before, was written once more.
    pub(super) fn restored(&mut self, now: Moment, pair: Pair) {
        let rival = self.of(now, pair);
        let [before, last] = rival.restored;
        let third = before.is_some_and(|before| now.saturating_sub(before) <= WINDOW);
        if third || rival.pauses > 0 {
            let pause = FIRST.saturating_mul(1 << u32::from(rival.pauses).min(10)).min(LONGEST);
            rival.until = now.saturating_add(pause);
            rival.pauses = rival.pauses.saturating_add(1);
        }
        (rival.restored, rival.fresh) = ([last, Some(now)], false);
    }

    /// What is wanted was written, for the first time.
    pub(super) fn written(&mut self, pair: Pair) {
        if let Some(rival) = self.of.get_mut(&pair) {
            rival.fresh = false;
        }
    }

    /// A replica that is not wanted was deleted. If it was before, then somebody has made it again.
    pub(super) fn deleted(&mut self, now: Moment, pair: Pair) {
        if self.of.get(&pair).is_some_and(|rival| !rival.fresh && !rival.is_over(now)) {
            self.restored(now, pair);
        } else {
            self.of(now, pair).fresh = false;
        }
    }

    /// Something else is wanted of the replicas of this source.
    pub(super) fn source_changed(&mut self, source: SourceId) {
        self.of.range_mut(Pair::all_of(source)).for_each(|(_, rival)| rival.fresh = true);
    }

    /// This destination is another one, or open where it was not.
    pub(super) fn dest_changed(&mut self, dest: DestId) {
        self.of.retain(|pair, _| pair.dest != dest);
    }

    /// Until when a replica is not to be restored, if it is not.
    pub(super) fn holds(&self, now: Moment, pair: Pair) -> Option<Moment> {
        self.of.get(&pair).filter(|rival| rival.until > now && !rival.fresh).map(|rival| rival.until)
    }

    /// What is known of who it is, for people.
    pub(super) fn says(&self, pair: Pair) -> String {
        match self.of.get(&pair).and_then(|rival| rival.manager.as_ref()) {
            Some(manager) => {
                let manager = message(manager);
                format!(
                    "field manager \"{manager}\" keeps changing it; have it leave the copy alone (we try again within 30 minutes)"
                )
            }
            None => String::new(),
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }
}
