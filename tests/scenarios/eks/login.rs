//! The way in, from the pod's own role to a copy in another account.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testbed::eventually;

use super::stage::{EksStage, Site, Target, management};
use crate::master::api;
use crate::master::stage::SOON;

#[tokio::test]
async fn two_accounts_and_regions_by_roles_and_not_one_call_too_many() -> Result<()> {
    let management = management().await?;
    let (north, south) = (Site::north().await?, Site::south().await?);
    let stage = EksStage::new(&management, "e-login").await?;
    let targets = [stage.target(&north).await?, stage.target(&south).await?];
    let mark = stage.aws.mark().await?;
    stage.source("one", "1").await?;
    let master = stage.master().await?;
    // Before it has anything to do there (README, step 5).
    eventually(SOON, "it says as whom it has logged in", async || {
        let log = master.stderr();
        let line = log.lines().find(|line| line.contains("logged in to AWS")).context("not yet")?;
        let role = stage.own.arn.rsplit('/').next().unwrap_or_default();
        ensure!(line.contains(&format!(":assumed-role/{role}/")), "{line}");
        Ok(())
    })
    .await;
    for (site, target) in [&north, &south].into_iter().zip(&targets) {
        stage.add(site.name, target).await?;
    }
    for site in [&north, &south] {
        stage.is(site.name, "Connected").await;
    }
    for (site, target) in [&north, &south].into_iter().zip(&targets) {
        stage.copy(site, target, "one", "1").await;
    }
    stage.set("one", "2").await?;
    for (site, target) in [&north, &south].into_iter().zip(&targets) {
        stage.copy(site, target, "one", "2").await;
        let status = api::get(&management, &api::remote_cluster("e-login", site.name)).await?.unwrap_or_default();
        assert_eq!(
            status["status"]["server"].as_str().unwrap_or_default().trim_end_matches('/'),
            site.server.server_url()
        );
        token_is_right(&stage, site, target).await?;
    }

    // Who we are, and for each cluster one session and one description, in its own region, with its own role.
    let calls = stage.needed_calls(mark, &master).await?;
    let mut seen: Vec<_> = calls
        .iter()
        .filter(|call| call.operation != "PresignedGetCallerIdentity")
        .map(|call| (call.operation.as_str(), call.region.as_str(), call.target.as_str(), call.status))
        .collect();
    seen.sort_unstable();
    let [at_north, at_south] = &targets;
    // In the pod's region.
    let asked = seen.iter().position(|call| call.0 == "GetCallerIdentity").context("nobody asked")?;
    assert!(matches!(seen.remove(asked), (_, "eu-central-1", "", 200)));
    assert_eq!(
        seen,
        [
            ("AssumeRole", "eu-west-1", at_north.role.arn.as_str(), 200),
            ("AssumeRole", "us-east-1", at_south.role.arn.as_str(), 200),
            ("AssumeRoleWithWebIdentity", "", stage.own.arn.as_str(), 200),
            ("DescribeCluster", "eu-west-1", "e-login", 200),
            ("DescribeCluster", "us-east-1", "e-login", 200),
        ]
    );
    stage.end(&master).await
}

/// The master's tokens are for their cluster, by the STS of its region, and have two signed headers.
async fn token_is_right(stage: &EksStage<'_>, site: &Site, target: &Target) -> Result<()> {
    let reviews = stage.aws.reviews(site.name).await?;
    let ours: Vec<_> = reviews.iter().filter(|review| review.arn == target.user()).collect();
    ensure!(!ours.is_empty(), "{reviews:?}");
    for review in ours {
        assert_eq!(
            (review.cluster.as_str(), review.signed_headers.as_str(), review.error.as_str(), review.host.as_str()),
            (target.eks.name.as_str(), "host;x-k8s-aws-id", "", &*format!("sts.{}.amazonaws.com", site.region))
        );
    }
    Ok(())
}

/// The cluster's side refuses what tools have got wrong, so that a scenario here would fail if we did too.
#[tokio::test]
async fn the_verifier_refuses_tokens_that_are_not_as_ours() -> Result<()> {
    let management = management().await?;
    let north = Site::north().await?;
    let stage = EksStage::new(&management, "e-tokens").await?;
    let target = stage.target(&north).await?;
    let master = stage.master().await?;
    stage.add("north", &target).await?;
    stage.is("north", "Connected").await;

    let me = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let whoami = async |changes, cluster: &_| -> Result<String> {
        let token = stage.aws.token(&target.role.arn, cluster, changes).await?;
        let kubeconfig = north.server.kubeconfig_with_token("e-tokens", &token)?;
        let args = ["create", "--raw=/apis/authentication.k8s.io/v1/selfsubjectreviews", "-f", "-"];
        let file = north.server.dir().join("e-tokens.json");
        std::fs::write(&file, me.to_string())?;
        let args = args.map(|arg| if arg == "-" { file.display().to_string() } else { arg.to_owned() });
        north.server.kubectl_as(&kubeconfig, &args.each_ref().map(String::as_str)).await
    };
    let user = whoami(json!({}), &target.eks).await?;
    ensure!(user.contains(&target.user()) && user.contains("mw-sync-master-e-tokens"), "{user}");
    // 14 minutes old, and 4 in the future.
    for seconds in [-14 * 60, 4 * 60] {
        whoami(json!({ "seconds": seconds }), &target.eks).await?;
    }
    let mut other = target.eks.clone();
    "another".clone_into(&mut other.name);
    for (what, changes, cluster) in [
        ("one more signed header", json!({ "headers": { "amz-sdk-request": "attempt=1" } }), &target.eks),
        ("another cluster", json!({}), &other),
        ("16 minutes old", json!({ "seconds": -16 * 60 }), &target.eks),
        ("6 minutes in the future", json!({ "seconds": 6 * 60 }), &target.eks),
        ("a host that is not STS", json!({ "host": "sts.example.com" }), &target.eks),
    ] {
        let refused = whoami(changes, cluster).await.err().map(|error| error.to_string()).unwrap_or_default();
        // What EKS says to all of these.
        ensure!(refused.contains("Unauthorized"), "{what}: {refused}");
    }
    stage.end(&master).await
}
