//! Nothing is said to be in place that is not, at no moment of a change.

use super::test_stage::{at, desired, done, idle, listed, order, uid, want};
use super::*;

fn version(rv: u64) -> Version {
    Version { uid: uid(7), rv: Rv(rv) }
}

fn told(core: &mut Core, rv: u64) {
    core.on(at(0), Input::Sources(SourceNews::Version(desired("a", &[]).key.clone(), version(rv))));
}

/// Synced, pending and refused, of the version that is acted on.
fn stands(core: &Core) -> (Option<u64>, [u32; 3]) {
    let standings = core.standings(PLACES);
    assert!(standings.ready);
    let [standing] = &standings.sources[..] else { panic!("{standings:?}") };
    let Tally { synced, pending, refused } = standing.tally;
    (standing.version.map(|version| version.rv.0), [synced, pending, refused])
}

#[test]
fn a_new_version_is_pending_everywhere_from_the_moment_that_it_is_told() {
    let mut core = listed(&["a"], 2);
    told(&mut core, 5);
    assert_eq!(stands(&core), (Some(5), [0, 2, 0]));
    for n in 0..2 {
        let create = order(&mut core, at(0), &format!("create n{n}/a"));
        assert_eq!(stands(&core), (Some(5), [n.into(), 2 - u32::from(n), 0]));
        done(&mut core, at(0), &create, Ok(Reply::Written { uid: uid(n), rv: Rv(20) }));
    }
    idle(&mut core, at(0));
    assert_eq!(stands(&core), (Some(5), [2, 0, 0]));

    // Another content, whose version comes a moment later: no version is claimed in between.
    want(&mut core, "a", &[("team", "x")]);
    assert_eq!(stands(&core), (None, [0, 2, 0]));
    told(&mut core, 6);
    assert_eq!(stands(&core), (Some(6), [0, 2, 0]));
}

#[test]
fn a_version_that_asks_for_the_same_is_in_place_at_once() {
    let mut core = listed(&["a"], 0);
    told(&mut core, 5);
    let changes = core.changes();
    told(&mut core, 6);
    assert_eq!(stands(&core), (Some(6), [0, 0, 0]));
    assert!(core.changes() > changes, "whoever waits for the version must hear of it");
}

#[test]
fn before_the_lists_nothing_is_said_to_be_complete() {
    let core = Core::new(test_stage::rules(), Scope::Namespaces, 32, 1);
    assert_eq!(core.standings(PLACES), Standings::default());
}
