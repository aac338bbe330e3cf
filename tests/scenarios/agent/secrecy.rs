//! Payload bytes and tokens in nothing that is written.

use std::hash::{BuildHasher as _, RandomState};

use anyhow::{Result, ensure};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use testbed::{Binaries, Process, Rejection, TalkativeWebhook, eventually};

use super::port::{fetch, port};
use crate::support::{Kind, SOON, Shared, annotated, asking, shared_agent, spawn};

/// A text that is nowhere else, and every form in which it could be written.
struct Marker {
    base64: Value,
    plain: String,
}

impl Marker {
    fn new() -> Result<Self> {
        let plain = format!("Hunter{:016x}Zz", RandomState::new().hash_one(0));
        Ok(Self { base64: serde_json::to_value(ByteString(plain.clone().into_bytes()))?, plain })
    }

    fn assert_not_in(&self, text: &str, what: &str) {
        let bytes = self.plain.as_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let numbers = format!("{bytes:?}");
        let base64 = self.base64.as_str().unwrap_or_default().trim_end_matches('=');
        assert!(base64.len() > 20);
        for form in [&*self.plain, base64, &hex, &hex.to_uppercase(), numbers.trim_matches(['[', ']'])] {
            let line = text.lines().find(|line| line.contains(form));
            assert_eq!(line, None, "{form} of {what}");
        }
    }
}

/// Rejects copies of `secrecy` where the namespace is so labelled.
fn policy() -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "secrecy"},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                    "resources": ["secrets"]
                }]},
                // It has seen the payload, and says so.
                "validations": [{
                    "expression": "object.metadata.name != 'secrecy'",
                    "messageExpression": "'not in this place: ' + string(object.data.password)"
                }]
            }
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": "secrecy"},
            "spec": {
                "policyName": "secrecy", "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {"secrecy": "deny"}}}
            }
        }
    ]})
}

/// Promises 5, 6 and 10: at `trace`, over creates, updates, drift, recreation, refusals and rejections.
#[tokio::test]
async fn no_payload_is_in_a_log_at_trace_nor_in_an_event() -> Result<()> {
    let shared = shared_agent().await?;
    let (cluster, world) = (&shared.cluster, &shared.world);
    for name in ["secrecy", "secrecy-quota", "secrecy-policy", "secrecy-foreign"] {
        world.namespace(name).await?;
    }
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": "secrecy-quota"},
        "spec": {"hard": {"count/secrets": "0"}}
    });
    cluster.kubectl_stdin(&["apply", "-f", "-"], quota.to_string()).await?;
    world.merge(Kind::Namespace, "", "secrecy-policy", &json!({"metadata": {"labels": {"secrecy": "deny"}}})).await?;
    cluster.kubectl_stdin(&["apply", "-f", "-"], policy().to_string()).await?;
    for (namespace, words) in [("secrecy-quota", "exceeded quota"), ("secrecy-policy", "ValidatingAdmissionPolicy")] {
        eventually(SOON, format!("{namespace} rejects"), async || {
            let create = ["-n", namespace, "create", "secret", "generic", "secrecy", "--dry-run=server"];
            let error = cluster.kubectl(&create).await.err().map(|error| error.to_string()).unwrap_or_default();
            ensure!(error.contains(words), "{error}");
            Ok(())
        })
        .await;
    }
    let (first, second, theirs) = (Marker::new()?, Marker::new()?, Marker::new()?);
    let mut foreign = annotated(Kind::Secret, "secrecy", &json!({"password": theirs.base64}));
    foreign["metadata"]["namespace"] = "secrecy-foreign".into();
    // kubectl keeps all that was applied in an annotation, the payload too.
    let apply = async |mut object: Value| {
        if object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = "operator".into();
        }
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        cluster.kubectl_stdin(&["apply", "-f", "-"], object.to_string()).await?;
        let there = world.get(Kind::Secret, &namespace, "secrecy").await?;
        let kept = there["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str();
        let payload = object["data"]["password"].as_str().unwrap_or_default();
        ensure!(kept.is_some_and(|kept| kept.contains(payload)), "{kept:?}");
        anyhow::Ok(())
    };
    apply(foreign).await?;

    // Create, with a rejection by each, a refusal, and a ConfigMap with the plain text. Not where another test has a
    // webhook that rejects everything.
    let here = json!({"mw-sync.io/namespaces": "secrecy*"});
    apply(asking(Kind::Secret, "secrecy", &json!({"password": first.base64}), &here)).await?;
    world.create(&annotated(Kind::ConfigMap, "secrecy", &json!({"password": first.plain}))).await?;
    world.until_there(Kind::Secret, "secrecy", "secrecy").await;
    world.until_there(Kind::ConfigMap, "secrecy", "secrecy").await;
    eventually(SOON, "the rejections are logged", async || {
        let log = shared.agent.stderr();
        for words in ["exceeded quota", "ValidatingAdmissionPolicy", "Secret secrecy-foreign/secrecy"] {
            ensure!(log.contains(words), "nothing of {words}");
        }
        Ok(())
    })
    .await;
    // Who has it rejected is told, and all that is the matter.
    let said = world.until_said(Kind::Secret, "secrecy", "Rejected", &["Rejected, ", "1 ForeignObject"]).await;
    // Of the two that reject it the first is named, with its own words.
    let names =
        |place: &str, words: &str| said.note.contains(&format!("{place}: Rejected, ")) && said.note.contains(words);
    let (policy, quota) =
        (names("secrecy-policy", "ValidatingAdmissionPolicy"), names("secrecy-quota", "exceeded quota"));
    assert!(policy || quota, "{said:?}");
    assert_not_told(&shared, "secrecy", &[&first, &theirs]).await?;
    // Update, drift with another's payload, recreation.
    world.merge(Kind::Secret, "operator", "secrecy", &json!({"data": {"password": second.base64}})).await?;
    world.merge(Kind::ConfigMap, "operator", "secrecy", &json!({"data": {"password": second.plain}})).await?;
    world.until_data(Kind::Secret, "secrecy", "secrecy", &json!({"password": second.base64})).await;
    world.merge(Kind::Secret, "secrecy", "secrecy", &json!({"data": {"password": theirs.base64}})).await?;
    world.until_data(Kind::Secret, "secrecy", "secrecy", &json!({"password": second.base64})).await;
    world.delete(Kind::Secret, "operator", "secrecy").await?;
    let mut anew = asking(Kind::Secret, "secrecy", &json!({"password": first.base64}), &here);
    anew["type"] = "example.com/other".into();
    apply(anew).await?;
    world.until_data(Kind::Secret, "secrecy", "secrecy", &json!({"password": first.base64})).await;
    // Frozen.
    world.annotate(Kind::Secret, "secrecy", &json!({"mw-sync": "perhaps"})).await?;
    world.merge(Kind::Secret, "operator", "secrecy", &json!({"data": {"password": second.base64}})).await?;
    world.until_data(Kind::Secret, "secrecy", "secrecy", &json!({"password": second.base64})).await;
    world.annotate(Kind::Secret, "secrecy", &json!({"mw-sync": "yes"})).await?;

    // Rejections are mended without a restart.
    cluster.kubectl(&["-n", "secrecy-quota", "delete", "resourcequota", "none"]).await?;
    cluster.kubectl(&["delete", "validatingadmissionpolicybinding", "secrecy"]).await?;
    world.until_data(Kind::Secret, "secrecy-quota", "secrecy", &json!({"password": second.base64})).await;
    world.until_data(Kind::Secret, "secrecy-policy", "secrecy", &json!({"password": second.base64})).await;

    assert!(shared.agent.stderr().contains("DEBUG") && shared.agent.stdout().is_empty());
    assert_not_told(&shared, "secrecy", &[&first, &second, &theirs]).await?;
    Ok(())
}

/// Looks for these in all that the agent tells anybody, also of this source: its log, Events, summary, status, page and
/// metrics. Returns the status.
async fn assert_not_told(shared: &Shared, source: &str, markers: &[&Marker]) -> Result<String> {
    let (people, metrics) = (port(shared.agent, "kubectl port-forward").await, port(shared.agent, "/metrics").await);
    let page = async |address, path| {
        let (code, page) = fetch(address, path).await?;
        ensure!(code == 200, "{path}: {code} {page}");
        anyhow::Ok(page)
    };
    // It is given again for a second, to whoever asks meanwhile.
    let status = eventually(SOON, "the status has the source", async || {
        let status = page(people, "/status").await?;
        ensure!(status.contains(&format!("Secret/{source}\"")), "nothing of {source}: {status}");
        Ok(status)
    })
    .await;
    let summary = ["-n", "operator", "get", "configmap", "mw-sync-agent", "-o", "json"];
    let told = [
        (&shared.agent.stderr(), "the log"),
        (&shared.cluster.kubectl(&["get", "events.events.k8s.io", "-A", "-o", "json"]).await?, "the Events"),
        (&shared.cluster.kubectl(&summary).await?, "the summary"),
        (&status, "/status"),
        (&page(people, "/").await?, "the page"),
        (&page(metrics, "/metrics").await?, "the metrics"),
    ];
    for marker in markers {
        told.iter().for_each(|(text, what)| marker.assert_not_in(text, what));
    }
    Ok(status)
}

/// Promises 5, 6 and 10: people read which webhook has rejected a copy, and nothing of what it says of the payload.
#[tokio::test]
async fn a_webhook_that_quotes_what_it_rejects_is_named_and_not_quoted() -> Result<()> {
    let shared = shared_agent().await?;
    let (cluster, world) = (&shared.cluster, &shared.world);
    let (webhook, marker) = (TalkativeWebhook::start().await?, Marker::new()?);
    let name = |rejection: Rejection| format!("talk-{}", rejection.name());
    for rejection in Rejection::ALL {
        let (name, (url, ca)) = (name(rejection), webhook.url(rejection));
        world.namespace(&name).await?;
        let ca = serde_json::to_value(ByteString(ca.as_bytes().to_vec()))?;
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{
                "name": format!("{name}.example.com"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "failurePolicy": "Fail", "timeoutSeconds": 5, "clientConfig": {"url": url, "caBundle": ca},
                "rules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                    "resources": ["secrets"]
                }],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}
            }]
        });
        cluster.kubectl_stdin(&["apply", "-f", "-"], configuration.to_string()).await?;
        eventually(SOON, format!("{name} rejects, and says why"), async || {
            let create =
                ["-n", &*name, "create", "secret", "generic", "x", "--from-literal=a=quoted", "--dry-run=server"];
            let error = cluster.kubectl(&create).await.err().map(|error| error.to_string()).unwrap_or_default();
            ensure!(error.contains("cXVvdGVk"), "{error}");
            Ok(())
        })
        .await;
    }
    let here = json!({"mw-sync.io/namespaces": "talk-*,default"});
    world.create(&asking(Kind::Secret, "talkative", &json!({"password": marker.base64}), &here)).await?;
    for rejection in Rejection::ALL {
        let words = format!("webhook \"{}.example.com\"", name(rejection));
        eventually(SOON, format!("the log names {words}"), async || {
            let log = shared.agent.stderr().replace('\\', "");
            ensure!(log.contains(&words), "nothing of it");
            Ok(())
        })
        .await;
    }
    world.until_there(Kind::Secret, "default", "talkative").await;
    let words = ["Rejected, ", "1 ServerUnavailable", "failed calling webhook \"talk-failure.example.com\""];
    world.until_said(Kind::Secret, "talkative", "Rejected", &words).await;
    let status = assert_not_told(&shared, "talkative", &[&marker]).await?;
    assert!(status.contains("talk-failure.example.com"), "{status}");
    for rejection in Rejection::ALL {
        cluster.kubectl(&["delete", "validatingwebhookconfiguration", &name(rejection)]).await?;
    }
    // Mended without a restart, though later and later.
    world.until_there(Kind::Secret, &name(Rejection::Denial), "talkative").await;
    assert_not_told(&shared, "talkative", &[&marker]).await?;
    Ok(())
}

/// Promise 6: whatever is wrong with a kubeconfig, its token is not in what is said about it.
#[tokio::test]
async fn a_broken_kubeconfig_is_not_quoted() -> Result<()> {
    let marker = Marker::new()?;
    let token = &marker.plain;
    let whole = |user: &str, cluster: &str| {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
             clusters: [{{name: a, cluster: {{server: 'https://127.0.0.1:1'{cluster}}}}}]\n\
             contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
             users: [{{name: a, user: {{token: {token}{user}}}}}]\n"
        )
    };
    let texts = [
        format!("users: [{{user: {{token: {token}}}\n"),
        format!("{token}\n"),
        format!("users:\n- name: a\n  user: {token}\n"),
        format!("users:\n- name: a\n  user:\n    token: [{token}]\n"),
        format!("users:\n- name: a\n  user:\n    token: \"{token}\n"),
        whole(&format!(", client-certificate-data: {token}, client-key-data: {token}"), ""),
        whole("", &format!(", certificate-authority-data: {token}")),
    ];
    let dir = tempfile()?;
    for (n, text) in texts.iter().enumerate() {
        let path = dir.join(n.to_string());
        std::fs::write(&path, text)?;
        let agent = spawn(&path, &["--log=trace"]).await?;
        let status = agent.wait_exit(SOON).await?;
        let said = format!("{}{}", agent.stdout(), agent.stderr());
        assert_eq!(status.code(), Some(2), "{text}: {said}");
        assert!(said.contains("kubeconfig"), "{text}: {said}");
        marker.assert_not_in(&said, text);
    }
    // A login command that fails shows nothing of what it prints.
    let path = dir.join("exec");
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "interactiveMode": "Never",
        "args": ["-c", format!("echo {token}; echo {token} >&2; exit 1")]
    });
    let user = json!({"exec": exec});
    let text = whole("", "").replace(&format!("{{token: {token}}}"), &user.to_string());
    std::fs::write(&path, text)?;
    let agent = Process::spawn(Binaries::build().await?.agent(), ["--log=trace"], [("KUBECONFIG", &path)])?;
    let status = agent.wait_exit(SOON).await;
    let said = format!("{}{}", agent.stdout(), agent.stderr());
    marker.assert_not_in(&said, "a login command");
    assert_eq!(status?.code(), Some(2), "{said}");
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

/// A folder of this test's own.
fn tempfile() -> Result<std::path::PathBuf> {
    let dir = std::env::temp_dir().join(format!("mw-sync-secrecy-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}
