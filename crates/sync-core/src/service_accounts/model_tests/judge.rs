//! What should be, from the sources and the people alone.

use serde_json::Value;

use super::super::tests_support::read;
use super::super::*;
use super::SOURCES;
use super::world::{World, recorded};
use crate::plan::Destination;
use crate::plan::Want;

impl World {
    /// A new order is for what the people want now.
    pub(super) fn check(&self, step: &Step) {
        let Step::Patch { namespace, name, body } = step else { return };
        for op in serde_json::from_slice::<Vec<Value>>(body).unwrap() {
            let added = match &op["value"] {
                Value::Array(list) => list.clone(),
                value => vec![value.clone()],
            };
            if op["op"] == "add" && op["path"].as_str().unwrap().starts_with("/imagePullSecrets") {
                for entry in added {
                    let source = SOURCES.into_iter().find(|source| entry["name"] == **source).unwrap();
                    assert!(self.is_wanted(source, namespace, name), "{source} is not wanted at {namespace}/{name}");
                }
            }
        }
    }

    pub(super) fn is_wanted(&self, source: &str, namespace: &str, name: &str) -> bool {
        let Some(Want::On(desired)) = self.wants.get(source) else { return false };
        let options = &desired.options;
        // As the machine was last told: it may be behind.
        let known = self.machine.namespaces.get(namespace);
        let (state, labels) = known.map(|known| (known.state, known.labels.clone())).unwrap();
        options.image_pull_secret.as_ref().is_some_and(|patterns| patterns.matches(name))
            && state == Destination::Open
            && options.namespaces.selects(namespace, &labels)
    }

    /// What the sources want is what stands there.
    pub(super) fn judge(&self) {
        for ((namespace, name), account) in &self.accounts {
            let account = read(account);
            let record = recorded(&account);
            for source in SOURCES {
                let count = account.pull_secrets.iter().filter(|entry| *entry == source).count();
                let theirs = self.theirs.get(&(*namespace, *name, source.to_owned())).copied().unwrap_or_default();
                let place = format!("{source} at {namespace}/{name}: {account:?}, theirs {theirs}");
                match self.wants.get(source) {
                    Some(Want::Frozen(_) | Want::Leaving(_) | Want::Never) => {}
                    Some(Want::On(desired))
                        if {
                            let (state, labels) = &self.namespaces[namespace];
                            let patterns = desired.options.image_pull_secret.as_ref();
                            *state == Destination::Open
                                && patterns.is_some_and(|patterns| patterns.matches(name))
                                && desired.options.namespaces.selects(namespace, labels)
                        } =>
                    {
                        assert!(count >= theirs.max(1), "lacks: {place}");
                        assert!(theirs > 0 || record.get(source).is_some(), "not recorded: {place}");
                    }
                    _ => {
                        assert!(record.get(source).is_none(), "recorded: {place}");
                        assert_eq!(count, theirs, "left: {place}");
                    }
                }
            }
        }
        let moving = |want: &Want| !matches!(want, Want::Off(_));
        if !self.wants.values().any(moving) {
            assert_eq!(self.machine.watching(), None, "the watch ends");
            assert!(!self.note, "and the note goes");
            assert!(self.machine.entries.is_empty() && self.machine.pending.is_empty());
        }
    }
}
