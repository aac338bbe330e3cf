//! Index, queue and plan of one cluster, joined: a state machine without I/O and without a clock.
//!
//! The engine feeds it ([`Core::on`]), sends what it orders ([`Core::next`]), and wakes it when it says so
//! ([`Core::wake_at`]). The same inputs in the same order give the same orders.

mod decide;
mod done;
mod dry;
#[cfg(test)]
mod dry_tests;
#[cfg(test)]
mod fairness_tests;
mod feeds;
mod interner;
mod leaving;
mod limit;
#[cfg(test)]
mod model_tests;
mod names;
mod namespaces;
#[cfg(test)]
mod option_tests;
pub(crate) mod rivals;
mod scope;
mod settle;
#[cfg(test)]
mod situation_tests;
mod snapshot;
mod standing;
#[cfg(test)]
mod standing_tests;
mod tally;
#[cfg(test)]
mod test_stage;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::contract::body;
use crate::contract::desired::Desired;
use crate::contract::fingerprint::{Fingerprint, Shape};
use crate::contract::marks::{End, Sighting};
use crate::contract::object::{Kind, PerKind, Rv, SourceKey, Uid, Version};
use crate::contract::rules::Rules;
use crate::fault::Fault;
use crate::index::feed::{Feed, Labels, Moment, NamespaceSeen};
use crate::index::news::SourceNews;
use crate::index::outcome::Outcome;
use crate::index::pairs::{DestId, Pair, PairState, SourceId};
use crate::lease::{Lead, Licence};
use crate::order::{Order, Reply};
use crate::plan::{Action, Destination, Selected, There, Want};
use crate::queue::{Answer, Lane, Queue};
use crate::rng::Rng;

pub use names::{NameNews, NameWatch};
pub use namespaces::{NamespaceKnown, NamespaceNews};
pub use scope::Scope;
pub use snapshot::{Snapshot, Timing};
pub use standing::{Asks, Standing, Standings};
pub(crate) use tally::PLACES;
pub use tally::{Place, Settled, Tally};
pub use verdicts::Verdict;

/// First pause after a failure, doubled each time.
pub(crate) const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest pause of one pair.
pub(crate) const BACKOFF_PAIR: Duration = Duration::from_secs(300);
/// Longest pause of a whole cluster: it comes back as a whole, and people wait for it.
pub(crate) const BACKOFF_CLUSTER: Duration = Duration::from_secs(60);
/// Before what admission changes is written again, up to: perhaps the webhook or policy is another one by then.
const MUTATED_AGAIN: Duration = Duration::from_secs(1800);
/// After so long a write that was not answered will not be done any more: an API server ends every request within 60 s.
const LATE: Duration = Duration::from_secs(120);
/// How long the event of an object that a look has found may take before it is looked at again.
const AWAIT: Duration = Duration::from_secs(5);

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// What the sources want.
    Sources(SourceNews),
    /// The cluster's namespaces.
    Dest(Feed<NamespaceSeen>),
    /// The labels of the RemoteCluster, which sources select by. The first come before anything else.
    Labels(Labels),
    /// Our replicas of one kind.
    Replica(Kind, Feed<Sighting>),
    /// The watch on a name of this number.
    Name(u64, NameNews),
    /// An order was carried out, or not.
    Done(u64, Result<Reply, Fault>),
    /// Whether anything may be ordered; until the first of these, always.
    Lead(Lead),
}

#[derive(Debug)]
struct SourceState {
    key: SourceKey,
    want: Option<Want>,
    /// Which version of it wants that.
    version: Option<Version>,
    /// Kept while pairs of it wait, so that a body is serialised once.
    bodies: Option<Arc<body::Bodies>>,
    asked: bool,
    /// Off, and nothing more will be told of it: it is forgotten here with its last replica.
    forgotten: bool,
    /// Since when copies of a change are due.
    changed: Option<Moment>,
    tally: tally::SourceTally,
}

#[derive(Debug)]
struct Dest {
    name: Arc<str>,
    uid: Option<Uid>,
    /// `None` while only its replicas are known: before its event has come, and until theirs have when it is gone.
    state: Option<Destination>,
    /// Of the namespace, or of the RemoteCluster.
    labels: Labels,
    /// How many pairs something is known of.
    pairs: u32,
    /// It is new since then, and copies are due.
    since: Option<Moment>,
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
    /// Which write it is, if it is one.
    attempt: Option<dry::Attempt>,
    /// The namespace's incarnation.
    dest: Option<Uid>,
    sent: Moment,
}

#[derive(Debug)]
enum What {
    Write(Arc<Desired>, End),
    SwitchOff(Uid),
    Delete { uid: Uid, then_create: bool },
    Release(Uid),
    Look,
}

/// The state machine of one cluster.
#[derive(Debug)]
pub struct Core {
    rules: Arc<Rules>,
    scope: Scope,
    /// Of the last call.
    now: Moment,
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
    shapes: interner::Interner<Shape>,
    fingerprints: interner::Interner<Fingerprint>,
    incarnations: interner::Interner<Uid>,
    /// Boxed, because the nodes of the map may be half empty.
    pairs: BTreeMap<Pair, Box<PairState>>,
    queue: Queue,
    leaving: leaving::Leaving,
    limit: limit::Limit,
    rivals: rivals::Rivals,
    names: names::Names,
    flights: BTreeMap<u64, Flight>,
    attempts: dry::Attempts,
    next_id: u32,
    next_order: u64,
    /// Nothing is sent before; then one probe, and the rest when that is answered.
    paused_until: Option<Moment>,
    cluster_fault: Option<Fault>,
    cluster_failures: u8,
    /// When the last of these failures was.
    cluster_failed: Option<Moment>,
    /// When a request was last answered, whatever the answer said.
    answered: Option<Moment>,
    asks: Vec<(SourceKey, bool)>,
    touched: BTreeSet<SourceId>,
    /// The sum of all sources.
    tally: Tally,
    licence: Licence,
    changes: u64,
    timings: Vec<Timing>,
}

impl Core {
    /// Knows nothing yet and does nothing until the lists have come.
    pub fn new(rules: Arc<Rules>, scope: Scope, max_in_flight: usize, seed: u64) -> Self {
        let many = scope == Scope::Namespaces;
        let mut core = Self {
            rules,
            now: Moment::ZERO,
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
            shapes: interner::Interner::default(),
            fingerprints: interner::Interner::default(),
            incarnations: interner::Interner::default(),
            pairs: BTreeMap::new(),
            queue: Queue::new(max_in_flight, many),
            leaving: leaving::Leaving::default(),
            limit: limit::Limit::new(max_in_flight),
            rivals: rivals::Rivals::default(),
            names: names::Names::default(),
            flights: BTreeMap::new(),
            attempts: dry::Attempts::new(),
            next_id: 0,
            next_order: 0,
            paused_until: None,
            cluster_fault: None,
            cluster_failures: 0,
            cluster_failed: None,
            answered: None,
            asks: Vec::new(),
            touched: BTreeSet::new(),
            tally: Tally::default(),
            licence: Licence::default(),
            changes: 0,
            timings: Vec::new(),
            scope,
        };
        if let Scope::One { namespace, .. } = core.scope.clone() {
            let id = core.dest_id(&namespace);
            if let Some(dest) = core.dests.get_mut(&id) {
                dest.state = Some(Destination::Open);
            }
        }
        core
    }

    /// Takes in what happened.
    pub fn on(&mut self, now: Moment, input: Input) {
        self.now = now;
        match input {
            Input::Labels(labels) => self.on_labels(&labels),
            Input::Sources(news) => self.on_sources(news),
            Input::Dest(feed) => self.on_dest(feed),
            Input::Replica(kind, feed) => self.on_replica(kind, feed),
            Input::Name(id, news) => self.on_name(id, news),
            Input::Done(id, result) => self.on_done(id, result),
            Input::Lead(lead) => self.on_lead(lead),
        }
    }

    /// The next request to make, if one is due and there is a slot for it.
    pub fn next(&mut self, now: Moment) -> Option<Order> {
        self.now = now;
        if self.is_paused() || !self.may_order() {
            return None;
        }
        self.paused_until = None;
        self.try_leaving();
        // After a failure of the whole cluster one request at a time, until one is answered: it is not to be pelted.
        let limit = if self.cluster_failures > 0 { 1 } else { self.limit.get() };
        loop {
            let (sources, dests) = (&self.sources, &self.dests);
            let class = |pair: Pair| decide::class(sources.get(&pair.source), dests.get(&pair.dest));
            let (pair, lane) = self.queue.pop(now, limit, class)?;
            if lane == Lane::Retry
                && let Some(state) = self.pairs.get_mut(&pair)
            {
                state.doubt_again();
                state.mutated = false;
            }
            let action = self.plan(pair);
            if self.is_due(pair, &action)
                && let Some(order) = self.order(pair, lane, &action)
            {
                self.limit.sent(self.flights.len());
                return Some(order);
            }
            self.queue.done(pair);
            self.settle(pair, &action);
            // Nothing else will tell when that is over.
            let is_unwatched = self.known(pair).is_some_and(PairState::is_unwatched) && !self.is_shown(pair);
            if is_unwatched && !self.queue.contains(pair) {
                self.again_later(pair);
            }
        }
    }

    /// When [`Core::next`], which has just had nothing, may have something although nothing has happened.
    pub fn wake_at(&self) -> Option<Moment> {
        if !self.may_order() {
            return None;
        }
        let delayed = self.queue.wake_at().into_iter().chain(self.leaving.wake_at()).min();
        match self.paused_until {
            Some(until) if self.queue.has_waiting() => Some(until),
            Some(until) => delayed.map(|at| at.max(until)),
            None => delayed,
        }
    }

    fn is_paused(&self) -> bool {
        self.paused_until.is_some_and(|until| self.now < until)
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

    /// Why the whole cluster fails at present, if it does: where nothing is to be done any more, nothing fails.
    pub fn cluster_fault(&self) -> Option<&Fault> {
        // Only the next answer would end it, and a standby asks nothing.
        let waits = self.queue.in_flight() > 0 || (self.queue.has_waiting() && self.licence.leads());
        self.cluster_fault.as_ref().filter(|_| waits)
    }

    /// How many orders are under way.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
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
            SourceState {
                key: key.clone(),
                want: None,
                version: None,
                bodies: None,
                asked: false,
                forgotten: false,
                changed: None,
                tally,
            },
        );
        id
    }

    fn dest_id(&mut self, name: &str) -> DestId {
        if let Some(id) = self.dest_ids.get(name) {
            return *id;
        }
        let (id, name) = (DestId(self.number()), Arc::<str>::from(name));
        self.dest_ids.insert(Arc::clone(&name), id);
        self.dests.insert(id, Dest { name, uid: None, state: None, labels: Labels::new(), pairs: 0, since: None });
        id
    }

    /// Numbers are never used again: four billion sources and namespaces are more than a process will see.
    fn number(&mut self) -> u32 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }
}

/// What a server asks for, within bounds.
pub(crate) fn pause_asked(asked: Option<Duration>) -> Duration {
    asked.unwrap_or_default().clamp(BACKOFF_FIRST, BACKOFF_CLUSTER)
}
