//! The agent: copies annotated objects of the source namespace into every namespace of its cluster.

pub mod args;

use sync_core::ops::shutdown::Shutdown;

/// Runs until `shutdown` begins.
pub async fn run(config: &args::Config, shutdown: &Shutdown) {
    let common = &config.common;
    tracing::info!(source_namespace = common.rules.source_namespace, max_in_flight = common.max_in_flight, "started");
    shutdown.begun().await;
}
