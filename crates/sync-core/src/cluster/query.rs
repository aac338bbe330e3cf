//! What is listed and watched, and the requests for it.

use http::{Request, header};
use kube::client::Body;

use super::path;
use crate::contract::object::{Kind, Rv, SourceKey};
use crate::contract::rules::Rules;
use crate::fault::Fault;
use crate::ops::metrics::Heard;

/// Metadata only, so that no payload crosses the network; a server that cannot answers in full.
pub(super) const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
const JSON: &str = "application/json";

/// A set of objects of one kind.
#[derive(Clone, Debug)]
pub struct Query {
    /// E.g. `/api/v1/secrets` or `/apis/mw-sync.io/v1alpha1/namespaces/operator/remoteclusters`.
    pub path: String,
    /// Label selector.
    pub labels: Option<String>,
    /// Field selector.
    pub fields: Option<String>,
    /// Whether metadata is enough.
    pub metadata_only: bool,
    /// Where its watch notes that it has heard something.
    pub heard: Heard,
}

impl Query {
    /// All objects below a path, in full.
    pub fn all(path: impl Into<String>) -> Self {
        Self { path: path.into(), labels: None, fields: None, metadata_only: false, heard: Heard::default() }
    }

    /// The one of them that has this name.
    pub fn named(self, name: &str) -> Self {
        Self { fields: Some(format!("metadata.name={name}")), ..self }
    }

    /// Everything in the source namespace that may be a source.
    ///
    /// # Errors
    /// If the source namespace's name cannot be one.
    pub fn sources(rules: &Rules, kind: Kind) -> Result<Self, Fault> {
        Ok(Self::all(path::of_kind(kind, &rules.source_namespace)?))
    }

    /// Our replicas, in all namespaces or in one.
    ///
    /// # Errors
    /// If the namespace's name cannot be one.
    pub fn replicas(rules: &Rules, kind: Kind, namespace: Option<&str>) -> Result<Self, Fault> {
        let path = match namespace {
            Some(namespace) => path::of_kind(kind, namespace)?,
            None => format!("/api/v1/{}", kind.plural()),
        };
        Ok(Self { labels: Some(rules.replica_selector()), ..Self::all(path) })
    }

    /// Everything of this kind and name that does not carry the label of our replicas, in all namespaces or in one.
    ///
    /// # Errors
    /// If the namespace's name cannot be one.
    pub fn name(rules: &Rules, key: &SourceKey, namespace: Option<&str>) -> Result<Self, Fault> {
        let query = Self::replicas(rules, key.kind, namespace)?;
        let labels = Some(rules.replica_selector().replacen('=', "!=", 1));
        Ok(Self { labels, metadata_only: true, ..query }.named(&key.name))
    }

    /// All namespaces. A Terminating one shows in its metadata.
    pub fn namespaces() -> Self {
        Self { metadata_only: true, ..Self::all("/api/v1/namespaces") }
    }

    /// All ServiceAccounts.
    pub fn service_accounts() -> Self {
        Self::all("/api/v1/serviceaccounts")
    }

    /// A page of a consistent list: without a resourceVersion the server reads the latest state.
    pub(super) fn list(&self, limit: u32, next: Option<&str>) -> Result<Request<Body>, Fault> {
        let mut uri = format!("{}?limit={limit}", self.path);
        if let Some(next) = next {
            parameter(&mut uri, "continue", next);
        }
        self.request(uri, METADATA_LIST)
    }

    /// A watch from a version on, or one that begins with the list (KEP-3157): the same consistent state, without
    /// pages that the server would have to hold.
    pub(super) fn watch(&self, from: Option<Rv>, seconds: u64) -> Result<Request<Body>, Fault> {
        let mut uri = format!("{}?watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}", self.path);
        match from {
            Some(version) => uri.push_str(&format!("&resourceVersion={version}")),
            None => uri.push_str("&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"),
        }
        self.request(uri, METADATA)
    }

    fn request(&self, mut uri: String, metadata: &str) -> Result<Request<Body>, Fault> {
        for (name, selector) in [("labelSelector", &self.labels), ("fieldSelector", &self.fields)] {
            if let Some(selector) = selector {
                parameter(&mut uri, name, selector);
            }
        }
        let accept = if self.metadata_only { metadata } else { JSON };
        let request = Request::get(uri).header(header::ACCEPT, accept).body(Body::empty());
        request.map_err(|_| Fault::Rejected("a path that cannot be one".to_owned()))
    }
}

fn parameter(uri: &mut String, name: &str, value: &str) {
    uri.push('&');
    uri.push_str(name);
    uri.push('=');
    uri.push_str(&path::encode(value));
}
