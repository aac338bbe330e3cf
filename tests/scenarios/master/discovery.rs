//! A fleet that is one merged kubeconfig.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, ClusterOptions, Kubeconfig, eventually, shared};

use super::api;
use super::stage::{Stage, define, end};

/// Several accesses in one file, and contexts that cannot be used.
fn merged(accesses: &[(&str, &Kubeconfig)], others: &[&str]) -> Result<String> {
    let mut all = json!({ "apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": [] });
    let mut add = |list: &str, entry: Value| all[list].as_array_mut().map(|list| list.push(entry));
    for (name, access) in accesses {
        let access = Kubeconfig { name: (*name).to_owned(), ..(*access).clone() };
        let one: Value = serde_yaml::from_str(&access.to_yaml())?;
        for list in ["clusters", "users", "contexts"] {
            add(list, one[list][0].clone()).context("a list")?;
        }
    }
    add("users", json!({ "name": "bad", "user": { "exec": { "command": "gcloud" } } }));
    for name in others {
        add("contexts", json!({ "name": name, "context": { "cluster": accesses[0].0, "user": "bad" } }));
    }
    Ok(all.to_string())
}

#[tokio::test]
async fn each_context_of_a_merged_kubeconfig_is_served() -> Result<()> {
    let management = shared("management").await?;
    let (a, b) = (shared("remote-a").await?, shared("remote-b").await?);
    let stage = Stage::new(&management, "m-contexts").await?;
    let (at_a, at_b) = (stage.prepare(&a).await?, stage.prepare(&b).await?);
    let master = stage.master(&[]).await?;
    stage.source("one", "1").await?;
    let spec = json!({ "kubeconfig": { "secretName": "all" }, "namespace": "m-contexts" });
    stage.discovery("fleet", &spec).await?;
    let message = stage.discovers("fleet", "SecretMissing", 0).await;
    assert!(message.contains("create secret generic all --type=mw-sync.io/kubeconfig"), "{message}");

    stage.kubeconfig("all", &merged(&[("at-a", &at_a), ("at_b", &at_b)], &["x", "y"])?).await?;
    stage.discovers("fleet", "Listed", 4).await;
    let all = stage.all_clusters().await?;
    let [at_a_name, at_b_name, x, y] = &all.keys().map(String::as_str).collect::<Vec<_>>()[..] else {
        panic!("{all:?}")
    };
    // What is no name for Kubernetes becomes one that is, and no other context's.
    assert!(*at_a_name == "at-a" && at_b_name.starts_with("at-b-") && (*x, *y) == ("x", "y"), "{all:?}");
    assert_eq!(all[*at_b_name]["spec"]["kubeconfig"]["context"], "at_b");
    assert_eq!(all[*at_b_name]["metadata"]["labels"], json!({ "mw-sync.io/discovered-by": "fleet" }));
    for name in [at_a_name, at_b_name] {
        stage.is(name, "Connected").await;
    }
    for remote in [&a, &b] {
        stage.copy_is(remote, "one", |_| true).await;
    }
    let message = stage.is("x", "KubeconfigInvalid").await;
    assert!(message.contains("exec runs gcloud"), "{message}");

    // A change of the Secret is noticed at once. One of four contexts is no longer there.
    stage.kubeconfig("all", &merged(&[("at-a", &at_a), ("at_b", &at_b)], &["x"])?).await?;
    let message = stage.discovers("fleet", "Listed", 3).await;
    assert!(message.ends_with("; NotListed, and deleted 24 h after that began: y"), "{message}");
    let since = "mw-sync.io/not-listed-since";
    let y = api::get(&management, &api::remote_cluster("m-contexts", "y")).await?.context("it stays for a day")?;
    assert!(y["metadata"]["annotations"][since].is_string(), "{y}");
    // A file that cannot be read, one that is gone, one that has lost too many: nothing goes.
    stage.kubeconfig("all", "contexts: [").await?;
    stage.discovers("fleet", "KubeconfigInvalid", 3).await;
    api::delete(&management, &stage.path("all")).await?;
    stage.discovers("fleet", "SecretMissing", 3).await;
    stage.kubeconfig("all", &merged(&[("at-a", &at_a)], &[])?).await?;
    let message = stage.discovers("fleet", "ListShrunk", 1).await;
    assert!(message.contains("lacks 3 of 4 clusters") && message.contains("delete remotecluster at-b-"), "{message}");
    assert!(stage.all_clusters().await?.keys().eq(all.keys()));
    let b_stays = api::get(&b, &stage.path("one")).await?;
    assert!(b_stays.is_some());

    // All are back.
    stage.kubeconfig("all", &merged(&[("at-a", &at_a), ("at_b", &at_b)], &["x", "y"])?).await?;
    stage.discovers("fleet", "Listed", 4).await;
    eventually(super::stage::SOON, "y is listed", async || {
        let y = api::get(&management, &api::remote_cluster("m-contexts", "y")).await?.context("it is there")?;
        ensure!(y["metadata"]["annotations"][since].is_null(), "{y}");
        Ok(())
    })
    .await;
    stage.is(at_b_name, "Connected").await;
    stage.set("one", "2").await?;
    stage.copy_is(&b, "one", |copy| super::stage::value(copy) == "2").await;
    end(&master).await
}

/// Promise 5: what is refused of one is no reason to leave out the others.
#[tokio::test]
async fn a_remote_cluster_that_may_not_be_made_keeps_no_other_away() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, "m-refused").await?;
    let access = stage.prepare(&remote).await?;
    let policy = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
          "metadata": { "name": "m-refused" },
          "spec": {
              "matchConstraints": {
                  "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "m-refused" } },
                  "resourceRules": [{ "apiGroups": ["mw-sync.io"], "apiVersions": ["*"], "operations": ["CREATE"],
                                      "resources": ["remoteclusters"] }],
              },
              "validations": [{ "expression": "object.metadata.name != 'a-first'", "message": "not that one" }],
          } },
        { "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
          "metadata": { "name": "m-refused" },
          "spec": { "policyName": "m-refused", "validationActions": ["Deny"] } },
    ]});
    management.kubectl_stdin(&["apply", "-f", "-"], policy.to_string()).await?;
    let probe = json!({ "apiVersion": "mw-sync.io/v1alpha1", "kind": "RemoteCluster",
        "metadata": { "name": "a-first", "namespace": "m-refused" },
        "spec": { "kubeconfig": { "secretName": "all" } } });
    eventually(super::stage::SOON, "the policy is enforced", async || {
        let dry = ["create", "--dry-run=server", "-f", "-"];
        let refused = management.kubectl_stdin(&dry, probe.to_string()).await.err().context("not yet")?;
        ensure!(format!("{refused:#}").contains("not that one"), "{refused:#}");
        Ok(())
    })
    .await;

    let master = stage.master(&[]).await?;
    stage.source("one", "1").await?;
    stage.kubeconfig("all", &merged(&[("a-first", &access), ("b-second", &access)], &[])?).await?;
    stage.discovery("fleet", &json!({ "kubeconfig": { "secretName": "all" }, "namespace": "m-refused" })).await?;
    let message = stage.discovers("fleet", "Rejected", 2).await;
    println!("{message}");
    stage.is("b-second", "Connected").await;
    stage.clusters_are(&["b-second"]).await;
    stage.copy_is(&remote, "one", |_| true).await;
    let kinds = "validatingadmissionpolicies,validatingadmissionpolicybindings";
    management.kubectl(&["delete", kinds, "m-refused"]).await?;
    // Both are the same cluster: the second one says so. It is tried again by itself.
    stage.clusters_are(&["a-first", "b-second"]).await;
    end(&master).await
}

/// Of a newer version, it might be: the watch passes it over, and to the server it is there.
#[tokio::test]
async fn a_remote_cluster_that_cannot_be_understood_is_said_to_be_in_the_way() -> Result<()> {
    let management = Cluster::start(ClusterOptions::default()).await?;
    define(&management).await?;
    let definition = "crd/remoteclusters.mw-sync.io";
    let one_more = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/onRemove/enum/-";
    let patch = json!([{ "op": "add", "path": one_more, "value": "Archive" }]).to_string();
    management.kubectl(&["patch", definition, "--type=json", "-p", &patch]).await?;
    let stage = Stage::without_crd(&management, "operator").await?;
    let spec = json!({ "kubeconfig": { "secretName": "all" }, "onRemove": "Archive" });
    eventually(super::stage::SOON, "the definition takes it", async || stage.remote_cluster_by("x", &spec).await).await;
    let master = stage.master(&[]).await?;
    stage.kubeconfig("all", &merged(&[("at-a", &management.admin())], &["x"])?).await?;
    stage.discovery("fleet", &json!({ "kubeconfig": { "secretName": "all" } })).await?;
    let message = stage.discovers("fleet", "NameTaken", 2).await;
    assert!(message.contains("RemoteCluster x is there and cannot be understood"), "{message}");
    stage.clusters_are(&["at-a", "x"]).await;
    // It goes: the condition follows by itself.
    api::delete(&management, &api::remote_cluster("operator", "x")).await?;
    stage.discovers("fleet", "Listed", 2).await;
    end(&master).await?;
    management.stop().await;
    Ok(())
}
