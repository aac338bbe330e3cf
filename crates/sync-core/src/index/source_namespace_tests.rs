//! The source namespace, which may go and come back.

use super::*;

#[test]
fn what_a_list_shows_of_the_source_namespace_counts_when_the_list_is_complete() {
    let mut sources = Sources::new(GRACE);
    for kind in Kind::ALL {
        sources.on_source(at(0), kind, Feed::Init);
        sources.on_source(at(0), kind, Feed::InitDone(Rv(1)));
    }
    sources.on_namespace(at(0), Feed::Init);
    sources.on_namespace(at(0), Feed::Listed(namespace(1, false)));
    sources.on_namespace(at(0), Feed::Gone(namespace(1, false)));
    sources.on_namespace(at(0), Feed::Listed(namespace(2, false)));
    assert!(!sources.is_complete());
    sources.on_namespace(at(0), Feed::InitDone(Rv(2)));
    assert!(sources.is_complete());
}

#[test]
fn a_source_that_goes_after_its_namespace_is_wanted_no_more() {
    let mut sources = listed(&[plain("yes")]);
    sources.on_namespace(at(1), Feed::Gone(namespace(1, true)));
    news(&mut sources);
    assert_eq!(gone(&mut sources, at(2)), ["leaving Leaving"]);
}

#[test]
fn the_source_namespace_ends_and_is_made_again() {
    let mut sources = listed(&[plain("yes")]);
    news(&mut sources);
    sources.on_namespace(at(1), Feed::Applied(namespace(1, true)));
    assert_eq!(news(&mut sources), ["frozen namespace"]);
    gone(&mut sources, at(2));
    sources.on_namespace(at(3), Feed::Gone(namespace(1, true)));
    assert_eq!(news(&mut sources), ["frozen namespace"]);
    assert!(apply(&mut sources, at(4), plain("yes")).is_empty(), "of what uid it is is not known yet");
    sources.on_namespace(at(5), Feed::Applied(namespace(2, false)));
    assert_eq!(news(&mut sources), ["namespace", "on 02"]);
}

#[test]
fn without_its_namespace_nothing_is_confirmed_and_then_the_grace_begins_anew() {
    let mut sources = confirming();
    sources.on_namespace(at(41), Feed::Applied(namespace(1, true)));
    assert!(!confirm(&mut sources, at(42), Some(found(uid(1), true, None))).contains(&"off".to_owned()));
    assert_eq!(sources.wake_at(), None);
    sources.on_namespace(at(100), Feed::Gone(namespace(1, true)));
    sources.on_namespace(at(200), Feed::Applied(namespace(2, false)));
    news(&mut sources);
    assert_eq!(sources.wake_at(), Some(at(230)));
    assert!(asks_at(&mut sources, at(230)));
    assert_eq!(confirm(&mut sources, at(231), Some(found(uid(2), false, None))), ["off"]);
}
