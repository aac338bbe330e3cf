//! Whose replica an object is.

use std::collections::BTreeMap;

use super::desired::is_for_agents;
use super::fingerprint::{Fingerprint, Shape, payload_digest};
use super::keys;
use super::object::{Object, Rv, SourceKey, Uid};
use super::options::{OnDelete, Options};
use super::rules::{Role, Rules};
use crate::mutants::{self, Mutant};

/// A replica of ours as a list or watch showed it, without its bytes.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The destination: a namespace.
    pub namespace: String,
    /// The source that it names.
    pub source: SourceKey,
    /// `None` for an object that carries the label of our replicas but is none: its marks were edited, or it was
    /// copied by hand. It is somebody else's.
    pub ours: Option<Ours>,
    /// Its uid.
    pub uid: Uid,
    /// Its resourceVersion.
    pub rv: Rv,
    /// The last field manager besides us, at most [`MANAGER_LIMIT`] bytes of its name.
    pub manager: Option<String>,
}

/// Longest name of a field manager that is kept; API servers take 128.
pub const MANAGER_LIMIT: usize = 64;

/// What we keep of a replica of ours.
#[derive(Clone, Debug)]
pub struct Ours {
    /// What it looks like.
    pub fingerprint: Fingerprint,
    /// The keys that were copied to it.
    pub shape: Shape,
    /// The incarnation of the source namespace that made it; `None` if the mark is missing or unreadable.
    pub origin_uid: Option<Uid>,
    /// Whether its source was a master's replica.
    pub upstream: bool,
    /// How it ends.
    pub end: End,
    /// Nobody has added anything to it: no label, annotation or field besides ours.
    pub alone: bool,
}

/// What a replica remembers about its end, for the source may be gone then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Its source had `on-delete: retain`, or a value that cannot be read.
    pub retain: bool,
    /// It was taken over with `on-conflict: adopt`.
    pub adopted: bool,
}

impl End {
    /// That of a replica which is written with these options.
    pub fn of(options: &Options, adopted: bool) -> Self {
        Self { retain: options.on_delete == OnDelete::Retain, adopted }
    }

    /// Reads it from the annotations of a replica.
    pub fn read(annotations: &BTreeMap<String, String>) -> Self {
        Self {
            retain: !matches!(Options::on_delete(annotations), Ok(OnDelete::Delete)),
            adopted: annotations.get(keys::ADOPTED).is_some_and(|how| how != ADOPTED_EQUAL),
        }
    }
}

/// The value of [`keys::ADOPTED`] on what was equal when it was taken over.
pub const ADOPTED_EQUAL: &str = "adopt-equal";
/// The value of [`keys::ADOPTED`] on what was taken over with `adopt`. Any other value counts as this one.
pub const ADOPTED: &str = "adopt";

/// Whether an object of this kind and name, with these labels and annotations, is a replica of ours: managed by this
/// controller, the origin names our source namespace (and cluster), the object's name is the origin's.
pub fn is_ours(
    rules: &Rules,
    key: &SourceKey,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> bool {
    labels.get(keys::MANAGED_BY).is_some_and(|by| by == rules.role.as_str())
        && annotations.get(keys::ORIGIN).is_some_and(|origin| *origin == rules.origin(key))
}

/// Whether an object was our replica of this source, until it was released: it may be taken back.
pub fn was_ours(
    rules: &Rules,
    key: &SourceKey,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> bool {
    !labels.contains_key(keys::MANAGED_BY)
        && annotations.get(keys::RELEASED_FROM).is_some_and(|origin| *origin == rules.origin(key))
}

/// The options that stand on an object which a master takes over, from before it was released or from whoever used it
/// as a source there. As a replica it has those of its source and no others: the agent there would follow them.
pub fn options_left(rules: &Rules, annotations: &BTreeMap<String, String>) -> Shape {
    let left = annotations.keys().filter(|key| rules.role == Role::Master && is_for_agents(key));
    Shape { labels: Vec::new(), annotations: left.cloned().collect() }
}

/// Whether nobody has added anything to a replica of ours: it has our marks, what was copied and no other label,
/// annotation or field. So nothing is lost if exactly this version is overwritten.
fn is_alone(object: &Object, shape: &Shape) -> bool {
    let ours = |marks: &[&str], copied: &[String], map: &BTreeMap<String, String>| {
        map.keys().all(|key| marks.contains(&key.as_str()) || copied.contains(key))
    };
    let alone = !object.more
        && ours(&[keys::MANAGED_BY, keys::SOURCE], &shape.labels, &object.labels)
        && ours(&[keys::ORIGIN, keys::ORIGIN_UID, keys::COPIED], &shape.annotations, &object.annotations);
    alone || mutants::has(Mutant::AdditionsIgnored)
}

impl Sighting {
    /// Reads an object that our replica watch delivered.
    pub fn read(rules: &Rules, object: Object) -> Self {
        let source = SourceKey { kind: object.kind, name: object.name.as_str().into() };
        let ours = is_ours(rules, &source, &object.labels, &object.annotations).then(|| {
            let copied = object.annotations.get(keys::COPIED).map_or("", String::as_str);
            let shape = Shape::from_annotation(copied);
            let payload = payload_digest(&object.content);
            Ours {
                fingerprint: Fingerprint::of(&object.labels, &object.annotations, &object.content, payload, &shape),
                origin_uid: object.annotations.get(keys::ORIGIN_UID).and_then(|uid| Uid::parse(uid)),
                // A mark of agents: on a master's replica somebody else has put it there.
                upstream: rules.role == Role::Agent && object.annotations.contains_key(keys::UPSTREAM),
                end: End::read(&object.annotations),
                alone: is_alone(&object, &shape),
                shape,
            }
        });
        Self { namespace: object.namespace, source, ours, uid: object.uid, rv: object.rv, manager: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::contract::desired::Desired;
    use crate::contract::object::{Kind, tests_support::object};
    use crate::contract::source::{Reading, Source};
    use crate::contract::strip::StripList;

    #[test]
    fn a_master_leaves_no_option_of_another_on_what_it_takes_over() {
        let annotations = [
            (keys::NAMESPACES, "a"),
            ("mw-sync.io/typo", "x"),
            (keys::RELEASED_FROM, "management/operator/a"),
            (keys::CLUSTERS, "b"),
            ("note", "n"),
        ];
        let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let rules = |role, cluster| Rules::new(role, "operator", cluster, StripList::with::<&str>(&[]).unwrap());
        let left = options_left(&rules(Role::Master, Some("management")), &annotations);
        assert_eq!(left.to_annotation(), "annotation:mw-sync.io/namespaces,annotation:mw-sync.io/typo");
        assert_eq!(options_left(&rules(Role::Agent, None), &annotations), Shape::default());
    }

    /// What a source wants, and its replica in another namespace.
    fn wanted_and_replica(rules: &Rules) -> (Desired, Object) {
        let source = object(Kind::Secret, "operator", "regcred", &[("team", "a")], &[("mw-sync", "yes")]);
        let Reading::On(template) = Source::read(rules, source.clone()).reading else { panic!() };
        let desired = template.desired(source.uid);
        let (labels, annotations) = (desired.labels.clone(), desired.annotations.clone());
        (desired, Object { namespace: "app".into(), labels, annotations, ..source })
    }

    #[test]
    fn a_replica_reads_back_as_what_was_wanted_and_a_stranger_does_not() {
        let rules = Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).unwrap());
        let (desired, replica) = wanted_and_replica(&rules);
        let uid = replica.uid;
        let seen = Sighting::read(&rules, replica.clone()).ours.unwrap();
        assert_eq!(
            (seen.fingerprint, &seen.shape, seen.origin_uid),
            (desired.fingerprint.clone(), &*desired.shape, Some(uid))
        );

        for (key, value) in [(keys::ORIGIN, "operator/other"), (keys::ORIGIN, "elsewhere/regcred")] {
            let mut other = replica.clone();
            other.annotations.insert(key.into(), value.into());
            assert!(Sighting::read(&rules, other).ours.is_none(), "{value}");
        }
        let mut masters = replica;
        masters.labels.insert(keys::MANAGED_BY.into(), "master".into());
        assert!(Sighting::read(&rules, masters).ours.is_none());
    }

    /// In a remote cluster anybody may add it; the end of a source is for the management cluster to tell.
    #[test]
    fn only_an_agents_replica_tells_of_a_masters() {
        for (role, cluster, upstream) in [(Role::Agent, None, true), (Role::Master, Some("management"), false)] {
            let rules = Rules::new(role, "operator", cluster, StripList::with::<&str>(&[]).unwrap());
            let (_, mut replica) = wanted_and_replica(&rules);
            replica.annotations.insert(keys::UPSTREAM.to_owned(), "x".to_owned());
            assert_eq!(Sighting::read(&rules, replica).ours.map(|ours| ours.upstream), Some(upstream));
        }
    }

    /// Labels or annotations, some of them ours or stripped.
    fn pairs(value: &'static str) -> impl Strategy<Value = BTreeMap<String, String>> {
        let marks = [keys::MANAGED_BY, keys::SOURCE, keys::ORIGIN, keys::ORIGIN_UID, keys::COPIED, keys::UPSTREAM];
        let known = select([&marks[..], &["helm.sh/chart", keys::COPY_ANNOTATIONS, keys::ON_DELETE, "note"]].concat());
        let key = prop_oneof![known.prop_map(str::to_owned), "[a-z]{1,6}(/[a-zA-Z0-9._-]{1,9})?"];
        btree_map(key, value, 0..7)
    }

    proptest! {
        /// Whatever stands on a source, its copies are known as ours and as they are wanted, or it makes none.
        #[test]
        fn what_is_written_reads_back(
            role in select(vec![Role::Agent, Role::Master]),
            name in "[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?",
            labels in pairs("[A-Za-z0-9_.-]{0,9}"),
            annotations in pairs("(retain|note|[ -~,:*]{0,12})"),
            data in btree_map("[a-z.]{1,5}", "[A-Za-z0-9+/]{0,8}", 0..3),
        ) {
            let cluster = (role == Role::Master).then_some("management");
            let rules = Rules::new(role, "operator", cluster, StripList::with::<&str>(&[]).unwrap());
            let mut source = object(Kind::Secret, "operator", &name, &[], &[]);
            (source.labels, source.annotations, source.content.data) = (labels, annotations, data);
            source.annotations.insert("mw-sync".to_owned(), "yes".to_owned());
            let uid = source.uid;
            if let Reading::On(template) | Reading::Frozen(template, _) = Source::read(&rules, source.clone()).reading {
                let desired = template.desired(uid);
                let (labels, annotations) = (desired.labels.clone(), desired.annotations.clone());
                let seen = Sighting::read(&rules, Object { namespace: "app".into(), labels, annotations, ..source }).ours;
                let seen = seen.expect("it is ours");
                prop_assert_eq!((&seen.fingerprint, &seen.shape), (&desired.fingerprint, &*desired.shape));
                prop_assert_eq!((seen.origin_uid, seen.alone), (Some(uid), true));
                prop_assert_eq!(seen.end, End::of(&desired.options, false));
            }
        }

        #[test]
        fn nothing_that_stands_on_an_object_is_too_odd_to_be_read(labels in pairs(".*"), annotations in pairs(".*")) {
            let rules = Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).unwrap());
            let mut odd = object(Kind::ConfigMap, "app", "regcred", &[], &[]);
            (odd.labels, odd.annotations) = (labels, annotations);
            let seen = Sighting::read(&rules, odd.clone());
            prop_assert_eq!(seen.ours.is_some(), is_ours(&rules, &seen.source, &odd.labels, &odd.annotations));
        }
    }
}
