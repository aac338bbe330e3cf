//! What may be missing when the master starts.

use anyhow::{Result, ensure};
use testbed::{Cluster, ClusterOptions, eventually, shared};

use super::stage::{SOON, Stage, end};

#[tokio::test]
async fn a_missing_definition_is_said_and_waited_for() -> Result<()> {
    // Its own: the definition counts for the whole cluster.
    let management = Cluster::start(ClusterOptions::default()).await?;
    let remote = shared("remote-a").await?;
    let stage = Stage::without_crd(&management, "m-start").await?;
    let access = stage.prepare(&remote).await?;
    let master = stage.master(&[]).await?;
    eventually(SOON, "it says what to do", async || {
        let said = master.stdout() + &master.stderr();
        ensure!(said.contains("kubectl apply -f deploy/crds.yaml"), "{said}");
        Ok(())
    })
    .await;
    // Sources can be known before there is a cluster to copy them to.
    stage.source("early", "1").await?;
    management.kubectl(&["apply", "-f", "deploy/crds.yaml"]).await?;
    management.kubectl(&["wait", "--for=condition=Established", "crd/remoteclusters.mw-sync.io"]).await?;
    stage.join("a", &access).await?;
    stage.copy_is(&remote, "early", |_| true).await;
    end(&master).await?;
    management.stop().await;
    Ok(())
}
