//! Requests, taken apart.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, header};
use serde_json::Value;

use super::{Id, meta};

/// What processes of one controller agree by who writes.
pub(in super::super) const LEASES: &str = "leases";

/// A request as the server understands it.
#[derive(Clone, Debug)]
pub(in super::super) struct Request {
    pub(in super::super) method: Method,
    pub(in super::super) path: String,
    pub(in super::super) query: BTreeMap<String, String>,
    /// The client wants metadata alone.
    pub(in super::super) metadata: bool,
    /// A PATCH is server-side apply.
    pub(in super::super) apply: bool,
    pub(in super::super) body: Bytes,
    /// What it is about; `None` for a path that is not served.
    pub(in super::super) target: Option<Target>,
}

/// A kind of objects, in one namespace or all, or one object.
#[derive(Clone, Debug)]
pub(in super::super) struct Target {
    pub(in super::super) plural: &'static str,
    pub(in super::super) namespace: Option<String>,
    pub(in super::super) name: Option<String>,
}

impl Target {
    fn of(path: &str) -> Option<Self> {
        let known =
            |plural: &str| ["secrets", "configmaps", "serviceaccounts"].into_iter().find(|known| *known == plural);
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        let (plural, namespace, name) = match *parts.as_slice() {
            ["api", "v1", "namespaces"] => ("namespaces", None, None),
            ["api", "v1", "namespaces", name] => ("namespaces", None, Some(name)),
            ["api", "v1", plural] => (known(plural)?, None, None),
            ["api", "v1", "namespaces", namespace, plural] => (known(plural)?, Some(namespace), None),
            ["api", "v1", "namespaces", namespace, plural, name] => (known(plural)?, Some(namespace), Some(name)),
            ["apis", "coordination.k8s.io", "v1", "namespaces", namespace, LEASES] => (LEASES, Some(namespace), None),
            ["apis", "coordination.k8s.io", "v1", "namespaces", namespace, LEASES, name] => {
                (LEASES, Some(namespace), Some(name))
            }
            ["apis", "events.k8s.io", "v1", "namespaces", namespace, "events"] => ("events", Some(namespace), None),
            _ => return None,
        };
        Some(Self { plural, namespace: namespace.map(str::to_owned), name: name.map(str::to_owned) })
    }

    /// The one object that is named.
    pub(in super::super) fn id(&self) -> Option<Id> {
        Some(Id::new(self.plural, self.namespace.as_deref().unwrap_or_default(), self.name.as_deref()?))
    }
}

impl Request {
    pub(in super::super) fn new(method: Method, uri: &str, accept: &str, body: Bytes) -> Self {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let query = pairs.map(|(key, value)| (key.to_owned(), decode(value))).collect();
        let metadata = accept.contains("as=PartialObjectMetadata");
        let target = Target::of(path);
        Self { method, path: path.to_owned(), query, metadata, apply: false, body, target }
    }

    pub(in super::super) fn from_http(head: &http::request::Parts, body: Bytes) -> Self {
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let apply = header(header::CONTENT_TYPE).starts_with("application/apply-patch");
        Self { apply, ..Self::new(head.method.clone(), &head.uri.to_string(), header(header::ACCEPT), body) }
    }

    pub(in super::super) fn is_watch(&self) -> bool {
        self.query.get("watch").is_some_and(|value| value != "0" && value != "false")
    }

    /// Whether it reads or watches all objects of some kind.
    pub(in super::super) fn is_collection(&self) -> bool {
        self.method == Method::GET && self.target.as_ref().is_some_and(|target| target.name.is_none())
    }

    /// Whether it asks for all objects of some kind as they are, rather than for what changes from some version on.
    pub(in super::super) fn is_list(&self) -> bool {
        self.is_collection() && !(self.is_watch() && self.query.contains_key("resourceVersion"))
    }

    /// Whether it is about the Lease that processes share, and no watch.
    pub(in super::super) fn is_of_lease(&self) -> bool {
        !self.is_collection() && self.target.as_ref().is_some_and(|target| target.plural == LEASES)
    }

    /// Whether it would change something.
    pub(in super::super) fn is_write(&self) -> bool {
        self.method != Method::GET
    }

    /// The object that it is about: named in the path, or in the body of a create.
    pub(in super::super) fn id(&self) -> Option<Id> {
        // Events are no part of the world.
        let target = self.target.as_ref().filter(|target| target.plural != "events")?;
        if let Some(id) = target.id() {
            return Some(id);
        }
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        let namespace = target.namespace.as_deref().unwrap_or_default();
        Some(Id::new(target.plural, namespace, body["metadata"]["name"].as_str()?))
    }

    pub(in super::super) fn selector(&self) -> Option<Selector> {
        let target = self.target.as_ref()?;
        let parameter = |name: &str| self.query.get(name).map_or("", String::as_str);
        let requirements = |text: &str| -> Vec<(String, String)> {
            let parts = text.split(',').filter_map(|part| part.split_once('='));
            parts.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
        };
        Some(Selector {
            plural: target.plural,
            namespace: target.namespace.clone(),
            labels: requirements(parameter("labelSelector")),
            fields: requirements(parameter("fieldSelector")),
        })
    }
}

fn decode(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        let hex = (*first == b'%').then(|| more.get(..2)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = more.get(2..).unwrap_or_default();
            }
            None => out.push(*first),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Which objects a list or watch is about.
#[derive(Clone, Debug)]
pub(in super::super) struct Selector {
    pub(in super::super) plural: &'static str,
    pub(in super::super) namespace: Option<String>,
    /// Keys and values; `!` at the end of a key says that it must not have this value.
    pub(in super::super) labels: Vec<(String, String)>,
    pub(in super::super) fields: Vec<(String, String)>,
}

impl Selector {
    pub(in super::super) fn is_of_kind(&self, id: &Id) -> bool {
        id.plural == self.plural && self.namespace.as_ref().is_none_or(|namespace| *namespace == id.namespace)
    }

    pub(in super::super) fn selects(&self, id: &Id, object: &Value) -> bool {
        let field = |field: &str| match field {
            "metadata.name" => id.name.as_str(),
            "metadata.namespace" => id.namespace.as_str(),
            other => panic!("field selector {other}"),
        };
        self.is_of_kind(id)
            && self.labels.iter().all(|(key, value)| match key.strip_suffix('!') {
                Some(key) => meta(object, "labels", key) != Some(value.as_str()),
                None => meta(object, "labels", key) == Some(value.as_str()),
            })
            && self.fields.iter().all(|(key, value)| field(key) == value)
    }
}
