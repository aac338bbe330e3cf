//! `--dry-run`: the agent as ever, and nothing written.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, ClusterOptions, Process, eventually};

use crate::agent::port::{fetch, port};
use crate::support::{AGENT, Kind, SOON, World, annotated, asking, install, spawn, version};

const OPTION: &str = "mw-sync.io/image-pull-secret";

/// Every version of everything that an agent could write.
async fn all(world: &World) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for kind in [Kind::Secret, Kind::ConfigMap, Kind::ServiceAccount] {
        for object in world.all(kind).await? {
            let metadata = &object["metadata"];
            all.insert(
                format!("{} {} {}", kind.name(), metadata["namespace"], metadata["name"]),
                version(&object).to_owned(),
            );
        }
    }
    for uri in ["/apis/coordination.k8s.io/v1/namespaces/operator/leases", "/api/v1/namespaces/operator/events"] {
        for object in world.list(uri).await? {
            all.insert(format!("{uri} {}", object["metadata"]["name"]), version(&object).to_owned());
        }
    }
    Ok(all)
}

/// The line in which it last spoke of a source.
async fn until_told(agent: &Process, source: &str, words: &[&str]) -> String {
    eventually(SOON, format!("the agent tells of {source}: {words:?}"), async || {
        let log = agent.stderr();
        let line = log.lines().rfind(|line| line.contains(&format!("source={source} "))).unwrap_or_default();
        ensure!(words.iter().all(|word| line.contains(word)), "{line}");
        Ok(line.to_owned())
    })
    .await
}

/// Promises 4 and 10.
#[tokio::test]
async fn a_dry_run_writes_nothing_and_tells_what_a_real_one_then_does() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let world = World::of(&cluster);
    let kubeconfig = install(&cluster).await?;
    cluster.apply_files(&["deploy/agent-service-accounts.yaml"]).await?;
    for namespace in ["d-app", "d-full"] {
        world.namespace(namespace).await?;
        world.until_there(Kind::ServiceAccount, namespace, "default").await;
        world.until_there(Kind::ConfigMap, namespace, "kube-root-ca.crt").await;
    }
    let only = json!({"mw-sync.io/namespaces": "d-*"});
    // What a real agent has left, and what has changed since.
    for name in ["changed", "switched-off"] {
        world.create(&asking(Kind::Secret, name, &json!({"a": "MQ=="}), &only)).await?;
    }
    let before = spawn(&kubeconfig, &["--leader-elect"]).await?;
    for name in ["changed", "switched-off"] {
        for namespace in ["d-app", "d-full"] {
            world.until_there(Kind::Secret, namespace, name).await;
        }
    }
    before.terminate();
    before.wait_exit(SOON).await?;
    world.merge(Kind::Secret, "operator", "changed", &json!({"data": {"a": "Mg=="}})).await?;
    world.annotate(Kind::Secret, "switched-off", &json!({"mw-sync": "no"})).await?;
    let mut pull = asking(Kind::Secret, "pull", &json!({".dockerconfigjson": "eyJhdXRocyI6e319"}), &only);
    pull["type"] = "kubernetes.io/dockerconfigjson".into();
    pull["metadata"]["annotations"][OPTION] = "default".into();
    world.create(&pull).await?;
    let theirs = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken", "namespace": "d-app"}});
    world.create(&theirs).await?;
    world.create(&asking(Kind::Secret, "taken", &json!({"a": "MQ=="}), &only)).await?;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "d-full"},
        "spec": {"hard": {"count/configmaps": "1"}}
    });
    cluster.kubectl_stdin(&["apply", "-f", "-"], quota.to_string()).await?;
    eventually(SOON, "the quota is full", async || {
        let full = ["-n", "d-full", "create", "configmap", "trial", "--dry-run=server"];
        let error = cluster.kubectl(&full).await.err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(error.contains("exceeded quota"), "{error}");
        Ok(())
    })
    .await;
    world.create(&asking(Kind::ConfigMap, "full", &json!({"a": "1"}), &only)).await?;

    let (was, start) = (all(&world).await?, cluster.audit().mark().await?);
    // The Lease is left alone, whatever the other flags say.
    let agent = spawn(&kubeconfig, &["--dry-run", "--leader-elect"]).await?;
    until_told(&agent, "Secret/changed", &["pending=2", "2 WouldUpdate", "a dry run"]).await;
    until_told(&agent, "Secret/switched-off", &["2 WouldDelete"]).await;
    until_told(&agent, "Secret/taken", &["refused=1", "pending=1", "ForeignObject", "1 WouldCreate"]).await;
    until_told(&agent, "ConfigMap/full", &["pending=2", "exceeded quota", "1 Rejected", "1 WouldCreate"]).await;
    until_told(&agent, "Secret/pull", &[]).await;
    eventually(SOON, "it tells of ServiceAccounts", async || {
        let log = agent.stderr();
        let said = log.contains("imagePullSecrets of 2 ServiceAccounts") && log.contains("2 WouldUpdate");
        ensure!(said && log.contains("NOTHING is written"), "{log}");
        Ok(())
    })
    .await;
    let status: Value = serde_json::from_str(&fetch(port(&agent, "kubectl port-forward").await, "/status").await?.1)?;
    assert_eq!((&status["dryRun"], &status["leads"]), (&json!(true), &json!(false)));
    let sources = status["sources"].as_array().context("no sources")?;
    let changed = sources.iter().find(|source| source["source"] == "Secret/changed").context("not told of")?;
    assert_eq!((&changed["pending"], &changed["places"][0]["reason"]), (&json!(2), &json!("WouldUpdate")));
    let metrics = fetch(port(&agent, "/metrics").await, "/metrics").await?.1;
    let tried = "mw_sync_writes_total{action=\"update\",kind=\"Secret\",outcome=\"dry-run\"} 2";
    assert!(metrics.contains(tried) && metrics.contains("mw_sync_leader 0"), "{metrics}");

    // The quota is mended, so that nothing fails any more; from then on nothing is asked.
    cluster.kubectl(&["-n", "d-full", "delete", "resourcequota", "few"]).await?;
    until_told(&agent, "ConfigMap/full", &["pending=2", "2 WouldCreate"]).await;
    // The watch on the name in the way has its list, and no look is due.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mark = cluster.audit().mark().await?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let idle = cluster.audit().since(mark).await?.user(AGENT);
    assert_eq!(idle.count(), 0, "{:#?}", idle.counts());
    // What changes is tried anew, and nothing else.
    world.merge(Kind::Secret, "operator", "changed", &json!({"data": {"a": "Mw=="}})).await?;
    eventually(SOON, "the change is tried", async || {
        let tries = cluster.audit().since(mark).await?.user(AGENT);
        ensure!(tries.count() == 2, "{:#?}", tries.counts());
        Ok(())
    })
    .await;
    let asked = cluster.audit().since(start).await?.user(AGENT);
    for entry in asked.clone().writes().entries() {
        assert!(entry.request_uri.contains("dryRun=All"), "{} {}", entry.verb, entry.request_uri);
    }
    assert_eq!(asked.resource("leases").count(), 0);
    agent.terminate();
    ensure!(agent.wait_exit(SOON).await?.success(), "it ends well:\n{}", agent.stderr());
    let mut now = all(&world).await?;
    for (what, version) in &was {
        if what.contains("\"changed\"") && what.contains("operator") {
            continue;
        }
        assert_eq!(now.get(what), Some(version), "{what}");
    }
    now.retain(|what, _| !was.contains_key(what));
    assert!(now.is_empty(), "made: {now:?}");

    // The same cluster, for real.
    let agent = spawn(&kubeconfig, &["--leader-elect"]).await?;
    for namespace in ["d-app", "d-full"] {
        world.until_data(Kind::Secret, namespace, "changed", &json!({"a": "Mw=="})).await;
        world.until_gone(Kind::Secret, namespace, "switched-off").await;
        world.until_there(Kind::ConfigMap, namespace, "full").await;
        let listed = |account: &Value| account["imagePullSecrets"] == json!([{"name": "pull"}]);
        world.until((Kind::ServiceAccount, namespace, "default"), "lists it", listed).await;
    }
    world.until_there(Kind::Secret, "d-full", "taken").await;
    // And beside it a dry run has nothing to try, until somebody else's change shows.
    let beside = spawn(&kubeconfig, &["--dry-run"]).await?;
    until_told(&beside, "Secret/changed", &["synced=2", "in place"]).await;
    world.create(&annotated(Kind::ConfigMap, "late", &json!({"a": "1"}))).await?;
    world.until_there(Kind::ConfigMap, "d-app", "late").await;
    until_told(&beside, "ConfigMap/late", &["in place"]).await;
    drop(agent);
    cluster.stop().await;
    Ok(())
}
