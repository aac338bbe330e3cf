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
