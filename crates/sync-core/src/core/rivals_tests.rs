//! Others who keep touching our replicas.

use super::*;
use crate::reason::Reason;

/// One source, one namespace, its replica in place.
fn in_place() -> Core {
    let mut core = listed(&["a"], 1);
    let create = order(&mut core, at(0), "create n0/a");
    core.on(at(0), Input::Done(create.id, written(1, 11)));
    core
}

fn written(n: u8, rv: u64) -> Result<Reply, Fault> {
    Ok(Reply::Written { uid: uid(n), rv: Rv(rv) })
}

fn tell(core: &mut Core, now: Moment, feed: Feed<Sighting>) {
    core.on(now, Input::Replica(Kind::Secret, feed));
}

/// Somebody changes the replica.
fn edit(core: &mut Core, now: Moment, rv: u64, manager: &str) {
    let other = desired("a", &[("team", "theirs")]);
    let sighting = Sighting { manager: Some(manager.into()), ..replica(&other, "n0", 1, rv) };
    tell(core, now, Feed::Applied(sighting));
}

/// Somebody changes it and it is restored at once.
fn edit_and_restore(core: &mut Core, now: Moment, rv: u64) {
    edit(core, now, rv, "kubectl-edit");
    let update = order(core, now, "update n0/a");
    done(core, now, &update, written(1, rv + 1));
    assert_eq!(core.tally(), Tally { synced: 1, ..Tally::default() });
}

fn outcome(core: &Core) -> Outcome {
    core.pairs.values().next().map_or(Outcome::Nothing, |state| state.outcome)
}

#[test]
fn what_was_restored_three_times_is_contested_and_restored_after_longer_and_longer_pauses() {
    let mut core = in_place();
    for n in 0..3 {
        edit_and_restore(&mut core, at(10 * n), 20 + 2 * n);
    }
    let mut now = at(20);
    let mut rv = 30;
    for pause in [60, 120, 240, 480, 960, 1800, 1800] {
        edit(&mut core, now + at(1), rv, "flux");
        idle(&mut core, now + at(1));
        assert_eq!(outcome(&core), Outcome::Refused(Reason::Contested));
        assert_eq!(core.wake_at(), Some(now + at(pause)));
        let settled = core.take_settled();
        assert!(settled[0].places[0].message.contains("\"flux\""), "{settled:?}");
        // Whatever happens meanwhile.
        edit(&mut core, now + at(2), rv + 1, "flux");
        tell(&mut core, now + at(3), Feed::Init);
        let other = desired("a", &[("team", "theirs")]);
        tell(&mut core, now + at(3), Feed::Listed(replica(&other, "n0", 1, rv + 1)));
        tell(&mut core, now + at(3), Feed::InitDone(Rv(rv + 1)));
        idle(&mut core, now + at(pause) - Duration::from_millis(1));
        now += at(pause);
        let update = order(&mut core, now, "update n0/a");
        done(&mut core, now, &update, written(1, rv + 2));
        assert_eq!(outcome(&core), Outcome::Synced);
        rv += 3;
    }
    // Left alone for five minutes after the pause: it is as if nothing had been.
    now += at(1800 + 300);
    edit_and_restore(&mut core, now, rv);
    edit_and_restore(&mut core, now, rv + 2);
}

#[test]
fn three_restorations_in_a_longer_time_are_none_too_many() {
    let mut core = in_place();
    for n in 0..20 {
        edit_and_restore(&mut core, at(151 * n), 20 + 2 * n);
    }
}

#[test]
fn deletions_count_and_name_nobody() {
    let (mut core, a) = (in_place(), desired("a", &[]));
    for n in 0..3 {
        tell(&mut core, at(1), Feed::Gone(replica(&a, "n0", 1 + n, 20 + u64::from(n))));
        let create = order(&mut core, at(1), "create n0/a");
        done(&mut core, at(1), &create, written(2 + n, 30 + u64::from(n)));
    }
    tell(&mut core, at(2), Feed::Gone(replica(&a, "n0", 4, 40)));
    idle(&mut core, at(2));
    assert_eq!(outcome(&core), Outcome::Refused(Reason::Contested));
    assert_eq!(core.take_settled()[0].places[0].todo, Reason::Contested.what_to_do());
    order(&mut core, at(61), "create n0/a");
}

#[test]
fn a_new_version_of_the_source_is_written_once_and_begins_no_war() {
    let mut core = in_place();
    for n in 0..3 {
        edit_and_restore(&mut core, at(n), 20 + 2 * n);
    }
    edit(&mut core, at(3), 30, "flux");
    idle(&mut core, at(3));
    want(&mut core, "a", &[("team", "new")]);
    let update = order(&mut core, at(4), "update n0/a");
    done(&mut core, at(4), &update, written(1, 31));
    assert_eq!(outcome(&core), Outcome::Synced);
    edit(&mut core, at(5), 32, "flux");
    idle(&mut core, at(5));
    assert_eq!(outcome(&core), Outcome::Refused(Reason::Contested));
    assert_eq!(core.wake_at(), Some(at(62)), "the pause of before");
    // Switched off it goes, at once, and is deleted again only as often.
    core.on(at(6), Input::Sources(SourceNews::Want(desired("a", &[]).key.clone(), Want::Off(None))));
    let delete = order(&mut core, at(6), "delete n0/a");
    done(&mut core, at(6), &delete, Ok(Reply::Deleted));
}

#[test]
fn changes_of_the_source_are_no_restorations() {
    let mut core = in_place();
    for n in 0..10u64 {
        let label = format!("{n}");
        want(&mut core, "a", &[("team", &label)]);
        let update = order(&mut core, at(n), "update n0/a");
        // The next change comes while this one is under way.
        want(&mut core, "a", &[("tier", &label)]);
        done(&mut core, at(n), &update, written(1, 20 + 2 * n));
        let update = order(&mut core, at(n), "update n0/a");
        done(&mut core, at(n), &update, written(1, 21 + 2 * n));
    }
    assert_eq!(outcome(&core), Outcome::Synced);
}

#[test]
fn what_somebody_keeps_making_again_is_not_deleted_for_ever() {
    let (mut core, a) = (in_place(), desired("a", &[]));
    core.on(at(0), Input::Sources(SourceNews::Want(a.key.clone(), Want::Off(None))));
    for n in 1..=4 {
        let delete = order(&mut core, at(1), "delete n0/a");
        done(&mut core, at(1), &delete, Ok(Reply::Deleted));
        tell(&mut core, at(1), Feed::Gone(replica(&a, "n0", n, 20 + 2 * u64::from(n))));
        tell(&mut core, at(1), Feed::Applied(replica(&a, "n0", n + 1, 21 + 2 * u64::from(n))));
    }
    idle(&mut core, at(1));
    assert_eq!(outcome(&core), Outcome::Refused(Reason::Contested));
    // An explicit `no` after it was on again is one more.
    want(&mut core, "a", &[]);
    core.on(at(2), Input::Sources(SourceNews::Want(a.key.clone(), Want::Off(None))));
    order(&mut core, at(2), "delete n0/a");
}

#[test]
fn namespaces_that_are_made_again_and_again_are_no_rivals() {
    let (mut core, a) = (in_place(), desired("a", &[]));
    for n in 1..10 {
        let old = n - 1;
        core.on(at(1), Input::Dest(Feed::Gone(namespace("n0", 100 + old, Destination::Leaving))));
        core.on(at(1), Input::Dest(Feed::Applied(namespace("n0", 100 + n, Destination::Open))));
        tell(&mut core, at(1), Feed::Gone(replica(&a, "n0", n, 20 + 2 * u64::from(n))));
        let create = order(&mut core, at(1), "create n0/a");
        done(&mut core, at(1), &create, written(n + 1, 21 + 2 * u64::from(n)));
    }
    assert_eq!(outcome(&core), Outcome::Synced);
}

#[test]
fn what_is_over_is_forgotten() {
    let mut rivals = rivals::Rivals::default();
    for n in 0..100_000 {
        let pair = Pair { source: SourceId(1), dest: DestId(n) };
        rivals.restored(Duration::from_secs(u64::from(n)), pair);
    }
    assert!(rivals.len() < 1500, "{}", rivals.len());
}
