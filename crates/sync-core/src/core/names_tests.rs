//! What is in the way, and the watch on its name.

use super::*;
use crate::index::feed::ForeignSeen;
use crate::order::Looked;

fn theirs(rv: u64) -> Metadata {
    Metadata { uid: uid(9), rv: Rv(rv), labels: BTreeMap::new(), annotations: BTreeMap::new() }
}

fn seen(place: &str, rv: u64) -> ForeignSeen {
    ForeignSeen { namespace: place.into(), metadata: theirs(rv) }
}

/// Theirs stands there in this version, and is refused.
fn refuse(core: &mut Core, now: Moment, place: &str, name: &str, rv: u64) {
    let create = order(core, now, &format!("create {place}/{name}"));
    done(core, now, &create, Err(Fault::AlreadyExists));
    look(core, now, place, name, Some(rv));
}

fn look(core: &mut Core, now: Moment, place: &str, name: &str, rv: Option<u64>) {
    let look = order(core, now, &format!("look {place}/{name}"));
    let found = rv.map(|rv| Looked { metadata: theirs(rv), inside: None });
    done(core, now, &look, Ok(Reply::Looked(found)));
}

fn tell(core: &mut Core, id: u64, feeds: Vec<Feed<ForeignSeen>>) {
    feeds.into_iter().for_each(|feed| core.on(at(0), Input::Name(id, NameNews::Feed(feed))));
}

fn list(core: &mut Core, id: u64, there: Vec<ForeignSeen>, rv: u64) {
    let listed = there.into_iter().map(Feed::Listed);
    tell(core, id, [Feed::Init].into_iter().chain(listed).chain([Feed::InitDone(Rv(rv))]).collect());
}

fn never(core: &Core) {
    assert_eq!(core.wake_at(), None, "nothing is put off");
}

#[test]
fn one_watch_shows_what_is_in_the_way_everywhere_and_ends_with_the_last() {
    let mut core = listed(&["a"], 2);
    let orders = [order(&mut core, at(0), "create n0/a"), order(&mut core, at(0), "create n1/a")];
    orders.iter().for_each(|create| done(&mut core, at(0), create, Err(Fault::AlreadyExists)));
    look(&mut core, at(0), "n0", "a", Some(20));
    look(&mut core, at(0), "n1", "a", Some(21));
    let key = desired("a", &[]).key.clone();
    assert_eq!(core.take_name_watches(), [NameWatch::Start(1, key)]);
    assert!(core.wake_at().is_some(), "until it shows them they are looked at");
    list(&mut core, 1, vec![seen("n0", 20), seen("n1", 21), seen("elsewhere", 3)], 30);
    never(&core);
    idle(&mut core, at(1000));
    // What changes without becoming ours, and what the source does, needs no request.
    tell(&mut core, 1, vec![Feed::Applied(seen("n0", 31))]);
    want(&mut core, "a", &[("team", "x")]);
    idle(&mut core, at(1000));
    never(&core);
    for (place, rv, more) in [("n0", 32, true), ("n1", 33, false)] {
        tell(&mut core, 1, vec![Feed::Gone(seen(place, rv))]);
        let create = order(&mut core, at(1000), &format!("create {place}/a"));
        assert!(core.take_name_watches().is_empty());
        done(&mut core, at(1000), &create, Ok(Reply::Written { uid: uid(1), rv: Rv(rv + 10) }));
        assert_eq!(core.take_name_watches().is_empty(), more);
    }
    assert_eq!(core.tally(), Tally { synced: 2, ..Tally::default() });
}

#[test]
fn what_went_before_the_list_or_during_the_look_is_noticed() {
    let mut core = listed(&["a"], 1);
    refuse(&mut core, at(0), "n0", "a", 20);
    list(&mut core, 1, vec![], 30);
    // It was there again before our create; its end comes while we look.
    let create = order(&mut core, at(0), "create n0/a");
    done(&mut core, at(0), &create, Err(Fault::AlreadyExists));
    let due = core.wake_at().expect("not the first time in a row");
    let look_ = order(&mut core, due, "look n0/a");
    tell(&mut core, 1, vec![Feed::Applied(seen("n0", 40)), Feed::Gone(seen("n0", 41))]);
    done(&mut core, at(0), &look_, Ok(Reply::Looked(Some(Looked { metadata: theirs(40), inside: None }))));
    let due = core.wake_at().expect("no event will come");
    look(&mut core, due, "n0", "a", None);
    order(&mut core, due, "create n0/a");
}

#[test]
fn while_the_watch_fails_it_is_looked_at_now_and_then() {
    let mut core = listed(&["a"], 1);
    refuse(&mut core, at(0), "n0", "a", 20);
    list(&mut core, 1, vec![seen("n0", 20)], 30);
    never(&core);
    core.on(at(0), Input::Name(1, NameNews::Lost));
    let due = core.wake_at().unwrap();
    look(&mut core, due, "n0", "a", Some(20));
    assert!(core.wake_at().is_some());
    core.on(due, Input::Name(1, NameNews::Well));
    never(&core);
    core.on(due, Input::Name(1, NameNews::Lost));
    list(&mut core, 1, vec![seen("n0", 20)], 50);
    never(&core);
}

#[test]
fn over_twenty_names_the_others_wait_for_a_free_watch() {
    let names: Vec<_> = (0..22).map(|n| format!("s{n:02}")).collect();
    let mut core = listed(&names.iter().map(String::as_str).collect::<Vec<_>>(), 1);
    let mut watched = BTreeMap::new();
    while let Some(order) = core.next(at(0)) {
        let found = Reply::Looked(Some(Looked { metadata: theirs(20), inside: None }));
        let is_look = matches!(order.step, Step::Look);
        done(&mut core, at(0), &order, if is_look { Ok(found) } else { Err(Fault::AlreadyExists) });
    }
    for watch in core.take_name_watches() {
        let NameWatch::Start(id, key) = watch else { panic!("{watch:?}") };
        list(&mut core, id, vec![seen("n0", 20)], 30);
        watched.insert(id, key);
    }
    assert_eq!(watched.len(), 20);
    let wake = core.wake_at().expect("two are looked at now and then");
    assert!(wake < at(10));
    // A source that goes gives its watch to the next.
    let (id, key) = watched.first_key_value().unwrap();
    core.on(at(0), Input::Sources(SourceNews::Want(key.clone(), Want::Off(None))));
    let next = core.take_name_watches();
    assert!(matches!(&next[..], [NameWatch::Stop(old), NameWatch::Start(21, _)] if old == id), "{next:?}");
    // What an ended watch has still told is of no interest.
    tell(&mut core, *id, vec![Feed::Gone(seen("n0", 50))]);
}
