//! Objects of a cluster, as JSON, by a client with all rights: kubectl would take a process for each.

use std::fmt::Display;

use anyhow::{Context as _, Result, bail, ensure};
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};
use testbed::{Cluster, Kubeconfig, eventually};

use super::SOON;

/// The kinds that scenarios handle.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Secret,
    ConfigMap,
    Namespace,
    RemoteCluster,
    ServiceAccount,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::Namespace => "Namespace",
            Self::RemoteCluster => "RemoteCluster",
            Self::ServiceAccount => "ServiceAccount",
        }
    }

    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
            Self::Namespace => "namespaces",
            Self::RemoteCluster => "remoteclusters",
            Self::ServiceAccount => "serviceaccounts",
        }
    }

    fn path(self, namespace: &str) -> String {
        match self {
            Self::Namespace => "/api/v1/namespaces".to_owned(),
            Self::RemoteCluster => format!("/apis/mw-sync.io/v1alpha1/namespaces/{namespace}/remoteclusters"),
            Self::Secret | Self::ConfigMap | Self::ServiceAccount => {
                format!("/api/v1/namespaces/{namespace}/{}", self.plural())
            }
        }
    }
}

/// A cluster through a client, which belongs to the test's runtime.
#[derive(Clone)]
pub(crate) struct World(Client);

impl World {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        Self(cluster.client())
    }

    /// As somebody with another access.
    pub(crate) fn with(cluster: &Cluster, access: &Kubeconfig) -> Self {
        Self(cluster.client_with(access))
    }

    /// Sends a request; `uri` is a path and a query.
    pub(crate) async fn send(&self, method: Method, uri: &str, content: &str, body: &Value) -> Result<Value> {
        let request = Request::builder().method(method.clone()).uri(uri).header("content-type", content);
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
        let answer = self.0.request::<Value>(request.body(body)?).await;
        answer.with_context(|| format!("{method} {uri}"))
    }

    /// Creates an object; kind and namespace are in it.
    pub(crate) async fn create(&self, object: &Value) -> Result<Value> {
        let kind = match object["kind"].as_str() {
            Some("Secret") => Kind::Secret,
            Some("ConfigMap") => Kind::ConfigMap,
            Some("Namespace") => Kind::Namespace,
            Some("ServiceAccount") => Kind::ServiceAccount,
            other => bail!("no kind for {other:?}"),
        };
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        self.send(Method::POST, &kind.path(namespace), "application/json", object).await
    }

    /// Creates a namespace.
    pub(crate) async fn namespace(&self, name: &str) -> Result<Value> {
        self.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await
    }

    /// Reads an object that is there.
    pub(crate) async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Value> {
        let uri = format!("{}/{name}", kind.path(namespace));
        self.send(Method::GET, &uri, "application/json", &Value::Null).await
    }

    /// Reads an object, or says that there is none.
    pub(crate) async fn find(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Value>> {
        match self.get(kind, namespace, name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if code(&error) == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects of a kind.
    pub(crate) async fn all(&self, kind: Kind) -> Result<Vec<Value>> {
        let uri = format!("/api/v1/{}", kind.plural());
        let mut list = self.send(Method::GET, &uri, "application/json", &Value::Null).await?;
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// All objects of a name, in all namespaces but `operator`.
    pub(crate) async fn copies(&self, kind: Kind, name: &str) -> Result<Vec<Value>> {
        let of = format!("metadata.name={name},metadata.namespace!=operator");
        self.list(&format!("/api/v1/{}?fieldSelector={of}", kind.plural())).await
    }

    /// The namespaces where there is an object of this name, but for `operator`, sorted.
    pub(crate) async fn places(&self, kind: Kind, name: &str) -> Result<Vec<String>> {
        let copies = self.copies(kind, name).await?;
        let names = copies.iter().filter_map(|copy| copy["metadata"]["namespace"].as_str());
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// What a list has.
    pub(crate) async fn list(&self, uri: &str) -> Result<Vec<Value>> {
        let mut list = self.send(Method::GET, uri, "application/json", &Value::Null).await?;
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// Creates a namespace with labels.
    pub(crate) async fn labelled(&self, name: &str, labels: &Value) -> Result<Value> {
        let metadata = json!({"name": name, "labels": labels});
        self.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})).await
    }

    /// Sets labels of a namespace; null takes one away.
    pub(crate) async fn relabel(&self, name: &str, labels: &Value) -> Result<Value> {
        self.merge(Kind::Namespace, "", name, &json!({"metadata": {"labels": labels}})).await
    }

    /// Changes an object by a merge patch.
    pub(crate) async fn merge(&self, kind: Kind, namespace: &str, name: &str, patch: &Value) -> Result<Value> {
        let uri = format!("{}/{name}", kind.path(namespace));
        self.send(Method::PATCH, &uri, "application/merge-patch+json", patch).await
    }

    /// Sets annotations of a source; null takes one away.
    pub(crate) async fn annotate(&self, kind: Kind, name: &str, annotations: &Value) -> Result<Value> {
        self.merge(kind, "operator", name, &json!({"metadata": {"annotations": annotations}})).await
    }

    /// Deletes an object, without waiting for what is in a namespace.
    pub(crate) async fn delete(&self, kind: Kind, namespace: &str, name: &str) -> Result<Value> {
        let uri = format!("{}/{name}", kind.path(namespace));
        self.send(Method::DELETE, &uri, "application/json", &Value::Null).await
    }

    /// Deletes an object if it is still this one in this version.
    pub(crate) async fn delete_exactly(&self, kind: Kind, namespace: &str, name: &str, object: &Value) -> Result<()> {
        let uri = format!("{}/{name}", kind.path(namespace));
        let exactly = json!({"uid": uid(object), "resourceVersion": version(object)});
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": exactly});
        self.send(Method::DELETE, &uri, "application/json", &options).await.map(drop)
    }

    /// Takes the hold off a namespace that is being deleted, as the controller manager does when it is empty.
    pub(crate) async fn finalize(&self, namespace: &str) -> Result<()> {
        if let Some(mut object) = self.find(Kind::Namespace, "", namespace).await? {
            object["spec"]["finalizers"] = json!([]);
            let uri = format!("/api/v1/namespaces/{namespace}/finalize");
            self.send(Method::PUT, &uri, "application/json", &object).await?;
        }
        Ok(())
    }

    /// Waits until an object is there that `is` likes, and returns it.
    pub(crate) async fn until(
        &self,
        (kind, namespace, name): (Kind, &str, &str),
        what: impl Display,
        is: impl Fn(&Value) -> bool,
    ) -> Value {
        eventually(SOON, format!("{} {namespace}/{name}: {what}", kind.name()), async || {
            let object = self.get(kind, namespace, name).await?;
            ensure!(is(&object), "it is {object:#}");
            anyhow::Ok(object)
        })
        .await
    }

    /// Waits until an object is there.
    pub(crate) async fn until_there(&self, kind: Kind, namespace: &str, name: &str) -> Value {
        self.until((kind, namespace, name), "is there", |_| true).await
    }

    /// Waits until an object is there with these data.
    pub(crate) async fn until_data(&self, kind: Kind, namespace: &str, name: &str, data: &Value) -> Value {
        self.until((kind, namespace, name), format!("has {data}"), |object| object["data"] == *data).await
    }

    /// Waits until there is no such object.
    pub(crate) async fn until_gone(&self, kind: Kind, namespace: &str, name: &str) {
        eventually(SOON, format!("{} {namespace}/{name} is gone", kind.name()), async || {
            let found = self.find(kind, namespace, name).await?;
            ensure!(found.is_none(), "it is still there");
            Ok(())
        })
        .await;
    }
}

/// The code of an API server's refusal.
pub(crate) fn code(error: &anyhow::Error) -> Option<u16> {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

/// The object's uid.
pub(crate) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().expect("every object has a uid")
}

/// The object's resourceVersion.
pub(crate) fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().expect("every object has a version")
}
