//! Drives [`Accounts`]: the `imagePullSecrets` of ServiceAccounts, for the sources that ask for it.
//!
//! One task, between the sources and the engine: all news pass through it, for a Secret is deleted after the entries
//! that name it. ServiceAccounts and namespaces are watched only while that is asked for.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use sync_core::announce::{ENTRIES, Trouble};
use sync_core::cluster::connection::Connection;
use sync_core::cluster::query::Query;
use sync_core::cluster::watch::watch;
use sync_core::cluster::{service_accounts, wire};
use sync_core::contract::rules::Rules;
use sync_core::engine::{Clock, drain};
use sync_core::fault::Fault;
use sync_core::index::news::SourceNews;
use sync_core::leadership::Leading;
use sync_core::ops::metrics::Metrics;
use sync_core::ops::shutdown::Shutdown;
use sync_core::service_accounts::{Accounts, Input, Order, Reply};
use sync_core::source_feed::Subscription;
use sync_core::watches::{Told, Troubles};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

/// How much the watches may be ahead, in events.
const AHEAD: usize = 64;

/// What it needs.
#[derive(Debug)]
pub struct Driver {
    /// Who we are.
    pub rules: Arc<Rules>,
    /// Seed of the jitter.
    pub seed: u64,
    /// The way to the cluster.
    pub connection: Connection,
    /// Whether this process may write.
    pub leading: Leading,
    /// Where its watches note that they have heard something.
    pub metrics: Metrics,
}

/// Runs until it is told to stop, or one of the two at its ends is gone.
pub async fn run(
    driver: Driver,
    mut sources: Subscription,
    engine: mpsc::UnboundedSender<SourceNews>,
    shutdown: Shutdown,
) {
    let Driver { rules, seed, connection, mut leading, metrics } = driver;
    let clock = Clock::start();
    let mut accounts = Accounts::new(Arc::clone(&rules), seed);
    accounts.on(clock.now(), Input::Lead(leading.lead(&clock)));
    let mut flights = FuturesUnordered::new();
    let mut watches = Watches::new(seed);
    let mut troubles = Troubles::default();
    loop {
        while let Some(order) = accounts.next(clock.now()) {
            flights.push(carry_out(&connection, &rules, order, leading.deadline()));
        }
        for news in accounts.take_news(clock.now()) {
            if engine.send(news).is_err() {
                return;
            }
        }
        for (key, upstream) in accounts.take_asks() {
            sources.ask(key, upstream);
        }
        for (key, trouble) in accounts.take_reports() {
            if let Some(Trouble { reason, note, .. }) = &trouble {
                warn!(source = %key, reason, "{note}");
            }
            sources.report(key, ENTRIES, trouble);
        }
        if watches.follow(accounts.watching(), &connection, &metrics) {
            troubles = Troubles::default();
        }
        tokio::select! {
            biased;
            () = shutdown.begun() => break,
            () = engine.closed() => break,
            () = leading.changed() => accounts.on(clock.now(), Input::Lead(leading.lead(&clock))),
            Some((id, result)) = flights.next(), if !flights.is_empty() => {
                accounts.on(clock.now(), Input::Done(id, result));
            }
            news = sources.next() => {
                let Some(news) = news else { break };
                accounts.on(clock.now(), Input::Sources(news));
            }
            told = watches.next() => match told {
                Told::Input(input) => accounts.on(clock.now(), input),
                Told::Watch(watch, result) => {
                    troubles.note(watch, result.clone());
                    accounts.on(clock.now(), Input::Watch(watch, result));
                }
            },
            () = clock.reach(accounts.wake_at()) => {}
        }
    }
    drain(flights, &leading).await;
}

async fn carry_out(
    connection: &Connection,
    rules: &Rules,
    order: Order,
    deadline: Duration,
) -> (u64, Result<Reply, Fault>) {
    let Order { id, step } = order;
    let result = service_accounts::execute(&connection.write, rules, &step, deadline).await;
    match &result {
        Ok(_) => debug!(%step, "done"),
        Err(fault) => debug!(%step, reason = fault.reason(), %fault, "failed"),
    }
    (id, result)
}

/// The watches that are wanted, if any are.
struct Watches {
    seed: u64,
    /// Their number, see [`Accounts::watching`].
    current: Option<u64>,
    told: Option<mpsc::Receiver<Told<Input>>>,
    tasks: JoinSet<()>,
}

impl Watches {
    fn new(seed: u64) -> Self {
        Self { seed, current: None, told: None, tasks: JoinSet::new() }
    }

    /// Begins, ends or begins anew; `false` if all is as it was.
    fn follow(&mut self, wanted: Option<u64>, connection: &Connection, metrics: &Metrics) -> bool {
        if self.current == wanted {
            return false;
        }
        // The old ones end, and what they had to say still is not heard.
        (self.current, self.told, self.tasks) = (wanted, None, JoinSet::new());
        let Some(number) = wanted else {
            info!("ServiceAccounts are not watched any more: no source asks for it, and no entry is left");
            return true;
        };
        info!("watching ServiceAccounts, for image-pull-secret");
        let (sender, told) = mpsc::channel(AHEAD);
        self.told = Some(told);
        let (client, seed) = (&connection.watch, self.seed.wrapping_add(number));
        let wrap = |news| Told::of("namespaces", news, Input::Namespace);
        self.tasks.spawn(watch(client.clone(), Query::namespaces(), seed, wire::namespace, wrap, sender.clone()));
        let wrap = |news| Told::of("serviceaccounts", news, Input::Account);
        let query = Query { heard: metrics.watch("serviceaccounts", ""), ..Query::service_accounts() };
        self.tasks.spawn(watch(client.clone(), query, !seed, wire::service_account, wrap, sender));
        true
    }

    async fn next(&mut self) -> Told<Input> {
        let told = match &mut self.told {
            Some(told) => told.recv().await,
            None => None,
        };
        match told {
            Some(told) => told,
            None => std::future::pending().await,
        }
    }
}
