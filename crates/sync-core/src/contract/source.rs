//! What an object in the source namespace asks for.

use std::sync::Arc;

use super::desired::Template;
use super::keys;
use super::object::{Kind, Object, SourceKey, Version};
use super::options::{BadOption, OnDelete, Options, nearest};
use super::rules::{Role, Rules};

/// An object of the source namespace, read by the contract.
#[derive(Clone, Debug)]
pub struct Source {
    /// Kind and name.
    pub key: SourceKey,
    /// Its uid, for Events on it, and how far it is read.
    pub version: Version,
    /// What it asks for.
    pub reading: Reading,
    /// Whether this is itself a master's replica: it may vanish without having been switched off, by an accident
    /// upstream, and then copies stay.
    pub from_master: bool,
    /// Whether [`keys::PULL_SECRETS_LISTED`] is noted here; `None` but in [`keys::AGENT_CONFIG_MAP`].
    pub noted: Option<bool>,
}

/// What a source asks for.
#[derive(Clone, Debug)]
pub enum Reading {
    /// No switch: no source. If it was one, its replicas go after the grace.
    Plain,
    /// An explicit `no`: its replicas go at once, in this way.
    Off(OnDelete),
    /// Copies wanted.
    On(Arc<Template>),
    /// Something on it cannot be understood: existing replicas follow its data, none is created or deleted.
    Frozen(Arc<Template>, Freeze),
    /// Of a type or name that is never replicated.
    Never(Never),
}

/// Why a source is frozen; the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Freeze {
    /// The value of a switch is none of the known words.
    #[error("annotation {key} is {value:?}: write yes (also true, on, 1) or no (also false, off, 0)")]
    BadSwitch {
        /// The annotation.
        key: String,
        /// Its value, cut to 64 characters.
        value: String,
    },
    /// The value of an option.
    #[error(transparent)]
    BadOption(#[from] BadOption),
    /// An annotation below our prefix that this version does not know, and the known one that is nearest.
    #[error("annotation {0} is not known to this version{hint}: correct the key or remove it", hint = hint(.1))]
    UnknownKey(String, Option<&'static str>),
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!(" (is {nearest} meant?)"))
}

/// Why an object is never replicated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Never {
    /// See [`keys::NEVER_TYPES`].
    #[error("Secrets of type {0} are bound to one object or cluster and are never replicated")]
    SecretType(&'static str),
    /// See [`keys::NEVER_CONFIG_MAPS`].
    #[error("ConfigMap {0} belongs to its own namespace or cluster and is never replicated")]
    ConfigMap(&'static str),
    /// A master's source that is another master's replica.
    #[error("a master's replica is not replicated by another master: annotate the object it was copied from")]
    MasterReplica,
}

/// The value of one switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// `true yes on 1`
    Yes,
    /// `false no off 0`
    No,
}

impl Switch {
    /// Reads a value, any case, surrounding white space ignored.
    pub fn parse(value: &str) -> Option<Self> {
        let is = |words: [&str; 4]| words.iter().any(|word| value.trim().eq_ignore_ascii_case(word));
        if is(["true", "yes", "on", "1"]) {
            Some(Self::Yes)
        } else if is(["false", "no", "off", "0"]) {
            Some(Self::No)
        } else {
            None
        }
    }
}

impl Source {
    /// Reads an object of the source namespace.
    pub fn read(rules: &Rules, object: Object) -> Self {
        let key = SourceKey { kind: object.kind, name: object.name.as_str().into() };
        let managed_by = object.labels.get(keys::MANAGED_BY).map(String::as_str);
        let from_master = managed_by == Some(Role::Master.as_str());
        let version = Version { uid: object.uid, rv: object.rv };
        let is_ours = object.kind == Kind::ConfigMap && object.name == keys::AGENT_CONFIG_MAP;
        let noted = is_ours.then(|| object.content.data.contains_key(keys::PULL_SECRETS_LISTED));
        Self { key, version, reading: read(rules, object, from_master), from_master, noted }
    }
}

fn read(rules: &Rules, object: Object, from_master: bool) -> Reading {
    let (mut on, mut off, mut odd) = (false, false, None);
    for key in &rules.switches {
        let Some(value) = object.annotations.get(key) else { continue };
        match Switch::parse(value) {
            Some(Switch::No) => off = true,
            Some(Switch::Yes) => on = true,
            None => odd = odd.or(Some((key, value))),
        }
    }
    let mut freeze = odd.map(|(key, value)| bad_switch(key, value));
    if off {
        match Options::on_delete(&object.annotations) {
            Ok(on_delete) => return Reading::Off(on_delete),
            Err(bad) => freeze = Some(bad.into()),
        }
    }
    let secret_type = object.content.secret_type.as_deref();
    let (options, bad) = Options::read(object.kind, secret_type, &object.annotations);
    let known = |key: &str| keys::OPTIONS.contains(&key) || keys::MARKS_ON_SOURCE.contains(&key);
    let unknown = object
        .annotations
        .keys()
        .find(|key| key.starts_with(keys::PREFIX) && !known(key) && !rules.switches.contains(key));
    let freeze = freeze
        .or_else(|| bad.map(Freeze::BadOption))
        .or_else(|| unknown.map(|key| Freeze::UnknownKey(key.chars().take(64).collect(), nearest(key))));
    if !on && freeze.is_none() {
        return Reading::Plain;
    }
    if let Some(never) = never(rules, &object, from_master) {
        return Reading::Never(never);
    }
    // What cannot be read goes to the agents as it stands: they freeze it too.
    let switch = odd.map_or_else(|| if off { "no" } else { "yes" }.to_owned(), |(_, value)| value.clone());
    let template = Arc::new(Template::new(rules, object, options, switch));
    match freeze {
        Some(freeze) => Reading::Frozen(template, freeze),
        None => Reading::On(template),
    }
}

fn bad_switch(key: &str, value: &str) -> Freeze {
    Freeze::BadSwitch { key: key.to_owned(), value: value.chars().take(64).collect() }
}

fn never(rules: &Rules, object: &Object, from_master: bool) -> Option<Never> {
    match object.kind {
        Kind::Secret => {
            let secret_type = object.content.secret_type.as_deref();
            if let Some(never) = keys::NEVER_TYPES.iter().find(|never| secret_type == Some(**never)) {
                return Some(Never::SecretType(never));
            }
        }
        Kind::ConfigMap => {
            if let Some(never) = keys::NEVER_CONFIG_MAPS.iter().find(|never| object.name == **never) {
                return Some(Never::ConfigMap(never));
            }
        }
    }
    (rules.role == Role::Master && from_master).then_some(Never::MasterReplica)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::object::tests_support::object;
    use crate::contract::strip::StripList;
    use proptest::prelude::*;

    fn agent() -> Rules {
        Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).unwrap())
    }

    fn reading(annotations: &[(&str, &str)]) -> Reading {
        Source::read(&agent(), object(Kind::Secret, "operator", "regcred", &[], annotations)).reading
    }

    #[test]
    fn the_switch() {
        for on in ["true", "yes", "on", "1", "YES", " True "] {
            assert!(matches!(reading(&[("mw-sync.io/sync", on)]), Reading::On(_)), "{on}");
            assert!(matches!(reading(&[("mw-sync", on)]), Reading::On(_)), "{on}");
        }
        for off in ["false", "no", "off", "0", "No"] {
            assert!(matches!(reading(&[("mw-sync.io/sync", off)]), Reading::Off(OnDelete::Delete)), "{off}");
        }
        assert!(matches!(reading(&[]), Reading::Plain));
        assert!(matches!(reading(&[("other", "yes")]), Reading::Plain));
        let both = [("mw-sync.io/sync", "yes"), ("mw-sync", "no")];
        assert!(matches!(reading(&both), Reading::Off(_)), "any no wins");
        let odd = [("mw-sync.io/sync", "maybe"), ("mw-sync", "no")];
        assert!(matches!(reading(&odd), Reading::Off(_)), "any no wins, also over a value that cannot be read");
    }

    #[test]
    fn what_cannot_be_understood_freezes() {
        for odd in ["", "maybe", "yes please", "\u{201c}yes\u{201d}"] {
            let Reading::Frozen(_, why) = reading(&[("mw-sync", odd)]) else { panic!("{odd}") };
            assert_eq!(why, Freeze::BadSwitch { key: "mw-sync".into(), value: odd.into() });
        }
        let Reading::Frozen(_, why) = reading(&[("mw-sync", "yes"), ("mw-sync.io/nmespaces", "a")]) else { panic!() };
        assert_eq!(
            why.to_string(),
            "annotation mw-sync.io/nmespaces is not known to this version (is mw-sync.io/namespaces meant?): correct the \
             key or remove it"
        );
        let bad = [("mw-sync", "yes"), (keys::ON_CONFLICT, "force")];
        assert!(matches!(reading(&bad), Reading::Frozen(_, Freeze::BadOption(_))));
        let typo_in_the_switch = reading(&[("mw-sync.io/snyc", "yes")]);
        assert!(matches!(typo_in_the_switch, Reading::Frozen(..)), "its replicas must not be taken for unwanted");
    }

    #[test]
    fn a_no_says_what_becomes_of_the_replicas() {
        let off = |on_delete| reading(&[("mw-sync", "no"), (keys::ON_DELETE, on_delete)]);
        assert!(matches!(off("retain"), Reading::Off(OnDelete::Retain)));
        assert!(matches!(off("delete"), Reading::Off(OnDelete::Delete)));
        assert!(matches!(off("keep"), Reading::Frozen(..)), "nothing is deleted on what cannot be read");
        let other = [("mw-sync", "no"), (keys::NAMESPACES, "Team"), ("mw-sync.io/x", "y")];
        assert!(matches!(reading(&other), Reading::Off(_)), "a no needs no other option");
    }

    #[test]
    fn never_replicated() {
        let yes = [("mw-sync", "yes")];
        for never in keys::NEVER_TYPES {
            let mut secret = object(Kind::Secret, "operator", "x", &[], &yes);
            secret.content.secret_type = Some((*never).to_owned());
            assert!(matches!(Source::read(&agent(), secret).reading, Reading::Never(Never::SecretType(_))), "{never}");
        }
        for never in keys::NEVER_CONFIG_MAPS {
            let map = object(Kind::ConfigMap, "operator", never, &[], &yes);
            assert!(matches!(Source::read(&agent(), map).reading, Reading::Never(Never::ConfigMap(_))), "{never}");
        }
        let replica = || object(Kind::Secret, "operator", "x", &[(keys::MANAGED_BY, "master")], &yes);
        assert!(matches!(Source::read(&agent(), replica()).reading, Reading::On(_)));
        let master = Rules { role: Role::Master, cluster_name: Some("m".into()), ..agent() };
        assert!(matches!(Source::read(&master, replica()).reading, Reading::Never(Never::MasterReplica)));
    }

    proptest! {
        #[test]
        fn reading_never_panics(key in "\\PC{0,40}", value in "\\PC{0,80}") {
            let own = format!("mw-sync.io/{key}");
            let _ = reading(&[(key.as_str(), value.as_str()), (own.as_str(), "x"), ("mw-sync", value.as_str())]);
            let _ = crate::contract::fingerprint::Shape::from_annotation(&value);
        }
    }
}
