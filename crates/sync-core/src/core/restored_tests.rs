//! A cluster whose store was put back to an earlier time.

use super::*;

/// A store that was put back shows what was; a version above all that anybody has seen says nothing else.
#[test]
fn a_store_that_was_put_back_and_goes_on_far_above_is_believed() {
    let mut core = listed(&["a"], 1);
    let list = |core: &mut Core, version: u64, shown: &[Feed<Sighting>]| {
        let feeds = [&[Feed::Init][..], shown, &[Feed::InitDone(Rv(version))]].concat();
        feeds.into_iter().for_each(|feed| shows(core, feed));
    };
    let old = |rv| replica(&desired("a", &[]), "n0", 1, rv);
    let new = |rv| replica(&desired("a", &[("team", "x")]), "n0", 1, rv);
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Ok(Reply::Written { uid: uid(1), rv: Rv(11) }));
    want(&mut core, "a", &[("team", "x")]);
    let update = order(&mut core, at(0), "update n0/a");
    done(&mut core, at(0), &update, Ok(Reply::Written { uid: uid(1), rv: Rv(20) }));
    // A list that is behind our own write is none of a store that was put back.
    list(&mut core, 15, &[Feed::Listed(old(11))]);
    idle(&mut core, at(0));
    shows(&mut core, Feed::Applied(new(20)));
    list(&mut core, 1000, &[Feed::Listed(old(11))]);
    let update = order(&mut core, at(0), "update n0/a");
    done(&mut core, at(0), &update, Ok(Reply::Written { uid: uid(1), rv: Rv(1001) }));
    assert_eq!(core.tally().synced, 1);

    // What a streaming list has shown of a copy before it is complete may have changed, or ended.
    list(&mut core, 1003, &[Feed::Listed(old(900)), Feed::Listed(new(1001))]);
    idle(&mut core, at(0));
    list(&mut core, 1002, &[Feed::Listed(old(900)), Feed::Gone(Sighting { rv: Rv(1002), ..old(900) })]);
    order(&mut core, at(0), "create n0/a");
}
