//! Which form an update has: a PUT of the version that is known, or a JSON Patch.

use super::*;
use crate::contract::keys;
use crate::contract::object::{Object, tests_support::object};
use serde_json::Value;

/// The replica, as a watch shows it after somebody has changed it.
fn shown(core: &mut Core, desired: &Desired, rv: u64, change: impl FnOnce(&mut Object)) {
    let mut object = Object {
        uid: uid(1),
        rv: Rv(rv),
        labels: desired.labels.clone(),
        annotations: desired.annotations.clone(),
        content: (*desired.content).clone(),
        ..object(Kind::Secret, "n0", &desired.key.name, &[], &[])
    };
    change(&mut object);
    shows(core, Feed::Applied(Sighting::read(&rules(), object)));
}

/// What a PUT is sent with; `None` for a JSON Patch.
fn put(order: &Order) -> Option<Value> {
    match &order.step {
        Step::Replace(body) => Some(serde_json::from_slice(body).unwrap()),
        Step::Update(_) => None,
        other => panic!("{other:?}"),
    }
}

/// An update of a replica that was last shown so.
fn update(change: impl FnOnce(&mut Object)) -> Option<Value> {
    let (mut core, a) = (listed(&["a"], 1), desired("a", &[("team", "x")]));
    shown(&mut core, &a, 11, change);
    want(&mut core, "a", &[("tier", "y")]);
    put(&order(&mut core, at(0), "update n0/a"))
}

#[test]
fn what_nobody_has_added_to_is_replaced_in_the_version_that_is_known() {
    let body = update(|_| ()).unwrap();
    let metadata = &body["metadata"];
    assert_eq!((&metadata["uid"], &metadata["resourceVersion"]), (&uid(1).to_string().into(), &"11".into()));
    assert_eq!(metadata["labels"]["tier"], "y");
    assert!(metadata["labels"]["team"].is_null(), "dropped at the source");
    assert_eq!((&metadata["name"], &body["type"], &body["data"]["k"]), (&"a".into(), &"Opaque".into(), &"dg==".into()));
    // What is repaired is nobody's.
    let drift = |object: &mut Object| drop(object.content.data.insert("more".into(), "dg==".into()));
    assert!(update(drift).is_some());
    assert!(update(|object| drop(object.labels.remove("team"))).is_some());
}

/// Promise 1, and what others add is left alone.
#[test]
fn what_somebody_has_added_to_is_patched() {
    assert!(update(|object| drop(object.labels.insert("theirs".into(), String::new()))).is_none());
    assert!(update(|object| drop(object.annotations.insert("theirs".into(), String::new()))).is_none());
    assert!(update(|object| object.more = true).is_none(), "a finalizer, for one");
    assert!(update(|object| drop(object.annotations.insert(keys::ADOPTED.into(), "adopt".into()))).is_none());
    // Of another incarnation of the source namespace: taken over.
    let other = uid(9).to_string();
    assert!(update(|object| drop(object.annotations.insert(keys::ORIGIN_UID.into(), other))).is_none());
}

#[test]
fn what_our_own_write_has_made_is_not_known_to_be_alone_until_it_is_shown() {
    let mut core = listed(&["a"], 1);
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Ok(Reply::Written { uid: uid(1), rv: Rv(11) }));
    want(&mut core, "a", &[("team", "x")]);
    let patch = order(&mut core, at(0), "update n0/a");
    assert!(put(&patch).is_none(), "admission may have added something");
    done(&mut core, at(0), &patch, Ok(Reply::Written { uid: uid(1), rv: Rv(12) }));
    shown(&mut core, &desired("a", &[("team", "x")]), 12, |_| ());
    want(&mut core, "a", &[("team", "y")]);
    assert!(put(&order(&mut core, at(0), "update n0/a")).is_some());
}

/// Promise 4: one request more, and no look.
#[test]
fn a_put_that_is_too_late_is_followed_by_a_patch() {
    for heard in [false, true] {
        let (mut core, a) = (listed(&["a"], 1), desired("a", &[]));
        shown(&mut core, &a, 11, |_| ());
        want(&mut core, "a", &[("team", "x")]);
        let first = order(&mut core, at(0), "update n0/a");
        assert!(put(&first).is_some());
        if heard {
            shown(&mut core, &a, 12, |_| ());
        }
        done(&mut core, at(0), &first, Err(Fault::Conflict));
        let second = order(&mut core, at(0), "update n0/a");
        assert!(put(&second).is_none(), "whoever is so busy there may add something");
        done(&mut core, at(0), &second, Ok(Reply::Written { uid: uid(1), rv: Rv(13) }));
        idle(&mut core, at(0));
    }
}

#[test]
fn a_write_without_an_answer_is_followed_by_a_patch() {
    let (mut core, a) = (listed(&["a"], 1), desired("a", &[]));
    shown(&mut core, &a, 11, |_| ());
    want(&mut core, "a", &[("team", "x")]);
    let first = order(&mut core, at(0), "update n0/a");
    done(&mut core, at(0), &first, hangs());
    want(&mut core, "a", &[("tier", "y")]);
    assert!(put(&order(&mut core, at(1), "update n0/a")).is_none());
}
