//! What the sources want of a ServiceAccount.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::plan::Wish;
use super::record::{Mark, Record};
use super::{Accounts, Lane, Moment};
use crate::contract::keys;
use crate::contract::object::{Kind, SourceKey};
use crate::contract::options::{OnDelete, Options};
use crate::contract::patterns::Patterns;
use crate::index::news::SourceNews;
use crate::mutants::{self, Mutant};
use crate::plan::{Destination, Want};

/// An entry that is not selected any more goes so long before the end of the grace, for the Secret goes then.
const AHEAD: Duration = Duration::from_secs(10);

/// When an entry goes that is not asked for any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaves {
    pub(super) at: Moment,
    /// The namespace is selected, and the ServiceAccount named no more. If that changes the time begins anew: a namespace
    /// that is selected no more keeps its copy for the whole grace, and the entry for the same.
    selected: bool,
}

/// How a source stands.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    On(Arc<Options>, Mark),
    /// Frozen, on its way out, or never replicated: nothing moves.
    Kept,
    Off(Option<OnDelete>),
}

impl Standing {
    fn of(want: &Want) -> Self {
        match want {
            Want::On(desired) => {
                let mark = Mark {
                    origin_uid: Some(desired.origin_uid),
                    retain: desired.options.on_delete == OnDelete::Retain,
                    upstream: desired.annotations.contains_key(keys::UPSTREAM),
                };
                Self::On(Arc::clone(&desired.options), mark)
            }
            Want::Frozen(_) | Want::Never | Want::Leaving(_) => Self::Kept,
            Want::Off(how) => Self::Off(*how),
        }
    }

    fn patterns(&self) -> Option<&Patterns> {
        match self {
            Self::On(options, _) => options.image_pull_secret.as_ref(),
            Self::Kept | Self::Off(_) => None,
        }
    }
}

impl Accounts {
    pub(super) fn on_sources(&mut self, news: SourceNews) {
        match &news {
            SourceNews::Want(key, want) if key.kind == Kind::Secret => {
                let standing = Standing::of(want);
                let lane = if matches!(standing, Standing::Off(_)) { Lane::Removed } else { Lane::Changed };
                self.stands(&key.name, Some(standing), lane);
            }
            SourceNews::Forgotten(key) if key.kind == Kind::Secret => {
                if mutants::has(Mutant::AskedAgain) {
                    self.stands(&key.name, None, Lane::Removed);
                } else {
                    self.forgotten.insert(Arc::clone(&key.name));
                }
            }
            SourceNews::Namespace { uid, deletes_frozen } => {
                (self.origin_uid, self.deletes_frozen) = (*uid, *deletes_frozen);
                if let Some(uid) = *uid {
                    self.memory.is_in(uid);
                }
                self.touch_all(Lane::Changed);
            }
            SourceNews::Complete => {
                self.sources_complete = true;
                self.rescope();
                self.touch_all(Lane::Changed);
            }
            SourceNews::Current(term) => {
                if self.licence.set_current(*term) {
                    self.begins_to_lead();
                }
            }
            SourceNews::Noted(noted) => self.memory.is_shown(*noted),
            SourceNews::Want(..) | SourceNews::Version(..) | SourceNews::Forgotten(_) => {}
        }
        self.hold_or_pass(news);
    }

    fn stands(&mut self, name: &Arc<str>, standing: Option<Standing>, lane: Lane) {
        self.asked.remove(name);
        self.forgotten.remove(name);
        let asks = |standing: Option<&Standing>| standing.is_some_and(|standing| standing.patterns().is_some());
        let mut matters = asks(standing.as_ref());
        let before = match standing {
            Some(standing) => self.sources.insert(Arc::clone(name), standing),
            None => self.sources.remove(name),
        };
        matters |= asks(before.as_ref());
        if matters {
            self.rescope();
            self.dirty.insert(Arc::clone(name));
        } else if !self.entries.values().any(|entry| entry.record.get(name).is_some()) {
            return;
        }
        let ids: Vec<_> = self.entries.keys().copied().collect();
        ids.into_iter().for_each(|id| self.wants_anew(id));
        self.touch_all(lane);
    }

    /// Something else may be wanted of this ServiceAccount: what was written before is no sign of a war.
    pub(super) fn wants_anew(&mut self, id: u32) {
        if let Some(entry) = self.entries.get_mut(&id) {
            (entry.mutated, entry.writes, entry.contests) = (false, Vec::new(), 0);
        }
    }

    /// Nothing more will be told of these sources: they are forgotten here with their last entry.
    pub(super) fn drop_forgotten(&mut self) {
        let listed = |name: &Arc<str>| self.entries.values().any(|entry| entry.record.get(name).is_some());
        let over: Vec<_> = self.forgotten.iter().filter(|name| !listed(name)).cloned().collect();
        over.iter().for_each(|name| self.stands(name, None, Lane::Removed));
    }

    /// Which ServiceAccounts are kept in memory: all that were asked for since the watch began, so that a source that
    /// comes back needs no list. One that is new among them does: it was passed over.
    fn rescope(&mut self) {
        let asked = self.sources.values().filter_map(Standing::patterns);
        let new: Vec<_> = asked.filter(|patterns| !self.scope.contains(patterns)).cloned().collect();
        if !new.is_empty() && self.watching.is_some() {
            self.watch_anew();
        }
        self.scope.extend(new);
    }

    /// Whether a source asks for entries.
    pub(super) fn is_asked(&self) -> bool {
        self.sources.values().any(|standing| standing.patterns().is_some())
    }

    /// Whether this source asks for entries.
    pub(super) fn asks(&self, name: &str) -> bool {
        self.sources.get(name).is_some_and(|standing| standing.patterns().is_some())
    }

    /// What each source wants of this ServiceAccount; `None` while nothing is to be done there.
    pub(super) fn wishes(&mut self, id: u32) -> Option<BTreeMap<Arc<str>, Wish>> {
        let entry = self.entries.get(&id).filter(|entry| !entry.mutated)?;
        let state = self.namespaces.get(&entry.account.namespace)?.state;
        if !self.is_ready() || state == Destination::Leaving {
            return None;
        }
        let (mut wishes, mut leaving, mut unknown) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (name, mark) in entry.record.marks() {
            let standing = self.sources.get(name);
            // Or it cannot be read and stands in the place of a master's replica: when it goes, only entries tell that.
            if standing.is_none_or(|standing| mark.upstream && matches!(standing, Standing::Kept)) {
                unknown.push(Arc::clone(name));
            }
            if let Some(standing) = standing {
                let before = entry.leaving.get(name).copied();
                let (wish, leaves) =
                    self.of_recorded(&entry.account.namespace, &entry.account.name, standing, mark, before);
                wishes.insert(Arc::clone(name), wish);
                leaving.extend(leaves.map(|leaves| (Arc::clone(name), leaves)));
            }
        }
        for (name, standing) in &self.sources {
            if let Standing::On(options, mark) = standing
                && self.is_chosen(&entry.account.namespace, &entry.account.name, options)
            {
                wishes.insert(Arc::clone(name), Wish::Listed(*mark));
            }
        }
        for name in unknown {
            if self.asked.insert(Arc::clone(&name)) {
                let mut marks = self.entries.values().filter_map(|entry| entry.record.get(&name));
                let upstream = marks.any(|mark| mark.upstream);
                self.asks.push((SourceKey { kind: Kind::Secret, name }, upstream));
            }
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.leaving = leaving;
        }
        Some(wishes)
    }

    /// Whether copies belong in this namespace, by what the source and we were told.
    fn is_selected(&self, namespace: &str, options: &Options) -> bool {
        let excluded = self.rules.exclude_namespaces.as_ref().is_some_and(|patterns| patterns.matches(namespace));
        let labels = self.namespaces.get(namespace).map(|namespace| &namespace.labels);
        !excluded && labels.is_some_and(|labels| options.namespaces.selects(namespace, labels))
    }

    fn is_open(&self, namespace: &str) -> bool {
        self.namespaces.get(namespace).is_some_and(|namespace| namespace.state == Destination::Open)
    }

    fn is_chosen(&self, namespace: &str, name: &str, options: &Options) -> bool {
        options.image_pull_secret.as_ref().is_some_and(|patterns| patterns.matches(name))
            && self.is_open(namespace)
            && self.is_selected(namespace, options)
    }

    /// What becomes of an entry of ours that is recorded there, and until when it stays, or stayed, if that is a matter
    /// of time.
    fn of_recorded(
        &self,
        namespace: &str,
        name: &str,
        standing: &Standing,
        mark: &Mark,
        before: Option<Leaves>,
    ) -> (Wish, Option<Leaves>) {
        // Opted out is an explicit `no`, whatever the source says.
        let opted_out = !self.is_open(namespace);
        if opted_out && !mutants::has(Mutant::EntriesOutlast) {
            return (self.remove_entry(mark, None), None);
        }
        let options = match standing {
            Standing::Kept => return (Wish::Keep, None),
            Standing::Off(how) => return (self.remove_entry(mark, *how), None),
            Standing::On(options, _) if self.is_chosen(namespace, name, options) => return (Wish::Keep, None),
            Standing::On(options, _) => options,
        };
        let (grace, selected) = (self.rules.delete_grace, self.is_selected(namespace, options));
        let leaves = before
            .filter(|before| before.selected == selected)
            .unwrap_or_else(|| Leaves { at: self.now.saturating_add(grace - AHEAD.min(grace / 3)), selected });
        if self.now < leaves.at {
            return (Wish::Keep, Some(leaves));
        }
        let wish = if !selected {
            self.remove_entry(mark, Some(options.on_delete))
        } else if self.deletes_frozen {
            Wish::Keep
        } else {
            // The Secret stays, and is not asked for here any more.
            Wish::Out
        };
        (wish, Some(leaves))
    }

    /// The same that becomes of the replica, see [`plan`](crate::plan::plan): `said` by the source, or remembered.
    fn remove_entry(&self, mark: &Mark, said: Option<OnDelete>) -> Wish {
        if self.deletes_frozen || mark.origin_uid.is_none() || mark.origin_uid != self.origin_uid {
            Wish::Keep
        } else if said.map_or(mark.retain, |said| said == OnDelete::Retain) {
            Wish::Released
        } else {
            Wish::Out
        }
    }

    /// Whether any entry of ours is recorded anywhere, or may be.
    pub(super) fn has_entries(&self) -> bool {
        self.has_records() || self.entries.values().any(|entry| entry.doubt.is_some())
    }

    /// Whether any entry of ours is recorded anywhere.
    pub(super) fn has_records(&self) -> bool {
        self.entries.values().any(|entry| !entry.record.has_none())
    }

    /// Reads the record of an account.
    pub(super) fn read_record(&self, text: Option<&str>) -> Record {
        text.map_or_else(Record::default, |text| Record::parse(&self.prefix, text))
    }
}
