//! The copies, and what a bare client sends to make the same.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use sync_core::contract::keys;

use crate::world::{NAME, World, send};

/// What the agent has written, less what the server adds and the payload.
#[derive(Default)]
pub(crate) struct Copies(Mutex<Option<Value>>);

/// CPU seconds that the API server has used.
pub(crate) fn cpu_of_server(world: &World) -> Result<f64> {
    world.cluster.api_server().context("no API server")?.cpu_seconds()
}

impl Copies {
    /// The copies that are there now.
    pub(crate) async fn all(world: &World) -> Result<Vec<Value>> {
        let path = "/api/v1/secrets?labelSelector=mw-sync.io/managed-by%3Dagent";
        let list: Value = serde_json::from_slice(&send(&world.connection, Method::GET, path, Bytes::new()).await?)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Fails unless every namespace has its copy, with this payload.
    pub(crate) async fn check(world: &World, payload: &Value) -> Result<()> {
        let copies = Self::all(world).await?;
        let right = copies.iter().filter(|copy| copy["data"] == *payload).count();
        ensure!(
            (right, copies.len()) == (world.namespaces.len(), world.namespaces.len()),
            "{right} of {} copies are right, for {} namespaces",
            copies.len(),
            world.namespaces.len()
        );
        Ok(())
    }

    /// Remembers what the agent has written, less what the server adds.
    pub(crate) async fn learn(&self, world: &World) -> Result<()> {
        let mut copy = Self::all(world).await?.into_iter().next().context("no copy to learn from")?;
        let metadata = &mut copy["metadata"];
        let kept = json!({ "name": NAME, "labels": metadata["labels"], "annotations": metadata["annotations"] });
        *metadata = kept;
        // Items of a list do not say what they are.
        copy["apiVersion"] = "v1".into();
        copy["kind"] = "Secret".into();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
        Ok(())
    }

    /// The body that the agent would send, with this payload.
    pub(crate) fn body(&self, payload: Value) -> Result<Bytes> {
        let template = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut body = template.context("the agent comes first")?;
        body["data"] = payload;
        Ok(body.to_string().into())
    }

    /// The JSON Patch that the agent would send, with this payload.
    pub(crate) fn patch(&self, payload: &Value) -> Result<Bytes> {
        let template = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let metadata = template.context("the agent comes first")?["metadata"].clone();
        let path = |map: &str, key: &str| format!("/metadata/{map}/{}", key.replace('/', "~1"));
        let mut patch = Vec::new();
        for (map, key) in [("labels", keys::MANAGED_BY), ("annotations", keys::ORIGIN)] {
            patch.push(json!({ "op": "test", "path": path(map, key), "value": metadata[map][key] }));
        }
        patch.push(json!({ "op": "add", "path": "/data", "value": payload }));
        patch.push(json!({ "op": "add", "path": "/immutable", "value": null }));
        for map in ["labels", "annotations"] {
            for (key, value) in metadata[map].as_object().into_iter().flatten() {
                patch.push(json!({ "op": "add", "path": path(map, key), "value": value }));
            }
        }
        Ok(Value::Array(patch).to_string().into())
    }
}
