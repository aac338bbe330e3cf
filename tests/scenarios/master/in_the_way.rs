//! What stands in the way in a remote cluster; DESIGN section 6, "foreign object".

use anyhow::{Result, ensure};
use testbed::{eventually, shared};

use super::api;
use super::stage::{SOON, Stage, end, value};

/// Promises 1 and 4: with no right outside its namespace a master watches what is refused by its name, so that there is
/// no request while it stands there, and one when it goes.
#[tokio::test]
async fn what_is_in_the_way_is_watched_and_its_place_taken_when_it_goes() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, "m-in-the-way").await?;
    let access = stage.prepare(&remote).await?;
    api::create(&remote, &api::secret("m-in-the-way", ""), &api::opaque("taken", "theirs")).await?;
    let begin = remote.audit().mark().await?;
    let master = stage.master(&[]).await?;
    stage.join("there", &access).await?;
    stage.source("taken", "ours").await?;
    stage.until_said("taken", "ForeignObject", &["delete or rename"]).await;
    let asked = async |mark| Ok::<_, anyhow::Error>(remote.audit().since(mark).await?.user(&stage.remote_user()));
    eventually(SOON, "its name is watched", async || {
        let watches = asked(begin).await?.verb("watch");
        ensure!(watches.filter(|entry| entry.request_uri.contains("metadata.name%3Dtaken")).count() > 0, "it is not");
        Ok(())
    })
    .await;
    // Its first look again is due within seconds if nothing is watched.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let mark = remote.audit().mark().await?;
    api::merge(&remote, &stage.path("taken"), &serde_json::json!({ "stringData": { "key": "theirs again" } })).await?;
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    assert_eq!(asked(mark).await?.count(), 0, "{:#?}", asked(mark).await?.counts());
    api::delete(&remote, &stage.path("taken")).await?;
    stage.copy_is(&remote, "taken", |copy| value(copy) == "ours").await;
    let requests = asked(mark).await?.filter(|entry| entry.verb != "watch");
    assert_eq!((requests.count(), requests.verb("create").count()), (1, 1));
    end(&master).await
}
