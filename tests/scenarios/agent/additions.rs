//! What others add to a copy stays, whenever they add it.

use anyhow::Result;
use serde_json::{Value, json};

use crate::support::{AGENT, Kind, annotated, shared_agent};

/// Promise 1, and 4: a copy that is as we wrote it is replaced, any other is patched.
#[tokio::test]
async fn what_others_have_added_to_a_copy_survives_a_change_of_its_source() -> Result<()> {
    let shared = shared_agent().await?;
    let (cluster, world) = (&shared.cluster, &shared.world);
    let namespaces = ["additions-none", "additions-label", "additions-annotation", "additions-finalizer"];
    for name in namespaces {
        world.namespace(name).await?;
    }
    let mut source = annotated(Kind::Secret, "additions", &json!({"a": "MQ=="}));
    source["metadata"]["annotations"]["mw-sync.io/namespaces"] = "additions-*".into();
    world.create(&source).await?;
    for name in namespaces {
        world.until_there(Kind::Secret, name, "additions").await;
    }
    let theirs = [
        json!({"metadata": {"labels": {"theirs": "x"}}}),
        json!({"metadata": {"annotations": {"theirs": "x"}}}),
        json!({"metadata": {"finalizers": ["example.com/hold"]}}),
    ];
    let mut added = Vec::new();
    for (name, theirs) in namespaces.iter().skip(1).zip(&theirs) {
        let copy = world.merge(Kind::Secret, name, "additions", theirs).await?;
        added.push((*name, copy));
    }
    // Changes of copies come to the agent in order: it has seen those.
    world.merge(Kind::Secret, namespaces[0], "additions", &json!({"data": {"a": "eA=="}})).await?;
    world.until_data(Kind::Secret, namespaces[0], "additions", &json!({"a": "MQ=="})).await;
    let mark = cluster.audit().mark().await?;
    world.merge(Kind::Secret, "operator", "additions", &json!({"data": {"a": "Mg=="}})).await?;
    world.until_data(Kind::Secret, namespaces[0], "additions", &json!({"a": "Mg=="})).await;
    for (name, was) in &added {
        let now = world.until_data(Kind::Secret, name, "additions", &json!({"a": "Mg=="})).await;
        for field in ["labels", "annotations", "finalizers"] {
            assert_eq!(now["metadata"][field], was["metadata"][field], "{field} in {name}");
        }
    }
    let requests = cluster.audit().since(mark).await?.user(AGENT).filter(|entry| entry.name == "additions");
    assert_eq!(requests.clone().writes().count(), 4, "{:#?}", requests.counts());
    world.merge(Kind::Secret, "additions-finalizer", "additions", &json!({"metadata": {"finalizers": null}})).await?;
    Ok(())
}

/// Promise 1 in a race: labels come while the copies are being updated.
#[tokio::test]
async fn what_others_add_meanwhile_survives_too() -> Result<()> {
    const PLACES: usize = 40;
    let shared = shared_agent().await?;
    let (cluster, world) = (&shared.cluster, &shared.world);
    let namespaces: Vec<_> = (0..PLACES).map(|n| format!("meanwhile-{n}")).collect();
    for name in &namespaces {
        world.namespace(name).await?;
    }
    let mut source = annotated(Kind::ConfigMap, "meanwhile", &json!({"a": "0"}));
    source["metadata"]["annotations"]["mw-sync.io/namespaces"] = "meanwhile-*".into();
    world.create(&source).await?;
    for name in &namespaces {
        world.until_there(Kind::ConfigMap, name, "meanwhile").await;
    }
    let mark = cluster.audit().mark().await?;
    let (kind, name) = (Kind::ConfigMap, "meanwhile");
    // Some before a copy's update, some after it, and some between its being sent and its arrival.
    for round in ["1", "2", "3"] {
        let label = format!("theirs-{round}");
        let theirs = json!({"metadata": {"labels": {&label: "x"}}});
        let add = async || -> Result<()> {
            for namespace in &namespaces {
                world.merge(kind, namespace, name, &theirs).await?;
            }
            Ok(())
        };
        let data = json!({"data": {"a": round}});
        let change = async || world.merge(kind, "operator", name, &data).await;
        tokio::try_join!(change(), add())?;
        // `add` is done: all labels are there, whatever the order was.
        for namespace in &namespaces {
            let copy = world.until_data(kind, namespace, name, &json!({"a": round})).await;
            assert_eq!(copy["metadata"]["labels"][&label], "x", "{namespace}: {copy:#}");
        }
        // The next round begins with copies that nobody has added to.
        for namespace in &namespaces {
            let none = json!({"metadata": {"labels": {&label: Value::Null}}});
            world.merge(kind, namespace, name, &none).await?;
        }
    }
    let updates = cluster.audit().since(mark).await?.user(AGENT).filter(|entry| entry.name == "meanwhile").updates();
    let lost = updates.clone().filter(|entry| entry.code == 409).count();
    println!("{} updates, {lost} of them came too late", updates.count());
    // Every other test's sources would go on being copied to all of these.
    for name in &namespaces {
        let out = json!({"metadata": {"annotations": {"mw-sync": "no"}}});
        world.merge(Kind::Namespace, "", name, &out).await?;
    }
    Ok(())
}
