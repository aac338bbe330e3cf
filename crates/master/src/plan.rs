//! `master plan`: what would be written in each remote cluster. Nothing is.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use sync_core::cluster::connection::Connection;
use sync_core::core::Scope;
use sync_core::fault::Fault;
use sync_core::ops::plan_told::Planned;
use sync_core::ops::preflight::mend;
use sync_core::trial::{Listed, Trial, Tried};
use tokio::time::timeout;

use crate::args::Config;
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
    let home = Connection::local(config.common.context.as_deref(), config.common.rules.role.user_agent()).await;
    let (_, home) = home.map_err(|error| error.to_string())?;
    let visitor = Visitor::new(config, home);
    let namespace = &visitor.rules.source_namespace;
    let told = |fault: Fault| match fault {
        Fault::NamespaceMissing => format!("namespace {namespace} does not exist"),
        fault => format!("{fault}; {}", mend(&fault)),
    };
    let listed = Listed::read(&visitor.home, &visitor.rules).await.map_err(told)?;
    let clusters = visit::all(&visitor.home, namespace).await.map_err(told)?;
    let looks = clusters.into_iter().map(|cluster| {
        let (visitor, listed) = (&visitor, &listed);
        async move {
            let name = cluster.metadata.name.clone().unwrap_or_default();
            let tried = timeout(DEADLINE, tried(visitor, listed, &name, &cluster, max_in_flight)).await;
            let late = |_| format!("no answer within {} s", DEADLINE.as_secs());
            Planned { cluster: name, copies: tried.map_err(late).flatten() }
        }
    });
    Ok(stream::iter(looks).buffered(AT_ONCE).collect().await)
}

async fn tried(
    visitor: &Visitor,
    listed: &Listed,
    name: &str,
    cluster: &RemoteCluster,
    max_in_flight: usize,
) -> Result<Vec<Tried>, String> {
    let destination = cluster.spec.namespace.as_str();
    let words = |outcome: Outcome| outcome.message(destination);
    let visit = match visitor.connect(cluster, &mut |_, _| {}).await {
        Ok(visit) => visit,
        // Nothing would be written, and that is meant.
        Err(Stopped { outcome: Outcome::Suspended, .. }) => return Ok(Vec::new()),
        Err(Stopped { at, outcome }) => return Err(format!("{at}: {}", words(outcome))),
    };
    let told = |fault| words(visit.reach.outcome(fault));
    visit.is_elsewhere(&visitor.home, destination).await?;
    let scope = Scope::One { namespace: destination.to_owned(), cluster: name.to_owned() };
    let labels = cluster.metadata.labels.clone().unwrap_or_default();
    let trial = Trial { rules: visitor.rules.clone(), scope, labels, max_in_flight };
    trial.run(listed, &visitor.home, &visit.connection).await.map_err(told)
}
