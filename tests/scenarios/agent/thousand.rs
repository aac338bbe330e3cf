//! A thousand namespaces: what a fan-out costs, and what interrupts it.

use anyhow::Result;
use serde_json::json;
use testbed::{Requests, eventually};

use crate::support::{AGENT, Kind, SOON, Thousand, annotated, spawn, thousand, version};

/// What the agent asked for about copies; its watches and lists not included.
fn about_copies(requests: &Requests) -> Requests {
    requests.clone().user(AGENT).resource("secrets").filter(|entry| !matches!(&*entry.verb, "list" | "watch"))
}

/// Promise 4: one write per copy, no read before it, and a restart writes nothing and lists once.
#[tokio::test]
async fn a_change_is_one_write_per_copy_and_a_restart_is_none() -> Result<()> {
    let all = thousand().await?;
    let (cluster, world) = (all.cluster, &all.world);
    let agent = spawn(&all.kubeconfig, &[]).await?;
    let mark = cluster.audit().mark().await?;
    world.create(&annotated(Kind::Secret, "change", &json!({"a": "MQ=="}))).await?;
    all.until_said(&agent, "change").await;
    let requests = about_copies(&cluster.audit().since(mark).await?);
    let creates = requests.clone().verb("create").filter(|entry| entry.code == 201).count();
    assert_eq!((requests.count(), creates), (Thousand::NAMESPACES, Thousand::NAMESPACES), "{:#?}", requests.counts());

    let mark = cluster.audit().mark().await?;
    world.merge(Kind::Secret, "operator", "change", &json!({"data": {"a": "Mg=="}})).await?;
    let copies = all.until_copies("change", Thousand::NAMESPACES, |copy| copy["data"]["a"] == "Mg==").await;
    // Applied again, equal, and touched in what copies do not carry.
    world.annotate(Kind::Secret, "change", &json!({"note": "n"})).await?;
    world.create(&annotated(Kind::ConfigMap, "change-fence", &json!({}))).await?;
    world.until_there(Kind::ConfigMap, "n-0999", "change-fence").await;
    let requests = about_copies(&cluster.audit().since(mark).await?);
    let updates = requests.clone().updates().filter(|entry| entry.code == 200).count();
    assert_eq!((requests.count(), updates), (Thousand::NAMESPACES, Thousand::NAMESPACES), "{:#?}", requests.counts());
    world.annotate(Kind::ConfigMap, "change-fence", &json!({"mw-sync": "no"})).await?;
    world.until_gone(Kind::ConfigMap, "n-0999", "change-fence").await;
    agent.terminate();
    agent.wait_exit(SOON).await?;

    let mark = cluster.audit().mark().await?;
    let agent = spawn(&all.kubeconfig, &[]).await?;
    all.until_said(&agent, "change").await;
    // A change that comes after it goes through: the agent is not merely silent.
    world.delete(Kind::Secret, "n-0500", "change").await?;
    world.until_there(Kind::Secret, "n-0500", "change").await;
    let requests = cluster.audit().since(mark).await?.user(AGENT);
    let summary = |entry: &testbed::Entry| entry.request_uri.contains("fieldManager=mw-sync-agent-summary");
    let writes = requests.clone().writes().filter(|entry| !summary(entry));
    assert_eq!(writes.count(), 1, "{:#?}", requests.counts());
    let looks: Vec<_> = requests.each().filter(|entry| entry.verb == "get").map(|entry| &entry.name).collect();
    assert_eq!(looks, ["mw-sync-agent"; 2], "its own note and summary, and no look at a copy");
    // A streaming list is a watch. Sources, copies, namespaces, and the source namespace by itself.
    let lists = requests.clone().filter(|entry| matches!(&*entry.verb, "list" | "watch"));
    assert_eq!(lists.count(), 6, "{:#?}", requests.counts());
    let after = all.until_copies("change", Thousand::NAMESPACES, |_| true).await;
    let same = |copy: &serde_json::Value| copies.iter().any(|old| old["metadata"]["uid"] == copy["metadata"]["uid"]);
    assert_eq!(after.iter().filter(|copy| same(copy)).count(), Thousand::NAMESPACES - 1);
    println!("restart: {:?}; {} MiB peak", requests.counts(), agent.peak_rss()? >> 20);
    all.clear("change", agent).await
}

/// Promise 3: killed again and again in the middle, it ends complete; work is repeated only where an answer was on
/// its way.
#[tokio::test]
async fn killed_in_the_middle_five_times_it_ends_complete() -> Result<()> {
    const IN_FLIGHT: usize = 32;
    const KILLS: usize = 5;
    let all = thousand().await?;
    let (cluster, world) = (all.cluster, &all.world);
    let mark = cluster.audit().mark().await?;
    world.create(&annotated(Kind::Secret, "killed", &json!({"a": "MQ=="}))).await?;
    let mut counts = Vec::new();
    for round in 0..KILLS {
        let agent = spawn(&all.kubeconfig, &[]).await?;
        // At a random point of what is left: from the first write of this one on.
        let done = *counts.last().unwrap_or(&0);
        let share = std::collections::hash_map::RandomState::new();
        let random = std::hash::BuildHasher::hash_one(&share, round) % 100;
        let aim = done + 1 + (Thousand::NAMESPACES - done) * usize::try_from(random)? / 100 / (KILLS - round);
        let count = eventually(SOON, format!("{aim} copies"), async || {
            let count = world.copies(Kind::Secret, "killed").await?.len();
            anyhow::ensure!(count >= aim, "{count}");
            Ok(count)
        })
        .await;
        agent.kill9();
        agent.wait_exit(SOON).await?;
        counts.push(count);
    }
    let agent = spawn(&all.kubeconfig, &[]).await?;
    all.until_said(&agent, "killed").await;
    all.until_copies("killed", Thousand::NAMESPACES, |copy| copy["data"]["a"] == "MQ==").await;
    let requests = about_copies(&cluster.audit().since(mark).await?);
    let total = requests.count();
    println!("killed at {counts:?} of {}: {total} requests, {:?}", Thousand::NAMESPACES, requests.counts());
    // Those whose answer nobody took have whatever code, and may be asked for once more.
    let most = Thousand::NAMESPACES + KILLS * IN_FLIGHT;
    assert!(total <= most, "{total}: {:#?}", requests.counts());
    all.clear("killed", agent).await
}

/// Promise 3: the API server goes and comes back in the middle, and comes back without its history.
#[tokio::test]
async fn an_api_server_that_restarts_under_load_is_survived() -> Result<()> {
    let all = thousand().await?;
    let (cluster, world) = (all.cluster, &all.world);
    let agent = spawn(&all.kubeconfig, &[]).await?;
    world.create(&annotated(Kind::Secret, "survives", &json!({"a": "MA=="}))).await?;
    all.until_said(&agent, "survives").await;
    for (round, data) in ["MQ==", "Mg==", "Mw=="].into_iter().enumerate() {
        let mark = cluster.audit().mark().await?;
        world.merge(Kind::Secret, "operator", "survives", &json!({"data": {"a": data}})).await?;
        eventually(SOON, "the fan-out is under way", async || {
            let copies = world.copies(Kind::Secret, "survives").await?;
            let done = copies.iter().filter(|copy| copy["data"]["a"] == data).count();
            anyhow::ensure!(done > 20, "{done}");
            Ok(())
        })
        .await;
        // As an upgrade stops it, as a crash does, and with the history gone.
        match round {
            0 => {
                cluster.stop_api_server().await?;
                cluster.start_api_server().await?;
            }
            1 => {
                cluster.kill_api_server().await?;
                cluster.start_api_server().await?;
            }
            _ => cluster.expire_watches().await?,
        }
        let began = std::time::Instant::now();
        // Something happens meanwhile that only a list can tell, if a watch was not resumed.
        world.delete(Kind::Secret, &format!("n-000{round}"), "survives").await?;
        let late = format!("late-{round}");
        world.namespace(&late).await?;
        let count = Thousand::NAMESPACES + 1;
        all.until_copies("survives", count, |copy| copy["data"]["a"] == data).await;
        let requests = cluster.audit().since(mark).await?.user(AGENT);
        println!("round {round}: complete after {:.1?}: {:?}", began.elapsed(), requests.counts());
        let writes = about_copies(&requests).writes().count();
        // Once each, the deleted and the new one, those whose answer was lost, and one now and then to see whether it is back.
        assert!(writes <= count + 1 + 2 * 32 + 8, "{writes}: {:#?}", requests.counts());
        take_away(&all, &late).await?;
    }
    assert!(agent.stderr().contains("Expired"), "no watch was answered with 410:\n{}", agent.stderr());
    assert!(agent.is_running(), "it was never restarted");
    all.clear("survives", agent).await
}

/// Takes a namespace away where no controller manager does: its copies go first, by its opting out.
async fn take_away(all: &Thousand, namespace: &str) -> Result<()> {
    let out = json!({"metadata": {"annotations": {"mw-sync": "no"}}});
    all.world.merge(Kind::Namespace, "", namespace, &out).await?;
    all.world.until_gone(Kind::Secret, namespace, "survives").await;
    all.world.delete(Kind::Namespace, "", namespace).await?;
    eventually(SOON, format!("{namespace} is gone"), async || {
        all.world.finalize(namespace).await?;
        anyhow::ensure!(all.world.find(Kind::Namespace, "", namespace).await?.is_none(), "still there");
        Ok(())
    })
    .await;
    Ok(())
}

/// Promise 3 for the quiet: a cluster without load that restarts is watched again, and nothing is written.
#[tokio::test]
async fn a_restart_of_the_api_server_in_the_quiet_writes_nothing() -> Result<()> {
    let all = thousand().await?;
    let (cluster, world) = (all.cluster, &all.world);
    let agent = spawn(&all.kubeconfig, &[]).await?;
    world.create(&annotated(Kind::Secret, "quiet", &json!({"a": "MA=="}))).await?;
    all.until_said(&agent, "quiet").await;
    let before = all.until_copies("quiet", Thousand::NAMESPACES, |_| true).await;
    let mark = cluster.audit().mark().await?;
    cluster.expire_watches().await?;
    let began = std::time::Instant::now();
    world.create(&annotated(Kind::ConfigMap, "quiet-fence", &json!({}))).await?;
    world.until_there(Kind::ConfigMap, "n-0999", "quiet-fence").await;
    eventually(SOON, "all watches are back", async || {
        let requests = cluster.audit().since(mark).await?.user(AGENT);
        let watches = requests.clone().verb("watch").filter(|entry| entry.code == 200).count();
        anyhow::ensure!(watches >= 6, "{:#?}", requests.counts());
        Ok(())
    })
    .await;
    let requests = cluster.audit().since(mark).await?.user(AGENT);
    println!("expired: back after {:.1?}: {:?}", began.elapsed(), requests.counts());
    assert_eq!(about_copies(&requests).count(), 0, "{:#?}", requests.counts());
    let after = all.until_copies("quiet", Thousand::NAMESPACES, |_| true).await;
    let versions =
        |copies: &[serde_json::Value]| copies.iter().map(|copy| version(copy).to_owned()).collect::<Vec<_>>();
    assert_eq!(versions(&after), versions(&before));
    world.annotate(Kind::ConfigMap, "quiet-fence", &json!({"mw-sync": "no"})).await?;
    world.until_gone(Kind::ConfigMap, "n-0999", "quiet-fence").await;
    all.clear("quiet", agent).await
}
