//! The master: copies annotated objects of the source namespace into one namespace of every remote cluster.

pub mod args;
pub mod check;
pub mod cli;
pub mod crds;
pub mod discovery;
pub mod eks;
pub mod plan;
pub mod purge;
pub mod remote;

use std::sync::Arc;

use cli::look::Looker;
use eks::Eks;
use eks::clock::WallClock;
use eks::counted::Counted;
use eks::roles::Bounded;
use eks::sdk::SdkAws;
use remote::fleet::{self, Shared};
use remote::gauges::Gauges;
use remote::objects::Known;
use remote::teller::TURNS;
use sync_core::ops::begin::{BeginError, Begun};
use sync_core::ops::shutdown::Shutdown;
use sync_core::ops::version::version;
use tokio::sync::{Semaphore, watch};

/// Runs until `shutdown` begins.
///
/// # Errors
/// If there is no way to reach the management cluster, or the port is taken; a cluster that does not answer is waited for.
pub async fn run(config: args::Config, shutdown: Shutdown) -> Result<(), BeginError> {
    let args::Config { common, allow_addresses, allow_roles, allow_node_role } = config;
    let max_in_flight = common.max_in_flight;
    let begun = Begun::new(common).await?;
    tracing::info!(
        version = version(),
        server = %begun.server,
        origin = begun.rules.origin_prefix(),
        max_in_flight,
        "started"
    );
    let sources = begun.sources(&shutdown);
    let Begun { rules, seed, connection, leadership, health, metrics, status, .. } = begun;
    let clock = WallClock::system();
    let sdk = Arc::new(SdkAws::new(clock.clone(), allow_node_role));
    let aws = Arc::new(Counted::new(Arc::clone(&sdk) as _));
    let gauges = Arc::new(Gauges::default());
    metrics.add(Arc::clone(&aws) as _);
    metrics.add(Arc::clone(&gauges) as _);
    let aws = Arc::new(Bounded::new(aws, allow_roles));
    let eks = Eks::new(aws, clock, rules.cluster_name.as_deref().unwrap_or_default(), seed);
    let (addresses, leading) = (allow_addresses, leadership.leading());
    let sources_of_all = sources.clone();
    let (listed, seen) = watch::channel(false);
    health.needs("RemoteClusters", move || *seen.borrow());
    let looker = Looker::of(Arc::clone(&rules), connection.clone(), Arc::clone(&gauges), &leading);
    status.show(&rules, leading.clone(), &health, Arc::new(looker));
    let shared = Shared {
        rules,
        connection,
        sources: sources_of_all,
        addresses,
        eks,
        max_in_flight,
        leading,
        metrics,
        gauges,
        turns: Arc::new(Semaphore::new(TURNS)),
        listed,
        known: Known::default(),
        seed,
    };
    let shared = Arc::new(shared);
    // All that discovery does is to write.
    let discover = async {
        if shared.leading.is_dry() {
            tracing::info!("a dry run acts on no ClusterDiscovery: it tries the RemoteClusters that there are");
        } else {
            discovery::run(Arc::clone(&shared), shutdown.clone()).await;
        }
    };
    let introduce = async {
        tokio::select! {
            biased;
            () = shutdown.begun() => {}
            () = sdk.introduce() => {}
        }
    };
    tokio::join!(fleet::run(Arc::clone(&shared), shutdown.clone()), discover, introduce);
    sources.ended().await;
    leadership.end().await;
    tracing::info!("stopped");
    Ok(())
}
