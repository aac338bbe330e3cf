//! One process of several: what it orders, and when.

use super::*;
use crate::lease::{DEADLINE, MARGIN};

fn lead(core: &mut Core, now: u64, lead: Lead) {
    core.on(at(now), Input::Lead(lead));
}

fn current(core: &mut Core, now: u64, term: u64) {
    core.on(at(now), Input::Sources(SourceNews::Current(term)));
}

#[test]
fn a_standby_orders_nothing_and_whoever_begins_to_lead_plans_everything() {
    let mut core = listed(&["a"], 2);
    lead(&mut core, 0, Lead::No);
    idle(&mut core, at(0));
    assert_eq!(core.wake_at(), None);
    // The other process writes, and the watch shows it.
    let a = desired("a", &[]);
    shows(&mut core, Feed::Applied(replica(&a, "n0", 1, 11)));
    shows(&mut core, Feed::Applied(replica(&a, "n1", 2, 12)));
    idle(&mut core, at(1));
    assert!(core.take_settled().is_empty(), "it is the leader's to tell");
    // It has the lease, but knows the sources as they were before.
    lead(&mut core, 2, Lead::Until(at(17), 1));
    idle(&mut core, at(2));
    want(&mut core, "a", &[("team", "x")]);
    current(&mut core, 2, 1);
    order(&mut core, at(2), "update n0/a");
    order(&mut core, at(2), "update n1/a");
}

#[test]
fn nothing_begins_that_might_not_end_in_time() {
    let mut core = listed(&["a"], 3);
    lead(&mut core, 0, Lead::Until(at(15), 1));
    current(&mut core, 0, 1);
    order(&mut core, at(0), "create n0/a");
    let last = at(15) - DEADLINE - MARGIN;
    order(&mut core, last, "create n1/a");
    idle(&mut core, last + Duration::from_millis(1));
    assert_eq!(core.wake_at(), None, "time alone changes nothing");
    // Renewed late, but nobody else had it.
    core.on(at(14), Input::Lead(Lead::Until(at(29), 1)));
    order(&mut core, at(14), "create n2/a");
}

#[test]
fn what_comes_after_the_loss_is_known_still() {
    let mut core = listed(&["a"], 1);
    lead(&mut core, 0, Lead::Until(at(15), 1));
    current(&mut core, 0, 1);
    let create = order(&mut core, at(0), "create n0/a");
    lead(&mut core, 1, Lead::No);
    done(&mut core, at(1), &create, Ok(Reply::Written { uid: uid(1), rv: Rv(20) }));
    lead(&mut core, 60, Lead::Until(at(75), 2));
    idle(&mut core, at(60));
    current(&mut core, 60, 2);
    idle(&mut core, at(60));
    assert_eq!(core.tally(), Tally { synced: 1, ..Tally::default() });
}

#[test]
fn what_failed_is_tried_again_at_once_by_the_next_leader() {
    let mut core = listed(&["a"], 1);
    lead(&mut core, 0, Lead::Until(at(15), 1));
    current(&mut core, 0, 1);
    let create = order(&mut core, at(0), "create n0/a");
    lead(&mut core, 1, Lead::No);
    done(&mut core, at(1), &create, Err(Fault::Rejected("quota".into())));
    assert_eq!(core.wake_at(), None);
    lead(&mut core, 1, Lead::Until(at(16), 2));
    current(&mut core, 1, 2);
    order(&mut core, at(1), "create n0/a");
}

#[test]
fn a_standby_does_not_say_for_ever_what_its_last_write_was_told() {
    let mut core = listed(&["a"], 1);
    lead(&mut core, 0, Lead::Until(at(15), 1));
    current(&mut core, 0, 1);
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(1), &create, Err(Fault::Throttled(None)));
    assert!(core.cluster_fault().is_some());
    lead(&mut core, 2, Lead::No);
    assert!(core.cluster_fault().is_none(), "it would hear of no end");
}
