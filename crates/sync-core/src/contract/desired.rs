//! What every replica of one version of a source looks like.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest as _, Sha256};

use super::body::Bodies;
use super::fingerprint::{Digest, Fingerprint, Shape, payload_digest};
use super::keys;
use super::object::{Content, Object, SourceKey, Uid};
use super::rules::{Role, Rules};

/// A source reduced to what its replicas carry, but for the uid of the source namespace.
#[derive(Clone, Debug)]
pub struct Template {
    key: SourceKey,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    shape: Arc<Shape>,
    content: Arc<Content>,
    payload: Digest,
}

impl Template {
    /// What copies of this object carry: its labels less the strip list, our marks, its content.
    pub(super) fn new(rules: &Rules, object: Object) -> Self {
        let key = SourceKey { kind: object.kind, name: object.name.as_str().into() };
        let upstream = object.annotations.get(keys::ORIGIN).cloned();
        let from_master = object.labels.get(keys::MANAGED_BY).is_some_and(|by| by == Role::Master.as_str());

        let mut labels: BTreeMap<_, _> =
            object.labels.into_iter().filter(|(label, _)| !rules.strip.strips(label)).collect();
        let mut annotations = BTreeMap::new();
        if rules.role == Role::Master {
            // The agent there fans the replica out; whatever spelling stands here, it reads the canonical key.
            annotations.insert(keys::SYNC.to_owned(), "yes".to_owned());
        }
        if let (Role::Agent, true, Some(origin)) = (rules.role, from_master, upstream) {
            annotations.insert(keys::UPSTREAM.to_owned(), origin);
        }
        let shape =
            Shape { labels: labels.keys().cloned().collect(), annotations: annotations.keys().cloned().collect() };

        labels.insert(keys::MANAGED_BY.to_owned(), rules.role.as_str().to_owned());
        labels.insert(keys::SOURCE.to_owned(), label_value(&key.name));
        annotations.insert(keys::ORIGIN.to_owned(), rules.origin(&key));
        annotations.insert(keys::COPIED.to_owned(), shape.to_annotation());
        let payload = payload_digest(&object.content);
        Self { key, labels, annotations, shape: Arc::new(shape), content: Arc::new(object.content), payload }
    }

    /// The replicas of this source while its namespace has this uid.
    pub fn desired(&self, namespace: Uid) -> Desired {
        let mut annotations = self.annotations.clone();
        annotations.insert(keys::ORIGIN_UID.to_owned(), namespace.to_string());
        let fingerprint = Fingerprint::of(&self.labels, &annotations, &self.content, self.payload, &self.shape);
        Desired {
            key: self.key.clone(),
            labels: self.labels.clone(),
            annotations,
            shape: Arc::clone(&self.shape),
            content: Arc::clone(&self.content),
            origin_uid: namespace,
            fingerprint,
            bodies: Mutex::default(),
        }
    }
}

/// What every replica of one version of a source looks like, and its fingerprint.
#[derive(Debug)]
pub struct Desired {
    /// The source.
    pub key: SourceKey,
    /// Labels: copied ones and our marks.
    pub labels: BTreeMap<String, String>,
    /// Annotations: copied ones and our marks.
    pub annotations: BTreeMap<String, String>,
    /// Which of them were copied.
    pub shape: Arc<Shape>,
    /// Payload, type, `immutable`.
    pub content: Arc<Content>,
    /// The uid of the source namespace.
    pub origin_uid: Uid,
    /// What a replica that equals this one reads as.
    pub fingerprint: Fingerprint,
    bodies: Mutex<Weak<Bodies>>,
}

impl Desired {
    /// The request bodies for it. They live as long as somebody keeps them, and are the same for all who do.
    pub fn bodies(&self) -> Arc<Bodies> {
        let mut weak = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        weak.upgrade().unwrap_or_else(|| {
            let bodies = Arc::<Bodies>::default();
            *weak = Arc::downgrade(&bodies);
            bodies
        })
    }
}

/// A label value that names the source: the name itself up to 63 characters, else its first 54, `-` and 8 hex
/// digits of its SHA-256 (63 is the limit of a label value).
pub fn label_value(name: &str) -> String {
    if name.len() <= 63 {
        return name.to_owned();
    }
    let hash = Sha256::digest(name.as_bytes());
    let hash: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let start: String = name.chars().take(54).collect();
    format!("{start}-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::object::{Kind, tests_support::object};
    use crate::contract::strip::StripList;

    fn rules(role: Role) -> Rules {
        let cluster = (role == Role::Master).then_some("management");
        Rules::new(role, "operator", cluster, StripList::with::<&str>(&[]).unwrap())
    }

    fn uid(n: u8) -> Uid {
        Uid::parse(&format!("00000000-0000-4000-8000-0000000000{n:02x}")).unwrap()
    }

    #[test]
    fn a_replica_carries_labels_and_marks_and_no_annotation_of_the_source() {
        let source = object(
            Kind::Secret,
            "operator",
            "regcred",
            &[("team", "a"), ("helm.sh/chart", "x"), ("mw-sync.io/source", "lies")],
            &[("mw-sync", "yes"), ("note", "n")],
        );
        let agent = Template::new(&rules(Role::Agent), source.clone()).desired(uid(1));
        let labels: Vec<_> = agent.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(labels, ["mw-sync.io/managed-by=agent", "mw-sync.io/source=regcred", "team=a"]);
        let annotations: Vec<_> = agent.annotations.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            annotations,
            [
                "mw-sync.io/copied=label:team".to_owned(),
                "mw-sync.io/origin=operator/regcred".to_owned(),
                format!("mw-sync.io/origin-uid={}", uid(1)),
            ]
        );
        let master = Template::new(&rules(Role::Master), source).desired(uid(1));
        assert_eq!(master.annotations[keys::SYNC], "yes");
        assert_eq!(master.annotations[keys::ORIGIN], "management/operator/regcred");
        assert_eq!(master.annotations[keys::COPIED], "label:team,annotation:mw-sync.io/sync");
    }

    #[test]
    fn an_agents_copy_of_a_masters_replica_remembers_where_that_came_from() {
        let at_the_master = object(Kind::Secret, "operator", "regcred", &[], &[("mw-sync", "yes")]);
        let pushed = Template::new(&rules(Role::Master), at_the_master).desired(uid(1));
        let mut there = object(Kind::Secret, "operator", "regcred", &[], &[]);
        (there.labels, there.annotations) = (pushed.labels, pushed.annotations);
        let copy = Template::new(&rules(Role::Agent), there).desired(uid(2));
        assert_eq!(copy.annotations[keys::UPSTREAM], "management/operator/regcred");
        assert_eq!(copy.annotations[keys::ORIGIN], "operator/regcred");
        assert!(!copy.annotations.contains_key(keys::SYNC), "an agent's replica never carries the switch");
    }

    #[test]
    fn another_incarnation_of_the_source_namespace_is_another_fingerprint() {
        let template = Template::new(&rules(Role::Agent), object(Kind::Secret, "operator", "a", &[], &[]));
        assert_ne!(template.desired(uid(1)).fingerprint, template.desired(uid(2)).fingerprint);
        assert_eq!(template.desired(uid(1)).fingerprint, template.desired(uid(1)).fingerprint);
    }

    #[test]
    fn a_long_name_makes_a_label_value_of_63_characters_of_its_own() {
        let (a, b) = (format!("{}a", "n".repeat(252)), format!("{}b", "n".repeat(252)));
        assert_eq!(label_value(&a).len(), 63);
        assert_ne!(label_value(&a), label_value(&b));
        assert_eq!(label_value("regcred"), "regcred");
    }
}
