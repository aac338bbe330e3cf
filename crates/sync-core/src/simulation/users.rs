//! What people and other controllers do. Each act is complete in itself, so that a schedule without some of its acts
//! is a schedule too: one that finds nothing to act on does nothing.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::accounts::{self, Account, equip};
use super::api::{Id, is_terminating, meta};
use super::stage::{OPERATOR, Stage, State};
use super::wishes::OPTIONS;
use crate::contract::rules::Role;

/// All payloads begin with this.
pub(super) const PAYLOAD: &str = "cGF5bG9hZC";
const UPSTREAM: &str = "management/operator/";

/// Keys and values.
type Pairs = Vec<(&'static str, &'static str)>;

/// What somebody does to an object in the source namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Makes it, in place of another one if there is one.
    Make {
        labels: Pairs,
        switch: Switch,
        options: Pairs,
        data: &'static str,
        of: &'static str,
        fixed: bool,
        /// Where masters have theirs: with the marks of one.
        marked: bool,
    },
    /// `kubectl annotate`
    Annotate(Switch),
    /// The options, in place of those that stand there.
    Options(Pairs),
    /// A word that is none of ours.
    Note(&'static str),
    /// `kubectl apply` of other data and labels.
    Change {
        labels: Vec<(&'static str, &'static str)>,
        data: &'static str,
    },
    /// `immutable: true`
    Fix,
    Delete,
}

/// One annotation of ours, or none.
pub(super) type Switch = Option<(&'static str, &'static str)>;

/// What somebody does to a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Namespace {
    Create,
    Delete,
    /// `mw-sync: no`, or no such word any more.
    OptOut(bool),
    Relabel(&'static str),
}

/// A label that no source has.
pub(super) const THEIRS: &str = "theirs";

/// What somebody does to an object at a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replica {
    Delete,
    Data(&'static str, &'static str),
    Label,
    DropSource,
    Relabel,
    DropMark,
    OtherOrigin,
    Mark,
    Fix,
    /// Makes an object of their own there, if there is none; perhaps with the label of ours.
    Make {
        data: &'static str,
        of: &'static str,
        labelled: bool,
    },
}

/// An act of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum User {
    Source(&'static str, &'static str, Source),
    Namespace(usize, &'static str, Namespace),
    Replica(usize, &'static str, &'static str, &'static str, Replica),
    Account(&'static str, &'static str, Account),
}

fn put_all(object: &mut Value, map: &str, pairs: &[(&'static str, &'static str)]) {
    for (key, value) in pairs {
        object["metadata"][map][*key] = (*value).into();
    }
}

fn drop_key(object: &mut Value, map: &str, key: &str) {
    if let Some(map) = object["metadata"][map].as_object_mut() {
        map.remove(key);
    }
}

fn switch(object: &mut Value, switch: Switch) {
    for key in ["mw-sync", "mw-sync.io/sync", "mw-sync.io/typo"] {
        drop_key(object, "annotations", key);
    }
    put_all(object, "annotations", switch.as_slice());
}

fn options(object: &mut Value, pairs: &Pairs) {
    for (key, _) in OPTIONS {
        drop_key(object, "annotations", &format!("mw-sync.io/{key}"));
    }
    for (key, value) in pairs {
        object["metadata"]["annotations"][format!("mw-sync.io/{key}")] = (*value).into();
    }
}

/// The data; empty for none.
fn payload(object: &mut Value, data: &str) {
    object["data"] = if data.is_empty() { Value::Null } else { json!({ "k": format!("{PAYLOAD}{data}") }) };
}

fn content(object: &mut Value, plural: &str, data: &str, of: &str) {
    payload(object, data);
    if plural == "secrets" {
        object["type"] = of.into();
    }
}

impl User {
    pub(super) fn act(&self, stage: &Stage) {
        let ended = stage.change(|state| {
            state.note(|| format!("user: {self:?}"));
            match self {
                Self::Account(place, name, act) => act.act(state, &Id::new(accounts::PLURAL, place, name)),
                Self::Source(plural, name, act) => on_source(state, &Id::new(plural, OPERATOR, name), act),
                Self::Namespace(cluster, name, act) => return on_namespace(state, *cluster, name, *act),
                Self::Replica(cluster, plural, namespace, name, act) => {
                    on_replica(state, *cluster, &Id::new(plural, namespace, name), *act);
                }
            }
            None
        });
        if let Some((cluster, name)) = ended {
            tokio::spawn(terminate(stage.clone(), cluster, name));
        }
        if let Self::Namespace(0, name, Namespace::Create) = self
            && stage.lock().scene.pulls
        {
            tokio::spawn(equip(stage.clone(), (*name).to_owned()));
        }
    }
}

fn on_source(state: &mut State, id: &Id, act: &Source) {
    let (now, role) = (Instant::now(), state.scene.role);
    let store = &mut state.servers[0];
    let old = store.store.get(id).map(|object| (**object).clone());
    if let Source::Make { labels, switch: on, options: asked, data, of, fixed, marked } = act {
        let mut object = json!({ "metadata": {} });
        put_all(&mut object, "labels", labels);
        switch(&mut object, *on);
        options(&mut object, asked);
        content(&mut object, id.plural, data, of);
        object["immutable"] = if *fixed { true.into() } else { Value::Null };
        // At an agent these are what a master has put there; at a master, what another one has.
        if id.name.starts_with('m') && *marked {
            put_all(&mut object, "labels", &[("mw-sync.io/managed-by", "master")]);
            let by = if role == Role::Agent { UPSTREAM } else { "elsewhere/operator/" };
            object["metadata"]["annotations"]["mw-sync.io/origin"] = format!("{by}{}", id.name).into();
        }
        if old.is_some() {
            store.store.remove(now, id);
        }
        drop(store.create(now, id, object));
        return;
    }
    let Some(mut object) = old else { return };
    match act {
        Source::Annotate(on) => switch(&mut object, *on),
        Source::Options(asked) => options(&mut object, asked),
        Source::Note(note) => put_all(&mut object, "annotations", &[("note", note)]),
        Source::Change { labels, data } => {
            for key in ["team", "tier", "helm.sh/chart"] {
                drop_key(&mut object, "labels", key);
            }
            put_all(&mut object, "labels", labels);
            payload(&mut object, data);
        }
        Source::Fix => object["immutable"] = true.into(),
        Source::Delete => return drop(store.store.remove(now, id)),
        Source::Make { .. } => {}
    }
    drop(store.replace(now, id, object));
}

/// The namespace that begins to end with this, if one does.
fn on_namespace(state: &mut State, cluster: usize, name: &str, act: Namespace) -> Option<(usize, String)> {
    let (now, id) = (Instant::now(), Id::namespace(name));
    let server = &mut state.servers[cluster];
    let old = server.store.get(&id).map(|object| (**object).clone());
    match (act, old) {
        (Namespace::Create, None) => {
            drop(server.create(now, &id, json!({ "metadata": {} })));
        }
        (Namespace::Delete, Some(object)) if !is_terminating(&object) => {
            server.terminate(now, &id, &object);
            return Some((cluster, name.to_owned()));
        }
        (Namespace::OptOut(out), Some(mut object)) => {
            drop_key(&mut object, "annotations", "mw-sync");
            if out {
                put_all(&mut object, "annotations", &[("mw-sync", "no")]);
            }
            drop(server.replace(now, &id, object));
        }
        (Namespace::Relabel(value), Some(mut object)) => {
            put_all(&mut object, "labels", &[("env", value)]);
            drop(server.replace(now, &id, object));
        }
        _ => {}
    }
    None
}

/// The namespace controller: what is in a namespace goes, one by one, and then the namespace.
async fn terminate(stage: Stage, cluster: usize, name: String) {
    for step in 0.. {
        let scene = stage.lock().scene;
        sleep(scene.part_of(Duration::from_secs(2), &name, step)).await;
        let over = stage.change(|state| {
            let store = &mut state.servers[cluster].store;
            let next = store.objects.keys().find(|id| id.namespace == name).cloned();
            let over = next.is_none();
            let id = next.unwrap_or_else(|| Id::namespace(&name));
            store.remove(Instant::now(), &id);
            state.note(|| format!("the namespace controller removes {id:?}"));
            over
        });
        if over {
            return;
        }
    }
}

fn on_replica(state: &mut State, cluster: usize, id: &Id, act: Replica) {
    let now = Instant::now();
    let (by, origin) = (state.scene.role.as_str(), state.scene.origin(&id.name));
    let server = &mut state.servers[cluster];
    let old = server.store.get(id).map(|object| (**object).clone());
    let mut object = match (act, old) {
        (Replica::Make { data, of, labelled }, None) => {
            let mut object = json!({ "metadata": {} });
            content(&mut object, id.plural, data, of);
            if labelled {
                put_all(&mut object, "labels", &[("mw-sync.io/managed-by", by)]);
            }
            return drop(server.create(now, id, object));
        }
        (Replica::Make { .. }, _) | (_, None) => return,
        (_, Some(object)) => object,
    };
    match act {
        Replica::Delete => return drop(server.store.remove(now, id)),
        Replica::Data(key, data) => object["data"][key] = format!("{PAYLOAD}{data}").into(),
        Replica::Label => put_all(&mut object, "labels", &[(THEIRS, "x")]),
        Replica::DropSource => drop_key(&mut object, "labels", "mw-sync.io/source"),
        Replica::Relabel => {
            for key in ["team", "tier"] {
                if meta(&object, "labels", key).is_some() {
                    put_all(&mut object, "labels", &[(key, "theirs")]);
                }
            }
        }
        Replica::DropMark => drop_key(&mut object, "labels", "mw-sync.io/managed-by"),
        Replica::OtherOrigin => put_all(&mut object, "annotations", &[("mw-sync.io/origin", "elsewhere/x")]),
        Replica::Mark => {
            put_all(&mut object, "labels", &[("mw-sync.io/managed-by", by)]);
            object["metadata"]["annotations"]["mw-sync.io/origin"] = origin.into();
        }
        Replica::Fix => object["immutable"] = true.into(),
        Replica::Make { .. } => {}
    }
    drop(server.replace(now, id, object));
}
