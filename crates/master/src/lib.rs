//! The master: copies annotated objects of the source namespace into one namespace of every remote cluster.

pub mod args;
pub mod eks;
pub mod remote;

use std::sync::Arc;

use eks::Eks;
use eks::clock::WallClock;
use eks::sdk::SdkAws;
use remote::fleet::{self, Shared};
use sync_core::cluster::access::{Access, AccessError};
use sync_core::cluster::connection::Connection;
use sync_core::ops;
use sync_core::ops::flags::Common;
use sync_core::ops::shutdown::Shutdown;
use sync_core::source_feed::{SourceFeed, SourceFeedConfig};

/// Runs until `shutdown` begins.
///
/// # Errors
/// If there is no way to reach the management cluster; one that does not answer is waited for.
pub async fn run(config: args::Config, shutdown: Shutdown) -> Result<(), AccessError> {
    let args::Config { common, allow_addresses, allow_node_role } = config;
    let Common { rules, max_in_flight, context, .. } = common;
    let (rules, seed) = (Arc::new(rules), ops::seed());
    let access = Access::local(context.as_deref()).await?;
    let connection = Connection::new(&access, rules.role.user_agent())?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        server = %access.server(),
        origin = rules.origin_prefix(),
        max_in_flight,
        "started"
    );
    let feed = SourceFeedConfig {
        rules: Arc::clone(&rules),
        seed,
        wall_clock: jiff::Timestamp::now,
        instance: ops::instance(rules.role),
    };
    let sources = SourceFeed::start(feed, connection.clone(), shutdown.clone());
    let clock = WallClock::system();
    let aws = Arc::new(SdkAws::new(clock.clone(), allow_node_role));
    let eks = Eks::new(aws, clock, rules.cluster_name.as_deref().unwrap_or_default(), seed);
    let shared = Shared { rules, connection, sources, addresses: allow_addresses, eks, max_in_flight, seed };
    fleet::run(shared, shutdown).await;
    tracing::info!("stopped");
    Ok(())
}
