//! ServiceAccounts: what people do with them, and who wrote which entry of `imagePullSecrets`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::api::{Id, meta};
use super::stage::{OPERATOR, Stage, State};
use super::users::{Source, User};
use super::wishes::{PULL_TYPE, PULLS};

pub(super) const PLURAL: &str = "serviceaccounts";
/// What they are called. The first one the controller manager makes in every namespace.
pub(super) const NAMES: [&str; 2] = ["default", "builder"];
/// Where we note that there are entries of ours.
pub(super) const NOTE: &str = "mw-sync-agent";
/// The annotation that says which entries are ours.
const RECORD: &str = "mw-sync.io/added-pull-secrets";

/// What somebody does to a ServiceAccount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// Makes it; perhaps with an entry.
    Create(bool),
    Delete,
    /// Lists a Secret of this name, as the first or the last.
    List(&'static str, bool),
    /// Takes it out.
    Unlist(&'static str),
    /// Turns the list around.
    TurnAround,
    /// Something else about it.
    Note(&'static str),
    /// Takes our annotation off.
    DropRecord,
}

/// What is remembered of an entry of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The source namespace that asked for it.
    pub(super) uid: String,
    pub(super) retain: bool,
    pub(super) upstream: bool,
}

/// The entries of a ServiceAccount, in order.
pub(super) fn listed(account: &Value) -> Vec<&str> {
    let entries = account["imagePullSecrets"].as_array().into_iter().flatten();
    entries.filter_map(|entry| entry["name"].as_str()).collect()
}

/// Which of them are ours, as it says itself.
pub(super) fn recorded(account: &Value) -> BTreeMap<&str, Mark> {
    let parts = meta(account, "annotations", RECORD).unwrap_or_default().split(',');
    parts
        .filter_map(|part| {
            let mut words = part.strip_prefix(OPERATOR)?.strip_prefix('/')?.split(':');
            let (name, uid) = (words.next()?, words.next().unwrap_or_default().to_owned());
            let rest: Vec<_> = words.collect();
            Some((name, Mark { uid, retain: rest.contains(&"retain"), upstream: rest.contains(&"upstream") }))
        })
        .collect()
}

/// For each ServiceAccount the entries that somebody else has written.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<Id, BTreeSet<String>>);

impl Ledger {
    pub(super) fn is_theirs(&self, id: &Id, name: &str) -> bool {
        self.0.get(id).is_some_and(|theirs| theirs.contains(name))
    }

    fn made(&mut self, id: &Id, account: &Value) {
        self.0.insert(id.clone(), listed(account).into_iter().map(str::to_owned).collect());
    }

    /// Promise 1 and 7, for a write of ours that has been done: nobody else's entry is lost, nothing changes its place,
    /// and what comes or goes is recorded.
    pub(super) fn wrote(&mut self, id: &Id, before: &Value, after: &Value) -> Result<(), String> {
        let (old, new) = (listed(before), listed(after));
        let (marks, marked) = (recorded(before), recorded(after));
        let theirs = self.0.entry(id.clone()).or_default();
        let wrong = |what: &str| Err(format!("promise 7: {what} {id:?}: {before} became {after}"));
        if let Some(lost) = old.iter().find(|name| !new.contains(name) && theirs.contains(**name)) {
            return wrong(&format!("somebody's entry {lost} is lost from"));
        }
        if old.iter().any(|name| !new.contains(name) && !marks.contains_key(name)) {
            return wrong("an entry that is not recorded goes from");
        }
        if new.iter().any(|name| !old.contains(name) && !marked.contains_key(name)) {
            return wrong("an entry that is not recorded comes to");
        }
        let stayed = |list: &[&str], other: &[&str]| -> Vec<String> {
            list.iter().filter(|name| other.contains(name)).map(|name| (*name).to_owned()).collect()
        };
        if stayed(&old, &new) != stayed(&new, &old) {
            return wrong("entries change their places in");
        }
        if rest(before) != rest(after) {
            return wrong("something else is changed on");
        }
        // What is released is theirs from now on.
        let released = old.iter().filter(|name| marks.contains_key(*name) && !marked.contains_key(*name));
        theirs.extend(released.filter(|name| new.contains(name)).map(|name| (*name).to_owned()));
        Ok(())
    }
}

/// All but what is ours to write.
fn rest(account: &Value) -> Value {
    let mut rest = account.clone();
    rest["imagePullSecrets"] = Value::Null;
    let metadata = &mut rest["metadata"];
    metadata["resourceVersion"] = Value::Null;
    if let Some(annotations) = metadata["annotations"].as_object_mut() {
        annotations.remove(RECORD);
        if annotations.is_empty() {
            metadata["annotations"] = Value::Null;
        }
    }
    if metadata["annotations"].is_null() {
        metadata["annotations"] = json!({});
    }
    rest
}

impl Account {
    pub(super) fn act(self, state: &mut State, id: &Id) {
        let now = Instant::now();
        let store = &mut state.servers[0];
        let old = store.store.get(id).map(|object| (**object).clone());
        let mut account = match (self, old) {
            (Self::Create(full), None) => {
                let list = if full { json!([{ "name": "theirs" }]) } else { Value::Null };
                if let Ok(made) = store.create(now, id, json!({ "metadata": {}, "imagePullSecrets": list })) {
                    state.ledger.made(id, &made);
                }
                return;
            }
            (Self::Create(_), _) | (_, None) => return,
            (_, Some(account)) => account,
        };
        let mut names: Vec<_> = listed(&account).into_iter().map(str::to_owned).collect();
        let theirs = state.ledger.0.entry(id.clone()).or_default();
        match self {
            Self::Create(_) => {}
            Self::Delete => return drop(store.store.remove(now, id)),
            Self::List(name, first) => {
                if names.iter().any(|listed| listed == name) {
                    return;
                }
                let place = if first { 0 } else { names.len() };
                names.insert(place, name.to_owned());
                // Whoever lists what is recorded as ours has restored that.
                if !recorded(&account).contains_key(name) {
                    theirs.insert(name.to_owned());
                }
            }
            Self::Unlist(name) => {
                names.retain(|listed| listed != name);
                theirs.remove(name);
            }
            Self::TurnAround => names.reverse(),
            Self::Note(note) => account["metadata"]["annotations"]["note"] = note.into(),
            Self::DropRecord => {
                theirs.extend(names.iter().cloned());
                if let Some(annotations) = account["metadata"]["annotations"].as_object_mut() {
                    annotations.remove(RECORD);
                }
            }
        }
        account["imagePullSecrets"] = names.iter().map(|name| json!({ "name": name })).collect();
        drop(store.replace(now, id, account));
    }
}

/// So that there is something to do from the beginning: a ServiceAccount in this namespace, and a source that asks.
pub(super) fn opening(namespace: &'static str) -> [User; 2] {
    let (switch, options) = (Some(("mw-sync", "yes")), vec![(PULLS, "*")]);
    let source =
        Source::Make { labels: Vec::new(), switch, options, data: "0x", of: PULL_TYPE, fixed: false, marked: true };
    [User::Account(namespace, NAMES[1], Account::Create(true)), User::Source("secrets", "s0", source)]
}

/// The controller manager: a namespace that is new has a ServiceAccount soon.
pub(super) async fn equip(stage: Stage, namespace: String) {
    let wait = stage.lock().scene.part_of(Duration::from_secs(1), &namespace, 0);
    sleep(wait).await;
    stage.change(|state| {
        state.note(|| format!("the controller manager makes a ServiceAccount in {namespace}"));
        Account::Create(false).act(state, &Id::new(PLURAL, &namespace, NAMES[0]));
    });
}
