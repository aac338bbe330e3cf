//! The decision about one ServiceAccount, and the request that it takes: pure, like [`crate::plan`].
//!
//! An entry is ours only if the record on the ServiceAccount says so. One that somebody else wrote is never recorded,
//! so it is never taken out, and neither are those beside ours; nor does their order change.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::record::{Mark, Record};
use crate::contract::keys;
use crate::contract::object::{Rv, Uid};

/// A ServiceAccount, reduced to what we write there and what guards it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: Uid,
    /// `metadata.resourceVersion`
    pub rv: Rv,
    /// The names in `imagePullSecrets`, in order; empty also if there is no such list.
    pub pull_secrets: Vec<String>,
    /// It has annotations beside ours.
    pub other_annotations: bool,
    /// The annotation [`keys::ADDED_PULL_SECRETS`].
    pub added: Option<String>,
}

/// What a source wants of one ServiceAccount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// That it is listed, and recorded so.
    Listed(Mark),
    /// That our entry goes.
    Out,
    /// That our entry stays and is not ours any more.
    Released,
    /// Nothing for now.
    Keep,
}

/// What is to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Places of entries that go, the last first.
    pub remove: Vec<usize>,
    /// Entries that come, at the end.
    pub append: Vec<Arc<str>>,
    /// The record from then on.
    pub record: Record,
    /// The sources that it is for.
    pub sources: Vec<Arc<str>>,
}

/// Decides. `record` is the account's, read; `wishes` are by name of the source. `None`: all is as it should be.
pub fn plan(account: &Account, record: &Record, wishes: &BTreeMap<Arc<str>, Wish>) -> Option<Change> {
    // Ours was written at the end: of several of one name the last.
    let place = |name: &str| account.pull_secrets.iter().rposition(|entry| entry == name);
    let mut change = Change { record: record.clone(), ..Change::default() };
    for (name, wish) in wishes {
        match (*wish, record.get(name), place(name)) {
            (Wish::Listed(mark), Some(known), Some(_)) if *known == mark => continue,
            (Wish::Listed(mark), Some(_), Some(_)) => change.record.set(name, mark),
            (Wish::Listed(mark), _, None) => {
                change.append.push(Arc::clone(name));
                change.record.set(name, mark);
            }
            (Wish::Out, Some(_), place) => {
                change.remove.extend(place);
                change.record.drop_mark(name);
            }
            (Wish::Released, Some(_), _) => change.record.drop_mark(name),
            // Somebody else's, or nobody's business.
            (Wish::Listed(_), None, Some(_)) | (Wish::Out | Wish::Released, None, _) | (Wish::Keep, ..) => continue,
        }
        change.sources.push(Arc::clone(name));
    }
    change.remove.sort_unstable_by(|a, b| b.cmp(a));
    (!change.sources.is_empty()).then_some(change)
}

impl Change {
    /// The request: a JSON Patch of exactly this version of the account, so that what others write meanwhile is
    /// neither lost nor moved.
    pub fn body(&self, prefix: &str, account: &Account) -> Vec<u8> {
        let Account { uid, rv, pull_secrets, other_annotations, added, .. } = account;
        let mut patch = vec![
            json!({ "op": "test", "path": "/metadata/uid", "value": uid.to_string() }),
            json!({ "op": "test", "path": "/metadata/resourceVersion", "value": rv.to_string() }),
        ];
        let remove = |place: &usize| json!({ "op": "remove", "path": format!("/imagePullSecrets/{place}") });
        patch.extend(self.remove.iter().map(remove));
        let entry = |name: &Arc<str>| json!({ "name": &**name });
        if !pull_secrets.is_empty() {
            let add = |name| json!({ "op": "add", "path": "/imagePullSecrets/-", "value": entry(name) });
            patch.extend(self.append.iter().map(add));
        } else if !self.append.is_empty() {
            // To a list that is not there nothing can be added.
            let list: Vec<_> = self.append.iter().map(entry).collect();
            patch.push(json!({ "op": "add", "path": "/imagePullSecrets", "value": list }));
        }
        let path = format!("/metadata/annotations/{}", keys::ADDED_PULL_SECRETS.replace('/', "~1"));
        match self.record.to_annotation(prefix) {
            None if added.is_some() => patch.push(json!({ "op": "remove", "path": path })),
            None => {}
            Some(text) => {
                if !other_annotations && added.is_none() {
                    patch.push(json!({ "op": "add", "path": "/metadata/annotations", "value": {} }));
                }
                patch.push(json!({ "op": "add", "path": path, "value": text }));
            }
        }
        Value::Array(patch).to_string().into_bytes()
    }

    /// The account as the request leaves it, in this version.
    pub fn applied(&self, prefix: &str, account: &Account, rv: Rv) -> Account {
        let mut pull_secrets = account.pull_secrets.clone();
        for place in self.remove.iter().filter(|place| **place < account.pull_secrets.len()) {
            pull_secrets.remove(*place);
        }
        pull_secrets.extend(self.append.iter().map(|name| String::from(&**name)));
        Account { rv, pull_secrets, added: self.record.to_annotation(prefix), ..account.clone() }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
