//! What `deploy/` ships, on a real API server.

mod around_pods;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{SharedCluster, eventually, shared};
use tokio::sync::OnceCell;

use crate::support::{Deployed, SOON};

/// In the order in which a person applies them. All on one cluster, so that no two want one name.
const FILES: [&str; 15] = [
    "deploy/namespace.yaml",
    "deploy/crds.yaml",
    "deploy/annotation-policy.yaml",
    "deploy/agent.yaml",
    "deploy/agent-service-accounts.yaml",
    "deploy/master.yaml",
    "deploy/remote-access.yaml",
    "deploy/hardening.yaml",
    "deploy/examples/regcred.yaml",
    "deploy/examples/agent-only.yaml",
    "deploy/examples/cluster-discovery.yaml",
    "deploy/examples/remote-cluster-eks.yaml",
    "deploy/examples/remote-cluster-kubeconfig.yaml",
    "deploy/monitoring/pod-monitors.yaml",
    "deploy/monitoring/rules.yaml",
];

/// Definitions of what the Prometheus Operator has, as far as `apply` minds them: they take everything.
fn prometheus_operator() -> String {
    let definition = |kind: &str| {
        let plural = format!("{}s", kind.to_ascii_lowercase());
        let any = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.monitoring.coreos.com") },
            "spec": {
                "group": "monitoring.coreos.com", "scope": "Namespaced", "names": { "kind": kind, "plural": plural },
                "versions": [
                    { "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": any } },
                ],
            },
        })
    };
    let items = ["PodMonitor", "PrometheusRule"].map(definition);
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// A cluster of these tests on which every file has been applied, one after the other.
pub(crate) async fn installed() -> Result<SharedCluster> {
    static INSTALLED: OnceCell<SharedCluster> = OnceCell::const_new();
    let install = async || {
        let cluster = shared("manifests").await?;
        for file in FILES {
            cluster.kubectl(&["apply", "-f", file]).await?;
            if file == "deploy/crds.yaml" {
                cluster.kubectl_stdin(&["apply", "-f", "-"], prometheus_operator()).await?;
                cluster.until_established().await;
            }
        }
        anyhow::Ok(cluster)
    };
    INSTALLED.get_or_try_init(install).await.cloned()
}

/// The annotations of an object, without kubectl's own.
async fn annotations(cluster: &SharedCluster, namespace: &str, object: &str) -> Result<Value> {
    let read = cluster.kubectl(&["-n", namespace, "get", object, "-o", "json"]).await?;
    let mut annotations = serde_json::from_str::<Value>(&read)?["metadata"]["annotations"].take();
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    Ok(annotations)
}

/// Runs what needs the admission policy, until that acts: a second or two after it was applied.
async fn once_the_policy_acts(cluster: &SharedCluster, args: &[&str]) {
    eventually(SOON, args.join(" "), async || cluster.kubectl(args).await).await;
}

/// Kind, name and version of each object of a file.
async fn versions(cluster: &SharedCluster, file: &str) -> Result<Vec<String>> {
    let read = cluster.kubectl(&["get", "-f", file, "-o", "json"]).await?;
    let mut read: Value = serde_json::from_str(&read)?;
    let of = |object: &Value| format!("{} {}", object["kind"], object["metadata"]);
    // kubectl makes a list of two and more only.
    Ok(match read["items"].as_array_mut() {
        Some(items) => items.iter().map(of).collect(),
        None => vec![of(&read)],
    })
}

#[tokio::test]
async fn a_second_apply_changes_nothing() -> Result<()> {
    let cluster = installed().await?;
    for file in FILES {
        // Not by what apply says: a PodDisruptionBudget is always "configured", for kubectl replaces its selector. And
        // not at once: the controller manager writes a status into some.
        eventually(SOON, format!("a second apply of {file}"), async || {
            let before = versions(&cluster, file).await?;
            cluster.kubectl(&["apply", "-f", file]).await?;
            let after = versions(&cluster, file).await?;
            ensure!(!before.is_empty() && before == after, "{before:#?} became {after:#?}");
            Ok(())
        })
        .await;
        cluster.kubectl(&["diff", "-f", file]).await.with_context(|| format!("{file} is not what it became"))?;
        cluster.kubectl(&["apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", file]).await?;
    }
    Ok(())
}

/// An upgrade takes no setting away.
#[tokio::test]
async fn what_was_set_outlives_a_second_apply() -> Result<()> {
    let cluster = installed().await?;
    let operator = async |args: &[&str]| cluster.kubectl(&[&["-n", "operator"], args].concat()).await;
    let role = "eks.amazonaws.com/role-arn=arn:aws:iam::999900001111:role/mw-sync";
    operator(&["annotate", "serviceaccount", "mw-sync-master", role]).await?;
    for name in ["agent", "master"] {
        let deployment = format!("deployment/mw-sync-{name}");
        operator(&["set", "env", &deployment, "MW_SYNC_LOG=info"]).await?;
        cluster.kubectl(&["apply", "-f", &format!("deploy/{name}.yaml")]).await?;
        let deployment = operator(&["get", &deployment, "-o", "json"]).await?;
        let container = &serde_json::from_str::<Value>(&deployment)?["spec"]["template"]["spec"]["containers"][0];
        let variables = container["env"].as_array().context("no variables")?;
        assert!(variables.contains(&json!({"name": "MW_SYNC_LOG", "value": "info"})), "{variables:#?}");
        // A flag would go before its variable.
        assert_eq!(container["args"], json!(["--leader-elect"]));
    }
    let account = annotations(&cluster, "operator", "serviceaccount/mw-sync-master").await?;
    assert_eq!(account["eks.amazonaws.com/role-arn"], "arn:aws:iam::999900001111:role/mw-sync");
    Ok(())
}

#[tokio::test]
async fn the_users_annotation_works_as_typed() -> Result<()> {
    let cluster = installed().await?;
    cluster.kubectl(&["-n", "operator", "create", "secret", "generic", "typed", "--from-literal=a=b"]).await?;
    let on = ["-n", "operator", "annotate", "secret", "typed", "mw_sec/sync=true"];
    once_the_policy_acts(&cluster, &on).await;
    assert_eq!(annotations(&cluster, "operator", "secret/typed").await?, json!({"mw-sync.io/sync": "true"}));

    cluster.kubectl(&["-n", "operator", "annotate", "secret", "typed", "mw_sec/sync=false", "--overwrite"]).await?;
    assert_eq!(annotations(&cluster, "operator", "secret/typed").await?, json!({"mw-sync.io/sync": "false"}));

    // Other annotations and other writes pass as they are.
    cluster.kubectl(&["-n", "operator", "annotate", "secret", "typed", "example.com/a=b", "mw-sync.io/sync-"]).await?;
    assert_eq!(annotations(&cluster, "operator", "secret/typed").await?, json!({"example.com/a": "b"}));
    Ok(())
}

#[tokio::test]
async fn the_users_annotation_works_in_manifests() -> Result<()> {
    let cluster = installed().await?;
    let manifest = |name: &str, value: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"},
            "metadata": {"name": name, "namespace": "operator", "annotations": {"mw_sec/sync": value}}
        })
        .to_string()
    };
    let apply = async |name: &str, value: &str, how: &[&str]| {
        let args = [&["apply", "-f", "-"], how].concat();
        cluster.kubectl_stdin(&args, manifest(name, value)).await
    };
    for (name, how) in [("manifest", &[][..]), ("manifest-server-side", &["--server-side"][..])] {
        eventually(SOON, "apply", async || apply(name, "yes", how).await).await;
        let object = format!("configmap/{name}");
        assert_eq!(annotations(&cluster, "operator", &object).await?, json!({"mw-sync.io/sync": "yes"}));
        let version = async || {
            cluster.kubectl(&["-n", "operator", "get", &object, "-o", "jsonpath={.metadata.resourceVersion}"]).await
        };
        let before = version().await?;
        apply(name, "yes", how).await?;
        assert_eq!(version().await?, before, "the same again is no change");
        apply(name, "no", how).await?;
        assert_eq!(annotations(&cluster, "operator", &object).await?, json!({"mw-sync.io/sync": "no"}));
        // Then the line is left out: the head of the policy's file says what follows.
        apply(name, "yes", how).await?;
        let bare = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"},
            "metadata": {"name": name, "namespace": "operator"}
        });
        cluster.kubectl_stdin(&[&["apply", "-f", "-"], how].concat(), bare.to_string()).await?;
        let left = if how.is_empty() { json!({"mw-sync.io/sync": "yes"}) } else { Value::Null };
        assert_eq!(annotations(&cluster, "operator", &object).await?, left);
    }
    Ok(())
}

#[tokio::test]
async fn the_policy_acts_in_the_source_namespace_only() -> Result<()> {
    let cluster = installed().await?;
    cluster.kubectl(&["create", "namespace", "manifests-other"]).await?;
    for namespace in ["operator", "manifests-other"] {
        cluster.kubectl(&["-n", namespace, "create", "configmap", "only"]).await?;
    }
    once_the_policy_acts(&cluster, &["-n", "operator", "annotate", "configmap", "only", "mw_sec/sync=true"]).await;
    let other = ["-n", "manifests-other", "annotate", "configmap", "only", "mw_sec/sync=true"];
    let error = cluster.kubectl(&other).await.expect_err("no such key").to_string();
    assert!(error.contains("metadata.annotations: Invalid value: \"mw_sec/sync\""), "{error}");
    assert_eq!(annotations(&cluster, "manifests-other", "configmap/only").await?, Value::Null);
    // Nor on other kinds.
    let account = ["-n", "operator", "annotate", "serviceaccount", "default", "mw_sec/sync=true"];
    cluster.kubectl(&account).await.expect_err("no such key");
    Ok(())
}

#[tokio::test]
async fn pods_of_the_deployments_pass_the_namespaces_policy() -> Result<()> {
    let cluster = installed().await?;
    for name in ["agent", "master"] {
        let mut pod = Deployed::of(&cluster, name).await?.template;
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["name"] = format!("{name}-trial").into();
        let create = ["-n", "operator", "create", "--dry-run=server", "-f", "-"];
        cluster.kubectl_stdin(&create, pod.to_string()).await?;
        // That the namespace has a policy at all.
        pod["spec"]["securityContext"]["runAsNonRoot"] = false.into();
        let error = cluster.kubectl_stdin(&create, pod.to_string()).await.expect_err("root").to_string();
        assert!(error.contains("violates PodSecurity \"restricted:latest\""), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn the_binaries_run_as_the_deployments_say() -> Result<()> {
    let cluster = installed().await?;
    for name in ["agent", "master"] {
        let deployed = Deployed::of(&cluster, name).await?;
        let pod = &deployed.template["spec"];
        let image = format!("secret-replicator-eks/{name}:{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(pod["containers"][0]["image"], image);
        assert_eq!(pod["serviceAccountName"], format!("mw-sync-{name}"));
        let process = deployed.spawn(&cluster).await?;
        eventually(SOON, format!("the {name} has started"), async || {
            let log = process.stderr();
            if log.contains("started") { Ok(()) } else { Err(log) }
        })
        .await;
        process.terminate();
        assert!(process.wait_exit(SOON).await?.success(), "{}", process.stderr());
    }
    Ok(())
}

/// Checks answers of `kubectl auth can-i`, asked as somebody: `who` is a kubeconfig, `further` selects a user.
async fn rights(cluster: &SharedCluster, who: &std::path::Path, further: &[&str], list: &[(&str, bool)]) -> Result<()> {
    for (question, expected) in list {
        let words: Vec<_> = question.split_whitespace().collect();
        let args = [&["auth", "can-i"], &words[..], further].concat();
        let ask = async || match cluster.kubectl_as(who, &args).await {
            Ok(answer) => Ok(answer.trim() == "yes"),
            // `no` is an exit status too.
            Err(error) if error.to_string().trim_end().ends_with("no") => Ok(false),
            Err(error) => Err(error),
        };
        // Bindings act a moment after they were applied.
        eventually(SOON, format!("{question} {further:?}: {expected}"), async || {
            ensure!(ask().await? == *expected);
            Ok(())
        })
        .await;
    }
    Ok(())
}

#[tokio::test]
async fn the_agent_may_do_what_it_must_and_no_more() -> Result<()> {
    let cluster = installed().await?;
    let agent = cluster.kubeconfig_for_service_account("operator", "mw-sync-agent").await?;
    rights(
        &cluster,
        &agent,
        &[],
        &[
            ("list namespaces", true),
            ("watch namespaces", true),
            ("get namespaces/operator", true),
            ("get namespaces/default", false),
            ("patch namespaces", false),
            ("delete namespaces", false),
            ("list secrets --all-namespaces", true),
            ("watch configmaps --all-namespaces", true),
            ("get secrets -n default", true),
            ("create secrets -n kube-system", true),
            ("patch configmaps -n default", true),
            ("delete secrets -n default", true),
            ("update secrets -n default", true),
            ("deletecollection secrets -n default", false),
            ("create events.events.k8s.io -n operator", true),
            ("patch events.events.k8s.io -n operator", false),
            ("create events.events.k8s.io -n default", false),
            ("patch leases.coordination.k8s.io/mw-sync-agent -n operator", true),
            ("patch leases.coordination.k8s.io/mw-sync-master -n operator", false),
            // By agent-service-accounts.yaml.
            ("list serviceaccounts --all-namespaces", true),
            ("watch serviceaccounts --all-namespaces", true),
            ("patch serviceaccounts -n default", true),
            ("get serviceaccounts -n default", false),
            ("create serviceaccounts --subresource=token -n default", false),
            ("impersonate serviceaccounts -n default", false),
            ("list remoteclusters.mw-sync.io -n operator", false),
            ("create pods -n operator", false),
        ],
    )
    .await
}

#[tokio::test]
async fn the_master_may_read_its_namespace_and_nothing_elsewhere() -> Result<()> {
    let cluster = installed().await?;
    let master = cluster.kubeconfig_for_service_account("operator", "mw-sync-master").await?;
    rights(
        &cluster,
        &master,
        &[],
        &[
            ("list secrets -n operator", true),
            ("watch configmaps -n operator", true),
            ("get secrets -n operator", true),
            ("watch remoteclusters.mw-sync.io -n operator", true),
            ("get remoteclusters.mw-sync.io -n operator", true),
            ("patch remoteclusters.mw-sync.io --subresource=status -n operator", true),
            ("patch remoteclusters.mw-sync.io -n operator", true),
            ("create remoteclusters.mw-sync.io -n operator", true),
            ("delete remoteclusters.mw-sync.io -n operator", true),
            ("update remoteclusters.mw-sync.io -n operator", false),
            ("delete remoteclusters.mw-sync.io -n default", false),
            ("watch clusterdiscoveries.mw-sync.io -n operator", true),
            ("patch clusterdiscoveries.mw-sync.io --subresource=status -n operator", true),
            ("patch clusterdiscoveries.mw-sync.io -n operator", false),
            ("create clusterdiscoveries.mw-sync.io -n operator", false),
            ("get customresourcedefinitions.apiextensions.k8s.io/remoteclusters.mw-sync.io", true),
            ("list customresourcedefinitions.apiextensions.k8s.io", false),
            ("create events.events.k8s.io -n operator", true),
            ("get namespaces/operator", true),
            ("watch namespaces/operator", true),
            ("list namespaces", false),
            ("get namespaces/default", false),
            ("create secrets -n operator", false),
            ("patch secrets -n operator", false),
            ("delete configmaps -n operator", false),
            ("list secrets --all-namespaces", false),
            ("get secrets -n default", false),
            ("list configmaps -n kube-system", false),
            ("get configmaps/kube-root-ca.crt -n default", true),
            ("get configmaps/other -n default", false),
            ("create secrets -n default", false),
        ],
    )
    .await?;
    // A list of one name is a list that the rule for that name allows.
    let args = ["get", "namespaces", "--field-selector=metadata.name=operator", "-o", "name"];
    assert_eq!(cluster.kubectl_as(&master, &args).await?, "namespace/operator\n");
    Ok(())
}

const REMOTE: [(&str, bool); 11] = [
    ("list secrets -n operator", true),
    ("watch configmaps -n operator", true),
    ("get configmaps/kube-root-ca.crt -n operator", true),
    ("create secrets -n operator", true),
    ("patch configmaps -n operator", true),
    ("delete secrets -n operator", true),
    ("update secrets -n operator", true),
    ("get secrets -n default", false),
    ("list secrets --all-namespaces", false),
    ("get namespaces/operator", false),
    ("create serviceaccounts -n operator", false),
];

#[tokio::test]
async fn the_masters_group_may_fill_the_namespace_of_a_remote_cluster() -> Result<()> {
    let cluster = installed().await?;
    let group = ["--as=a-role", "--as-group=mw-sync-master", "--as-group=system:authenticated"];
    rights(&cluster, &cluster.admin_kubeconfig(), &group, &REMOTE).await
}

#[tokio::test]
async fn so_may_a_service_account_made_as_the_file_says() -> Result<()> {
    let cluster = installed().await?;
    // The two commands in the head of remote-access.yaml.
    cluster.kubectl(&["-n", "operator", "create", "serviceaccount", "mw-sync-remote"]).await?;
    let binding = ["-n", "operator", "create", "rolebinding", "mw-sync-remote-token", "--role=mw-sync-remote"];
    cluster.kubectl(&[&binding[..], &["--serviceaccount=operator:mw-sync-remote"]].concat()).await?;
    let remote = cluster.kubeconfig_for_service_account("operator", "mw-sync-remote").await?;
    rights(&cluster, &remote, &[], &REMOTE).await
}
