//! What the watches bring.

use super::{
    BTreeSet, Core, Destination, Feed, Kind, Labels, Lane, Lead, NamespaceSeen, Outcome, Pair, Scope, Sighting,
    SourceId, SourceNews, Want,
};
use crate::contract::object::Rv;
use crate::index::pairs::DestId;
use crate::plan::Replica;

impl Core {
    pub(super) fn on_sources(&mut self, news: SourceNews) {
        match news {
            SourceNews::Want(key, want) => {
                let id = self.source_id(&key);
                let lane = if matches!(want, Want::Off(_)) { Lane::Removed } else { Lane::Changed };
                if let Some(source) = self.sources.get_mut(&id) {
                    (source.want, source.version, source.bodies) = (Some(want), None, None);
                    (source.asked, source.forgotten) = (false, false);
                }
                for state in self.pairs.range_mut(Pair::all_of(id)).map(|(_, state)| state) {
                    (state.mutated, state.stood) = (false, false);
                }
                self.rivals.source_changed(id);
                self.touch_source(id, lane);
                self.fanout_begins(id, lane);
            }
            SourceNews::Version(key, version) => {
                if let Some(source) = self.source_ids.get(&key).and_then(|id| self.sources.get_mut(id)) {
                    source.version = Some(version);
                    self.changes += 1;
                }
            }
            SourceNews::Forgotten(key) => {
                if let Some(id) = self.source_ids.get(&key).copied() {
                    if let Some(source) = self.sources.get_mut(&id) {
                        source.forgotten = true;
                    }
                    self.drop_unused_source(id);
                }
            }
            SourceNews::Namespace { uid, deletes_frozen } => {
                (self.origin_uid, self.deletes_frozen) = (uid, deletes_frozen);
                self.touch_all();
            }
            SourceNews::Complete => {
                self.sources_complete = true;
                self.touch_all();
            }
            SourceNews::Current(term) => {
                if self.licence.set_current(term) {
                    self.touch_all();
                }
            }
            SourceNews::Noted(_) => {}
        }
    }

    pub(super) fn on_lead(&mut self, lead: Lead) {
        // What others have written meanwhile is known by the watches, as far as they are.
        if self.licence.set_lead(lead) {
            self.touch_all();
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

    pub(super) fn touch_dest(&mut self, dest: DestId, lane: Lane) {
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
                    self.dest_is_gone(id);
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
                    self.dest_is_gone(id);
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
        self.leaving.forget(id);
        let dest = self.dests.get_mut(&id)?;
        let before = (dest.state, dest.uid);
        (dest.state, dest.uid) = (Some(namespace.state), Some(namespace.uid));
        let relabelled = dest.labels != namespace.labels;
        if relabelled {
            dest.labels.clone_from(&namespace.labels);
        }
        if before != (dest.state, dest.uid) {
            self.rivals.dest_changed(id);
        }
        if before != (dest.state, dest.uid) || relabelled {
            // Webhooks are asked by the labels of a namespace.
            self.queue.forget_silence(id);
            let lane = match namespace.state {
                // Also one that is selected from now on: whoever labels it waits as for a new one.
                Destination::Open => Lane::NewNamespace,
                Destination::Excluded | Destination::Leaving => Lane::Removed,
            };
            let due_before = self.tally.pending;
            self.touch_dest(id, lane);
            self.namespace_begins(id, due_before);
        }
        Some(id)
    }

    /// The RemoteCluster has these labels from now on.
    pub(super) fn on_labels(&mut self, labels: &Labels) {
        for dest in self.dests.values_mut() {
            dest.labels.clone_from(labels);
        }
        self.touch_all();
    }

    /// A namespace is gone. So is everything in it, as the watches on replicas will tell or have told: they may be
    /// behind this one or ahead, and what they have shown may already be of the next namespace of this name.
    fn dest_is_gone(&mut self, id: DestId) {
        self.leaving.forget(id);
        if let Some(dest) = self.dests.get_mut(&id) {
            (dest.state, dest.uid) = (None, None);
        }
        self.touch_dest(id, Lane::Removed);
        self.drop_unused_dest(id);
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
                let known = self.pairs.get(&pair).and_then(|state| state.replica());
                if known.is_some_and(|known| known.rv > sighting.rv) {
                    listing.older.insert(pair, sighting);
                } else {
                    listing.older.remove(&pair);
                    self.replica_applied(pair, sighting);
                }
            }
            Feed::Applied(sighting) => {
                self.has_shown(kind, sighting.rv);
                let Some(pair) = self.pair_of(&sighting) else { return };
                self.replica_applied(pair, sighting);
            }
            Feed::Gone(sighting) => {
                self.has_shown(kind, sighting.rv);
                let source = self.source_ids.get(&sighting.source);
                let (Some(source), Some(dest)) = (source, self.dest_ids.get(sighting.namespace.as_str())) else {
                    return;
                };
                let pair = Pair { source: *source, dest: *dest };
                self.listings.of_mut(kind).older.remove(&pair);
                if let Some(state) = self.pairs.get_mut(&pair) {
                    state.gone(sighting.uid, sighting.rv);
                    self.touch(pair, Lane::Drift);
                    self.is_touched(pair, None);
                }
            }
            Feed::InitDone(list) => self.replicas_listed(kind, list),
        }
    }

    fn replicas_listed(&mut self, kind: Kind, list: Rv) {
        let listing = self.listings.of_mut(kind);
        let seen = listing.seen.take().unwrap_or_default();
        let older = std::mem::take(&mut listing.older);
        // The store may have been put back to an earlier time, and what we knew is of another past. Versions begin anew, or
        // go on far above: then the list is of a later version than what we know, and shows an earlier one.
        let restored = list < listing.shown;
        let first = !listing.complete;
        (listing.shown, listing.complete) = (list, true);
        let of_kind = |id: SourceId| self.sources.get(&id).is_some_and(|source| source.key.kind == kind);
        let unlisted = self.pairs.iter_mut().filter(|(pair, _)| of_kind(pair.source) && !seen.contains(*pair));
        let gone: Vec<_> =
            unlisted.filter_map(|(pair, state)| state.unlisted(list, restored).then_some(*pair)).collect();
        for (pair, sighting) in older {
            let known = self.pairs.get(&pair).and_then(|state| state.replica());
            if restored || known.is_some_and(|known| known.rv <= list) {
                self.state(pair).restart();
                self.replica_applied(pair, sighting);
            }
        }
        self.reachable();
        // What a list shows again is no reason to try what has failed before its time.
        if !first && !restored {
            for pair in gone {
                self.touch(pair, Lane::Drift);
                self.is_touched(pair, None);
            }
            return;
        }
        let sources: Vec<_> =
            self.sources.iter().filter(|(_, source)| source.key.kind == kind).map(|(id, _)| *id).collect();
        for id in sources {
            self.touch_source(id, Lane::Drift);
        }
    }

    fn replica_applied(&mut self, pair: Pair, mut sighting: Sighting) {
        let replica = sighting.ours.as_mut().map(|ours| Replica {
            uid: sighting.uid,
            rv: sighting.rv,
            fingerprint: self.fingerprints.intern(ours.fingerprint.clone()),
            shape: self.shapes.intern(std::mem::take(&mut ours.shape)),
            origin_uid: ours.origin_uid.map(|uid| self.incarnations.intern(uid)),
            end: ours.end,
            alone: ours.alone,
        });
        if self.state(pair).seen(&sighting, replica) {
            self.touch(pair, Lane::Drift);
            self.is_touched(pair, sighting.manager.as_deref());
        }
    }

    /// Notes who it was, if what stands there is not as it was and should be.
    fn is_touched(&mut self, pair: Pair, manager: Option<&str>) {
        if self.known(pair).is_some_and(|state| state.stood && state.outcome != Outcome::Synced) {
            self.rivals.touched(self.now, pair, manager);
        }
    }

    fn has_shown(&mut self, kind: Kind, rv: Rv) {
        let listing = self.listings.of_mut(kind);
        listing.shown = listing.shown.max(rv);
    }

    /// The pair that a sighting is of; `None` for what stands in no destination.
    fn pair_of(&mut self, sighting: &Sighting) -> Option<Pair> {
        let destination = match &self.scope {
            Scope::Namespaces => sighting.namespace != self.rules.source_namespace,
            Scope::One { namespace, .. } => sighting.namespace == *namespace,
        };
        destination.then(|| Pair { source: self.source_id(&sighting.source), dest: self.dest_id(&sighting.namespace) })
    }

    /// A watch has just read a list: whatever was wrong with the cluster, it is worth a try.
    fn reachable(&mut self) {
        self.paused_until = None;
    }
}
