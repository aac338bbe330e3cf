//! What people and other controllers do meanwhile.

use super::sim::{OPERATOR, Sim, kind};
use super::world::{Id, id_of};
use crate::contract::object::{Content, Object, Rv, Uid};
use crate::contract::rules::Role;

const DOCKER: &str = "kubernetes.io/dockerconfigjson";

fn map(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

impl Sim {
    fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn blank(&mut self, namespace: &str, name: &str) -> Object {
        let kind = kind(usize::from(self.chance(0.3)));
        let secret_type = (kind == crate::contract::object::Kind::Secret)
            .then(|| self.one_of(&["Opaque", "Opaque", DOCKER]).to_owned());
        let value = self.one_of(&["YQ==", "Yg==", "Yw=="]);
        Object {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: Uid::parse("00000000-0000-4000-8000-000000000000").unwrap(),
            rv: Rv(0),
            labels: map(&[]),
            annotations: map(&[]),
            content: Content { secret_type, data: map(&[("k", value)]), ..Content::default() },
            more: false,
        }
    }

    /// One of the names in use. Those with `m` are, at an agent, what a master has put there.
    fn a_name(&mut self) -> &'static str {
        if self.rules.role == Role::Agent && self.chance(0.25) {
            return "m0";
        }
        ["s0", "s1", "s2"][self.below(self.names)]
    }

    fn annotate(&mut self, object: &mut Object) {
        for key in ["mw-sync", "mw-sync.io/sync", "mw-sync.io/typo"] {
            object.annotations.remove(key);
        }
        let (key, value) = match self.below(12) {
            0 => return,
            1 | 2 => ("mw-sync", "no"),
            3 => ("mw-sync.io/sync", "perhaps"),
            4 => ("mw-sync.io/typo", "x"),
            5 | 6 => ("mw-sync.io/sync", "yes"),
            _ => ("mw-sync", "true"),
        };
        object.annotations.insert(key.to_owned(), value.to_owned());
    }

    pub(super) fn user_acts(&mut self) {
        if self.chance(0.5) {
            self.on_sources();
        } else {
            self.on_destinations();
        }
        self.spread();
    }

    fn on_sources(&mut self) {
        let open = self.source_world().namespaces.get(OPERATOR).map(|ns| ns.terminating);
        match (open, self.below(40)) {
            (None, 0..10) => return self.source_world().create_namespace(OPERATOR),
            (None | Some(true), _) => return,
            (Some(false), 0) if self.chance(0.5) => {
                self.note("user: the source namespace is deleted");
                return self.source_world().change_namespace(OPERATOR, |ns| ns.terminating = true);
            }
            (Some(false), _) => {}
        }
        let name = self.a_name();
        let fresh = self.blank(OPERATOR, name);
        let id: Id = id_of(&fresh);
        let old = self.source_world().objects.get(&id).cloned();
        let what = self.below(10);
        self.note(format_args!("user: source {} {name}, act {what}", fresh.kind));
        match (old, what) {
            (Some(_), 0) => self.source_world().remove(&id),
            (Some(mut object), 1..5) => {
                self.annotate(&mut object);
                self.source_world().put(object);
            }
            (Some(mut object), 5) => {
                object.annotations.insert("note".into(), self.one_of(&["a", "b"]).into());
                self.source_world().put(object);
            }
            (Some(mut object), 6..8) => {
                object.content.data = fresh.content.data;
                self.relabel(&mut object);
                self.source_world().put(object);
            }
            (_, _) => {
                let mut object = fresh;
                self.relabel(&mut object);
                self.annotate(&mut object);
                object.content.immutable = self.chance(0.15);
                if self.chance(0.05) && object.content.secret_type.is_some() {
                    object.content.secret_type = Some("helm.sh/release.v1".into());
                }
                if name == "m0" {
                    object.labels.insert("mw-sync.io/managed-by".into(), "master".into());
                    object.annotations.insert("mw-sync.io/origin".into(), "management/operator/m0".into());
                }
                self.source_world().remove(&id);
                self.source_world().put(object);
            }
        }
    }

    fn relabel(&mut self, object: &mut Object) {
        for key in ["team", "tier", "helm.sh/chart"] {
            object.labels.remove(key);
            if self.chance(0.4) {
                object.labels.insert(key.into(), self.one_of(&["a", "b"]).into());
            }
        }
    }

    fn on_destinations(&mut self) {
        let place = self.below(self.places);
        let namespace = if self.rules.role == Role::Agent { ["n0", "n1", "n2", "n3"][place] } else { OPERATOR };
        let what = self.below(22);
        self.note(format_args!("user: namespace {namespace}, act {what}"));
        let there = self.dest_world().namespaces.get(namespace).map(|ns| ns.terminating);
        match (what, there) {
            (0..12, None) => self.dest_world().create_namespace(namespace),
            (4 | 7, Some(false)) => self.dest_world().change_namespace(namespace, |ns| ns.terminating = true),
            (5, Some(_)) => self.dest_world().change_namespace(namespace, |ns| ns.opted_out = !ns.opted_out),
            (6, Some(_)) => self.dest_world().change_namespace(namespace, |_| ()),
            (8..11, Some(false)) => {
                let name = self.a_name();
                let mut object = self.blank(namespace, name);
                if self.chance(0.3) {
                    object.labels.insert("mw-sync.io/managed-by".into(), self.rules.role.as_str().into());
                }
                if !self.dest_world().objects.contains_key(&id_of(&object)) {
                    self.dest_world().put(object);
                }
            }
            (11.., Some(_)) => self.on_object(namespace, what),
            _ => {}
        }
    }

    /// Something happens to an object at a destination.
    fn on_object(&mut self, namespace: &str, what: usize) {
        let there: Vec<_> = self.dest_world().objects.values().filter(|o| o.namespace == namespace).cloned().collect();
        if there.is_empty() {
            return;
        }
        let mut object = there[self.below(there.len())].clone();
        let id = id_of(&object);
        self.note(format_args!("user: on {id:?}"));
        match what {
            11 | 12 => return self.dest_world().remove(&id),
            13 if !object.content.immutable => drop(object.content.data.insert("k".into(), "ZHJpZnQ=".into())),
            14 if !object.content.immutable => drop(object.content.data.insert("x".into(), "ZHJpZnQ=".into())),
            15 => drop(object.labels.insert("theirs".into(), "x".into())),
            16 => drop(object.labels.remove("mw-sync.io/source")),
            17 => object.labels.values_mut().filter(|value| *value == "a").for_each(|value| *value = "b".into()),
            18 => drop(object.labels.remove("mw-sync.io/managed-by")),
            19 => drop(object.annotations.insert("mw-sync.io/origin".into(), "elsewhere/x".into())),
            20 if !object.content.immutable => object.content.immutable = true,
            // The marks are put back.
            _ => {
                let prefix = if self.rules.role == Role::Agent { "" } else { "management/" };
                let origin = format!("{prefix}operator/{}", object.name);
                object.labels.insert("mw-sync.io/managed-by".into(), self.rules.role.as_str().into());
                object.annotations.insert("mw-sync.io/origin".into(), origin);
            }
        }
        self.dest_world().put(object);
    }
}
