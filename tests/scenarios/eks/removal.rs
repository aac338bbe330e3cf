//! The end of a RemoteCluster with `onRemove: Delete` whose cluster is no longer there.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{AwsFault, FaultProxy, Mode, eventually};

use super::stage::{EksStage, Site, management};
use crate::master::api;
use crate::master::stage::SOON;

/// It waits for a cluster that cannot be reached, also while AWS says nothing of it, and no longer than until AWS says that
/// there is none.
pub(super) async fn a_cluster_that_is_gone_in_aws_keeps_no_remote_cluster_waiting() -> Result<()> {
    let management = management().await?;
    let site = Site::north().await?;
    let stage = EksStage::new(&management, "e-removal").await?;
    let mut target = stage.target(&site).await?;
    let proxy = FaultProxy::start(site.server.server_addr())?;
    target.eks.endpoint = Some(proxy.url());
    stage.aws.cluster(&target.eks).await?;
    stage.source("one", "1").await?;
    let master = stage.master().await?;
    stage.add("gone", &target).await?;
    stage.change("gone", json!({ "onRemove": "Delete" })).await?;
    stage.is("gone", "Connected").await;
    let copy = stage.copy(&site, &target, "one", "1").await;
    let path = api::remote_cluster("e-removal", "gone");
    let kept = |object: &Value| object["metadata"]["finalizers"] == json!(["mw-sync.io/remove-copies"]);
    let object = api::get(&management, &path).await?.context("it is there")?;
    assert!(kept(&object), "{object}");

    proxy.set(Mode::Refuse).await;
    let denied = AwsFault::new("DescribeCluster", "e-removal", "AccessDeniedException", 403);
    let denied = stage.aws.fault(&denied).await?;
    let mark = stage.aws.mark().await?;
    api::delete(&management, &path).await?;
    eventually(SOON, "AWS is asked and says nothing", async || {
        let calls = stage.calls(mark).await?;
        ensure!(calls.iter().any(|call| call.operation == "DescribeCluster" && call.fault), "{calls:?}");
        let object = api::get(&management, &path).await?.context("it has gone")?;
        let message = object["status"]["conditions"][0]["message"].as_str().unwrap_or_default();
        ensure!(kept(&object) && message.contains("mw-sync.io/abandon=yes"), "{object}");
        Ok(())
    })
    .await;

    stage.aws.end_fault(denied).await?;
    stage.aws.delete_cluster(&target.eks).await?;
    eventually(SOON, "the RemoteCluster has gone", async || {
        ensure!(api::get(&management, &path).await?.is_none(), "it is there");
        Ok(())
    })
    .await;
    assert!(master.stderr().contains("the cluster does not exist in AWS any more"), "{}", master.log_tail(30));
    // Whoever has the machines still has the copies: nobody could get there.
    assert_eq!(api::get(&site.server, &api::secret("e-removal", "one")).await?, Some(copy));
    stage.end(&master).await
}
