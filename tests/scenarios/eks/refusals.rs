//! Each way in which AWS or a cluster says no is a condition of its own that says what to do, and passes without a
//! restart when that is done.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testbed::{AccessEntry, Authority, AwsFault, FaultProxy, Role, eventually};

use super::stage::{EksStage, OWN_ACCOUNT, Site, Target, management};
use crate::master::api;
use crate::master::stage::SOON;

/// What is wrong with a target, by its name.
async fn spoil(stage: &EksStage<'_>, what: &str, target: &mut Target) -> Result<()> {
    let Target { eks, role, entry, .. } = target;
    match what {
        "no-trust" => role.trusts.clear(),
        "no-describe" => role.allows.clear(),
        "long-token" => role.token_length = 3300,
        "creating" | "deleting" | "failed" => eks.status = Some(what.to_uppercase()),
        "private" => {
            // A port that needs rights to listen on, and that nothing here has.
            eks.endpoint = Some("https://127.0.0.1:1".to_owned());
            eks.private = Some(true);
            eks.version = Some("1.33".to_owned());
        }
        "authority" => eks.authority = Some(Authority::new()?.pem().to_owned()),
        "metadata" => eks.endpoint = Some("https://169.254.169.254".to_owned()),
        "other" => eks.wrong_arn = Some(eks.arn().replace("r-other", "r-another")),
        "powerless" => entry.groups = vec!["nobody".to_owned()],
        "unmapped" => *entry = AccessEntry { role: "arn:aws:iam::000000000000:role/x".to_owned(), ..entry.clone() },
        "external-id" => role.external_id = Some("another".to_owned()),
        other => anyhow::bail!("nothing for {other}"),
    }
    stage.aws.cluster(&target.eks).await?;
    stage.aws.role(&target.role).await?;
    stage.let_in(target, 0).await
}

#[tokio::test]
async fn each_refusal_says_what_to_do_and_passes() -> Result<()> {
    let management = management().await?;
    let north = Site::north().await?;
    let stage = EksStage::new(&management, "e-refused").await?;
    let proxy = FaultProxy::start(north.server.server_addr())?;
    let us = format!("arn:aws:sts::{OWN_ACCOUNT}:assumed-role/e-refused/");
    let cases = [
        (
            "no-trust",
            "AssumeRoleDenied",
            vec!["let the trust policy of arn:aws:iam::111122223333:role/team/r-no-trust", &us],
        ),
        ("external-id", "AssumeRoleDenied", vec!["compare spec.eks.externalId"]),
        ("no-describe", "DescribeDenied", vec!["assumed-role/r-no-describe/", "allow eks:DescribeCluster"]),
        ("long-token", "TokenTooLong", vec!["clusters take no more than 4096"]),
        ("creating", "ClusterNotActive", vec!["the cluster is CREATING"]),
        ("deleting", "ClusterNotActive", vec!["the cluster is DELETING", "delete this RemoteCluster"]),
        ("failed", "ClusterNotActive", vec!["the cluster is FAILED"]),
        ("private", "Unreachable", vec!["its endpoint is private", "security group"]),
        ("authority", "CertificateMismatch", vec!["look for a proxy between that ends TLS"]),
        ("metadata", "AddressNotAllowed", vec!["--allow-addresses=169.254.169.254"]),
        ("other", "WrongCluster", vec!["cluster/r-another", "nothing is sent there"]),
        ("powerless", "Forbidden", vec![r#"cannot get resource "configmaps""#, "-f deploy/remote-access.yaml"]),
        (
            "unmapped",
            "Unauthorised",
            vec![
                "give arn:aws:iam::111122223333:role/team/r-unmapped",
                "aws-auth: arn:aws:iam::111122223333:role/r-unmapped)",
            ],
        ),
    ];
    let mut targets = Vec::new();
    for (what, ..) in &cases {
        let target = stage.target_named(&north, &format!("r-{what}")).await?;
        let mut spoilt = target.clone();
        if *what == "other" {
            spoilt.eks.endpoint = Some(proxy.url());
        }
        // What the RemoteCluster says stays right.
        stage.add(what, &target).await?;
        spoil(&stage, what, &mut spoilt).await?;
        targets.push(target);
    }
    // A cluster of another account, and we come as ourselves, who have one of that name.
    let mark = stage.aws.mark().await?;
    let mut same_name = targets.first().context("there are some")?.eks.clone();
    let foreign = same_name.arn();
    OWN_ACCOUNT.clone_into(&mut same_name.account);
    stage.aws.cluster(&same_name).await?;
    stage.add_eks("wrong-account", "r-no-trust", json!({ "arn": foreign })).await?;
    stage.source("one", "1").await?;
    let master = stage.master().await?;

    let message = stage.is("wrong-account", "ClusterNotFound").await;
    assert!(message.contains("is in account 111122223333: name a role of that account"), "{message}");
    for (what, reason, words) in &cases {
        let message = stage.is(what, reason).await;
        for words in words {
            assert!(message.contains(words), "{what}: {words} is not in {message}");
        }
    }
    let private = api::get(stage.management, &api::remote_cluster(stage.name, "private")).await?;
    assert_eq!(private.context("it is there")?["status"]["version"], "1.33", "AWS alone can say it");
    assert_eq!(proxy.accepted(), 0, "a token was sent to another cluster");
    let calls = stage.calls(mark).await?;
    let own = calls.iter().find(|call| call.operation == "DescribeCluster" && call.role == stage.own.arn);
    assert!(own.is_none(), "it looked at a namesake: {own:?}");

    for target in &mut targets {
        // As it was, but for what the stand-in keeps when nothing is said.
        target.eks.status = Some("ACTIVE".to_owned());
        target.eks.wrong_arn = Some(target.eks.arn());
        target.eks.private = Some(false);
        stage.aws.cluster(&target.eks).await?;
        stage.aws.role(&target.role).await?;
        stage.let_in(target, 0).await?;
    }
    for ((what, ..), target) in cases.iter().zip(&targets) {
        // The session is good but for its length, and the description but for the address: either is got anew after five
        // minutes at the earliest.
        if !["long-token", "metadata"].contains(what) {
            stage.is(what, "Connected").await;
            stage.copy(&north, target, "one", "1").await;
        }
    }
    stage.end(&master).await
}

/// The most frequent fault of Pod Identity: its sessions carry tags, and a trust policy without `sts:TagSession` refuses
/// them with words that name it.
#[tokio::test]
async fn pod_identity_works_and_a_trust_without_tag_session_is_named() -> Result<()> {
    let management = management().await?;
    let (north, south) = (Site::north().await?, Site::south().await?);
    let stage = EksStage::new(&management, "e-tags").await?;
    let (mut without, with) = (stage.target(&north).await?, stage.target(&south).await?);
    without.role.tag_session = false;
    stage.aws.role(&without.role).await?;
    stage.add("without", &without).await?;
    stage.add("with", &with).await?;
    let master = stage.master_in_pod(&stage.aws.pod_identity(&stage.own)?).await?;
    stage.is("with", "Connected").await;
    let message = stage.is("without", "AssumeRoleDenied").await;
    assert!(message.contains("is not authorized to perform: sts:TagSession"), "{message}");
    assert!(message.contains("and sts:TagSession too if that comes from Pod Identity"), "{message}");
    without.role.tag_session = true;
    stage.aws.role(&without.role).await?;
    stage.is("without", "Connected").await;
    stage.end(&master).await
}

#[tokio::test]
async fn without_credentials_of_our_own_that_is_said() -> Result<()> {
    let management = management().await?;
    let north = Site::north().await?;
    let stage = EksStage::new(&management, "e-nobody").await?;
    let target = stage.target(&north).await?;
    stage.add("north", &target).await?;
    let stranger = Role { service_account: Some("of another issuer".to_owned()), ..stage.own.clone() };
    let master = stage.master_in_pod(&[("AWS_ENDPOINT_URL".to_owned(), stage.aws.url())]).await?;
    let message = stage.is("north", "NoCredentials").await;
    assert!(message.contains("give ServiceAccount mw-sync-master a role"), "{message}");
    crate::master::stage::end(&master).await?;
    let master = stage.master_in_pod(&stage.aws.irsa(&stranger)?).await?;
    let words = "AWS STS refuses our ServiceAccount: The ID Token provided is not a valid JWT";
    eventually(SOON, words, async || {
        let ready = stage.ready("north").await?;
        ensure!(ready["message"].as_str().is_some_and(|message| message.contains(words)), "{ready}");
        Ok(())
    })
    .await;
    assert!(!master.stderr().contains("of another issuer"));
    // A file that is mended is read again.
    stage.aws.irsa(&stage.own)?;
    stage.is("north", "Connected").await;
    stage.end(&master).await
}

/// A little of it is the SDK's affair and shows nowhere; more is a condition. Sessions that we have go on.
pub(super) async fn throttling_is_waited_out() -> Result<()> {
    let management = management().await?;
    let north = Site::north().await?;
    let stage = EksStage::new(&management, "e-slow").await?;
    let (little, much) = (stage.target(&north).await?, stage.target_named(&north, "e-slow-much").await?);
    let few = |operation, of: &str, code| AwsFault { times: Some(2), ..AwsFault::new(operation, of, code, 429) };
    stage.aws.fault(&few("AssumeRole", &little.role.arn, "Throttling")).await?;
    stage.aws.fault(&few("DescribeCluster", &little.role.arn, "TooManyRequestsException")).await?;
    let sts = stage.aws.fault(&AwsFault::new("AssumeRole", much.role.arn.clone(), "Throttling", 400)).await?;
    stage.source("one", "1").await?;
    let master = stage.master().await?;
    stage.add("little", &little).await?;
    stage.add("much", &much).await?;
    stage.is("little", "Connected").await;
    let message = stage.is("much", "Throttled").await;
    assert!(message.contains("AWS STS asks to slow down; wait"), "{message}");
    let eks = AwsFault::new("DescribeCluster", much.role.arn.clone(), "TooManyRequestsException", 429);
    let eks = stage.aws.fault(&eks).await?;
    stage.aws.end_fault(sts).await?;
    eventually(SOON, "it is EKS now", async || {
        let ready = stage.ready("much").await?;
        ensure!(ready["message"].as_str().is_some_and(|message| message.contains("AWS EKS asks")), "{ready}");
        Ok(())
    })
    .await;
    stage.aws.end_fault(eks).await?;
    stage.is("much", "Connected").await;
    for target in [&little, &much] {
        stage.copy(&north, target, "one", "1").await;
    }
    // It did wait: three attempts of the SDK, and pauses that double.
    let calls = stage.aws.calls(testbed::CallMark::default()).await?;
    let tries = calls.iter().filter(|call| call.fault && call.target == much.role.arn).count();
    ensure!((3..=24).contains(&tries), "{tries} tries");
    stage.end(&master).await
}

/// Our clock is 20 minutes behind AWS's, or 10 before it: requests are dated anew, and so are tokens, which nobody but
/// the cluster's verifier would complain about.
pub(super) async fn a_clock_that_is_off_is_corrected() -> Result<()> {
    let management = management().await?;
    let north = Site::north().await?;
    for (name, ahead) in [("e-behind", 20 * 60), ("e-ahead", -10 * 60)] {
        let stage = EksStage::new(&management, name).await?;
        let mut target = stage.target(&north).await?;
        target.role.clock_ahead = ahead;
        stage.aws.role(&target.role).await?;
        stage.aws.role(&Role { clock_ahead: ahead, ..stage.own.clone() }).await?;
        stage.source("one", "1").await?;
        let master = stage.master().await?;
        stage.add("north", &target).await?;
        stage.is("north", "Connected").await;
        stage.copy(&north, &target, "one", "1").await;
        assert!(master.stderr().contains("the clock of this machine is off"), "{}", master.log_tail(40));
        stage.end(&master).await?;
    }
    Ok(())
}
