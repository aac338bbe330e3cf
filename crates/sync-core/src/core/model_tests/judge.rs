//! What the controller has been told since it started, to judge its requests by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::sim::GRACE;
use super::world::World;
use crate::contract::object::{Kind, Object, SourceKey};
use crate::contract::rules::{Role, Rules};
use crate::contract::source::{Reading, Source};
use crate::index::feed::{Feed, Moment, NamespaceSeen, SourceNamespace};
use crate::order::{Order, Step};
use crate::plan::Destination;

/// What it was told of one source.
#[derive(Debug)]
struct Told {
    reading: Option<Reading>,
    object: Option<Object>,
    absent_since: Moment,
    /// The last that was told, absence aside, was an explicit `no`.
    off: bool,
}

impl Told {
    fn absent(&mut self, now: Moment) {
        if self.reading.as_ref().is_some_and(|old| !matches!(old, Reading::Plain)) {
            self.absent_since = now;
        }
        (self.reading, self.object) = (None, None);
    }
}

pub(super) struct Judge {
    rules: Arc<Rules>,
    started: Moment,
    /// Which watches have had their list, in the order of the simulation.
    pub(super) listed: [bool; 6],
    told: BTreeMap<SourceKey, Told>,
    listing: BTreeSet<SourceKey>,
    pub(super) namespace: Option<SourceNamespace>,
    dests: BTreeMap<String, Destination>,
    pub(super) confirmed: BTreeSet<SourceKey>,
}

fn key(object: &Object) -> SourceKey {
    SourceKey { kind: object.kind, name: object.name.as_str().into() }
}

impl Judge {
    pub(super) fn new(rules: &Arc<Rules>, started: Moment) -> Self {
        Self {
            rules: Arc::clone(rules),
            started,
            listed: [false; 6],
            told: BTreeMap::new(),
            listing: BTreeSet::new(),
            namespace: None,
            dests: BTreeMap::new(),
            confirmed: BTreeSet::new(),
        }
    }

    pub(super) fn hears_source(&mut self, now: Moment, kind: Kind, feed: &Feed<Object>) {
        match feed {
            Feed::Init => self.listing.retain(|key| key.kind != kind),
            Feed::Listed(object) => {
                self.listing.insert(key(object));
                self.source(now, object);
            }
            Feed::Applied(object) => self.source(now, object),
            Feed::Gone(object) => {
                if let Some(told) = self.told.get_mut(&key(object)) {
                    told.absent(now);
                }
            }
            Feed::InitDone(_) => {
                let gone = self.told.iter_mut().filter(|(key, _)| key.kind == kind && !self.listing.contains(*key));
                gone.for_each(|(_, told)| told.absent(now));
            }
        }
    }

    fn source(&mut self, now: Moment, object: &Object) {
        let reading = Source::read(&self.rules, object.clone()).reading;
        let fresh = Told { reading: None, object: None, absent_since: self.started, off: false };
        let told = self.told.entry(key(object)).or_insert(fresh);
        match &reading {
            Reading::Plain => told.absent(now),
            Reading::Off(_) => told.off = true,
            Reading::On(_) | Reading::Frozen(..) | Reading::Never(_) => told.off = false,
        }
        if !matches!(reading, Reading::Plain) {
            self.confirmed.remove(&key(object));
        }
        (told.reading, told.object) = (Some(reading), Some(object.clone()));
    }

    pub(super) fn hears_dest(&mut self, feed: &Feed<NamespaceSeen>) {
        match feed {
            Feed::Listed(ns) | Feed::Applied(ns) => drop(self.dests.insert(ns.name.clone(), ns.state)),
            Feed::Gone(ns) => drop(self.dests.remove(&ns.name)),
            Feed::Init | Feed::InitDone(_) => {}
        }
    }

    /// Promises 2 and 8, for a delete or the write before it, as it is sent.
    pub(super) fn may_remove(&self, now: Moment, order: &Order, world: &World) {
        // The replicas of the other kind do not matter, a master knows its one destination, and the source namespace
        // is asked for below.
        let other = usize::from(order.kind == Kind::Secret);
        let needless = |watch: usize| watch == other || watch == 4 || (watch == 5 && self.rules.role == Role::Master);
        let listed = self.listed.iter().enumerate().all(|(watch, listed)| *listed || needless(watch));
        assert!(listed, "{order:?} before all lists");
        let namespace = self.namespace.expect("a deletion without a source namespace");
        assert!(!namespace.terminating, "{order:?} while the source namespace is terminating");
        if self.dests.get(&*order.namespace) == Some(&Destination::Excluded) {
            return;
        }
        let key = SourceKey { kind: order.kind, name: Arc::clone(&order.name) };
        let told = self.told.get(&key);
        if !matches!(told, Some(Told { reading: Some(Reading::On(_)), .. }))
            && let Some(replica) = world.hit(order)
        {
            let made_by = replica.annotations.get("mw-sync.io/origin-uid");
            assert_eq!(made_by, Some(&namespace.uid.to_string()), "{order:?} of another incarnation's replica");
        }
        match told.and_then(|told| told.reading.as_ref()) {
            Some(Reading::On(_)) => {
                assert!(!matches!(order.step, Step::SwitchOff(_)), "{order:?} although it is on");
                // Only to make it anew, because an update could not change it.
                let source = &told.unwrap().object.as_ref().unwrap().content;
                let stands = world.hit(order).map(|object| &object.content);
                let fits = |has: &crate::contract::object::Content| {
                    has.secret_type == source.secret_type
                        && (!has.immutable || (source.immutable && has.data == source.data))
                };
                assert!(!stands.is_some_and(fits), "{order:?} although it is on");
            }
            Some(Reading::Off(_)) => {}
            Some(Reading::Frozen(..) | Reading::Never(_)) => panic!("{order:?} although it is frozen"),
            None | Some(Reading::Plain) => {
                if told.is_some_and(|told| told.off) {
                    return;
                }
                let upstream = world.hit(order).is_some_and(|o| o.annotations.contains_key("mw-sync.io/upstream"));
                assert!(!upstream, "{order:?} although it was never switched off");
                let since = told.map_or(self.started, |told| told.absent_since);
                assert!(since + GRACE <= now, "{order:?} within the grace");
                assert!(self.confirmed.contains(&key), "{order:?} not confirmed");
            }
        }
    }
}
