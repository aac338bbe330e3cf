use super::*;
use proptest::prelude::*;

fn annotations(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn read(list: &[(&str, &str)]) -> (Options, Option<BadOption>) {
    Options::read(Kind::Secret, Some("kubernetes.io/dockerconfigjson"), &annotations(list))
}

#[test]
fn without_annotations_everything_has_its_default() {
    let (options, bad) = read(&[]);
    assert_eq!((&options, bad), (&Options::default(), None));
    assert!(options.namespaces.selects("anything", &BTreeMap::new()));
}

#[test]
fn each_option_is_read() {
    let (options, bad) = read(&[
        ("mw-sync.io/clusters", "prod-*"),
        ("mw-sync.io/cluster-selector", "env=prod"),
        ("mw-sync.io/namespaces", "team-*, !team-x"),
        ("mw-sync.io/namespace-selector", "!legacy"),
        ("mw-sync.io/on-conflict", " adopt-equal "),
        ("mw-sync.io/on-delete", "retain"),
        ("mw-sync.io/copy-annotations", "a, b.c/d"),
        ("mw-sync.io/image-pull-secret", "default,build-*"),
    ]);
    assert_eq!(bad, None);
    assert_eq!(options.clusters.names, Some(Patterns::parse("prod-*").unwrap()));
    assert_eq!(options.clusters.labels, Some(Selector::parse("env=prod").unwrap()));
    assert_eq!(options.on_conflict, OnConflict::AdoptEqual);
    assert_eq!(options.on_delete, OnDelete::Retain);
    assert_eq!(options.copy_annotations, ["a".to_owned(), "b.c/d".to_owned()].into());
    assert_eq!(options.image_pull_secret, Some(Patterns::parse("default,build-*").unwrap()));
    for (name, labels, selected) in [
        ("team-a", vec![], true),
        ("team-x", vec![], false),
        ("app", vec![], false),
        ("team-a", vec![("legacy", "yes")], false),
    ] {
        assert_eq!(options.namespaces.selects(name, &annotations(&labels)), selected, "{name} {labels:?}");
    }
}

#[test]
fn what_cannot_be_read_says_what_was_expected_and_shows_the_value() {
    let table = [
        (
            "clusters",
            "",
            "annotation mw-sync.io/clusters is \"\": an entry is empty; write names or globs, separated by commas, with ! before what to leave out, like team-*,!team-x",
        ),
        ("namespaces", "Team", "'T' cannot be part of a name; write names or globs"),
        ("cluster-selector", "", "it is empty; write a label selector as kubectl takes it"),
        ("namespace-selector", "a b", "after \"a b\" should come an operator"),
        (
            "on-conflict",
            "overwrite",
            "annotation mw-sync.io/on-conflict is \"overwrite\": write refuse, adopt-equal or adopt",
        ),
        ("on-delete", "keep", "write delete or retain"),
        ("copy-annotations", "a,,b", "\"\" is no annotation key"),
        ("copy-annotations", "mw-sync.io/origin", "mw-sync.io/origin is ours and is never copied"),
        ("copy-annotations", "kubectl.kubernetes.io/last-applied-configuration", "holds the whole object"),
        ("image-pull-secret", "a b", "' ' cannot be part of a name"),
    ];
    for (key, value, text) in table {
        let (_, bad) = read(&[(&format!("mw-sync.io/{key}"), value)]);
        let shown = bad.unwrap().to_string();
        assert!(shown.contains(text), "{shown}");
    }
}

#[test]
fn only_a_registry_credential_pulls_images() {
    let asked = annotations(&[("mw-sync.io/image-pull-secret", "default")]);
    for (kind, secret_type, can) in [
        (Kind::Secret, Some("kubernetes.io/dockerconfigjson"), true),
        (Kind::Secret, Some("kubernetes.io/dockercfg"), true),
        (Kind::Secret, Some("Opaque"), false),
        (Kind::ConfigMap, None, false),
    ] {
        let (options, bad) = Options::read(kind, secret_type, &asked);
        assert_eq!((options.image_pull_secret.is_some(), bad.is_none()), (can, can), "{kind} {secret_type:?}");
    }
}

#[test]
fn an_on_delete_that_cannot_be_read_deletes_nothing() {
    let (options, bad) = read(&[("mw-sync.io/on-delete", "keep"), ("mw-sync.io/namespaces", "a")]);
    assert!(bad.is_some());
    assert_eq!(options.on_delete, OnDelete::Retain);
    assert!(options.namespaces.names.is_some(), "the others are read nevertheless");
    assert!(Options::on_delete(&annotations(&[("mw-sync.io/on-delete", "keep")])).is_err());
    assert_eq!(Options::on_delete(&annotations(&[])), Ok(OnDelete::Delete));
}

#[test]
fn the_nearest_key() {
    assert_eq!(nearest("mw-sync.io/nmespaces"), Some("mw-sync.io/namespaces"));
    assert_eq!(nearest("mw-sync.io/namespace"), Some("mw-sync.io/namespaces"));
    assert_eq!(nearest("mw-sync.io/onConflict"), Some("mw-sync.io/on-conflict"));
    assert_eq!(nearest("mw-sync.io/sycn"), Some("mw-sync.io/sync"));
    assert_eq!(nearest("mw-sync.io/priority"), None);
}

proptest! {
    #[test]
    fn reading_never_panics(values in prop::collection::vec((0..keys::OPTIONS.len(), "\\PC{0,40}|[a-z*?!,=() ]{0,20}"), 0..8)) {
        let annotations = values.into_iter().map(|(key, value)| (keys::OPTIONS[key].to_owned(), value)).collect();
        let (options, bad) = Options::read(Kind::Secret, Some("kubernetes.io/dockercfg"), &annotations);
        let _ = options.namespaces.selects("app", &annotations);
        prop_assert!(bad.is_none_or(|bad| bad.to_string().len() < 700));
    }
}
