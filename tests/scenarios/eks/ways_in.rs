//! Credentials of our own from wherever AWS's chain finds them, and clusters that need no other role.

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::{Authority, ConnectProxy, FaultProxy, eventually};

use super::stage::{EksStage, OWN_ACCOUNT, Site, Target, entry, management};
use crate::master::stage::{SOON, end};

/// An EKS cluster of our own account, which lets our own role in.
async fn own_cluster(stage: &EksStage<'_>, site: &Site) -> Result<Target> {
    let mut target = stage.target_named(site, &format!("{}-own", stage.name)).await?;
    target.entry = entry(OWN_ACCOUNT, stage.name, &target.eks.name);
    stage.let_in(&target, 0).await?;
    Ok(target)
}

/// An environment in which these stand too, or instead.
fn with<const N: usize>(env: &[(String, String)], said: [(&str, String); N]) -> Vec<(String, String)> {
    let is_other = |(name, _): &&(String, String)| said.iter().all(|(said, _)| said != name);
    let mut all: Vec<_> = env.iter().filter(is_other).cloned().collect();
    all.extend(said.map(|(name, value)| (name.to_owned(), value)));
    all
}

#[tokio::test]
async fn keys_of_the_environment_and_of_a_profile_and_a_cluster_without_a_role() -> Result<()> {
    let management = management().await?;
    let north = Site::north().await?;
    let ours = Site { account: OWN_ACCOUNT, ..Site::north().await? };
    let stage = EksStage::new(&management, "e-ways").await?;
    let (by_role, direct) = (stage.target(&north).await?, own_cluster(&stage, &ours).await?);
    stage.source("one", "1").await?;
    stage.add("by-role", &by_role).await?;
    stage.add_eks("direct", &direct.eks.name, json!({ "arn": direct.eks.arn() })).await?;
    let well = async |value: &str| {
        for (name, target) in [("by-role", &by_role), ("direct", &direct)] {
            stage.is(name, "Connected").await;
            stage.copy(&north, target, "one", value).await;
        }
    };

    let mark = north.server.audit().mark().await?;
    let keys = stage.aws.keys(&stage.own).await?;
    let master = stage.master_in_pod(&keys).await?;
    well("1").await;
    let writes = north.server.audit().since(mark).await?.namespace(&direct.eks.name).writes();
    let user = format!("arn:aws:sts::{OWN_ACCOUNT}:assumed-role/e-ways/person");
    ensure!(writes.user(&user).count() > 0, "nothing was written as {user}");
    stage.end(&master).await?;

    // The same keys in a file, under a name.
    let is_key = |(name, _): &(String, String)| name.contains("_KEY") || name.contains("_TOKEN");
    let keys = keys.into_iter().filter(is_key);
    let lines: String = keys.map(|(name, key)| format!("{} = {key}\n", name.to_lowercase())).collect();
    let file = north.server.dir().join("e-ways.credentials");
    std::fs::write(&file, format!("[fleet]\n{lines}"))?;
    let profile = [("AWS_PROFILE", "fleet".to_owned()), ("AWS_SHARED_CREDENTIALS_FILE", file.display().to_string())];
    let master = stage.master_in_pod(&with(&stage.aws.environment(), profile)).await?;
    stage.set("one", "2").await?;
    well("2").await;
    stage.end(&master).await
}

/// A node's role is that of every pod on it, so that it is taken only if somebody says so.
#[tokio::test]
async fn the_role_of_the_node_is_asked_for_only_if_that_is_allowed() -> Result<()> {
    let management = management().await?;
    let north = Site::north().await?;
    let stage = EksStage::new(&management, "e-node").await?;
    let target = stage.target(&north).await?;
    stage.add("north", &target).await?;
    // The node's service has no role there, which is enough to see whether it is asked.
    let node = FaultProxy::start(stage.aws.addr())?;
    let at = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", node.url().replace("https:", "http:"));
    let env = with(&stage.aws.environment(), [at]);
    let master = stage.master_in_pod(&env).await?;
    stage.is("north", "NoCredentials").await;
    ensure!(node.accepted() == 0, "the node was asked");
    end(&master).await?;
    let master = stage.stage.master_in(&["--allow-node-role"], &env).await?;
    eventually(SOON, "the node is asked", async || {
        ensure!(node.accepted() > 0, "not yet");
        Ok(())
    })
    .await;
    end(&master).await
}

/// What stands at the end of the tunnel is nobody that AWS's authorities vouch for, which is said too.
#[tokio::test]
async fn aws_is_asked_through_the_proxy_that_the_environment_names() -> Result<()> {
    let management = management().await?;
    let north = Site::north().await?;
    let stage = EksStage::new(&management, "e-proxy").await?;
    let target = stage.target(&north).await?;
    stage.add("north", &target).await?;
    let (cert, key) = Authority::new()?.server(&["127.0.0.1"])?;
    let endpoint = stage.aws.nonsense((&cert, &key), 200, "{}").await?;
    let proxy = ConnectProxy::start().await?;
    let keys = stage.aws.keys(&stage.own).await?;
    let env = with(&keys, [("AWS_ENDPOINT_URL", endpoint.clone()), ("HTTPS_PROXY", proxy.url())]);
    let master = stage.master_in_pod(&env).await?;
    let message = stage.is("north", "AwsUnreachable").await;
    ensure!(message.contains("proxies (HTTPS_PROXY, NO_PROXY)"), "{message}");
    let host = endpoint.trim_start_matches("https://").to_owned();
    ensure!(proxy.asked().contains(&host), "{host} is not in {:?}", proxy.asked());
    end(&master).await?;

    // By NO_PROXY it goes there itself.
    let unused = ConnectProxy::start().await?;
    let env = with(&env, [("HTTPS_PROXY", unused.url()), ("NO_PROXY", "127.0.0.1".to_owned())]);
    let master = stage.master_in_pod(&env).await?;
    eventually(SOON, "it has tried again", async || {
        ensure!(master.stderr().contains("AwsUnreachable"), "not yet");
        Ok(())
    })
    .await;
    ensure!(!unused.asked().contains(&host), "NO_PROXY is not heeded");
    end(&master).await
}
