//! Nothing is said to be in place that is not, at no moment of a change.

use super::test_stage::{at, desired, done, idle, listed, order, uid, want};
use super::*;

fn version(rv: u64) -> Version {
    Version { uid: uid(7), rv: Rv(rv) }
}

fn told(core: &mut Core, rv: u64) {
    core.on(at(0), Input::Sources(SourceNews::Version(desired("a", &[]).key.clone(), version(rv))));
}

/// Synced, pending and refused, of the version that is acted on.
fn stands(core: &Core) -> (Option<u64>, [u32; 3]) {
    let standings = core.standings(PLACES);
    assert!(standings.ready);
    let [standing] = &standings.sources[..] else { panic!("{standings:?}") };
    let Tally { synced, pending, refused } = standing.tally;
    (standing.version.map(|version| version.rv.0), [synced, pending, refused])
}

#[test]
fn a_new_version_is_pending_everywhere_from_the_moment_that_it_is_told() {
    let mut core = listed(&["a"], 2);
    told(&mut core, 5);
    assert_eq!(stands(&core), (Some(5), [0, 2, 0]));
    for n in 0..2 {
        let create = order(&mut core, at(0), &format!("create n{n}/a"));
        assert_eq!(stands(&core), (Some(5), [n.into(), 2 - u32::from(n), 0]));
        done(&mut core, at(0), &create, Ok(Reply::Written { uid: uid(n), rv: Rv(20) }));
    }
    idle(&mut core, at(0));
    assert_eq!(stands(&core), (Some(5), [2, 0, 0]));

    // Another content, whose version comes a moment later: no version is claimed in between.
    want(&mut core, "a", &[("team", "x")]);
    assert_eq!(stands(&core), (None, [0, 2, 0]));
    told(&mut core, 6);
    assert_eq!(stands(&core), (Some(6), [0, 2, 0]));
}

#[test]
fn a_version_that_asks_for_the_same_is_in_place_at_once() {
    let mut core = listed(&["a"], 0);
    told(&mut core, 5);
    let changes = core.changes();
    told(&mut core, 6);
    assert_eq!(stands(&core), (Some(6), [0, 0, 0]));
    assert!(core.changes() > changes, "whoever waits for the version must hear of it");
}

#[test]
fn before_the_lists_nothing_is_said_to_be_complete() {
    let core = Core::new(test_stage::rules(), Scope::Namespaces, 32, 1);
    assert_eq!(core.standings(PLACES), Standings::default());
}

#[test]
fn each_place_says_what_the_server_said_of_it() {
    let rejected = |text: &str| Err(Fault::Rejected(text.to_owned()));
    let mut core = listed(&["a"], 3);
    let orders = ["n0", "n1", "n2"].map(|place| order(&mut core, at(0), &format!("create {place}/a")));
    for (order, text) in orders.iter().zip(["the quota", "the policy", "the policy"]) {
        done(&mut core, at(0), order, rejected(text));
    }
    let said = |core: &Core| {
        let standings = core.standings(usize::MAX);
        standings.sources[0].places.iter().map(|place| place.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(said(&core), ["rejected: the quota", "rejected: the policy", "rejected: the policy"]);
    // A retry may be told something else, and its success ends it.
    let retries: [(_, &[&str]); 2] = [
        (rejected("the webhook"), &["rejected: the same", "rejected: the webhook", "rejected: the same"]),
        (Ok(Reply::Written { uid: uid(1), rv: Rv(20) }), &["rejected: the same", "rejected: the same"]),
    ];
    for (result, expected) in retries {
        let at = core.wake_at().expect("they are tried again") + at(300);
        while let Some(order) = core.next(at) {
            let again = if *order.namespace == *"n1" { result.clone() } else { rejected("the same") };
            done(&mut core, at, &order, again);
        }
        assert_eq!(said(&core), expected);
    }
}

#[test]
fn a_server_that_says_something_else_of_every_place_is_not_remembered_word_by_word() {
    let mut core = listed(&["a"], 100);
    let mut told = 0;
    while let Some(order) = core.next(at(0)) {
        told += 1;
        done(&mut core, at(0), &order, Err(Fault::Rejected(format!("for the {told}th time"))));
    }
    let standings = core.standings(usize::MAX);
    let places = &standings.sources[0].places;
    let kept = places.iter().filter(|place| !place.message.is_empty()).count();
    assert_eq!((told, places.len(), kept), (100, 100, tally::TEXTS));
}
