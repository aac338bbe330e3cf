//! `/livez`, `/readyz` and `/metrics` of a real agent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use sync_core::lease::RENEW;
use testbed::{Binaries, Cluster, ClusterOptions, Entry, Process, Requests, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Kind, SOON, World, annotated, install, spawn};

/// Where it listens, as its log says.
pub(crate) async fn address(agent: &Process) -> SocketAddr {
    port(agent, "/metrics").await
}

/// The same of the port that is for this.
pub(crate) async fn port(process: &Process, what: &str) -> SocketAddr {
    eventually(SOON, "it listens", async || {
        let log = process.stderr();
        let line = log.lines().find(|line| line.contains("listening") && line.contains(what)).unwrap_or_default();
        let said = line.split_once("address=").and_then(|(_, text)| text.split_whitespace().next());
        Ok::<_, anyhow::Error>(said.with_context(|| log.clone())?.parse()?)
    })
    .await
}

async fn stop(agent: Process) -> Result<()> {
    agent.terminate();
    ensure!(agent.wait_exit(SOON).await?.success());
    Ok(())
}

/// Status and body.
pub(crate) async fn fetch(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let status = head.split_whitespace().nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// A minute in which kubelet and Prometheus ask it as they do; returns the samples that the latter was given last.
pub(crate) async fn asked_for_a_minute(process: &Process) -> Result<BTreeMap<String, f64>> {
    let (address, mut page) = (address(process).await, String::new());
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        for path in ["/livez", "/readyz", "/metrics"] {
            let (status, body) = fetch(address, path).await?;
            ensure!(status == 200, "{path}: {status} {body}");
            page = body;
        }
    }
    samples(&page)
}

/// Whether that is a renewal of a Lease.
pub(crate) fn is_renewal(entry: &Entry) -> bool {
    entry.resource == "leases" && entry.verb == "patch"
}

/// That two which share a Lease have renewed it every 5 s of a minute, and that is all. A renewal that was not answered in
/// time is sent again, refused if the first one was done, and then the Lease is looked at.
pub(crate) fn only_renewals(requests: &Requests) {
    let (renewals, others): (Vec<_>, Vec<_>) = requests.each().partition(|entry| is_renewal(entry));
    let [first, .., last] = &renewals[..] else { panic!("{:#?}", requests.counts()) };
    let refused = renewals.iter().filter(|entry| entry.code != 200).count();
    let looks = others.iter().filter(|entry| entry.resource == "leases" && entry.verb == "get").count();
    assert!(looks == others.len() && looks <= refused, "{:#?}", requests.counts());
    // One begins the first pause, and a pause may be a little short.
    let most = 2.0 + last.seconds_after(first) / RENEW.as_secs_f64();
    let heard = f64::from(u32::try_from(renewals.len() - refused).expect("a few"));
    assert!((10.0..=most).contains(&heard), "{:#?}", requests.counts());
}

/// The samples of a page, each by its name with labels; fails if the page is no OpenMetrics.
pub(crate) fn samples(page: &str) -> Result<BTreeMap<String, f64>> {
    let lines = page.strip_suffix("# EOF\n").context("no end")?.lines();
    let (mut samples, mut families) = (BTreeMap::new(), BTreeMap::new());
    let mut present: Option<(&str, &str)> = None;
    for line in lines {
        if let Some(text) = line.strip_prefix("# TYPE ") {
            let (name, of) = text.split_once(' ').context("no type")?;
            ensure!(families.insert(name, of).is_none(), "{name} comes twice");
            present = Some((name, of));
        } else if let Some(text) = line.strip_prefix("# UNIT ").or_else(|| line.strip_prefix("# HELP ")) {
            let name = text.split(' ').next().unwrap_or_default();
            ensure!(present.is_some_and(|(present, _)| present == name), "{line} is out of place");
            let unit = line.strip_prefix("# UNIT ").and_then(|text| text.split_once(' '));
            ensure!(unit.is_none_or(|(name, unit)| name.ends_with(&format!("_{unit}"))), "{line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').context("no value")?;
            let name = sample.split('{').next().unwrap_or_default();
            let (family, of) = present.context("a sample without a type")?;
            let suffixes: &[&str] = match of {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_count", "_sum"],
                "info" => &["_info"],
                other => anyhow::bail!("{other} is no type"),
            };
            let fits = suffixes.iter().any(|suffix| name.strip_suffix(suffix) == Some(family));
            ensure!(fits, "{line} is none of {family}, a {of}");
            let labels = sample.strip_prefix(name).unwrap_or_default();
            ensure!(labels.is_empty() || (labels.starts_with('{') && labels.ends_with("\"}")), "{line}");
            ensure!(!labels.contains("namespace=\"n-"), "a namespace is a label: {line}");
            ensure!(samples.insert(sample.to_owned(), value.parse()?).is_none(), "{line} comes twice");
        }
    }
    Ok(samples)
}

/// Promise 10: what is told is true, before and after a fan-out.
#[tokio::test]
async fn metrics_are_well_formed_and_true_after_a_fan_out() -> Result<()> {
    const NAMESPACES: u32 = 40;
    let cluster = Cluster::start(ClusterOptions::default().without_controller_manager()).await?;
    let world = World::of(&cluster);
    for n in 0..NAMESPACES {
        world.namespace(&format!("n-{n:02}")).await?;
    }
    let agent = spawn(&install(&cluster).await?, &["--max-in-flight=16"]).await?;
    let address = address(&agent).await;
    eventually(SOON, "it is ready", async || {
        let (status, body) = fetch(address, "/readyz").await?;
        ensure!(status == 200, "{body}");
        Ok(())
    })
    .await;
    assert_eq!(fetch(address, "/livez").await?, (200, "ok\n".to_owned()));
    assert_eq!(fetch(address, "/").await?.0, 404);
    let read = async || samples(&fetch(address, "/metrics").await?.1);
    let value = |samples: &BTreeMap<String, f64>, sample: &str| samples.get(sample).copied();
    let before = read().await?;
    assert_eq!(value(&before, "mw_sync_leader"), Some(1.0), "{before:#?}");
    assert_eq!(value(&before, "mw_sync_in_flight_limit"), Some(16.0));
    assert_eq!(value(&before, "mw_sync_fanout_seconds_count"), Some(0.0));
    let build = format!("mw_sync_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(value(&before, &build), Some(1.0), "{before:#?}");

    // One place has something of that name, which is not ours.
    let theirs = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "regcred", "namespace": "n-07"}});
    world.create(&theirs).await?;
    world.create(&annotated(Kind::Secret, "regcred", &json!({"a": "MQ=="}))).await?;
    let places = f64::from(NAMESPACES + 4 - 1);
    let copies = |state: &str| format!("mw_sync_copies{{kind=\"Secret\",source=\"regcred\",state=\"{state}\"}}");
    let after = eventually(SOON, "all copies are told of", async || {
        let now = read().await?;
        let done = value(&now, &copies("synced")) == Some(places) && value(&now, &copies("pending")) == Some(0.0);
        ensure!(done && value(&now, "mw_sync_fanout_seconds_count") == Some(1.0), "{now:#?}");
        anyhow::Ok(now)
    })
    .await;
    assert_eq!(value(&after, &copies("refused")), Some(1.0));
    assert_eq!(value(&after, "mw_sync_refused{reason=\"ForeignObject\"}"), Some(1.0), "{after:#?}");
    let writes =
        |outcome: &str| format!("mw_sync_writes_total{{action=\"create\",kind=\"Secret\",outcome=\"{outcome}\"}}");
    assert_eq!(value(&after, &writes("done")), Some(places));
    assert_eq!(value(&after, &writes("AlreadyExists")), Some(1.0));
    // One, and another where the watch on its name was slow to come.
    let looks = value(&after, "mw_sync_looks_total{kind=\"Secret\",outcome=\"done\"}");
    assert!(looks.is_some_and(|looks| (1.0..=2.0).contains(&looks)), "{looks:?}");
    assert_eq!(value(&after, "mw_sync_in_flight"), Some(0.0));
    for watch in ["sources/secrets", "sources/configmaps", "sources/namespace", "copies/secrets", "namespaces"] {
        let age = value(&after, &format!("mw_sync_watch_age_seconds{{watch=\"{watch}\"}}"));
        assert!(age.is_some_and(|age| age < 120.0), "{watch}: {age:?}");
    }

    world.namespace("n-new").await?;
    world.until_there(Kind::Secret, "n-new", "regcred").await;
    eventually(SOON, "the first copy in a new namespace is told of", async || {
        let now = read().await?;
        ensure!(value(&now, "mw_sync_new_namespace_seconds_count") == Some(1.0), "{now:#?}");
        Ok(())
    })
    .await;
    stop(agent).await?;
    cluster.stop().await;
    Ok(())
}

/// A process that knows nothing yet is alive, and not ready.
#[tokio::test]
async fn it_is_ready_when_its_lists_have_come_and_not_before() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default().without_controller_manager()).await?;
    let kubeconfig = install(&cluster).await?;
    cluster.stop_api_server().await?;
    let agent = spawn(&kubeconfig, &[]).await?;
    let address = address(&agent).await;
    assert_eq!(fetch(address, "/livez").await?.0, 200);
    let (status, body) = fetch(address, "/readyz").await?;
    assert_eq!((status, body.as_str()), (503, "still to come: sources, namespaces and copies\n"));
    samples(&fetch(address, "/metrics").await?.1)?;
    cluster.start_api_server().await?;
    eventually(SOON, "it is ready", async || {
        let (status, body) = fetch(address, "/readyz").await?;
        ensure!(status == 200, "{body}");
        Ok(())
    })
    .await;

    // The port is taken: another one says so and ends.
    let taken = format!("--listen={address}");
    let program = Binaries::build().await?.agent();
    let other = Process::spawn(program, [&taken], [("KUBECONFIG", &kubeconfig)])?;
    let status = other.wait_exit(Duration::from_secs(30)).await?;
    let log = other.stderr();
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains(&format!("--listen {address}: another program listens there")), "{log}");
    stop(agent).await?;
    cluster.stop().await;
    Ok(())
}
