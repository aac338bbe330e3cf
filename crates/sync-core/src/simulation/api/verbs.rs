//! What each verb does.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::status::{self, Refusal, not_found};
use super::{Change, Id, LEASES, Object, Request, Selector, Store, apply, is_terminating, patch, uid, valid, version};

/// An API server and its etcd.
#[derive(Debug)]
pub(in super::super) struct Server {
    pub(in super::super) store: Store,
    /// Lists can be had as the beginning of a watch.
    pub(in super::super) streaming_lists: bool,
    /// How many versions the cache that lists and watches are served from is behind.
    pub(in super::super) stale: u64,
    /// Events that were posted.
    pub(in super::super) events: Vec<Value>,
}

/// The answer to a request.
#[derive(Debug)]
pub(in super::super) enum Answer {
    /// Status code and body.
    Whole(u16, Value),
    /// A watch has begun.
    Watch(Opened),
}

/// A watch, from its beginning on.
#[derive(Debug)]
pub(in super::super) struct Opened {
    pub(in super::super) selector: Selector,
    pub(in super::super) metadata: bool,
    pub(in super::super) bookmarks: bool,
    /// What is sent first: type and object.
    pub(in super::super) initial: Vec<(&'static str, Value)>,
    /// What happened up to this version has been sent.
    pub(in super::super) from: u64,
    /// The list that a watch begins with is complete when everything up to this version has been sent.
    pub(in super::super) list: Option<u64>,
    pub(in super::super) seconds: u64,
}

impl Server {
    pub(in super::super) fn new(salt: u64) -> Self {
        Self { store: Store::new(salt), streaming_lists: true, stale: 0, events: Vec::new() }
    }

    pub(in super::super) fn handle(&mut self, now: Instant, request: &Request) -> Answer {
        let Some(target) = &request.target else {
            let (code, body) = status::failure(404, "NotFound", "the server could not find it", &json!({}));
            return Answer::Whole(code, body);
        };
        let done = match (&request.method, &target.name) {
            (&Method::GET, None) if request.is_watch() => match self.watch(request) {
                Ok(opened) => return Answer::Watch(opened),
                Err(refusal) => Err(refusal),
            },
            (&Method::GET, None) => self.list(request).map(|list| (200, list)),
            (&Method::GET, Some(_)) => self.get(request).map(|object| (200, shown(request, &object))),
            (&Method::POST, None) if target.plural == "events" => self.post_event(request),
            (&Method::POST, None) => self.post(now, request).map(|object| (201, shown(request, &object))),
            (&Method::PUT, Some(_)) => self.put(now, request).map(|object| (200, shown(request, &object))),
            (&Method::PATCH, Some(_)) if request.apply => self.apply(now, request),
            (&Method::PATCH, Some(_)) => self.patch(now, request).map(|object| (200, shown(request, &object))),
            (&Method::DELETE, Some(_)) => self.delete(now, request).map(|status| (200, status)),
            _ => Err(status::failure(405, "MethodNotAllowed", "the server does not allow this", &json!({}))),
        };
        let (code, body) = done.unwrap_or_else(|refusal| refusal);
        Answer::Whole(code, body)
    }

    fn get(&self, request: &Request) -> Result<Object, Refusal> {
        let id = request.id().ok_or_else(|| status::bad_request("no name"))?;
        self.store.get(&id).cloned().ok_or_else(|| not_found(&id))
    }

    fn post(&mut self, now: Instant, request: &Request) -> Result<Object, Refusal> {
        let id = request.id().ok_or_else(|| status::bad_request("no name"))?;
        let object = serde_json::from_slice(&request.body).map_err(|_| status::bad_request("no JSON"))?;
        self.create(now, &id, object)
    }

    /// Creates an object, if its namespace is there and open.
    pub(in super::super) fn create(&mut self, now: Instant, id: &Id, mut object: Value) -> Result<Object, Refusal> {
        self.open(id)?;
        if self.store.get(id).is_some() {
            return Err(status::already_exists(id));
        }
        valid::normalise(id, &mut object);
        Ok(self.store.put(now, id, object))
    }

    fn open(&self, id: &Id) -> Result<(), Refusal> {
        if id.plural == "namespaces" {
            return Ok(());
        }
        let namespace = Id::namespace(&id.namespace);
        match self.store.get(&namespace) {
            None => Err(not_found(&namespace)),
            Some(found) if is_terminating(found) => Err(status::terminating(id)),
            Some(_) => Ok(()),
        }
    }

    fn post_event(&mut self, request: &Request) -> Result<(u16, Value), Refusal> {
        let event: Value = serde_json::from_slice(&request.body).map_err(|_| status::bad_request("no JSON"))?;
        let namespace = request.target.as_ref().and_then(|target| target.namespace.as_deref()).unwrap_or_default();
        let name = event["metadata"]["name"].as_str().unwrap_or_default();
        let id = Id::new("events", namespace, name);
        self.open(&id)?;
        if !name.is_empty() && self.events.iter().any(|known| known["metadata"]["name"] == name) {
            return Err(status::already_exists(&id));
        }
        self.events.push(event.clone());
        Ok((201, event))
    }

    fn patch(&mut self, now: Instant, request: &Request) -> Result<Object, Refusal> {
        let old = self.get(request)?;
        let id = request.id().ok_or_else(|| status::bad_request("no name"))?;
        let patch = serde_json::from_slice(&request.body).map_err(|_| status::bad_request("no JSON"))?;
        let mut new = (*old).clone();
        patch::apply(&mut new, &patch).ok_or_else(status::unprocessable)?;
        self.replace(now, &id, new)
    }

    /// What is not there is made.
    fn apply(&mut self, now: Instant, request: &Request) -> Result<(u16, Value), Refusal> {
        let id = request.id().ok_or_else(|| status::bad_request("no name"))?;
        let manager = request.query.get("fieldManager").filter(|manager| !manager.is_empty());
        let manager = manager.ok_or_else(status::unprocessable)?;
        let applied: Value = serde_json::from_slice(&request.body).map_err(|_| status::bad_request("no JSON"))?;
        let old = self.store.get(&id).cloned();
        let new = apply::apply(old.as_deref().unwrap_or(&json!({ "metadata": {} })), &applied, manager);
        let (code, object) = match old {
            Some(_) => (200, self.replace(now, &id, new)?),
            None => (201, self.create(now, &id, new)?),
        };
        Ok((code, shown(request, &object)))
    }

    /// A uid and a version in the body are for exactly that one, or it is a conflict.
    fn put(&mut self, now: Instant, request: &Request) -> Result<Object, Refusal> {
        let old = self.get(request)?;
        let id = request.id().ok_or_else(|| status::bad_request("no name"))?;
        let new: Value = serde_json::from_slice(&request.body).map_err(|_| status::bad_request("no JSON"))?;
        let guard = |field: &str, is: &str| new["metadata"][field].as_str().is_none_or(|wanted| wanted == is);
        if !guard("uid", uid(&old)) || !guard("resourceVersion", &version(&old).to_string()) {
            return Err(status::outdated(&id));
        }
        self.replace(now, &id, new)
    }

    /// Replaces an object that is there.
    pub(in super::super) fn replace(&mut self, now: Instant, id: &Id, mut object: Value) -> Result<Object, Refusal> {
        let old = self.store.get(id).ok_or_else(|| not_found(id))?;
        valid::update(id, old, &object)?;
        valid::normalise(id, &mut object);
        Ok(self.store.put(now, id, object))
    }

    fn delete(&mut self, now: Instant, request: &Request) -> Result<Value, Refusal> {
        let old = self.get(request)?;
        let id = request.id().ok_or_else(|| status::bad_request("no name"))?;
        let options: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let guard = |field: &str, is: &str| options["preconditions"][field].as_str().is_none_or(|wanted| wanted == is);
        if !guard("uid", uid(&old)) || !guard("resourceVersion", &version(&old).to_string()) {
            return Err(status::conflict(&id));
        }
        if id.plural == "namespaces" {
            return Ok((*self.terminate(now, &id, &old)).clone());
        }
        self.store.remove(now, &id);
        let details = json!({ "name": id.name, "kind": id.plural, "uid": uid(&old) });
        Ok(json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details }))
    }

    /// A namespace begins to end; what is in it, and it itself, the namespace controller removes.
    pub(in super::super) fn terminate(&mut self, now: Instant, id: &Id, namespace: &Value) -> Object {
        let mut ending = namespace.clone();
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        ending["status"]["phase"] = "Terminating".into();
        self.store.put(now, id, ending)
    }

    fn selected(&self, at: u64, selector: &Selector) -> BTreeMap<Id, Object> {
        let mut objects = self.store.at(at);
        objects.retain(|id, object| selector.selects(id, object));
        objects
    }

    fn list(&self, request: &Request) -> Result<Value, Refusal> {
        let selector = request.selector().ok_or_else(|| status::bad_request("no list"))?;
        let limit = request.query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        // The token tells the version of the list and after whom it goes on.
        let token = request.query.get("continue").and_then(|token| {
            let (at, after) = token.split_once('/')?;
            let (namespace, name) = after.split_once('/')?;
            Some((at.parse().ok()?, Id::new(selector.plural, namespace, name)))
        });
        let (at, after) = match token {
            Some((at, _)) if at < self.store.compacted => return Err(status::expired()),
            Some((at, after)) => (at, Some(after)),
            None => (self.store.rv, None),
        };
        let mut left = self.selected(at, &selector).into_iter().filter(|(id, _)| after.as_ref().is_none_or(|a| id > a));
        let (mut items, mut last) = (Vec::new(), None);
        for (id, object) in left.by_ref().take(limit) {
            items.push(shown(request, &object));
            last = Some(id);
        }
        let mut metadata = json!({ "resourceVersion": at.to_string() });
        if let (Some(_), Some(last)) = (left.next(), last) {
            metadata["continue"] = format!("{at}/{}/{}", last.namespace, last.name).into();
        }
        let (kind, version) = match (selector.plural, request.metadata) {
            (_, true) => ("PartialObjectMetadataList", "meta.k8s.io/v1"),
            ("secrets", _) => ("SecretList", "v1"),
            ("configmaps", _) => ("ConfigMapList", "v1"),
            ("serviceaccounts", _) => ("ServiceAccountList", "v1"),
            (LEASES, _) => ("LeaseList", "coordination.k8s.io/v1"),
            _ => ("NamespaceList", "v1"),
        };
        Ok(json!({ "kind": kind, "apiVersion": version, "metadata": metadata, "items": items }))
    }

    fn watch(&self, request: &Request) -> Result<Opened, Refusal> {
        let selector = request.selector().ok_or_else(|| status::bad_request("no watch"))?;
        let metadata = request.metadata;
        let bookmarks = request.query.contains_key("allowWatchBookmarks");
        let seconds = request.query.get("timeoutSeconds").and_then(|text| text.parse().ok()).unwrap_or(1800);
        let list = request.query.contains_key("sendInitialEvents");
        if list && !self.streaming_lists {
            return Err(status::failure(422, "Invalid", "sendInitialEvents is forbidden", &json!({})));
        }
        if list {
            // The cache may be behind; the list is complete when it has caught up.
            let from = self.store.rv.saturating_sub(self.stale).max(self.store.compacted);
            let objects = self.selected(from, &selector);
            let initial = objects.values().map(|object| ("ADDED", shown(request, object))).collect();
            return Ok(Opened { selector, metadata, bookmarks, initial, from, list: Some(self.store.rv), seconds });
        }
        let from = request.query.get("resourceVersion").and_then(|text| text.parse().ok());
        let from: u64 = from.ok_or_else(|| status::bad_request("a watch without a version"))?;
        let mut initial = Vec::new();
        if from < self.store.compacted {
            initial.push(("ERROR", status::expired().1));
        }
        Ok(Opened { selector, metadata, bookmarks, initial, from, list: None, seconds })
    }
}

impl Opened {
    /// What a change is to this watch: type and object.
    pub(in super::super) fn event(&self, change: &Change) -> Option<(&'static str, Value)> {
        if !self.selector.is_of_kind(&change.id) {
            return None;
        }
        let selected = |object: &Option<Object>| object.clone().filter(|o| self.selector.selects(&change.id, o));
        let (kind, object) = match (selected(&change.before), selected(&change.after)) {
            (None, Some(after)) => ("ADDED", (*after).clone()),
            (Some(_), Some(after)) => ("MODIFIED", (*after).clone()),
            (Some(before), None) => {
                // As it last was, in the version of what took it away.
                let mut object = (*before).clone();
                object["metadata"]["resourceVersion"] = change.rv.to_string().into();
                ("DELETED", object)
            }
            (None, None) => return None,
        };
        Some((kind, if self.metadata { metadata_of(&object) } else { object }))
    }

    /// A bookmark at a version; `end` ends a list.
    pub(in super::super) fn bookmark(&self, rv: u64, end: bool) -> Value {
        let (kind, version) = match (self.selector.plural, self.metadata) {
            (_, true) => ("PartialObjectMetadata", "meta.k8s.io/v1"),
            ("secrets", _) => ("Secret", "v1"),
            ("configmaps", _) => ("ConfigMap", "v1"),
            ("serviceaccounts", _) => ("ServiceAccount", "v1"),
            (LEASES, _) => ("Lease", "coordination.k8s.io/v1"),
            _ => ("Namespace", "v1"),
        };
        let mut metadata = json!({ "resourceVersion": rv.to_string(), "creationTimestamp": null });
        if end {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        json!({ "kind": kind, "apiVersion": version, "metadata": metadata })
    }
}

fn shown(request: &Request, object: &Arc<Value>) -> Value {
    if request.metadata { metadata_of(object) } else { (**object).clone() }
}

fn metadata_of(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}
