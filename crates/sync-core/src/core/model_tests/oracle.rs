//! How the world must look in the end, worked out from the users' objects alone.

use std::collections::BTreeMap;

use super::sim::{OPERATOR, Sim};
use super::world::id_of;
use crate::contract::object::{Kind, Object};
use crate::contract::rules::Role;

#[derive(Debug, PartialEq, Eq)]
enum Wish {
    On,
    Off,
    Gone,
    Open,
}

fn wish(source: Option<&Object>) -> Wish {
    let Some(source) = source else { return Wish::Gone };
    let switch = |key: &str| source.annotations.get(key).map(String::as_str);
    let (short, long) = (switch("mw-sync"), switch("mw-sync.io/sync"));
    if short == Some("no") || long == Some("no") {
        Wish::Off
    } else if switch("mw-sync.io/typo").is_some() || long == Some("perhaps") {
        Wish::Open
    } else if short.is_none() && long.is_none() {
        Wish::Gone
    } else if source.content.secret_type.as_deref() == Some("helm.sh/release.v1") {
        Wish::Open
    } else {
        Wish::On
    }
}

impl Sim {
    fn wanted_labels(&self, source: &Object) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for key in ["team", "tier"] {
            if let Some(value) = source.labels.get(key) {
                labels.insert(key.to_owned(), value.clone());
            }
        }
        labels.insert("mw-sync.io/managed-by".into(), self.rules.role.as_str().into());
        labels.insert("mw-sync.io/source".into(), source.name.clone());
        labels
    }

    /// Compares; `true` if every request must have had its answer for good: nothing foreign is in our way.
    pub(super) fn check(&mut self) -> bool {
        let source_ns = self.source_world().namespaces.get(OPERATOR).cloned();
        let Some(source_ns) = source_ns.filter(|ns| !ns.terminating) else { return false };
        let mut clean = true;
        let master = self.rules.role == Role::Master;
        let dests: Vec<_> = self
            .dest_world()
            .namespaces
            .iter()
            .filter(|(name, _)| (name.as_str() == OPERATOR) == master)
            .map(|(name, ns)| (name.clone(), ns.clone()))
            .collect();
        if master && dests.is_empty() {
            return false;
        }
        for kind in Kind::ALL {
            for name in ["s0", "s1", "s2", "m0"] {
                let source = self.worlds[0].objects.get(&(kind, OPERATOR.to_owned(), name.to_owned())).cloned();
                for (namespace, ns) in &dests {
                    let there = self.worlds.last().unwrap().objects.get(&(kind, namespace.clone(), name.to_owned()));
                    let ours = there.is_some_and(|object| self.is_marked(object));
                    let current = there.and_then(|object| object.annotations.get("mw-sync.io/origin-uid"))
                        == Some(&source_ns.uid.to_string());
                    let place = format!("{kind} {namespace}/{name}: {there:?}\nsource {source:?}");
                    if ns.opted_out && !master {
                        assert!(!(ours && current), "opted out: {place}");
                        continue;
                    }
                    match (wish(source.as_ref()), there) {
                        (Wish::On, None) => panic!("missing: {place}"),
                        (Wish::On, Some(_)) if !ours => clean = false,
                        (Wish::On, Some(_)) if master && !current => {}
                        (Wish::On, Some(there)) => {
                            self.equals(source.as_ref().unwrap(), there, &source_ns.uid.to_string());
                        }
                        (Wish::Off, _) => assert!(!(ours && current), "off: {place}"),
                        (Wish::Gone, _) if name == "m0" => {}
                        (Wish::Gone, _) => assert!(!(ours && current), "gone: {place}"),
                        (Wish::Open, _) => {}
                    }
                }
            }
        }
        clean
    }

    fn equals(&self, source: &Object, there: &Object, uid: &str) {
        let place = format!("{:?}\nsource {source:?}\nreplica {there:?}", id_of(there));
        assert_eq!(source.content, there.content, "{place}");
        let mut labels = there.labels.clone();
        labels.remove("theirs");
        assert_eq!(labels, self.wanted_labels(source), "{place}");
        let annotation = |key: &str| there.annotations.get(key).map(String::as_str);
        assert_eq!(annotation("mw-sync.io/origin-uid"), Some(uid), "{place}");
        let (switch, upstream) = match self.rules.role {
            Role::Master => (Some("yes"), None),
            Role::Agent => (None, (source.name == "m0").then_some("management/operator/m0")),
        };
        assert_eq!(annotation("mw-sync.io/sync"), switch, "{place}");
        assert_eq!(annotation("mw-sync.io/upstream"), upstream, "{place}");
        assert_eq!(annotation("note"), None, "{place}");
    }
}
