//! `namespaces` and `namespace-selector`, and DESIGN section 6, "selection no longer matches" and "relabelled".

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, ClusterOptions, Mark, Requests, eventually};

use crate::support::{
    AGENT, Kind, SOON, Shared, World, adopting_agent, annotated, asking, install, shared_agent, spawn, uid, version,
};

/// What the agent wrote about objects of this name.
async fn written(shared: &Shared, mark: Mark, name: &str) -> Result<Requests> {
    let all = shared.cluster.audit().since(mark).await?;
    Ok(all.user(AGENT).filter(|entry| entry.name == name).writes())
}

/// Waits until a source that comes later is everywhere there: those before it would be too.
async fn fence(world: &World, name: &str, namespaces: &[&str]) -> Result<()> {
    world.create(&annotated(Kind::ConfigMap, name, &json!({}))).await?;
    for namespace in namespaces {
        world.until_there(Kind::ConfigMap, namespace, name).await;
    }
    Ok(())
}

async fn until_places(world: &World, name: &str, expected: &[&str]) {
    eventually(SOON, format!("{name} is in {expected:?} and nowhere else"), async || {
        let places = world.places(Kind::Secret, name).await?;
        ensure!(places == expected, "it is in {places:?}");
        Ok(())
    })
    .await;
}

/// `mw-sync.io/namespaces`: names and globs, `!` excludes.
#[tokio::test]
async fn namespaces_selects_by_name_and_a_change_of_it_acts_after_the_grace() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    for name in ["pick-a", "pick-b", "pick-x", "pick"] {
        world.namespace(name).await?;
    }
    let options = json!({"mw-sync.io/namespaces": " pick-?, default ,!pick-x"});
    world.create(&asking(Kind::Secret, "pick", &json!({"a": "MQ=="}), &options)).await?;
    until_places(world, "pick", &["default", "pick-a", "pick-b"]).await;
    let only_out = json!({"mw-sync.io/namespaces": "!kube-*,!pick-*"});
    world.create(&asking(Kind::Secret, "pick-not", &json!({}), &only_out)).await?;
    world.until_there(Kind::Secret, "pick", "pick-not").await;
    fence(world, "pick-fence", &["pick-a", "pick-x", "kube-system", "pick"]).await?;
    until_places(world, "pick", &["default", "pick-a", "pick-b"]).await;
    for namespace in ["pick-a", "pick-x", "kube-system", "kube-public"] {
        assert!(world.find(Kind::Secret, namespace, "pick-not").await?.is_none(), "{namespace}");
    }
    // A namespace that comes later is selected as any.
    for name in ["pick-c", "pick-cc"] {
        world.namespace(name).await?;
        world.until_there(Kind::ConfigMap, name, "pick-fence").await;
    }
    until_places(world, "pick", &["default", "pick-a", "pick-b", "pick-c"]).await;

    let (kept, mark) = (world.get(Kind::Secret, "pick-a", "pick").await?, shared.cluster.audit().mark().await?);
    world.annotate(Kind::Secret, "pick", &json!({"mw-sync.io/namespaces": "pick-a,pick-x"})).await?;
    until_places(world, "pick", &["pick-a", "pick-x"]).await;
    assert_eq!(version(&world.get(Kind::Secret, "pick-a", "pick").await?), version(&kept), "it is selected still");
    let deletes = written(&shared, mark, "pick").await?.verb("delete");
    assert_eq!(deletes.count(), 3, "{:#?}", deletes.counts());
    // Without the option everywhere.
    world.annotate(Kind::Secret, "pick", &json!({"mw-sync.io/namespaces": null})).await?;
    for namespace in ["pick-b", "kube-system", "pick-cc"] {
        world.until_there(Kind::Secret, namespace, "pick").await;
    }
    Ok(())
}

/// `mw-sync.io/namespace-selector`; promise 8: a label that goes acts after the grace.
#[tokio::test]
async fn a_namespace_that_is_relabelled_out_keeps_its_copy_for_the_grace() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    world.labelled("leaves", &json!({"leaves": "in", "env": "prod"})).await?;
    world.labelled("leaves-not", &json!({"leaves": "in", "env": "prod"})).await?;
    world.labelled("leaves-never-came", &json!({"leaves": "in", "env": "dev"})).await?;
    let options = json!({"mw-sync.io/namespace-selector": "leaves in (in,inside),env=prod"});
    world.create(&asking(Kind::Secret, "leaves", &json!({"a": "MQ=="}), &options)).await?;
    until_places(world, "leaves", &["leaves", "leaves-not"]).await;
    let kept = world.get(Kind::Secret, "leaves-not", "leaves").await?;

    let mark = shared.cluster.audit().mark().await?;
    world.relabel("leaves", &json!({"env": null})).await?;
    until_places(world, "leaves", &["leaves-not"]).await;
    let all = shared.cluster.audit().since(mark).await?;
    let (relabelled, deleted) =
        (all.clone().user("admin").resource("namespaces").writes(), all.user(AGENT).resource("secrets").verb("delete"));
    let relabelled = relabelled.each().find(|entry| entry.name == "leaves").expect("we did");
    let deleted = deleted.each().find(|entry| entry.name == "leaves").expect("it went");
    let waited = deleted.seconds_after(relabelled);
    assert!(waited >= Shared::GRACE.as_secs_f64(), "after {waited} s already");
    assert_eq!(deleted.namespace, "leaves");
    assert_eq!(version(&world.get(Kind::Secret, "leaves-not", "leaves").await?), version(&kept));

    world.relabel("leaves", &json!({"env": "prod", "leaves": "inside"})).await?;
    world.relabel("leaves-never-came", &json!({"env": "prod"})).await?;
    until_places(world, "leaves", &["leaves", "leaves-never-came", "leaves-not"]).await;
    Ok(())
}

/// Promise 8, with a grace that never ends within a test.
#[tokio::test]
async fn a_namespace_or_selection_that_comes_back_in_time_costs_no_deletion() -> Result<()> {
    let shared = adopting_agent().await?;
    let world = &shared.world;
    world.labelled("back-a", &json!({"back": "yes"})).await?;
    world.labelled("back-b", &json!({"back": "yes"})).await?;
    let options = json!({"mw-sync.io/namespace-selector": "back", "mw-sync.io/namespaces": "back-*"});
    world.create(&asking(Kind::Secret, "back", &json!({"a": "MQ=="}), &options)).await?;
    until_places(world, "back", &["back-a", "back-b"]).await;
    let before = world.copies(Kind::Secret, "back").await?;
    let mark = shared.cluster.audit().mark().await?;

    world.relabel("back-a", &json!({"back": null})).await?;
    let said = world
        .until_said(Kind::Secret, "back", "NotSelected", &["1 copies are no longer selected", "within the grace"])
        .await;
    assert_eq!(said.kind, "Normal");
    world.relabel("back-a", &json!({"back": "again"})).await?;
    // And by the source: the other one is out for a moment.
    world.annotate(Kind::Secret, "back", &json!({"mw-sync.io/namespaces": "back-a"})).await?;
    eventually(SOON, "the agent has noticed both", async || {
        let log = shared.agent.stderr();
        let said = |line: &&str| line.contains("selected no more") && line.contains("source=Secret/back ");
        ensure!(log.lines().filter(said).count() >= 2, "not yet");
        Ok(())
    })
    .await;
    world.annotate(Kind::Secret, "back", &json!({"mw-sync.io/namespaces": "back-*"})).await?;
    world.merge(Kind::Secret, "operator", "back", &json!({"data": {"a": "Mg=="}})).await?;
    for (namespace, was) in ["back-a", "back-b"].into_iter().zip(&before) {
        let copy = world.until_data(Kind::Secret, namespace, "back", &json!({"a": "Mg=="})).await;
        assert_eq!(uid(&copy), uid(was), "{namespace}");
    }
    let writes = written(&shared, mark, "back").await?;
    assert_eq!((writes.clone().count(), writes.clone().updates().count()), (2, 2), "{:#?}", writes.counts());
    Ok(())
}

/// `--exclude-namespaces`, whatever sources say; promise 8 when the flag is new.
#[tokio::test]
async fn excluded_namespaces_get_nothing_and_lose_what_they_had_after_the_grace() -> Result<()> {
    let shared = adopting_agent().await?;
    let world = &shared.world;
    world.namespace("kept-out-a").await?;
    world.namespace("kept-in").await?;
    let options = json!({"mw-sync.io/namespaces": "kept-out-a,kept-in"});
    world.create(&asking(Kind::Secret, "kept", &json!({}), &options)).await?;
    world.create(&annotated(Kind::Secret, "kept-all", &json!({}))).await?;
    fence(world, "kept-fence", &["kept-in"]).await?;
    world.until_there(Kind::Secret, "kept-in", "kept").await;
    world.until_there(Kind::Secret, "kept-in", "kept-all").await;
    for (kind, name) in [(Kind::Secret, "kept"), (Kind::Secret, "kept-all"), (Kind::ConfigMap, "kept-fence")] {
        assert!(world.find(kind, "kept-out-a", name).await?.is_none(), "{name}");
    }

    let cluster = Cluster::start(ClusterOptions::default().without_controller_manager()).await?;
    let world = World::of(&cluster);
    let kubeconfig = install(&cluster).await?;
    world.namespace("out-a").await?;
    world.create(&annotated(Kind::Secret, "one", &json!({}))).await?;
    let first = spawn(&kubeconfig, &[]).await?;
    world.until_there(Kind::Secret, "out-a", "one").await;
    let default = world.until_there(Kind::Secret, "default", "one").await;
    first.terminate();
    first.wait_exit(SOON).await?;
    let second = spawn(&kubeconfig, &["--exclude-namespaces=out-*,kube-*", "--delete-grace=1s"]).await?;
    until_places(&world, "one", &["default"]).await;
    assert_eq!(version(&world.get(Kind::Secret, "default", "one").await?), version(&default));
    second.terminate();
    second.wait_exit(SOON).await?;
    let third = spawn(&kubeconfig, &[]).await?;
    world.until_there(Kind::Secret, "out-a", "one").await;
    third.terminate();
    ensure!(third.wait_exit(SOON).await?.success(), "it ends well:\n{}", third.stderr());
    cluster.stop().await;
    Ok(())
}

/// DESIGN section 3: a source that is selected nowhere is a source all the same, and a value that selects none says so
/// by having no copy.
#[tokio::test]
async fn a_selection_of_nothing_makes_no_copy_and_is_no_trouble() -> Result<()> {
    let shared = shared_agent().await?;
    let world = &shared.world;
    let options = json!({"mw-sync.io/namespace-selector": "no-namespace-has-this"});
    world.create(&asking(Kind::Secret, "nowhere", &Value::Null, &options)).await?;
    eventually(SOON, "the agent has settled it", async || {
        let log = shared.agent.stderr();
        ensure!(log.lines().any(|line| line.contains("no copies source=Secret/nowhere")), "nothing said");
        Ok(())
    })
    .await;
    assert!(world.copies(Kind::Secret, "nowhere").await?.is_empty());
    assert!(world.events(Kind::Secret, "nowhere").await?.is_empty());
    Ok(())
}
