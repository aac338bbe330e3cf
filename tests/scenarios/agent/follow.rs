//! Copies are where they belong and equal their source.

use anyhow::Result;
use serde_json::{Value, json};

use crate::support::{Kind, annotated, shared_agent, uid, version};

/// Promises 3 and 7.
#[tokio::test]
async fn copies_follow_their_source_in_every_namespace() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    for name in ["follow-a", "follow-b"] {
        world.namespace(name).await?;
    }
    let namespaces = ["follow-a", "follow-b", "default", "kube-system"];
    let source = world.create(&annotated(Kind::Secret, "follow", &json!({"a": "MQ==", "b": "Mg=="}))).await?;
    for namespace in namespaces {
        let copy = world.until_data(Kind::Secret, namespace, "follow", &source["data"]).await;
        assert_eq!(copy["type"], "Opaque");
        assert!(copy["immutable"].is_null() && copy["metadata"]["ownerReferences"].is_null(), "{copy:#}");
    }
    // A key that the source loses is lost everywhere.
    let changed = world.merge(Kind::Secret, "operator", "follow", &json!({"data": {"a": "Mw==", "b": null}})).await?;
    assert_eq!(changed["data"], json!({"a": "Mw=="}));
    for namespace in namespaces {
        world.until_data(Kind::Secret, namespace, "follow", &changed["data"]).await;
    }
    let after = world.get(Kind::Secret, "operator", "follow").await?;
    assert_eq!(version(&after), version(&changed), "nobody writes to a source");
    Ok(())
}

/// Promise 3: what makes a pair is kind and name.
#[tokio::test]
async fn a_secret_and_a_config_map_of_one_name_do_not_clash() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    world.namespace("twins").await?;
    world.create(&annotated(Kind::Secret, "twins", &json!({"a": "MQ=="}))).await?;
    world.create(&annotated(Kind::ConfigMap, "twins", &json!({"a": "one"}))).await?;
    world.until_data(Kind::Secret, "twins", "twins", &json!({"a": "MQ=="})).await;
    let copy = world.until_data(Kind::ConfigMap, "twins", "twins", &json!({"a": "one"})).await;
    // The end of one is not the end of the other.
    world.annotate(Kind::Secret, "twins", &json!({"mw-sync": "no"})).await?;
    world.until_gone(Kind::Secret, "twins", "twins").await;
    assert_eq!(uid(&world.get(Kind::ConfigMap, "twins", "twins").await?), uid(&copy));
    Ok(())
}

/// Promise 7: only what is annotated, and only in the source namespace.
#[tokio::test]
async fn what_is_not_annotated_there_is_not_copied() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    for name in ["plain-a", "plain-b"] {
        world.namespace(name).await?;
    }
    let mut elsewhere = annotated(Kind::Secret, "plain-elsewhere", &json!({"a": "MQ=="}));
    elsewhere["metadata"]["namespace"] = "plain-a".into();
    world.create(&elsewhere).await?;
    let mut plain = annotated(Kind::Secret, "plain", &json!({"a": "MQ=="}));
    plain["metadata"]["annotations"] = json!({"note": "yes"});
    world.create(&plain).await?;
    // A source made after them is copied before or after: when it is there, they would be too.
    world.create(&annotated(Kind::Secret, "plain-fence", &json!({}))).await?;
    world.until_there(Kind::Secret, "plain-b", "plain-fence").await;
    assert!(world.copies(Kind::Secret, "plain").await?.is_empty());
    assert_eq!(world.copies(Kind::Secret, "plain-elsewhere").await?.len(), 1);
    // The annotation makes it a source, whatever its age and however it is spelled.
    world.annotate(Kind::Secret, "plain", &json!({"mw-sync.io/sync": "On"})).await?;
    world.until_there(Kind::Secret, "plain-a", "plain").await;
    Ok(())
}

/// Promise 3, at the limits of what an object can be.
#[tokio::test]
async fn long_names_binary_data_and_no_data_are_copied() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    world.namespace("limits").await?;
    let long = format!("limits-{}", "n".repeat(246));
    assert_eq!(long.len(), 253);
    // All bytes, 0 to 255 among them those that are no UTF-8.
    let bytes = k8s_openapi::ByteString((0..=255).collect());
    let bytes = serde_json::to_value(bytes)?;
    let mut binary = annotated(Kind::ConfigMap, &long, &json!({"text": "\u{0}ü\n"}));
    binary["binaryData"] = json!({"all": bytes, "none": ""});
    world.create(&binary).await?;
    world.create(&annotated(Kind::Secret, &long, &json!({"all": bytes, "none": ""}))).await?;
    world.create(&annotated(Kind::Secret, "limits-empty", &json!({}))).await?;
    world.create(&annotated(Kind::ConfigMap, "limits-empty", &Value::Null)).await?;
    for (kind, name) in [
        (Kind::ConfigMap, &*long),
        (Kind::Secret, &*long),
        (Kind::Secret, "limits-empty"),
        (Kind::ConfigMap, "limits-empty"),
    ] {
        let (source, copy) = (world.get(kind, "operator", name).await?, world.until_there(kind, "limits", name).await);
        for field in ["data", "binaryData", "type", "immutable"] {
            assert_eq!(copy[field], source[field], "{field} of {}", kind.name());
        }
    }
    let copy = world.get(Kind::Secret, "limits", &long).await?;
    let label = copy["metadata"]["labels"]["mw-sync.io/source"].as_str().unwrap_or_default();
    assert!(label.len() == 63 && label.starts_with(&long[..54]), "{label}");
    // From data to none and back.
    world.merge(Kind::ConfigMap, "operator", &long, &json!({"data": null, "binaryData": null})).await?;
    let copy = world.until_data(Kind::ConfigMap, "limits", &long, &Value::Null).await;
    assert!(copy["binaryData"].is_null(), "{copy:#}");
    world.merge(Kind::Secret, "operator", "limits-empty", &json!({"data": {"a": "MQ=="}})).await?;
    world.until_data(Kind::Secret, "limits", "limits-empty", &json!({"a": "MQ=="})).await;
    Ok(())
}

/// Promise 3: what an update cannot change is made anew.
#[tokio::test]
async fn another_type_and_immutable_data_make_new_copies() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    world.namespace("anew").await?;
    let mut source = annotated(Kind::Secret, "anew", &json!({"a": "MQ=="}));
    world.create(&source).await?;
    let first = world.until_there(Kind::Secret, "anew", "anew").await;

    // `immutable` itself is an update.
    world.merge(Kind::Secret, "operator", "anew", &json!({"immutable": true})).await?;
    let there = (Kind::Secret, "anew", "anew");
    let fixed = world.until(there, "is immutable", |copy| copy["immutable"] == true).await;
    assert_eq!(uid(&fixed), uid(&first));

    // Other immutable data.
    world.delete(Kind::Secret, "operator", "anew").await?;
    (source["data"], source["immutable"]) = (json!({"a": "Mg=="}), true.into());
    world.create(&source).await?;
    let second = world.until_data(Kind::Secret, "anew", "anew", &source["data"]).await;
    assert!(second["immutable"] == true && uid(&second) != uid(&first), "{second:#}");

    // No longer immutable, and of another type.
    world.delete(Kind::Secret, "operator", "anew").await?;
    (source["immutable"], source["type"]) = (false.into(), "example.com/other".into());
    world.create(&source).await?;
    let third = world.until(there, "has the type", |copy| copy["type"] == "example.com/other").await;
    assert!(third["immutable"] != true && uid(&third) != uid(&second), "{third:#}");
    // And an ordinary copy again.
    world.merge(Kind::Secret, "operator", "anew", &json!({"data": {"a": "Mw=="}})).await?;
    let last = world.until_data(Kind::Secret, "anew", "anew", &json!({"a": "Mw=="})).await;
    assert_eq!(uid(&last), uid(&third));
    Ok(())
}
