//! Where a cluster is may change, and who vouches for it.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use testbed::{Authority, AwsCall, AwsFault, FaultProxy, Mode, eventually};

use super::stage::{EksStage, Site, management};
use crate::master::api;
use crate::master::stage::SOON;
use crate::support::until_said;

/// EKS appends a second authority to the bundle, and later has the API server's certificate from that one. Who knows both
/// notices nothing; who knows the first one only asks AWS again. Either has to look at the whole bundle.
pub(super) async fn a_rotated_authority_is_found_and_one_that_is_announced_is_trusted() -> Result<()> {
    let management = management().await?;
    let stage = EksStage::new(&management, "e-rotation").await?;
    // Its own: it is restarted, as EKS does. A session of TLS that is resumed is not looked at again.
    let site = Site::own("eks-rotation", "111122223333", "eu-west-1").await?;
    let (mut knows, mut learns) = (stage.target(&site).await?, stage.target_named(&site, "e-rotation-late").await?);
    let (old, new) = (Authority::new()?, Authority::new()?);
    let both = format!("{}{}", old.pem(), new.pem());
    let rotate = async |to: &Authority| {
        site.server.stop_api_server().await?;
        site.server.serve_localhost_by(to)?;
        site.server.start_api_server().await
    };
    rotate(&old).await?;
    for (target, bundle) in [(&mut knows, both.as_str()), (&mut learns, old.pem())] {
        target.eks.endpoint = Some(site.server.server_url().replace("127.0.0.1", "localhost"));
        target.eks.authority = Some(bundle.to_owned());
        stage.aws.cluster(&target.eks).await?;
    }
    stage.source("one", "1").await?;
    let master = stage.master().await?;
    stage.add("knows", &knows).await?;
    stage.add("learns", &learns).await?;
    for (name, target) in [("knows", &knows), ("learns", &learns)] {
        stage.is(name, "Connected").await;
        stage.copy(&site, target, "one", "1").await;
    }

    rotate(&new).await?;
    // Before AWS says more.
    until_said(&master, &["cluster=\"learns\"", "CertificateMismatch"]).await;
    learns.eks.authority = Some(both);
    stage.aws.cluster(&learns.eks).await?;
    let mark = stage.aws.mark().await?;
    stage.set("one", "2").await?;
    stage.copy(&site, &knows, "one", "2").await;
    // AWS is asked twice a minute at most.
    eventually(SOON, "the new authority is known", async || {
        let calls = stage.calls(mark).await?;
        let described = |call: &AwsCall| call.operation == "DescribeCluster" && call.target == "e-rotation-late";
        ensure!(calls.iter().any(described), "{calls:?}");
        anyhow::Ok(())
    })
    .await;
    stage.copy(&site, &learns, "one", "2").await;
    for name in ["knows", "learns"] {
        stage.is(name, "Connected").await;
    }
    let log = master.stderr();
    let missed = |line: &&str| line.contains("cluster=\"knows\"") && line.contains("CertificateMismatch");
    assert_eq!(log.lines().find(missed), None);
    stage.end(&master).await
}

/// The old place is left before the new one is entered: no watch of before lives on, though it answers again.
pub(super) async fn a_cluster_that_moves_is_followed_and_left() -> Result<()> {
    let management = management().await?;
    let site = Site::north().await?;
    let stage = EksStage::new(&management, "e-moves").await?;
    let mut target = stage.target(&site).await?;
    let (old, new) = (FaultProxy::start(site.server.server_addr())?, FaultProxy::start(site.server.server_addr())?);
    target.eks.endpoint = Some(old.url());
    stage.aws.cluster(&target.eks).await?;
    stage.source("one", "1").await?;
    let master = stage.master().await?;
    stage.add("moves", &target).await?;
    stage.copy(&site, &target, "one", "1").await;
    let copy = api::get(&site.server, &api::secret("e-moves", "one")).await?.context("no copy")?;

    target.eks.endpoint = Some(new.url());
    stage.aws.cluster(&target.eks).await?;
    old.set(Mode::Refuse).await;
    eventually(SOON, "it comes by the new way", async || {
        ensure!(new.accepted() > 0, "not yet");
        Ok(())
    })
    .await;
    stage.is("moves", "Connected").await;
    let audit = site.server.audit().mark().await?;
    old.set(Mode::Pass).await;
    let accepted = old.accepted();
    stage.set("one", "2").await?;
    let after = stage.copy(&site, &target, "one", "2").await;
    assert_eq!((after["metadata"]["uid"].as_str(), old.accepted()), (copy["metadata"]["uid"].as_str(), accepted));
    let asked = site.server.audit().since(audit).await?.user(&target.user());
    assert_eq!((asked.writes().count(), old.open()), (1, 0), "two engines wrote");
    stage.end(&master).await
}

/// Gone in AWS is a condition and nothing else. What comes under the old name is another cluster.
pub(super) async fn a_cluster_that_is_deleted_and_made_anew_is_another_one() -> Result<()> {
    let management = management().await?;
    let (first, second) = (Site::north().await?, Site::south().await?);
    let stage = EksStage::new(&management, "e-anew").await?;
    let mut target = stage.target(&first).await?;
    let proxy = FaultProxy::start(first.server.server_addr())?;
    target.eks.endpoint = Some(proxy.url());
    target.eks.created = Some(1_700_000_000);
    stage.aws.cluster(&target.eks).await?;
    stage.source("one", "1").await?;
    let master = stage.master().await?;
    stage.add("anew", &target).await?;
    let copy = stage.copy(&first, &target, "one", "1").await;

    stage.aws.delete_cluster(&target.eks).await?;
    proxy.set(Mode::Refuse).await;
    let message = stage.is("anew", "ClusterNotFound").await;
    assert!(message.contains("there is no cluster e-anew in eu-west-1 of account 111122223333"), "{message}");

    // The same ARN, other machines.
    stage.target(&second).await?;
    let mut anew = target.clone();
    anew.server = second.name;
    anew.eks.endpoint = Some(second.server.server_url());
    anew.eks.authority = Some(second.server.ca_pem().to_owned());
    anew.eks.created = Some(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs().try_into()?);
    stage.let_in(&anew, 0).await?;
    stage.aws.cluster(&anew.eks).await?;
    stage.is("anew", "Connected").await;
    stage.set("one", "2").await?;
    stage.copy(&second, &anew, "one", "2").await;
    let status = api::get(&management, &api::remote_cluster("e-anew", "anew")).await?.context("it is there")?;
    let server = status["status"]["server"].as_str().unwrap_or_default().trim_end_matches('/');
    assert_eq!(server, second.server.server_url());
    // What was left behind is as it was.
    let left = api::get(&first.server, &api::secret("e-anew", "one")).await?;
    assert_eq!(left, Some(copy));
    stage.end(&master).await
}

/// Perhaps another cluster has its address now: AWS is asked at once, and not only when ten minutes are over.
pub(super) async fn a_cluster_that_lets_us_in_no_more_is_looked_up_at_once() -> Result<()> {
    let management = management().await?;
    let site = Site::north().await?;
    let stage = EksStage::new(&management, "e-locked").await?;
    let target = stage.target(&site).await?;
    stage.source("one", "1").await?;
    let master = stage.master().await?;
    stage.add("north", &target).await?;
    stage.copy(&site, &target, "one", "1").await;
    stage.is("north", "Connected").await;
    let mark = stage.aws.mark().await?;
    stage.let_nobody_in(&target).await?;
    // The API server keeps what the webhook has said for a second.
    let mut value = 1;
    eventually(SOON, "it says that nobody lets it in", async || {
        value += 1;
        stage.set("one", &value.to_string()).await?;
        let ready = stage.ready("north").await?;
        ensure!(ready["reason"] == "Unauthorised", "{ready}");
        Ok(())
    })
    .await;
    eventually(SOON, "AWS is asked where it is", async || {
        let calls = stage.calls(mark).await?;
        ensure!(calls.iter().any(|call| call.operation == "DescribeCluster"), "{calls:?}");
        Ok(())
    })
    .await;
    stage.let_in(&target, 0).await?;
    eventually(SOON * 3, "it is let in again: AWS is asked every 30 s at most, and the pause is doubled", async || {
        let ready = stage.ready("north").await?;
        ensure!(ready["reason"] == "Connected", "{ready}");
        Ok(())
    })
    .await;
    stage.copy(&site, &target, "one", &value.to_string()).await;
    stage.end(&master).await
}

/// Neither a region that hangs nor a cluster that hangs costs another one anything.
pub(super) async fn one_dead_cluster_delays_no_other() -> Result<()> {
    let management = management().await?;
    let (dead, alive) = (Site::north().await?, Site::south().await?);
    let stage = EksStage::new(&management, "e-dead").await?;
    let (mut hangs, well) = (stage.target(&dead).await?, stage.target(&alive).await?);
    let silent = stage.target_named(&dead, "e-dead-silent").await?;
    let proxy = FaultProxy::start(dead.server.server_addr())?;
    hangs.eks.endpoint = Some(proxy.url());
    stage.aws.cluster(&hangs.eks).await?;
    // So long that it lasts to the end.
    let hang = AwsFault { delay: 600.0, ..AwsFault::new("AssumeRole", silent.role.arn.clone(), "", 200) };
    let hang = stage.aws.fault(&hang).await?;
    let master = stage.master().await?;
    stage.add("silent", &silent).await?;
    stage.add("hangs", &hangs).await?;
    stage.is("hangs", "Connected").await;
    proxy.set(Mode::BlackHole).await;
    stage.add("well", &well).await?;
    stage.is("well", "Connected").await;
    let mut delays = Vec::new();
    for n in 0..5 {
        let began = Instant::now();
        stage.source(&format!("s-{n}"), "x").await?;
        stage.copy(&alive, &well, &format!("s-{n}"), "x").await;
        delays.push(began.elapsed());
    }
    delays.sort();
    // Of what the dead ones wait for, the shortest is 5 s.
    ensure!(delays[2] < Duration::from_secs(5), "copies took {delays:?}");
    ensure!(stage.ready("silent").await?["reason"] != "Connected", "it was to hang");
    stage.is("silent", "AwsUnreachable").await;

    stage.aws.end_fault(hang).await?;
    proxy.set(Mode::Pass).await;
    for (name, target) in [("hangs", &hangs), ("silent", &silent)] {
        stage.copy(&dead, target, "s-4", "x").await;
        stage.is(name, "Connected").await;
    }
    stage.end(&master).await
}
