//! Writes and deletes of which it is not known what came of them.

use super::*;

#[test]
fn keys_of_a_write_that_was_perhaps_done_are_taken_away() {
    let mut core = listed(&["a"], 1);
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Ok(Reply::Written { uid: uid(1), rv: Rv(11) }));
    want(&mut core, "a", &[("team", "x")]);
    let update = order(&mut core, at(0), "update n0/a");
    done(&mut core, at(0), &update, hangs());
    // Its event has not come, and the label is wanted no more: the replica as it is known has it not.
    want(&mut core, "a", &[("tier", "y")]);
    let update = order(&mut core, at(1), "update n0/a");
    let Step::Update(body) = &update.step else { panic!() };
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(body.contains(r#""op":"remove","path":"/metadata/labels/team""#), "{body}");
}

#[test]
fn a_write_that_is_late_may_be_done_after_the_next_one() {
    for fault in [
        Fault::NoAnswer("cut".into()),
        Fault::Hangs("cut".into()),
        Fault::Unavailable { code: 500, message: "timed out".into() },
        Fault::Odd(403),
    ] {
        let mut core = listed(&["a"], 1);
        let create = order(&mut core, at(0), "create n0/a");
        done(&mut core, at(0), &create, Ok(Reply::Written { uid: uid(1), rv: Rv(11) }));
        want(&mut core, "a", &[("team", "x")]);
        let update = order(&mut core, at(0), "update n0/a");
        done(&mut core, at(0), &update, Err(fault));
        let drops_the_label = |core: &mut Core, now: Moment, rv: u64| {
            let update = order(core, now, "update n0/a");
            done(core, now, &update, Ok(Reply::Written { uid: uid(1), rv: Rv(rv) }));
            let Step::Update(body) = &update.step else { panic!() };
            let body = String::from_utf8(body.to_vec()).unwrap();
            body.contains(r#""op":"remove","path":"/metadata/labels/team""#)
        };
        want(&mut core, "a", &[("tier", "y")]);
        assert!(drops_the_label(&mut core, at(2), 12));
        want(&mut core, "a", &[("tier", "z")]);
        assert!(drops_the_label(&mut core, at(30), 13), "it may have come back");
        want(&mut core, "a", &[("tier", "x")]);
        assert!(!drops_the_label(&mut core, at(300), 14), "no server takes so long");
    }
}

/// An update of the replica failed, and nothing has shown why.
fn puzzled() -> (Core, Arc<Desired>) {
    let (mut core, a) = (listed(&["a"], 1), desired("a", &[]));
    shows(&mut core, Feed::Applied(replica(&a, "n0", 1, 11)));
    want(&mut core, "a", &[("team", "x")]);
    let update = order(&mut core, at(0), "update n0/a");
    done(&mut core, at(0), &update, Err(Fault::NotFound));
    (core, a)
}

#[test]
fn a_replica_in_doubt_is_deleted_as_we_know_it_when_it_is_wanted_no_more() {
    let (mut core, a) = puzzled();
    core.on(at(0), Input::Sources(SourceNews::Want(a.key.clone(), Want::Off(None))));
    order(&mut core, at(0), "delete n0/a");
}

#[test]
fn a_replica_in_doubt_is_looked_at_though_its_source_be_frozen() {
    let (mut core, _) = puzzled();
    let desired = desired("a", &[("team", "y")]);
    core.on(at(0), Input::Sources(SourceNews::Want(desired.key.clone(), Want::Frozen(desired))));
    order(&mut core, at(0), "look n0/a");
}

#[test]
fn a_404_that_does_not_name_the_object_does_not_say_that_it_is_gone() {
    let (mut core, a) = (listed(&[], 1), desired("a", &[]));
    shows(&mut core, Feed::Applied(replica(&a, "n0", 1, 11)));
    core.on(at(0), Input::Sources(SourceNews::Want(a.key.clone(), Want::Off(None))));
    let delete = order(&mut core, at(0), "delete n0/a");
    done(&mut core, at(0), &delete, Err(Fault::NotFound));
    let due = core.wake_at().unwrap();
    order(&mut core, due, "delete n0/a");
}
