//! Index, queue and plan of one cluster, joined: a state machine without I/O and without a clock.
//!
//! The engine feeds it ([`Core::on`]), sends what it orders ([`Core::next`]), and wakes it when it says so
//! ([`Core::wake_at`]). The same inputs in the same order give the same orders.

mod done;
mod feeds;
#[cfg(test)]
mod model_tests;
mod settle;
#[cfg(test)]
mod situation_tests;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::contract::body;
use crate::contract::desired::Desired;
use crate::contract::fingerprint::Shapes;
use crate::contract::marks::Sighting;
use crate::contract::object::{Kind, PerKind, Rv, SourceKey, Uid};
use crate::contract::rules::{Role, Rules};
use crate::fault::Fault;
use crate::index::feed::{Feed, Moment, NamespaceSeen};
use crate::index::news::SourceNews;
use crate::index::pairs::{DestId, Outcome, Pair, PairState, SourceId};
use crate::order::{Order, Reply, Step};
use crate::plan::{Action, Destination, Guard, There, View, Want, plan};
use crate::queue::{Lane, Queue};
use crate::rng::Rng;

pub use tally::{Place, Settled, Tally};

/// First pause after a failure, doubled each time.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest pause of one pair.
const BACKOFF_PAIR: Duration = Duration::from_secs(300);
/// Longest pause of a whole cluster: it comes back as a whole, and people wait for it.
const BACKOFF_CLUSTER: Duration = Duration::from_secs(60);
/// How long the event of an object that a look has found may take before it is looked at again.
const AWAIT: Duration = Duration::from_secs(5);

/// Where copies belong in this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every namespace but the source namespace; a watch tells which there are.
    Namespaces,
    /// This one namespace. Whether it exists, only a write tells.
    One(String),
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// What the sources want.
    Sources(SourceNews),
    /// The cluster's namespaces.
    Dest(Feed<NamespaceSeen>),
    /// Our replicas of one kind.
    Replica(Kind, Feed<Sighting>),
    /// An order was carried out, or not.
    Done(u64, Result<Reply, Fault>),
}

#[derive(Debug)]
struct SourceState {
    key: SourceKey,
    want: Option<Want>,
    /// Kept while pairs of it wait, so that a body is serialised once.
    bodies: Option<Arc<body::Bodies>>,
    asked: bool,
    /// Off, and nothing more will be told of it: it is forgotten here with its last replica.
    forgotten: bool,
    tally: tally::SourceTally,
}

#[derive(Debug)]
struct Dest {
    name: Arc<str>,
    uid: Option<Uid>,
    /// `None` while only its replicas are known: before its event has come, and until theirs have when it is gone.
    state: Option<Destination>,
    /// How many pairs something is known of.
    pairs: u32,
}

/// The list that is under way or was last complete, of one kind.
#[derive(Debug, Default)]
struct Listing {
    complete: bool,
    seen: Option<BTreeSet<Pair>>,
    /// Objects of the present list that are older than what we know of them: right if the store was restored.
    older: BTreeMap<Pair, Sighting>,
    /// The watch has shown everything up to this version.
    shown: Rv,
}

#[derive(Debug)]
struct Flight {
    pair: Pair,
    lane: Lane,
    what: What,
    /// The namespace's incarnation.
    dest: Option<Uid>,
}

#[derive(Debug)]
enum What {
    Write(Arc<Desired>),
    SwitchOff(Uid),
    Delete { uid: Uid, then_create: bool },
    Look,
}

/// The state machine of one cluster.
#[derive(Debug)]
pub struct Core {
    rules: Arc<Rules>,
    scope: Scope,
    rng: Rng,
    sources: BTreeMap<SourceId, SourceState>,
    source_ids: BTreeMap<SourceKey, SourceId>,
    sources_complete: bool,
    origin_uid: Option<Uid>,
    deletes_frozen: bool,
    dests: BTreeMap<DestId, Dest>,
    dest_ids: BTreeMap<Arc<str>, DestId>,
    dests_complete: bool,
    dests_listed: Option<BTreeSet<DestId>>,
    listings: PerKind<Listing>,
    shapes: Shapes,
    /// Boxed, because the nodes of the map may be half empty.
    pairs: BTreeMap<Pair, Box<PairState>>,
    queue: Queue,
    flights: BTreeMap<u64, Flight>,
    next_id: u32,
    next_order: u64,
    /// Nothing is sent before; then one probe, and the rest when that is answered.
    paused_until: Option<Moment>,
    cluster_fault: Option<Fault>,
    cluster_failures: u8,
    /// Where the last request went unanswered, if none was answered since: one silent destination is not the cluster.
    silent: Option<DestId>,
    asks: Vec<(SourceKey, bool)>,
    touched: BTreeSet<SourceId>,
}

impl Core {
    /// Knows nothing yet and does nothing until the lists have come.
    pub fn new(rules: Arc<Rules>, scope: Scope, max_in_flight: usize, seed: u64) -> Self {
        let many = scope == Scope::Namespaces;
        let mut core = Self {
            rules,
            rng: Rng::new(seed),
            sources: BTreeMap::new(),
            source_ids: BTreeMap::new(),
            sources_complete: false,
            origin_uid: None,
            deletes_frozen: true,
            dests: BTreeMap::new(),
            dest_ids: BTreeMap::new(),
            dests_complete: !many,
            dests_listed: None,
            listings: PerKind::default(),
            shapes: Shapes::default(),
            pairs: BTreeMap::new(),
            queue: Queue::new(max_in_flight, many),
            flights: BTreeMap::new(),
            next_id: 0,
            next_order: 0,
            paused_until: None,
            cluster_fault: None,
            cluster_failures: 0,
            silent: None,
            asks: Vec::new(),
            touched: BTreeSet::new(),
            scope,
        };
        if let Scope::One(name) = core.scope.clone() {
            let id = core.dest_id(&name);
            if let Some(dest) = core.dests.get_mut(&id) {
                dest.state = Some(Destination::Open);
            }
        }
        core
    }

    /// Takes in what happened.
    pub fn on(&mut self, now: Moment, input: Input) {
        match input {
            Input::Sources(news) => self.on_sources(news),
            Input::Dest(feed) => self.on_dest(feed),
            Input::Replica(kind, feed) => self.on_replica(kind, feed),
            Input::Done(id, result) => self.on_done(now, id, result),
        }
    }

    /// The next request to make, if one is due and there is a slot for it.
    pub fn next(&mut self, now: Moment) -> Option<Order> {
        if self.is_paused(now) {
            return None;
        }
        self.paused_until = None;
        // After a failure of the whole cluster one request at a time, until one is answered: it is not to be pelted.
        let limit = if self.cluster_failures > 0 { 1 } else { usize::MAX };
        loop {
            let (pair, lane) = self.queue.pop(now, limit)?;
            if lane == Lane::Retry
                && let Some(state) = self.pairs.get_mut(&pair)
            {
                state.doubt_again();
            }
            let action = self.plan(pair);
            if let Some(order) = self.order(pair, lane, &action) {
                return Some(order);
            }
            self.queue.done(pair);
            self.settle(pair, &action);
            // Nothing else will tell when that is over.
            if self.known(pair).is_some_and(PairState::is_unwatched) && !self.queue.contains(pair) {
                self.again_later(now, pair);
            }
        }
    }

    /// When [`Core::next`], which has just had nothing, may have something although nothing has happened.
    pub fn wake_at(&self) -> Option<Moment> {
        let delayed = self.queue.wake_at();
        match self.paused_until {
            Some(until) if self.queue.has_waiting() => Some(until),
            Some(until) => delayed.map(|at| at.max(until)),
            None => delayed,
        }
    }

    fn is_paused(&self, now: Moment) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Sources that are unknown although replicas of them stand here; the second is whether those say that their
    /// source was a master's replica.
    pub fn take_asks(&mut self) -> Vec<(SourceKey, bool)> {
        std::mem::take(&mut self.asks)
    }

    /// Whether all lists have come.
    pub fn is_ready(&self) -> bool {
        self.sources_complete && self.dests_complete && self.listings.all(|listing| listing.complete)
    }

    /// Why the whole cluster fails at present, if it does.
    pub fn cluster_fault(&self) -> Option<&Fault> {
        self.cluster_fault.as_ref()
    }

    /// How many orders are under way.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    fn plan(&self, pair: Pair) -> Action {
        let source = self.sources.get(&pair.source);
        let listed = source.is_some_and(|source| self.listings.of(source.key.kind).complete);
        let known = self.known(pair);
        let state = self.dests.get(&pair.dest).and_then(|dest| dest.state);
        plan(&View {
            role: self.rules.role,
            want: source.and_then(|source| source.want.as_ref()).filter(|_| self.sources_complete),
            destination: self.dests_complete.then(|| state.unwrap_or(Destination::Leaving)),
            there: listed.then(|| known.map_or(There::Absent, PairState::there)),
            deletes_frozen: self.deletes_frozen,
            origin_uid: self.origin_uid,
            mutated: known.is_some_and(|known| known.mutated),
        })
    }

    /// Something about this pair has changed: queues it if a request is due.
    fn touch(&mut self, pair: Pair, lane: Lane) {
        if self.queue.is_in_flight(pair) {
            self.queue.push(pair, lane);
            return;
        }
        let action = self.plan(pair);
        let due = match action {
            Action::Create(_) | Action::Update(..) | Action::Recreate(..) | Action::Delete(_) | Action::Look => true,
            Action::Keep | Action::Hold(_) | Action::Refuse(_) => false,
        };
        if due {
            self.queue.push(pair, lane);
            self.set_outcome(pair, Outcome::Pending);
        } else {
            self.settle(pair, &action);
        }
    }

    /// The request that an action needs.
    fn order(&mut self, pair: Pair, lane: Lane, action: &Action) -> Option<Order> {
        let source = self.sources.get_mut(&pair.source)?;
        let dest = self.dests.get(&pair.dest)?;
        let (namespace, dest) = (Arc::clone(&dest.name), dest.uid);
        let (kind, name) = (source.key.kind, Arc::clone(&source.key.name));
        let mut bodies = |desired: &Arc<Desired>| Arc::clone(source.bodies.insert(desired.bodies()));
        let (step, what) = match action {
            Action::Create(desired) => {
                (Step::Create(bodies(desired).create(desired)), What::Write(Arc::clone(desired)))
            }
            Action::Update(desired, old) => {
                let perhaps = self.pairs.get(&pair).and_then(|state| state.perhaps());
                let old = &perhaps.map_or_else(|| Arc::clone(old), |more| self.shapes.intern(old.and(more)));
                (Step::Update(bodies(desired).update(desired, old)), What::Write(Arc::clone(desired)))
            }
            Action::Recreate(_, guard) => delete(*guard, true),
            Action::Delete(guard) => {
                let switched_off = self.pairs.get(&pair).is_some_and(|state| state.is_switched_off());
                if self.rules.role == Role::Master && !switched_off {
                    (Step::SwitchOff(Bytes::from(body::switch_off(guard.uid, guard.rv))), What::SwitchOff(guard.uid))
                } else {
                    delete(*guard, false)
                }
            }
            Action::Look => (Step::Look, What::Look),
            Action::Keep | Action::Hold(_) | Action::Refuse(_) => return None,
        };
        let id = self.next_order;
        self.next_order += 1;
        self.flights.insert(id, Flight { pair, lane, what, dest });
        self.state(pair).ordered();
        Some(Order { id, kind, namespace, name, step })
    }

    fn source_id(&mut self, key: &SourceKey) -> SourceId {
        if let Some(id) = self.source_ids.get(key) {
            return *id;
        }
        let id = SourceId(self.number());
        self.source_ids.insert(key.clone(), id);
        let tally = tally::SourceTally::default();
        self.sources.insert(
            id,
            SourceState { key: key.clone(), want: None, bodies: None, asked: false, forgotten: false, tally },
        );
        id
    }

    fn dest_id(&mut self, name: &str) -> DestId {
        if let Some(id) = self.dest_ids.get(name) {
            return *id;
        }
        let (id, name) = (DestId(self.number()), Arc::<str>::from(name));
        self.dest_ids.insert(Arc::clone(&name), id);
        self.dests.insert(id, Dest { name, uid: None, state: None, pairs: 0 });
        id
    }

    /// Numbers are never used again: four billion sources and namespaces are more than a process will see.
    fn number(&mut self) -> u32 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }
}

fn delete(guard: Guard, then_create: bool) -> (Step, What) {
    let Guard { uid, rv } = guard;
    (Step::Delete(Bytes::from(body::delete(uid, rv))), What::Delete { uid, then_create })
}
