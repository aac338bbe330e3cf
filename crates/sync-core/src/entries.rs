//! Drives [`Accounts`]: the `imagePullSecrets` of ServiceAccounts, for the sources that ask for it.
//!
//! One task, between the sources and the engine: all news pass through it, for a Secret is deleted after the entries
//! that name it. ServiceAccounts are watched only while that is asked for, and then the engine is asked to tell of
//! namespaces.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::announce::{ENTRIES, Trouble};
use crate::cluster::connection::Connection;
use crate::cluster::pulse::Pulse;
use crate::cluster::query::Query;
use crate::cluster::watch::watch;
use crate::cluster::{service_accounts, wire};
use crate::contract::rules::Rules;
use crate::core::NamespaceNews;
use crate::engine::{Clock, Inquiries, drain};
use crate::fault::Fault;
use crate::index::news::SourceNews;
use crate::leadership::{Leading, Permit};
use crate::ops::metrics::Metrics;
use crate::ops::shutdown::Shutdown;
use crate::service_accounts::{Accounts, Input, Order, Reply};
use crate::source_feed::Subscription;
use crate::watches::{Told, Troubles};

/// How much the watch may be ahead, in events.
const AHEAD: usize = 64;

/// What it needs.
#[derive(Debug)]
pub struct EntriesConfig {
    /// Who we are.
    pub rules: Arc<Rules>,
    /// Whether this process may write.
    pub leading: Leading,
    /// Where its watch notes that it has heard something.
    pub metrics: Metrics,
    /// Where the engine tells of namespaces.
    pub inquiries: Inquiries,
    /// Seed of the jitter.
    pub seed: u64,
}

/// Runs until it is told to stop, or one of the two at its ends is gone.
pub async fn run(
    config: EntriesConfig,
    connection: Connection,
    mut sources: Subscription,
    engine: mpsc::UnboundedSender<SourceNews>,
    shutdown: Shutdown,
) {
    let EntriesConfig { rules, mut leading, metrics, inquiries, seed } = config;
    let clock = Clock::start();
    let mut accounts = Accounts::new(Arc::clone(&rules), seed);
    accounts.on(clock.now(), Input::Lead(leading.lead(&clock)));
    let pulse = Pulse::of(&connection, &rules.source_namespace);
    let mut flights = FuturesUnordered::new();
    let mut views = Views::new(seed, inquiries);
    let mut troubles = Troubles::default();
    loop {
        while let Some(order) = accounts.next(clock.now()) {
            flights.push(carry_out(&connection, &pulse, &rules, order, leading.permit()));
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
            match &trouble {
                Some(Trouble { reason, note, warning: true, .. }) => warn!(source = %key, reason, "{note}"),
                Some(Trouble { reason, note, .. }) => info!(source = %key, reason, "{note}"),
                None => {}
            }
            sources.report(key, ENTRIES, trouble);
        }
        if views.follow(accounts.watching(), &connection, &metrics).await {
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
            told = views.next() => match told {
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
    pulse: &Pulse,
    rules: &Rules,
    order: Order,
    permit: Permit,
) -> (u64, Result<Reply, Fault>) {
    let Order { id, step } = order;
    let client = &connection.write;
    let result = match permit.left() {
        Err(fault) => Err(fault),
        Ok(left) if permit.dry => pulse.mind(left, service_accounts::try_out(client, rules, &step, left)).await,
        Ok(left) => pulse.mind(left, service_accounts::execute(client, rules, &step, left)).await,
    };
    match &result {
        Ok(_) => debug!(%step, "done"),
        Err(fault) => debug!(%step, reason = fault.reason(), %fault, "failed"),
    }
    (id, result)
}

/// What is watched, if anything is.
struct Views {
    seed: u64,
    inquiries: Inquiries,
    /// The number of the watch, see [`Accounts::watching`].
    current: Option<u64>,
    accounts: Option<mpsc::Receiver<Told<Input>>>,
    task: JoinSet<()>,
    namespaces: Option<mpsc::UnboundedReceiver<NamespaceNews>>,
}

impl Views {
    fn new(seed: u64, inquiries: Inquiries) -> Self {
        Self { seed, inquiries, current: None, accounts: None, task: JoinSet::new(), namespaces: None }
    }

    /// Begins, ends or begins anew; `false` if all is as it was.
    async fn follow(&mut self, wanted: Option<u64>, connection: &Connection, metrics: &Metrics) -> bool {
        if self.current == wanted {
            return false;
        }
        // The old one ends, and what it had to say still is not heard.
        (self.current, self.accounts, self.task) = (wanted, None, JoinSet::new());
        let Some(number) = wanted else {
            info!("ServiceAccounts are not watched any more: no source asks for it, and no entry is left");
            self.namespaces = None;
            return true;
        };
        info!("watching ServiceAccounts, for image-pull-secret");
        let (sender, told) = mpsc::channel(AHEAD);
        self.accounts = Some(told);
        let wrap = |news| Told::of("serviceaccounts", news, Input::Account);
        let query = Query { heard: metrics.watch("serviceaccounts", ""), ..Query::service_accounts() };
        let (client, seed) = (connection.watch.clone(), !self.seed.wrapping_add(number));
        self.task.spawn(watch(client, query, seed, wire::service_account, wrap, sender));
        if self.namespaces.is_none() {
            // If the engine has ended, so does all this.
            self.namespaces = self.inquiries.namespaces().await;
        }
        true
    }

    async fn next(&mut self) -> Told<Input> {
        tokio::select! {
            biased;
            Some(news) = of_namespaces(&mut self.namespaces) => Told::Input(Input::Namespaces(news)),
            Some(told) = of_accounts(&mut self.accounts) => told,
            else => std::future::pending().await,
        }
    }
}

async fn of_namespaces(namespaces: &mut Option<mpsc::UnboundedReceiver<NamespaceNews>>) -> Option<NamespaceNews> {
    namespaces.as_mut()?.recv().await
}

async fn of_accounts(accounts: &mut Option<mpsc::Receiver<Told<Input>>>) -> Option<Told<Input>> {
    accounts.as_mut()?.recv().await
}
