//! Dry runs: each thing is tried once, whatever it is, and again when something else is to be done there.

use super::test_stage::{at, desired, done, idle, listed, namespace, order, replica, shows, uid, want};
use super::*;
use crate::index::feed::ForeignSeen;
use crate::order::{Looked, Metadata};
use crate::reason::{Reason, Would};

fn dry(sources: &[&str], namespaces: u8) -> Core {
    let mut core = listed(sources, namespaces);
    core.on(at(0), Input::Lead(Lead::Dry));
    core
}

/// Carries out all that is due, as if it were done.
fn try_all(core: &mut Core, now: Moment) -> Vec<String> {
    let mut tried = Vec::new();
    while let Some(order) = core.next(now) {
        assert!(tried.len() < 100, "again and again: {tried:?}");
        tried.push(format!("{} {}/{}", order.step.as_str(), order.namespace, order.name));
        done(core, now, &order, Ok(Reply::Tried));
    }
    tried
}

fn settled(core: &mut Core) -> Settled {
    let mut settled = core.take_settled();
    assert_eq!(settled.len(), 1, "{settled:?}");
    settled.remove(0)
}

#[test]
fn what_would_be_written_is_tried_once_and_counts_as_pending() {
    let mut core = dry(&["a"], 2);
    assert_eq!(try_all(&mut core, at(0)), ["create n0/a", "create n1/a"]);
    assert_eq!(core.tally(), Tally { synced: 0, pending: 2, refused: 0 });
    let settled = settled(&mut core);
    assert_eq!(settled.reasons.to_string(), "2 WouldCreate");
    assert_eq!((settled.places[0].reason, settled.places[0].todo), ("WouldCreate", Would::TODO));
    // However long nothing happens.
    assert_eq!(core.wake_at(), None);
    idle(&mut core, at(100_000));
    // What is told again is no news: a list of namespaces, the same source once more.
    core.on(at(1), Input::Dest(Feed::Applied(namespace("n0", 100, Destination::Open))));
    let mut relabelled = namespace("n1", 101, Destination::Open);
    relabelled.labels.insert("team".into(), "x".into());
    core.on(at(1), Input::Dest(Feed::Applied(relabelled)));
    want(&mut core, "a", &[]);
    idle(&mut core, at(2));
    assert_eq!(core.tally().pending, 2);
    assert!(core.take_timings().is_empty(), "nothing is in place");
}

#[test]
fn it_is_tried_again_when_something_else_is_to_be_done() {
    let mut core = dry(&["a"], 1);
    assert_eq!(try_all(&mut core, at(0)), ["create n0/a"]);
    // The source changes.
    want(&mut core, "a", &[("app", "x")]);
    assert_eq!(try_all(&mut core, at(1)), ["create n0/a"]);
    // Another controller, which does write, was there: with the version before, and then with this one.
    shows(&mut core, Feed::Applied(replica(&desired("a", &[]), "n0", 7, 20)));
    assert_eq!(try_all(&mut core, at(2)), ["update n0/a"]);
    assert_eq!(settled(&mut core).reasons.to_string(), "1 WouldUpdate");
    shows(&mut core, Feed::Applied(replica(&desired("a", &[("app", "x")]), "n0", 7, 21)));
    assert_eq!(try_all(&mut core, at(3)), [""; 0]);
    assert_eq!(core.tally(), Tally { synced: 1, pending: 0, refused: 0 });
    // It is deleted by hand, made by somebody, and deleted: the same again.
    shows(&mut core, Feed::Gone(replica(&desired("a", &[]), "n0", 7, 22)));
    assert_eq!(try_all(&mut core, at(4)), ["create n0/a"]);
    core.on(at(5), Input::Dest(Feed::Gone(namespace("n0", 100, Destination::Open))));
    core.on(at(6), Input::Dest(Feed::Applied(namespace("n0", 109, Destination::Open))));
    assert_eq!(try_all(&mut core, at(7)), ["create n0/a"]);
}

#[test]
fn a_delete_is_tried_once_and_the_replica_is_still_known() {
    let mut core = dry(&["a"], 1);
    shows(&mut core, Feed::Applied(replica(&desired("a", &[]), "n0", 7, 20)));
    idle(&mut core, at(0));
    let off = || Input::Sources(SourceNews::Want(desired("a", &[]).key.clone(), Want::Off(None)));
    core.on(at(1), off());
    let delete = order(&mut core, at(1), "delete n0/a");
    assert_eq!(core.would(delete.id), Some(Would::Delete));
    done(&mut core, at(1), &delete, Ok(Reply::Tried));
    core.on(at(2), off());
    core.on(at(2), Input::Sources(SourceNews::Forgotten(desired("a", &[]).key.clone())));
    idle(&mut core, at(100_000));
    assert_eq!((core.tally().pending, settled(&mut core).reasons.to_string().as_str()), (1, "1 WouldDelete"));
    // On again, as it stands there.
    want(&mut core, "a", &[]);
    idle(&mut core, at(100_000));
    assert_eq!(core.tally(), Tally { synced: 1, pending: 0, refused: 0 });
}

#[test]
fn what_is_refused_is_told_before_what_would_be_done_and_tried_again() {
    let mut core = dry(&["a"], 3);
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Ok(Reply::Tried));
    let create = order(&mut core, at(0), "create n1/a");
    done(&mut core, at(0), &create, Err(Fault::Rejected("quota".into())));
    let create = order(&mut core, at(0), "create n2/a");
    done(&mut core, at(0), &create, Err(Fault::AlreadyExists));
    let look = order(&mut core, at(0), "look n2/a");
    let metadata = Metadata { uid: uid(9), rv: Rv(5), labels: BTreeMap::new(), annotations: BTreeMap::new() };
    let found = Looked { metadata: metadata.clone(), inside: None };
    done(&mut core, at(0), &look, Ok(Reply::Looked(Some(found))));
    let settled = settled(&mut core);
    assert_eq!(settled.tally, Tally { synced: 0, pending: 2, refused: 1 });
    let told: Vec<_> = settled.places.iter().map(|place| (&*place.namespace, place.reason)).collect();
    assert_eq!(told, [("n1", "Rejected"), ("n2", "ForeignObject"), ("n0", "WouldCreate")]);
    // The name is watched; what is in the way goes; the quota is mended.
    let Some(NameWatch::Start(id, _)) = core.take_name_watches().pop() else { panic!() };
    for feed in [
        Feed::Init,
        Feed::Listed(ForeignSeen { namespace: "n2".into(), metadata: metadata.clone() }),
        Feed::InitDone(Rv(30)),
    ] {
        core.on(at(1), Input::Name(id, NameNews::Feed(feed)));
    }
    let gone = Metadata { rv: Rv(31), ..metadata };
    core.on(at(1), Input::Name(id, NameNews::Feed(Feed::Gone(ForeignSeen { namespace: "n2".into(), metadata: gone }))));
    let mut tried = try_all(&mut core, at(10));
    tried.sort();
    assert_eq!(tried, ["create n1/a", "create n2/a"]);
    assert_eq!((core.tally(), core.wake_at()), (Tally { synced: 0, pending: 3, refused: 0 }, None));
    assert!(core.verdicts().is_empty() && core.snapshot().refused.is_empty());
    let standing = core.standings(3).sources.remove(0);
    assert!(standing.places.iter().all(|place| place.reason == Would::Create.as_str()), "{standing:?}");
    assert_ne!(standing.places[0].todo, Reason::ForeignObject.what_to_do());
}
