//! What becomes of sources: promises 3, 4 and 8 of the design, between two clusters.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testbed::{Binaries, Cluster, ClusterOptions, Process, Requests, eventually, shared};

use super::api;
use super::stage::{SOON, Stage, end, value};

#[tokio::test]
async fn a_source_is_copied_updated_restored_and_taken_away() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, "m-copies").await?;
    let access = stage.prepare(&remote).await?;
    let master = stage.master(&["--cluster-name=head-office"]).await?;
    stage.join("a", &access).await?;

    let mark = remote.audit().mark().await?;
    let mut source = api::opaque("regcred", "one");
    source["metadata"]["labels"] = json!({ "team": "blue", "app.kubernetes.io/instance": "argo" });
    source["metadata"]["annotations"] = json!({ "example.com/note": "mine" });
    api::create(&management, &api::secret("m-copies", ""), &source).await?;
    api::annotate(&management, &stage.path("regcred"), Some("yes")).await?;
    let copy = stage.copy_is(&remote, "regcred", |_| true).await;
    let namespace = api::get(&management, "/api/v1/namespaces/m-copies").await?.context("it is there")?;
    assert_eq!(
        (&copy["metadata"]["labels"], &copy["metadata"]["annotations"], &copy["type"], value(&copy)),
        (
            &json!({ "mw-sync.io/managed-by": "master", "mw-sync.io/source": "regcred", "team": "blue" }),
            &json!({
                "mw-sync.io/sync": "yes",
                "mw-sync.io/origin": "head-office/m-copies/regcred",
                "mw-sync.io/origin-uid": namespace["metadata"]["uid"],
                "mw-sync.io/copied": copy["metadata"]["annotations"]["mw-sync.io/copied"],
            }),
            &json!("Opaque"),
            "one".to_owned(),
        )
    );
    // Its own kubeconfig Secret is no source, annotated or not.
    api::annotate(&management, &stage.path("a"), Some("yes")).await?;

    // An update is one write; an update that changes nothing of the copy is none.
    api::merge(&management, &stage.path("regcred"), &json!({ "stringData": { "key": "two" } })).await?;
    stage.copy_is(&remote, "regcred", |copy| value(copy) == "two").await;
    let note = json!({ "metadata": { "annotations": { "example.com/note": "other" } } });
    api::merge(&management, &stage.path("regcred"), &note).await?;
    api::merge(&management, &stage.path("regcred"), &json!({ "stringData": { "more": "three" } })).await?;
    stage.copy_is(&remote, "regcred", |copy| !copy["data"]["more"].is_null()).await;
    let asked = async |mark| -> Result<Requests> {
        let requests = remote.audit().since(mark).await?.user(&stage.remote_user()).resource("secrets");
        Ok(requests.filter(|request| request.verb != "watch"))
    };
    let written = asked(mark).await?;
    let (created, updated) = (written.clone().verb("create").count(), written.clone().updates().count());
    assert_eq!((created, updated, written.count()), (1, 2, 3), "{:#?}", written.counts());

    // Somebody there edits it, adds to it, deletes it.
    api::merge(&remote, &stage.path("regcred"), &json!({ "stringData": { "key": "theirs", "extra": "x" } })).await?;
    let restored = |copy: &serde_json::Value| value(copy) == "two" && copy["data"]["extra"].is_null();
    stage.copy_is(&remote, "regcred", restored).await;
    let uid = |copy: &serde_json::Value| copy["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let before = uid(&copy);
    api::delete(&remote, &stage.path("regcred")).await?;
    stage.copy_is(&remote, "regcred", |copy| uid(copy) != before && value(copy) == "two").await;
    api::merge(&remote, &stage.path("regcred"), &json!({ "metadata": { "labels": { "theirs": "kept" } } })).await?;

    // A type cannot be changed there either: the copy is made anew.
    api::delete(&management, &stage.path("regcred")).await?;
    let mut other = api::opaque("regcred", "{}");
    other["type"] = json!("example.com/other");
    other["metadata"]["annotations"] = json!({ "mw-sync": "yes" });
    api::create(&management, &api::secret("m-copies", ""), &other).await?;
    stage.copy_is(&remote, "regcred", |copy| copy["type"] == "example.com/other" && value(copy) == "{}").await;

    // A ConfigMap of the same name is another source.
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": { "a": "b" }, "binaryData": { "raw": "AP8=" },
        "metadata": { "name": "regcred", "annotations": { "mw-sync": "on" } },
    });
    api::create(&management, &api::config_map("m-copies", ""), &map).await?;
    eventually(SOON, "the ConfigMap is copied", async || {
        let copy = api::get(&remote, &api::config_map("m-copies", "regcred")).await?.context("it is not there")?;
        ensure!(copy["data"] == map["data"] && copy["binaryData"] == map["binaryData"], "{copy}");
        Ok(())
    })
    .await;

    // `no` acts at once, and says so on the copy before it goes.
    let mark = remote.audit().mark().await?;
    api::annotate(&management, &stage.path("regcred"), Some("no")).await?;
    stage.copy_is_gone(&remote, "regcred").await;
    let taken = asked(mark).await?;
    assert_eq!(taken.each().map(|request| &*request.verb).collect::<Vec<_>>(), ["patch", "delete"]);

    // A source that is deleted leaves its copy for the grace.
    stage.source("leaving", "one").await?;
    stage.copy_is(&remote, "leaving", |_| true).await;
    let began = Instant::now();
    api::delete(&management, &stage.path("leaving")).await?;
    stage.copy_is_gone(&remote, "leaving").await;
    assert!(began.elapsed() > Duration::from_millis(1900), "after {:?}", began.elapsed());
    assert!(api::get(&remote, &stage.path("a")).await?.is_none(), "a kubeconfig was copied");
    end(&master).await
}

#[tokio::test]
async fn with_an_agent_copies_reach_every_namespace_and_leave_every_namespace() -> Result<()> {
    let management = shared("management").await?;
    // Its own: an agent fills every namespace.
    let remote = Cluster::start(ClusterOptions::default()).await?;
    let stage = Stage::new(&management, "operator").await?;
    let access = stage.prepare(&remote).await?;
    remote.apply_files(&["deploy/agent.yaml"]).await?;
    let kubeconfig = remote.kubeconfig_for_service_account("operator", "mw-sync-agent").await?;
    let agent = Process::spawn(Binaries::build().await?.agent(), ["--log=trace"], [("KUBECONFIG", &kubeconfig)])?;
    let master = stage.master(&["--log=trace"]).await?;
    stage.join("far", &access).await?;

    let payload = "correct-horse-battery-staple";
    stage.source("regcred", payload).await?;
    // As kubectl apply leaves it.
    let applied = json!({"kubectl.kubernetes.io/last-applied-configuration": json!({"data": payload}).to_string()});
    api::merge(&management, &stage.path("regcred"), &json!({"metadata": {"annotations": applied}})).await?;
    let everywhere = async |wanted: bool| -> Result<()> {
        let namespaces = api::get(&remote, "/api/v1/namespaces").await?.context("there are namespaces")?;
        let names = namespaces["items"].as_array().into_iter().flatten();
        for name in names.filter_map(|namespace| namespace["metadata"]["name"].as_str()) {
            let copy = api::get(&remote, &api::secret(name, "regcred")).await?;
            ensure!(copy.is_some() == wanted, "in {name} it is {}", if wanted { "missing" } else { "there" });
            ensure!(copy.is_none_or(|copy| value(&copy) == payload), "in {name} it is another one");
        }
        Ok(())
    };
    eventually(SOON, "it is everywhere", async || everywhere(true).await).await;
    remote.kubectl(&["create", "namespace", "later"]).await?;
    eventually(SOON, "it is in the new namespace", async || everywhere(true).await).await;

    api::annotate(&management, &stage.path("regcred"), Some("no")).await?;
    eventually(SOON, "it is nowhere", async || everywhere(false).await).await;

    // Promise 6, at the most talkative level, whatever a payload may look like in JSON.
    let encoded = serde_json::to_string(&k8s_openapi::ByteString(payload.into()))?;
    let status = api::get(&management, &api::remote_cluster("operator", "far")).await?.context("it is there")?;
    let events = ["-n", "operator", "get", "events.events.k8s.io", "-o", "json"];
    let (here, there) = (management.kubectl(&events).await?, remote.kubectl(&events).await?);
    let logs = [master.stdout(), master.stderr(), agent.stdout(), agent.stderr()];
    let said = [&logs[..], &[status["status"].to_string(), here, there]].concat();
    assert!(said.iter().any(|text| text.contains("connected")), "nothing was logged");
    for secret in [payload, encoded.trim_matches('"'), access.token.as_str()] {
        assert!(!said.iter().any(|text| text.contains(secret)), "a secret is in a log, a status or an Event");
    }
    end(&master).await?;
    end(&agent).await?;
    api::delete(&management, &api::remote_cluster("operator", "far")).await?;
    remote.stop().await;
    Ok(())
}
