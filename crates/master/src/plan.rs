//! `master plan`: what would be written in each remote cluster. Nothing is.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use sync_core::contract::object::Uid;
use sync_core::core::Scope;
use sync_core::fault::Fault;
use sync_core::ops::plan_told::Planned;
use sync_core::ops::preflight::{self, mend};
use sync_core::trial::{Listed, Trial, Tried};
use tokio::time::timeout;

use crate::args::Config;
use crate::remote::claims::{self, Rank};
use crate::remote::crd::RemoteCluster;
use crate::remote::status::Outcome;
use crate::remote::visit::{self, Stopped, Visitor};

/// Remote clusters at once.
const AT_ONCE: usize = 16;
/// For one remote cluster, AWS included.
const DEADLINE: Duration = Duration::from_secs(60);

/// Tries it in all remote clusters.
pub async fn plan(config: Config) -> Vec<Planned> {
    match planned(config).await {
        Ok(planned) => planned,
        Err(why) => vec![Planned { cluster: String::new(), copies: Err(why) }],
    }
}

async fn planned(config: Config) -> Result<Vec<Planned>, String> {
    let max_in_flight = config.common.max_in_flight;
    let (_, home) = preflight::reach(&config.common).await?;
    let visitor = Visitor::new(config, home);
    let namespace = &visitor.rules.source_namespace;
    let told = |fault: Fault| match fault {
        Fault::NamespaceMissing => format!("namespace {namespace} does not exist"),
        fault => format!("{fault}; {}", mend(&fault)),
    };
    let listed = Listed::read(&visitor.home, &visitor.rules).await.map_err(told)?;
    let clusters = visit::all(&visitor.home, namespace).await.map_err(told)?;
    let (visitor, listed) = (&visitor, &listed);
    let looks = clusters.iter().map(|cluster| async move {
        // One that does not answer now keeps the place that it had.
        let mut led = claims::led(cluster).filter(|_| !cluster.spec.suspend);
        let tried = timeout(DEADLINE, tried(visitor, listed, cluster, max_in_flight, &mut led)).await;
        let late = |_| format!("no answer within {} s", DEADLINE.as_secs());
        let copies = tried.map_err(late).flatten();
        (cluster, led, copies)
    });
    let looked: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    // As the controller has it: of several that lead to one place the first.
    let mut firsts = BTreeMap::new();
    for (cluster, place, _) in &looked {
        if let Some(place) = *place {
            let (rank, first) = (Rank::of(cluster), firsts.entry(place).or_insert_with(|| Rank::of(cluster)));
            *first = rank.min(first.clone());
        }
    }
    let planned = looked.into_iter().map(|(cluster, place, copies)| {
        let first = place.and_then(|place| firsts.get(&place)).filter(|first| **first != Rank::of(cluster));
        let copies = match first {
            Some(first) => Err(Outcome::Duplicate(first.name.clone()).message(&cluster.spec.namespace)),
            None => copies,
        };
        Planned { cluster: cluster.metadata.name.clone().unwrap_or_default(), copies }
    });
    Ok(planned.collect())
}

async fn tried(
    visitor: &Visitor,
    listed: &Listed,
    cluster: &RemoteCluster,
    max_in_flight: usize,
    led: &mut Option<Uid>,
) -> Result<Vec<Tried>, String> {
    let destination = cluster.spec.namespace.as_str();
    let words = |outcome: Outcome| outcome.message(destination);
    let visit = match visitor.connect(cluster, &mut |_, _| {}).await {
        Ok(visit) => visit,
        // Nothing would be written, and that is meant.
        Err(Stopped { outcome: Outcome::Suspended, .. }) => return Ok(Vec::new()),
        Err(Stopped { at, outcome }) => {
            *led = led.filter(|_| !outcome.leads_nowhere());
            return Err(format!("{at}: {}", words(outcome)));
        }
    };
    let told = |fault| words(visit.reach.outcome(fault));
    *led = None;
    *led = Some(visit.is_elsewhere(&visitor.home, destination).await?);
    let name = cluster.metadata.name.clone().unwrap_or_default();
    let scope = Scope::One { namespace: destination.to_owned(), cluster: name };
    let labels = cluster.metadata.labels.clone().unwrap_or_default();
    let trial = Trial { rules: visitor.rules.clone(), scope, labels, max_in_flight };
    trial.run(listed, &visitor.home, &visit.connection).await.map_err(told)
}
