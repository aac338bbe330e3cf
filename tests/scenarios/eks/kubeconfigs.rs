//! Kubeconfigs made for EKS: their login commands are answered here, and AWS says where the clusters are.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::stage::{EksStage, Site, Target, management};
use crate::check::aws::told;
use crate::master::api;

/// A file of several contexts, as `aws eks update-kubeconfig` merges them and people edit them. Whoever wrote it is not
/// believed where a cluster is: all have an address where nobody listens, and no good certificate authority.
fn merged(contexts: &[(&str, &Target, Value)]) -> String {
    let mut all = json!({
        "apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": [],
        "current-context": contexts[0].0,
    });
    let mut add = |list: &str, entry: Value| all[list].as_array_mut().expect("a list").push(entry);
    for (name, target, exec) in contexts {
        let arn = target.eks.arn();
        let cluster = json!({ "server": "https://192.0.2.1", "certificate-authority-data": "bm9uZQ==" });
        add("clusters", json!({ "name": arn, "cluster": cluster }));
        add("users", json!({ "name": format!("user-of-{name}"), "user": { "exec": exec } }));
        add("contexts", json!({ "name": name, "context": { "cluster": arn, "user": format!("user-of-{name}") } }));
    }
    all.to_string()
}

/// `aws eks get-token`, as `aws eks update-kubeconfig --role-arn` writes it.
fn get_token(target: &Target) -> Value {
    let args = ["--region", &target.eks.region, "eks", "get-token", "--cluster-name", &target.eks.name];
    let args = [&args[..], &["--output", "json", "--role", &target.role.arn]].concat();
    json!({ "apiVersion": "client.authentication.k8s.io/v1beta1", "command": "aws", "args": args })
}

/// `aws-iam-authenticator token`, with the external id that only this one takes, and its role's session name.
fn authenticator(target: &Target) -> Value {
    let (name, role) = (&target.eks.name, &target.role.arn);
    let external_id = target.role.external_id.as_deref().unwrap_or_default();
    let args = ["token", "-i", name, "-r", role, "-e", external_id, "-s", "mw-sync-management"];
    json!({ "apiVersion": "client.authentication.k8s.io/v1beta1", "command": "aws-iam-authenticator", "args": args })
}

#[tokio::test]
async fn kubeconfigs_made_for_eks_lead_to_their_clusters_by_aws() -> Result<()> {
    let management = management().await?;
    let (north, south) = (Site::north().await?, Site::south().await?);
    let stage = EksStage::new(&management, "e-files").await?;
    // `aws eks get-token` knows no external id.
    let mut by_aws = stage.target(&north).await?;
    by_aws.role.external_id = None;
    stage.role(&by_aws.role).await?;
    let by_authenticator = stage.target(&south).await?;
    stage.source("one", "1").await?;
    let master = stage.master().await?;

    // One file, one RemoteCluster: the current context.
    let file = merged(&[("north", &by_aws, get_token(&by_aws))]);
    stage.kubeconfig("by-hand", &file).await?;
    stage.remote_cluster_in("by-hand", "e-files").await?;
    stage.is("by-hand", "Connected").await;
    stage.copy(&north, &by_aws, "one", "1").await;
    let cluster = api::get(stage.management, &api::remote_cluster(stage.name, "by-hand")).await?;
    let version = cluster.context("it is there")?["status"]["version"].take();
    assert_eq!(version, testbed::control_plane::version(), "the server says more of it than AWS");
    let told = told(&stage, &stage.aws.irsa(&stage.own)?).await?;
    told.find("AWS", "identity", "ok", &["assumed-role/e-files/"])?;
    told.find("remote cluster by-hand", "role", "ok", &["assumed-role/e-files/"])?;

    // A fleet in one file; a context that cannot be used says so, and keeps no other away.
    let gcloud = json!({ "apiVersion": "client.authentication.k8s.io/v1beta1", "command": "gcloud" });
    let all = [("south", &by_authenticator, authenticator(&by_authenticator)), ("x", &by_aws, gcloud)];
    stage.kubeconfig("fleet", &merged(&all)).await?;
    let spec = json!({ "kubeconfig": { "secretName": "fleet" }, "namespace": "e-files" });
    stage.discovery("fleet", &spec).await?;
    stage.discovers("fleet", "Listed", 2).await;
    stage.is("south", "Connected").await;
    stage.copy(&south, &by_authenticator, "one", "1").await;
    let message = stage.is("x", "KubeconfigInvalid").await;
    assert!(message.contains("exec runs gcloud"), "{message}");

    // A change of the source goes both ways.
    stage.set("one", "2").await?;
    stage.copy(&north, &by_aws, "one", "2").await;
    stage.copy(&south, &by_authenticator, "one", "2").await;
    stage.end(&master).await
}
