//! Clusters of one name in several accounts, and several ClusterDiscoveries that find one cluster.

use anyhow::{Result, ensure};
use serde_json::json;

use super::stage::{EksStage, Site, management};
use crate::master::api;

pub(super) async fn clusters_of_one_name_in_two_accounts_are_two_and_one_found_twice_is_one() -> Result<()> {
    let management = management().await?;
    // Accounts that no other scenario lists.
    let north = Site { account: "222200000005", ..Site::north().await? };
    let south = Site { account: "222200000006", ..Site::south().await? };
    let stage = EksStage::new(&management, "e-names").await?;
    let (first, second) = (stage.target(&north).await?, stage.target(&south).await?);
    ensure!(first.eks.name == second.eks.name);
    stage.source("one", "1").await?;
    let master = stage.master().await?;
    let of_first = stage.account_of(&first.role, &[north.region]);
    stage.discovery("first", &of_first).await?;
    stage.discovery("second", &stage.account_of(&second.role, &[south.region])).await?;
    for name in ["first", "second"] {
        stage.discovers(name, "Listed", 1).await;
    }
    let [one, two] = [&first, &second].map(|at| format!("e-names-{}-{}", at.eks.region, at.eks.account));
    stage.clusters_are(&[&one, &two]).await;
    for name in [&one, &two] {
        stage.is(name, "Connected").await;
    }
    stage.copy(&north, &first, "one", "1").await;
    stage.copy(&south, &second, "one", "1").await;

    // Whoever finds a cluster that another one keeps leaves it alone, and says whose it is.
    let before = stage.all_clusters().await?;
    stage.discovery("again", &of_first).await?;
    let message = stage.discovers("again", "NameTaken", 1).await;
    ensure!(message.contains(&format!("RemoteCluster {one} is kept by ClusterDiscovery first")), "{message}");
    let after = stage.all_clusters().await?;
    ensure!(before[&one]["metadata"]["uid"] == after[&one]["metadata"]["uid"], "it was made anew");
    // The way out that the message names: a label.
    api::delete(&management, &api::discovery(stage.name, "first")).await?;
    stage.relabel(&one, json!({ "mw-sync.io/discovered-by": "again" })).await?;
    stage.look("again").await?;
    stage.discovers("again", "Listed", 1).await;
    stage.set("one", "2").await?;
    stage.copy(&north, &first, "one", "2").await;
    stage.end(&master).await
}
