//! What the watches bring.

use super::{
    BTreeSet, Core, Destination, Feed, Kind, Lane, NamespaceSeen, Pair, Scope, Sighting, SourceId, SourceNews, Want,
};
use crate::contract::object::Rv;
use crate::index::pairs::{DestId, PairState};
use crate::plan::Replica;

impl Core {
    pub(super) fn on_sources(&mut self, news: SourceNews) {
        match news {
            SourceNews::Want(key, want) => {
                let id = self.source_id(&key);
                let lane = if matches!(want, Want::Off) { Lane::Removed } else { Lane::Changed };
                if let Some(source) = self.sources.get_mut(&id) {
                    (source.want, source.bodies, source.asked) = (Some(want), None, false);
                }
                for state in self.pairs.range_mut(Pair::all_of(id)).map(|(_, state)| state) {
                    state.mutated = false;
                }
                self.touch_source(id, lane);
            }
            SourceNews::Forgotten(key) => {
                let id = self.source_id(&key);
                if let Some(source) = self.sources.get_mut(&id) {
                    (source.want, source.bodies, source.asked) = (None, None, false);
                }
                self.touch_source(id, Lane::Removed);
                self.drop_unused_source(id);
            }
            SourceNews::Namespace { uid, deletes_frozen } => {
                (self.origin_uid, self.deletes_frozen) = (uid, deletes_frozen);
                self.touch_all();
            }
            SourceNews::Complete => {
                self.sources_complete = true;
                self.touch_all();
            }
        }
    }

    fn drop_unused_source(&mut self, id: SourceId) {
        let used = self.pairs.range(Pair::all_of(id)).next().is_some() || self.queue.is_open(id);
        if let Some(source) = self.sources.get(&id)
            && source.want.is_none()
            && !used
        {
            self.source_ids.remove(&source.key);
            self.sources.remove(&id);
            self.touched.remove(&id);
            self.shapes.shrink();
        }
    }

    pub(super) fn touch_all(&mut self) {
        let ids: Vec<_> = self.sources.keys().copied().collect();
        for id in ids {
            self.touch_source(id, Lane::Changed);
        }
    }

    /// Every pair of a source that may have become wrong: where copies are wanted all destinations, else those where
    /// something is known.
    fn touch_source(&mut self, id: SourceId, lane: Lane) {
        let wanted = self.sources.get(&id).and_then(|source| source.want.as_ref());
        let pairs: Vec<_> = if matches!(wanted, Some(Want::On(_) | Want::Frozen(_))) {
            self.dests.keys().map(|dest| Pair { source: id, dest: *dest }).collect()
        } else {
            self.pairs.range(Pair::all_of(id)).map(|(pair, _)| *pair).collect()
        };
        for pair in pairs {
            self.touch(pair, lane);
        }
        self.touched.insert(id);
    }

    fn touch_dest(&mut self, dest: DestId, lane: Lane) {
        let sources: Vec<_> = self.sources.keys().copied().collect();
        for source in sources {
            self.touch(Pair { source, dest }, lane);
        }
    }

    pub(super) fn on_dest(&mut self, feed: Feed<NamespaceSeen>) {
        match feed {
            Feed::Init => self.dests_listed = Some(BTreeSet::new()),
            Feed::Listed(namespace) => {
                let id = self.dest_applied(&namespace);
                if let (Some(listed), Some(id)) = (&mut self.dests_listed, id) {
                    listed.insert(id);
                }
            }
            Feed::Applied(namespace) => drop(self.dest_applied(&namespace)),
            Feed::Gone(namespace) => {
                if let Some(id) = self.dest_ids.get(namespace.name.as_str()).copied() {
                    self.drop_dest(id);
                }
            }
            Feed::InitDone(_) => {
                let listed = self.dests_listed.take().unwrap_or_default();
                // Namespaces of which only replicas are known stay: a watch that is ahead may have shown those.
                let gone: Vec<_> = self
                    .dests
                    .iter()
                    .filter(|(id, dest)| dest.state.is_some() && !listed.contains(*id))
                    .map(|(id, _)| *id)
                    .collect();
                for id in gone {
                    self.drop_dest(id);
                }
                if !self.dests_complete {
                    self.dests_complete = true;
                    self.touch_all();
                }
                self.reachable();
            }
        }
    }

    fn dest_applied(&mut self, namespace: &NamespaceSeen) -> Option<DestId> {
        // Never its own namespace: the sources stand there.
        if namespace.name == self.rules.source_namespace {
            return None;
        }
        let id = self.dest_id(&namespace.name);
        let dest = self.dests.get_mut(&id)?;
        let before = (dest.state, dest.uid);
        (dest.state, dest.uid) = (Some(namespace.state), Some(namespace.uid));
        if before != (dest.state, dest.uid) {
            let lane = match namespace.state {
                Destination::Open => Lane::NewNamespace,
                Destination::Excluded | Destination::Leaving => Lane::Removed,
            };
            self.touch_dest(id, lane);
        }
        Some(id)
    }

    /// A namespace is gone, and everything in it.
    fn drop_dest(&mut self, id: DestId) {
        if let Some(dest) = self.dests.remove(&id) {
            self.dest_ids.remove(&dest.name);
        }
        let sources: Vec<_> = self.sources.keys().copied().collect();
        for source in sources {
            let pair = Pair { source, dest: id };
            self.queue.forget(pair);
            self.drop_pair(pair);
        }
    }

    /// A write has found the namespace gone or going: until a watch says otherwise it is no destination.
    pub(super) fn dest_is_leaving(&mut self, id: DestId) {
        if let Some(dest) = self.dests.get_mut(&id) {
            dest.state = Some(Destination::Leaving);
        }
        self.touch_dest(id, Lane::Removed);
    }

    pub(super) fn on_replica(&mut self, kind: Kind, feed: Feed<Sighting>) {
        match feed {
            Feed::Init => {
                let listing = self.listings.of_mut(kind);
                listing.seen = Some(BTreeSet::new());
                listing.older.clear();
            }
            Feed::Listed(sighting) => {
                let Some(pair) = self.pair_of(&sighting) else { return };
                let listing = self.listings.of_mut(kind);
                if let Some(seen) = &mut listing.seen {
                    seen.insert(pair);
                }
                let known = self.pairs.get(&pair).and_then(PairState::replica);
                if known.is_some_and(|known| known.rv > sighting.rv) {
                    listing.older.insert(pair, sighting);
                } else {
                    self.replica_applied(pair, sighting);
                }
            }
            Feed::Applied(sighting) => {
                let Some(pair) = self.pair_of(&sighting) else { return };
                self.replica_applied(pair, sighting);
            }
            Feed::Gone(sighting) => {
                let Some(pair) = self.pair_of(&sighting) else { return };
                self.raise(kind, sighting.rv);
                let in_flight = self.queue.is_in_flight(pair);
                if let Some(state) = self.pairs.get_mut(&pair) {
                    state.gone(sighting.uid, in_flight);
                    self.touch(pair, Lane::Drift);
                }
            }
            Feed::InitDone(list) => self.replicas_listed(kind, list),
        }
    }

    fn replicas_listed(&mut self, kind: Kind, list: Rv) {
        let listing = self.listings.of_mut(kind);
        let seen = listing.seen.take().unwrap_or_default();
        let older = std::mem::take(&mut listing.older);
        let restored = list < listing.highest;
        (listing.highest, listing.complete) = (listing.highest.max(list), true);
        if restored {
            // The store was put back to an earlier time: versions begin again, and what we knew is of another past.
            listing.highest = list;
        }
        let of_kind = |id: SourceId| self.sources.get(&id).is_some_and(|source| source.key.kind == kind);
        let all: Vec<_> = self.pairs.keys().filter(|pair| of_kind(pair.source)).copied().collect();
        for pair in all {
            let in_flight = self.queue.is_in_flight(pair);
            let Some(state) = self.pairs.get_mut(&pair) else { continue };
            if !seen.contains(&pair) {
                state.forget_tombstone();
                let gone = state.replica().filter(|replica| replica.rv <= list || restored).map(|replica| replica.uid);
                if let Some(uid) = gone {
                    state.gone(uid, in_flight);
                }
            }
        }
        if restored {
            for (pair, sighting) in older {
                if let Some(state) = self.pairs.get_mut(&pair) {
                    state.looked_nothing();
                }
                self.replica_applied(pair, sighting);
            }
        }
        self.reachable();
        let sources: Vec<_> =
            self.sources.iter().filter(|(_, source)| source.key.kind == kind).map(|(id, _)| *id).collect();
        for id in sources {
            self.touch_source(id, Lane::Drift);
        }
    }

    fn replica_applied(&mut self, pair: Pair, mut sighting: Sighting) {
        self.raise(sighting.source.kind, sighting.rv);
        let replica = sighting.ours.as_mut().map(|ours| Replica {
            uid: sighting.uid,
            rv: sighting.rv,
            fingerprint: ours.fingerprint.clone(),
            shape: self.shapes.intern(std::mem::take(&mut ours.shape)),
            origin_uid: ours.origin_uid,
        });
        if self.pairs.entry(pair).or_default().seen(&sighting, replica) {
            self.touch(pair, Lane::Drift);
        }
    }

    fn raise(&mut self, kind: Kind, rv: Rv) {
        let listing = self.listings.of_mut(kind);
        listing.highest = listing.highest.max(rv);
    }

    /// The pair that a sighting is of; `None` for what stands in no destination.
    fn pair_of(&mut self, sighting: &Sighting) -> Option<Pair> {
        let destination = match &self.scope {
            Scope::Namespaces => sighting.namespace != self.rules.source_namespace,
            Scope::One(name) => sighting.namespace == *name,
        };
        destination.then(|| Pair { source: self.source_id(&sighting.source), dest: self.dest_id(&sighting.namespace) })
    }

    /// A watch has just read a list: whatever was wrong with the cluster, it is worth a try.
    fn reachable(&mut self) {
        self.paused_until = None;
    }
}
