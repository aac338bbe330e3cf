//! The names of sources, what each of them may ask for, and what that means, written down once more.

use serde_json::{Value, json};

use super::dice::Dice;
use crate::support::Kind;

/// Never switched off, and nothing of it changes that an update cannot change: no copy of it is ever deleted where the
/// namespace does not opt out.
pub(super) const STEADY: &str = "steady";
/// Comes and goes, and its copies are to be retained: none is ever deleted.
pub(super) const KEPT: &str = "kept";
/// Takes over what is in its way, at times; that is then never deleted.
pub(super) const ADOPT: &str = "adopt";
/// Takes over what is in its way and equal, at times.
pub(super) const EQUAL: &str = "equal";

/// Asks for entries in ServiceAccounts, if it is a Secret.
pub(super) const PULL: &str = "pull";

/// Whether people's objects of this name may become copies.
pub(super) fn is_lent(name: &str) -> bool {
    [ADOPT, EQUAL].contains(&name)
}

/// Whether copies of this name may have been somebody's in between, and carry what is left of that.
pub(super) fn may_have_been_theirs(name: &str) -> bool {
    name == KEPT || is_lent(name)
}

const NAMES: [Option<&str>; 10] = [
    None,
    None,
    None,
    None,
    None,
    Some("calm,fickle-*"),
    Some("!short-*"),
    Some("*, !kube-*"),
    Some("short-?,!short-3"),
    Some("nowhere"),
];
const LABELS: [Option<&str>; 11] = [
    None,
    None,
    None,
    None,
    None,
    None,
    Some("env=prod"),
    Some("env!=prod"),
    Some("env in (prod, test)"),
    Some("!env"),
    Some("env"),
];
const CLUSTERS: [Option<&str>; 8] = [None, None, None, None, Some("far"), Some("f*,!near"), Some("!far"), Some("near")];

/// Whether the value of `image-pull-secret` names a ServiceAccount.
pub(super) fn asks(option: &Value, name: &str) -> bool {
    match option.as_str() {
        None => false,
        Some("default") => name == "default",
        Some("*, !default") => name != "default",
        Some("pull-*") => name.starts_with("pull-"),
        Some(other) => panic!("{other} is no value of these people"),
    }
}

/// The options of a source, as a merge patch of its annotations.
pub(super) fn options(dice: &mut Dice, kind: Kind, name: &str) -> Value {
    let pull = dice.one_of(&[Some("default"), Some("default"), Some("*, !default"), Some("pull-*"), None]);
    let (names, labels) = (dice.one_of(&NAMES), dice.one_of(&LABELS));
    let (clusters, cluster_labels) = (dice.one_of(&CLUSTERS), dice.one_of(&[None, None, None, Some("tier=gold")]));
    let everywhere = name == STEADY;
    let unless_steady = |option: Option<&'static str>| option.filter(|_| !everywhere);
    let conflict = match name {
        ADOPT => dice.one_of(&[Some("adopt"), Some("adopt"), Some("refuse")]),
        EQUAL => dice.one_of(&[Some("adopt-equal"), Some("adopt-equal"), None]),
        _ => None,
    };
    let end = match name {
        KEPT => Some("retain"),
        _ if is_lent(name) => dice.one_of(&[Some("retain"), Some("delete"), None]),
        _ => None,
    };
    json!({
        "mw-sync.io/namespaces": unless_steady(names), "mw-sync.io/namespace-selector": unless_steady(labels),
        "mw-sync.io/clusters": unless_steady(clusters), "mw-sync.io/cluster-selector": unless_steady(cluster_labels),
        "mw-sync.io/on-conflict": conflict, "mw-sync.io/on-delete": end,
        "mw-sync.io/image-pull-secret": pull.filter(|_| name == PULL && kind == Kind::Secret),
        "mw-sync.io/copy-annotations": dice.one_of(&[None, Some("example.com/stage")]),
        "example.com/stage": dice.one_of(&[None, Some("a"), Some("b")])
    })
}

/// Labels of namespaces and RemoteClusters, as a merge patch.
pub(super) fn place_labels(dice: &mut Dice) -> Value {
    json!({"env": dice.one_of(&[Some("prod"), Some("test"), None]), "tier": dice.one_of(&[Some("gold"), None])})
}

/// Whether a source wants to be where a name and labels are.
pub(super) fn selects(names: &Value, selector: &Value, name: &str, labels: &Value) -> bool {
    let by_name = match names.as_str() {
        None => true,
        Some("calm,fickle-*") => name == "calm" || name.starts_with("fickle-"),
        Some("!short-*") => !name.starts_with("short-"),
        Some("*, !kube-*") => !name.starts_with("kube-"),
        Some("short-?,!short-3") => name.starts_with("short-") && name != "short-3",
        Some("nowhere") => false,
        Some("far" | "f*,!near") => name == "far",
        Some("!far" | "near") => name != "far",
        Some(other) => panic!("{other} is no value of these people"),
    };
    let env = labels["env"].as_str();
    let by_label = match selector.as_str() {
        None => true,
        Some("env=prod") => env == Some("prod"),
        Some("env!=prod") => env != Some("prod"),
        Some("env in (prod, test)") => matches!(env, Some("prod" | "test")),
        Some("!env") => env.is_none(),
        Some("env") => env.is_some(),
        Some("tier=gold") => labels["tier"] == "gold",
        Some(other) => panic!("{other} is no value of these people"),
    };
    by_name && by_label
}
