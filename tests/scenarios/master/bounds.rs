//! What the person who runs the master allows, whatever a RemoteCluster asks for.

use anyhow::Result;
use serde_json::json;
use testbed::shared;

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
    for name in ["good", "in-team", "as-itself"] {
        stage.is(name, "NoCredentials").await;
    }
    end(&master).await
}
