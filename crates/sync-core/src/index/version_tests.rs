//! Which version of a source wants what is told of it.

use super::*;

fn data(value: u64) -> Source {
    source("yes", |object| drop(object.content.data.insert("k".into(), value.to_string())))
}

#[test]
fn a_version_is_told_when_what_it_wants_has_been() {
    let mut sources = listed(&[in_version(3, plain("yes"))]);
    assert_eq!(versions(&mut sources), ["namespace", "on 01", "version 3", "complete"]);
    // One that wants the same, one that wants something else, and the same event once more.
    sources.on_source(at(1), Kind::Secret, Feed::Applied(in_version(4, plain("yes"))));
    assert_eq!(versions(&mut sources), ["version 4"]);
    let changed = in_version(5, source("yes", |object| drop(object.content.data.insert("k".into(), "x".into()))));
    for told in [vec!["on 01", "version 5"], vec![]] {
        sources.on_source(at(1), Kind::Secret, Feed::Applied(changed.clone()));
        assert_eq!(versions(&mut sources), told);
    }
    // What goes has none, and an old one is not told again when it is back.
    sources.on_source(at(2), Kind::Secret, Feed::Applied(in_version(6, plain("no"))));
    assert_eq!(versions(&mut sources), ["off"]);
    assert!(!sources.snapshot().iter().any(|news| matches!(news, SourceNews::Version(..))));
    sources.on_source(at(3), Kind::Secret, Feed::Applied(in_version(7, plain("yes"))));
    assert_eq!(versions(&mut sources), ["on 01", "version 7"]);
    // Another incarnation of the namespace wants other marks of the same version.
    sources.on_namespace(at(60), Feed::Applied(namespace(2, false)));
    assert_eq!(versions(&mut sources), ["namespace", "on 02", "version 7"]);
}

#[test]
fn the_version_of_what_is_held_is_told_with_it() {
    let mut sources = listed(&[in_version(1, plain("yes"))]);
    (1..=5).for_each(|n| sources.on_source(at(0), Kind::Secret, Feed::Applied(in_version(1 + n, data(n)))));
    let told = versions(&mut sources);
    assert_eq!(told.last().map(String::as_str), Some("version 3"), "{told:?}");
    sources.tick(at(10));
    assert_eq!(versions(&mut sources), ["on 01", "version 6"]);
}
