//! Promise 5: a cluster in trouble delays no other. Promise 4: who has nothing to do asks nothing.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use testbed::{Cluster, FaultProxy, Mode, eventually, shared};
use tokio::time::sleep;

use super::api;
use super::stage::{SOON, Stage, end};
use crate::agent::port::{asked_for_a_minute, only_renewals};
use crate::support::until_said;

const README: &str = include_str!("../../../README.md");

/// From the annotation of a new source to its copy: the median of five.
async fn delay(stage: &Stage<'_>, remote: &Cluster, prefix: &str) -> Result<Duration> {
    let client = remote.client();
    let mut delays = Vec::new();
    for n in 0..5 {
        let name = format!("{prefix}-{n}");
        api::create(stage.management, &api::secret(stage.name, ""), &api::opaque(&name, "x")).await?;
        let began = Instant::now();
        api::annotate(stage.management, &stage.path(&name), Some("yes")).await?;
        loop {
            let look = http::Request::get(stage.path(&name)).body(Vec::new())?;
            if client.request_text(look).await.is_ok() {
                break;
            }
            anyhow::ensure!(began.elapsed() < SOON, "{name} was never copied");
            sleep(Duration::from_millis(5)).await;
        }
        delays.push(began.elapsed());
    }
    delays.sort();
    delays.get(2).copied().context("five of them")
}

/// Where a RemoteCluster's copies belong.
fn place(name: &str) -> String {
    format!("m-isolation-{name}")
}

#[tokio::test]
async fn clusters_in_trouble_delay_no_other_and_nobody_asks_when_idle() -> Result<()> {
    let (management, a, b) = (shared("management").await?, shared("remote-a").await?, shared("remote-b").await?);
    let stage = Stage::new(&management, "m-isolation").await?;
    let (at_a, at_b) = (stage.prepare(&a).await?, stage.prepare(&b).await?);
    let master = stage.master(&["--leader-elect"]).await?;
    stage.join("healthy", &at_a).await?;
    let alone = delay(&stage, &a, "alone").await?;

    // Three that fail in their ways: from the beginning, and one in the middle of its work.
    let proxies = [FaultProxy::start(b.server_addr())?, FaultProxy::start(b.server_addr())?];
    let [refusing, silent] = &proxies;
    refusing.set(Mode::Refuse).await;
    let stuck = FaultProxy::start(b.server_addr())?;
    // One cluster, so each fills a namespace of its own.
    for name in ["refusing", "silent", "stuck"] {
        stage.prepare_also(&b, &place(name)).await?;
    }
    let by_stuck = at_b.clone().by_server(stuck.url()).to_yaml();
    stage.kubeconfig("stuck", &by_stuck).await?;
    stage.remote_cluster_in("stuck", &place("stuck")).await?;
    stage.is("stuck", "Connected").await;
    silent.set(Mode::BlackHole).await;
    for (name, proxy) in [("refusing", refusing), ("silent", silent)] {
        stage.kubeconfig(name, &at_b.clone().by_server(proxy.url()).to_yaml()).await?;
        stage.remote_cluster_in(name, &place(name)).await?;
    }
    // Once in three times: what else runs meanwhile is not the same.
    let mut copies = 5.0;
    for round in ["among", "among-2", "among-3"] {
        // Its open connection falls silent.
        stuck.set(Mode::BlackHole).await;
        let among = delay(&stage, &a, round).await?;
        copies += 5.0;
        println!("annotate to copy, median of 5: {alone:?} alone, {among:?} among clusters in trouble");
        if among < 2 * alone + Duration::from_secs(1) {
            break;
        }
        assert_ne!(round, "among-3", "{among:?}, and {alone:?} alone");
        stage.is("stuck", "Unreachable").await;
        stuck.set(Mode::Pass).await;
        stage.kubeconfig("stuck", &format!("{by_stuck}# {round}\n")).await?;
        stage.is("stuck", "Connected").await;
    }
    stage.is("refusing", "Unreachable").await;
    let message = stage.is("silent", "Unreachable").await;
    assert!(message.contains("no connection in time"), "{message}");
    // First its open requests get no answer, then it gets no new connection.
    stage.is("stuck", "Unreachable").await;

    // As deployed, there is a standby.
    let standby = stage.master(&["--leader-elect"]).await?;
    until_said(&standby, &["standing by"]).await;
    until_said(&standby, &["all lists have come"]).await;
    // Where each copy is stands in the status up to a few seconds after the copy itself.
    sleep(Duration::from_secs(6)).await;
    // Each goes on trying, and has nothing new to say.
    let (asked, asked_a) = (management.audit().mark().await?, a.audit().mark().await?);
    let samples = asked_for_a_minute(&master).await?;
    only_renewals(&management.audit().since(asked).await?.user(&stage.user()));
    let requests = a.audit().since(asked_a).await?.user(&stage.remote_user());
    assert_eq!(requests.count(), 0, "in the healthy cluster: {:#?}", requests.counts());
    let ready = |name, reason| format!("mw_sync_remote_cluster_ready{{reason=\"{reason}\",remote_cluster=\"{name}\"}}");
    for (sample, value) in [
        ("mw_sync_leader".to_owned(), 1.0),
        (ready("healthy", "Connected"), 1.0),
        (ready("silent", "Unreachable"), 0.0),
        ("mw_sync_agent_reporting{remote_cluster=\"healthy\",state=\"Absent\"}".to_owned(), 0.0),
        ("mw_sync_remote_cluster_copies{remote_cluster=\"healthy\",state=\"synced\"}".to_owned(), copies),
    ] {
        assert_eq!(samples.get(&sample), Some(&value), "{sample} in {samples:#?}");
    }
    for sample in samples.keys() {
        let family = sample.split('{').next().unwrap_or_default();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| family.strip_suffix(end)).unwrap_or(family);
        assert!(README.contains(&format!("| `{family}` |")), "README.md has no row for {family}");
    }

    let troubled = [("refusing", refusing), ("silent", silent), ("stuck", &stuck)];
    for (name, proxy) in troubled {
        proxy.set(Mode::Pass).await;
        // By now each waits for up to two minutes before it tries again. One does; a change of a Secret is acted on at once.
        if name != "stuck" {
            let again = at_b.clone().by_server(proxy.url()).to_yaml() + "# mended\n";
            stage.kubeconfig(name, &again).await?;
        }
    }
    for (name, _) in troubled {
        eventually(3 * SOON, format!("{name} is connected"), async || {
            let found = api::get(&management, &api::remote_cluster(stage.name, name)).await?.context("it is there")?;
            let ready = &found["status"]["conditions"][0];
            anyhow::ensure!(ready["reason"] == "Connected", "{ready}");
            Ok(())
        })
        .await;
        stage.copy_in(&b, &place(name), "alone-0").await;
        stage.copy_in(&b, &place(name), "among-4").await;
    }
    end(&master).await
}
