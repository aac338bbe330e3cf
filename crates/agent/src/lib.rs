//! The agent: copies annotated objects of the source namespace into every namespace of its cluster.

pub mod args;
pub mod service_accounts;

use std::sync::Arc;

use sync_core::cluster::access::{Access, AccessError};
use sync_core::cluster::connection::Connection;
use sync_core::core::Scope;
use sync_core::engine::{self, EngineConfig, EngineState};
use sync_core::index::feed::Labels;
use sync_core::ops;
use sync_core::ops::flags::Common;
use sync_core::ops::shutdown::Shutdown;
use sync_core::source_feed::{SourceFeed, SourceFeedConfig};
use tokio::sync::watch;

/// Runs until `shutdown` begins.
///
/// # Errors
/// If there is no way to reach a cluster; one that does not answer is waited for.
pub async fn run(config: args::Config, shutdown: Shutdown) -> Result<(), AccessError> {
    let Common { rules, max_in_flight, context, .. } = config.common;
    let (rules, seed) = (Arc::new(rules), ops::seed());
    let access = Access::local(context.as_deref()).await?;
    let connection = Connection::new(&access, rules.role.user_agent())?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        server = %access.server(),
        source_namespace = rules.source_namespace,
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
    let (_, labels) = watch::channel(Labels::new());
    let subscription = sources.subscribe();
    let (news, passed) = subscription.behind();
    let entries =
        service_accounts::run(Arc::clone(&rules), seed, connection.clone(), subscription, news, shutdown.clone());
    let entries = tokio::spawn(entries);
    let engine = EngineConfig { rules, scope: Scope::Namespaces, labels, max_in_flight, seed };
    let (state, _) = watch::channel(EngineState::default());
    engine::run(engine, connection, passed, state, shutdown).await;
    // It has been told to stop too, and ends what is under way.
    drop(entries.await);
    tracing::info!("stopped");
    Ok(())
}
