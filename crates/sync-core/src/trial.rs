//! One pass that leaves no trace: what would be written to a cluster, tried by dry runs (`dryRun=All`), so that quotas,
//! webhooks and foreign objects show as they would for real.
//!
//! The same sources, core and orders as an engine's, fed by lists instead of watches. The answer to a dry run is an outcome
//! and never state, see `core/dry.rs`.

mod entries;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::sleep;

use crate::cluster::connection::Connection;
use crate::cluster::pulse::Pulse;
use crate::cluster::query::Query;
use crate::cluster::{read, wire, write};
use crate::contract::object::{Kind, Rv, SourceKey};
use crate::contract::rules::Rules;
use crate::contract::source::Source;
use crate::core::{Core, Input, Scope};
use crate::fault::Fault;
use crate::index::feed::{Feed, Labels, Moment, NamespaceSeen};
use crate::index::sources::Sources;
use crate::lease::Lead;
use crate::order::{Order, Reply};
use crate::source_feed::confirm;
use entries::Entries;

/// Nobody waits for the grace: what would go after it would go.
const GRACE: Duration = Duration::from_millis(1);
/// What is not due so soon is a retry, the first of which come after half a second.
const SOON: Duration = Duration::from_millis(100);
/// What the server did not answer is tried again for so long, which is three or four times: a person waits.
const PATIENCE: Duration = Duration::from_secs(15);

/// The sources of a cluster, as of one moment.
#[derive(Clone, Debug)]
pub struct Listed {
    namespace: (Option<NamespaceSeen>, Rv),
    sources: Vec<(Kind, Vec<Source>, Rv)>,
}

/// What an engine would be for.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Who we are.
    pub rules: Rules,
    /// Where copies belong.
    pub scope: Scope,
    /// Labels of the RemoteCluster.
    pub labels: Labels,
    /// Most requests under way at once.
    pub max_in_flight: usize,
}

/// One copy that is not as it should be.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The source.
    pub source: SourceKey,
    /// The destination.
    pub namespace: String,
    /// A ServiceAccount there, if it is about the source's entry in its `imagePullSecrets`; both are `*` if it is about
    /// all of them.
    pub account: Option<String>,
    /// What would be done, or why nothing is.
    pub what: What,
}

/// What would come of a copy.
#[derive(Clone, Debug)]
pub enum What {
    /// This write would be done.
    Does(&'static str),
    /// This write would be tried, and the server refuses it.
    Fails(&'static str, Fault),
    /// This write would be tried; the server did not answer whether it would be done.
    Untried(&'static str, Fault),
    /// Nothing is done, for this reason; and what to do about it.
    Refused(&'static str, &'static str),
}

impl Listed {
    /// Reads them.
    ///
    /// # Errors
    /// If they cannot be listed, or there is no source namespace.
    pub async fn read(connection: &Connection, rules: &Rules) -> Result<Self, Fault> {
        let client = &connection.watch;
        let query = Query::namespaces().named(&rules.source_namespace);
        let (mut namespaces, rv) = read::list(client, &query, wire::namespace).await?;
        let namespace = namespaces.pop();
        if namespace.is_none() {
            return Err(Fault::NamespaceMissing);
        }
        let mut sources = Vec::new();
        for kind in Kind::ALL {
            let query = Query::sources(rules, kind)?;
            let (found, rv) = read::list(client, &query, wire::source(rules.clone(), kind)).await?;
            sources.push((kind, found, rv));
        }
        Ok(Self { namespace: (namespace, rv), sources })
    }

    fn feed(&self, sources: &mut Sources, now: Moment) {
        let (namespace, rv) = &self.namespace;
        sources.on_namespace(now, Feed::Init);
        namespace.iter().for_each(|namespace| sources.on_namespace(now, Feed::Listed(namespace.clone())));
        sources.on_namespace(now, Feed::InitDone(*rv));
        for (kind, found, rv) in &self.sources {
            sources.on_source(now, *kind, Feed::Init);
            found.iter().for_each(|source| sources.on_source(now, *kind, Feed::Listed(source.clone())));
            sources.on_source(now, *kind, Feed::InitDone(*rv));
        }
    }
}

impl Trial {
    /// What would be done in a cluster. `home` is where the sources are.
    ///
    /// # Errors
    /// If the cluster cannot be listed, or fails as a whole.
    pub async fn run(self, listed: &Listed, home: &Connection, cluster: &Connection) -> Result<Vec<Tried>, Fault> {
        let (rules, mut now) = (Rules { delete_grace: GRACE, ..self.rules.clone() }, Moment::ZERO);
        let mut sources = Sources::new(GRACE);
        listed.feed(&mut sources, now);
        // No chance is involved: what it decides is when to try again.
        let mut core = Core::new(Arc::new(rules.clone()), self.scope.clone(), self.max_in_flight, 0);
        core.on(now, Input::Lead(Lead::Dry));
        core.on(now, Input::Labels(self.labels.clone()));
        let manager = rules.role.field_manager();
        self.list(&mut core, &rules, cluster).await?;
        let many = self.scope == Scope::Namespaces;
        let pulse = many.then(|| Pulse::of(cluster, &rules.source_namespace));
        let mut entries = many.then(|| Entries::new(&rules, cluster));
        let (mut tried, mut patience, mut soon) = (BTreeMap::new(), PATIENCE, SOON);
        loop {
            sources.tick(now);
            while let Some(key) = sources.next_confirmation() {
                let (key, result) = confirm(&rules, home, key).await;
                sources.confirmed(now, &key, result);
            }
            for news in sources.take_news() {
                entries.iter_mut().for_each(|entries| entries.hear(now, &news));
                core.on(now, Input::Sources(news));
            }
            let asks = core.take_asks();
            let mut asked = !asks.is_empty();
            asks.into_iter().for_each(|(key, upstream)| sources.ask(now, &key, upstream));
            if let Some(entries) = &mut entries {
                asked |= entries.go(now, &core, &mut sources).await;
            }
            let orders: Vec<_> = std::iter::from_fn(|| core.next(now)).collect();
            if orders.is_empty() && asked {
                continue;
            }
            if orders.is_empty() {
                let wakes = [sources.wake_at(), core.wake_at(), entries.as_ref().and_then(Entries::wake_at)];
                let untried = tried.values().any(is_untried) || entries.as_ref().is_some_and(Entries::is_untried);
                let next = wakes.into_iter().flatten().min();
                match next {
                    Some(at) if at < soon && now < soon => now = at.max(now + Duration::from_millis(1)),
                    Some(at) if at.saturating_sub(now) <= patience && untried => {
                        let pause = at.saturating_sub(now);
                        sleep(pause).await;
                        (now, patience, soon) = (at.max(now), patience - pause, at + SOON);
                    }
                    _ => break,
                }
                continue;
            }
            let answers = orders.into_iter().map(async |order| {
                let send = write::try_out(&cluster.write, manager, &order, write::DEADLINE);
                let answer = match pulse.as_ref().filter(|_| order.step.is_write()) {
                    Some(pulse) => pulse.mind(write::DEADLINE, send).await,
                    None => send.await,
                };
                (order, answer)
            });
            for (order, result) in join_all(answers).await {
                take(&mut core, now, &mut tried, &order, result);
            }
        }
        if let Some(fault) = core.cluster_fault() {
            return Err(fault.clone());
        }
        let mut all = told(&core, tried);
        all.extend(entries.into_iter().flat_map(Entries::told));
        Ok(all)
    }

    async fn list(&self, core: &mut Core, rules: &Rules, cluster: &Connection) -> Result<(), Fault> {
        let (client, now) = (&cluster.watch, Moment::ZERO);
        if self.scope == Scope::Namespaces {
            let (namespaces, rv) = read::list(client, &Query::namespaces(), wire::namespace).await?;
            core.on(now, Input::Dest(Feed::Init));
            namespaces.into_iter().for_each(|seen| core.on(now, Input::Dest(Feed::Listed(seen))));
            core.on(now, Input::Dest(Feed::InitDone(rv)));
        }
        for kind in Kind::ALL {
            let query = Query::replicas(rules, kind, self.scope.namespace())?;
            let (copies, rv) = read::list(client, &query, wire::replica(rules.clone(), kind)).await?;
            core.on(now, Input::Replica(kind, Feed::Init));
            copies.into_iter().for_each(|seen| core.on(now, Input::Replica(kind, Feed::Listed(seen))));
            core.on(now, Input::Replica(kind, Feed::InitDone(rv)));
        }
        Ok(())
    }
}

type Key = (SourceKey, String);

const fn is_untried(what: &What) -> bool {
    matches!(what, What::Untried(..))
}

/// Of what would be done the core knows; of what would fail it keeps no words.
fn take(core: &mut Core, now: Moment, tried: &mut BTreeMap<Key, What>, order: &Order, answer: Result<Reply, Fault>) {
    let key = || (SourceKey { kind: order.kind, name: Arc::clone(&order.name) }, order.namespace.to_string());
    match (core.would(order.id), &answer) {
        (Some(would), Ok(Reply::Tried)) => drop(tried.insert(key(), What::Does(would.action()))),
        // Whose is it? The core knows what to do about these.
        (
            _,
            Err(
                Fault::AlreadyExists
                | Fault::LostRace
                | Fault::Conflict
                | Fault::NotFound
                | Fault::NamespaceTerminating,
            ),
        ) => drop(tried.remove(&key())),
        (Some(would), Err(fault)) => drop(tried.insert(key(), of_failure(would.action(), fault))),
        (None, _) | (_, Ok(_)) => {}
    }
    core.on(now, Input::Done(order.id, answer));
}

/// A write that would not be done, or of which the server does not say so.
fn of_failure(action: &'static str, fault: &Fault) -> What {
    if fault.is_passing() { What::Untried(action, fault.clone()) } else { What::Fails(action, fault.clone()) }
}

fn told(core: &Core, tried: BTreeMap<Key, What>) -> Vec<Tried> {
    let mut all = tried;
    for verdict in core.verdicts() {
        let what = match verdict.untried {
            Some(would) => What::Untried(would.action(), Fault::others_hang()),
            None => What::Refused(verdict.reason, verdict.todo),
        };
        all.entry((verdict.source, verdict.namespace)).or_insert(what);
    }
    all.into_iter().map(|((source, namespace), what)| Tried { source, namespace, account: None, what }).collect()
}

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;
