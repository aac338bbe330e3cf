//! Master and agent together: options travel with the master's replica, and its end is told apart from its loss.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, Mark, Process, eventually, shared};

use super::api;
use super::stage::{SOON, Stage, end, value};
use crate::support::{Kind, World};

/// The namespaces of a remote cluster where there is a Secret of this name, but for the destination, sorted.
async fn places(remote: &Cluster, stage: &Stage<'_>, name: &str) -> Result<Vec<String>> {
    let mut places = World::of(remote).places(Kind::Secret, name).await?;
    places.retain(|place| place != stage.name);
    Ok(places)
}

async fn until_places(remote: &Cluster, stage: &Stage<'_>, name: &str, expected: &[&str]) {
    eventually(SOON, format!("{name} is in {expected:?} and nowhere else"), async || {
        let places = places(remote, stage, name).await?;
        ensure!(places == expected, "it is in {places:?}");
        Ok(())
    })
    .await;
}

async fn until_value(remote: &Cluster, namespace: &str, name: &str, wanted: &str) -> Value {
    eventually(SOON, format!("{namespace}/{name} is {wanted}"), async || {
        let copy = api::get(remote, &api::secret(namespace, name)).await?.context("it does not exist")?;
        ensure!(value(&copy) == wanted, "{copy}");
        Ok(copy)
    })
    .await
}

async fn deletes(remote: &Cluster, user: &str, mark: Mark, name: &str) -> Result<usize> {
    let requests = remote.audit().since(mark).await?.user(user).verb("delete");
    Ok(requests.filter(|request| request.name == name).count())
}

async fn until_logged(process: &Process, words: &[&str]) {
    eventually(SOON, format!("it says {words:?} in one line"), async || {
        let log = process.stderr();
        ensure!(log.lines().any(|line| words.iter().all(|word| line.contains(word))), "{}", process.log_tail(20));
        Ok(())
    })
    .await;
}

fn uid(object: &Value) -> &Value {
    &object["metadata"]["uid"]
}

/// DESIGN section 3: a master's replica carries the options, for the agent there; also those that cannot be read.
#[tokio::test]
async fn the_agent_does_what_the_source_in_the_management_cluster_asks_for() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-agents").await?);
    let stage = Stage::new(&management, "m-carried").await?;
    let access = stage.prepare(&remote).await?;
    let world = World::of(&remote);
    world.labelled("carried-a", &json!({ "carried": "yes" })).await?;
    world.labelled("carried-b", &json!({ "carried": "no" })).await?;
    let mut equal = api::opaque("options", "1");
    equal["metadata"]["namespace"] = "carried-a".into();
    let equal = world.create(&equal).await?;
    let agent = stage.agent(&remote, &[]).await?;
    let master = stage.master(&[]).await?;
    stage.join("far", &access).await?;

    let options = json!({
        "mw-sync.io/namespaces": "carried-*", "mw-sync.io/namespace-selector": "carried=yes",
        "mw-sync.io/clusters": "far", "mw-sync.io/on-conflict": "adopt-equal",
        "mw-sync.io/copy-annotations": "note", "note": "n", "other": "o"
    });
    stage.asking("options", "1", options).await?;
    until_places(&remote, &stage, "options", &["carried-a"]).await;
    let replica = stage.copy_is(&remote, "options", |_| true).await;
    let annotations = &replica["metadata"]["annotations"];
    let carried = ["namespaces", "namespace-selector", "on-conflict", "copy-annotations"];
    for key in carried.map(|key| format!("mw-sync.io/{key}")) {
        assert!(!annotations[&key].is_null(), "{key} in {annotations}");
    }
    assert!(annotations["note"] == "n" && annotations["other"].is_null(), "{annotations}");
    assert!(annotations["mw-sync.io/clusters"].is_null(), "it is the master's: {annotations}");
    let there = (Kind::Secret, "carried-a", "options");
    let copy = world.until(there, "is adopted", |copy| copy["metadata"]["annotations"]["note"] == "n").await;
    assert_eq!(
        (uid(&copy), &copy["metadata"]["annotations"]["mw-sync.io/adopted"]),
        (uid(&equal), &json!("adopt-equal"))
    );

    // A change of an option travels as well.
    stage.annotate("options", json!({ "mw-sync.io/namespace-selector": null })).await?;
    until_places(&remote, &stage, "options", &["carried-a", "carried-b"]).await;

    // What cannot be read freezes both, each says so, and both follow the data.
    stage.annotate("options", json!({ "mw-sync.io/namespaces": "Carried-*" })).await?;
    let words = ["annotation mw-sync.io/namespaces is \"Carried-*\"", "write names or globs"];
    stage.until_said("options", "Frozen", &words).await;
    world.until_said_in(stage.name, Kind::Secret, "options", "Frozen", &words).await;
    stage.set("options", "2").await?;
    for namespace in ["carried-a", "carried-b"] {
        until_value(&remote, namespace, "options", "2").await;
    }
    stage.source("fence", "1").await?;
    world.labelled("carried-c", &json!({ "carried": "yes" })).await?;
    until_value(&remote, "carried-c", "fence", "1").await;
    until_places(&remote, &stage, "options", &["carried-a", "carried-b"]).await;
    stage.annotate("options", json!({ "mw-sync.io/namespaces": "carried-*" })).await?;
    until_places(&remote, &stage, "options", &["carried-a", "carried-b", "carried-c"]).await;

    // Off at the source is off everywhere, what was adopted as equal included.
    stage.annotate("options", json!({ "mw-sync": "no" })).await?;
    stage.copy_is_gone(&remote, "options").await;
    until_places(&remote, &stage, "options", &[]).await;
    end(&master).await?;
    end(&agent).await
}

/// DESIGN section 6, "master removes its replica with `retain`": it is a source of that cluster from then on.
#[tokio::test]
async fn a_replica_that_a_master_retains_goes_on_as_a_source_of_its_cluster() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-agents").await?);
    let stage = Stage::new(&management, "m-retained").await?;
    let access = stage.prepare(&remote).await?;
    let world = World::of(&remote);
    world.namespace("retained-a").await?;
    let agent = stage.agent(&remote, &["--delete-grace=1s"]).await?;
    let master = stage.master(&[]).await?;
    stage.join("far", &access).await?;
    let options = json!({ "mw-sync.io/on-delete": "retain", "mw-sync.io/namespaces": "retained-*" });
    stage.asking("retained", "1", options.clone()).await?;
    let first = until_value(&remote, "retained-a", "retained", "1").await;
    let replica = stage.copy_is(&remote, "retained", |_| true).await;
    let mark = remote.audit().mark().await?;
    let is_free = |copy: &Value| copy["metadata"]["labels"].is_null();
    let no_deletes = async || -> Result<()> {
        for user in [stage.agent_user(), stage.remote_user()] {
            assert_eq!(deletes(&remote, &user, mark, "retained").await?, 0, "{user}");
        }
        Ok(())
    };

    for by in ["switch", "delete"] {
        if by == "switch" {
            stage.annotate("retained", json!({ "mw-sync": "no" })).await?;
        } else {
            // The source is gone then: the replica remembers.
            api::delete(&management, &stage.path("retained")).await?;
        }
        let free = stage.copy_is(&remote, "retained", is_free).await;
        assert_eq!(uid(&free), uid(&replica), "{by}");
        let marks = &free["metadata"]["annotations"];
        let left = json!({
            "mw-sync.io/sync": "yes", "mw-sync.io/namespaces": "retained-*", "mw-sync.io/on-delete": "retain",
            "mw-sync.io/released-from": "management/m-retained/retained"
        });
        assert_eq!(*marks, left, "{by}");
        // The agent goes on, and follows whoever changes it there.
        let theirs = json!({ "stringData": { "key": format!("theirs by {by}") } });
        api::merge(&remote, &stage.path("retained"), &theirs).await?;
        let copy = until_value(&remote, "retained-a", "retained", &format!("theirs by {by}")).await;
        assert_eq!(uid(&copy), uid(&first), "{by}");
        assert!(copy["metadata"]["annotations"]["mw-sync.io/upstream"].is_null(), "{copy:#}");
        no_deletes().await?;
        // And the master takes it back.
        if by == "switch" {
            stage.annotate("retained", json!({ "mw-sync": "yes" })).await?;
        } else {
            stage.asking("retained", "1", options.clone()).await?;
        }
        let back = stage.copy_is(&remote, "retained", |copy| value(copy) == "1").await;
        assert_eq!((uid(&back), &back["metadata"]["labels"]), (uid(&replica), &replica["metadata"]["labels"]));
        let copy = until_value(&remote, "retained-a", "retained", "1").await;
        assert_eq!(uid(&copy), uid(&first), "{by}");
    }
    // An option that its source has no more is not one of the time before.
    stage.annotate("retained", json!({ "mw-sync": "no" })).await?;
    stage.copy_is(&remote, "retained", is_free).await;
    world.namespace("elsewhere-retained").await?;
    stage.annotate("retained", json!({ "mw-sync": "yes", "mw-sync.io/namespaces": null })).await?;
    until_value(&remote, "elsewhere-retained", "retained", "1").await;
    no_deletes().await?;
    end(&master).await?;
    end(&agent).await
}

/// Promise 2: a master's replica that is lost by hand is no order to delete.
#[tokio::test]
async fn a_masters_replica_that_vanishes_leaves_the_agents_copies_where_they_are() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-agents").await?);
    let stage = Stage::new(&management, "m-vanished").await?;
    let access = stage.prepare(&remote).await?;
    let world = World::of(&remote);
    world.namespace("vanished-a").await?;
    let agent = stage.agent(&remote, &["--delete-grace=500ms"]).await?;
    let master = stage.master(&[]).await?;
    stage.join("far", &access).await?;
    let names = ["vanished", "bared", "replaced"];
    for name in names {
        stage.asking(name, "1", json!({ "mw-sync.io/namespaces": "vanished-*" })).await?;
    }
    let before = futures::future::join_all(names.map(|name| until_value(&remote, "vanished-a", name, "1"))).await;
    end(&master).await?;

    let mark = remote.audit().mark().await?;
    api::delete(&remote, &stage.path("vanished")).await?;
    let bare = json!({ "metadata": { "annotations": { "mw-sync.io/sync": null } } });
    api::merge(&remote, &stage.path("bared"), &bare).await?;
    // What somebody puts in its place is no source, and no word about it either.
    api::delete(&remote, &stage.path("replaced")).await?;
    api::create(&remote, &api::secret(stage.name, ""), &api::opaque("replaced", "theirs")).await?;
    for name in names {
        until_logged(&agent, &["SourceVanished", &format!("source=Secret/{name} ")]).await;
        let words = ["agent: the master's copy has gone or lost its annotation ", "wait for the master"];
        world.until_said_in(stage.name, Kind::Secret, name, "SourceVanished", &words).await;
    }
    // One of that cluster's own goes after its grace, and these, which went before it, do not.
    let mut own = api::opaque("own", "1");
    own["metadata"]["annotations"] = json!({ "mw-sync": "yes", "mw-sync.io/namespaces": "vanished-*" });
    api::create(&remote, &api::secret(stage.name, ""), &own).await?;
    until_value(&remote, "vanished-a", "own", "1").await;
    api::delete(&remote, &stage.path("own")).await?;
    until_places(&remote, &stage, "own", &[]).await;
    for name in names {
        until_places(&remote, &stage, name, &["vanished-a"]).await;
    }
    // An agent that starts only now knows it from the copies.
    end(&agent).await?;
    let agent = stage.agent(&remote, &["--delete-grace=500ms"]).await?;
    until_logged(&agent, &["SourceVanished", "source=Secret/vanished "]).await;

    api::delete(&remote, &stage.path("replaced")).await?;
    let master = stage.master(&[]).await?;
    for (name, was) in names.into_iter().zip(&before) {
        stage.set(name, "2").await?;
        let copy = until_value(&remote, "vanished-a", name, "2").await;
        assert_eq!(uid(&copy), uid(was), "{name}");
        assert_eq!(deletes(&remote, &stage.agent_user(), mark, name).await?, 0, "{name}");
    }
    end(&master).await?;
    end(&agent).await
}

/// Promise 2, "switched off first": what the agent reads on the replica is what the source says by then.
#[tokio::test]
async fn off_at_the_source_is_off_for_the_agent_whatever_the_replica_said_before() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-agents").await?);
    let stage = Stage::new(&management, "m-off").await?;
    let access = stage.prepare(&remote).await?;
    World::of(&remote).namespace("off-a").await?;
    let theirs = api::opaque("off-adopted", "theirs");
    api::create(&remote, &api::secret(stage.name, ""), &theirs).await?;
    let agent = stage.agent(&remote, &["--delete-grace=1h"]).await?;
    let master = stage.master(&["--allow-adopt"]).await?;
    stage.join("far", &access).await?;
    let (namespaces, on_delete) = ("mw-sync.io/namespaces", "mw-sync.io/on-delete");
    stage.asking("off-retained", "1", json!({ namespaces: "off-*", on_delete: "retain" })).await?;
    stage.asking("off-adopted", "1", json!({ namespaces: "off-*", "mw-sync.io/on-conflict": "adopt" })).await?;
    for name in ["off-retained", "off-adopted"] {
        until_value(&remote, "off-a", name, "1").await;
    }

    // Both words in one edit: the replica never had the second but for its end.
    stage.annotate("off-retained", json!({ "mw-sync": "no", on_delete: null })).await?;
    stage.copy_is_gone(&remote, "off-retained").await;
    until_places(&remote, &stage, "off-retained", &[]).await;

    // What was adopted there stays, and is no source of that cluster: it was none before.
    stage.annotate("off-adopted", json!({ "mw-sync": "no" })).await?;
    let is_free = |copy: &Value| copy["metadata"]["labels"].is_null();
    let free = stage.copy_is(&remote, "off-adopted", is_free).await;
    assert_eq!((value(&free), &free["metadata"]["annotations"]["mw-sync.io/sync"]), ("1".to_owned(), &json!("no")));
    until_places(&remote, &stage, "off-adopted", &[]).await;
    stage.annotate("off-adopted", json!({ "mw-sync": "yes" })).await?;
    until_value(&remote, "off-a", "off-adopted", "1").await;
    let back = stage.copy_is(&remote, "off-adopted", |copy| !is_free(copy)).await;
    assert_eq!(uid(&back), uid(&free));
    end(&master).await?;
    end(&agent).await
}
