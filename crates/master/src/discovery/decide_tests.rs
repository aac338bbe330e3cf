use serde_json::json;

use super::*;
use crate::remote::crd::EksCluster;

const DAY: i64 = 24 * 3600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn asked() -> Asked<'static> {
    Asked { name: "fleet", namespace: "operator", manual: false }
}

fn found(name: &str) -> Found {
    let arn = format!("arn:aws:eks:eu-west-1:111122223333:cluster/{name}");
    let role_arn = Some("arn:aws:iam::111122223333:role/mw-sync".to_owned());
    let way = Way::Eks(EksCluster { arn, role_arn, external_id: None });
    Found { name: name.to_owned(), way, labels: [("env".to_owned(), "prod".to_owned())].into() }
}

/// As it was made, in the list of all that there are.
fn ours(names: &[&str]) -> Existing {
    names.iter().map(|name| ((*name).to_owned(), Arc::new(made(asked(), &found(name))))).collect()
}

fn change(existing: &mut Existing, name: &str, change: impl FnOnce(&mut RemoteCluster)) {
    change(Arc::make_mut(existing.get_mut(name).unwrap()));
}

fn by_person(cluster: &mut RemoteCluster) {
    cluster.metadata.labels = None;
    cluster.metadata.annotations = None;
}

fn all(names: &[&str]) -> Vec<Found> {
    names.iter().map(|name| found(name)).collect()
}

fn decided(found: &[Found], existing: &Existing) -> Decision {
    decide(asked(), found, Whole::Now, existing, at(0))
}

fn deletes(decision: &Decision) -> Vec<&str> {
    let deletes = decision.actions.iter().filter(|action| matches!(action, Action::Delete(..)));
    deletes.map(Action::name).collect()
}

#[test]
fn what_is_found_is_made_once() {
    let decision = decided(&all(&["a", "b"]), &ours(&["a"]));
    let [Action::Create(made)] = &decision.actions[..] else { panic!("{decision:?}") };
    let made = serde_json::to_value(made).unwrap();
    assert_eq!(made["metadata"]["labels"], json!({ "env": "prod", "mw-sync.io/discovered-by": "fleet" }));
    assert_eq!(made["metadata"]["annotations"], json!({ "mw-sync.io/labels-from-tags": "env" }));
    let eks = json!({
        "arn": "arn:aws:eks:eu-west-1:111122223333:cluster/b", "roleArn": "arn:aws:iam::111122223333:role/mw-sync"
    });
    assert_eq!(made["spec"], json!({ "eks": eks, "namespace": "operator", "suspend": false, "onRemove": "Retain" }));
    assert_eq!(decision.clusters, Clusters { found: 2, ..Clusters::default() });
    // And then nothing is to be done.
    let decision = decided(&all(&["a", "b"]), &ours(&["a", "b"]));
    assert_eq!(decision.actions, []);
}

#[test]
fn with_manual_approval_new_ones_wait_and_are_asked_about_once() {
    let manual = Asked { manual: true, ..asked() };
    let decision = decide(manual, &all(&["a"]), Whole::Now, &Existing::new(), at(0));
    let [Action::Create(made)] = &decision.actions[..] else { panic!("{decision:?}") };
    assert!(made.spec.suspend);
    let mut existing: Existing = [("a".to_owned(), Arc::new((**made).clone()))].into();
    assert_eq!(decide(manual, &all(&["a"]), Whole::Now, &existing, at(0)).clusters.suspended, 1);
    change(&mut existing, "a", |cluster| cluster.spec.suspend = false);
    assert_eq!(decide(manual, &all(&["a"]), Whole::Now, &existing, at(0)).actions, []);
}

#[test]
fn what_is_ours_follows_and_what_is_a_persons_stays() {
    let mut existing = ours(&["a"]);
    change(&mut existing, "a", |cluster| {
        cluster.spec.suspend = true;
        cluster.spec.on_remove = OnRemove::Delete;
        cluster.spec.proxy_url = Some("http://proxy:3128".to_owned());
        cluster.metadata.labels.as_mut().unwrap().insert("theirs".to_owned(), "x".to_owned());
    });
    assert_eq!(decided(&all(&["a"]), &existing).actions, []);
    // Another role, another value of a tag, and a tag less.
    let mut changed = found("a");
    let Way::Eks(eks) = &mut changed.way else { panic!() };
    (eks.role_arn, eks.external_id) = (None, Some("id".to_owned()));
    changed.labels = [("team".to_owned(), "x".to_owned())].into();
    let decision = decided(&[changed], &existing);
    let [Action::Update(name, patch)] = &decision.actions[..] else { panic!("{decision:?}") };
    let arn = "arn:aws:eks:eu-west-1:111122223333:cluster/a";
    let expected = json!({
        "metadata": {
            "labels": { "env": null, "team": "x" }, "annotations": { "mw-sync.io/labels-from-tags": "team" }
        },
        "spec": { "eks": { "arn": arn, "roleArn": null, "externalId": "id" } },
    });
    assert_eq!((name.as_str(), patch), ("a", &expected));
}

fn mark(existing: &mut Existing, name: &str, since: &str, at: &str) {
    change(existing, name, |cluster| {
        let marks = [(owned::NOT_LISTED_SINCE, since), (owned::NOT_LISTED_AT, at)];
        let marks = marks.map(|(key, value)| (key.to_owned(), value.to_owned()));
        cluster.metadata.annotations.as_mut().unwrap().extend(marks);
    });
}

fn marks(since: Option<&str>, at: Option<&str>) -> Value {
    let mut marks = json!({ "mw-sync.io/not-listed-at": at });
    if let Some(since) = since {
        marks["mw-sync.io/not-listed-since"] = since.into();
    }
    json!({ "metadata": { "annotations": marks } })
}

#[test]
fn what_is_not_listed_goes_after_a_day() {
    let names = ["a", "b", "c", "d"];
    let (mut existing, left) = (ours(&names), all(&names[..3]));
    let decision = decided(&left, &existing);
    let [Action::NotListed(name, patch)] = &decision.actions[..] else { panic!("{decision:?}") };
    let begin = "2027-01-15T08:00:00Z";
    assert_eq!((name.as_str(), patch), ("d", &marks(Some(begin), Some(begin))));
    assert_eq!((decision.clusters.found, decision.clusters.not_listed), (3, 1));
    assert_eq!(decision.leaving, ["d"]);
    for (second, gone) in [(0, false), (DAY - 1, false), (DAY, true), (DAY + 3600, true)] {
        mark(&mut existing, "d", begin, &owned::written(at((second - 60).max(0))));
        let decision = decide(asked(), &left, Whole::Now, &existing, at(second));
        assert_eq!(deletes(&decision), if gone { vec!["d"] } else { vec![] }, "{second}");
        // Only a list that is whole and new tells.
        for whole in [Whole::Not, Whole::Before] {
            assert_eq!(decide(asked(), &left, whole, &existing, at(second)).actions, []);
        }
    }
    // It is back.
    let decision = decide(asked(), &all(&names), Whole::Now, &existing, at(9 * DAY));
    let back = json!({ "metadata": { "annotations": {
        "mw-sync.io/not-listed-since": null, "mw-sync.io/not-listed-at": null
    } } });
    assert_eq!(decision.actions, [Action::Update("d".to_owned(), back)]);
    assert!(decision.leaving.is_empty());
    // A clock that was ahead, and a mark that somebody has spoilt: the day begins anew.
    for odd in ["2031-01-01T00:00:00Z", "yesterday", ""] {
        for (since, at_) in [(odd, begin), (begin, odd)] {
            mark(&mut existing, "d", since, at_);
            let decision = decide(asked(), &left, Whole::Now, &existing, at(60));
            assert!(
                matches!(&decision.actions[..], [Action::NotListed(name, _)] if name == "d"),
                "{odd}: {decision:?}"
            );
        }
    }
}

/// Two looks with a day between them say nothing of the day.
#[test]
fn it_must_have_been_looked_for_all_the_day() {
    const HOUR: i64 = 3600;
    let names = ["a", "b", "c", "d"];
    let (mut existing, left) = (ours(&names), all(&names[..3]));
    let since = owned::written(at(0));
    for (last, now) in [(0, DAY), (0, 2 * HOUR + 1), (DAY - HOUR, DAY + 2 * HOUR), (23 * HOUR, 9 * DAY)] {
        mark(&mut existing, "d", &since, &owned::written(at(last)));
        let decision = decide(asked(), &left, Whole::Now, &existing, at(now));
        let anew = owned::written(at(now));
        assert_eq!(
            decision.actions,
            [Action::NotListed("d".to_owned(), marks(Some(&anew), Some(&anew)))],
            "{last} {now}"
        );
    }
    // Looked for every ten minutes: two writes in an hour, and it goes when the day is over and not before.
    mark(&mut existing, "d", &since, &since);
    let mut writes = 0;
    for second in (0..).step_by(600) {
        let decision = decide(asked(), &left, Whole::Now, &existing, at(second));
        match &decision.actions[..] {
            [] => {}
            [Action::StillNotListed(_, patch)] => {
                writes += 1;
                assert_eq!(*patch, marks(None, Some(&owned::written(at(second)))));
                mark(&mut existing, "d", &since, &owned::written(at(second)));
            }
            [Action::Delete(..)] => {
                assert_eq!((second, writes), (DAY, 47));
                break;
            }
            other => panic!("{second}: {other:?}"),
        }
    }
    // Many that are missing at once are held, and then the day begins anew.
    let decision = decide(asked(), &[], Whole::Now, &existing, at(DAY));
    let held = decision.actions.iter().all(|action| {
        let Action::Hold(_, patch) = action else { return false };
        patch["metadata"]["annotations"][owned::NOT_LISTED_AT].is_null()
    });
    assert!(held && decision.actions.len() == 4 && decision.leaving.is_empty(), "{decision:?}");
}

#[test]
fn a_list_that_fails_is_empty_or_has_lost_too_many_takes_nothing_away() {
    let names: Vec<_> = (0..10).map(|n| format!("c-{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut existing = ours(&names);
    for name in &names {
        change(&mut existing, name, |cluster| {
            let marks = [(owned::NOT_LISTED_SINCE, -9 * DAY), (owned::NOT_LISTED_AT, -60)];
            let marks = marks.map(|(key, second)| (key.to_owned(), owned::written(at(second))));
            cluster.metadata.annotations.as_mut().unwrap().extend(marks);
        });
    }
    for (left, whole, lost) in [
        (0, Whole::Not, None),
        (9, Whole::Not, None),
        (0, Whole::Before, Some(10)),
        (9, Whole::Before, None),
        (0, Whole::Now, Some(10)),
        (1, Whole::Now, Some(9)),
        (6, Whole::Now, Some(4)),
        (7, Whole::Now, None),
        (10, Whole::Now, None),
    ] {
        let found = all(&names[..left]);
        let decision = decide(asked(), &found, whole, &existing, at(0));
        let shrunk = lost.map(|lost| Shrunk { lacks: existing.keys().skip(10 - lost).cloned().collect(), of: 10 });
        assert_eq!(decision.shrunk, shrunk, "{left} {whole:?}");
        let gone = if whole == Whole::Now && lost.is_none() { 10 - left } else { 0 };
        assert_eq!(deletes(&decision).len(), gone, "{left} {whole:?}");
        let marks = decision.actions.iter().filter(|action| matches!(action, Action::NotListed(..)));
        assert_eq!(marks.count(), 0, "{left} {whole:?}");
    }
    // Those of others do not count.
    change(&mut existing, "c-0", by_person);
    let other = |cluster: &mut RemoteCluster| {
        cluster.metadata.labels.as_mut().unwrap().insert(owned::LABEL.to_owned(), "other".to_owned());
    };
    change(&mut existing, "c-1", other);
    let decision = decide(asked(), &all(&["c-2", "c-3", "c-4", "c-5", "c-6", "c-7"]), Whole::Now, &existing, at(0));
    assert_eq!(deletes(&decision), ["c-8", "c-9"]);
    // A single one that is lost is more than 30 % of three.
    let decision = decided(&all(&["a", "b"]), &ours(&["a", "b", "c"]));
    assert_eq!(decision.shrunk, Some(Shrunk { lacks: vec!["c".to_owned()], of: 3 }));
}

/// The next look has the same list, and what the one before it has made.
#[test]
fn new_clusters_do_not_make_the_lost_ones_few() {
    let lost: Vec<_> = (0..10).map(|n| format!("lost-{n}")).collect();
    let new: Vec<_> = (0..30).map(|n| format!("new-{n}")).collect();
    let [lost, new] = [&lost, &new].map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut existing = ours(&lost);
    let decision = decided(&all(&new), &existing);
    let held = decision.actions.iter().filter(|action| matches!(action, Action::Hold(..)));
    assert_eq!((held.count(), decision.actions.len()), (10, 40));
    for name in &lost {
        let mark = (owned::LIST_SHRUNK.to_owned(), owned::written(at(0)));
        change(&mut existing, name, |cluster| cluster.metadata.annotations.as_mut().unwrap().extend([mark]));
    }
    existing.extend(ours(&new));
    let decision = decide(asked(), &all(&new), Whole::Now, &existing, at(9 * DAY));
    assert_eq!((decision.actions, decision.shrunk.map(|shrunk| shrunk.lacks.len())), (vec![], Some(10)));
    // Found again, it is as any other.
    let back: Vec<_> = new.iter().chain(&lost).copied().collect();
    let decision = decided(&all(&back), &existing);
    let cleared = |action: &Action| matches!(action, Action::Update(_, patch) if patch["metadata"]["annotations"][owned::LIST_SHRUNK].is_null());
    assert!(decision.actions.len() == 10 && decision.actions.iter().all(cleared), "{decision:?}");
}

#[test]
fn one_that_was_copied_under_another_name_leads_to_what_is_found() {
    let mut existing = ours(&["a", "b", "c", "d"]);
    let copy = Arc::clone(&existing["a"]);
    existing.insert("mine".to_owned(), copy);
    let decision = decide(asked(), &all(&["a", "b", "c", "d"]), Whole::Now, &existing, at(9 * DAY));
    assert_eq!((decision.actions, decision.clusters.not_listed), (vec![], 0));
}

#[test]
fn what_a_person_has_made_wins() {
    // Under the name of ours, or another one.
    for name in ["a", "mine"] {
        let mut existing = ours(&["a"]);
        change(&mut existing, "a", by_person);
        let mine = existing.remove("a").unwrap();
        existing.insert(name.to_owned(), mine);
        let decision = decided(&all(&["a"]), &existing);
        assert_eq!((decision.actions.len(), decision.refused.len(), decision.clusters.by_hand), (0, 0, 1), "{name}");
    }
    // After ours.
    let mut existing = ours(&["a", "mine"]);
    change(&mut existing, "mine", |cluster| {
        by_person(cluster);
        cluster.spec = made(asked(), &found("a")).spec;
        cluster.spec.suspend = true;
    });
    let goes = |decision: Decision| deletes(&decision) == ["a"] && decision.refused.is_empty();
    assert!(goes(decided(&all(&["a"]), &existing)));
    // Also when the list is old or has failed in part.
    assert!(goes(decide(asked(), &all(&["a"]), Whole::Not, &existing, at(0))));
    let mut keeps = existing.clone();
    change(&mut keeps, "a", |cluster| cluster.spec.on_remove = OnRemove::Delete);
    assert_eq!(decided(&all(&["a"]), &keeps).actions, [], "its copies would go with it");
    // Another namespace there is another destination, and one that goes is none.
    for aside in [
        |cluster: &mut RemoteCluster| cluster.spec.namespace = "other".to_owned(),
        |cluster: &mut RemoteCluster| {
            let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0));
            cluster.metadata.deletion_timestamp = Some(time);
        },
    ] {
        let mut existing = existing.clone();
        change(&mut existing, "mine", aside);
        assert_eq!(decided(&all(&["a"]), &existing).actions, []);
    }
}

#[test]
fn a_name_that_is_taken_is_refused_and_says_by_whom() {
    let reasons = |existing: &Existing, found: &[Found]| {
        let decision = decided(found, existing);
        assert_eq!(decision.clusters.refused, 1);
        decision.refused[0].to_string()
    };
    let elsewhere = |cluster: &mut RemoteCluster| cluster.spec = made(asked(), &found("b")).spec;
    let mut existing = ours(&["a"]);
    change(&mut existing, "a", |cluster| {
        by_person(cluster);
        elsewhere(cluster);
    });
    assert_eq!(reasons(&existing, &all(&["a"])), "RemoteCluster a leads elsewhere: delete it, or call it otherwise");
    let mut existing = ours(&["a"]);
    change(&mut existing, "a", elsewhere);
    assert!(reasons(&existing, &all(&["a"])).contains("leads elsewhere"));
    let mut existing = ours(&["a"]);
    change(&mut existing, "a", |cluster| {
        cluster.metadata.labels.as_mut().unwrap().insert(owned::LABEL.to_owned(), "other".to_owned());
    });
    assert!(reasons(&existing, &all(&["a"])).contains("is kept by ClusterDiscovery other"));
    let decision = decided(&all(&["a", "a"]), &Existing::new());
    assert_eq!((decision.actions.len(), &decision.refused[..]), (1, &[Refusal::Twice("a".to_owned())][..]));
}

#[test]
fn one_that_is_being_deleted_is_left_alone() {
    let mut existing = ours(&["a", "b", "c", "d"]);
    let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0));
    for name in ["a", "d"] {
        change(&mut existing, name, |cluster| cluster.metadata.deletion_timestamp = Some(time.clone()));
    }
    let decision = decided(&all(&["a", "b", "c"]), &existing);
    assert_eq!((decision.actions.len(), decision.refused.len(), decision.clusters.not_listed), (0, 0, 0));
}
