//! What is told of the whole, and how long things took.

use super::*;

fn written(n: u8) -> Result<Reply, Fault> {
    Ok(Reply::Written { uid: uid(n), rv: Rv(20 + u64::from(n)) })
}

#[test]
fn a_change_takes_until_its_last_copy_is_there() {
    let mut core = listed(&["a"], 2);
    // What is found at the start is no change.
    let first = order(&mut core, at(0), "create n0/a");
    let second = order(&mut core, at(0), "create n1/a");
    done(&mut core, at(1), &first, written(1));
    done(&mut core, at(1), &second, written(2));
    core.take_settled();
    assert_eq!(core.take_timings(), []);
    let later = desired("a", &[("team", "x")]);
    core.on(at(10), Input::Sources(SourceNews::Want(later.key.clone(), Want::On(later))));
    let first = order(&mut core, at(10), "update n0/a");
    let second = order(&mut core, at(10), "update n1/a");
    done(&mut core, at(11), &first, written(3));
    core.take_settled();
    done(&mut core, at(13), &second, Err(Fault::Rejected("quota".into())));
    core.take_settled();
    let snapshot = core.snapshot();
    assert_eq!(snapshot.failing.get("Rejected"), Some(&1));
    assert_eq!((snapshot.tally.synced, snapshot.tally.pending, snapshot.sources.len()), (1, 1, 1));
    assert_eq!((core.take_timings(), snapshot.queue.last()), (vec![], Some(&("delayed", 1))));
    let again = order(&mut core, at(20), "update n1/a");
    assert_eq!(core.snapshot().in_flight, 1);
    done(&mut core, at(21), &again, written(4));
    core.take_settled();
    assert_eq!(core.take_timings(), [Timing::Fanout(Duration::from_secs(11))]);
    assert_eq!(core.snapshot().tally, Tally { synced: 2, ..Tally::default() });
}

#[test]
fn a_new_namespace_waits_for_its_first_copy() {
    let mut core = listed(&["a", "b"], 0);
    core.on(at(5), Input::Dest(Feed::Applied(namespace("n", 150, Destination::Open))));
    let first = order(&mut core, at(5), "create n/a");
    let second = order(&mut core, at(5), "create n/b");
    done(&mut core, at(7), &first, written(1));
    done(&mut core, at(9), &second, written(2));
    assert_eq!(core.take_timings(), [Timing::NewNamespace(Duration::from_secs(2))]);
    // Nothing is due in this one, so that nothing is waited for.
    let mut core = listed(&[], 0);
    core.on(at(5), Input::Dest(Feed::Applied(namespace("n", 150, Destination::Open))));
    want(&mut core, "a", &[]);
    let first = order(&mut core, at(50), "create n/a");
    done(&mut core, at(51), &first, written(1));
    assert!(!core.take_timings().iter().any(|timing| matches!(timing, Timing::NewNamespace(_))));
}
