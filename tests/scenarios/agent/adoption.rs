//! `on-conflict`, and DESIGN section 6, "foreign object": `adopt` takes it over. Promise 1: nothing else does.

use anyhow::Result;
use serde_json::{Value, json};

use crate::support::{AGENT, Kind, Shared, World, adopting_agent, asking, shared_agent, uid, version};

fn theirs(namespace: &str, name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "data": data,
        "metadata": {
            "name": name, "namespace": namespace,
            "labels": {"theirs": "l"}, "annotations": {"example.com/theirs": "a"}
        }
    })
}

/// Makes the namespace and an object of theirs in it.
async fn stands(world: &World, object: &Value) -> Result<Value> {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if world.find(Kind::Namespace, "", namespace).await?.is_none() {
        world.namespace(namespace).await?;
    }
    world.create(object).await
}

async fn unchanged(world: &World, before: &[Value]) -> Result<()> {
    for was in before {
        let text = |key: &str| was["metadata"][key].as_str().unwrap_or_default().to_owned();
        let now = world.get(Kind::Secret, &text("namespace"), &text("name")).await?;
        assert_eq!(version(&now), version(was), "{now:#}");
    }
    Ok(())
}

fn is_ours(object: &Value) -> bool {
    object["metadata"]["labels"]["mw-sync.io/managed-by"] == "agent"
}

/// What others put on it is there still.
fn keeps_theirs(object: &Value) -> bool {
    object["metadata"]["labels"]["theirs"] == "l" && object["metadata"]["annotations"]["example.com/theirs"] == "a"
}

async fn deletes(shared: &Shared, mark: testbed::Mark, name: &str) -> Result<Vec<String>> {
    let requests = shared.cluster.audit().since(mark).await?.user(AGENT).verb("delete");
    Ok(requests.each().filter(|entry| entry.name == name).map(|entry| entry.namespace.clone()).collect())
}

/// `on-conflict: adopt-equal`.
#[tokio::test]
async fn adopt_equal_takes_over_what_is_equal_and_nothing_else() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    let (same, other) = (json!({"a": "MQ=="}), json!({"a": "Mg=="}));
    let equal = stands(world, &theirs("equal-yes", "equal", &same)).await?;
    let mut bare = theirs("equal-bare", "equal", &same);
    bare["metadata"] = json!({"name": "equal", "namespace": "equal-bare"});
    stands(world, &bare).await?;
    let mut typed = theirs("equal-type", "equal", &same);
    typed["type"] = "example.com/other".into();
    let mut fixed = theirs("equal-immutable", "equal", &same);
    fixed["immutable"] = true.into();
    let mut rival = theirs("equal-rival", "equal", &same);
    rival["metadata"]["labels"]["mw-sync.io/managed-by"] = "master".into();
    let mut before = Vec::new();
    for object in [theirs("equal-not", "equal", &other), typed, fixed, rival] {
        before.push(stands(world, &object).await?);
    }
    let options = json!({"mw-sync.io/namespaces": "equal-*", "mw-sync.io/on-conflict": "adopt-equal"});
    world.create(&asking(Kind::Secret, "equal", &same, &options)).await?;
    for namespace in ["equal-yes", "equal-bare"] {
        let copy = world.until((Kind::Secret, namespace, "equal"), "is ours", is_ours).await;
        assert_eq!(copy["metadata"]["annotations"]["mw-sync.io/adopted"], "adopt-equal");
    }
    let copy = world.get(Kind::Secret, "equal-yes", "equal").await?;
    assert!(uid(&copy) == uid(&equal) && keeps_theirs(&copy), "{copy:#}");
    // Each reason is shown with one place at least.
    let words = ["4 of 6", "3 NotEqual, 1 ForeignObject", "equal-rival: ForeignObject", "on-conflict: adopt"];
    world.until_said(Kind::Secret, "equal", "NotEqual", &words).await;
    unchanged(world, &before).await?;

    // Made equal, it is one of ours soon.
    world.merge(Kind::Secret, "equal-not", "equal", &json!({"data": same})).await?;
    world.until((Kind::Secret, "equal-not", "equal"), "is ours", is_ours).await;
    before.remove(0);
    // What was equal is a replica as any from then on: it follows, and it ends with its source.
    world.merge(Kind::Secret, "operator", "equal", &json!({"data": other})).await?;
    let copy = world.until_data(Kind::Secret, "equal-yes", "equal", &other).await;
    assert!(uid(&copy) == uid(&equal) && keeps_theirs(&copy), "{copy:#}");
    world.until_data(Kind::Secret, "equal-not", "equal", &other).await;
    world.annotate(Kind::Secret, "equal", &json!({"mw-sync": "no"})).await?;
    for namespace in ["equal-yes", "equal-not", "equal-bare"] {
        world.until_gone(Kind::Secret, namespace, "equal").await;
    }
    unchanged(world, &before).await
}

/// `on-conflict: adopt` where the controller runs with `--allow-adopt`.
#[tokio::test]
async fn adopt_overwrites_follows_and_releases_what_it_took() -> Result<()> {
    let shared = adopting_agent().await?;
    let world = &shared.world;
    let mark = shared.cluster.audit().mark().await?;
    let taken = stands(world, &theirs("adopt-yes", "adopt", &json!({"b": "Mg=="}))).await?;
    let mut typed = theirs("adopt-type", "adopt", &json!({"a": "MQ=="}));
    typed["type"] = "example.com/other".into();
    let mut fixed = theirs("adopt-immutable", "adopt", &json!({"b": "Mg=="}));
    fixed["immutable"] = true.into();
    let mut rival = theirs("adopt-rival", "adopt", &json!({"b": "Mg=="}));
    rival["metadata"]["labels"]["mw-sync.io/managed-by"] = "agent".into();
    let mut before = Vec::new();
    for object in [typed, fixed, rival, theirs("kube-public", "adopt", &json!({"b": "Mg=="}))] {
        before.push(stands(world, &object).await?);
    }
    let options = json!({"mw-sync.io/namespaces": "adopt-*,kube-public", "mw-sync.io/on-conflict": "adopt"});
    let mut source = asking(Kind::Secret, "adopt", &json!({"a": "MQ=="}), &options);
    source["metadata"]["labels"] = json!({"team": "blue"});
    world.create(&source).await?;
    let copy = world.until((Kind::Secret, "adopt-yes", "adopt"), "is ours", is_ours).await;
    assert_eq!((&copy["data"], uid(&copy)), (&json!({"a": "MQ=="}), uid(&taken)));
    assert!(keeps_theirs(&copy) && copy["metadata"]["labels"]["team"] == "blue", "{copy:#}");
    let words = ["4 of 5", "3 NotAdoptable, 1 ForeignObject", "adopt-rival: ForeignObject", ": NotAdoptable"];
    let said = world.until_said(Kind::Secret, "adopt", "NotAdoptable", &words).await;
    assert!(said.kind == "Warning" && said.note.contains("its namespace is kube-*"), "{said:?}");
    unchanged(world, &before).await?;

    // It follows its source, against drift too, and is never made anew: it was somebody's.
    world.merge(Kind::Secret, "operator", "adopt", &json!({"data": {"a": "Mw=="}})).await?;
    world.until_data(Kind::Secret, "adopt-yes", "adopt", &json!({"a": "Mw=="})).await;
    world.merge(Kind::Secret, "adopt-yes", "adopt", &json!({"data": {"a": "NA=="}})).await?;
    world.until_data(Kind::Secret, "adopt-yes", "adopt", &json!({"a": "Mw=="})).await;

    // Switched off it is theirs again, with what others put on it and the data that it had last.
    world.annotate(Kind::Secret, "adopt", &json!({"mw-sync": "no"})).await?;
    let free = |copy: &Value| !is_ours(copy);
    let released = world.until((Kind::Secret, "adopt-yes", "adopt"), "is released", free).await;
    assert_eq!((&released["data"], uid(&released)), (&json!({"a": "Mw=="}), uid(&taken)));
    assert!(keeps_theirs(&released) && released["metadata"]["labels"]["mw-sync.io/source"].is_null(), "{released:#}");
    let marks = &released["metadata"]["annotations"];
    for gone in ["mw-sync.io/origin", "mw-sync.io/origin-uid", "mw-sync.io/copied"] {
        assert!(marks[gone].is_null(), "{marks}");
    }
    assert_eq!(marks["mw-sync.io/released-from"], "operator/adopt");
    // What its owner does from then on is the owner's.
    let mine = world.merge(Kind::Secret, "adopt-yes", "adopt", &json!({"data": {"mine": "MQ=="}})).await?;
    world.merge(Kind::Secret, "operator", "adopt", &json!({"data": {"a": "NQ=="}})).await?;
    world.create(&asking(Kind::Secret, "adopt-fence", &json!({}), &json!({}))).await?;
    world.until_there(Kind::Secret, "adopt-yes", "adopt-fence").await;
    unchanged(world, &[mine]).await?;

    // On again it is taken back, and once more released and not deleted, whatever is asked for by then.
    world.annotate(Kind::Secret, "adopt", &json!({"mw-sync": "yes", "mw-sync.io/on-conflict": "refuse"})).await?;
    let back = world.until_data(Kind::Secret, "adopt-yes", "adopt", &json!({"a": "NQ=="})).await;
    assert!(uid(&back) == uid(&taken) && is_ours(&back) && keeps_theirs(&back), "{back:#}");
    world.annotate(Kind::Secret, "adopt", &json!({"mw-sync": "no"})).await?;
    let released = world.until((Kind::Secret, "adopt-yes", "adopt"), "is released", free).await;
    assert!(uid(&released) == uid(&taken) && keeps_theirs(&released), "{released:#}");
    unchanged(world, &before).await?;
    assert!(deletes(&shared, mark, "adopt").await?.is_empty());
    Ok(())
}

/// What was adopted is never deleted to be made anew: promise 1.
#[tokio::test]
async fn a_type_that_changes_is_refused_for_what_was_adopted() -> Result<()> {
    let shared = adopting_agent().await?;
    let world = &shared.world;
    let mark = shared.cluster.audit().mark().await?;
    let taken = stands(world, &theirs("retype-theirs", "retype", &json!({"b": "Mg=="}))).await?;
    world.namespace("retype-ours").await?;
    let options = json!({"mw-sync.io/namespaces": "retype-*", "mw-sync.io/on-conflict": "adopt"});
    let mut source = asking(Kind::Secret, "retype", &json!({"a": "MQ=="}), &options);
    world.create(&source).await?;
    world.until_data(Kind::Secret, "retype-theirs", "retype", &source["data"]).await;
    world.until_data(Kind::Secret, "retype-ours", "retype", &source["data"]).await;
    world.delete(Kind::Secret, "operator", "retype").await?;
    source["type"] = "example.com/other".into();
    world.create(&source).await?;
    world.until((Kind::Secret, "retype-ours", "retype"), "is anew", |copy| copy["type"] == "example.com/other").await;
    world.until_said(Kind::Secret, "retype", "NotAdoptable", &["retype-theirs", "its type differs"]).await;
    let copy = world.get(Kind::Secret, "retype-theirs", "retype").await?;
    assert_eq!((uid(&copy), &copy["type"]), (uid(&taken), &json!("Opaque")));
    assert_eq!(deletes(&shared, mark, "retype").await?, ["retype-ours"]);
    Ok(())
}

/// `on-conflict: adopt` without the flag, and `refuse`, which is the default.
#[tokio::test]
async fn without_the_flag_adopt_takes_over_nothing() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    for (name, how, reason, words) in [
        ("flagless", "adopt", "AdoptionDisabled", "run the controller with --allow-adopt"),
        ("refusing", "refuse", "ForeignObject", "delete or rename the object"),
    ] {
        let was = stands(world, &theirs(name, name, &json!({"b": "Mg=="}))).await?;
        let options = json!({"mw-sync.io/on-conflict": how});
        world.create(&asking(Kind::Secret, name, &json!({"a": "MQ=="}), &options)).await?;
        world.until_there(Kind::Secret, "default", name).await;
        let said = world.until_said(Kind::Secret, name, reason, &["1 of ", name, words]).await;
        assert_eq!(said.kind, "Warning");
        unchanged(world, &[was]).await?;
    }
    Ok(())
}
