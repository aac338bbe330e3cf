//! The rotation receipt: `master wait` says yes when every copy everywhere has the present version, and not before.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, eventually, shared};

use super::api;
use super::stage::{SOON, Stage, end, value};

const NAME: &str = "m-receipt";

async fn copies_have(remote: &Cluster, namespaces: &[&str], expected: &str) -> Result<()> {
    for namespace in namespaces {
        let copy = api::get(remote, &api::secret(namespace, "regcred")).await?;
        let found = copy.as_ref().map(value);
        ensure!(found.as_deref() == Some(expected), "{namespace} has {found:?}, not {expected}");
    }
    Ok(())
}

/// Waits until `master wait` says no in these words; a yes is always wrong. Who gives up after a few seconds may be told less
/// than what is known a moment later.
async fn wait_says_no(stage: &Stage<'_>, words: &[&str]) {
    eventually(SOON, format!("wait says no in the words {words:?}"), async || {
        let (code, told) = stage.ask(&["wait", "secret/regcred", "--timeout=4s"]).await?;
        assert_ne!(code, Some(0), "{told}");
        ensure!(code == Some(1) && words.iter().all(|word| told.contains(word)), "{code:?} {told}");
        anyhow::Ok(())
    })
    .await;
}

/// Promises 3 and 10.
#[tokio::test]
async fn wait_says_yes_when_the_version_is_everywhere_and_not_before() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, NAME).await?;
    let access = stage.prepare(&remote).await?;
    let places = ["m-receipt-x", "m-receipt-y"];
    for place in places {
        remote.kubectl(&["create", "namespace", place]).await?;
    }
    let master = stage.master(&["--cluster-name=receipt", "--leader-elect"]).await?;
    stage.join("a", &access).await?;
    stage.asking("regcred", "one", json!({"mw-sync.io/namespaces": "m-receipt-*"})).await?;
    stage.copy_is(&remote, "regcred", |copy| value(copy) == "one").await;

    // Nobody there brings it anywhere.
    wait_says_no(&stage, &["\n  a: no agent reports there"]).await;

    let agent = stage.agent(&remote, &["--delete-grace=2s"]).await?;
    let (code, told) = stage.ask(&["wait", "secret/regcred", "--timeout=60s"]).await?;
    ensure!(code == Some(0) && told.contains("Secret/regcred is everywhere in version "), "{code:?} {told}");
    copies_have(&remote, &places, "one").await?;

    // An agent that stands still: the version before is everywhere, and that is no answer.
    agent.pause();
    stage.set("regcred", "two").await?;
    let silence = "\n  a: the agent there has not acted on this version yet; its last word is ";
    let look = " ago; does it run? in that cluster: kubectl -n m-receipt get deployment,pods ";
    wait_says_no(&stage, &["0 of 1 cluster; missing:", silence, look]).await;
    copies_have(&remote, &places, "one").await?;
    agent.resume();
    let (code, told) = stage.ask(&["wait", "secret/regcred", "--timeout=60s"]).await?;
    ensure!(code == Some(0), "{code:?} {told}");
    copies_have(&remote, &places, "two").await?;

    // A version that asks for nothing new, and a second change while it waits.
    stage.annotate("regcred", json!({"note": "seen"})).await?;
    stage.set("regcred", "three").await?;
    let (code, told) = stage.ask(&["wait", "secret/regcred", "--timeout=60s"]).await?;
    ensure!(code == Some(0), "{code:?} {told}");
    copies_have(&remote, &places, "three").await?;

    // Killed, and what comes after it finds something in the way.
    agent.kill9();
    remote.kubectl(&["-n", places[0], "delete", "secret", "regcred"]).await?;
    remote.kubectl(&["-n", places[0], "create", "secret", "generic", "regcred"]).await?;
    stage.set("regcred", "four").await?;
    let (code, told) = stage.ask(&["wait", "secret/regcred", "--timeout=3s"]).await?;
    ensure!(code == Some(1), "{code:?} {told}");
    let agent = stage.agent(&remote, &["--delete-grace=2s"]).await?;
    eventually(SOON, "wait names what is in the way", async || {
        let (code, told) = stage.ask(&["wait", "secret/regcred", "--timeout=2s"]).await?;
        let named = told.contains("0 pending and 1 refused there: ForeignObject in namespace m-receipt-x");
        ensure!(code == Some(1) && named, "{code:?} {told}");
        anyhow::Ok(())
    })
    .await;
    let (code, told) = stage.ask(&["status", "-o", "json"]).await?;
    let told: Value = serde_json::from_str(&told)?;
    assert_eq!((code, &told["sources"][0]["missing"][0]["cluster"]), (Some(1), &json!("a")), "{told:#}");
    assert_eq!(told["clusters"][0]["agent"]["refused"], 1, "{told:#}");
    remote.kubectl(&["-n", places[0], "delete", "secret", "regcred"]).await?;
    let (code, told) = stage.ask(&["wait", "secret/regcred", "--timeout=60s"]).await?;
    ensure!(code == Some(0), "{code:?} {told}");
    copies_have(&remote, &places, "four").await?;
    let (code, table) = stage.ask(&["status"]).await?;
    ensure!(code == Some(0) && table.contains("1 of 1 cluster"), "{code:?} {table}");

    // There is nothing to wait for.
    for (source, words) in [("secret/none", "there is no Secret/none in namespace m-receipt"), ("regcred", "")] {
        let (code, told) = stage.ask(&["wait", source, "--timeout=5s"]).await?;
        ensure!(code == Some(2) && told.contains(words), "{code:?} {told}");
    }

    // No master, no word; and the agent's copies are taken away by who does not need them any more.
    end(&master).await?;
    // It gives its Lease up if the server answers in time, and else it runs out.
    eventually(SOON, "status says that nobody leads", async || {
        let (code, told) = stage.ask(&["status"]).await?;
        ensure!(code == Some(1) && told.starts_with("no master leads: "), "{code:?} {told}");
        anyhow::Ok(())
    })
    .await;
    let (code, told) = stage.ask(&["wait", "secret/regcred", "--timeout=2s"]).await?;
    ensure!(
        code == Some(1) && told.contains("a: all was in place while a master ran, and none does"),
        "{code:?} {told}"
    );
    end(&agent).await?;
    let master = stage.master(&["--cluster-name=receipt", "--leader-elect"]).await?;
    let (code, told) = stage.ask(&["wait", "secret/regcred", "--timeout=60s"]).await?;
    ensure!(code == Some(0), "the agent's last word is young: {code:?} {told}");
    // A dead agent's word is good for a while, and no longer.
    end(&master).await?;
    let summary = api::config_map(NAME, "mw-sync-agent");
    api::merge(&remote, &summary, &json!({"data": {"time": "2025-12-31T00:00:00Z"}})).await?;
    let master = stage.master(&["--cluster-name=receipt", "--leader-elect"]).await?;
    eventually(SOON, "the master takes the agent for silent", async || {
        let (code, told) = stage.ask(&["wait", "secret/regcred", "--timeout=2s"]).await?;
        ensure!(
            code == Some(1) && told.contains("\n  a: AgentSilent: ") && told.contains("does it run?"),
            "{code:?} {told}"
        );
        let found = api::get(&management, &api::remote_cluster(NAME, "a")).await?.unwrap_or_default();
        ensure!(found["status"]["agent"]["state"] == "Silent", "{:#}", found["status"]);
        anyhow::Ok(())
    })
    .await;
    stage.purge_agent(&remote).await?;
    eventually(SOON, "the master hears that the agent's word is withdrawn", async || {
        let (code, told) = stage.ask(&["wait", "secret/regcred", "--timeout=2s"]).await?;
        ensure!(code == Some(1) && told.contains("\n  a: no agent reports there"), "{code:?} {told}");
        anyhow::Ok(())
    })
    .await;
    end(&master).await
}

/// Else an old credential would be revoked by the word of another cluster.
#[tokio::test]
async fn what_was_said_of_one_cluster_is_not_said_of_the_next_behind_the_same_secret() -> Result<()> {
    let (management, one, other) = (shared("management").await?, shared("remote-a").await?, shared("remote-b").await?);
    let stage = Stage::new(&management, "m-repoint").await?;
    let (to_one, to_other) = (stage.prepare(&one).await?, stage.prepare(&other).await?);
    let master = stage.master(&["--cluster-name=repoint"]).await?;
    let agent = stage.agent(&one, &["--delete-grace=2s"]).await?;
    stage.join("a", &to_one).await?;
    stage.asking("regcred", "one", json!({"mw-sync.io/namespaces": "m-repoint-*"})).await?;
    let (code, told) = stage.ask(&["wait", "secret/regcred", "--timeout=60s"]).await?;
    ensure!(code == Some(0), "{code:?} {told}");

    stage.kubeconfig("a", &to_other.to_yaml()).await?;
    let path = api::remote_cluster("m-repoint", "a");
    eventually(SOON, "the master goes to the other cluster", async || {
        let cluster = api::get(&management, &path).await?.unwrap_or_default();
        ensure!(
            cluster["status"]["server"].as_str().is_some_and(|at| at.starts_with(&other.server_url())),
            "{cluster}"
        );
        anyhow::Ok(())
    })
    .await;
    // Yes would be by the word of the one before.
    wait_says_no(&stage, &["\n  a: no agent reports there"]).await;
    let agent_there = stage.agent(&other, &["--delete-grace=2s"]).await?;
    let (code, told) = stage.ask(&["wait", "secret/regcred", "--timeout=60s"]).await?;
    ensure!(code == Some(0), "{code:?} {told}");
    stage.copy_is(&other, "regcred", |copy| value(copy) == "one").await;
    end(&agent).await?;
    end(&agent_there).await?;
    end(&master).await
}
