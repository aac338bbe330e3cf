//! DESIGN section 6, "source namespace recreated, management cluster rebuilt under the same name". Promise 2.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Cluster, Process, eventually, shared};

use super::api;
use super::stage::{SOON, Stage, end, value};

/// Waits until it has decided about the replica of a source that is gone: the grace is over, and both are confirmed.
async fn until_stranded(master: &Process, source: &str) {
    eventually(SOON, format!("{source} is stranded"), async || {
        let log = master.stderr();
        let said = |line: &str| line.contains("Stranded") && line.contains(&format!("source=Secret/{source} "));
        ensure!(log.lines().any(said), "{}", master.log_tail(20));
        Ok(())
    })
    .await;
}

async fn copy(remote: &Cluster, stage: &Stage<'_>, name: &str) -> Result<Value> {
    api::get(remote, &stage.path(name)).await?.with_context(|| format!("{name} is gone"))
}

/// What tells that nobody has touched it.
fn state(copy: &Value) -> (&Value, &Value) {
    (&copy["metadata"]["uid"], &copy["metadata"]["resourceVersion"])
}

#[tokio::test]
async fn a_rebuilt_management_cluster_deletes_nothing_and_takes_over_by_uid() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, "m-rebuilt").await?;
    let access = stage.prepare(&remote).await?;
    let master = stage.master_with(&["--delete-grace=500ms"]).await?;
    stage.join("there", &access).await?;
    for name in ["comes-back", "stays-away"] {
        stage.source(name, "1").await?;
        stage.copy_is(&remote, name, |_| true).await;
    }
    let before = [copy(&remote, &stage, "comes-back").await?, copy(&remote, &stage, "stays-away").await?];
    let unchanged = async || -> Result<()> {
        for was in &before {
            let now = copy(&remote, &stage, was["metadata"]["name"].as_str().unwrap_or_default()).await?;
            assert_eq!(state(&now), state(was));
        }
        Ok(())
    };
    let old = before[0]["metadata"]["annotations"]["mw-sync.io/origin-uid"].as_str().context("a mark")?.to_owned();

    // The whole namespace goes while the master runs, its RemoteClusters and its own account too.
    let mark = remote.audit().mark().await?;
    management.kubectl(&["delete", "namespace", stage.name, "--wait=true", "--timeout=60s"]).await?;
    unchanged().await?;
    end(&master).await?;
    unchanged().await?;

    // Another one under the same name, empty: what stands there waits, also when it is known that no source is there.
    let stage = Stage::new(&management, "m-rebuilt").await?;
    let master = stage.master_with(&["--delete-grace=500ms"]).await?;
    stage.join("there", &access).await?;
    stage.source("fence", "1").await?;
    stage.copy_is(&remote, "fence", |_| true).await;
    for name in ["comes-back", "stays-away"] {
        until_stranded(&master, name).await;
    }
    let path = api::remote_cluster(stage.name, "there");
    eventually(SOON, "the RemoteCluster counts them", async || {
        let object = api::get(&management, &path).await?.context("it is there")?;
        ensure!(object["status"]["sources"]["refused"] == 2, "{}", object["status"]);
        Ok(())
    })
    .await;
    unchanged().await?;
    // A source that comes back does not take it over unasked: another cluster may use our name.
    stage.source("comes-back", "2").await?;
    stage
        .until_said("comes-back", "Stranded", &["cluster there: 1 of 1 ", "--take-over", "mw-sync.io/origin-uid"])
        .await;
    unchanged().await?;
    end(&master).await?;

    // Asked to, by the uid that stands on the copies.
    let master = stage.master_with(&["--delete-grace=500ms", "--take-over", &old]).await?;
    let taken = stage.copy_is(&remote, "comes-back", |copy| value(copy) == "2").await;
    let namespace = api::get(&management, &format!("/api/v1/namespaces/{}", stage.name)).await?.context("there")?;
    assert_eq!(taken["metadata"]["uid"], before[0]["metadata"]["uid"], "there was no window");
    assert_eq!(taken["metadata"]["annotations"]["mw-sync.io/origin-uid"], namespace["metadata"]["uid"]);
    until_stranded(&master, "stays-away").await;
    assert_eq!(state(&copy(&remote, &stage, "stays-away").await?), state(&before[1]));
    let requests = remote.audit().since(mark).await?.user(&stage.remote_user()).writes();
    let verbs: Vec<_> = requests.each().map(|request| request.verb.as_str()).collect();
    assert_eq!(verbs, ["create", "patch"], "the fence's copy, and the one taken over");
    // It is ours as any from then on.
    stage.annotate("comes-back", json!({ "mw-sync": "no" })).await?;
    stage.copy_is_gone(&remote, "comes-back").await;
    end(&master).await
}
