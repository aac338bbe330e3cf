//! What is kept of our own writes.

use super::*;

#[test]
fn what_admission_changed_is_noticed_in_either_order() {
    let mut state = at_five();
    state.wrote(known(1, 6, "b"), Rv(5));
    shows(&mut state, 1, 6, "mutated");
    assert!(state.mutated, "reply first");
    shows(&mut state, 1, 9, "mutated");
    assert!(state.mutated, "touched, and still what admission made of it");
    shows(&mut state, 1, 10, "somebody");
    assert!(!state.mutated, "it is something else now");

    let mut state = at_five();
    shows(&mut state, 1, 6, "mutated");
    state.wrote(known(1, 6, "b"), Rv(6));
    assert!(state.mutated, "event first");

    let mut state = at_five();
    state.wrote(known(1, 5, "b"), Rv(5));
    assert!(state.mutated, "admission put it back to what it was: the same version");

    for (rv, value) in [(6, "b"), (7, "drift")] {
        let mut state = at_five();
        state.wrote(known(1, 6, "b"), Rv(5));
        shows(&mut state, 1, rv, value);
        assert!(!state.mutated, "{rv} {value}");
    }
}

#[test]
fn switched_off_holds_for_that_version_only() {
    let mut state = at_five();
    assert!(!state.is_switched_off());
    state.wrote_switch(uid(1), Rv(6));
    assert!(state.is_switched_off());
    assert!(shows(&mut state, 1, 6, "off"));
    assert!(state.is_switched_off(), "its own event");
    shows(&mut state, 1, 7, "on again by hand");
    assert!(!state.is_switched_off());
    state.wrote_switch(uid(1), Rv(7));
    assert!(state.is_switched_off(), "a patch that changes nothing makes no version");
}

#[test]
fn a_write_that_was_perhaps_done_is_remembered_for_as_long_as_it_may_be_on_its_way() {
    let (mut state, at) = (at_five(), Moment::from_secs);
    state.perhaps_wrote(Arc::clone(&desired("b").shape), at(100));
    shows(&mut state, 1, 6, "a");
    state.wrote(known(1, 7, "c"), Rv(6));
    assert!(state.perhaps(at(99)).is_some());
    assert!(state.perhaps(at(100)).is_none());
}
