//! The master: copies annotated objects of the source namespace into one namespace of every remote cluster.

pub mod args;
pub mod remote;

use sync_core::ops::shutdown::Shutdown;

/// Runs until `shutdown` begins.
pub async fn run(config: &args::Config, shutdown: &Shutdown) {
    let common = &config.common;
    tracing::info!(origin = common.rules.origin_prefix(), max_in_flight = common.max_in_flight, "started");
    shutdown.begun().await;
}
