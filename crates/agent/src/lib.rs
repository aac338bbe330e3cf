//! The agent: copies annotated objects of the source namespace into every namespace of its cluster.

pub mod args;
pub mod check;
pub mod look;
pub mod plan;
pub mod purge;
pub mod status;
pub mod summary;

use std::sync::Arc;

use summary::Summaries;
use sync_core::core::Scope;
use sync_core::engine::{self, EngineConfig, EngineState, Inquiries};
use sync_core::entries::{self, EntriesConfig};
use sync_core::index::feed::Labels;
use sync_core::ops::begin::{BeginError, Begun};
use sync_core::ops::shutdown::Shutdown;
use sync_core::ops::version::version;
use tokio::sync::watch;

/// Runs until `shutdown` begins.
///
/// # Errors
/// If there is no way to reach a cluster, or the port is taken; a cluster that does not answer is waited for.
pub async fn run(config: args::Config, shutdown: Shutdown) -> Result<(), BeginError> {
    let max_in_flight = config.common.max_in_flight;
    let begun = Begun::new(config.common).await?;
    tracing::info!(
        version = version(),
        server = %begun.server,
        source_namespace = begun.rules.source_namespace,
        max_in_flight,
        "started"
    );
    let sources = begun.sources(&shutdown);
    let Begun { rules, seed, connection, leadership, health, metrics, status, .. } = begun;
    let leading = leadership.leading();
    let (_, labels) = watch::channel(Labels::new());
    let subscription = sources.subscribe();
    let (news, passed) = subscription.behind();
    let (state, seen) = watch::channel(EngineState::default());
    let is_ready = seen.clone();
    health.needs("namespaces and copies", move || is_ready.borrow().ready);
    let (inquiries, desk) = Inquiries::new();
    status.show(&rules, leading.clone(), &health, Arc::new(status::Status(inquiries.clone())));
    let entries = EntriesConfig {
        rules: Arc::clone(&rules),
        leading: leading.clone(),
        metrics: metrics.clone(),
        inquiries: inquiries.clone(),
        seed,
    };
    let entries = tokio::spawn(entries::run(entries, connection.clone(), subscription, news, shutdown.clone()));
    let summary = Summaries::new(Arc::clone(&rules), seed, connection.clone(), leading.clone(), inquiries);
    let summary = tokio::spawn(summary.run(seen, shutdown.clone()));
    let engine = EngineConfig { rules, scope: Scope::Namespaces, labels, max_in_flight, leading, metrics, seed };
    engine::run(engine, connection, passed, state, desk, shutdown).await;
    // They have been told to stop too, and end what is under way.
    drop((entries.await, summary.await));
    sources.ended().await;
    leadership.end().await;
    tracing::info!("stopped");
    Ok(())
}
