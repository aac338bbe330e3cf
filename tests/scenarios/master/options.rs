//! What else a master does with a source's options and with what it finds in a remote cluster.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, Mark, eventually, shared};

use super::api;
use super::stage::{SOON, Stage, end, value};

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// What stands in a remote cluster and is not ours.
async fn stands(stage: &Stage<'_>, remote: &Cluster, name: &str, content: &str) -> Result<Value> {
    let mut object = api::opaque(name, content);
    object["metadata"]["labels"] = json!({ "theirs": "l" });
    object["metadata"]["annotations"] = json!({ "example.com/theirs": "a" });
    api::create(remote, &api::secret(stage.name, ""), &object).await?;
    api::get(remote, &stage.path(name)).await?.context("it was just made")
}

async fn deleted(stage: &Stage<'_>, remote: &Cluster, mark: Mark) -> Result<Vec<String>> {
    let requests = remote.audit().since(mark).await?.user(&stage.remote_user()).verb("delete");
    Ok(requests.each().map(|request| request.name.clone()).collect())
}

/// `on-conflict`; DESIGN section 6, "foreign object".
#[tokio::test]
async fn a_master_refuses_or_adopts_what_stands_in_its_way() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, "m-conflict").await?;
    let access = stage.prepare(&remote).await?;
    let mut before = Vec::new();
    for (name, content) in [("refuse", "1"), ("equal", "1"), ("not-equal", "2"), ("adopt", "2")] {
        before.push(stands(&stage, &remote, name, content).await?);
        let how = if name.ends_with("equal") { "adopt-equal" } else { name };
        stage.asking(name, "1", json!({ "mw-sync.io/on-conflict": how })).await?;
    }
    let [refuse, equal, not_equal, adopt] = &before[..] else { unreachable!("four of them") };
    let is_ours = |copy: &Value| copy["metadata"]["labels"]["mw-sync.io/managed-by"] == "master";
    let theirs = |copy: &Value| {
        copy["metadata"]["labels"]["theirs"] == "l" && copy["metadata"]["annotations"]["example.com/theirs"] == "a"
    };
    let unchanged = async |was: &Value| -> Result<()> {
        let name = was["metadata"]["name"].as_str().unwrap_or_default();
        let now = api::get(&remote, &stage.path(name)).await?.context("it is gone")?;
        assert_eq!(now["metadata"]["resourceVersion"], was["metadata"]["resourceVersion"], "{name}");
        Ok(())
    };

    // Without --allow-adopt.
    let mark = remote.audit().mark().await?;
    let master = stage.master(&[]).await?;
    stage.join("there", &access).await?;
    let copy = stage.copy_is(&remote, "equal", is_ours).await;
    assert!(uid(&copy) == uid(equal) && theirs(&copy), "{copy:#}");
    stage.until_said("refuse", "ForeignObject", &["master: cluster there: 1 of 1 copies", "delete or rename"]).await;
    stage.until_said("not-equal", "NotEqual", &["cluster there: 1 of 1 copies", "on-conflict: adopt"]).await;
    stage.until_said("adopt", "AdoptionDisabled", &["cluster there: ", "--allow-adopt"]).await;
    for was in [refuse, not_equal, adopt] {
        unchanged(was).await?;
    }
    let path = api::remote_cluster(stage.name, "there");
    // The status follows what the Events say.
    eventually(SOON, "the status counts them", async || {
        let sources = api::get(&management, &path).await?.context("it is there")?["status"]["sources"].take();
        ensure!(sources == json!({ "synced": 1, "pending": 0, "refused": 3 }), "{sources}");
        Ok(())
    })
    .await;
    end(&master).await?;

    // With it, and off again: what was adopted is released, what was equal is deleted.
    let master = stage.master(&["--allow-adopt"]).await?;
    let copy = stage.copy_is(&remote, "adopt", |copy| is_ours(copy) && value(copy) == "1").await;
    assert!(uid(&copy) == uid(adopt) && theirs(&copy), "{copy:#}");
    stage.set("adopt", "3").await?;
    stage.copy_is(&remote, "adopt", |copy| value(copy) == "3").await;
    for name in ["adopt", "equal"] {
        stage.annotate(name, json!({ "mw-sync": "no" })).await?;
    }
    stage.copy_is_gone(&remote, "equal").await;
    let released = stage.copy_is(&remote, "adopt", |copy| !is_ours(copy)).await;
    assert!(uid(&released) == uid(adopt) && theirs(&released) && value(&released) == "3", "{released:#}");
    for was in [refuse, not_equal] {
        unchanged(was).await?;
    }
    assert_eq!(deleted(&stage, &remote, mark).await?, ["equal"]);
    end(&master).await
}

/// DESIGN section 3, "Frozen" and "Never replicated".
#[tokio::test]
async fn a_master_freezes_what_it_cannot_read_and_never_copies_some() -> Result<()> {
    let (management, a, b) = (shared("management").await?, shared("remote-a").await?, shared("remote-b").await?);
    let stage = Stage::new(&management, "m-frozen").await?;
    let (at_a, at_b) = (stage.prepare(&a).await?, stage.prepare(&b).await?);
    let master = stage.master(&[]).await?;
    stage.join("first", &at_a).await?;
    let bad = [
        ("value", "mw-sync.io/clusters", "Prod", "is \"Prod\": 'P' cannot be part of a name; write names or globs"),
        ("selector", "mw-sync.io/cluster-selector", "env in prod", "a list in parentheses; write a label selector"),
        // The agent reads it, and the master says so where people look.
        ("agents", "mw-sync.io/namespaces", "a,,b", "is \"a,,b\": an entry is empty; write names or globs"),
        ("unknown", "mw-sync.io/cluster", "first", "is not known to this version (is mw-sync.io/clusters meant?)"),
        ("switch", "mw-sync.io/sync", "perhaps", "is \"perhaps\": write yes (also true, on, 1)"),
    ];
    for (name, ..) in bad {
        stage.source(name, "1").await?;
        stage.copy_is(&a, name, |_| true).await;
    }
    for (name, key, text, _) in bad {
        stage.annotate(name, json!({ key: text })).await?;
    }
    for (name, key, _, expected) in bad {
        stage.until_said(name, "Frozen", &[&format!("annotation {key} "), expected]).await;
        stage.set(name, "2").await?;
        stage.copy_is(&a, name, |copy| value(copy) == "2").await;
    }
    // A cluster that is new gets none of them, and so does one whose copy was lost.
    api::delete(&a, &stage.path("value")).await?;
    stage.join("second", &at_b).await?;
    stage.source("fence", "1").await?;
    for remote in [&a, &b] {
        stage.copy_is(remote, "fence", |_| true).await;
    }
    for (name, ..) in bad {
        assert!(api::get(&b, &stage.path(name)).await?.is_none(), "{name}");
    }
    assert!(api::get(&a, &stage.path("value")).await?.is_none());
    for (name, key, ..) in bad {
        stage.annotate(name, json!({ key: null })).await?;
        stage.copy_is(&b, name, |copy| value(copy) == "2").await;
    }

    // A master's replica, in the source namespace of another: that of the first one's fleet.
    let mut replica = api::opaque("replica", "1");
    replica["metadata"]["labels"] = json!({ "mw-sync.io/managed-by": "master" });
    replica["metadata"]["annotations"] = json!({ "mw-sync.io/origin": "elsewhere/operator/replica", "mw-sync": "yes" });
    api::create(&management, &api::secret(stage.name, ""), &replica).await?;
    stage.until_said("replica", "NeverReplicated", &["annotate the object it was copied from"]).await;
    api::annotate(&management, &stage.path("second"), Some("yes")).await?;
    stage.until_said("second", "NeverReplicated", &["mw-sync.io/kubeconfig"]).await;
    for name in ["replica", "second"] {
        assert!(api::get(&a, &stage.path(name)).await?.is_none(), "{name}");
    }
    end(&master).await
}

/// DESIGN section 6, "two sources want one replica": across origins the first keeps it.
#[tokio::test]
async fn of_two_masters_that_want_one_replica_the_first_keeps_it() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let first = Stage::new(&management, "m-origin-one").await?;
    let second = Stage::new(&management, "m-origin-two").await?;
    let access = first.prepare(&remote).await?;
    let at_first = first.master(&["--cluster-name=one"]).await?;
    first.join("there", &access).await?;
    first.source("both", "first").await?;
    let copy = first.copy_is(&remote, "both", |_| true).await;

    let at_second = second.master(&["--cluster-name=two", "--allow-adopt"]).await?;
    second.kubeconfig("there", &access.to_yaml()).await?;
    second.remote_cluster_in("there", first.name).await?;
    second.is("there", "Connected").await;
    second.asking("both", "second", json!({ "mw-sync.io/on-conflict": "adopt" })).await?;
    second.source("mine", "second").await?;
    first.copy_is(&remote, "mine", |copy| value(copy) == "second").await;
    second.until_said("both", "ForeignObject", &["cluster there: 1 of 1"]).await;
    let now = first.copy_is(&remote, "both", |_| true).await;
    assert_eq!(now["metadata"]["resourceVersion"], copy["metadata"]["resourceVersion"]);
    // When the first lets go, the second has it.
    first.annotate("both", json!({ "mw-sync": "no" })).await?;
    first.copy_is(&remote, "both", |copy| value(copy) == "second").await;
    end(&at_first).await?;
    end(&at_second).await
}
