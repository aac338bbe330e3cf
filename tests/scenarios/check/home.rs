//! A cluster from nothing to a running agent, by nothing but what `check` says.

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::{Binaries, Cluster, ClusterOptions, eventually};

use super::{Who, check, mend, no_writes, until};
use crate::commands;
use crate::support::{AGENT, Kind, SOON, World, asking, spawn};

const HERE: &str = "management cluster";
const MASTER: &str = "system:serviceaccount:operator:mw-sync-master";

#[tokio::test]
async fn what_is_missing_in_a_cluster_is_named_with_the_command_that_mends_it() -> Result<()> {
    Binaries::build().await?;
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let admin = cluster.admin_kubeconfig();
    let agent = (Who::Agent, admin.as_path(), &[][..]);
    let master = (Who::Master, admin.as_path(), &[][..]);

    // From a laptop, before anything is installed.
    let missing = until(agent, ("cluster", "source namespace", "failed", &["namespace operator does not exist"])).await;
    mend(&cluster, &missing).await?;
    let words = ["ServiceAccount mw-sync-agent may not", "create, update, patch, delete secrets in all namespaces"];
    let missing = until(agent, ("cluster", "rights", "failed", &words)).await;
    until(agent, ("cluster", "summary", "warning", &["deploy/agent.yaml | kubectl apply -f -"])).await;
    mend(&cluster, &missing).await?;
    until(agent, ("cluster", "rights", "ok", &["ServiceAccount mw-sync-agent has them all"])).await;
    let missing = until(agent, ("cluster", "annotation policy", "warning", &["mw_sec/sync is refused"])).await;
    mend(&cluster, &missing).await?;
    until(agent, ("cluster", "annotation policy", "ok", &[])).await;
    until(agent, ("cluster", "controller", "warning", &["no process leads by Lease mw-sync-agent"])).await;

    let missing = until(master, (HERE, "CustomResourceDefinition", "failed", &["is missing"])).await;
    until(master, (HERE, "rights", "failed", &["get, list, watch, create, patch, delete remoteclusters.mw-sync.io"]))
        .await;
    mend(&cluster, &missing).await?;
    cluster.until_established().await;
    until(master, (HERE, "CustomResourceDefinition", "ok", &["of this version"])).await;
    let field = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/proxyURL";
    let older = json!([{ "op": "remove", "path": field }]).to_string();
    cluster.kubectl(&["patch", "crd", "remoteclusters.mw-sync.io", "--type=json", "-p", &older]).await?;
    let older = until(master, (HERE, "CustomResourceDefinition", "failed", &["it lacks spec.proxyURL"])).await;
    mend(&cluster, &older).await?;
    until(master, (HERE, "CustomResourceDefinition", "ok", &["of this version"])).await;
    cluster.kubectl(&["apply", "-f", "deploy/master.yaml"]).await?;
    until(master, (HERE, "rights", "ok", &["ServiceAccount mw-sync-master has them all"])).await;
    until(master, (HERE, "RemoteClusters", "warning", &["there is none in namespace operator"])).await;

    // In the pod, where only the controller's rights are to be had.
    let account = cluster.kubeconfig_for_service_account("operator", "mw-sync-agent").await?;
    let agent = (Who::Agent, account.as_path(), &[][..]);
    until(agent, ("cluster", "API server", "ok", &["as system:serviceaccount:operator:mw-sync-agent"])).await;
    until(agent, ("cluster", "annotation policy", "ok", &[])).await;
    let rules =
        json!([{ "op": "replace", "path": "/rules/2/verbs", "value": ["get", "list", "watch", "create", "patch"] }]);
    cluster.kubectl(&["patch", "clusterrole", "mw-sync-agent", "--type=json", "-p", &rules.to_string()]).await?;
    let lacks = until(agent, ("cluster", "rights", "failed", &["may not update, delete secrets"])).await;
    mend(&cluster, &lacks).await?;
    until(agent, ("cluster", "rights", "ok", &[])).await;
    let account = cluster.kubeconfig_for_service_account("operator", "mw-sync-master").await?;
    let of_master = check(Who::Master, &account, &[], &[]).await?;
    of_master.is_well()?;
    of_master.find(HERE, "annotation policy", "ok", &[])?;

    let world = World::of(&cluster);
    let pulled = json!({"mw-sync.io/image-pull-secret": "default"});
    let mut source = asking(Kind::Secret, "pulled", &json!({".dockerconfigjson": "eyJhdXRocyI6e319"}), &pulled);
    source["type"] = "kubernetes.io/dockerconfigjson".into();
    world.create(&source).await?;
    let name = "rights for image-pull-secret";
    let lacks = until(agent, ("cluster", name, "failed", &["and Secret pulled asks for it"])).await;
    mend(&cluster, &lacks).await?;
    until(agent, ("cluster", name, "ok", &[])).await;

    // All of that was asked, and nothing was written.
    let asked = cluster.audit().all().await?;
    no_writes(&asked.clone().user(AGENT));
    no_writes(&asked.clone().user(MASTER));
    let denied =
        asked.entries().iter().filter(|entry| [AGENT, MASTER].contains(&entry.username.as_str()) && entry.code == 403);
    // The agent lacked no right that the check itself uses.
    assert_eq!(denied.count(), 0);

    // It runs, and says so.
    let path = cluster.kubeconfig_for_service_account("operator", "mw-sync-agent").await?;
    let running = spawn(&path, &["--leader-elect"]).await?;
    until(agent, ("cluster", "controller", "ok", &[" leads"])).await;
    until(agent, ("cluster", "summary", "ok", &["1 sources, 4 namespaces, 0 pending, 0 refused"])).await;
    let (code, told) = commands::agent(&admin, &["status"]).await?;
    ensure!(code == Some(0) && told.starts_with("SOURCE") && told.contains("\nSecret/pulled  "), "{code:?} {told}");
    eventually(SOON, "all is well", async || check(Who::Agent, &admin, &[], &[]).await?.is_well()).await;
    running.kill9();
    running.wait_exit(SOON).await?;
    // It has said that all is well, and does not know what has come since.
    world.annotate(Kind::Secret, "pulled", &json!({"note": "changed"})).await?;
    let (code, told) = commands::agent(&admin, &["status"]).await?;
    let words = ["  the agent here has not acted on this version yet\n", " ago; does it run? kubectl -n operator get "];
    ensure!(code == Some(1) && words.iter().all(|words| told.contains(words)), "{code:?} {told}");
    let words = ["Secret/pulled: the agent here has not acted on this version yet; its last word is ", "does it run?"];
    until(agent, ("cluster", "summary", "failed", &words)).await;
    let silent = json!({"data": {"time": "2026-01-01T00:00:00Z"}});
    world.merge(Kind::ConfigMap, "operator", "mw-sync-agent", &silent).await?;
    until(agent, ("cluster", "summary", "failed", &["its last word is ", " days ago", "does it run?"])).await;
    let (code, told) = commands::agent(&admin, &["status"]).await?;
    ensure!(code == Some(1) && told.contains("none of that may be true any more"), "{code:?} {told}");

    cluster.kubectl(&["delete", "namespace", "operator", "--wait=true", "--timeout=60s"]).await?;
    let told = check(Who::Agent, &admin, &[], &[]).await?;
    ensure!(told.code == Some(1), "{:?}", told.code);
    let (code, told) = commands::agent(&admin, &["status"]).await?;
    ensure!(code == Some(2) && told.contains("no agent reports in this cluster"), "{code:?} {told}");
    cluster.stop().await;
    Ok(())
}
