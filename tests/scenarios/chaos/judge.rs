//! What the audit log must not show, whatever went wrong: a write to what was not ours (promises 1 and 7), a deletion
//! that nobody asked for (promise 2), a list that was not needed (promise 4).

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testbed::{Entry, Requests};

use super::controller::Life;
use super::objects::{Manager, Place};
use super::options::{ADOPT, KEPT, STEADY, is_lent};
use super::people::CALM;
use crate::support::Kind;

/// Every version of every object, as the answers to those who wrote it show it.
pub(super) struct History {
    /// By uid and resourceVersion: the ids of the requests that have made it or left it so, and its metadata.
    versions: BTreeMap<(String, u64), Vec<(String, Value)>>,
    /// Uids of what people have made without marks.
    made_by_people: BTreeSet<String>,
    /// Writes that were perhaps done, whose answers show nothing of that: where, and when they came.
    in_doubt: BTreeMap<Place, Vec<String>>,
    /// When what stands at a place was changed for certain.
    changes: BTreeMap<Place, Vec<String>>,
}

/// A write whose answer is in doubt is done after so long, or never.
const DOUBT: SignedDuration = SignedDuration::from_secs(30);

fn identity(object: &Value) -> Option<(String, u64)> {
    let metadata = &object["metadata"];
    Some((metadata["uid"].as_str()?.to_owned(), metadata["resourceVersion"].as_str()?.parse().ok()?))
}

fn place_of(entry: &Entry) -> Place {
    let kind = if entry.resource == "secrets" { Kind::Secret } else { Kind::ConfigMap };
    let name = if entry.verb == "create" { entry.request["metadata"]["name"].as_str() } else { None };
    Place::new(kind, &entry.namespace, name.unwrap_or(&entry.name))
}

fn changed(entry: &Entry) -> bool {
    (200..300).contains(&entry.code)
}

impl History {
    pub(super) fn of(requests: &Requests) -> Self {
        let (mut versions, mut made_by_people) = (BTreeMap::<_, Vec<_>>::new(), BTreeSet::new());
        let (mut in_doubt, mut changes) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for entry in requests.each().filter(|entry| entry.code >= 500 && !entry.request.is_null()) {
            // What is released or deleted is not ours afterwards.
            let is_release = entry.request.to_string().contains("mw-sync.io~1released-from");
            if matches!(&*entry.verb, "create" | "update") || (entry.verb == "patch" && !is_release) {
                in_doubt.entry(place_of(entry)).or_default().push(entry.received.clone());
            }
        }
        for entry in requests.each().filter(|entry| changed(entry) && entry.verb != "delete") {
            let Some(identity) = identity(&entry.response) else { continue };
            changes.entry(place_of(entry)).or_default().push(entry.received.clone());
            let metadata = &entry.response["metadata"];
            let name = metadata["name"].as_str().unwrap_or_default();
            let ours = [Manager::Agent, Manager::Master].iter().any(|manager| manager.owns(name, metadata));
            if entry.verb == "create" && !ours {
                made_by_people.insert(identity.0.clone());
            }
            versions.entry(identity).or_default().push((entry.id.clone(), metadata.clone()));
        }
        Self { versions, made_by_people, in_doubt, changes }
    }

    /// The metadata of what a patch was applied to.
    fn before(&self, entry: &Entry) -> Option<&Value> {
        let (uid, rv) = identity(&entry.response)?;
        // One that changed nothing has the version of whoever did.
        let same = self.versions.get(&(uid.clone(), rv))?.iter().find(|(id, _)| *id != entry.id);
        let earlier =
            || self.versions.range((uid.clone(), 0)..(uid.clone(), rv)).next_back().and_then(|(_, all)| all.first());
        same.or_else(earlier).map(|(_, metadata)| metadata)
    }

    /// Whether what a patch was applied to had been released, or was asked for: it is taken over.
    fn may_take(&self, manager: Manager, place: &Place, entry: &Entry) -> bool {
        let Some(before) = self.before(entry).filter(|_| is_exact(&entry.request)) else { return false };
        let marked_by = before["labels"]["mw-sync.io/managed-by"].as_str();
        let released = before["annotations"]["mw-sync.io/released-from"] == manager.origin(&place.name);
        let system = place.namespace.starts_with("kube-") && place.name == ADOPT;
        (marked_by.is_none() && released)
            || (is_lent(&place.name) && !system && !matches!(marked_by, Some("agent" | "master")))
    }

    /// Whether a write of ours to that place, from before, may have made a version that no answer shows. Each carries
    /// our marks or fails without them, and nobody but we meets links that fail. What was changed for certain since is known.
    fn may_be_ours(&self, place: &Place, entry: &Entry) -> bool {
        let before = |received: &&String| **received < entry.received;
        let last = |of: &BTreeMap<Place, Vec<String>>| of.get(place)?.iter().filter(before).max()?.parse().ok();
        let known: Option<Timestamp> = last(&self.changes);
        last(&self.in_doubt).is_some_and(|doubt: Timestamp| known.is_none_or(|known| known < doubt + DOUBT))
    }

    fn version(&self, uid: &str, rv: u64) -> Option<&Value> {
        self.versions.get(&(uid.to_owned(), rv))?.first().map(|(_, metadata)| metadata)
    }

    /// What is wrong with the writes of a controller. `names` are those of sources.
    pub(super) fn judge(&self, manager: Manager, names: &[&str], requests: &Requests) -> Vec<String> {
        let judge = |entry: &Entry| {
            // Of one whose link was cut before all of it had arrived.
            if entry.request.is_null() && !changed(entry) {
                return None;
            }
            let wrong = self.wrong(manager, names, entry)?;
            let body: String = entry.request.to_string().chars().take(600).collect();
            Some(format!("{wrong}: {} {} {} ({}): {body}", entry.received, entry.verb, entry.request_uri, entry.code))
        };
        requests.each().filter_map(judge).collect()
    }

    fn wrong(&self, manager: Manager, names: &[&str], entry: &Entry) -> Option<&'static str> {
        let place = place_of(entry);
        let name = &*place.name;
        // What the agent says and notes of itself: keys of its own ConfigMap, by field managers of their own.
        let of = |manager| {
            entry.request_uri.contains(&format!("/operator/configmaps/mw-sync-agent?fieldManager={manager}&"))
        };
        let summary = of("mw-sync-agent-summary") || of("mw-sync-agent-pull-secrets");
        if summary && manager == Manager::Agent && entry.verb == "patch" {
            return None;
        }
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
            "patch" if changed(entry) => {
                let good = ours(self.before(entry))
                    || self.may_be_ours(&place, entry)
                    || self.may_take(manager, &place, entry);
                (!good).then_some("a patch of what was not ours")
            }
            "update" => {
                let metadata = &entry.request["metadata"];
                let Some((uid, rv)) = identity(&entry.request) else { return Some("a PUT without a guard") };
                if !ours(Some(metadata)) {
                    return Some("a PUT without marks");
                }
                let before = self.version(&uid, rv).filter(|_| changed(entry));
                match before {
                    Some(before) if !ours(Some(before)) => Some("a PUT over what was not ours"),
                    Some(before) if loses(before, metadata) => Some("a PUT that takes away what others have added"),
                    _ => None,
                }
            }
            "create" | "patch" => None,
            "delete" => {
                let exactly = &entry.request["preconditions"];
                let (uid, rv) = (exactly["uid"].as_str(), exactly["resourceVersion"].as_str());
                let Some((uid, rv)) = uid.zip(rv.and_then(|rv| rv.parse().ok())) else {
                    return Some("a delete without a guard");
                };
                let known = self.version(uid, rv).map(|metadata| manager.owns(name, metadata));
                if !known.unwrap_or_else(|| self.may_be_ours(&place, entry)) {
                    return Some("a delete of what was not ours");
                }
                if name == KEPT {
                    return Some("a delete of what is to be retained");
                }
                if name == ADOPT && self.made_by_people.contains(uid) {
                    return Some("a delete of what was taken over");
                }
                let calm = CALM.contains(&&*place.namespace) || manager == Manager::Master;
                (calm && name == STEADY).then_some("a delete although its source was never off")
            }
            _ => Some("a verb that is never used"),
        }
    }
}

/// Whether a label or annotation is missing afterwards which was neither a mark of ours nor copied.
fn loses(before: &Value, after: &Value) -> bool {
    let copied = before["annotations"]["mw-sync.io/copied"].as_str().unwrap_or_default();
    [("labels", "label"), ("annotations", "annotation")].into_iter().any(|(map, word)| {
        let mut keys = before[map].as_object().into_iter().flatten().map(|(key, _)| key);
        let is_copied = |key: &String| copied.split(',').any(|entry| entry == format!("{word}:{key}"));
        keys.any(|key| after[map][key].is_null() && !is_copied(key))
    })
}

/// Whether a JSON Patch is for exactly one version of an object.
fn is_exact(patch: &Value) -> bool {
    ["/metadata/uid", "/metadata/resourceVersion"].iter().all(|path| tested(patch, path).is_some())
}

/// What a JSON Patch tests before it changes anything.
fn tested<'p>(patch: &'p Value, path: &str) -> Option<&'p Value> {
    let steps = patch.as_array().into_iter().flatten();
    steps.take_while(|step| step["op"] == "test").find(|step| step["path"] == path).map(|step| &step["value"])
}

/// Whether a JSON Patch fails on the server unless the object carries our marks, or is exactly one version of one.
fn guarded(manager: Manager, name: &str, patch: &Value) -> bool {
    let marks = tested(patch, "/metadata/labels/mw-sync.io~1managed-by") == Some(&json!(manager.label()))
        && tested(patch, "/metadata/annotations/mw-sync.io~1origin") == Some(&json!(manager.origin(name)));
    marks || is_exact(patch)
}

/// When a controller has had all its lists, as it has logged.
fn complete(life: &Life) -> Option<&str> {
    let first = |words: &str| life.log.lines().find(|line| line.contains(words))?.split(' ').next();
    Some(first("all sources are known")?.max(first("all lists have come")?))
}

/// Lists that were not needed: once a watch is resumed from a version its list is complete, as all are when the
/// controller has said so, and there is no other one in that life of it unless its log says that the server had
/// forgotten the version.
pub(super) fn needless_lists(requests: &Requests, life: &Life) -> Vec<String> {
    let complete = complete(life);
    // Nothing that is logged waits for these lists, of discoveries and of the agent's summary: a fault may hold them up for
    // longer.
    let known = |of: &str| {
        complete.filter(|_| !["/clusterdiscoveries", "mw-sync-agent"].iter().any(|waits| of.contains(waits)))
    };
    let mut of_life: Vec<_> = requests.each().filter(|entry| life.tokens.contains(&entry.token_id)).collect();
    of_life.sort_by(|a, b| a.received.cmp(&b.received));
    let mut resumed = BTreeMap::<String, bool>::new();
    let mut again = BTreeMap::<String, usize>::new();
    for entry in of_life.iter().filter(|entry| matches!(&*entry.verb, "list" | "watch")) {
        let (path, query) = entry.request_uri.split_once('?').unwrap_or((&entry.request_uri, ""));
        let parameters: Vec<_> = query.split('&').collect();
        let selector: Vec<_> = parameters.iter().filter(|parameter| parameter.contains("Selector=")).collect();
        if selector.len() > 1 || path.ends_with("/serviceaccounts") {
            // On one name, for as long as something is in the way: it comes and goes. So does the other, with what sources
            // ask for.
            continue;
        }
        let of = format!("{path}{selector:?}");
        let known = known(&of);
        let resumed = resumed.entry(of).or_default();
        let has = |name: &str| parameters.iter().any(|parameter| parameter.starts_with(name));
        if has("watch=") && has("resourceVersion=") {
            *resumed = true;
        } else if !has("continue=") && (*resumed || known.is_some_and(|since| *since < *entry.received)) {
            *again.entry(path.to_owned()).or_default() += 1;
        }
    }
    let forgotten = |path: &str| {
        let failed = |line: &&str| line.contains("a list or watch failed") && line.contains("Expired");
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
