//! News for the engine, which pass through here: a Secret goes after the entries that name it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Accounts, Moment, SourceNews};
use crate::contract::object::{Kind, SourceKey};
use crate::mutants::{self, Mutant};
use crate::plan::Want;
use crate::reason::Reason;

/// How long the news that a source is off are held at most: a ServiceAccount that cannot be written to is no reason to
/// leave a Secret everywhere.
pub(super) const HOLD: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Gate {
    held: BTreeMap<SourceKey, Held>,
    passed: Vec<SourceNews>,
}

#[derive(Debug)]
struct Held {
    until: Moment,
    news: SourceNews,
    /// The engine has been told that its copies are leaving: none is made meanwhile, and none is deleted.
    announced: bool,
}

impl Gate {
    pub(super) fn wake_at(&self) -> Option<Moment> {
        self.held.values().map(|held| held.until).min()
    }
}

impl Accounts {
    pub(super) fn hold_or_pass(&mut self, news: SourceNews) {
        match &news {
            SourceNews::Want(key, want) => {
                let held = self.gate.held.remove(key);
                if key.kind == Kind::Secret && matches!(want, Want::Off(_)) {
                    let (until, announced) =
                        held.map_or((self.now.saturating_add(HOLD), false), |held| (held.until, held.announced));
                    self.gate.held.insert(key.clone(), Held { until, news, announced });
                    return;
                }
            }
            SourceNews::Forgotten(key) => {
                self.gate.passed.extend(self.gate.held.remove(key).map(|held| held.news));
            }
            // Nobody's business but ours.
            SourceNews::Noted(_) => return,
            SourceNews::Version(..) | SourceNews::Namespace { .. } | SourceNews::Complete | SourceNews::Current(_) => {}
        }
        self.gate.passed.push(news);
    }

    /// What the engine is to be told by now, in order.
    pub fn take_news(&mut self, now: Moment) -> Vec<SourceNews> {
        self.now = now;
        let keys: Vec<_> = self.gate.held.keys().cloned().collect();
        for key in keys {
            let over = self.gate.held.get(&key).is_some_and(|held| held.until <= now);
            if over || !self.may_be_listed(&key.name) {
                self.gate.passed.extend(self.gate.held.remove(&key).map(|held| held.news));
            } else if let Some(held) = self.gate.held.get_mut(&key).filter(|held| !held.announced)
                && !mutants::has(Mutant::OffWithheld)
            {
                held.announced = true;
                self.gate.passed.push(SourceNews::Want(key, Want::Leaving(Reason::Leaving)));
            }
        }
        std::mem::take(&mut self.gate.passed)
    }

    /// Whether a ServiceAccount may list this source, and will not for long.
    fn may_be_listed(&self, name: &str) -> bool {
        if self.is_ready() { self.pending.contains_key(name) } else { !self.memory.is_clear() }
    }
}
