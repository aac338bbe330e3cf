//! What people write: sources, and objects that are in the way.

use std::fmt;

use serde_json::{Map, Value, json};

use super::dice::Dice;
use super::options::{KEPT, PULL, options};
use crate::support::Kind;

/// Where an object is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Place {
    pub(super) fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(super) fn of(kind: Kind, object: &Value) -> Self {
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
        Self::new(kind, text("namespace"), text("name"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.name(), self.namespace, self.name)
    }
}

/// Whose marks a replica carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Manager {
    Agent,
    Master,
}

impl Manager {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Master => "master",
        }
    }

    pub(super) fn origin(self, name: &str) -> String {
        match self {
            Self::Agent => format!("operator/{name}"),
            Self::Master => format!("management/operator/{name}"),
        }
    }

    /// Whether an object is its replica, by what it is called and what its metadata says.
    pub(super) fn owns(self, name: &str, metadata: &Value) -> bool {
        metadata["labels"]["mw-sync.io/managed-by"] == self.label()
            && metadata["annotations"]["mw-sync.io/origin"] == self.origin(name)
    }
}

const TYPES: [&str; 8] = [
    "Opaque",
    "Opaque",
    "Opaque",
    "Opaque",
    "example.com/one",
    "example.com/one",
    "example.com/two",
    "helm.sh/release.v1",
];
const VALUES: [(&str, &str); 4] = [("one", "b25l"), ("two", "dHdv"), ("three", "dGhyZWU="), ("", "")];

fn value(dice: &mut Dice, kind: Kind) -> Value {
    // Now and then one that takes a moment to send.
    if dice.chance(3) {
        return "AAAA".repeat(5000 + dice.index(10_000)).into();
    }
    let (plain, base64) = dice.one_of(&VALUES);
    if kind == Kind::Secret { base64.into() } else { plain.into() }
}

/// All of `data`, as a merge patch: what is not there is null.
pub(super) fn payload(dice: &mut Dice, kind: Kind) -> Value {
    let mut data = Map::new();
    for key in ["k", "l", "m"] {
        let value = if dice.chance(60) { value(dice, kind) } else { Value::Null };
        data.insert(key.to_owned(), value);
    }
    let mut payload = json!({"data": data});
    if kind == Kind::ConfigMap {
        payload["binaryData"] = json!({"raw": dice.one_of(&[Some("AP8="), Some("/w=="), None, None])});
    }
    payload
}

/// The annotations that switch a source, as a merge patch.
pub(super) fn switch(dice: &mut Dice) -> Value {
    let (long, short, typo) = match dice.below(16) {
        0..3 => (Some("yes"), None, None),
        3..7 => (None, Some("true"), None),
        7 => (Some("On"), Some("1"), None),
        8..10 => (None, Some("no"), None),
        10 => (Some("off"), Some("yes"), None),
        11 => (Some("perhaps"), None, None),
        12 => (Some("yes"), None, Some("x")),
        _ => (None, None, None),
    };
    json!({"mw-sync.io/sync": long, "mw-sync": short, "mw-sync.io/typo": typo})
}

/// The labels of a source, as a merge patch.
pub(super) fn labels(dice: &mut Dice) -> Value {
    let team = dice.one_of(&[Some("red"), Some("blue"), None]);
    let tier = dice.one_of(&[Some("gold"), None]);
    json!({"team": team, "tier": tier, "helm.sh/chart": dice.one_of(&[Some("c-1"), None])})
}

/// A source, switched on more often than not.
pub(super) fn source(dice: &mut Dice, place: &Place) -> Value {
    let mut object = payload(dice, place.kind);
    let switch = if dice.chance(60) { json!({"mw-sync": "yes"}) } else { switch(dice) };
    let mut annotations =
        if dice.chance(40) || place.name == PULL { options(dice, place.kind, &place.name) } else { json!({}) };
    for (key, value) in switch.as_object().into_iter().flatten() {
        annotations[key] = value.clone();
    }
    if place.name == KEPT {
        annotations["mw-sync.io/on-delete"] = "retain".into();
    }
    object["metadata"] = json!({
        "name": place.name, "namespace": place.namespace, "annotations": annotations, "labels": labels(dice)
    });
    typed(&mut object, dice, place);
    object
}

/// An object that has nothing to do with us, or looks as if it had.
pub(super) fn foreign(dice: &mut Dice, place: &Place) -> Value {
    let mut object = payload(dice, place.kind);
    let (manager, origin) = match dice.below(8) {
        0 => (Some("agent"), None),
        1 => (Some("agent"), Some("elsewhere/s0")),
        2 => (Some("agent"), Some("operator/another")),
        3 => (Some("master"), Some("elsewhere/operator/m0")),
        _ => (None, None),
    };
    // In the source namespace it is a source.
    let switch = if dice.chance(50) { Some("yes") } else { None };
    let end = if place.name == KEPT { Some("retain") } else { None };
    object["metadata"] = json!({
        "name": place.name, "namespace": place.namespace, "labels": {"mw-sync.io/managed-by": manager},
        "annotations": {
            "mw-sync.io/origin": origin, "mw-sync": switch, "mw-sync.io/on-delete": end, "note": "theirs"
        }
    });
    typed(&mut object, dice, place);
    object
}

fn typed(object: &mut Value, dice: &mut Dice, place: &Place) {
    object["apiVersion"] = "v1".into();
    object["kind"] = place.kind.name().into();
    let (secret_type, immutable) = (dice.one_of(&TYPES), dice.chance(15));
    // A copy of this one is never made anew.
    let fixed = place.name == KEPT;
    if place.kind == Kind::Secret {
        object["type"] = if fixed { "Opaque" } else { secret_type }.into();
    }
    let is_source = place.namespace == "operator" && place.name == PULL;
    if is_source && place.kind == Kind::Secret {
        object["type"] = "kubernetes.io/dockerconfigjson".into();
        object["data"][".dockerconfigjson"] = "e30=".into();
    }
    if immutable && !fixed {
        object["immutable"] = true.into();
    }
    without_nulls(object);
}

/// A null in a patch takes a key away; in a new object it would be an empty value.
fn without_nulls(value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, value| !value.is_null());
        map.values_mut().for_each(without_nulls);
    }
}
