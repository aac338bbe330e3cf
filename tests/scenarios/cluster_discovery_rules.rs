//! What an API server takes for a ClusterDiscovery, and what it refuses, with which words.

use anyhow::Result;
use serde_json::{Value, json};

use super::manifests::installed;

const ROLE: &str = "arn:aws:iam::111122223333:role/team/mw-sync";

/// A ClusterDiscovery with this `spec`.
fn discovery(name: &str, spec: &Value) -> String {
    let metadata = json!({"name": name, "namespace": "operator"});
    json!({"apiVersion": "mw-sync.io/v1alpha1", "kind": "ClusterDiscovery", "metadata": metadata, "spec": spec})
        .to_string()
}

/// The `eks` form with something more in it.
fn with(more: &Value) -> Value {
    let mut eks = json!({"roleArn": ROLE, "regions": ["eu-west-1"]});
    for (key, value) in more.as_object().unwrap() {
        eks[key] = value.clone();
    }
    json!({ "eks": eks })
}

#[tokio::test]
async fn a_bad_cluster_discovery_is_refused_with_what_is_wrong() -> Result<()> {
    let cluster = installed().await?;
    let keys: Vec<_> = (0..21).map(|n| format!("k{n}")).collect();
    for (spec, expected) in [
        (json!({}), "exactly one of eks and kubeconfig says where clusters are listed"),
        (json!({"eks": {"regions": ["eu-west-1"]}, "kubeconfig": {"secretName": "a"}}), "exactly one of eks and"),
        (json!({"eks": {}}), "spec.eks.regions: Required value"),
        (with(&json!({"regions": []})), "should have at least 1 items"),
        (with(&json!({"regions": ["eu-west-1", "eu-west-1"]})), "Duplicate value"),
        (with(&json!({"regions": ["Ireland"]})), "regions are names like eu-west-1"),
        (with(&json!({"regions": ["eu-west-1.evil.example/"]})), "regions are names like eu-west-1"),
        (with(&json!({"regions": ["all"]})), "regions are names like eu-west-1"),
        (with(&json!({"roleArn": "mw-sync"})), "roleArn is the ARN of a role"),
        (with(&json!({"roleArn": "arn:aws:iam::111122223333:user/ann"})), "roleArn is the ARN of a role"),
        (with(&json!({"roleArn": format!("{ROLE}/")})), "roleArn is the ARN of a role"),
        (with(&json!({"externalId": "a b"})), "externalId has letters, digits and"),
        (json!({"eks": {"regions": ["eu-west-1"], "externalId": "id"}}), "externalId needs a roleArn"),
        (with(&json!({"tags": {"a": "x".repeat(257)}})), "may not be more than 256"),
        (with(&json!({"tags": ["a"]})), "must be of type object"),
        (
            with(&json!({"labelsFromTags": ["mw-sync.io/discovered-by"]})),
            "labels below mw-sync.io/ are the master's own",
        ),
        (with(&json!({"labelsFromTags": [""]})), "should be at least 1 chars long"),
        (with(&json!({ "labelsFromTags": keys })), "must have at most 20 items"),
        (with(&json!({"endpoint": "https://a"})), "unknown field \"spec.eks.endpoint\""),
        (json!({"kubeconfig": {}}), "spec.kubeconfig.secretName: Required value"),
        (json!({"kubeconfig": {"secretName": "Prod"}}), "secretName is the name of a Secret: lower case letters"),
        (json!({"kubeconfig": {"secretName": "a", "key": "a/b"}}), "key is a key of the Secret's data: letters"),
        (json!({"kubeconfig": {"secretName": "a", "context": "x"}}), "unknown field \"spec.kubeconfig.context\""),
        (json!({"kubeconfig": {"secretName": "a"}, "namespace": "Ops"}), "namespace is the name of a Namespace"),
        (json!({"kubeconfig": {"secretName": "a"}, "approval": "Never"}), "\"Automatic\", \"Manual\""),
    ] {
        let create = cluster.kubectl_stdin(&["create", "-f", "-"], discovery("bad", &spec)).await;
        let error = create.expect_err(&spec.to_string()).to_string();
        assert!(error.contains(expected), "{spec}: {error}");
    }
    let long = discovery(&"a".repeat(64), &with(&json!({})));
    let error = cluster.kubectl_stdin(&["create", "-f", "-"], long).await.expect_err("too long").to_string();
    assert!(error.contains("the name has at most 63 characters"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_cluster_discovery_has_defaults_columns_and_a_fixed_namespace() -> Result<()> {
    let cluster = installed().await?;
    let spec = with(&json!({"tags": {"Cost Center": "A*"}, "labelsFromTags": ["Cost Center", "example.com/env"]}));
    cluster.kubectl_stdin(&["apply", "-f", "-"], discovery("good", &spec)).await?;
    let read = cluster.kubectl(&["-n", "operator", "get", "cld", "good", "-o", "json"]).await?;
    let read: Value = serde_json::from_str(&read)?;
    assert_eq!((&read["spec"]["namespace"], &read["spec"]["approval"]), (&json!("operator"), &json!("Automatic")));

    let patch = async |patch: Value| {
        let patch = json!({ "spec": patch }).to_string();
        cluster.kubectl(&["-n", "operator", "patch", "cld", "good", "--type=merge", "-p", &patch]).await
    };
    let error = patch(json!({"namespace": "other"})).await.expect_err("it is fixed").to_string();
    assert!(error.contains("namespace cannot be changed"), "{error}");
    patch(json!({"approval": "Manual", "eks": {"roleArn": null, "regions": ["us-gov-west-1", "cn-north-1"]}})).await?;
    patch(json!({"eks": null, "kubeconfig": {"secretName": "all"}})).await?;

    let status = json!({"status": {
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Listed", "message": "7 found",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1
        }],
        "clusters": {"found": 7, "byHand": 0, "suspended": 0, "refused": 2, "notListed": 1}, "observedGeneration": 1
    }})
    .to_string();
    let merge = ["-n", "operator", "patch", "cld", "good", "--subresource=status", "--type=merge", "-p", &status];
    cluster.kubectl(&merge).await?;
    let table = cluster.kubectl(&["-n", "operator", "get", "cld", "good"]).await?;
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "READY", "REASON", "FOUND", "NOTLISTED", "REFUSED", "AGE"]);
    assert_eq!(lines[1][..6], ["good", "True", "Listed", "7", "1", "2"]);
    Ok(())
}
