//! How the world must look in the end, worked out from people's objects alone: nothing here is the engine's.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::accounts::{Accounts, is_asked};
use super::controller::REMOTE;
use super::objects::{Manager, Place};
use super::options::{self, PULL, is_lent, may_have_been_theirs};
use crate::support::{Kind, World, uid};

/// What stands in a cluster.
pub(super) struct Snapshot {
    namespaces: Vec<Value>,
    accounts: Vec<Value>,
    pub(super) objects: BTreeMap<Place, Value>,
}

impl Snapshot {
    pub(super) async fn of(world: &World) -> Result<Self> {
        let mut objects = BTreeMap::new();
        for kind in [Kind::Secret, Kind::ConfigMap] {
            objects.extend(world.all(kind).await?.into_iter().map(|object| (Place::of(kind, &object), object)));
        }
        let accounts = world.all(Kind::ServiceAccount).await?;
        Ok(Self { namespaces: world.all(Kind::Namespace).await?, accounts, objects })
    }

    fn namespace(&self, name: &str) -> Option<&Value> {
        self.namespaces.iter().find(|namespace| namespace["metadata"]["name"] == name)
    }
}

/// What the annotations of a source ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wish {
    Copies,
    /// None: by a `no`, or because there is no switch or no source.
    None,
    /// What stands follows; whether anything stands is history.
    AsItIs,
    /// Of a type that is never copied: what stands is history.
    Anything,
}

/// Some if it can be read.
fn switch(value: &str) -> Option<bool> {
    match value.to_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn switches(object: &Value) -> Vec<Option<bool>> {
    let values = ["mw-sync.io/sync", "mw-sync"].map(|key| object["metadata"]["annotations"][key].as_str());
    values.into_iter().flatten().map(switch).collect()
}

fn wish(source: Option<&Value>) -> Wish {
    let Some(source) = source else { return Wish::None };
    let switches = switches(source);
    let typo = !source["metadata"]["annotations"]["mw-sync.io/typo"].is_null();
    if switches.contains(&Some(false)) || (switches.is_empty() && !typo) {
        Wish::None
    } else if source["type"] == "helm.sh/release.v1" {
        Wish::Anything
    } else if typo || switches.contains(&None) {
        Wish::AsItIs
    } else {
        Wish::Copies
    }
}

/// Where sources are and where their copies belong.
pub(super) struct Sync<'s> {
    pub(super) manager: Manager,
    pub(super) sources: &'s Snapshot,
    pub(super) copies: &'s Snapshot,
    /// Labels of the remote cluster, if copies belong there.
    pub(super) remote_labels: &'s Value,
}

/// A destination, and what is peculiar to it.
struct Destination<'s> {
    /// Of the namespace or the remote cluster, as selections know it.
    name: &'s str,
    labels: &'s Value,
    /// It has opted out.
    out: bool,
    /// Nothing is taken over there unless it was ours.
    system: bool,
}

impl Sync<'_> {
    /// Everything that is not as it must be. `theirs` tells what is a person's.
    pub(super) fn differences(&self, theirs: impl Fn(&Place) -> bool) -> Result<Vec<String>> {
        let operator = self.sources.namespace("operator").context("the source namespace is there")?;
        let sources = self.sources.objects.keys().filter(|place| place.namespace == "operator");
        let marked = self.copies.objects.iter().filter(|(place, there)| self.marked(place, there));
        let names: BTreeSet<_> =
            sources.chain(marked.map(|(place, _)| place)).map(|place| (place.kind, &*place.name)).collect();
        let mut differences = Vec::new();
        for namespace in &self.copies.namespaces {
            let name = namespace["metadata"]["name"].as_str().unwrap_or_default();
            let is_destination = (name == "operator") == (self.manager == Manager::Master);
            if !is_destination || !namespace["metadata"]["deletionTimestamp"].is_null() {
                continue;
            }
            let destination = match self.manager {
                Manager::Agent => Destination {
                    name,
                    labels: &namespace["metadata"]["labels"],
                    out: switches(namespace).contains(&Some(false)),
                    system: name.starts_with("kube-"),
                },
                Manager::Master => Destination { name: REMOTE, labels: self.remote_labels, out: false, system: false },
            };
            for (kind, source) in &names {
                let place = Place::new(*kind, name, source);
                // Whether people's objects are as they have left them is asked elsewhere.
                let difference =
                    if theirs(&place) { None } else { self.difference(&place, &destination, uid(operator)) };
                if let Some(why) = difference {
                    let there = self.copies.objects.get(&place);
                    differences.push(format!("{} {place}: {why}\n  there: {}", self.manager.label(), brief(there)));
                }
            }
        }
        Ok(differences)
    }

    /// Entries of ServiceAccounts that are not as they must be.
    pub(super) fn entries(&self, accounts: &Accounts) -> Result<Vec<String>> {
        let operator = self.sources.namespace("operator").context("the source namespace is there")?;
        let source = self.sources.objects.get(&Place::new(Kind::Secret, "operator", PULL));
        let wants = |place: &Place| {
            let namespace = self.copies.namespace(&place.namespace)?;
            let (name, labels) = (&*place.namespace, &namespace["metadata"]["labels"]);
            if name == "operator" || !namespace["metadata"]["deletionTimestamp"].is_null() {
                return None;
            }
            let out = switches(namespace).contains(&Some(false));
            match (wish(source), source) {
                _ if out => Some(false),
                (Wish::Copies, Some(source)) => {
                    let destination = Destination { name, labels, out, system: false };
                    Some(is_asked(source, place) && self.selects(source, &destination))
                }
                (Wish::None, _) => Some(false),
                _ => None,
            }
        };
        Ok(accounts.differences(&self.copies.accounts, uid(operator), wants))
    }

    fn marked(&self, place: &Place, object: &Value) -> bool {
        self.manager.owns(&place.name, &object["metadata"])
    }

    fn difference(&self, place: &Place, destination: &Destination<'_>, operator: &str) -> Option<String> {
        let source = self.sources.objects.get(&Place::new(place.kind, "operator", &place.name));
        let there = self.copies.objects.get(place);
        let ours = there.filter(|there| self.marked(place, there));
        // Another incarnation's waits for its source.
        let current = ours.filter(|ours| ours["metadata"]["annotations"]["mw-sync.io/origin-uid"] == operator);
        // Its source was a master's. If that was lost rather than switched off, it stays; which it was is history.
        let upstream = current.filter(|ours| has_upstream(ours));
        if destination.out {
            return current.map(|_| "the namespace has opted out".to_owned());
        }
        match (wish(source), source, ours) {
            (Wish::Copies, Some(source), _) if !self.selects(source, destination) => {
                current.map(|_| "it is not selected".to_owned())
            }
            (Wish::Copies, Some(source), None) => match there {
                None => Some("a copy is missing".to_owned()),
                Some(there) => self.not_taken(source, there, destination),
            },
            // What was somebody's is not made anew.
            (Wish::Copies, Some(source), Some(ours)) if was_adopted(ours) && !can_update(source, ours) => None,
            (Wish::Copies, Some(source), Some(ours)) => self.unequal(source, ours, operator),
            // What stands in the place of a master's replica and cannot be read does not decide whose copies these are. That
            // they keep the mark of it is held by the simulation.
            (Wish::AsItIs, Some(source), Some(ours)) if has_upstream(ours) && !is_from_master(source) => None,
            (Wish::AsItIs, Some(source), Some(ours)) if can_update(source, ours) => {
                self.unequal(source, ours, operator)
            }
            (Wish::None, _, _) if upstream.is_some() && source.is_none_or(|source| switches(source).is_empty()) => None,
            (Wish::None, _, _) => current.map(|_| "no copy is wanted".to_owned()),
            (Wish::Copies | Wish::AsItIs | Wish::Anything, _, _) => None,
        }
    }

    fn selects(&self, source: &Value, destination: &Destination<'_>) -> bool {
        let annotation = |key: &str| &source["metadata"]["annotations"][key];
        let (names, selector) = match self.manager {
            Manager::Agent => (annotation("mw-sync.io/namespaces"), annotation("mw-sync.io/namespace-selector")),
            Manager::Master => (annotation("mw-sync.io/clusters"), annotation("mw-sync.io/cluster-selector")),
        };
        options::selects(names, selector, destination.name, destination.labels)
    }

    /// Why what stands there, which is nobody's that we know of, should be a copy.
    fn not_taken(&self, source: &Value, there: &Value, destination: &Destination<'_>) -> Option<String> {
        let name = source["metadata"]["name"].as_str().unwrap_or_default();
        let marked_by = there["metadata"]["labels"]["mw-sync.io/managed-by"].as_str();
        let released = there["metadata"]["annotations"]["mw-sync.io/released-from"] == self.manager.origin(name);
        let (wants, is) = (reduced(source), reduced(there));
        let same = |key: &str| wants[key] == is[key];
        let content = same("type") && same("data") && same("binaryData");
        let equal = content && (wants["immutable"] == true || same("immutable"));
        let can_follow = equal || (same("type") && is["immutable"] == false);
        if marked_by.is_none() && released {
            return can_follow.then(|| "it was released and is not taken back".to_owned());
        }
        if !is_lent(name) {
            return Some("somebody's that nobody has made".to_owned());
        }
        let asked = match source["metadata"]["annotations"]["mw-sync.io/on-conflict"].as_str() {
            _ if marked_by.is_some() => false,
            Some("adopt") => can_follow && !destination.system,
            Some("adopt-equal") => equal,
            _ => false,
        };
        asked.then(|| "it is not taken over".to_owned())
    }

    /// How a copy differs from its source.
    fn unequal(&self, source: &Value, copy: &Value, operator: &str) -> Option<String> {
        let (wanted, mut is) = (self.wanted(source, operator), reduced(copy));
        for map in ["labels", "annotations"] {
            if let Some(is) = is[map].as_object_mut() {
                // What others may add to a copy, unless the source has it too.
                is.retain(|key, _| !may_be_added(&source["metadata"]["name"], key) || !wanted[map][key].is_null());
            }
        }
        (wanted != is).then(|| format!("it differs from its source\n  wanted: {}", brief(Some(&wanted))))
    }

    fn wanted(&self, source: &Value, operator: &str) -> Value {
        let name = source["metadata"]["name"].as_str().unwrap_or_default();
        let mut labels = source["metadata"]["labels"].clone();
        if let Some(labels) = labels.as_object_mut() {
            labels.retain(|key, _| key != "helm.sh/chart" && !key.starts_with("mw-sync.io/"));
        }
        let mut copied: Vec<_> = labels.as_object().into_iter().flatten().map(|(k, _)| format!("label:{k}")).collect();
        let mut annotations = json!({});
        let marks = &source["metadata"];
        for (key, value) in marks["annotations"].as_object().into_iter().flatten() {
            let asked = key == "example.com/stage" && !marks["annotations"]["mw-sync.io/copy-annotations"].is_null();
            if asked || (self.manager == Manager::Master && is_for_agents(key)) {
                annotations[key] = value.clone();
            }
        }
        if self.manager == Manager::Agent && marks["annotations"]["mw-sync.io/on-delete"] == "retain" {
            annotations["mw-sync.io/on-delete"] = "retain".into();
        }
        if self.manager == Manager::Master {
            let odd = ["mw-sync.io/sync", "mw-sync"].map(|key| marks["annotations"][key].as_str());
            let odd = odd.into_iter().flatten().find(|value| switch(value).is_none());
            annotations["mw-sync.io/sync"] = odd.unwrap_or("yes").into();
        } else if is_from_master(source)
            && let Some(origin) = marks["annotations"]["mw-sync.io/origin"].as_str()
        {
            annotations["mw-sync.io/upstream"] = origin.into();
        }
        copied.extend(annotations.as_object().into_iter().flatten().map(|(key, _)| format!("annotation:{key}")));
        labels["mw-sync.io/managed-by"] = self.manager.label().into();
        labels["mw-sync.io/source"] = name.into();
        annotations["mw-sync.io/origin"] = self.manager.origin(name).into();
        annotations["mw-sync.io/origin-uid"] = operator.into();
        annotations["mw-sync.io/copied"] = copied.join(",").into();
        let mut wanted = reduced(source);
        (wanted["labels"], wanted["annotations"]) = (labels, annotations);
        wanted
    }
}

/// Annotations that a master's copy has for the agent there: the options, and what it does not know.
fn is_for_agents(key: &str) -> bool {
    let marks = ["sync", "origin", "origin-uid", "copied", "upstream", "released-from", "adopted"];
    let others = ["clusters", "cluster-selector"];
    key.strip_prefix("mw-sync.io/").is_some_and(|key| !marks.contains(&key) && !others.contains(&key))
}

/// Labels and annotations that a copy may have although its source does not.
fn may_be_added(name: &Value, key: &str) -> bool {
    // What is left of the time before it was released: nothing tells what came from the source then.
    let left = ["team", "tier", "example.com/stage"].contains(&key) || is_for_agents(key);
    let left = left && name.as_str().is_some_and(may_have_been_theirs);
    left || ["theirs", "note", "mw-sync", "mw-sync.io/adopted"].contains(&key)
}

fn is_from_master(object: &Value) -> bool {
    object["metadata"]["labels"]["mw-sync.io/managed-by"] == "master"
}

fn has_upstream(copy: &Value) -> bool {
    !copy["metadata"]["annotations"]["mw-sync.io/upstream"].is_null()
}

fn was_adopted(copy: &Value) -> bool {
    copy["metadata"]["annotations"]["mw-sync.io/adopted"] == "adopt"
}

/// Whether a copy can become like its source without being made anew.
fn can_update(source: &Value, copy: &Value) -> bool {
    let (source, copy) = (reduced(source), reduced(copy));
    let same = |key: &str| source[key] == copy[key];
    let fixed = copy["immutable"] == true && !(same("data") && same("binaryData") && same("immutable"));
    same("type") && !fixed
}

/// What counts of an object.
fn reduced(object: &Value) -> Value {
    let map = |value: &Value| if value.is_null() { json!({}) } else { value.clone() };
    let metadata = &object["metadata"];
    json!({
        "data": map(&object["data"]), "binaryData": map(&object["binaryData"]), "type": object["type"],
        "immutable": object["immutable"] == true,
        "labels": map(&metadata["labels"]), "annotations": map(&metadata["annotations"])
    })
}

/// Without what is long.
fn brief(object: Option<&Value>) -> String {
    let Some(object) = object else { return "nothing".to_owned() };
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    for (_, value) in object.get_mut("data").and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(text) = value.as_str().filter(|text| text.len() > 40) {
            *value = format!("{} characters", text.len()).into();
        }
    }
    object.to_string()
}
