//! The sources of one process: watched once, told to all engines.

mod fresh;
mod noted;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::sync::watch as state;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::announce::{Announcement, Announcer, Trouble};
use crate::cluster::connection::Connection;
use crate::cluster::query::Query;
use crate::cluster::watch::watch;
use crate::cluster::{events, read, wire};
use crate::contract::object::{Kind, SourceKey};
use crate::contract::rules::Rules;
use crate::contract::source::Source;
use crate::engine::{Clock, drain};
use crate::fault::Fault;
use crate::index::feed::{Feed, Moment, NamespaceSeen, Seen};
use crate::index::news::{Confirmation, Remark, SourceNews};
use crate::index::pace::EVERY;
use crate::index::sources::Sources;
use crate::leadership::Leading;
use crate::ops::metrics::Metrics;
use crate::ops::shutdown::Shutdown;
use crate::reason::Reason;
use crate::source_feed::fresh::Fresh;
use crate::source_feed::noted::Noted;
use crate::watches::{Told, Troubles};

/// How much the watches may be ahead, in events.
const AHEAD: usize = 64;
/// Sources whose absence is confirmed at once, two reads each. How many there are to confirm is also for whoever may write in
/// a remote cluster.
const CONFIRMATIONS: usize = 8;
/// Kubernetes Events that are written at once: they never get in the way of what they are about.
const EVENTS: usize = 2;

/// What the feed is for.
#[derive(Clone, Debug)]
pub struct SourceFeedConfig {
    /// Who we are, and which namespace the sources are in.
    pub rules: Arc<Rules>,
    /// Seed of the jitter.
    pub seed: u64,
    /// The wall clock, for Events.
    pub wall_clock: fn() -> jiff::Timestamp,
    /// Name of this process, for Events.
    pub instance: String,
    /// Whether this process may write.
    pub leading: Leading,
    /// Where its watches note that they have heard something.
    pub metrics: Metrics,
}

/// How the feed is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFeedState {
    /// All lists have come and the source namespace is there.
    pub complete: bool,
    /// The source namespace does not exist.
    pub namespace_missing: bool,
    /// The source namespace is being deleted.
    pub namespace_terminating: bool,
    /// The last failure of a watch, while it lasts.
    pub fault: Option<Fault>,
}

/// Where engines subscribe.
#[derive(Clone, Debug)]
pub struct SourceFeed {
    commands: mpsc::UnboundedSender<Command>,
    state: state::Receiver<SourceFeedState>,
}

/// The news of the sources for one engine.
#[derive(Debug)]
pub struct Subscription {
    news: mpsc::UnboundedReceiver<SourceNews>,
    commands: mpsc::UnboundedSender<Command>,
}

#[derive(Debug)]
enum Command {
    Subscribe(mpsc::UnboundedSender<SourceNews>),
    Ask(SourceKey, bool),
    Report(SourceKey, String, Option<Trouble>),
}

#[derive(Debug)]
enum Input {
    Namespace(Feed<NamespaceSeen>),
    Source(Kind, Feed<Source>),
}

impl SourceFeed {
    /// Starts to watch the sources through this connection.
    pub fn start(config: SourceFeedConfig, connection: Connection, shutdown: Shutdown) -> Self {
        Self::start_by(config, connection, shutdown, |task| drop(tokio::spawn(task)))
    }

    /// The same; its task is started by the last parameter.
    pub(crate) fn start_by(
        config: SourceFeedConfig,
        connection: Connection,
        shutdown: Shutdown,
        spawn: impl FnOnce(BoxFuture<'static, ()>),
    ) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        let (sender, state) = state::channel(SourceFeedState::default());
        spawn(run(config, connection, receiver, sender, shutdown).boxed());
        Self { commands, state }
    }

    /// All news from now on, and before them all that an engine has missed.
    pub fn subscribe(&self) -> Subscription {
        let (sender, news) = mpsc::unbounded_channel();
        // If the feed has ended, so does the subscription.
        drop(self.commands.send(Command::Subscribe(sender)));
        Subscription { news, commands: self.commands.clone() }
    }

    /// Returns when it has ended, and with it the Events that were under way.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    /// How it is doing, now and from now on.
    pub fn state(&self) -> state::Receiver<SourceFeedState> {
        self.state.clone()
    }
}

impl Subscription {
    /// Another one, whose news come from whoever holds the sender; what is said through it goes where it goes from here.
    pub fn behind(&self) -> (mpsc::UnboundedSender<SourceNews>, Self) {
        let (sender, news) = mpsc::unbounded_channel();
        (sender, Self { news, commands: self.commands.clone() })
    }

    /// The next news; `None` when the feed has ended.
    pub async fn next(&mut self) -> Option<SourceNews> {
        self.news.recv().await
    }

    /// Replicas of a source stand here that was never named; `upstream` as in [`Sources::ask`].
    pub fn ask(&self, key: SourceKey, upstream: bool) {
        drop(self.commands.send(Command::Ask(key, upstream)));
    }

    /// How the copies of a source fare in a cluster, or its [entries](crate::announce::ENTRIES), for its Events.
    pub fn report(&self, key: SourceKey, cluster: &str, trouble: Option<Trouble>) {
        drop(self.commands.send(Command::Report(key, cluster.to_owned(), trouble)));
    }
}

async fn run(
    config: SourceFeedConfig,
    connection: Connection,
    mut commands: mpsc::UnboundedReceiver<Command>,
    state: state::Sender<SourceFeedState>,
    shutdown: Shutdown,
) {
    let clock = Clock::start();
    let mut sources = Sources::new(config.rules.delete_grace);
    let mut engines: Vec<mpsc::UnboundedSender<SourceNews>> = Vec::new();
    // They end with this function.
    let (mut _watches, mut inputs) = match start_watches(&config, &connection) {
        Ok(watches) => watches,
        Err(fault) => return drop(state.send_replace(SourceFeedState { fault: Some(fault), ..Default::default() })),
    };
    let (mut leading, mut fresh) = (config.leading.clone(), Fresh::default());
    let (mut confirmations, mut events_under_way) = (FuturesUnordered::new(), FuturesUnordered::new());
    let (mut announcer, mut noted) = (Announcer::default(), Noted::default());
    let mut troubles = Troubles::default();
    loop {
        if fresh.begins(leading.term())
            && let Ok(anew) = start_watches(&config, &connection)
        {
            ((_watches, inputs), troubles) = (anew, Troubles::default());
        }
        sources.tick(clock.now());
        while confirmations.len() < CONFIRMATIONS
            && let Some(key) = sources.next_confirmation()
        {
            confirmations.push(confirm(&config.rules, &connection, key));
        }
        for news in sources.take_news() {
            engines.retain(|engine| engine.send(news.clone()).is_ok());
        }
        let term = fresh.take_news().map(SourceNews::Current);
        for news in noted.take_news().map(SourceNews::Noted).into_iter().chain(term) {
            engines.retain(|engine| engine.send(news.clone()).is_ok());
        }
        let now = clock.now();
        for remark in sources.take_remarks() {
            remarked(&mut announcer, now, remark, sources.grace());
        }
        let may_announce = leading.allows();
        while may_announce
            && events_under_way.len() < EVENTS
            && let Some(announcement) = announcer.next(now)
        {
            events_under_way.push(announce(&config, &connection, announcement));
        }
        publish(&config, &sources, troubles.first(), &state);
        // While no more may be written at once, an answer wakes us, and no Event that is due.
        let next_event = announcer.wake_at().filter(|_| may_announce && events_under_way.len() < EVENTS);
        tokio::select! {
            biased;
            () = shutdown.begun() => return drain(events_under_way, &leading).await,
            () = leading.changed() => {}
            Some((key, result)) = confirmations.next(), if !confirmations.is_empty() => {
                sources.confirmed(clock.now(), &key, result);
            }
            Some(command) = commands.recv() => match command {
                Command::Subscribe(engine) => {
                    let current = fresh.current().map(SourceNews::Current);
                    let others = noted.shown().map(SourceNews::Noted).into_iter().chain(current);
                    if sources.snapshot().into_iter().chain(others).all(|news| engine.send(news).is_ok()) {
                        engines.push(engine);
                    }
                }
                Command::Ask(key, upstream) => sources.ask(clock.now(), &key, upstream),
                Command::Report(key, cluster, trouble) => {
                    announcer.place(clock.now(), &key, sources.uid(&key), &cluster, trouble);
                }
            },
            Some((key, again)) = events_under_way.next(), if !events_under_way.is_empty() => {
                announcer.done(clock.now(), &key, again);
            }
            Some(told) = inputs.recv() => {
                fresh.hears(&told);
                noted.hears(&told);
                match told {
                    Told::Input(Input::Namespace(feed)) => sources.on_namespace(clock.now(), feed),
                    Told::Input(Input::Source(kind, feed)) => sources.on_source(clock.now(), kind, feed),
                    Told::Watch(watch, result) => troubles.note(watch, result),
                }
            }
            () = clock.reach(earliest(sources.wake_at(), next_event)) => {}
        }
    }
}

fn start_watches(
    config: &SourceFeedConfig,
    connection: &Connection,
) -> Result<(JoinSet<()>, mpsc::Receiver<Told<Input>>), Fault> {
    let mut tasks = JoinSet::new();
    let (inputs, receiver) = mpsc::channel(AHEAD);
    let (client, rules) = (&connection.watch, &config.rules);
    for (n, kind) in (1..).zip(Kind::ALL) {
        let heard = config.metrics.watch(sources_of(kind), "");
        let query = Query { heard, ..Query::sources(rules, kind)? };
        let decode = wire::source(Rules::clone(rules), kind);
        let wrap = move |news| Told::of(kind.plural(), news, |feed| Input::Source(kind, feed));
        tasks.spawn(watch(client.clone(), query, config.seed.wrapping_add(n), decode, wrap, inputs.clone()));
    }
    let wrap = |news| Told::of("namespaces", news, Input::Namespace);
    let heard = config.metrics.watch("sources/namespace", "");
    let query = Query { heard, ..Query::namespaces().named(&rules.source_namespace) };
    tasks.spawn(watch(client.clone(), query, config.seed, wire::namespace, wrap, inputs));
    Ok((tasks, receiver))
}

const fn sources_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Secret => "sources/secrets",
        Kind::ConfigMap => "sources/configmaps",
    }
}

/// One GET each of the source namespace and of the source; `None` if either is not answered as it should be.
pub(crate) async fn confirm(
    rules: &Rules,
    connection: &Connection,
    key: SourceKey,
) -> (SourceKey, Option<Confirmation>) {
    let ask = async || {
        let namespace = read::get_namespace(&connection.write, &rules.source_namespace).await?;
        let source = read::get_object(&connection.write, key.kind, &rules.source_namespace, &key.name).await?;
        let source = source.map(|object| Source::read(rules, object).reading);
        Ok::<_, Fault>(Confirmation { namespace, source })
    };
    let result = ask().await;
    if let Err(fault) = &result {
        warn!(source = %key, reason = fault.reason(), %fault, "cannot confirm that a source is gone; its copies stay");
    }
    (key, result.ok())
}

fn publish(
    config: &SourceFeedConfig,
    sources: &Sources,
    fault: Option<&Fault>,
    state: &state::Sender<SourceFeedState>,
) {
    let next = SourceFeedState {
        complete: sources.is_complete(),
        namespace_missing: sources.namespace() == Seen::Absent,
        namespace_terminating: sources.namespace().is().is_some_and(|namespace| namespace.terminating),
        fault: fault.cloned(),
    };
    state.send_if_modified(|state| {
        let namespace = &config.rules.source_namespace;
        if next.namespace_missing && !state.namespace_missing {
            warn!(
                namespace,
                "the source namespace does not exist; waiting for it, and nothing is deleted meanwhile \
                 (kubectl create namespace {namespace})"
            );
        }
        if next.complete && !state.complete {
            info!(namespace, "all sources are known");
        }
        let changed = *state != next;
        *state = next;
        changed
    });
}

fn earliest(a: Option<Moment>, b: Option<Moment>) -> Option<Moment> {
    a.into_iter().chain(b).min()
}

/// Says in the log what is the matter with a source itself, and has it announced.
fn remarked(announcer: &mut Announcer, now: Moment, remark: Remark, grace: Duration) {
    let (source, uid, reason, note, warning) = match remark {
        Remark::Fine(source, uid) => return announcer.source(now, &source, uid, None),
        Remark::Off(source) => return announcer.off(now, &source),
        Remark::Frozen(source, uid, why) => {
            let note = format!("{why}; until then its copies follow, and none is created or deleted");
            (source, Some(uid), Reason::Frozen, note, true)
        }
        Remark::Never(source, uid, why) => (source, Some(uid), Reason::NeverReplicated, why.to_string(), true),
        Remark::Busy(source, uid) => {
            let note = format!("it changes all the time; its copies follow every {} s", EVERY.as_secs());
            (source, uid, Reason::SourceBusy, note, true)
        }
        Remark::Leaving(source, uid, Reason::Leaving) => {
            let note = format!("its copies are deleted in {} s unless it is switched on again", grace.as_secs());
            (source, uid, Reason::Leaving, note, false)
        }
        Remark::Leaving(source, uid, why) => (source, uid, why, why.what_to_do().to_owned(), true),
    };
    if warning {
        warn!(%source, %reason, "{note}");
    } else {
        info!(%source, %reason, "{note}");
    }
    announcer.source(now, &source, uid, Some(Trouble::one(reason.as_str(), note, warning)));
}

/// Writes an Event, and says whether to try it again: not what the server has refused, which nobody waits for.
async fn announce(config: &SourceFeedConfig, connection: &Connection, announcement: Announcement) -> (SourceKey, bool) {
    let Announcement { serial, source, uid, reason, note, warning } = &announcement;
    // The seed tells this process from all others.
    let id = &format!("{:x}.{serial:x}", config.seed);
    let (kind, name, uid) = (source.kind.as_str(), &*source.name, uid.to_string());
    let (action, warning) = ("Replicate", *warning);
    // `kubectl events` does not show who reports, and beside a master an agent may say the same of the same source.
    let note = &format!("{}: {note}", config.rules.role.as_str());
    let event = events::Event { id, api_version: "v1", kind, name, uid: &uid, action, reason, note, warning };
    let time = (config.wall_clock)();
    let written = events::write(&connection.write, &config.rules, event, time, &config.instance).await;
    let again = written.as_ref().is_err_and(Fault::is_passing);
    if let Err(fault) = &written {
        warn!(%source, reason = fault.reason(), %fault, again, "cannot write an Event");
    }
    (announcement.source, again)
}
