//! Sources that cannot be understood, and those that are never copied.

use anyhow::Result;
use serde_json::{Value, json};

use crate::support::{Kind, annotated, asking, shared_agent, uid};

/// DESIGN section 3, "Frozen": data follows, nothing is created, nothing is deleted.
#[tokio::test]
async fn a_frozen_source_keeps_its_copies_and_makes_none() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    let freezes = [
        ("frozen-value", json!({"mw-sync": "maybe"}), json!({"mw-sync": "yes"})),
        ("frozen-key", json!({"mw-sync.io/namespacez": "a"}), json!({"mw-sync.io/namespacez": null})),
        // Without a switch that can be read, and with a key that cannot.
        ("frozen-both", json!({"mw-sync": null, "mw-sync.io/x": ""}), json!({"mw-sync": "1", "mw-sync.io/x": null})),
    ];
    world.namespace("frozen").await?;
    world.namespace("frozen-gap").await?;
    for (name, freeze, thaw) in freezes {
        world.create(&annotated(Kind::Secret, name, &json!({"a": "MQ=="}))).await?;
        let copy = world.until_there(Kind::Secret, "frozen", name).await;
        world.until_there(Kind::Secret, "frozen-gap", name).await;
        world.annotate(Kind::Secret, name, &freeze).await?;
        world.merge(Kind::Secret, "operator", name, &json!({"data": {"a": "Mg=="}})).await?;
        let followed = world.until_data(Kind::Secret, "frozen", name, &json!({"a": "Mg=="})).await;
        assert_eq!(uid(&followed), uid(&copy), "{name}");
        // One that goes is not made again, and a new namespace gets none.
        world.delete(Kind::Secret, "frozen-gap", name).await?;
        let late = format!("{name}-late");
        world.namespace(&late).await?;
        let fence = format!("{name}-fence");
        world.create(&annotated(Kind::Secret, &fence, &json!({}))).await?;
        world.until_there(Kind::Secret, &late, &fence).await;
        world.until_there(Kind::Secret, "frozen-gap", &fence).await;
        for namespace in [&*late, "frozen-gap"] {
            assert!(world.find(Kind::Secret, namespace, name).await?.is_none(), "{name} in {namespace}");
        }
        // Drift is still repaired.
        world.merge(Kind::Secret, "frozen", name, &json!({"data": {"a": "Mw=="}})).await?;
        world.until_data(Kind::Secret, "frozen", name, &json!({"a": "Mg=="})).await;
        world.annotate(Kind::Secret, name, &thaw).await?;
        for namespace in [&*late, "frozen-gap"] {
            world.until_data(Kind::Secret, namespace, name, &json!({"a": "Mg=="})).await;
        }
        assert_eq!(uid(&world.get(Kind::Secret, "frozen", name).await?), uid(&copy), "{name}");
        let log = shared.agent.stderr();
        let said = log.lines().any(|line| line.contains("Frozen") && line.contains(name));
        assert!(said, "nothing says that {name} was frozen");
    }
    Ok(())
}

/// DESIGN section 3, "Never replicated"; promise 10.
#[tokio::test]
async fn some_types_and_names_are_never_copied() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    world.namespace("never").await?;
    world.until_there(Kind::ConfigMap, "operator", "kube-root-ca.crt").await;
    let of_type = |name: &str, of_type: &str| {
        let mut source = annotated(Kind::Secret, name, &Value::Null);
        source["type"] = of_type.into();
        source
    };
    let mut token = of_type("never-token", "kubernetes.io/service-account-token");
    token["metadata"]["annotations"]["kubernetes.io/service-account.name"] = "mw-sync-agent".into();
    world.create(&token).await?;
    world.create(&of_type("never-bootstrap", "bootstrap.kubernetes.io/token")).await?;
    world.create(&of_type("never-helm", "helm.sh/release.v1")).await?;
    world.create(&of_type("never-kubeconfig", "mw-sync.io/kubeconfig")).await?;
    world.create(&annotated(Kind::ConfigMap, "aws-auth", &json!({}))).await?;
    // The agent's own.
    world.until_there(Kind::ConfigMap, "operator", "mw-sync-agent").await;
    world.annotate(Kind::ConfigMap, "mw-sync-agent", &json!({"mw-sync": "yes"})).await?;
    world.annotate(Kind::ConfigMap, "kube-root-ca.crt", &json!({"mw-sync": "yes"})).await?;
    for kind in [Kind::Secret, Kind::ConfigMap] {
        world.create(&annotated(kind, "never-fence", &json!({}))).await?;
        world.until_there(kind, "never", "never-fence").await;
    }
    for (kind, name) in [
        (Kind::Secret, "never-token"),
        (Kind::Secret, "never-bootstrap"),
        (Kind::Secret, "never-helm"),
        (Kind::Secret, "never-kubeconfig"),
        (Kind::ConfigMap, "aws-auth"),
        (Kind::ConfigMap, "mw-sync-agent"),
    ] {
        assert!(world.copies(kind, name).await?.is_empty(), "{name}");
    }
    for name in ["never-token", "never-helm", "kube-root-ca.crt", "aws-auth"] {
        let log = shared.agent.stderr();
        let said = log.lines().any(|line| line.contains("NeverReplicated") && line.contains(name));
        assert!(said, "nothing says that {name} is never copied");
    }
    // Those that every namespace has by itself are as they were.
    let after = world.until_there(Kind::ConfigMap, "never", "kube-root-ca.crt").await;
    assert!(after["metadata"]["labels"].is_null(), "{after:#}");
    world.annotate(Kind::ConfigMap, "kube-root-ca.crt", &json!({"mw-sync": null})).await?;
    world.annotate(Kind::ConfigMap, "mw-sync-agent", &json!({"mw-sync": null})).await?;
    Ok(())
}

/// DESIGN section 3 and promise 10: the Event names the annotation, shows the value, and says what was expected.
#[tokio::test]
async fn what_freezes_a_source_is_an_event_that_says_what_to_write() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    world.namespace("bad").await?;
    let bad = [
        ("mw-sync", "perhaps", "write yes (also true, on, 1) or no (also false, off, 0)"),
        ("mw-sync.io/sync", "", "write yes"),
        ("mw-sync.io/namespaces", "Team-*", "'T' cannot be part of a name; write names or globs, separated by commas"),
        ("mw-sync.io/namespaces", "a,,b", "an entry is empty; write names or globs"),
        ("mw-sync.io/clusters", "!", "an entry is empty; write names or globs"),
        ("mw-sync.io/namespace-selector", "env in prod", "should come a list in parentheses; write a label selector"),
        ("mw-sync.io/cluster-selector", "env=prod,", "should come a label key; write a label selector"),
        ("mw-sync.io/on-conflict", "force", "write refuse, adopt-equal or adopt"),
        ("mw-sync.io/on-delete", "keep", "write delete or retain"),
        ("mw-sync.io/copy-annotations", "mw-sync.io/origin", "is ours and is never copied"),
        ("mw-sync.io/copy-annotations", "a b", "\"a b\" is no annotation key; write keys, separated by commas"),
        ("mw-sync.io/image-pull-secret", "default", "only a Secret of type kubernetes.io/dockerconfigjson"),
        ("mw-sync.io/nmespaces", "a", "is not known to this version (is mw-sync.io/namespaces meant?)"),
        ("mw-sync.io/of-tomorrow", "a", "is not known to this version: correct the key or remove it"),
    ];
    let name = |n: usize| format!("bad-{n}");
    for (n, (key, value, _)) in bad.iter().enumerate() {
        world.create(&asking(Kind::Secret, &name(n), &json!({}), &json!({*key: value}))).await?;
    }
    for (n, (key, value, expected)) in bad.iter().enumerate() {
        let unknown = expected.contains("not known");
        let subject = if unknown { format!("annotation {key} ") } else { format!("annotation {key} is {value:?}: ") };
        let said = world.until_said(Kind::Secret, &name(n), "Frozen", &[&subject, expected]).await;
        assert!(said.kind == "Warning" && said.note.contains("none is created or deleted"), "{said:?}");
    }
    world.create(&annotated(Kind::Secret, "bad-fence", &json!({}))).await?;
    world.until_there(Kind::Secret, "bad", "bad-fence").await;
    for n in 0..bad.len() {
        assert!(world.copies(Kind::Secret, &name(n)).await?.is_empty(), "{:?}", bad.get(n));
    }
    // Corrected, each is a source as any.
    for (n, (key, ..)) in bad.iter().enumerate() {
        let thaw = json!({*key: if *key == "mw-sync" { json!("yes") } else { Value::Null }});
        world.annotate(Kind::Secret, &name(n), &thaw).await?;
        world.until_there(Kind::Secret, "bad", &name(n)).await;
    }
    Ok(())
}
