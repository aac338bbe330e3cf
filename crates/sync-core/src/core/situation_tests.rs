//! Races that the model test meets too seldom, one at a time.

#[path = "backoff_tests.rs"]
mod backoff_tests;
#[path = "doubt_tests.rs"]
mod doubt_tests;
#[path = "lead_tests.rs"]
mod lead_tests;
#[path = "names_tests.rs"]
mod names_tests;
#[path = "replace_tests.rs"]
mod replace_tests;
#[path = "restored_tests.rs"]
mod restored_tests;
#[path = "rivals_tests.rs"]
mod rivals_tests;
#[path = "snapshot_tests.rs"]
mod snapshot_tests;

use super::test_stage::{
    at, desired, done, hangs, idle, listed, namespace, no_answer, order, replica, rules, shows, uid, want,
};
use super::*;
use crate::order::{Looked, Metadata, Step};
use crate::reason::Reason;

#[test]
fn the_end_of_the_old_namespace_does_not_close_the_new_one() {
    let mut core = listed(&["a"], 1);
    let create = order(&mut core, at(0), "create n0/a");
    core.on(at(0), Input::Dest(Feed::Gone(namespace("n0", 100, Destination::Leaving))));
    core.on(at(0), Input::Dest(Feed::Applied(namespace("n0", 150, Destination::Open))));
    idle(&mut core, at(0));
    done(&mut core, at(0), &create, Err(Fault::NamespaceTerminating));
    order(&mut core, at(0), "create n0/a");
}

#[test]
fn a_terminating_namespace_is_left_alone_until_its_event_and_then_the_next_is_served() {
    let mut core = listed(&["a", "b"], 1);
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Err(Fault::NamespaceTerminating));
    idle(&mut core, at(0));
    assert_eq!(core.tally(), Tally::default(), "nobody is told");
    core.on(at(0), Input::Dest(Feed::Gone(namespace("n0", 100, Destination::Leaving))));
    assert_eq!(core.wake_at(), None);
    core.on(at(0), Input::Dest(Feed::Applied(namespace("n0", 150, Destination::Open))));
    order(&mut core, at(0), "create n0/a");
    order(&mut core, at(0), "create n0/b");
}

/// One API server may be behind another: its answer is about what was, and no event comes.
#[test]
fn a_namespace_that_was_said_to_be_missing_and_is_not_is_tried_again_more_and_more_slowly() {
    let mut core = listed(&["a", "b"], 1);
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Err(Fault::NamespaceMissing));
    let mut now = at(0);
    for most in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        idle(&mut core, now);
        // The source changes meanwhile, which is no reason to try.
        want(&mut core, "a", &[("team", &most.to_string())]);
        idle(&mut core, now);
        let due = core.wake_at().unwrap();
        assert!(now + at(most) / 2 <= due && due <= now + at(most), "{now:?} {due:?}");
        now = due;
        let tries: Vec<_> = std::iter::from_fn(|| core.next(now)).collect();
        assert_eq!(tries.len(), 2);
        tries.iter().for_each(|order| done(&mut core, now, order, Err(Fault::NamespaceMissing)));
        assert_eq!(core.tally(), Tally::default());
    }
    now = core.wake_at().unwrap();
    while let Some(order) = core.next(now) {
        done(&mut core, now, &order, Ok(Reply::Written { uid: uid(1), rv: Rv(11) }));
    }
    assert_eq!((core.tally().synced, core.wake_at()), (2, None));
}

/// However many places it goes to, a version of a source is made into bytes once.
#[test]
fn all_copies_of_a_version_are_sent_the_same_bytes() {
    let mut core = listed(&["a"], 3);
    let mut bodies = |label: &str| {
        want(&mut core, "a", &[("team", label)]);
        let orders: Vec<_> = std::iter::from_fn(|| core.next(at(0))).collect();
        for (n, order) in (0..).zip(&orders) {
            done(&mut core, at(0), order, Ok(Reply::Written { uid: uid(n), rv: Rv(11) }));
        }
        let body = |order: Order| match order.step {
            Step::Create(body) | Step::Update(body) => body.as_ptr(),
            other => panic!("{other:?}"),
        };
        orders.into_iter().map(body).collect::<Vec<_>>()
    };
    for version in ["1", "2", "3"] {
        let bodies = bodies(version);
        assert!(bodies.len() == 3 && bodies.iter().all(|body| *body == bodies[0]), "{version}: {bodies:?}");
    }
}

/// Promise 9: another agent of this cluster has the label of our replicas on its own.
#[test]
fn copies_of_another_agent_are_neither_told_of_nor_kept() {
    let mut core = listed(&["a"], 1);
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Ok(Reply::Written { uid: uid(1), rv: Rv(11) }));
    let (tally, pairs) = (core.tally(), core.pairs.len());
    let theirs = Sighting { ours: None, ..replica(&desired("b", &[]), "n0", 2, 12) };
    for feed in [Feed::Applied(theirs.clone()), Feed::Applied(Sighting { rv: Rv(13), ..theirs.clone() })] {
        shows(&mut core, feed);
        idle(&mut core, at(0));
        assert_eq!((core.tally(), core.pairs.len(), core.sources.len()), (tally, pairs, 1));
    }
    // It is in the way of a source of that name, and the watch on replicas shows its end.
    want(&mut core, "b", &[]);
    let create = order(&mut core, at(0), "create n0/b");
    done(&mut core, at(0), &create, Err(Fault::AlreadyExists));
    let look = order(&mut core, at(0), "look n0/b");
    let metadata = Metadata {
        labels: [(crate::contract::keys::MANAGED_BY.to_owned(), "agent".to_owned())].into(),
        uid: uid(2),
        rv: Rv(13),
        annotations: BTreeMap::new(),
    };
    done(&mut core, at(0), &look, Ok(Reply::Looked(Some(Looked { metadata, inside: None }))));
    assert_eq!(core.tally().refused, 1);
    idle(&mut core, at(0));
    shows(&mut core, Feed::Gone(Sighting { rv: Rv(14), ..theirs }));
    order(&mut core, at(0), "create n0/b");
}

#[test]
fn a_deletion_in_a_terminating_namespace_is_no_sign_that_it_is_open() {
    let (mut core, b) = (listed(&["a"], 1), desired("b", &[]));
    let create = order(&mut core, at(0), "create n0/a");
    shows(&mut core, Feed::Applied(replica(&b, "n0", 2, 12)));
    core.on(at(0), Input::Sources(SourceNews::Want(b.key.clone(), Want::Off(None))));
    let delete = order(&mut core, at(0), "delete n0/b");
    done(&mut core, at(0), &create, Err(Fault::NamespaceTerminating));
    done(&mut core, at(0), &delete, Ok(Reply::Deleted));
    let due = core.wake_at().expect("it is tried again");
    order(&mut core, due, "create n0/a");
}

#[test]
fn what_the_watch_on_replicas_showed_of_the_next_namespace_is_kept() {
    let (mut core, a) = (listed(&["a"], 1), desired("a", &[]));
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Ok(Reply::Written { uid: uid(1), rv: Rv(11) }));
    // This watch is ahead: the old replica's end, and one that was made in the next namespace by a late request.
    shows(&mut core, Feed::Applied(replica(&a, "n0", 1, 11)));
    shows(&mut core, Feed::Gone(replica(&a, "n0", 1, 12)));
    let again = order(&mut core, at(0), "create n0/a");
    shows(&mut core, Feed::Applied(replica(&a, "n0", 2, 13)));
    done(&mut core, at(0), &again, hangs());
    core.on(at(0), Input::Dest(Feed::Gone(namespace("n0", 100, Destination::Leaving))));
    core.on(at(0), Input::Dest(Feed::Applied(namespace("n0", 150, Destination::Open))));
    idle(&mut core, at(100));
    assert_eq!(core.tally(), Tally { synced: 1, ..Tally::default() });
}

#[test]
fn a_namespace_is_forgotten_with_its_last_replica() {
    let (mut core, a) = (listed(&["a"], 1), desired("a", &[]));
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Ok(Reply::Written { uid: uid(1), rv: Rv(11) }));
    core.on(at(0), Input::Dest(Feed::Gone(namespace("n0", 100, Destination::Leaving))));
    assert_eq!((core.dests.len(), core.tally()), (1, Tally::default()));
    shows(&mut core, Feed::Gone(replica(&a, "n0", 1, 12)));
    // The end of something unknown makes nothing known.
    shows(&mut core, Feed::Gone(replica(&a, "n7", 9, 13)));
    assert_eq!((core.dests.len(), core.dest_ids.len(), core.pairs.len()), (0, 0, 0));
}

#[test]
fn a_foreign_object_that_was_touched_while_it_was_looked_at_is_looked_at_again() {
    let mut core = listed(&["a"], 1);
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Err(Fault::AlreadyExists));
    let look = order(&mut core, at(0), "look n0/a");
    want(&mut core, "a", &[("team", "x")]);
    let foreign = Metadata { uid: uid(9), rv: Rv(5), labels: BTreeMap::new(), annotations: BTreeMap::new() };
    done(&mut core, at(0), &look, Ok(Reply::Looked(Some(Looked { metadata: foreign, inside: None }))));
    idle(&mut core, at(0));
    let due = core.wake_at().unwrap();
    assert!(due < at(10));
    let look = order(&mut core, due, "look n0/a");
    done(&mut core, due, &look, Ok(Reply::Looked(None)));
    order(&mut core, due, "create n0/a");
}

#[test]
fn a_server_that_does_not_answer_is_left_alone_and_then_asked_once() {
    let mut core = listed(&["a"], 3);
    let orders = ["n0", "n1", "n2"].map(|place| order(&mut core, at(0), &format!("create {place}/a")));
    done(&mut core, at(4), &orders[0], no_answer());
    assert_eq!(core.cluster_fault().map(Fault::reason), Some("NoAnswer"));
    done(&mut core, at(4), &orders[1], no_answer());
    idle(&mut core, at(4));
    // Then one request at a time, and no moment that is past is named to wake at.
    let until = core.wake_at().unwrap();
    assert!(until > at(4));
    done(&mut core, at(4), &orders[2], no_answer());
    let probe = core.next(until).unwrap();
    idle(&mut core, until);
    assert!(core.wake_at().is_none_or(|wake| wake > until), "{:?}", core.wake_at());
    done(&mut core, until, &probe, Ok(Reply::Written { uid: uid(1), rv: Rv(11) }));
    assert!(core.cluster_fault().is_none() && core.next(until).is_some());
}

#[test]
fn namespaces_where_writes_hang_are_tried_one_by_one_and_are_not_the_cluster() {
    let mut core = listed(&["a"], 3);
    let orders = ["n0", "n1", "n2"].map(|place| order(&mut core, at(0), &format!("create {place}/a")));
    for order in &orders[..2] {
        done(&mut core, at(4), order, hangs());
        assert!(core.cluster_fault().is_none());
    }
    done(&mut core, at(4), &orders[2], Ok(Reply::Written { uid: uid(1), rv: Rv(11) }));
    // What is new goes where writes do not hang, and one of it to each of the others after a while. It says so already.
    want(&mut core, "b", &[]);
    want(&mut core, "c", &[]);
    order(&mut core, at(4), "create n2/b");
    order(&mut core, at(4), "create n2/c");
    idle(&mut core, at(4));
    let failed = |verdicts: &[Verdict]| verdicts.iter().filter(|verdict| verdict.reason == "WriteHangs").count();
    assert_eq!(failed(&core.verdicts()), 6);
    assert!(core.wake_at().is_some_and(|wake| wake <= at(5)));
    order(&mut core, at(5), "create n0/b");
    order(&mut core, at(5), "create n1/b");
    idle(&mut core, at(5));
}

#[test]
fn where_writes_hang_a_no_is_done_at_once_and_what_is_exempt_from_now_on_too() {
    let mut core = listed(&["a", "b"], 1);
    let [a, b] = ["create n0/a", "create n0/b"].map(|wanted| order(&mut core, at(0), wanted));
    done(&mut core, at(0), &a, Ok(Reply::Written { uid: uid(1), rv: Rv(11) }));
    done(&mut core, at(4), &b, hangs());
    core.on(at(4), Input::Sources(SourceNews::Want(desired("a", &[]).key.clone(), Want::Off(None))));
    order(&mut core, at(4), "delete n0/a");
    // Neither kept from the queue for ever nor tried before its time.
    want(&mut core, "b", &[("team", "x")]);
    idle(&mut core, at(4));
    let mut exempt = namespace("n0", 100, Destination::Open);
    exempt.labels.insert("webhook".to_owned(), "ignore".to_owned());
    core.on(at(4), Input::Dest(Feed::Applied(exempt)));
    order(&mut core, at(4), "create n0/b");
}

#[test]
fn a_server_that_has_said_nothing_and_lives_after_all_is_asked_for_everything_again() {
    let mut core = listed(&["a"], 3);
    let orders = ["n0", "n1", "n2"].map(|place| order(&mut core, at(0), &format!("create {place}/a")));
    orders.iter().for_each(|order| done(&mut core, at(4), order, no_answer()));
    let until = core.wake_at().unwrap();
    let probe = core.next(until).unwrap();
    idle(&mut core, until);
    done(&mut core, until, &probe, hangs());
    assert!(core.cluster_fault().is_none(), "the probe hangs, but the server lives");
    assert!(core.next(until).is_some(), "and is asked again");
}

#[test]
fn what_was_sent_before_the_pause_and_fails_after_it_is_no_second_failure() {
    let mut core = listed(&["a"], 5);
    let orders: Vec<_> = std::iter::from_fn(|| core.next(at(0))).collect();
    done(&mut core, at(1), &orders[0], Err(Fault::Odd(502)));
    let until = core.wake_at().unwrap();
    assert!(until <= at(2), "{until:?}");
    for order in &orders[1..] {
        done(&mut core, at(9), order, Err(Fault::Odd(502)));
    }
    let probe = core.next(at(9)).expect("no pause but the first");
    done(&mut core, at(10), &probe, Err(Fault::Odd(502)));
    let until = core.wake_at().unwrap();
    assert!(at(11) <= until && until <= at(12), "the second pause is up to 2 s: {until:?}");
}

#[test]
fn what_a_server_asks_for_is_bounded() {
    for (asked, least, most) in [(0, 1, 1), (7, 7, 7), (1_000_000, 60, 60)] {
        let mut core = listed(&["a"], 1);
        let create = order(&mut core, at(0), "create n0/a");
        done(&mut core, at(0), &create, Err(Fault::Throttled(Some(at(asked)))));
        let wake = core.wake_at().unwrap();
        assert!(at(least) <= wake && wake <= at(most), "{asked}: {wake:?}");
    }
}

#[test]
fn a_server_that_takes_some_gets_fewer_at_once_and_is_not_left_alone() {
    let mut core = listed(&["a"], 100);
    let orders: Vec<_> = std::iter::from_fn(|| core.next(at(0))).collect();
    assert_eq!(orders.len(), 31, "one slot is for a new namespace");
    let written = |n: u8| Ok(Reply::Written { uid: uid(n), rv: Rv(11) });
    done(&mut core, at(1), &orders[0], written(1));
    for order in &orders[1..] {
        done(&mut core, at(2), order, Err(Fault::Throttled(Some(at(1)))));
    }
    assert!(core.cluster_fault().is_none());
    // The others go on at once, half as many; those that were sent away come when the server has asked for them.
    let orders: Vec<_> = std::iter::from_fn(|| core.next(at(2))).collect();
    assert_eq!(orders.len(), 14);
    orders.iter().for_each(|order| done(&mut core, at(2), order, written(1)));
    assert_eq!(core.wake_at(), Some(at(3)));
    // One that takes none is left alone.
    let orders: Vec<_> = std::iter::from_fn(|| core.next(at(5))).collect();
    for order in &orders {
        done(&mut core, at(6), order, Err(Fault::Throttled(Some(at(1)))));
    }
    assert!(core.cluster_fault().is_some());
    idle(&mut core, at(6));
    assert_eq!(core.wake_at(), Some(at(7)));
}

#[test]
fn orphans_are_asked_about_once_and_any_of_them_tells_whose_they_are() {
    let a = desired("a", &[]);
    let unreadable = [Want::Frozen(Arc::clone(&a)), Want::Never, Want::Leaving(Reason::Leaving)];
    for want in unreadable.into_iter().map(Some).chain([None]) {
        let mut core = Core::new(rules(), Scope::Namespaces, 32, 1);
        core.on(at(0), Input::Sources(SourceNews::Namespace { uid: Some(uid(200)), deletes_frozen: false }));
        core.on(at(0), Input::Sources(SourceNews::Complete));
        if let Some(want) = &want {
            core.on(at(0), Input::Sources(SourceNews::Want(a.key.clone(), want.clone())));
        }
        shows(&mut core, Feed::Init);
        shows(&mut core, Feed::Listed(replica(&a, "n0", 1, 5)));
        assert!(core.take_asks().is_empty(), "not before the list is complete");
        let mut upstream = replica(&a, "n1", 2, 6);
        upstream.ours.as_mut().unwrap().upstream = true;
        shows(&mut core, Feed::Listed(upstream));
        shows(&mut core, Feed::InitDone(Rv(10)));
        assert_eq!(core.take_asks(), [(a.key.clone(), true)], "{want:?}");
        shows(&mut core, Feed::Applied(replica(&a, "n0", 1, 11)));
        assert!(core.take_asks().is_empty());
    }
}

#[test]
fn a_forgotten_source_is_off_until_its_last_replica_is_gone() {
    let (mut core, a) = (listed(&[], 1), desired("a", &[]));
    shows(&mut core, Feed::Applied(replica(&a, "n0", 1, 11)));
    assert_eq!(core.take_asks().len(), 1);
    core.on(at(0), Input::Sources(SourceNews::Want(a.key.clone(), Want::Off(None))));
    let delete = order(&mut core, at(0), "delete n0/a");
    done(&mut core, at(0), &delete, Err(Fault::Forbidden("no".into())));
    core.on(at(0), Input::Sources(SourceNews::Forgotten(a.key.clone())));
    assert!(core.take_asks().is_empty());
    let due = core.wake_at().unwrap();
    let delete = order(&mut core, due, "delete n0/a");
    done(&mut core, due, &delete, Ok(Reply::Deleted));
    shows(&mut core, Feed::Gone(replica(&a, "n0", 1, 12)));
    assert!(core.sources.is_empty() && core.source_ids.is_empty() && core.pairs.is_empty());
}

#[test]
fn a_cluster_is_not_said_to_fail_when_nothing_is_to_be_done_there_any_more() {
    let (mut core, a) = (listed(&["a"], 1), desired("a", &[]));
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Err(Fault::Unauthorised));
    assert_eq!(core.cluster_fault(), Some(&Fault::Unauthorised));
    let due = core.wake_at().unwrap();
    let create = order(&mut core, due, "create n0/a");
    assert!(core.cluster_fault().is_some(), "while it is tried again");
    done(&mut core, at(2), &create, Err(Fault::Unauthorised));
    core.on(at(3), Input::Sources(SourceNews::Want(a.key.clone(), Want::Off(None))));
    let due = core.wake_at().unwrap();
    idle(&mut core, due);
    assert_eq!(core.cluster_fault(), None);
}

#[test]
fn a_conflict_on_a_delete_is_tried_again_in_the_version_that_the_watch_shows() {
    let (mut core, a) = (listed(&[], 1), desired("a", &[]));
    shows(&mut core, Feed::Applied(replica(&a, "n0", 1, 11)));
    core.on(at(0), Input::Sources(SourceNews::Want(a.key.clone(), Want::Off(None))));
    for event_first in [true, false] {
        let delete = order(&mut core, at(0), "delete n0/a");
        let rv = if event_first { 12 } else { 13 };
        if event_first {
            shows(&mut core, Feed::Applied(replica(&a, "n0", 1, rv)));
        }
        done(&mut core, at(0), &delete, Err(Fault::Conflict));
        if !event_first {
            idle(&mut core, at(0));
            shows(&mut core, Feed::Applied(replica(&a, "n0", 1, rv)));
        }
    }
    let delete = order(&mut core, at(0), "delete n0/a");
    let Step::Delete(body) = &delete.step else { panic!() };
    assert!(String::from_utf8(body.to_vec()).unwrap().contains(r#""resourceVersion":"13""#));
}
