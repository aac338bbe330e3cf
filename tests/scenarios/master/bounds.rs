//! What the person who runs the master allows, whatever a RemoteCluster asks for.

use anyhow::Result;
use serde_json::json;
use testbed::{ConnectProxy, shared};

use super::stage::{Stage, end};

#[tokio::test]
async fn roles_that_are_not_allowed_are_not_asked_for() -> Result<()> {
    let management = shared("management").await?;
    let stage = Stage::new(&management, "m-roles").await?;
    // There are no credentials here: whoever asks AWS for something is told that.
    let master = stage.master(&["--allow-roles=arn:aws:iam::*:role/mw-sync,arn:aws:iam::*:role/team/*"]).await?;
    let arn = "arn:aws:eks:eu-west-1:111122223333:cluster/prod";
    for (name, role) in [("good", "mw-sync"), ("in-team", "team/a"), ("other", "admin"), ("longer", "mw-sync2")] {
        let eks = json!({ "arn": arn, "roleArn": format!("arn:aws:iam::111122223333:role/{role}") });
        stage.remote_cluster_by(name, &json!({ "eks": eks })).await?;
    }
    stage.remote_cluster_by("as-itself", &json!({ "eks": { "arn": arn } })).await?;
    for name in ["other", "longer"] {
        let message = stage.is(name, "RoleNotAllowed").await;
        assert!(message.contains("add it to --allow-roles"), "{message}");
    }
    // Nor for a listing.
    for (name, role, reason) in [("finds", "mw-sync", "NoCredentials"), ("may-not", "admin", "RoleNotAllowed")] {
        let role = format!("arn:aws:iam::111122223333:role/{role}");
        stage.discovery(name, &json!({ "eks": { "roleArn": role, "regions": ["eu-west-1"] } })).await?;
        let message = stage.discovers(name, reason, 0).await;
        assert!(message.starts_with("eu-west-1: "), "{message}");
    }
    for name in ["good", "in-team", "as-itself"] {
        stage.is(name, "NoCredentials").await;
    }
    end(&master).await
}

#[tokio::test]
async fn a_cluster_is_reached_by_the_proxy_that_is_named() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, "m-proxy").await?;
    let access = stage.prepare(&remote).await?;
    let (proxy, other) = (ConnectProxy::start().await?, ConnectProxy::start().await?);
    // What is said of one cluster counts there, whatever is said of all.
    let env = [("NO_PROXY".to_owned(), "127.0.0.1".to_owned())];
    let master = stage.master_in(&["--delete-grace=2s"], &env).await?;
    stage.kubeconfig("far", &access.to_yaml()).await?;
    let spec = json!({ "namespace": "m-proxy", "kubeconfig": { "secretName": "far" }, "proxyURL": proxy.url() });
    stage.remote_cluster_by("far", &spec).await?;
    stage.is("far", "Connected").await;
    stage.source("one", "1").await?;
    stage.copy_is(&remote, "one", |_| true).await;
    let expected = remote.server_addr().to_string();
    assert!(!proxy.asked().is_empty() && proxy.asked().iter().all(|to| *to == expected), "{:?}", proxy.asked());
    // Another one, and then none.
    stage.change("far", json!({ "proxyURL": other.url() })).await?;
    stage.is("far", "Connected").await;
    assert!(!other.asked().is_empty());
    let before = (proxy.asked().len(), other.asked().len());
    stage.change("far", json!({ "proxyURL": null })).await?;
    stage.is("far", "Connected").await;
    assert_eq!((proxy.asked().len(), other.asked().len()), before);
    // What no cluster may be at, no proxy may.
    stage.change("far", json!({ "proxyURL": "http://169.254.169.254:80" })).await?;
    let message = stage.is("far", "ProxyInvalid").await;
    assert!(message.contains("--allow-addresses"), "{message}");
    end(&master).await
}
