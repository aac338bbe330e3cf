//! `agent plan`: what would be written in this cluster. Nothing is.

use sync_core::core::Scope;
use sync_core::fault::Fault;
use sync_core::index::feed::Labels;
use sync_core::ops::plan_told::Planned;
use sync_core::ops::preflight::{self, mend};
use sync_core::trial::{Listed, Trial};

use crate::args::Config;

/// Tries it.
pub async fn plan(config: &Config) -> Vec<Planned> {
    vec![Planned { cluster: String::new(), copies: tried(config).await }]
}

async fn tried(config: &Config) -> Result<Vec<sync_core::trial::Tried>, String> {
    let common = &config.common;
    let (_, connection) = preflight::reach(common).await?;
    let told = |fault: Fault| match fault {
        Fault::NamespaceMissing => format!("namespace {} does not exist", common.rules.source_namespace),
        fault => format!("{fault}; {}", mend(&fault)),
    };
    let listed = Listed::read(&connection, &common.rules).await.map_err(told)?;
    let (rules, max_in_flight) = (common.rules.clone(), common.max_in_flight);
    let trial = Trial { rules, scope: Scope::Namespaces, labels: Labels::new(), max_in_flight };
    trial.run(&listed, &connection, &connection).await.map_err(told)
}
