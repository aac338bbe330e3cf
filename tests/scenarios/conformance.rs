//! A real API server answers as the simulated one of `sync-core` does.

#[path = "../conformance/cases.rs"]
mod cases;

use anyhow::{Result, anyhow};
use testbed::{Cluster, ClusterOptions};

#[tokio::test]
async fn conformance_of_the_simulated_api_server() -> Result<()> {
    // One of its own: in the end it is restarted.
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let forget = async || cluster.expire_watches().await.expect("the API server restarts");
    cases::run(&cluster.client(), "conformance", forget).await.map_err(|why| anyhow!(why))
}
