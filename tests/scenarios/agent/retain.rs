//! `on-delete`, and DESIGN section 6, "switched off": released with `retain`.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::Mark;

use crate::support::{AGENT, Kind, Shared, annotated, asking, shared_agent, uid, version};

const RETAIN: &str = r#"{"mw-sync.io/on-delete": "retain"}"#;

fn retained(name: &str) -> Result<Value> {
    let mut source = asking(Kind::Secret, name, &json!({"a": "MQ=="}), &serde_json::from_str(RETAIN)?);
    source["metadata"]["labels"] = json!({"team": "blue"});
    Ok(source)
}

/// A copy that has lost our marks and nothing else.
fn is_released(copy: &Value) -> bool {
    let (labels, annotations) = (&copy["metadata"]["labels"], &copy["metadata"]["annotations"]);
    let from = copy["metadata"]["name"].as_str().unwrap_or_default();
    *labels == json!({"team": "blue"})
        && *annotations == json!({"mw-sync.io/released-from": format!("operator/{from}")})
}

async fn no_deletes(shared: &Shared, mark: Mark, name: &str) -> Result<()> {
    let requests = shared.cluster.audit().since(mark).await?.user(AGENT).verb("delete");
    let deletes = requests.filter(|entry| entry.name == name);
    assert_eq!(deletes.count(), 0, "{:#?}", deletes.counts());
    Ok(())
}

/// Promises 1, 2 and 8: switched off and on again, deleted and made again.
#[tokio::test]
async fn retained_copies_lose_our_marks_stay_and_are_taken_back() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    let mark = shared.cluster.audit().mark().await?;
    let there = (Kind::Secret, "retain", "retain");
    world.namespace("retain").await?;
    world.create(&retained("retain")?).await?;
    let first = world.until_there(Kind::Secret, "retain", "retain").await;
    assert_eq!(first["metadata"]["annotations"]["mw-sync.io/on-delete"], "retain");

    world.annotate(Kind::Secret, "retain", &json!({"mw-sync": "no"})).await?;
    let released = world.until(there, "is released", is_released).await;
    assert_eq!((uid(&released), &released["data"]), (uid(&first), &first["data"]));
    // From then on it is somebody's: what the source does is nothing to it.
    world.merge(Kind::Secret, "operator", "retain", &json!({"data": {"a": "Mg=="}})).await?;
    world.create(&annotated(Kind::Secret, "retain-fence", &json!({}))).await?;
    world.until_there(Kind::Secret, "retain", "retain-fence").await;
    assert_eq!(version(&world.get(Kind::Secret, "retain", "retain").await?), version(&released));
    // The source comes back and takes it back without `adopt`, as what it is by now.
    world.merge(Kind::Secret, "retain", "retain", &json!({"data": {"theirs": "MQ=="}})).await?;
    world.annotate(Kind::Secret, "retain", &json!({"mw-sync": "yes"})).await?;
    let back = world.until_data(Kind::Secret, "retain", "retain", &json!({"a": "Mg=="})).await;
    assert_eq!((uid(&back), &back["metadata"]["labels"]), (uid(&first), &first["metadata"]["labels"]));
    assert_eq!(back["metadata"]["annotations"], first["metadata"]["annotations"]);

    // The source is deleted: the copies remember what it said, and are released after the grace.
    world.delete(Kind::Secret, "operator", "retain").await?;
    let released = world.until(there, "is released", is_released).await;
    assert_eq!(uid(&released), uid(&first));
    no_deletes(&shared, mark, "retain").await?;
    // Made again without the option it takes them back too, and its end is theirs.
    world.create(&annotated(Kind::Secret, "retain", &json!({"a": "Mw=="}))).await?;
    let back = world.until_data(Kind::Secret, "retain", "retain", &json!({"a": "Mw=="})).await;
    assert_eq!((uid(&back), &back["metadata"]["annotations"]["mw-sync.io/on-delete"]), (uid(&first), &Value::Null));
    world.annotate(Kind::Secret, "retain", &json!({"mw-sync": "no"})).await?;
    world.until_gone(Kind::Secret, "retain", "retain").await;
    Ok(())
}

/// The same for copies that go while the source stays: opted out, or selected no more.
#[tokio::test]
async fn retain_holds_for_a_namespace_that_opts_out_or_is_selected_no_more() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    let mark = shared.cluster.audit().mark().await?;
    for name in ["retain-opts", "retain-label"] {
        world.labelled(name, &json!({"retain": "yes"})).await?;
    }
    let mut source = retained("retain-place")?;
    source["metadata"]["annotations"]["mw-sync.io/namespace-selector"] = "retain".into();
    world.create(&source).await?;
    let mut before = Vec::new();
    for name in ["retain-opts", "retain-label"] {
        before.push(world.until_there(Kind::Secret, name, "retain-place").await);
    }
    let opt = |value: Value| json!({"metadata": {"annotations": {"mw-sync.io/sync": value}}});
    world.merge(Kind::Namespace, "", "retain-opts", &opt("no".into())).await?;
    world.relabel("retain-label", &json!({"retain": null})).await?;
    for name in ["retain-opts", "retain-label"] {
        world.until((Kind::Secret, name, "retain-place"), "is released", is_released).await;
    }
    world.merge(Kind::Namespace, "", "retain-opts", &opt(Value::Null)).await?;
    world.relabel("retain-label", &json!({"retain": "again"})).await?;
    for was in &before {
        let namespace = was["metadata"]["namespace"].as_str().unwrap_or_default();
        let same = |copy: &Value| copy["metadata"]["labels"] == was["metadata"]["labels"];
        let back = world.until((Kind::Secret, namespace, "retain-place"), "is taken back", same).await;
        assert_eq!(uid(&back), uid(was));
    }
    no_deletes(&shared, mark, "retain-place").await
}

/// `delete`, the default, written out; and a value that is neither deletes nothing.
#[tokio::test]
async fn on_delete_is_one_of_two_words() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    world.namespace("on-delete").await?;
    let option = |how: &str| json!({"mw-sync.io/on-delete": how});
    world.create(&asking(Kind::Secret, "on-delete", &json!({}), &option("keep"))).await?;
    world.until_said(Kind::Secret, "on-delete", "Frozen", &["\"keep\"", "write delete or retain"]).await;
    world.annotate(Kind::Secret, "on-delete", &option("delete")).await?;
    let copy = world.until_there(Kind::Secret, "on-delete", "on-delete").await;
    // Off with a value that cannot be read: nothing goes until it is corrected.
    let mut off = option("keep");
    off["mw-sync"] = "no".into();
    world.annotate(Kind::Secret, "on-delete", &off).await?;
    world.create(&annotated(Kind::Secret, "on-delete-fence", &json!({}))).await?;
    world.until_there(Kind::Secret, "on-delete", "on-delete-fence").await;
    assert_eq!(uid(&world.get(Kind::Secret, "on-delete", "on-delete").await?), uid(&copy));
    world.annotate(Kind::Secret, "on-delete", &option("delete")).await?;
    world.until_gone(Kind::Secret, "on-delete", "on-delete").await;
    Ok(())
}
