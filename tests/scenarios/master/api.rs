//! Objects as plain JSON: a scenario looks at what is there, whatever the types say.

use anyhow::Result;
use http::Request;
use serde_json::{Value, json};
use testbed::Cluster;

/// Path of the Secrets of a namespace, or of one.
pub(crate) fn secret(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/{name}").trim_end_matches('/').to_owned()
}

/// Path of the ConfigMaps of a namespace, or of one.
pub(crate) fn config_map(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps/{name}").trim_end_matches('/').to_owned()
}

/// Path of the RemoteClusters of a namespace, or of one.
pub(crate) fn remote_cluster(namespace: &str, name: &str) -> String {
    format!("/apis/mw-sync.io/v1alpha1/namespaces/{namespace}/remoteclusters/{name}").trim_end_matches('/').to_owned()
}

/// Path of the ClusterDiscoveries of a namespace, or of one.
pub(crate) fn discovery(namespace: &str, name: &str) -> String {
    let path = format!("/apis/mw-sync.io/v1alpha1/namespaces/{namespace}/clusterdiscoveries/{name}");
    path.trim_end_matches('/').to_owned()
}

async fn send(cluster: &Cluster, method: &str, path: &str, content: &str, body: &Value) -> Result<Option<Value>> {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder().method(method).uri(path).header("content-type", content).body(body)?;
    match cluster.client().request::<Value>(request).await {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The object, if it is there.
pub(crate) async fn get(cluster: &Cluster, path: &str) -> Result<Option<Value>> {
    send(cluster, "GET", path, "application/json", &Value::Null).await
}

/// Makes an object of what a namespace's path has.
pub(crate) async fn create(cluster: &Cluster, path: &str, object: &Value) -> Result<()> {
    send(cluster, "POST", path, "application/json", object).await?;
    Ok(())
}

/// A merge patch.
pub(crate) async fn merge(cluster: &Cluster, path: &str, patch: &Value) -> Result<()> {
    send(cluster, "PATCH", path, "application/merge-patch+json", patch).await?;
    Ok(())
}

/// Deletes it, if it is there.
pub(crate) async fn delete(cluster: &Cluster, path: &str) -> Result<()> {
    send(cluster, "DELETE", path, "application/json", &Value::Null).await?;
    Ok(())
}

/// Switches a source on or off.
pub(crate) async fn annotate(cluster: &Cluster, path: &str, value: Option<&str>) -> Result<()> {
    merge(cluster, path, &json!({ "metadata": { "annotations": { "mw-sync": value } } })).await
}

/// A Secret of one key, not annotated.
pub(crate) fn opaque(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": { "key": value } })
}
