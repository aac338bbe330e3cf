//! When what has failed is tried again.

use super::*;

/// One replica that is to be updated, which a quota rejects.
fn rejected() -> (Core, Moment) {
    let mut core = listed(&["a"], 1);
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Ok(Reply::Written { uid: uid(1), rv: Rv(11) }));
    want(&mut core, "a", &[("team", "x")]);
    let update = order(&mut core, at(0), "update n0/a");
    done(&mut core, at(0), &update, Err(Fault::Rejected("quota".into())));
    let due = core.wake_at().unwrap();
    (core, due)
}

fn list(core: &mut Core, there: Vec<Sighting>, rv: u64) {
    shows(core, Feed::Init);
    there.into_iter().for_each(|sighting| shows(core, Feed::Listed(sighting)));
    shows(core, Feed::InitDone(Rv(rv)));
}

#[test]
fn a_list_that_shows_the_same_again_is_no_reason_to_try_before_the_time() {
    let (mut core, due) = rejected();
    for rv in 20..30 {
        list(&mut core, vec![replica(&desired("a", &[]), "n0", 1, 11)], rv);
        idle(&mut core, at(0));
        assert_eq!(core.wake_at(), Some(due));
    }
    order(&mut core, due, "update n0/a");
}

#[test]
fn a_list_that_shows_something_else_is() {
    let (mut core, _) = rejected();
    list(&mut core, vec![], 20);
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Err(Fault::Rejected("quota".into())));
    list(&mut core, vec![replica(&desired("a", &[]), "n0", 2, 21)], 22);
    order(&mut core, at(0), "update n0/a");
}

#[test]
fn what_admission_changes_is_tried_again_after_a_long_time_or_when_it_is_something_else() {
    let mut core = listed(&["a"], 1);
    let create = order(&mut core, at(0), "create n0/a");
    let changed = desired("a", &[("team", "theirs")]);
    let (mut now, mut rv) = (at(0), 11);
    done(&mut core, now, &create, Ok(Reply::Written { uid: uid(1), rv: Rv(rv) }));
    for _ in 0..3 {
        core.on(now, Input::Replica(Kind::Secret, Feed::Applied(replica(&changed, "n0", 1, rv))));
        idle(&mut core, now);
        assert_eq!(core.tally().refused, 1);
        let due = core.wake_at().unwrap();
        assert!(now + at(900) <= due && due <= now + at(1800), "{due:?}");
        // Nothing makes it sooner or later that shows the same.
        core.on(now + at(1), Input::Replica(Kind::Secret, Feed::Applied(replica(&changed, "n0", 1, rv + 1))));
        idle(&mut core, now + at(1));
        assert_eq!(core.wake_at(), Some(due));
        (now, rv) = (due, rv + 2);
        let update = order(&mut core, now, "update n0/a");
        done(&mut core, now, &update, Ok(Reply::Written { uid: uid(1), rv: Rv(rv) }));
    }
    core.on(now, Input::Replica(Kind::Secret, Feed::Applied(replica(&changed, "n0", 1, rv))));
    let other = desired("a", &[("team", "another")]);
    core.on(now, Input::Replica(Kind::Secret, Feed::Applied(replica(&other, "n0", 1, rv + 1))));
    let update = order(&mut core, now, "update n0/a");
    // The policy is gone, and so is the trouble.
    done(&mut core, now, &update, Ok(Reply::Written { uid: uid(1), rv: Rv(rv + 2) }));
    core.on(now, Input::Replica(Kind::Secret, Feed::Applied(replica(&desired("a", &[]), "n0", 1, rv + 2))));
    assert_eq!((core.tally().synced, core.wake_at()), (1, None));
}
