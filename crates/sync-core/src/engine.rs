//! The engine: drives the [`Core`] of one cluster.
//!
//! One task owns the core. It takes in what the watches and the sources bring, sends what the core orders, and waits.
//! All input and output goes through the [`Connection`] that is handed in, all time through `tokio::time`, all
//! randomness through the seed: a simulation runs the same code.

mod desk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::sync::watch as state;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::announce::Trouble;
use crate::cluster::connection::Connection;
use crate::cluster::pulse::Pulse;
use crate::cluster::query::Query;
use crate::cluster::watch::{News, watch};
use crate::cluster::{wire, write};
use crate::contract::object::{Kind, SourceKey};
use crate::contract::rules::Rules;
use crate::core::{Core, Input, NameNews, NameWatch, NamespaceNews, Place, Scope, Settled, Tally};
use crate::fault::Fault;
use crate::index::feed::{Feed, Labels, Moment};
use crate::leadership::{Leading, Permit};
use crate::ops::metrics::Metrics;
use crate::ops::metrics::engine::EngineStats;
use crate::ops::shutdown::Shutdown;
use crate::order::{Order, Reply};
use crate::reason::Would;
use crate::source_feed::Subscription;
use crate::watches::{Told, Troubles};

pub use desk::{Desk, Inquiries};

/// How much the watches may be ahead of the core, in events: enough to keep both busy, and a bound on memory when a
/// list is long.
const AHEAD: usize = 256;
/// How long requests that are under way may take to end when we are told to stop: with the lease given up after them
/// it is all over within 5 s, of the 30 s that Kubernetes gives.
const DRAIN: Duration = Duration::from_millis(3500);

/// The watches on names have seeds of their own.
const NAME_SEEDS: u64 = 1 << 16;

/// What an engine is for.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Who we are.
    pub rules: Arc<Rules>,
    /// Where copies belong.
    pub scope: Scope,
    /// Labels of the RemoteCluster, now and from now on; an agent has none.
    pub labels: state::Receiver<Labels>,
    /// Most requests under way at once.
    pub max_in_flight: usize,
    /// Whether this process may write.
    pub leading: Leading,
    /// Where it counts.
    pub metrics: Metrics,
    /// Seed of the jitter.
    pub seed: u64,
}

/// How an engine is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineState {
    /// All lists have come.
    pub ready: bool,
    /// Why the cluster as a whole fails, or a watch on it.
    pub fault: Option<Fault>,
    /// How the pairs stand.
    pub tally: Tally,
    /// The first few that are not as they should be, of the sources that settled last.
    pub places: Vec<Place>,
    /// Another number when [`Core::standings`] may say something else although nothing above has changed.
    pub changes: u64,
}

/// The time since this clock was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Begins to count.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Now.
    pub fn now(&self) -> Moment {
        self.0.elapsed()
    }

    /// When a moment is, or was.
    pub fn instant(&self, moment: Moment) -> Instant {
        // Far enough away, should it be beyond what can be told.
        self.0.checked_add(moment).unwrap_or_else(|| self.0 + Duration::from_secs(u32::MAX.into()))
    }

    /// The moment of an instant; zero if it was before this clock was made.
    pub fn moment(&self, instant: Instant) -> Moment {
        instant.saturating_duration_since(self.0)
    }

    /// Waits for a moment; for ever if there is none.
    pub async fn reach(&self, moment: Option<Moment>) {
        match moment {
            Some(at) => sleep_until(self.0 + at).await,
            None => std::future::pending().await,
        }
    }
}

/// Runs until it is told to stop; ends what is under way and tells nobody else.
pub async fn run(
    config: EngineConfig,
    connection: Connection,
    mut sources: Subscription,
    state: state::Sender<EngineState>,
    mut desk: Desk,
    shutdown: Shutdown,
) {
    let clock = Clock::start();
    let mut labels = config.labels.clone();
    let manager = config.rules.role.field_manager();
    let mut core = Core::new(Arc::clone(&config.rules), config.scope.clone(), config.max_in_flight, config.seed);
    core.on(clock.now(), Input::Labels(labels.borrow_and_update().clone()));
    let mut leading = config.leading.clone();
    core.on(clock.now(), Input::Lead(leading.lead(&clock)));
    let (sender, mut events) = mpsc::channel(AHEAD);
    let mut names = NameWatches::new(&config, &connection, sender.clone());
    // They end with this function.
    let _watches = match start_watches(&config, &connection, sender) {
        Ok(watches) => watches,
        Err(fault) => {
            state.send_modify(|state| state.fault = Some(fault));
            return;
        }
    };
    let stats = config.metrics.engine(config.scope.cluster(), desk.inquiries());
    // Where there is but one destination, it is the server for all that matters.
    let pulse = (config.scope == Scope::Namespaces).then(|| Pulse::of(&connection, &config.rules.source_namespace));
    let mut flights = FuturesUnordered::new();
    let mut reports = Reports::default();
    loop {
        while let Some(order) = core.next(clock.now()) {
            flights.push(carry_out((&connection, pulse.as_ref()), manager, order, leading.permit(), &stats));
        }
        for (key, upstream) in core.take_asks() {
            sources.ask(key, upstream);
        }
        core.take_name_watches().into_iter().for_each(|watch| names.order(watch));
        reports.publish(&mut core, &sources, config.scope.cluster(), &state);
        core.take_timings().into_iter().for_each(|timing| stats.observe(timing));
        tokio::select! {
            biased;
            () = shutdown.begun() => break,
            () = leading.changed() => core.on(clock.now(), Input::Lead(leading.lead(&clock))),
            Some(question) = desk.question() => desk.answer(&core, question),
            Some((id, result)) = flights.next(), if !flights.is_empty() => core.on(clock.now(), Input::Done(id, result)),
            news = sources.next() => {
                // Whoever holds the sources has ended: so do we.
                let Some(news) = news else { break };
                core.on(clock.now(), Input::Sources(news));
            }
            Some(event) = events.recv() => {
                let now = clock.now();
                reports.take(&mut core, &mut desk, now, event);
                // What has come meanwhile belongs to the same look at the world.
                while let Ok(event) = events.try_recv() {
                    reports.take(&mut core, &mut desk, now, event);
                }
            }
            Ok(()) = labels.changed() => {
                let labels = labels.borrow_and_update().clone();
                core.on(clock.now(), Input::Labels(labels));
            }
            () = clock.reach(core.wake_at()) => {}
        }
    }
    drain(flights, &leading).await;
}

/// Lets requests that are under way end, but not for long.
pub async fn drain<F: Future>(mut under_way: FuturesUnordered<F>, leading: &Leading) {
    let drained = timeout(DRAIN, async { while under_way.next().await.is_some() {} }).await;
    if drained.is_err() {
        leading.leave_open();
        warn!(under_way = under_way.len(), "stopped before all requests were answered");
    }
}

async fn carry_out(
    (connection, pulse): (&Connection, Option<&Pulse>),
    manager: &'static str,
    order: Order,
    permit: Permit,
    stats: &EngineStats,
) -> (u64, Result<Reply, Fault>) {
    let client = &connection.write;
    let result = match permit.left() {
        Err(fault) => Err(fault),
        Ok(left) => {
            let send = async {
                match permit.dry {
                    true => write::try_out(client, manager, &order, left).await,
                    false => write::execute_within(client, manager, &order, left).await,
                }
            };
            match pulse.filter(|_| order.step.is_write()) {
                Some(pulse) => pulse.mind(left, send).await,
                None => send.await,
            }
        }
    };
    stats.count(&order, &result);
    match &result {
        Ok(_) => debug!(?order, "done"),
        Err(fault) => debug!(?order, reason = fault.reason(), %fault, "failed"),
    }
    (order.id, result)
}

fn start_watches(
    config: &EngineConfig,
    connection: &Connection,
    events: mpsc::Sender<Told<Input>>,
) -> Result<JoinSet<()>, Fault> {
    let mut tasks = JoinSet::new();
    let (client, rules) = (&connection.watch, &config.rules);
    let namespace = config.scope.namespace();
    for (n, kind) in (1..).zip(Kind::ALL) {
        let heard = config.metrics.watch(copies_of(kind), config.scope.cluster());
        let query = Query { heard, ..Query::replicas(rules, kind, namespace)? };
        let decode = wire::replica(Rules::clone(rules), kind);
        let wrap = move |news| Told::of(kind.plural(), news, |feed| Input::Replica(kind, feed));
        tasks.spawn(watch(client.clone(), query, config.seed.wrapping_add(n), decode, wrap, events.clone()));
    }
    if namespace.is_none() {
        let wrap = |news| Told::of("namespaces", news, Input::Dest);
        let query = Query { heard: config.metrics.watch("namespaces", ""), ..Query::namespaces() };
        tasks.spawn(watch(client.clone(), query, config.seed, wire::namespace, wrap, events));
    }
    Ok(tasks)
}

const fn copies_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Secret => "copies/secrets",
        Kind::ConfigMap => "copies/configmaps",
    }
}

/// The watches on one name each that are under way. They end with this value.
struct NameWatches<'a> {
    config: &'a EngineConfig,
    connection: &'a Connection,
    events: mpsc::Sender<Told<Input>>,
    tasks: JoinSet<()>,
    running: BTreeMap<u64, AbortHandle>,
}

impl<'a> NameWatches<'a> {
    fn new(config: &'a EngineConfig, connection: &'a Connection, events: mpsc::Sender<Told<Input>>) -> Self {
        Self { config, connection, events, tasks: JoinSet::new(), running: BTreeMap::new() }
    }

    fn order(&mut self, watch: NameWatch) {
        while self.tasks.try_join_next().is_some() {}
        match watch {
            NameWatch::Start(id, key) => self.start(id, &key),
            NameWatch::Stop(id) => {
                if let Some(task) = self.running.remove(&id) {
                    task.abort();
                }
            }
        }
    }

    fn start(&mut self, id: u64, key: &SourceKey) {
        let EngineConfig { rules, scope, seed, .. } = self.config;
        // Of one that cannot be watched the core hears nothing, and looks again now and then.
        let Ok(query) = Query::name(rules, key, scope.namespace()) else { return };
        let wrap = move |news| {
            let news = match news {
                News::Feed(feed) => NameNews::Feed(feed),
                News::Trouble(_) => NameNews::Lost,
                News::Well => NameNews::Well,
            };
            Told::Input(Input::Name(id, news))
        };
        let seed = seed.wrapping_add(NAME_SEEDS.wrapping_add(id));
        let client = self.connection.watch.clone();
        let task = self.tasks.spawn(watch(client, query, seed, wire::foreign, wrap, self.events.clone()));
        self.running.insert(id, task);
    }
}

/// What people are told of this cluster.
#[derive(Default)]
struct Reports {
    places: BTreeMap<SourceKey, Vec<Place>>,
    troubles: Troubles,
}

impl Reports {
    fn take(&mut self, core: &mut Core, desk: &mut Desk, now: Moment, told: Told<Input>) {
        match told {
            Told::Input(Input::Dest(feed)) => {
                let (news, listed) = (NamespaceNews::of(&feed), matches!(feed, Feed::InitDone(_)));
                core.on(now, Input::Dest(feed));
                desk.tell(|| if listed { core.namespaces() } else { news });
            }
            Told::Input(input) => core.on(now, input),
            Told::Watch(watch, result) => self.troubles.note(watch, result),
        }
    }

    fn publish(&mut self, core: &mut Core, sources: &Subscription, cluster: &str, state: &state::Sender<EngineState>) {
        for settled in core.take_settled() {
            sources.report(settled.source.clone(), cluster, Trouble::of(&settled));
            let Settled { source, tally: Tally { synced, pending, refused }, reasons, places, not_selected } = settled;
            match places.first() {
                None if not_selected > 0 => info!(%source, synced, not_selected, "selected no more; they go"),
                None if pending > 0 => debug!(%source, synced, pending, "not settled"),
                None if synced == 0 => info!(%source, "no copies"),
                None => info!(%source, synced, "in place"),
                Some(first) if first.todo == Would::TODO => info!(
                    %source, synced, pending, namespace = first.namespace, %reasons, "a dry run: would be written"
                ),
                Some(first) => warn!(
                    %source, synced, pending, refused, namespace = first.namespace, reason = first.reason,
                    message = first.message, %reasons, "not everywhere"
                ),
            }
            if places.is_empty() {
                self.places.remove(&source);
            } else {
                self.places.insert(source, places);
            }
        }
        let fault = core.cluster_fault().or_else(|| self.troubles.first()).cloned();
        // The places too: a pair that fails was pending before, so that counts alone would not tell.
        let places = self.places.values().flatten().take(3).cloned().collect();
        let next = EngineState { ready: core.is_ready(), fault, tally: core.tally(), places, changes: core.changes() };
        state.send_if_modified(|state| {
            if next.ready && !state.ready {
                info!("all lists have come");
            }
            let changed = *state != next;
            *state = next;
            changed
        });
    }
}
