//! `deploy/hardening.yaml`: with it the controllers do all that they do, and their tokens are good for nothing else.

mod agent;
mod management;
mod master;

use anyhow::{Result, ensure};
use http::Method;
use serde_json::Value;
use testbed::{Cluster, eventually};

use crate::support::{SOON, World};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

/// What is tried with a controller's token. A trial run: nothing is changed, admission decides all the same.
struct Attempt {
    what: &'static str,
    /// The policy that refuses it.
    policy: &'static str,
    method: Method,
    path: String,
    body: Value,
}

impl Attempt {
    fn create(what: &'static str, policy: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self { what, policy, method: Method::POST, path: path.into(), body }
    }

    fn patch(what: &'static str, policy: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self { what, policy, method: Method::PATCH, path: path.into(), body }
    }

    fn delete(what: &'static str, policy: &'static str, path: impl Into<String>) -> Self {
        Self { what, policy, method: Method::DELETE, path: path.into(), body: Value::Null }
    }

    async fn send(&self, world: &World) -> Result<Value> {
        let content = if self.method == Method::PATCH { MERGE } else { JSON };
        world.send(self.method.clone(), &format!("{}?dryRun=All", self.path), content, &self.body).await
    }

    async fn is_refused(&self, world: &World) -> Result<()> {
        let answer = self.send(world).await;
        let said = format!("{:?}", answer.as_ref().err());
        let by = format!("ValidatingAdmissionPolicy '{}'", self.policy);
        ensure!(said.contains(&by) && said.contains(" denied request"), "{}: not by {by}: {said}", self.what);
        // A policy that cannot be evaluated refuses everything.
        ensure!(!said.contains("error") && !said.contains("no such"), "{}: {said}", self.what);
        Ok(())
    }
}

/// Waits until the policies act, a second or two after they were applied, and checks each attempt.
async fn all_are_refused(world: &World, attempts: &[Attempt]) {
    for attempt in attempts {
        eventually(SOON, attempt.what, async || attempt.is_refused(world).await).await;
    }
}

/// That no expression has a fault that the API server finds by itself.
async fn no_warnings(cluster: &Cluster) -> Result<()> {
    eventually(SOON, "the policies are checked", async || {
        let read = cluster.kubectl(&["get", "validatingadmissionpolicies", "-o", "json"]).await?;
        let list: Value = serde_json::from_str(&read)?;
        let policies = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        ensure!(policies.len() == 5, "{} policies", policies.len());
        for policy in policies {
            let (status, name) = (&policy["status"], &policy["metadata"]["name"]);
            ensure!(status["observedGeneration"] == policy["metadata"]["generation"], "{name} is not checked yet");
            ensure!(status["typeChecking"]["expressionWarnings"].is_null(), "{name}: {status:#}");
        }
        Ok(())
    })
    .await;
    Ok(())
}
