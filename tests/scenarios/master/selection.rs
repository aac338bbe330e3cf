//! `clusters` and `cluster-selector`: names and labels of RemoteClusters.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, Mark, Process, Requests, eventually, shared};

use super::api;
use super::stage::{SOON, Stage, end, value};

/// What the master asked for in a remote cluster: of Secrets by `writes`, or of anything that a new engine needs.
async fn asked(stage: &Stage<'_>, remote: &Cluster, mark: Mark) -> Result<(Requests, usize)> {
    let all = remote.audit().since(mark).await?.user(&stage.remote_user());
    let starts = all.clone().filter(|request| matches!(request.verb.as_str(), "list" | "watch")).count();
    Ok((all.writes(), starts))
}

async fn until_leaving(master: &Process, source: &str, count: usize) {
    eventually(SOON, format!("{source} is selected no more, {count} times"), async || {
        let log = master.stderr();
        let said = |line: &&str| line.contains("selected no more") && line.contains(&format!("Secret/{source} "));
        ensure!(log.lines().filter(said).count() >= count, "{}", master.log_tail(20));
        Ok(())
    })
    .await;
}

/// DESIGN section 6, "selection no longer matches"; promises 4 and 8: a label of a RemoteCluster restarts nothing.
#[tokio::test]
async fn sources_go_to_the_clusters_that_they_select_as_labels_change() -> Result<()> {
    let (management, a, b) = (shared("management").await?, shared("remote-a").await?, shared("remote-b").await?);
    let stage = Stage::new(&management, "m-select").await?;
    let (at_a, at_b) = (stage.prepare(&a).await?, stage.prepare(&b).await?);
    let master = stage.master_with(&["--delete-grace=1h"]).await?;
    stage.join("prod-eu", &at_a).await?;
    stage.join("dev-eu", &at_b).await?;
    stage.relabel("prod-eu", json!({ "env": "prod", "tier": "1" })).await?;
    stage.relabel("dev-eu", json!({ "env": "dev", "tier": "1" })).await?;

    let (clusters, selector) = ("mw-sync.io/clusters", "mw-sync.io/cluster-selector");
    stage.asking("by-name", "1", json!({ clusters: "prod-*" })).await?;
    stage.asking("by-exclusion", "1", json!({ clusters: "!prod-*" })).await?;
    stage.asking("by-label", "1", json!({ selector: "env in (dev,test)" })).await?;
    stage.asking("by-both", "1", json!({ clusters: "*-eu", selector: "env=prod,tier" })).await?;
    stage.asking("by-neither", "1", json!({ clusters: "prod-*", selector: "env=dev" })).await?;
    stage.source("to-all", "1").await?;
    let has = async |remote: &Cluster, name: &str| {
        Ok::<_, anyhow::Error>(api::get(remote, &stage.path(name)).await?.is_some())
    };
    for (remote, names) in [(&a, ["by-name", "by-both", "to-all"]), (&b, ["by-exclusion", "by-label", "to-all"])] {
        for name in names {
            stage.copy_is(remote, name, |_| true).await;
        }
    }
    for (remote, names) in
        [(&a, ["by-exclusion", "by-label", "by-neither"]), (&b, ["by-name", "by-both", "by-neither"])]
    {
        for name in names {
            assert!(!has(remote, name).await?, "{name}");
        }
    }

    // Out and back within the grace: nothing is asked for but what the source's change needs.
    let before = stage.copy_is(&b, "by-label", |_| true).await;
    let (mark_a, mark_b) = (a.audit().mark().await?, b.audit().mark().await?);
    stage.relabel("dev-eu", json!({ "env": "prod" })).await?;
    stage.copy_is(&b, "by-both", |_| true).await;
    until_leaving(&master, "by-label", 1).await;
    stage.until_said("by-label", "NotSelected", &["cluster dev-eu: 1 copies are no longer selected"]).await;
    stage.set("by-label", "2").await?;
    stage.relabel("dev-eu", json!({ "env": "test" })).await?;
    let after = stage.copy_is(&b, "by-label", |copy| value(copy) == "2").await;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    until_leaving(&master, "by-both", 1).await;
    // By the source's word.
    stage.annotate("to-all", json!({ clusters: "prod-*" })).await?;
    until_leaving(&master, "to-all", 1).await;
    stage.annotate("to-all", json!({ clusters: null })).await?;
    stage.set("to-all", "2").await?;
    stage.copy_is(&b, "to-all", |copy| value(copy) == "2").await;
    let (writes, starts) = asked(&stage, &b, mark_b).await?;
    let verbs: Vec<_> = writes.each().map(|request| request.verb.as_str()).collect();
    assert_eq!((verbs, starts), (vec!["create", "update", "update"], 0), "{:#?}", writes.counts());
    assert_eq!(asked(&stage, &a, mark_a).await?.1, 0, "the other cluster's engine was restarted");
    end(&master).await?;

    // Another master, a short grace: what is selected no more goes, switched off first.
    let mark_b = b.audit().mark().await?;
    let master = stage.master(&[]).await?;
    stage.copy_is_gone(&b, "by-both").await;
    stage.relabel("dev-eu", json!({ "env": Value::Null })).await?;
    stage.copy_is_gone(&b, "by-label").await;
    let (writes, _) = asked(&stage, &b, mark_b).await?;
    let verbs: Vec<_> = writes.each().map(|request| (request.verb.as_str(), request.name.as_str())).collect();
    let both = |name: &'static str| [("patch", name), ("delete", name)];
    assert_eq!(verbs, [both("by-both"), both("by-label")].concat());
    for name in ["by-exclusion", "to-all"] {
        assert!(has(&b, name).await?, "{name}");
    }
    for name in ["by-name", "by-both", "to-all"] {
        assert!(has(&a, name).await?, "{name}");
    }
    end(&master).await
}
