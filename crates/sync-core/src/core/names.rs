//! Watches on one name each: for as long as somebody else's object is in the way of a source, all objects of that kind
//! and name are watched that do not carry the label of our replicas, so that it is noticed at once when one goes.
//!
//! What such a watch shows needs no look. What it does not show, because it has no list yet, has failed or is one too
//! many, is looked at again and again, more and more slowly.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Core, Feed, Lane, Outcome, Pair, PairState, Rv, SourceKey};
use crate::index::feed::ForeignSeen;
use crate::index::pairs::{DestId, SourceId};
use crate::reason::Reason;

/// At most so many names of a cluster are watched: each is a stream at the server.
const NAMES: usize = 20;

/// A watch to begin or to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameWatch {
    /// On this kind and name; what it tells is told with this number.
    Start(u64, SourceKey),
    /// That of this number.
    Stop(u64),
}

/// What such a watch tells.
#[derive(Debug)]
pub enum NameNews {
    /// A step of its list, or a change.
    Feed(Feed<ForeignSeen>),
    /// It has failed and tries again.
    Lost,
    /// It works again, and has missed nothing.
    Well,
}

#[derive(Debug, Default)]
struct Name {
    /// `None` if there are too many.
    watch: Option<u64>,
    /// Where something of this name is in the way.
    dests: BTreeSet<DestId>,
    listed: bool,
    lost: bool,
    /// What it shows: the versions, by namespace.
    there: BTreeMap<String, Rv>,
    /// What the present list has shown so far.
    listing: Option<BTreeSet<String>>,
}

/// The names of one cluster.
#[derive(Debug, Default)]
pub(super) struct Names {
    of: BTreeMap<SourceId, Name>,
    watches: BTreeMap<u64, SourceId>,
    last: u64,
    orders: Vec<NameWatch>,
}

impl Names {
    fn start(&mut self, source: SourceId, key: &SourceKey) {
        if self.watches.len() < NAMES
            && let Some(name) = self.of.get_mut(&source)
        {
            self.last += 1;
            name.watch = Some(self.last);
            self.watches.insert(self.last, source);
            self.orders.push(NameWatch::Start(self.last, key.clone()));
        }
    }
}

impl Core {
    /// Watches on names to begin and to end.
    pub fn take_name_watches(&mut self) -> Vec<NameWatch> {
        std::mem::take(&mut self.names.orders)
    }

    /// A pair has settled: is something in its way that no other watch shows?
    pub(super) fn note_in_the_way(&mut self, pair: Pair) {
        if self.known(pair).is_some_and(|state| state.foreign().is_some()) {
            let is_new = !self.names.of.contains_key(&pair.source);
            self.names.of.entry(pair.source).or_default().dests.insert(pair.dest);
            if is_new && let Some(source) = self.sources.get(&pair.source) {
                self.names.start(pair.source, &source.key);
            }
            return;
        }
        let Some(name) = self.names.of.get_mut(&pair.source) else { return };
        if name.dests.remove(&pair.dest) && name.dests.is_empty() {
            let watch = name.watch;
            self.names.of.remove(&pair.source);
            if let Some(id) = watch {
                self.names.watches.remove(&id);
                self.names.orders.push(NameWatch::Stop(id));
                let next = self.names.of.iter().find(|(_, name)| name.watch.is_none()).map(|(source, _)| *source);
                if let Some((id, source)) = next.and_then(|id| Some((id, self.sources.get(&id)?))) {
                    self.names.start(id, &source.key);
                }
            }
        }
    }

    /// Whether a watch shows what is in the way, in the version that we know.
    pub(super) fn is_shown(&self, pair: Pair) -> bool {
        let shown = || {
            let name = self.names.of.get(&pair.source).filter(|name| name.listed && !name.lost)?;
            name.there.get(&*self.dests.get(&pair.dest)?.name)
        };
        let known = self.known(pair).and_then(PairState::foreign).map(|foreign| foreign.guard.rv);
        known.is_some() && shown() == known.as_ref()
    }

    pub(super) fn on_name(&mut self, id: u64, news: NameNews) {
        let Some(source) = self.names.watches.get(&id).copied() else { return };
        let Some(name) = self.names.of.get_mut(&source) else { return };
        match news {
            NameNews::Lost => {
                name.lost = true;
                for pair in self.in_the_way(source) {
                    if !self.queue.contains(pair) {
                        self.again_later(pair);
                    }
                }
            }
            NameNews::Well => {
                name.lost = false;
                self.in_the_way(source).into_iter().for_each(|pair| self.shown(pair));
            }
            NameNews::Feed(Feed::Init) => name.listing = Some(BTreeSet::new()),
            NameNews::Feed(Feed::Listed(seen)) => {
                if let Some(listing) = &mut name.listing {
                    listing.insert(seen.namespace.clone());
                }
                self.seen_in_the_way(source, seen);
            }
            NameNews::Feed(Feed::Applied(seen)) => self.seen_in_the_way(source, seen),
            NameNews::Feed(Feed::Gone(seen)) => {
                name.there.remove(&seen.namespace);
                if let Some(dest) = self.dest_ids.get(seen.namespace.as_str()) {
                    self.gone_from_the_way(Pair { source, dest: *dest }, seen.metadata.rv);
                }
            }
            NameNews::Feed(Feed::InitDone(list)) => {
                let listing = name.listing.take().unwrap_or_default();
                name.there.retain(|namespace, _| listing.contains(namespace));
                (name.listed, name.lost) = (true, false);
                for pair in self.in_the_way(source) {
                    let place = self.dests.get(&pair.dest).map(|dest| &*dest.name);
                    if place.is_some_and(|place| listing.contains(place)) {
                        self.shown(pair);
                    } else {
                        self.gone_from_the_way(pair, list);
                    }
                }
            }
        }
    }

    fn in_the_way(&self, source: SourceId) -> Vec<Pair> {
        let dests = self.names.of.get(&source).into_iter().flat_map(|name| &name.dests);
        dests.map(|dest| Pair { source, dest: *dest }).collect()
    }

    fn seen_in_the_way(&mut self, source: SourceId, seen: ForeignSeen) {
        let ForeignSeen { namespace, metadata } = seen;
        let pair = self.dest_ids.get(namespace.as_str()).map(|dest| Pair { source, dest: *dest });
        if let Some(name) = self.names.of.get_mut(&source) {
            name.there.insert(namespace, metadata.rv);
        }
        // What a request in flight says of it is compared with this when it comes.
        let Some(pair) = pair.filter(|pair| !self.queue.is_in_flight(*pair)) else { return };
        let Some(known) = self.known(pair).and_then(PairState::foreign).map(|foreign| foreign.guard.rv) else { return };
        if known < metadata.rv
            && let Some(source) = self.sources.get(&pair.source)
        {
            let foreign = self.foreign(&source.key, &metadata, None);
            self.state(pair).looked_foreign(foreign, false);
        }
        self.shown(pair);
    }

    /// What is in the way is as the watch shows it: no look is needed, unless for what is inside. That one is put off,
    /// because somebody may change it all the time.
    fn shown(&mut self, pair: Pair) {
        if !self.is_shown(pair) || self.queue.is_in_flight(pair) {
            return;
        }
        if matches!(self.plan(pair), Action::Look | Action::LookInside) {
            if !self.queue.contains(pair) {
                self.again_later(pair);
            }
            return;
        }
        if self.known(pair).is_some_and(|state| state.outcome != Outcome::Refused(Reason::Contested)) {
            self.queue.forget(pair);
        }
        self.touch(pair, Lane::Drift);
    }

    /// As of this version the watch does not show anything in the way.
    fn gone_from_the_way(&mut self, pair: Pair, as_of: Rv) {
        let known = self.known(pair).and_then(PairState::foreign).map(|foreign| foreign.guard.rv);
        if known.is_some_and(|known| known <= as_of) && !self.queue.is_in_flight(pair) {
            self.state(pair).foreign_gone();
            self.touch(pair, Lane::Drift);
        }
    }
}
