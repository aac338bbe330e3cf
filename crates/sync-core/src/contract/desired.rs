//! What every replica of one version of a source looks like.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest as _, Sha256};

use super::body::Bodies;
use super::fingerprint::{Digest, Fingerprint, Shape, payload_digest};
use super::keys;
use super::object::{Content, Object, SourceKey, Uid};
use super::options::{OnDelete, Options};
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
    options: Arc<Options>,
}

impl Template {
    /// What copies of this object carry: its labels less the strip list, our marks, its content, the annotations that it
    /// names; a master's also the options, for the agent there, and `switch`, whatever spelling stands on the source.
    pub(super) fn new(rules: &Rules, object: Object, options: Options, switch: String) -> Self {
        let key = SourceKey { kind: object.kind, name: object.name.as_str().into() };
        let from_master = object.labels.get(keys::MANAGED_BY).is_some_and(|by| by == Role::Master.as_str());

        let mut labels: BTreeMap<_, _> =
            object.labels.into_iter().filter(|(label, _)| !rules.strip.strips(label)).collect();
        let carried = |key: &String| match rules.role {
            Role::Master => is_for_agents(key) || options.copy_annotations.contains(key),
            Role::Agent => options.copy_annotations.contains(key),
        };
        let mut upstream = None;
        let mut annotations = BTreeMap::new();
        for (key, value) in object.annotations {
            if key == keys::ORIGIN {
                upstream = Some(value);
            } else if carried(&key) && !rules.switches.contains(&key) {
                annotations.insert(key, value);
            }
        }
        match rules.role {
            Role::Master => drop(annotations.insert(keys::SYNC.to_owned(), switch)),
            Role::Agent => {
                if options.on_delete == OnDelete::Retain {
                    // The source may be gone when it matters.
                    annotations.insert(keys::ON_DELETE.to_owned(), "retain".to_owned());
                }
                if let (true, Some(origin)) = (from_master, upstream) {
                    annotations.insert(keys::UPSTREAM.to_owned(), origin);
                }
            }
        }
        let shape =
            Shape { labels: labels.keys().cloned().collect(), annotations: annotations.keys().cloned().collect() };

        labels.insert(keys::MANAGED_BY.to_owned(), rules.role.as_str().to_owned());
        labels.insert(keys::SOURCE.to_owned(), label_value(&key.name));
        annotations.insert(keys::ORIGIN.to_owned(), rules.origin(&key));
        annotations.insert(keys::COPIED.to_owned(), shape.to_annotation());
        let payload = payload_digest(&object.content);
        let (shape, content, options) = (Arc::new(shape), Arc::new(object.content), Arc::new(options));
        Self { key, labels, annotations, shape, content, payload, options }
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
            options: Arc::clone(&self.options),
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
    /// What else the source asks for.
    pub options: Arc<Options>,
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

/// What a master's replica carries for the agent there: the options as they stand, also those that cannot be read or are
/// not known, so that the agent freezes too and does not take what it cannot see for the default.
pub(super) fn is_for_agents(key: &str) -> bool {
    key.starts_with(keys::PREFIX) && !keys::MARKS_ON_SOURCE.contains(&key) && !keys::OPTIONS_OF_MASTER.contains(&key)
}

/// A label value that names the source: the name itself up to 63 characters, else its first 54, `-` and 8 hex
/// digits of its SHA-256 (63 is the limit of a label value).
pub fn label_value(name: &str) -> String {
    if name.len() <= 63 {
        return name.to_owned();
    }
    let start: String = name.chars().take(54).collect();
    format!("{start}-{}", short_hash(name))
}

/// 8 hex digits of a text's SHA-256: for names that had to be changed or cut.
pub fn short_hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::object::{Kind, tests_support::object};
    use crate::contract::source::{Reading, Source};
    use crate::contract::strip::StripList;

    fn rules(role: Role) -> Rules {
        let cluster = (role == Role::Master).then_some("management");
        Rules::new(role, "operator", cluster, StripList::with::<&str>(&[]).unwrap())
    }

    fn template(role: Role, source: Object) -> Arc<Template> {
        match Source::read(&rules(role), source).reading {
            Reading::On(template) | Reading::Frozen(template, _) => template,
            other => panic!("{other:?}"),
        }
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
        let agent = template(Role::Agent, source.clone()).desired(uid(1));
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
        let master = template(Role::Master, source).desired(uid(1));
        assert_eq!(master.annotations[keys::SYNC], "yes");
        assert_eq!(master.annotations[keys::ORIGIN], "management/operator/regcred");
        assert_eq!(master.annotations[keys::COPIED], "label:team,annotation:mw-sync.io/sync");
    }

    #[test]
    fn an_agents_copy_of_a_masters_replica_remembers_where_that_came_from() {
        let at_the_master = object(Kind::Secret, "operator", "regcred", &[], &[("mw-sync", "yes")]);
        let pushed = template(Role::Master, at_the_master).desired(uid(1));
        let mut there = object(Kind::Secret, "operator", "regcred", &[], &[]);
        (there.labels, there.annotations) = (pushed.labels, pushed.annotations);
        let copy = template(Role::Agent, there).desired(uid(2));
        assert_eq!(copy.annotations[keys::UPSTREAM], "management/operator/regcred");
        assert_eq!(copy.annotations[keys::ORIGIN], "operator/regcred");
        assert!(!copy.annotations.contains_key(keys::SYNC), "an agent's replica never carries the switch");
    }

    #[test]
    fn a_masters_replica_carries_the_options_for_the_agent_there() {
        let options = [
            ("mw-sync", "on"),
            (keys::NAMESPACES, "team-*"),
            (keys::CLUSTERS, "prod-*"),
            (keys::COPY_ANNOTATIONS, "note"),
            ("note", "n"),
            ("other", "o"),
        ];
        let source = || object(Kind::Secret, "operator", "regcred", &[], &options);
        let pushed = template(Role::Master, source()).desired(uid(1));
        assert_eq!(pushed.annotations[keys::NAMESPACES], "team-*");
        assert_eq!(pushed.annotations["note"], "n");
        assert_eq!(pushed.annotations[keys::SYNC], "yes");
        for absent in [keys::CLUSTERS, "other", "mw-sync"] {
            assert!(!pushed.annotations.contains_key(absent), "{absent}");
        }
        let copy = template(Role::Agent, source()).desired(uid(1));
        let keys: Vec<_> = copy.annotations.keys().map(String::as_str).collect();
        assert_eq!(keys, [keys::COPIED, keys::ORIGIN, keys::ORIGIN_UID, "note"]);
    }

    #[test]
    fn what_the_master_cannot_read_goes_to_the_agent_as_it_stands() {
        // Else the agent would take the missing restriction for none.
        for odd in [("mw-sync.io/nmespaces", "team-*"), (keys::NAMESPACES, "Team"), ("mw-sync.io/sync", "maybe")] {
            let source = object(Kind::Secret, "operator", "regcred", &[], &[("mw-sync", "yes"), odd]);
            let pushed = template(Role::Master, source).desired(uid(1));
            assert_eq!(pushed.annotations[odd.0], odd.1);
            let mut there = object(Kind::Secret, "operator", "regcred", &[], &[]);
            (there.labels, there.annotations) = (pushed.labels, pushed.annotations);
            let reading = Source::read(&rules(Role::Agent), there).reading;
            assert!(matches!(reading, Reading::Frozen(..)), "{odd:?}");
        }
    }

    #[test]
    fn retain_is_remembered_on_the_replica() {
        let source = object(Kind::Secret, "operator", "a", &[], &[("mw-sync", "yes"), (keys::ON_DELETE, "retain")]);
        let copy = template(Role::Agent, source).desired(uid(1));
        assert_eq!(copy.annotations[keys::ON_DELETE], "retain");
        assert_eq!(copy.annotations[keys::COPIED], "annotation:mw-sync.io/on-delete");
    }

    #[test]
    fn another_incarnation_of_the_source_namespace_is_another_fingerprint() {
        let template = template(Role::Agent, object(Kind::Secret, "operator", "a", &[], &[("mw-sync", "yes")]));
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
