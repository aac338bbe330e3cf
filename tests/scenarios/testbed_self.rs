//! The testbed itself: what the other scenarios rely on.

mod faults;
mod leftovers;

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use http::Request;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::WatchEvent;
use serde_json::Value;
use testbed::{Binaries, Cluster, ClusterOptions, Process, eventually, shared};

use crate::support::SOON;

/// What a watch from this version says first: 410 for an `ERROR`, 200 for a change. There must be one to tell.
async fn watch_code(cluster: &Cluster, version: &str) -> Result<u16> {
    let uri = format!("/api/v1/namespaces?watch=1&timeoutSeconds=60&resourceVersion={version}");
    let client = cluster.client();
    let mut events = match client.request_events::<Namespace>(Request::get(uri).body(Vec::new())?).await {
        Err(kube::Error::Api(status)) => return Ok(status.code),
        events => pin!(events?),
    };
    match events.next().await.context("the watch ended and said nothing")?? {
        WatchEvent::Error(status) => Ok(status.code),
        _ => Ok(200),
    }
}

async fn resource_version(cluster: &Cluster) -> Result<String> {
    let list = cluster.client().request::<Value>(Request::get("/api/v1/namespaces").body(Vec::new())?).await?;
    Ok(list["metadata"]["resourceVersion"].as_str().context("no resourceVersion")?.to_owned())
}

#[tokio::test]
async fn a_cluster_answers_as_a_real_one() -> Result<()> {
    let cluster = shared("self").await?;
    let version: Value = serde_json::from_str(&cluster.kubectl(&["version", "-o", "json"]).await?)?;
    for side in ["clientVersion", "serverVersion"] {
        assert_eq!(version[side]["gitVersion"], testbed::control_plane::version(), "{side}");
    }
    let error = cluster.kubectl(&["get", "secret", "nowhere"]).await.expect_err("no such object").to_string();
    assert!(error.contains("NotFound"), "{error}");
    Ok(())
}

#[tokio::test]
async fn namespaces_are_served_and_end() -> Result<()> {
    let cluster = shared("self").await?;
    cluster.kubectl(&["create", "namespace", "self-ends"]).await?;
    cluster.kubectl(&["-n", "self-ends", "create", "configmap", "some", "--from-literal=a=b"]).await?;
    eventually(SOON, "the namespace has a ServiceAccount and a CA", async || {
        cluster.kubectl(&["-n", "self-ends", "get", "serviceaccount/default", "configmap/kube-root-ca.crt"]).await
    })
    .await;
    cluster.kubectl(&["delete", "namespace", "self-ends", "--wait=true", "--timeout=60s"]).await?;
    cluster.kubectl(&["get", "namespace", "self-ends"]).await.expect_err("it ended");
    Ok(())
}

#[tokio::test]
async fn service_accounts_have_the_rights_that_rbac_gives() -> Result<()> {
    let cluster = shared("self").await?;
    let manifest = "\
apiVersion: v1
kind: Namespace
metadata: {name: self-rbac}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: self-rbac}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: self-rbac}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: reader, namespace: self-rbac}]
";
    cluster.kubectl_stdin(&["apply", "-f", "-"], manifest).await?;
    let reader = cluster.kubeconfig_for_service_account("self-rbac", "reader").await?;
    let who = cluster.kubectl_as(&reader, &["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]).await?;
    assert_eq!(who, "system:serviceaccount:self-rbac:reader");
    eventually(SOON, "it may read ConfigMaps", async || cluster.kubectl_as(&reader, &["get", "configmaps"]).await)
        .await;
    let error = cluster.kubectl_as(&reader, &["get", "secrets"]).await.expect_err("no right to").to_string();
    assert!(error.contains("Forbidden"), "{error}");
    Ok(())
}

#[tokio::test]
async fn the_audit_log_counts_requests() -> Result<()> {
    let cluster = shared("self").await?;
    cluster.kubectl(&["create", "namespace", "self-audit"]).await?;
    let mark = cluster.audit().mark().await?;
    for name in ["one", "two"] {
        cluster.kubectl(&["-n", "self-audit", "create", "configmap", name]).await?;
    }
    cluster.kubectl(&["-n", "self-audit", "wait", "--for=create", "configmap/one"]).await?;
    let uri = "/api/v1/namespaces/self-audit/configmaps?watch=1&timeoutSeconds=1&resourceVersion=0";
    cluster.client().request_text(Request::get(uri).body(Vec::new())?).await?;
    let requests = cluster.audit().since(mark).await?.namespace("self-audit").user("admin");
    let watches = requests.clone().user_agent("testbed").verb("watch");
    assert_eq!(watches.entries().len(), 2, "begin and end: {:#?}", watches.entries());
    assert_eq!(watches.count(), 1);
    let creates = requests.clone().user_agent("kubectl/").writes().resource("configmaps");
    assert_eq!(creates.count(), 2, "{:#?}", requests.counts());
    assert_eq!(creates.counts().into_values().collect::<Vec<_>>(), [2]);
    assert!(creates.each().all(|entry| entry.verb == "create" && entry.code == 201));
    let mark = cluster.audit().mark().await?;
    assert_eq!(cluster.audit().since(mark).await?.user("admin").namespace("self-audit").count(), 0);
    Ok(())
}

#[tokio::test]
async fn a_stopped_api_server_comes_back_with_its_data() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    cluster.kubectl(&["create", "configmap", "kept", "--from-literal=a=b"]).await?;
    let token = cluster.service_account("default", "default").await?;
    let file = cluster.write_kubeconfig(&token)?;
    for round in 0..2 {
        if round == 0 {
            cluster.stop_api_server().await?;
        } else {
            cluster.kill_api_server().await?;
        }
        let error = cluster.client().apiserver_version().await.expect_err("it is down");
        assert!(!matches!(error, kube::Error::Api(_)), "{error}");
        cluster.start_api_server().await?;
        let value = cluster.kubectl(&["get", "configmap", "kept", "-o", "jsonpath={.data.a}"]).await?;
        assert_eq!(value, "b");
        cluster.kubectl_as(&file, &["auth", "whoami"]).await.context("an old token still counts")?;
    }
    // The rest of the cluster has noticed nothing; the controller manager may wait for a minute before it asks again.
    cluster.kubectl(&["create", "namespace", "later"]).await?;
    cluster.kubectl(&["delete", "namespace", "later", "--wait=true", "--timeout=150s"]).await?;
    cluster.stop().await;
    Ok(())
}

#[tokio::test]
async fn old_resource_versions_expire() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default().without_controller_manager()).await?;
    let old = resource_version(&cluster).await?;
    cluster.kubectl(&["create", "namespace", "newer"]).await?;
    assert_eq!(watch_code(&cluster, &old).await?, 200);
    cluster.expire_watches().await?;
    assert_eq!(watch_code(&cluster, &old).await?, 410);
    let now = resource_version(&cluster).await?;
    cluster.kubectl(&["create", "namespace", "newest"]).await?;
    assert_eq!(watch_code(&cluster, &now).await?, 200);
    cluster.stop().await;

    // And without a restart, if the API server has no cache.
    let options = ClusterOptions::default().without_controller_manager().api_server_arg("--watch-cache=false");
    let cluster = Cluster::start(options).await?;
    let old = resource_version(&cluster).await?;
    // Two: the last change of all is still told after the compaction.
    cluster.kubectl(&["create", "namespace", "newer"]).await?;
    cluster.kubectl(&["create", "namespace", "newest"]).await?;
    assert_eq!(watch_code(&cluster, &old).await?, 200);
    cluster.compact_etcd().await?;
    assert_eq!(watch_code(&cluster, &old).await?, 410);
    cluster.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_process_can_be_measured_and_ended() -> Result<()> {
    let script = "echo out; echo err >&2; echo \"$HOME $SECRET\"; while :; do :; done";
    let process = Process::spawn("/bin/sh".as_ref(), ["-c", script], [("SECRET", "seen")])?;
    eventually(SOON, "it uses the processor", async || {
        let seconds = process.cpu_seconds().map_err(|error| error.to_string())?;
        if seconds > 0.05 { Ok(()) } else { Err(format!("{seconds} s")) }
    })
    .await;
    assert!(process.stdout().starts_with("out\n/") && process.stdout().ends_with(" seen\n"), "{}", process.stdout());
    assert_eq!(process.stderr(), "err\n");
    assert!(process.rss()? > 0 && process.peak_rss()? >= process.rss()?);
    assert!(process.wait_exit(Duration::from_millis(50)).await.is_err());
    process.terminate();
    let status = process.wait_exit(SOON).await?;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    assert!(!process.is_running());
    assert!(process.log_tail(10).contains("out\n"));
    Ok(())
}

#[tokio::test]
async fn our_binaries_are_built() -> Result<()> {
    let binaries = Binaries::build().await?;
    assert!(binaries.master().is_file() && binaries.agent().is_file(), "{binaries:?}");
    Ok(())
}

#[tokio::test]
async fn starts_and_stops_leave_nothing() -> Result<()> {
    let starts = std::env::var("MW_SYNC_TESTBED_STARTS").map_or(Ok(3), |starts| starts.parse::<u32>())?;
    let mut took = Vec::new();
    for _ in 0..starts {
        let began = std::time::Instant::now();
        let cluster = Cluster::start(ClusterOptions::default()).await?;
        let started = began.elapsed();
        let (dir, pids) = (cluster.dir().to_owned(), cluster.pids());
        assert_eq!(pids.len(), 3);
        let began = std::time::Instant::now();
        cluster.stop().await;
        took.push((started, began.elapsed()));
        assert_eq!(leftovers::of(&dir)?, BTreeMap::new());
        assert!(!dir.exists());
    }
    took.sort();
    println!("{starts} starts and stops: median {:.1?}, slowest {:.1?}", took[took.len() / 2], took[took.len() - 1]);
    Ok(())
}
