//! The master: copies annotated objects of the source namespace into one namespace of every remote cluster.

pub mod args;
pub mod cli;
pub mod eks;
pub mod remote;

use std::sync::Arc;

use eks::Eks;
use eks::clock::WallClock;
use eks::roles::Bounded;
use eks::sdk::SdkAws;
use remote::fleet::{self, Shared};
use sync_core::cluster::access::AccessError;
use sync_core::ops::begin::Begun;
use sync_core::ops::shutdown::Shutdown;

/// Runs until `shutdown` begins.
///
/// # Errors
/// If there is no way to reach the management cluster; one that does not answer is waited for.
pub async fn run(config: args::Config, shutdown: Shutdown) -> Result<(), AccessError> {
    let args::Config { common, allow_addresses, allow_roles, allow_node_role } = config;
    let max_in_flight = common.max_in_flight;
    let begun = Begun::new(common).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        server = %begun.server,
        origin = begun.rules.origin_prefix(),
        max_in_flight,
        "started"
    );
    let sources = begun.sources(&shutdown);
    let Begun { rules, seed, connection, leadership, .. } = begun;
    let clock = WallClock::system();
    let aws = Arc::new(SdkAws::new(clock.clone(), allow_node_role));
    let aws = Arc::new(Bounded::new(aws, allow_roles));
    let eks = Eks::new(aws, clock, rules.cluster_name.as_deref().unwrap_or_default(), seed);
    let (addresses, leading) = (allow_addresses, leadership.leading());
    let shared = Shared { rules, connection, sources: sources.clone(), addresses, eks, max_in_flight, leading, seed };
    fleet::run(shared, shutdown).await;
    sources.ended().await;
    leadership.end().await;
    tracing::info!("stopped");
    Ok(())
}
