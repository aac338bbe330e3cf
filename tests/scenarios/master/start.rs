//! What may be missing when the master starts.

use anyhow::{Result, ensure};
use testbed::{Cluster, ClusterOptions, Process, eventually, shared};

use super::stage::{SOON, Stage, apply, end};

/// Waits until a line of the master's log has all of these words.
async fn says(master: &Process, words: &[&str]) {
    eventually(SOON, format!("the master says {words:?}"), async || {
        let said = master.stdout() + &master.stderr();
        ensure!(said.lines().any(|line| words.iter().all(|words| line.contains(words))), "{said}");
        ensure!(master.is_running(), "it has ended");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_missing_definition_is_said_and_waited_for() -> Result<()> {
    // Its own: the definition counts for the whole cluster.
    let management = Cluster::start(ClusterOptions::default()).await?;
    let remote = shared("remote-a").await?;
    let stage = Stage::without_crd(&management, "m-start").await?;
    let access = stage.prepare(&remote).await?;
    let master = stage.master(&[]).await?;
    says(&master, &["kubectl apply -f deploy/crds.yaml"]).await;
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

/// Promises 3 and 10.
#[tokio::test]
async fn missing_rights_in_the_management_cluster_are_named_and_waited_for() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, "m-rights").await?;
    let access = stage.prepare(&remote).await?;
    management.kubectl(&["-n", "m-rights", "delete", "rolebinding", "--all"]).await?;
    stage.kubeconfig("a", &access.to_yaml()).await?;
    stage.remote_cluster("a").await?;
    stage.source("early", "1").await?;
    eventually(SOON, "the rights are gone", async || {
        let ask = ["-n", "m-rights", "auth", "can-i", "list", "secrets", &format!("--as={}", stage.user())];
        // The command fails where the answer is no.
        let answer = management.kubectl(&ask).await.unwrap_or_else(|error| error.to_string());
        ensure!(answer.trim_end().ends_with("no"), "{answer}");
        Ok(())
    })
    .await;
    let master = stage.master(&[]).await?;
    for resource in ["secrets", "configmaps", "remoteclusters"] {
        let cannot = format!("cannot watch resource \"{resource}\"");
        says(&master, &["WARN", "Forbidden", &cannot, "deploy/"]).await;
    }
    apply(&management, "master.yaml", "m-rights").await?;
    stage.is("a", "Connected").await;
    stage.copy_is(&remote, "early", |_| true).await;
    end(&master).await
}
