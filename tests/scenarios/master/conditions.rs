//! What the condition `Ready` says, and that each trouble passes without a restart.

use anyhow::Result;
use serde_json::json;
use testbed::{Cluster, FaultProxy, Kubeconfig, Mode, shared};

use super::api;
use super::stage::{Stage, end};

/// A kubeconfig with one line replaced.
fn edited(access: &Kubeconfig, from: &str, to: &str) -> String {
    let text = access.to_yaml();
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

#[tokio::test]
async fn what_is_wrong_with_a_secret_or_its_kubeconfig_is_said_and_can_be_corrected() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, "m-secrets").await?;
    let access = stage.prepare(&remote).await?;
    let master = stage.master(&[]).await?;
    let good = access.to_yaml();

    // All lead to one cluster, so each fills a namespace of its own.
    let put = async |name: &str| {
        let namespace = format!("m-secrets-{name}");
        stage.prepare_also(&remote, &namespace).await?;
        stage.remote_cluster_in(name, &namespace).await
    };
    put("absent").await?;
    let message = stage.is("absent", "SecretMissing").await;
    assert!(message.contains("kubectl -n m-secrets create secret generic absent --type=mw-sync.io/kubeconfig"));
    api::create(&management, &api::secret("m-secrets", ""), &api::opaque("other-type", "x")).await?;
    put("other-type").await?;
    let message = stage.is("other-type", "SecretWrongType").await;
    assert!(message.contains("Secret m-secrets/other-type is of type Opaque"), "{message}");
    // Whatever comes first.
    api::create(&management, &api::secret("m-secrets", ""), &api::opaque("absent", "x")).await?;
    let message = stage.is("absent", "SecretWrongType").await;
    assert!(message.contains("Secret m-secrets/absent is of type Opaque"), "{message}");
    api::delete(&management, &stage.path("absent")).await?;
    stage.is("absent", "SecretMissing").await;
    stage.kubeconfig("other-key", &good).await?;
    put("other-key").await?;
    stage.change("other-key", json!({ "kubeconfig": { "key": "config" } })).await?;
    let message = stage.is("other-key", "SecretKeyMissing").await;
    assert!(message.contains("nothing under the key config"), "{message}");

    let token = format!("token: {}", access.token);
    let ca = good.lines().find(|line| line.contains("certificate-authority-data")).unwrap_or_default();
    let invalid = [
        ("exec", edited(&access, &token, "exec: {command: steal, apiVersion: v1}"), "exec runs steal"),
        ("no-login", edited(&access, &token, "username: ''"), "token is missing"),
        ("no-ca", edited(&access, ca, ""), "certificate-authority-data is missing"),
        ("plain-http", edited(&access, "https://", "http://"), "server is not https"),
        (
            "metadata",
            edited(&access, "127.0.0.1", "169.254.169.254"),
            "run master with --allow-addresses=169.254.169.254",
        ),
        ("no-yaml", format!("clusters: [\n{token}"), "cannot be read at line"),
        ("no-context", edited(&access, "current-context: mw-sync-remote", "current-context: x"), "no context \"x\""),
    ];
    for (name, text, _) in &invalid {
        stage.kubeconfig(name, text).await?;
        put(name).await?;
    }
    for (name, _, expected) in &invalid {
        let message = stage.is(name, "KubeconfigInvalid").await;
        assert!(message.contains(expected) && !message.contains(&access.token), "{name}: {message}");
    }
    stage.kubeconfig("wrong-context", &good).await?;
    put("wrong-context").await?;
    stage.change("wrong-context", json!({ "kubeconfig": { "context": "nowhere" } })).await?;
    let message = stage.is("wrong-context", "KubeconfigInvalid").await;
    assert!(message.contains("no context \"nowhere\": name one of \"mw-sync-remote\""), "{message}");

    stage.change("wrong-context", json!({ "kubeconfig": { "context": null } })).await?;
    stage.change("other-key", json!({ "kubeconfig": { "key": "kubeconfig" } })).await?;
    api::delete(&management, &stage.path("other-type")).await?;
    let corrected = invalid.iter().map(|(name, ..)| *name).chain(["absent", "other-type"]);
    for name in corrected.clone() {
        stage.kubeconfig(name, &good).await?;
    }
    for name in corrected.chain(["wrong-context", "other-key"]) {
        stage.is(name, "Connected").await;
    }
    end(&master).await
}

async fn at(stage: &Stage<'_>, name: &str, access: &Kubeconfig, namespace: &str) -> Result<()> {
    stage.kubeconfig(name, &access.to_yaml()).await?;
    stage.remote_cluster_in(name, namespace).await
}

#[tokio::test]
async fn what_is_wrong_with_a_cluster_is_said_and_passes() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let remote: &Cluster = &remote;
    let stage = Stage::new(&management, "m-clusters").await?;
    let access = stage.prepare(remote).await?;
    stage.source("one", "1").await?;
    let master = stage.master(&[]).await?;

    let proxy = FaultProxy::start(remote.server_addr())?;
    proxy.set(Mode::Refuse).await;
    // One cluster, so each fills a namespace of its own.
    for namespace in ["m-clusters-down", "m-clusters-ca", "m-clusters-token"] {
        stage.prepare_also(remote, namespace).await?;
    }
    at(&stage, "down", &access.clone().by_server(proxy.url()), "m-clusters-down").await?;
    let other_ca = Kubeconfig { ca_pem: management.ca_pem().to_owned(), ..access.clone() };
    at(&stage, "other-ca", &other_ca, "m-clusters-ca").await?;
    let old_token = Kubeconfig { token: "nobodys".to_owned(), ..access.clone() };
    at(&stage, "old-token", &old_token, "m-clusters-token").await?;
    remote.kubectl(&["-n", "m-clusters", "create", "serviceaccount", "powerless"]).await?;
    let powerless = remote.service_account("m-clusters", "powerless").await?;
    at(&stage, "powerless", &powerless, "m-clusters").await?;
    at(&stage, "no-namespace", &access, "m-clusters-none").await?;
    at(&stage, "no-namespace-admin", &remote.admin(), "m-clusters-nil").await?;

    for (name, reason, expected) in [
        ("down", "Unreachable", "check the server's address"),
        ("other-ca", "CertificateMismatch", "check certificate-authority-data"),
        ("old-token", "Unauthorised", "renew the token"),
        ("powerless", "Forbidden", "system:serviceaccount:m-clusters:powerless"),
        // Rights go with their namespace, so that most logins learn nothing else of one that is missing.
        ("no-namespace", "Forbidden", "perhaps namespace m-clusters-none does not exist there"),
        ("no-namespace-admin", "NamespaceMissing", "namespace m-clusters-nil does not exist there"),
    ] {
        let message = stage.is(name, reason).await;
        assert!(message.contains(expected), "{name}: {message}");
        let recipe = "-f deploy/namespace.yaml -f deploy/remote-access.yaml";
        assert!(!name.starts_with("no-namespace") || message.contains(recipe), "{name}: {message}");
    }

    proxy.set(Mode::Pass).await;
    stage.kubeconfig("other-ca", &access.to_yaml()).await?;
    stage.kubeconfig("old-token", &access.to_yaml()).await?;
    let rights =
        ["create", "rolebinding", "powerless", "--role=mw-sync-remote", "--serviceaccount=m-clusters:powerless"];
    remote.kubectl(&[&["-n", "m-clusters"], &rights[..]].concat()).await?;
    remote.kubectl(&["create", "namespace", "m-clusters-nil"]).await?;
    remote.kubectl(&["create", "namespace", "m-clusters-none"]).await?;
    let rights = ["create", "rolebinding", "late", "--clusterrole=admin", "--serviceaccount=m-clusters:mw-sync-remote"];
    remote.kubectl(&[&["-n", "m-clusters-none"], &rights[..]].concat()).await?;
    for name in ["down", "other-ca", "old-token", "powerless", "no-namespace", "no-namespace-admin"] {
        stage.is(name, "Connected").await;
    }
    stage.copy_is(remote, "one", |_| true).await;
    for namespace in ["m-clusters-down", "m-clusters-ca", "m-clusters-token", "m-clusters-none", "m-clusters-nil"] {
        stage.copy_in(remote, namespace, "one").await;
    }

    // While it runs: the namespace goes, and with it our rights there.
    remote.kubectl(&["delete", "namespace", "m-clusters-none", "--wait=true", "--timeout=60s"]).await?;
    let message = stage.is("no-namespace", "Forbidden").await;
    assert!(message.contains("perhaps namespace m-clusters-none does not exist there"), "{message}");
    remote.kubectl(&["create", "namespace", "m-clusters-none"]).await?;
    remote.kubectl(&[&["-n", "m-clusters-none"], &rights[..]].concat()).await?;
    stage.is("no-namespace", "Connected").await;
    stage.copy_in(remote, "m-clusters-none", "one").await;
    end(&master).await
}
