//! A controller's pure part and the world around it, with everything between them late, lost or refused.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::judge::Judge;
use super::world::{Change, Id, World, seen};
use crate::contract::keys;
use crate::contract::marks::Sighting;
use crate::contract::object::{Kind, Object, Rv, SourceKey};
use crate::contract::rules::{Role, Rules};
use crate::contract::source::{Reading, Source};
use crate::contract::strip::StripList;
use crate::core::{Core, Input, Scope};
use crate::fault::Fault;
use crate::index::feed::{Feed, Moment, NamespaceSeen, SourceNamespace};
use crate::index::sources::{Confirmation, Sources};
use crate::order::{Order, Reply, Step};
use crate::rng::Rng;

pub(super) const OPERATOR: &str = "operator";
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// The watches, in the order of [`Sim::watches`].
pub(super) const WATCHES: usize = 6;
const SOURCE_NAMESPACE: usize = 4;
const NAMESPACES: usize = 5;

pub(super) fn kind(n: usize) -> Kind {
    Kind::ALL[n % 2]
}

#[derive(Debug)]
pub(super) enum Event {
    Object(Feed<Object>),
    Namespace(Feed<NamespaceSeen>),
}

pub(super) struct Sim {
    pub(super) rng: Rng,
    pub(super) now: Moment,
    pub(super) rules: Arc<Rules>,
    /// The source's cluster and the destination's; an agent has but one.
    pub(super) worlds: Vec<World>,
    pub(super) core: Core,
    pub(super) sources: Sources,
    pub(super) watches: [VecDeque<Event>; WATCHES],
    /// Requests on their way to the server.
    pub(super) sent: Vec<Order>,
    /// Requests that the controller has given up, and that may still arrive.
    pub(super) late: Vec<Order>,
    pub(super) replies: Vec<(u64, Result<Reply, Fault>)>,
    pub(super) confirming: Vec<SourceKey>,
    pub(super) confirmed: Vec<(SourceKey, Option<Confirmation>)>,
    flying: BTreeMap<u64, Id>,
    judge: Judge,
    pub(super) faults: bool,
    /// Few names and namespaces are used in some worlds, so that more meets there.
    pub(super) names: usize,
    pub(super) places: usize,
    /// How often watches are cut and the process is killed, in percent of the steps: both hide what was missed.
    pub(super) cuts: f64,
    pub(super) kills: f64,
    pub(super) orders: u64,
    pub(super) writes: u64,
    pub(super) log: Vec<String>,
}

impl Sim {
    pub(super) fn new(role: Role, seed: u64) -> Self {
        let cluster = (role == Role::Master).then_some("management");
        let rules = Arc::new(Rules::new(role, OPERATOR, cluster, StripList::with::<&str>(&[]).unwrap()));
        let worlds = if role == Role::Agent { vec![World::new(1)] } else { vec![World::new(1), World::new(2)] };
        let (core, sources) = Self::process(&rules, seed);
        let judge = Judge::new(&rules, Moment::ZERO);
        let mut sim = Self {
            rng: Rng::new(seed),
            now: Moment::ZERO,
            rules,
            worlds,
            core,
            sources,
            watches: Default::default(),
            sent: Vec::new(),
            late: Vec::new(),
            replies: Vec::new(),
            confirming: Vec::new(),
            confirmed: Vec::new(),
            flying: BTreeMap::new(),
            judge,
            faults: true,
            names: 0,
            places: 0,
            cuts: 0.0,
            kills: 0.0,
            orders: 0,
            writes: 0,
            log: Vec::new(),
        };
        (sim.names, sim.places) = ([1, 1, 2, 3][sim.below(4)], [1, 1, 2, 4][sim.below(4)]);
        (sim.cuts, sim.kills) = ([0.0, 0.001, 0.01][sim.below(3)], [0.0, 0.0, 0.003][sim.below(3)]);
        for world in &mut sim.worlds {
            world.create_namespace(OPERATOR);
            world.changes.clear();
        }
        (0..WATCHES).for_each(|watch| sim.relist(watch));
        sim
    }

    fn process(rules: &Arc<Rules>, seed: u64) -> (Core, Sources) {
        let scope = if rules.role == Role::Agent { Scope::Namespaces } else { Scope::One(OPERATOR.to_owned()) };
        (Core::new(Arc::clone(rules), scope, 10, seed), Sources::new(GRACE))
    }

    /// The process is killed and another one starts, which knows nothing.
    pub(super) fn restart(&mut self) {
        self.note("restart");
        let seed = self.rng.next_u64();
        (self.core, self.sources) = Self::process(&self.rules, seed);
        self.late.append(&mut self.sent);
        (self.replies, self.confirming, self.confirmed) = (Vec::new(), Vec::new(), Vec::new());
        (self.flying, self.judge) = (BTreeMap::new(), Judge::new(&self.rules, self.now));
        (0..WATCHES).for_each(|watch| self.relist(watch));
    }

    pub(super) fn note(&mut self, what: impl std::fmt::Display) {
        self.log.push(format!("{:?} {what}", self.now));
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.rng.below(n.max(1) as u64)).unwrap()
    }

    pub(super) fn chance(&mut self, of: f64) -> bool {
        self.rng.below(1_000_000) < (of * 1e6) as u64
    }

    pub(super) fn source_world(&mut self) -> &mut World {
        self.worlds.first_mut().unwrap()
    }

    pub(super) fn dest_world(&mut self) -> &mut World {
        self.worlds.last_mut().unwrap()
    }

    /// Whether an object carries the marks of our replicas, written down here a second time.
    pub(super) fn is_marked(&self, object: &Object) -> bool {
        let (by, prefix) = match self.rules.role {
            Role::Agent => ("agent", ""),
            Role::Master => ("master", "management/"),
        };
        object.labels.get("mw-sync.io/managed-by").is_some_and(|label| label == by)
            && object.annotations.get("mw-sync.io/origin") == Some(&format!("{prefix}operator/{}", object.name))
    }

    fn selects(&self, watch: usize, object: &Object) -> bool {
        if object.kind != kind(watch) {
            return false;
        }
        if watch < 2 {
            object.labels.get(keys::MANAGED_BY).is_some_and(|by| by == self.rules.role.as_str())
        } else {
            object.namespace == OPERATOR
        }
    }

    fn world_of(&self, watch: usize) -> usize {
        if matches!(watch, 0 | 1 | NAMESPACES) { self.worlds.len() - 1 } else { 0 }
    }

    /// Hands what has changed to the watches that select it.
    pub(super) fn spread(&mut self) {
        for n in 0..self.worlds.len() {
            let changes = std::mem::take(&mut self.worlds[n].changes);
            for watch in 0..WATCHES {
                if self.world_of(watch) != n {
                    continue;
                }
                for change in &changes {
                    if let Some(event) = self.event(watch, change) {
                        self.watches[watch].push_back(event);
                    }
                }
            }
        }
    }

    fn event(&self, watch: usize, change: &Change) -> Option<Event> {
        match change {
            Change::Object { before, after, rv } if watch < SOURCE_NAMESPACE => {
                let selected = |o: &Option<Box<Object>>| o.as_deref().filter(|o| self.selects(watch, o)).cloned();
                match (selected(before), selected(after)) {
                    (_, Some(after)) => Some(Event::Object(Feed::Applied(after))),
                    (Some(before), None) => Some(Event::Object(Feed::Gone(Object { rv: *rv, ..before }))),
                    (None, None) => None,
                }
            }
            Change::Namespace { seen, gone }
                if watch == NAMESPACES || (watch == SOURCE_NAMESPACE && seen.name == OPERATOR) =>
            {
                let feed = if *gone { Feed::Gone(seen.clone()) } else { Feed::Applied(seen.clone()) };
                Some(Event::Namespace(feed))
            }
            Change::Object { .. } | Change::Namespace { .. } => None,
        }
    }

    /// The watch is cut and reads its list again.
    pub(super) fn relist(&mut self, watch: usize) {
        self.spread();
        let world = &self.worlds[self.world_of(watch)];
        let mut events = VecDeque::new();
        if watch < SOURCE_NAMESPACE {
            events.push_back(Event::Object(Feed::Init));
            let listed = world.objects.values().filter(|object| self.selects(watch, object));
            events.extend(listed.map(|object| Event::Object(Feed::Listed(object.clone()))));
            events.push_back(Event::Object(Feed::InitDone(Rv(world.rv))));
        } else {
            events.push_back(Event::Namespace(Feed::Init));
            let listed = world.namespaces.iter().filter(|(name, _)| watch == NAMESPACES || *name == OPERATOR);
            events.extend(listed.map(|(name, ns)| Event::Namespace(Feed::Listed(seen(name, ns)))));
            events.push_back(Event::Namespace(Feed::InitDone(Rv(world.rv))));
        }
        self.watches[watch] = events;
    }

    /// One event of a watch arrives; `false` if there is none.
    pub(super) fn deliver(&mut self, watch: usize) -> bool {
        let Some(event) = self.watches[watch].pop_front() else { return false };
        let (now, rules) = (self.now, Arc::clone(&self.rules));
        self.note(format_args!("watch {watch}: {}", brief(&event)));
        self.judge.listed[watch] |=
            matches!(event, Event::Object(Feed::InitDone(_)) | Event::Namespace(Feed::InitDone(_)));
        match event {
            Event::Object(feed) if watch < 2 => {
                self.core.on(now, Input::Replica(kind(watch), map(feed, |o| Sighting::read(&rules, o))));
            }
            Event::Object(feed) => {
                self.judge.hears_source(now, kind(watch), &feed);
                self.sources.on_source(now, kind(watch), map(feed, |o| Source::read(&rules, o)));
            }
            Event::Namespace(feed) if watch == SOURCE_NAMESPACE => {
                self.sources.on_namespace(now, feed);
                self.judge.namespace = self.sources.namespace().is();
            }
            Event::Namespace(feed) => {
                self.judge.hears_dest(&feed);
                if rules.role == Role::Agent {
                    self.core.on(now, Input::Dest(feed));
                }
            }
        }
        self.pump();
        true
    }

    /// Time passes.
    pub(super) fn wait(&mut self, until: Moment) {
        self.now = self.now.max(until);
        self.sources.tick(self.now);
        self.pump();
    }

    /// What joins core and sources in a process.
    fn pump(&mut self) {
        let now = self.now;
        loop {
            let (news, asks) = (self.sources.take_news(), self.core.take_asks());
            if news.is_empty() && asks.is_empty() {
                break;
            }
            for news in news {
                self.core.on(now, Input::Sources(news));
            }
            for (key, upstream) in asks {
                self.sources.ask(now, &key, upstream);
            }
        }
        while let Some(key) = self.sources.next_confirmation() {
            self.confirming.push(key);
        }
        drop((self.core.take_settled(), self.sources.take_remarks()));
    }

    /// Takes the next order, if there is one; it is judged as it is sent.
    pub(super) fn take_order(&mut self) -> bool {
        let Some(order) = self.core.next(self.now) else { return false };
        self.note(format_args!("sends {order:?}"));
        self.orders += 1;
        let id: Id = (order.kind, order.namespace.to_string(), order.name.to_string());
        assert!(self.rules.role == Role::Master || id.1 != OPERATOR, "{order:?} in the source namespace");
        assert!(!self.flying.values().any(|other| *other == id), "{order:?} while another is in flight");
        if matches!(order.step, Step::Delete(_) | Step::SwitchOff(_)) {
            self.judge.may_remove(self.now, &order, self.worlds.last().unwrap());
        }
        self.flying.insert(order.id, id);
        self.sent.push(order);
        true
    }

    /// The server gets a request, or does not, and answers, or does not.
    pub(super) fn serve(&mut self, n: usize) {
        let order = self.sent.remove(n);
        let no_answer = || Err(Fault::NoAnswer("cut".into()));
        let result = match if self.faults { self.below(32) } else { 31 } {
            0 => no_answer(),
            1 => {
                self.late.push(order.clone());
                no_answer()
            }
            2 | 3 => {
                drop(self.apply(&order));
                no_answer()
            }
            4..7 => match self.below(7) {
                0 => Err(Fault::Throttled(Some(Duration::from_secs(2)))),
                1 => Err(Fault::Forbidden("no".into())),
                2 => Err(Fault::Rejected("quota".into())),
                3 => Err(Fault::Unavailable { code: 500, message: "oops".into() }),
                4 => Err(Fault::Unauthorised),
                5 => Err(Fault::Odd(502)),
                _ => Err(Fault::Throttled(None)),
            },
            _ => match self.apply(&order) {
                // What a delete of something gone is told as is open.
                Err(Fault::NotFound) if matches!(order.step, Step::Delete(_)) && self.chance(0.5) => Ok(Reply::Deleted),
                result => result,
            },
        };
        self.note(format_args!("  {order:?} -> {result:?}"));
        self.replies.push((order.id, result));
    }

    /// A request that was given up arrives after all.
    pub(super) fn serve_late(&mut self, n: usize) {
        let order = self.late.remove(n);
        let result = self.apply(&order);
        self.note(format_args!("  late {order:?} -> {result:?}"));
    }

    /// Promise 1, on the server.
    fn apply(&mut self, order: &Order) -> Result<Reply, Fault> {
        let id: Id = (order.kind, order.namespace.to_string(), order.name.to_string());
        let (before, rv) = (self.dest_world().objects.get(&id).cloned(), self.dest_world().rv);
        let result = self.dest_world().execute(order);
        if self.dest_world().rv != rv {
            self.writes += 1;
            if let Some(before) = before {
                assert!(self.is_marked(&before), "{order:?} of somebody else's object");
            }
        }
        self.spread();
        result
    }

    pub(super) fn reply(&mut self, n: usize) {
        let (id, result) = self.replies.remove(n);
        self.note(format_args!("order {id} is answered"));
        self.flying.remove(&id);
        self.core.on(self.now, Input::Done(id, result));
        self.pump();
    }

    /// The confirming reads of a source.
    pub(super) fn read(&mut self, n: usize) {
        let key = self.confirming.remove(n);
        let rules = Arc::clone(&self.rules);
        let failed = self.faults && self.chance(0.2);
        let world = self.source_world();
        let namespace = world.namespaces.get(OPERATOR);
        let namespace = namespace.map(|ns| SourceNamespace { uid: ns.uid, terminating: ns.terminating });
        let object = world.objects.get(&(key.kind, OPERATOR.to_owned(), key.name.to_string())).cloned();
        let source = object.map(|object| Source::read(&rules, object).reading);
        self.confirmed.push((key, (!failed).then_some(Confirmation { namespace, source })));
    }

    pub(super) fn confirm(&mut self, n: usize) {
        let (key, found) = self.confirmed.remove(n);
        self.note(format_args!("confirmation of {key}: {found:?}"));
        if let Some(Confirmation { namespace: Some(ns), source: None | Some(Reading::Plain) }) = &found
            && !ns.terminating
        {
            self.judge.confirmed.insert(key.clone());
        }
        self.sources.confirmed(self.now, &key, found);
        self.pump();
    }
}

fn map<T, U>(feed: Feed<T>, f: impl Fn(T) -> U) -> Feed<U> {
    match feed {
        Feed::Init => Feed::Init,
        Feed::Listed(it) => Feed::Listed(f(it)),
        Feed::InitDone(rv) => Feed::InitDone(rv),
        Feed::Applied(it) => Feed::Applied(f(it)),
        Feed::Gone(it) => Feed::Gone(f(it)),
    }
}

fn brief(event: &Event) -> String {
    match event {
        Event::Object(feed) => {
            let brief = |o: Object| (o.namespace, o.name, o.uid.to_string().split_off(33), o.rv.0);
            format!("{:?}", map(feed.clone(), brief))
        }
        Event::Namespace(feed) => format!("{:?}", map(feed.clone(), |ns| (ns.name, ns.rv.0, ns.state))),
    }
}
