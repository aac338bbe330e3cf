//! A controller's pure part and the world around it, with everything between them late, lost or refused.

#[path = "names.rs"]
mod names;
#[path = "requests.rs"]
mod requests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::judge::Judge;
use super::world::{Change, Id, World, seen};
use crate::contract::keys;
use crate::contract::marks::Sighting;
use crate::contract::object::{Kind, Object, Rv, SourceKey};
use crate::contract::rules::{Role, Rules};
use crate::contract::source::Source;
use crate::contract::strip::StripList;
use crate::core::{Core, Input, NameNews, Scope};
use crate::fault::Fault;
use crate::index::feed::{Feed, Moment, NamespaceSeen};
use crate::index::news::Confirmation;
use crate::index::sources::Sources;
use crate::order::{Order, Reply};
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
    /// The watches on one name each, by their numbers.
    pub(super) name_watches: BTreeMap<u64, (SourceKey, VecDeque<NameNews>)>,
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
            name_watches: BTreeMap::new(),
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
        let scope = if rules.role == Role::Agent {
            Scope::Namespaces
        } else {
            Scope::One { namespace: OPERATOR.to_owned(), cluster: "prod".to_owned() }
        };
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
        self.name_watches.clear();
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
            if n == self.worlds.len() - 1 {
                self.spread_names(&changes);
            }
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
        for watch in self.core.take_name_watches() {
            self.order_name_watch(watch);
        }
        drop((self.core.take_settled(), self.sources.take_remarks()));
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
