//! One etcd: objects, versions, and what has happened to them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use super::{uid, version};

/// An object in one version.
pub(in super::super) type Object = Arc<Value>;

/// What names an object. A Namespace is in no namespace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Id {
    pub(in super::super) plural: &'static str,
    pub(in super::super) namespace: String,
    pub(in super::super) name: String,
}

impl Id {
    pub(in super::super) fn new(plural: &'static str, namespace: &str, name: &str) -> Self {
        Self { plural, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(in super::super) fn namespace(name: &str) -> Self {
        Self::new("namespaces", "", name)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plural, namespace, name } = self;
        if namespace.is_empty() { write!(f, "{plural} {name}") } else { write!(f, "{plural} {namespace}/{name}") }
    }
}

/// What happened to one object.
#[derive(Clone, Debug)]
pub(in super::super) struct Change {
    pub(in super::super) rv: u64,
    pub(in super::super) at: Instant,
    pub(in super::super) id: Id,
    pub(in super::super) before: Option<Object>,
    pub(in super::super) after: Option<Object>,
}

#[derive(Debug)]
pub(in super::super) struct Store {
    /// Keeps the uids of two stores apart.
    salt: u64,
    made: u64,
    pub(in super::super) rv: u64,
    /// What happened up to this version is forgotten.
    pub(in super::super) compacted: u64,
    pub(in super::super) objects: BTreeMap<Id, Object>,
    history: Vec<Change>,
}

impl Store {
    pub(in super::super) fn new(salt: u64) -> Self {
        let objects = BTreeMap::new();
        Self { salt, made: 0, rv: 100, compacted: 100, objects, history: Vec::new() }
    }

    pub(in super::super) fn get(&self, id: &Id) -> Option<&Object> {
        self.objects.get(id)
    }

    /// Creates or replaces. The uid stays, and an equal object is no new version.
    pub(in super::super) fn put(&mut self, now: Instant, id: &Id, mut object: Value) -> Object {
        let before = self.objects.get(id).cloned();
        let own = match &before {
            Some(old) => uid(old).to_owned(),
            None => {
                self.made += 1;
                format!("{:08x}-0000-4000-8000-{:012x}", self.salt, self.made)
            }
        };
        let metadata = &mut object["metadata"];
        metadata["uid"] = own.into();
        metadata["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        if let Some(old) = &before {
            metadata["resourceVersion"] = version(old).to_string().into();
            if **old == object {
                return Arc::clone(old);
            }
        }
        self.rv += 1;
        object["metadata"]["resourceVersion"] = self.rv.to_string().into();
        let after = Arc::new(object);
        self.objects.insert(id.clone(), Arc::clone(&after));
        self.happened(now, id, before, Some(Arc::clone(&after)));
        after
    }

    pub(in super::super) fn remove(&mut self, now: Instant, id: &Id) -> Option<Object> {
        let before = self.objects.remove(id)?;
        self.rv += 1;
        self.happened(now, id, Some(Arc::clone(&before)), None);
        Some(before)
    }

    fn happened(&mut self, at: Instant, id: &Id, before: Option<Object>, after: Option<Object>) {
        self.history.push(Change { rv: self.rv, at, id: id.clone(), before, after });
    }

    pub(in super::super) fn compact(&mut self) {
        self.compacted = self.rv;
    }

    /// The first thing that happened after this version.
    pub(in super::super) fn after(&self, rv: u64) -> Option<&Change> {
        self.history.get(self.history.partition_point(|change| change.rv <= rv))
    }

    /// All versions of the object of this name and uid.
    pub(in super::super) fn versions<'a>(&'a self, id: &'a Id, own: &'a str) -> impl Iterator<Item = &'a Object> {
        self.all_versions(id).filter(move |object| uid(object) == own)
    }

    /// All versions of all objects that ever had this name.
    pub(in super::super) fn all_versions<'a>(&'a self, id: &'a Id) -> impl Iterator<Item = &'a Object> {
        self.history.iter().filter(move |change| change.id == *id).filter_map(|change| change.after.as_ref())
    }

    /// All objects as they were at this version.
    pub(in super::super) fn at(&self, rv: u64) -> BTreeMap<Id, Object> {
        let mut objects = self.objects.clone();
        for change in self.history.iter().rev().take_while(|change| change.rv > rv) {
            match &change.before {
                Some(before) => drop(objects.insert(change.id.clone(), Arc::clone(before))),
                None => drop(objects.remove(&change.id)),
            }
        }
        objects
    }
}
