//! What the options of a source do at its destinations.

use super::test_stage::{at, done, idle, listed, namespace, order, replica, rules, shows, uid};
use super::*;
use crate::contract::keys;
use crate::contract::object::{Content, tests_support::object};
use crate::contract::options::OnDelete;
use crate::contract::patterns::Patterns;
use crate::contract::rules::Role;
use crate::contract::source::{Reading, Source};
use crate::order::{Looked, Metadata, Step};
use crate::plan::Inside;
use crate::reason::Reason;

fn desired(rules: &Rules, options: &[(&str, &str)]) -> Arc<Desired> {
    let annotations: Vec<_> = [("mw-sync", "yes")].into_iter().chain(options.iter().copied()).collect();
    let source = object(Kind::Secret, "operator", "a", &[], &annotations);
    let Reading::On(template) = Source::read(rules, source).reading else { panic!() };
    Arc::new(template.desired(uid(200)))
}

fn want(core: &mut Core, now: Moment, options: &[(&str, &str)]) -> Arc<Desired> {
    let desired = desired(&core.rules, options);
    core.on(now, Input::Sources(SourceNews::Want(desired.key.clone(), Want::On(Arc::clone(&desired)))));
    desired
}

fn off(core: &mut Core, now: Moment, how: Option<OnDelete>) {
    let key = desired(&core.rules, &[]).key.clone();
    core.on(now, Input::Sources(SourceNews::Want(key, Want::Off(how))));
}

fn labelled(core: &mut Core, now: Moment, name: &str, n: u8, label: &str) {
    let labels = [("env".to_owned(), label.to_owned())].into();
    core.on(now, Input::Dest(Feed::Applied(NamespaceSeen { labels, ..namespace(name, n, Destination::Open) })));
}

fn written(core: &mut Core, now: Moment, order: &Order, n: u8, rv: u64) {
    done(core, now, order, Ok(Reply::Written { uid: uid(n), rv: Rv(rv) }));
}

fn body(order: &Order) -> String {
    let (Step::Create(body) | Step::Update(body) | Step::Release(body) | Step::Adopt(body)) = &order.step else {
        panic!("{order:?}")
    };
    String::from_utf8(body.to_vec()).unwrap()
}

fn outcome(core: &Core) -> Outcome {
    core.pairs.values().next().map_or(Outcome::Nothing, |state| state.outcome)
}

#[test]
fn only_selected_namespaces_get_a_copy_and_a_label_opens_the_next() {
    let mut core = listed(&[], 2);
    want(&mut core, at(0), &[(keys::NAMESPACE_SELECTOR, "env=prod"), (keys::NAMESPACES, "n*")]);
    idle(&mut core, at(0));
    labelled(&mut core, at(1), "n1", 101, "prod");
    order(&mut core, at(1), "create n1/a");
    labelled(&mut core, at(1), "m", 102, "prod");
    idle(&mut core, at(1));
}

#[test]
fn what_is_selected_no_more_stays_for_the_grace_and_coming_back_costs_nothing() {
    let mut core = listed(&[], 1);
    want(&mut core, at(0), &[(keys::NAMESPACE_SELECTOR, "env=prod")]);
    labelled(&mut core, at(0), "n0", 100, "prod");
    let create = order(&mut core, at(0), "create n0/a");
    written(&mut core, at(0), &create, 1, 11);
    assert_eq!(core.tally().synced, 1);

    labelled(&mut core, at(100), "n0", 100, "dev");
    idle(&mut core, at(129));
    assert_eq!(outcome(&core), Outcome::Held(Reason::NotSelected));
    labelled(&mut core, at(129), "n0", 100, "prod");
    idle(&mut core, at(200));
    assert_eq!(core.wake_at(), None);

    // The grace begins anew.
    labelled(&mut core, at(300), "n0", 100, "dev");
    idle(&mut core, at(329));
    assert_eq!(core.wake_at(), Some(at(330)));
    let delete = order(&mut core, at(330), "delete n0/a");
    done(&mut core, at(330), &delete, Ok(Reply::Deleted));
    idle(&mut core, at(400));
    assert_eq!((core.wake_at(), core.tally()), (None, Tally::default()));
}

#[test]
fn without_a_grace_what_is_selected_no_more_goes_at_once() {
    let rules = Arc::new(Rules { delete_grace: Duration::ZERO, ..(*rules()).clone() });
    let mut core = Core { rules, ..listed(&[], 1) };
    want(&mut core, at(0), &[(keys::NAMESPACE_SELECTOR, "env=prod")]);
    labelled(&mut core, at(0), "n0", 100, "prod");
    let create = order(&mut core, at(0), "create n0/a");
    written(&mut core, at(0), &create, 1, 11);
    labelled(&mut core, at(1), "n0", 100, "dev");
    order(&mut core, at(1), "delete n0/a");
}

#[test]
fn a_freeze_takes_nothing_of_the_grace() {
    let mut core = listed(&[], 1);
    want(&mut core, at(0), &[]);
    let create = order(&mut core, at(0), "create n0/a");
    written(&mut core, at(0), &create, 1, 11);
    let elsewhere = [(keys::NAMESPACES, "other")];
    let frozen = desired(&core.rules, &elsewhere);
    core.on(at(10), Input::Sources(SourceNews::Want(frozen.key.clone(), Want::Frozen(frozen))));
    idle(&mut core, at(500));
    // What could not be understood is corrected, and only now the copy is known to be unwanted.
    want(&mut core, at(500), &elsewhere);
    idle(&mut core, at(529));
    assert_eq!(outcome(&core), Outcome::Held(Reason::NotSelected));
    order(&mut core, at(530), "delete n0/a");
}

#[test]
fn a_selection_that_changes_back_and_forth_while_something_is_due_gets_its_whole_grace() {
    let mut core = listed(&[], 1);
    want(&mut core, at(0), &[]);
    let create = order(&mut core, at(0), "create n0/a");
    written(&mut core, at(0), &create, 1, 11);
    want(&mut core, at(10), &[(keys::NAMESPACES, "other")]);
    idle(&mut core, at(10));
    // Back, and changed: an update is due, and before it has gone it is unselected again.
    want(&mut core, at(20), &[(keys::ON_DELETE, "retain")]);
    want(&mut core, at(25), &[(keys::NAMESPACES, "other")]);
    idle(&mut core, at(41));
    order(&mut core, at(55), "delete n0/a");
}

#[test]
fn what_stood_there_before_the_start_gets_the_grace_too() {
    let mut core = Core::new(rules(), Scope::Namespaces, 32, 1);
    core.on(at(0), Input::Sources(SourceNews::Namespace { uid: Some(uid(200)), deletes_frozen: false }));
    let a = want(&mut core, at(0), &[(keys::NAMESPACES, "other")]);
    core.on(at(0), Input::Sources(SourceNews::Complete));
    for kind in Kind::ALL {
        core.on(at(0), Input::Replica(kind, Feed::Init));
        if kind == Kind::Secret {
            core.on(at(0), Input::Replica(kind, Feed::Listed(replica(&a, "n0", 1, 5))));
        }
        core.on(at(0), Input::Replica(kind, Feed::InitDone(Rv(10))));
    }
    // The namespaces come last, and late.
    core.on(at(50), Input::Dest(Feed::Init));
    core.on(at(50), Input::Dest(Feed::Listed(namespace("n0", 100, Destination::Open))));
    core.on(at(50), Input::Dest(Feed::InitDone(Rv(1))));
    idle(&mut core, at(79));
    order(&mut core, at(80), "delete n0/a");
}

#[test]
fn excluded_namespaces_get_nothing() {
    let exclude_namespaces = Some(Patterns::parse("n1").unwrap());
    let rules = Arc::new(Rules { exclude_namespaces, ..(*rules()).clone() });
    let mut core = Core { rules, ..listed(&[], 2) };
    want(&mut core, at(0), &[]);
    order(&mut core, at(0), "create n0/a");
    idle(&mut core, at(0));
}

#[test]
fn retain_releases_and_the_source_takes_back() {
    let mut core = listed(&[], 1);
    let a = want(&mut core, at(0), &[(keys::ON_DELETE, "retain")]);
    let create = order(&mut core, at(0), "create n0/a");
    written(&mut core, at(0), &create, 1, 11);
    shows(&mut core, Feed::Applied(replica(&a, "n0", 1, 11)));
    // The source is gone: the replica remembers.
    off(&mut core, at(10), None);
    let release = order(&mut core, at(10), "release n0/a");
    for part in [
        r#"{"op":"test","path":"/metadata/resourceVersion","value":"11"}"#,
        r#"{"op":"remove","path":"/metadata/labels/mw-sync.io~1managed-by"}"#,
        r#"{"op":"remove","path":"/metadata/annotations/mw-sync.io~1origin"}"#,
        r#"{"op":"add","path":"/metadata/annotations/mw-sync.io~1released-from","value":"operator/a"}"#,
    ] {
        assert!(body(&release).contains(part), "{part} in {}", body(&release));
    }
    written(&mut core, at(10), &release, 1, 12);
    shows(&mut core, Feed::Gone(replica(&a, "n0", 1, 12)));
    idle(&mut core, at(100));
    assert_eq!(core.tally(), Tally::default());

    let a = want(&mut core, at(200), &[(keys::ON_DELETE, "retain")]);
    let create = order(&mut core, at(200), "create n0/a");
    done(&mut core, at(200), &create, Err(Fault::AlreadyExists));
    let look = order(&mut core, at(200), "look n0/a");
    let annotations: BTreeMap<_, _> = [(keys::RELEASED_FROM.to_owned(), "operator/a".to_owned())].into();
    let metadata = Metadata { uid: uid(1), rv: Rv(12), labels: BTreeMap::new(), annotations };
    let found = |inside| Ok(Reply::Looked(Some(Looked { metadata: metadata.clone(), inside })));
    done(&mut core, at(200), &look, found(None));
    let look = order(&mut core, at(200), "look-inside n0/a");
    let inside = Inside { payload: a.fingerprint.payload, secret_type: a.fingerprint.secret_type, immutable: false };
    done(&mut core, at(200), &look, found(Some(inside)));
    let back = order(&mut core, at(200), "adopt n0/a");
    assert!(body(&back).contains(r#"{"op":"add","path":"/metadata/labels","value":{}}"#), "{}", body(&back));
    assert!(body(&back).contains(r#""op":"remove","path":"/metadata/annotations/mw-sync.io~1released-from""#));
    assert!(!body(&back).contains(keys::ADOPTED.strip_prefix(keys::PREFIX).unwrap()), "{}", body(&back));
    written(&mut core, at(200), &back, 1, 13);
    idle(&mut core, at(300));
    assert_eq!(core.tally().synced, 1);
}

#[test]
fn what_was_adopted_is_followed_and_released_in_the_end() {
    let rules = Arc::new(Rules { allow_adopt: true, ..(*rules()).clone() });
    let mut core = Core { rules, ..listed(&[], 1) };
    let a = want(&mut core, at(0), &[(keys::ON_CONFLICT, "adopt")]);
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Err(Fault::AlreadyExists));
    let look = order(&mut core, at(0), "look-inside n0/a");
    let other = crate::contract::fingerprint::payload_digest(&Content::default());
    let inside = Inside { payload: other, secret_type: a.fingerprint.secret_type, immutable: false };
    let labels = [("theirs".to_owned(), "x".to_owned())].into();
    let metadata = Metadata { uid: uid(1), rv: Rv(5), labels, annotations: BTreeMap::new() };
    done(&mut core, at(0), &look, Ok(Reply::Looked(Some(Looked { metadata, inside: Some(inside) }))));
    let adopt = order(&mut core, at(0), "adopt n0/a");
    assert!(!body(&adopt).contains(r#""path":"/metadata/labels","#), "it has labels: {}", body(&adopt));
    assert!(body(&adopt).contains(r#""path":"/metadata/annotations/mw-sync.io~1adopted","value":"adopt""#));
    written(&mut core, at(0), &adopt, 1, 11);

    // An update keeps that in mind, before and after its event.
    want(&mut core, at(1), &[(keys::ON_CONFLICT, "adopt"), (keys::COPY_ANNOTATIONS, "mw")]);
    idle(&mut core, at(1));
    let a = want(&mut core, at(1), &[(keys::ON_CONFLICT, "adopt"), (keys::ON_DELETE, "retain")]);
    let update = order(&mut core, at(1), "update n0/a");
    written(&mut core, at(1), &update, 1, 12);
    off(&mut core, at(2), Some(OnDelete::Delete));
    order(&mut core, at(2), "release n0/a");
    drop(a);
}

#[test]
fn what_has_become_equal_is_adopted_after_the_look_that_finds_it_so() {
    let mut core = listed(&[], 1);
    let a = want(&mut core, at(0), &[(keys::ON_CONFLICT, "adopt-equal")]);
    let found = |rv, payload| {
        let inside = Inside { payload, secret_type: a.fingerprint.secret_type, immutable: false };
        let metadata = Metadata { uid: uid(1), rv: Rv(rv), labels: BTreeMap::new(), annotations: BTreeMap::new() };
        Ok(Reply::Looked(Some(Looked { metadata, inside: Some(inside) })))
    };
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Err(Fault::AlreadyExists));
    let look = order(&mut core, at(0), "look-inside n0/a");
    let other = Content { data: [("b".to_owned(), "Mg==".to_owned())].into(), ..Content::default() };
    done(&mut core, at(0), &look, found(15, crate::contract::fingerprint::payload_digest(&other)));
    idle(&mut core, at(0));
    assert_eq!(outcome(&core), Outcome::Refused(Reason::NotEqual));
    let due = core.wake_at().unwrap();
    let look = order(&mut core, due, "look-inside n0/a");
    done(&mut core, due, &look, found(16, a.fingerprint.payload));
    let adopt = order(&mut core, due, "adopt n0/a");
    written(&mut core, due, &adopt, 1, 17);
    idle(&mut core, at(1000));
    assert_eq!(core.tally().synced, 1);
}

#[test]
fn a_remote_cluster_is_selected_by_its_name_and_labels_as_they_change() {
    let rules = Rules::new(Role::Master, "operator", Some("m"), rules().strip.clone());
    let scope = Scope::One { namespace: "operator".into(), cluster: "prod-1".into() };
    let mut core = Core::new(Arc::new(rules), scope, 32, 1);
    let labels = |env: &str| Input::Labels([("env".to_owned(), env.to_owned())].into());
    core.on(at(0), labels("prod"));
    core.on(at(0), Input::Sources(SourceNews::Namespace { uid: Some(uid(200)), deletes_frozen: false }));
    want(&mut core, at(0), &[(keys::CLUSTERS, "prod-*"), (keys::CLUSTER_SELECTOR, "env=prod")]);
    core.on(at(0), Input::Sources(SourceNews::Complete));
    for kind in Kind::ALL {
        core.on(at(0), Input::Replica(kind, Feed::Init));
        core.on(at(0), Input::Replica(kind, Feed::InitDone(Rv(10))));
    }
    let create = order(&mut core, at(0), "create operator/a");
    written(&mut core, at(0), &create, 1, 11);
    core.on(at(10), labels("dev"));
    idle(&mut core, at(39));
    order(&mut core, at(40), "switch-off operator/a");
}
