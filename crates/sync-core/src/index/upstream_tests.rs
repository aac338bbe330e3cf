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
