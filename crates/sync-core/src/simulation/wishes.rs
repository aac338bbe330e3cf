//! What a user's object asks for, worked out from it alone, and what a copy of it looks like.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::api::{Id, Object, meta};
use super::stage::Scene;
use crate::contract::rules::Role;

/// What a user wants of an object in the source namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Copies everywhere.
    On,
    /// Copies as they are follow; something on it cannot be understood.
    Frozen,
    /// Nothing at all happens.
    Never,
    /// An explicit `no`.
    Off,
    /// No word about it.
    Plain,
}

fn option<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    meta(object, "annotations", &format!("mw-sync.io/{key}"))
}

/// The option that asks for entries of ServiceAccounts.
pub(super) const PULLS: &str = "image-pull-secret";
/// The type of Secrets that can ask so.
pub(super) const PULL_TYPE: &str = "kubernetes.io/dockerconfigjson";

/// The options that users give their sources here, with whether they can be understood.
pub(super) const OPTIONS: [(&str, &[(&str, bool)]); 8] = [
    ("on-delete", &[("retain", true), ("delete", true), ("maybe", false)]),
    ("on-conflict", &[("adopt", true), ("adopt-equal", true), ("refuse", true), ("seize", false)]),
    ("namespaces", &[("n0", true), ("!n1", true), ("n*,!n0", true), ("n0,,", false)]),
    ("namespace-selector", &[("env=a", true), ("env!=a", true), ("env in (b)", true), ("env in", false)]),
    ("clusters", &[("cluster-1", true), ("!cluster-1", true), ("", false)]),
    ("cluster-selector", &[("env=a", true), ("env!=a", true)]),
    ("copy-annotations", &[("note", true), ("mw-sync", false)]),
    (PULLS, &[("default", true), ("*", true), ("*,!default", true), ("default,,", false)]),
];

fn cannot_be_understood(object: &Value) -> bool {
    let cannot_pull = option(object, PULLS).is_some() && object["type"] != PULL_TYPE;
    cannot_pull
        || OPTIONS.iter().any(|(key, values)| {
            option(object, key).is_some_and(|value| values.iter().any(|(known, good)| *known == value && !good))
        })
}

pub(super) fn wish(scene: &Scene, id: &Id, object: &Value) -> Wish {
    let switches: Vec<_> =
        ["mw-sync", "mw-sync.io/sync"].into_iter().filter_map(|key| meta(object, "annotations", key)).collect();
    let frozen = option(object, "typo").is_some() || switches.contains(&"perhaps") || cannot_be_understood(object);
    let off = switches.contains(&"no");
    if off && option(object, "on-delete") != Some("maybe") {
        Wish::Off
    } else if (switches.is_empty() || off) && !frozen {
        Wish::Plain
    } else if object["type"] == "helm.sh/release.v1"
        || (id.plural == "configmaps" && id.name == "aws-auth")
        || (scene.role == Role::Master && is_from_master(object))
    {
        Wish::Never
    } else if frozen {
        Wish::Frozen
    } else {
        Wish::On
    }
}

/// Whether copies are wanted in a place of this name whose label `env` is this (or empty). For a master that is a
/// RemoteCluster.
pub(super) fn selects(scene: &Scene, source: &Value, cluster: usize, namespace: &str, env: &str) -> bool {
    let (names, labels, name) = match scene.role {
        Role::Agent => ("namespaces", "namespace-selector", namespace.to_owned()),
        Role::Master => ("clusters", "cluster-selector", format!("cluster-{cluster}")),
    };
    let by_name = match option(source, names) {
        Some("n0") => name == "n0",
        Some("!n1") => name != "n1",
        Some("n*,!n0") => name.starts_with('n') && name != "n0",
        Some("cluster-1") => name == "cluster-1",
        Some("!cluster-1") => name != "cluster-1",
        _ => true,
    };
    let by_label = match option(source, labels) {
        Some("env=a") => env == "a",
        Some("env!=a") => env != "a",
        Some("env in (b)") => env == "b",
        _ => true,
    };
    by_name && by_label
}

/// Whether a source asks for an entry in ServiceAccounts of this name.
pub(super) fn asks(source: &Value, account: &str) -> bool {
    match option(source, PULLS) {
        Some("default") => account == "default",
        Some("*") => true,
        Some("*,!default") => account != "default",
        _ => false,
    }
}

/// Whether it says, as a source or as a copy that remembers it, that copies which are wanted no more stay.
pub(super) fn retains(object: &Value) -> bool {
    option(object, "on-delete").is_some_and(|value| value != "delete")
}

/// Whether a copy was somebody's object with other data before.
pub(super) fn was_adopted(replica: &Value) -> bool {
    option(replica, "adopted").is_some_and(|how| how != "adopt-equal")
}

/// Whether somebody's object may become a copy of this source.
pub(super) fn may_adopt(scene: &Scene, id: &Id, source: &Value, object: &Value) -> bool {
    let same_data = ["data", "binaryData"].iter().all(|field| source[*field] == object[*field]);
    let same_type = source["type"] == object["type"];
    let equal = same_type && same_data && (!is_immutable(object) || is_immutable(source));
    let can_follow = equal || (same_type && !is_immutable(object));
    if !can_follow || meta(object, "labels", "mw-sync.io/managed-by").is_some() {
        return false;
    }
    let was_ours = option(object, "released-from") == Some(scene.origin(&id.name).as_str());
    let adopt = scene.allow_adopt && !(scene.role == Role::Agent && id.namespace.starts_with("kube-"));
    match option(source, "on-conflict") {
        _ if was_ours => true,
        Some("adopt-equal") => equal,
        Some("adopt") => adopt,
        _ => false,
    }
}

/// Whether a source is itself a master's replica.
pub(super) fn is_from_master(object: &Value) -> bool {
    meta(object, "labels", "mw-sync.io/managed-by") == Some("master")
}

/// Whether a replica says that it is one of a master's replica, which its source is not.
pub(super) fn disowns(scene: &Scene, source: &Value, replica: &Value) -> bool {
    let says = scene.role == Role::Agent && meta(replica, "annotations", "mw-sync.io/upstream").is_some();
    says && !is_from_master(source)
}

/// Whether a replica would have to be made anew to become a copy of this source.
pub(super) fn needs_recreate(source: &Value, replica: &Value) -> bool {
    source["type"] != replica["type"]
        || (is_immutable(replica)
            && (!is_immutable(source) || ["data", "binaryData"].iter().any(|field| source[*field] != replica[*field])))
}

fn is_immutable(object: &Value) -> bool {
    object["immutable"] == json!(true)
}

fn texts(object: &Value, map: &str) -> BTreeMap<String, String> {
    let pairs = object["metadata"][map].as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// Says how a replica differs from what a copy of this source is. What others have added to it does not count: a label
/// `theirs`, and anything at all on an object that was `loose`, that is, not ours at some time.
pub(super) fn differs(
    scene: &Scene,
    source: &Object,
    replica: &Object,
    namespace_uid: &str,
    loose: bool,
) -> Option<String> {
    let name = source["metadata"]["name"].as_str().unwrap_or_default();
    for field in ["data", "binaryData", "type"] {
        if source[field] != replica[field] {
            return Some(format!("{field} is {}", replica[field]));
        }
    }
    if is_immutable(source) != is_immutable(replica) {
        return Some(format!("immutable is {}", replica["immutable"]));
    }
    let wanted = [labels(scene, source, name), annotations(scene, source, name, namespace_uid)];
    let wrong = wanted.iter().zip(["labels", "annotations"]).find_map(|(wanted, map)| {
        wanted.iter().find_map(|(key, value)| {
            let has = meta(replica, map, key);
            let fine = has == value.as_deref() || (loose && value.is_none());
            (!fine).then(|| format!("{map} {key} is {has:?}, not {value:?}"))
        })
    });
    let stranger = |key: &&String| !loose && *key != "theirs" && wanted[0].iter().all(|(known, _)| known != key);
    wrong.or_else(|| texts(replica, "labels").keys().find(stranger).map(|key| format!("label {key} is there")))
}

/// Keys with the values that they have on a copy.
type Wanted = Vec<(&'static str, Option<String>)>;

fn labels(scene: &Scene, source: &Value, name: &str) -> Wanted {
    let copied = |key: &str| meta(source, "labels", key).map(str::to_owned);
    vec![
        ("team", copied("team")),
        ("tier", copied("tier")),
        ("mw-sync.io/managed-by", Some(scene.role.as_str().to_owned())),
        ("mw-sync.io/source", Some(name.to_owned())),
    ]
}

fn annotations(scene: &Scene, source: &Value, name: &str, namespace_uid: &str) -> Wanted {
    let copied = |key: &str| meta(source, "annotations", key).map(str::to_owned);
    let mut wanted = vec![
        ("mw-sync.io/origin", Some(scene.origin(name))),
        ("mw-sync.io/origin-uid", Some(namespace_uid.to_owned())),
        ("note", copied("note").filter(|_| option(source, "copy-annotations") == Some("note"))),
        ("mw-sync", None),
        ("mw-sync.io/clusters", None),
        ("mw-sync.io/cluster-selector", None),
    ];
    match scene.role {
        Role::Agent => {
            let upstream = copied("mw-sync.io/origin").filter(|_| is_from_master(source));
            wanted.push(("mw-sync.io/upstream", upstream));
            wanted.push(("mw-sync.io/on-delete", retains(source).then(|| "retain".to_owned())));
            wanted.extend(
                ["mw-sync.io/sync", "mw-sync.io/on-conflict", "mw-sync.io/namespaces", "mw-sync.io/image-pull-secret"]
                    .map(|key| (key, None)),
            );
        }
        // The agent there reads them; what cannot be understood goes on as it stands.
        Role::Master => {
            let has =
                |value: &str| ["mw-sync.io/sync", "mw-sync"].iter().any(|key| copied(key).as_deref() == Some(value));
            let switch = ["perhaps", "no"].into_iter().find(|value| has(value)).unwrap_or("yes");
            wanted.push(("mw-sync.io/sync", Some(switch.to_owned())));
            let options = [
                "mw-sync.io/typo",
                "mw-sync.io/on-delete",
                "mw-sync.io/on-conflict",
                "mw-sync.io/namespaces",
                "mw-sync.io/namespace-selector",
                "mw-sync.io/copy-annotations",
                "mw-sync.io/image-pull-secret",
            ];
            wanted.extend(options.map(|key| (key, copied(key))));
        }
    }
    wanted
}
