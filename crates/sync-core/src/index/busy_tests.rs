//! Sources that change all the time.

use super::*;

fn data(value: u64) -> Source {
    source("yes", |object| drop(object.content.data.insert("k".into(), value.to_string())))
}

fn remarks(sources: &mut Sources) -> Vec<&'static str> {
    let word = |remark: &Remark| match remark {
        Remark::Frozen(..) => "frozen",
        Remark::Never(..) => "never",
        Remark::Leaving(..) => "leaving",
        Remark::Busy(..) => "busy",
        Remark::Fine(..) => "fine",
        Remark::Off(..) => "off",
    };
    sources.take_remarks().iter().map(word).collect()
}

/// Promise 9.
#[test]
fn a_source_that_changes_all_the_time_is_told_every_ten_seconds() {
    let mut sources = listed(&[plain("yes")]);
    news(&mut sources);
    // A correction or two are not delayed.
    for n in 1..=2 {
        assert_eq!(apply(&mut sources, at(0), data(n)), ["on 01"]);
    }
    assert!(remarks(&mut sources).is_empty());
    let mut told = Vec::new();
    for second in 0..=60 {
        sources.tick(at(second));
        let heard = news(&mut sources);
        told.extend(heard.iter().map(|_| second));
        assert!(apply(&mut sources, at(second), data(100 + second)).is_empty());
    }
    assert_eq!(told, [10, 20, 30, 40, 50, 60]);
    assert_eq!(remarks(&mut sources), ["busy"]);
    // The last state comes too, and then it is well.
    assert_eq!(sources.wake_at(), Some(at(70)));
    sources.tick(at(70));
    let last = wants(&mut sources);
    let [SourceNews::Want(_, Want::On(desired))] = &last[..] else { panic!("{last:?}") };
    assert_eq!(desired.content.data["k"], "160");
    sources.tick(at(99));
    assert!(remarks(&mut sources).is_empty());
    sources.tick(at(100));
    assert_eq!((remarks(&mut sources), sources.wake_at()), (vec!["fine"], None));
    assert_eq!(apply(&mut sources, at(100), data(1)), ["on 01"]);
}

#[test]
fn a_no_is_never_delayed_and_what_follows_it_deletes_nothing() {
    let mut sources = listed(&[plain("yes")]);
    news(&mut sources);
    (1..=5).for_each(|n| drop(apply(&mut sources, at(0), data(n))));
    assert_eq!(apply(&mut sources, at(1), plain("no")), ["off"]);
    assert_eq!(remarks(&mut sources), ["busy", "off"]);
    // On again: not at once, but nothing more is taken away either.
    assert_eq!(apply(&mut sources, at(2), plain("yes")), ["leaving SourceBusy"]);
    assert_eq!(apply(&mut sources, at(3), plain("no")), ["off"]);
    assert_eq!(apply(&mut sources, at(4), plain("yes")), ["leaving SourceBusy"]);
    sources.tick(at(10));
    assert_eq!(news(&mut sources), ["on 01"]);
    assert!(!asks_at(&mut sources, at(1000)));
}

#[test]
fn the_grace_of_a_busy_source_is_a_whole_one() {
    for held in [false, true] {
        let mut sources = listed(&[plain("yes")]);
        (1..=5).for_each(|n| drop(apply(&mut sources, at(0), data(n))));
        if !held {
            sources.tick(at(10));
        }
        news(&mut sources);
        assert_eq!(gone(&mut sources, at(12)), ["leaving Leaving"]);
        assert!(!asks_at(&mut sources, at(41)));
        // It comes back while a confirmation is under way, and is held again or not.
        assert!(asks_at(&mut sources, at(42)));
        (1..=5).for_each(|n| drop(apply(&mut sources, at(43), data(n))));
        assert!(!confirm(&mut sources, at(44), Some(found(uid(1), false, None))).contains(&"off".to_owned()));
    }
}

#[test]
fn a_freeze_is_never_delayed() {
    let mut sources = listed(&[plain("yes")]);
    news(&mut sources);
    (1..=5).for_each(|n| drop(apply(&mut sources, at(0), data(n))));
    let typo = source("perhaps", |object| drop(object.content.data.insert("k".into(), "6".into())));
    sources.on_source(at(1), Kind::Secret, Feed::Applied(typo));
    let frozen = wants(&mut sources);
    let [SourceNews::Want(_, Want::Frozen(desired))] = &frozen[..] else { panic!("{frozen:?}") };
    assert_eq!(desired.content.data["k"], "2", "the data are late");
    sources.tick(at(10));
    let frozen = wants(&mut sources);
    let [SourceNews::Want(_, Want::Frozen(desired))] = &frozen[..] else { panic!("{frozen:?}") };
    assert_eq!(desired.content.data["k"], "6");
}

#[test]
fn frozen_is_not_forgotten_for_being_busy() {
    let mut sources = listed(&[plain("yes")]);
    for n in 0..20 {
        sources.tick(at(n));
        apply(&mut sources, at(n), if n % 2 == 0 { plain("perhaps") } else { plain("yes") });
    }
    apply(&mut sources, at(20), plain("perhaps"));
    (20..=90).for_each(|n| sources.tick(at(n)));
    assert_eq!(remarks(&mut sources).last(), Some(&"frozen"));
}
