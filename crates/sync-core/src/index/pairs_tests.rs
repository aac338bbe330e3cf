//! Replies and events in either order.

#[path = "pairs_write_tests.rs"]
mod writes;

use super::*;
use crate::contract::desired::Desired;
use crate::contract::marks::{End, Sighting};
use crate::contract::object::{Kind, Object, tests_support::object};
use crate::contract::rules::{Role, Rules};
use crate::contract::source::{Reading, Source};
use crate::contract::strip::StripList;
use crate::plan::Guard;

fn uid(n: u8) -> Uid {
    Uid::parse(&format!("00000000-0000-4000-8000-0000000000{n:02x}")).unwrap()
}

fn rules() -> Rules {
    Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).unwrap())
}

fn desired(value: &str) -> Desired {
    let mut source = object(Kind::Secret, "operator", "regcred", &[], &[("mw-sync", "yes")]);
    source.content.data.insert("k".into(), value.into());
    let Reading::On(template) = Source::read(&rules(), source).reading else { panic!() };
    template.desired(uid(200))
}

fn foreign(rv: u64) -> Foreign {
    let guard = Guard { uid: uid(77), rv: Rv(rv) };
    let (end, left) = (End::default(), Shape::default());
    Foreign { guard, has_labels: true, has_annotations: true, rival: false, was_ours: false, end, left, inside: None }
}

fn known(n: u8, rv: u64, value: &str) -> Replica {
    let Desired { fingerprint, shape, origin_uid, .. } = desired(value);
    Replica {
        uid: uid(n),
        rv: Rv(rv),
        fingerprint: Arc::new(fingerprint),
        shape,
        origin_uid: Some(Arc::new(origin_uid)),
        end: End::default(),
        alone: false,
    }
}

/// An event shows our replica.
fn shows(state: &mut PairState, n: u8, rv: u64, value: &str) -> bool {
    let desired = desired(value);
    let seen = Object {
        uid: uid(n),
        rv: Rv(rv),
        labels: desired.labels.clone(),
        annotations: desired.annotations.clone(),
        content: (*desired.content).clone(),
        ..object(Kind::Secret, "app", "regcred", &[], &[])
    };
    state.seen(&Sighting::read(&rules(), seen), Some(known(n, rv, value)))
}

/// An event shows somebody else's object with our label.
fn shows_foreign(state: &mut PairState, n: u8, rv: u64) -> bool {
    let seen = object(Kind::Secret, "app", "regcred", &[("mw-sync.io/managed-by", "agent")], &[]);
    state.seen(&Sighting::read(&rules(), Object { uid: uid(n), rv: Rv(rv), ..seen }), None)
}

fn word(state: &PairState) -> String {
    match state.there() {
        There::Absent => "absent".into(),
        There::Ours(replica) => format!("ours {}", replica.rv),
        There::Taken => "taken".into(),
        There::Foreign(_) => "foreign".into(),
        There::Awaited => "awaited".into(),
    }
}

/// A state in which version 5 of object 1 is known, from the watch.
fn at_five() -> PairState {
    let mut state = PairState::default();
    assert!(shows(&mut state, 1, 5, "a"));
    state
}

#[test]
fn the_table() {
    type Steps = fn(&mut PairState);
    let table: &[(&str, Steps, &str)] = &[
        ("the same event again", |s| assert!(!shows(s, 1, 5, "a")), "ours 5"),
        ("a newer event", |s| assert!(shows(s, 1, 6, "b")), "ours 6"),
        ("an older event", |s| assert!(!shows(s, 1, 4, "b")), "ours 5"),
        ("a reply", |s| s.wrote(known(1, 7, "b"), Rv(5)), "ours 7"),
        (
            "reply, older event",
            |s| {
                s.wrote(known(1, 7, "b"), Rv(5));
                assert!(!shows(s, 1, 6, "x"));
            },
            "ours 7",
        ),
        (
            "newer event, reply",
            |s| {
                shows(s, 1, 8, "x");
                s.wrote(known(1, 7, "b"), Rv(8));
            },
            "ours 8",
        ),
        ("gone", |s| s.gone(uid(1), Rv(90)), "absent"),
        ("an earlier object gone", |s| s.gone(uid(2), Rv(90)), "ours 5"),
        (
            "gone before the reply to an update",
            |s| {
                s.gone(uid(1), Rv(90));
                s.wrote(known(1, 7, "b"), Rv(8));
            },
            "absent",
        ),
        (
            "created and gone before the reply",
            |s| {
                s.gone(uid(1), Rv(90));
                shows(s, 2, 7, "b");
                s.gone(uid(2), Rv(90));
                s.wrote(known(2, 7, "b"), Rv(8));
            },
            "absent",
        ),
        (
            "marks off and on again before the reply",
            |s| {
                s.gone(uid(1), Rv(90));
                shows(s, 1, 9, "b");
            },
            "ours 9",
        ),
        ("deleted", |s| s.deleted(uid(1)), "absent"),
        (
            "deleted, older event",
            |s| {
                s.deleted(uid(1));
                assert!(!shows(s, 1, 5, "a"));
            },
            "absent",
        ),
        (
            "deleted, a new one by hand",
            |s| {
                s.deleted(uid(1));
                assert!(shows(s, 2, 9, "a"));
            },
            "ours 9",
        ),
        (
            "deleted, created, gone of the first",
            |s| {
                s.deleted(uid(1));
                s.wrote(known(2, 9, "a"), Rv(5));
                s.gone(uid(1), Rv(90));
            },
            "ours 9",
        ),
        ("deleted another", |s| s.deleted(uid(2)), "ours 5"),
        (
            "deleted, not in a later list",
            |s| {
                s.deleted(uid(1));
                s.unlisted(Rv(9), false);
                assert!(s.is_empty());
            },
            "absent",
        ),
        (
            "deleted, not in an earlier list",
            |s| {
                s.deleted(uid(1));
                s.unlisted(Rv(4), false);
                assert!(!shows(s, 1, 5, "a"), "its events are still to come");
            },
            "absent",
        ),
        ("not in a list", |s| assert!(s.unlisted(Rv(5), false)), "absent"),
        ("not in an earlier list", |s| assert!(!s.unlisted(Rv(4), false)), "ours 5"),
        ("not in an earlier list after a restore", |s| assert!(s.unlisted(Rv(4), true)), "absent"),
        ("foreign, by the watch", |s| assert!(shows_foreign(s, 1, 6)), "foreign"),
        (
            "foreign by the watch, gone",
            |s| {
                shows_foreign(s, 1, 6);
                s.gone(uid(1), Rv(90));
            },
            "absent",
        ),
        (
            "foreign by the watch, not in a list",
            |s| {
                shows_foreign(s, 1, 6);
                s.unlisted(Rv(9), false);
            },
            "absent",
        ),
        ("surprised", PairState::surprised, "taken"),
        (
            "surprised, then shown",
            |s| {
                s.surprised();
                shows(s, 1, 6, "b");
            },
            "ours 6",
        ),
        (
            "looked: nothing",
            |s| {
                s.ordered();
                s.looked_nothing();
            },
            "absent",
        ),
        (
            "shown while looking: nothing",
            |s| {
                s.ordered();
                shows(s, 2, 9, "a");
                s.looked_nothing();
            },
            "ours 9",
        ),
        (
            "looked: foreign",
            |s| {
                s.ordered();
                s.looked_foreign(foreign(9), false);
            },
            "foreign",
        ),
        (
            "shown while looking: foreign, older",
            |s| {
                s.ordered();
                shows(s, 2, 9, "a");
                s.looked_foreign(foreign(8), false);
            },
            "ours 9",
        ),
        (
            "foreign by a look, not in a list",
            |s| {
                s.looked_foreign(foreign(6), false);
                s.unlisted(Rv(9), false);
            },
            "foreign",
        ),
        (
            "foreign by a look, and only then shown to have lost our label",
            |s| {
                s.looked_foreign(foreign(6), false);
                s.gone(uid(77), Rv(6));
            },
            "foreign",
        ),
        (
            "foreign by a look, and only then shown as it was before",
            |s| {
                s.looked_foreign(foreign(6), false);
                assert!(!shows(s, 77, 5, "a"));
                assert!(!shows(s, 2, 3, "a"), "what stood there before it");
                s.gone(uid(2), Rv(4));
            },
            "foreign",
        ),
        (
            "foreign by a look and meanwhile by the watch, which shows its end",
            |s| {
                s.surprised();
                s.ordered();
                assert!(shows_foreign(s, 77, 6));
                s.looked_foreign(foreign(6), true);
                assert!(s.foreign().is_none());
            },
            "foreign",
        ),
        (
            "foreign by a look, and gone after that",
            |s| {
                s.looked_foreign(foreign(6), false);
                s.gone(uid(77), Rv(7));
            },
            "absent",
        ),
        ("looked: ours, to be shown", |s| s.looked_ours(uid(1), Rv(7), Rv(5)), "awaited"),
        (
            "awaited, older event",
            |s| {
                s.looked_ours(uid(1), Rv(7), Rv(5));
                shows(s, 1, 6, "b");
            },
            "awaited",
        ),
        (
            "awaited, event",
            |s| {
                s.looked_ours(uid(1), Rv(7), Rv(5));
                shows(s, 1, 7, "b");
            },
            "ours 7",
        ),
        (
            "awaited, gone",
            |s| {
                s.looked_ours(uid(1), Rv(7), Rv(5));
                s.gone(uid(1), Rv(90));
            },
            "absent",
        ),
        (
            "awaited, an earlier one gone",
            |s| {
                s.looked_ours(uid(2), Rv(7), Rv(5));
                s.gone(uid(1), Rv(90));
            },
            "awaited",
        ),
        (
            "awaited, not in a later list",
            |s| {
                s.looked_ours(uid(2), Rv(7), Rv(5));
                s.unlisted(Rv(8), false);
            },
            "absent",
        ),
        ("looked: ours, known", |s| s.looked_ours(uid(1), Rv(5), Rv(5)), "ours 5"),
        (
            "looked: ours, shown and gone since",
            |s| {
                s.gone(uid(1), Rv(90));
                s.looked_ours(uid(1), Rv(5), Rv(6));
            },
            "absent",
        ),
        (
            "looked: foreign, with our label, as the watch has shown",
            |s| {
                s.ordered();
                s.looked_foreign(foreign(9), true);
                s.doubt_again();
            },
            "foreign",
        ),
        (
            "the same, gone while looking",
            |s| {
                s.ordered();
                s.gone(uid(1), Rv(90));
                s.looked_foreign(foreign(9), true);
                s.doubt_again();
            },
            "taken",
        ),
        (
            "a retry looks at what is foreign",
            |s| {
                s.looked_foreign(foreign(6), false);
                s.doubt_again();
            },
            "taken",
        ),
        (
            "but not at what the watch shows",
            |s| {
                shows_foreign(s, 1, 6);
                s.doubt_again();
            },
            "foreign",
        ),
    ];
    for (situation, steps, wanted) in table {
        let mut state = at_five();
        steps(&mut state);
        assert_eq!(word(&state), *wanted, "{situation}");
    }
}

/// Of the 256 bytes that a replica may cost in all, its pair has a map's entry beside this.
#[test]
fn a_pair_is_small() {
    assert!(size_of::<PairState>() <= 104, "{} bytes", size_of::<PairState>());
}
