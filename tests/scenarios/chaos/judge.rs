//! What the audit log must not show, whatever went wrong: a write to what was not ours (promises 1 and 7), a deletion
//! that nobody asked for (promise 2), a list that was not needed (promise 4).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testbed::{Entry, Requests};

use super::controller::Life;
use super::objects::{Manager, Place};
use super::people::{CALM, STEADY};
use crate::support::Kind;

/// Every version of every object, by uid and resourceVersion, as the answers to those who wrote it show it.
pub(super) struct History(BTreeMap<(String, u64), Vec<(String, Value)>>);

fn identity(object: &Value) -> Option<(String, u64)> {
    let metadata = &object["metadata"];
    Some((metadata["uid"].as_str()?.to_owned(), metadata["resourceVersion"].as_str()?.parse().ok()?))
}

fn changed(entry: &Entry) -> bool {
    (200..300).contains(&entry.code)
}

impl History {
    pub(super) fn of(requests: &Requests) -> Self {
        let mut history = BTreeMap::<_, Vec<_>>::new();
        for entry in requests.each().filter(|entry| changed(entry) && entry.verb != "delete") {
            if let Some(identity) = identity(&entry.response) {
                history.entry(identity).or_default().push((entry.id.clone(), entry.response["metadata"].clone()));
            }
        }
        Self(history)
    }

    /// The metadata of what a patch was applied to.
    fn before(&self, entry: &Entry) -> Option<&Value> {
        let (uid, rv) = identity(&entry.response)?;
        // One that changed nothing has the version of whoever did.
        let same = self.0.get(&(uid.clone(), rv))?.iter().find(|(id, _)| *id != entry.id);
        let earlier = || self.0.range((uid.clone(), 0)..(uid.clone(), rv)).next_back().and_then(|(_, all)| all.first());
        same.or_else(earlier).map(|(_, metadata)| metadata)
    }

    fn version(&self, uid: &str, rv: u64) -> Option<&Value> {
        self.0.get(&(uid.to_owned(), rv))?.first().map(|(_, metadata)| metadata)
    }

    /// What is wrong with the writes of a controller. `names` are those of sources.
    pub(super) fn judge(&self, manager: Manager, names: &[&str], requests: &Requests) -> Vec<String> {
        let judge = |entry: &Entry| {
            // Of one whose link was cut before all of it had arrived.
            if entry.request.is_null() && !changed(entry) {
                return None;
            }
            let wrong = self.wrong(manager, names, entry)?;
            Some(format!("{wrong}: {} {} ({}): {}", entry.verb, entry.request_uri, entry.code, entry.request))
        };
        requests.each().filter_map(judge).collect()
    }

    fn wrong(&self, manager: Manager, names: &[&str], entry: &Entry) -> Option<&'static str> {
        let kind = if entry.resource == "secrets" { Kind::Secret } else { Kind::ConfigMap };
        let name = if entry.verb == "create" { entry.request["metadata"]["name"].as_str()? } else { &entry.name };
        let place = Place::new(kind, &entry.namespace, name);
        if (place.namespace == "operator") != (manager == Manager::Master) {
            return Some("in a namespace that is no destination");
        }
        if !names.contains(&name) {
            return Some("of no source's name");
        }
        let ours = |metadata: Option<&Value>| metadata.is_some_and(|metadata| manager.owns(name, metadata));
        match &*entry.verb {
            "create" if !ours(Some(&entry.request["metadata"])) => Some("a create without marks"),
            "patch" if !guarded(manager, name, &entry.request) => Some("a patch without a guard"),
            "patch" if changed(entry) && !ours(self.before(entry)) => Some("a patch of what was not ours"),
            "create" | "patch" => None,
            "delete" => {
                let exactly = &entry.request["preconditions"];
                let (uid, rv) = (exactly["uid"].as_str(), exactly["resourceVersion"].as_str());
                let Some((uid, rv)) = uid.zip(rv.and_then(|rv| rv.parse().ok())) else {
                    return Some("a delete without a guard");
                };
                if !ours(self.version(uid, rv)) {
                    return Some("a delete of what was not ours");
                }
                let calm = CALM.contains(&&*place.namespace) || manager == Manager::Master;
                (calm && name == STEADY).then_some("a delete although its source was never off")
            }
            _ => Some("a verb that is never used"),
        }
    }
}

/// Whether a JSON Patch fails on the server unless the object carries our marks, or is exactly one version of one.
fn guarded(manager: Manager, name: &str, patch: &Value) -> bool {
    let tests = |path: &str| {
        let steps = patch.as_array().into_iter().flatten();
        steps.take_while(|step| step["op"] == "test").find(|step| step["path"] == path).map(|step| &step["value"])
    };
    let marks = tests("/metadata/labels/mw-sync.io~1managed-by") == Some(&json!(manager.label()))
        && tests("/metadata/annotations/mw-sync.io~1origin") == Some(&json!(manager.origin(name)));
    marks || (tests("/metadata/uid").is_some() && tests("/metadata/resourceVersion").is_some())
}

/// Lists that were not needed: once a watch is resumed from a version its list is complete, and there is no other one
/// in that life of the controller unless its log says that the server had forgotten the version.
pub(super) fn needless_lists(requests: &Requests, life: &Life) -> Vec<String> {
    let mut of_life: Vec<_> = requests.each().filter(|entry| life.tokens.contains(&entry.token_id)).collect();
    of_life.sort_by(|a, b| a.received.cmp(&b.received));
    let mut resumed = BTreeMap::<String, bool>::new();
    let mut again = BTreeMap::<String, usize>::new();
    for entry in of_life.iter().filter(|entry| matches!(&*entry.verb, "list" | "watch")) {
        let (path, query) = entry.request_uri.split_once('?').unwrap_or((&entry.request_uri, ""));
        let parameters: Vec<_> = query.split('&').collect();
        let selector: Vec<_> = parameters.iter().filter(|parameter| parameter.contains("Selector=")).collect();
        let resumed = resumed.entry(format!("{path}{selector:?}")).or_default();
        let has = |name: &str| parameters.iter().any(|parameter| parameter.starts_with(name));
        if has("watch=") && has("resourceVersion=") {
            *resumed = true;
        } else if !has("continue=") && *resumed {
            *again.entry(path.to_owned()).or_default() += 1;
        }
    }
    let forgotten = |path: &str| {
        let failed = |line: &&str| line.contains("a list or watch failed") && line.contains("reason=Expired");
        let is_of = |line: &&str| {
            line.split_whitespace().any(|word| word == format!("path={path}") || word == format!("path=\"{path}\""))
        };
        life.log.lines().filter(failed).filter(is_of).count()
    };
    again.retain(|path, count| *count > forgotten(path));
    again
        .into_iter()
        .map(|(path, count)| format!("{count} lists of {path}, {} of them needed", forgotten(&path)))
        .collect()
}
