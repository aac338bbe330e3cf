//! What an API server takes for a RemoteCluster, and what it refuses, with which words.

use anyhow::Result;
use serde_json::{Value, json};

use super::manifests::installed;

const ARN: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/prod";
const ROLE: &str = "arn:aws:iam::111122223333:role/team/mw-sync";

/// A RemoteCluster with this `spec`.
fn remote_cluster(name: &str, spec: &Value) -> String {
    let metadata = json!({"name": name, "namespace": "operator"});
    json!({"apiVersion": "mw-sync.io/v1alpha1", "kind": "RemoteCluster", "metadata": metadata, "spec": spec})
        .to_string()
}

#[tokio::test]
async fn a_bad_remote_cluster_is_refused_with_what_is_wrong() -> Result<()> {
    let cluster = installed().await?;
    let long = "a".repeat(64);
    let by_proxy = |url: &str| json!({"kubeconfig": {"secretName": "a"}, "proxyURL": url});
    for (spec, expected) in [
        (json!({}), "exactly one of eks and kubeconfig says how the cluster is reached"),
        (json!({"eks": {"arn": ARN}, "kubeconfig": {"secretName": "a"}}), "exactly one of eks and kubeconfig"),
        (json!({"eks": {}}), "spec.eks.arn: Required value"),
        (json!({"eks": {"arn": "prod"}}), "arn is the ARN of an EKS cluster"),
        (json!({"eks": {"arn": ROLE}}), "arn is the ARN of an EKS cluster"),
        (json!({"eks": {"arn": format!("{ARN}/x")}}), "arn is the ARN of an EKS cluster"),
        (json!({"eks": {"arn": ARN, "roleArn": "mw-sync"}}), "roleArn is the ARN of a role"),
        (json!({"eks": {"arn": ARN, "roleArn": format!("{ROLE}/")}}), "roleArn is the ARN of a role"),
        (
            json!({"eks": {"arn": ARN, "roleArn": ROLE.replace("1111", "9999")}}),
            "roleArn is a role of the account that the cluster is in",
        ),
        (
            json!({"eks": {"arn": ARN, "roleArn": ROLE.replace("aws", "aws-cn")}}),
            "roleArn is a role of the account that the cluster is in",
        ),
        (json!({"eks": {"arn": ARN, "externalId": "id"}}), "externalId needs a roleArn"),
        (json!({"eks": {"arn": ARN, "roleArn": ROLE, "externalId": "a"}}), "should be at least 2 chars long"),
        (json!({"eks": {"arn": ARN, "roleArn": ROLE, "externalId": "a b"}}), "externalId has letters, digits and"),
        (json!({"eks": {"arn": ARN, "endpoint": "https://a"}}), "unknown field \"spec.eks.endpoint\""),
        (json!({"kubeconfig": {}}), "spec.kubeconfig.secretName: Required value"),
        (json!({"kubeconfig": {"secretName": ""}}), "secretName is the name of a Secret: lower case letters"),
        (json!({"kubeconfig": {"secretName": "Prod"}}), "secretName is the name of a Secret: lower case letters"),
        (json!({"kubeconfig": {"secretName": "a", "key": "a/b"}}), "key is a key of the Secret's data: letters"),
        (json!({"kubeconfig": {"secretName": "a", "context": ""}}), "leave it out for the current one"),
        (json!({"kubeconfig": {"secretName": "a"}, "namespace": "Ops"}), "namespace is the name of a Namespace"),
        (json!({"kubeconfig": {"secretName": "a"}, "namespace": ""}), "namespace is the name of a Namespace"),
        (json!({"kubeconfig": {"secretName": "a"}, "namespace": long}), "may not be more than 63"),
        (json!({"kubeconfig": {"secretName": "a"}, "suspend": "yes"}), "must be of type boolean"),
        (by_proxy("https://proxy:3128"), "proxyURL is an HTTP proxy"),
        (by_proxy("socks5://proxy:3128"), "proxyURL is an HTTP proxy"),
        (by_proxy("http://user:hunter2@proxy:3128"), "without user and password"),
        (by_proxy("http://proxy"), "http://HOST:PORT"),
        (by_proxy("http://proxy:3128/x"), "http://HOST:PORT"),
        (json!({"kubeconfig": {"secretName": "a"}, "onRemove": "Keep"}), "supported values: \"Retain\", \"Delete\""),
        (json!({"kubeconfig": {"secretName": "a"}, "server": "https://a"}), "unknown field \"spec.server\""),
    ] {
        let create = cluster.kubectl_stdin(&["create", "-f", "-"], remote_cluster("bad", &spec)).await;
        let error = create.expect_err(&spec.to_string()).to_string();
        assert!(error.contains(expected), "{spec}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn an_eks_cluster_is_the_same_one_for_ever() -> Result<()> {
    let cluster = installed().await?;
    let spec = json!({"eks": {"arn": ARN, "roleArn": ROLE, "externalId": "a/b:c=1"}});
    cluster.kubectl_stdin(&["apply", "-f", "-"], remote_cluster("eks", &spec)).await?;
    let patch = async |patch: Value| {
        let patch = json!({"spec": {"eks": patch}}).to_string();
        cluster.kubectl(&["-n", "operator", "patch", "rcl", "eks", "--type=merge", "-p", &patch]).await
    };
    let error = patch(json!({"arn": format!("{ARN}2")})).await.expect_err("it is fixed").to_string();
    assert!(error.contains("arn cannot be changed: delete this RemoteCluster and make another one"), "{error}");
    patch(json!({"roleArn": ROLE.replace("/team", ""), "externalId": null})).await?;
    patch(json!({"roleArn": null})).await?;
    let read = cluster.kubectl(&["-n", "operator", "get", "rcl", "eks", "-o", "jsonpath={.spec.eks}"]).await?;
    assert_eq!(serde_json::from_str::<Value>(&read)?, json!({"arn": ARN}));
    Ok(())
}

#[tokio::test]
async fn a_remote_cluster_has_defaults_columns_and_a_fixed_namespace() -> Result<()> {
    let cluster = installed().await?;
    let spec = json!({"kubeconfig": {"secretName": "prod", "context": null}});
    cluster.kubectl_stdin(&["apply", "-f", "-"], remote_cluster("good", &spec)).await?;
    let read = cluster.kubectl(&["-n", "operator", "get", "rcl", "good", "-o", "json"]).await?;
    let full = json!({
        "kubeconfig": {"secretName": "prod", "key": "kubeconfig"}, "namespace": "operator", "suspend": false,
        "onRemove": "Retain"
    });
    assert_eq!(serde_json::from_str::<Value>(&read)?["spec"], full);

    let patch = |patch: &str| {
        let patch = patch.to_owned();
        let cluster = &cluster;
        async move { cluster.kubectl(&["-n", "operator", "patch", "rcl", "good", "--type=merge", "-p", &patch]).await }
    };
    let error = patch(r#"{"spec": {"namespace": "other"}}"#).await.expect_err("it is fixed").to_string();
    assert!(error.contains("namespace cannot be changed: delete this RemoteCluster and make another one"), "{error}");
    patch(r#"{"spec": {"suspend": true, "kubeconfig": {"context": "eu", "secretName": "prod-2"}}}"#).await?;
    patch(r#"{"spec": {"proxyURL": "http://[fd00::1]:3128"}}"#).await?;
    patch(r#"{"spec": {"proxyURL": "http://proxy.example:3128/"}}"#).await?;

    let status = json!({"status": {
        "conditions": [{
            "type": "Ready", "status": "False", "reason": "Unreachable", "message": "cannot connect",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1
        }],
        "server": "https://a", "version": "v1.36.3", "sources": {"synced": 3, "pending": 0, "refused": 1},
        "agent": {"state": "Reporting", "namespaces": 9, "pending": 4, "refused": 2},
        "observedGeneration": 1
    }})
    .to_string();
    let merge = ["-n", "operator", "patch", "rcl", "good", "--subresource=status", "--type=merge", "-p"];
    cluster.kubectl(&[&merge[..], &[&status]].concat()).await?;
    let table = cluster.kubectl(&["-n", "operator", "get", "rcl", "good"]).await?;
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let columns =
        ["NAME", "READY", "REASON", "SYNCED", "REFUSED", "AGENT", "AGENT-PENDING", "AGENT-REFUSED", "VERSION", "AGE"];
    assert_eq!(lines[0], columns);
    assert_eq!(lines[1][..9], ["good", "False", "Unreachable", "3", "1", "Reporting", "4", "2", "v1.36.3"]);
    // The form in which the master says that it does not know.
    cluster.kubectl(&[&merge[..], &[r#"{"status": {"sources": null, "version": null}}"#]].concat()).await?;
    let read = cluster.kubectl(&["-n", "operator", "get", "rcl", "good", "-o", "jsonpath={.status}"]).await?;
    assert!(!read.contains("sources") && !read.contains("version") && read.contains("https://a"), "{read}");
    Ok(())
}
