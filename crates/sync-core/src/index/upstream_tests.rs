//! What a master has put into the source namespace, and what becomes of it.

use super::*;

#[test]
fn what_a_master_lost_stays() {
    for lost in [true, false] {
        let mut sources = listed(&[masters("yes")]);
        news(&mut sources);
        let told = if lost { gone(&mut sources, at(1)) } else { apply(&mut sources, at(1), masters("")) };
        assert_eq!(told, ["leaving SourceVanished"]);
        assert!(!asks_at(&mut sources, at(10_000)));
        assert_eq!(apply(&mut sources, at(10_000), masters("yes")), ["on 01"]);
        assert_eq!(apply(&mut sources, at(10_001), masters("no")), ["off"]);
        assert!(gone(&mut sources, at(10_002)).is_empty());
    }
    for gone_before in [true, false] {
        let mut sources = listed(&[masters("yes")]);
        news(&mut sources);
        let mut told = if gone_before { gone(&mut sources, at(1)) } else { Vec::new() };
        told.extend(apply(&mut sources, at(2), plain("")));
        assert_eq!(told, ["leaving SourceVanished"], "somebody's object in its place is no doing of the master's");
        // Nor is one that cannot be read.
        assert_eq!(apply(&mut sources, at(3), plain("perhaps")), ["frozen"]);
        assert_eq!(gone(&mut sources, at(4)), ["leaving SourceVanished"]);
        assert!(!asks_at(&mut sources, at(10_000)));
        assert_eq!(apply(&mut sources, at(10_000), plain("yes")), ["on 01"], "a source as any other");
    }
}

/// After a restart: what stands in its place is all that was ever seen.
#[test]
fn copies_of_what_cannot_be_read_may_tell_that_it_was_a_masters() {
    let mut sources = listed(&[plain("perhaps")]);
    assert!(news(&mut sources).contains(&"frozen".to_owned()));
    sources.ask(at(1), &key(), true);
    assert!(news(&mut sources).is_empty());
    assert_eq!(gone(&mut sources, at(2)), ["leaving SourceVanished"]);
    assert!(!asks_at(&mut sources, at(10_000)));
    // One that can be read knows better than copies of before.
    let mut sources = listed(&[plain("yes")]);
    news(&mut sources);
    sources.ask(at(1), &key(), true);
    assert_eq!(gone(&mut sources, at(2)), ["leaving Leaving"]);
}

#[test]
fn whoever_asks_later_may_know_that_it_was_a_masters() {
    let mut sources = listed(&[]);
    news(&mut sources);
    sources.ask(at(5), &key(), false);
    assert_eq!(news(&mut sources), ["leaving Leaving"]);
    sources.ask(at(6), &key(), true);
    assert_eq!(news(&mut sources), ["leaving SourceVanished"]);
    assert!(!asks_at(&mut sources, at(10_000)));
}
