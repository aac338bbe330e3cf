//! What engines are told, and when.

#[path = "busy_tests.rs"]
mod busy_tests;
#[path = "source_namespace_tests.rs"]
mod source_namespace_tests;
#[path = "upstream_tests.rs"]
mod upstream_tests;
#[path = "version_tests.rs"]
mod version_tests;

use proptest::prelude::*;

use super::*;
use crate::contract::object::{Object, Rv, tests_support::object};
use crate::contract::rules::{Role, Rules};
use crate::contract::strip::StripList;
use crate::index::feed::Labels;

const GRACE: Duration = Duration::from_secs(30);

const fn at(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

fn uid(n: u8) -> Uid {
    Uid::parse(&format!("00000000-0000-4000-8000-0000000000{n:02x}")).unwrap()
}

fn rules() -> Rules {
    Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).unwrap())
}

fn source(switch: &str, change: impl Fn(&mut Object)) -> Source {
    let annotations: &[_] = if switch.is_empty() { &[] } else { &[("mw-sync", switch)] };
    let mut object = object(Kind::Secret, "operator", "regcred", &[], annotations);
    change(&mut object);
    Source::read(&rules(), object)
}

fn plain(switch: &str) -> Source {
    source(switch, |_| ())
}

/// A master's replica in our source namespace.
fn masters(switch: &str) -> Source {
    source(switch, |object| drop(object.labels.insert("mw-sync.io/managed-by".into(), "master".into())))
}

fn key() -> SourceKey {
    plain("").key
}

fn namespace(n: u8, terminating: bool) -> NamespaceSeen {
    let state = if terminating { Destination::Leaving } else { Destination::Open };
    NamespaceSeen { name: "operator".into(), uid: uid(n), rv: Rv(1), state, labels: Labels::new() }
}

fn word(news: &SourceNews) -> String {
    match news {
        SourceNews::Want(_, Want::On(desired)) => format!("on {}", desired.origin_uid.to_string().split_off(34)),
        SourceNews::Want(_, Want::Frozen(_)) => "frozen".into(),
        SourceNews::Want(_, Want::Never) => "never".into(),
        SourceNews::Want(_, Want::Leaving(why)) => format!("leaving {why}"),
        SourceNews::Want(_, Want::Off(_)) => "off".into(),
        SourceNews::Version(_, version) => format!("version {}", version.rv),
        SourceNews::Forgotten(_) => "forgotten".into(),
        SourceNews::Namespace { deletes_frozen: true, .. } => "frozen namespace".into(),
        SourceNews::Namespace { .. } => "namespace".into(),
        SourceNews::Complete => "complete".into(),
        SourceNews::Current(term) => format!("current {term}"),
        SourceNews::Noted(noted) => format!("noted {noted}"),
    }
}

/// All lists have come; these are the Secrets.
fn listed(secrets: &[Source]) -> Sources {
    let mut sources = Sources::new(GRACE);
    sources.on_namespace(at(0), Feed::Init);
    sources.on_namespace(at(0), Feed::Listed(namespace(1, false)));
    sources.on_namespace(at(0), Feed::InitDone(Rv(1)));
    for kind in Kind::ALL {
        sources.on_source(at(0), kind, Feed::Init);
        if kind == Kind::Secret {
            secrets.iter().for_each(|source| sources.on_source(at(0), kind, Feed::Listed(source.clone())));
        }
        sources.on_source(at(0), kind, Feed::InitDone(Rv(1)));
    }
    sources
}

/// What is wanted; versions are told apart, see [`versions`].
fn news(sources: &mut Sources) -> Vec<String> {
    wants(sources).iter().map(word).collect()
}

fn wants(sources: &mut Sources) -> Vec<SourceNews> {
    sources.take_news().into_iter().filter(|news| !matches!(news, SourceNews::Version(..))).collect()
}

/// The versions that are told, and what comes before each.
fn versions(sources: &mut Sources) -> Vec<String> {
    sources.take_news().iter().map(word).collect()
}

/// The same object in another version.
fn in_version(rv: u64, mut source: Source) -> Source {
    source.version.rv = Rv(rv);
    source
}

fn apply(sources: &mut Sources, now: Moment, source: Source) -> Vec<String> {
    sources.on_source(now, Kind::Secret, Feed::Applied(source));
    news(sources)
}

fn gone(sources: &mut Sources, now: Moment) -> Vec<String> {
    sources.on_source(now, Kind::Secret, Feed::Gone(plain("")));
    news(sources)
}

/// Time passes; whether a confirmation is asked for then.
fn asks_at(sources: &mut Sources, now: Moment) -> bool {
    sources.tick(now);
    sources.next_confirmation().is_some()
}

const fn found(n: Uid, terminating: bool, source: Option<Reading>) -> Confirmation {
    Confirmation { namespace: Some(SourceNamespace { uid: n, terminating }), source }
}

fn confirm(sources: &mut Sources, now: Moment, result: Option<Confirmation>) -> Vec<String> {
    sources.confirmed(now, &key(), result);
    news(sources)
}

/// On, then gone at 10 s; the confirmation is under way at 40 s.
fn confirming() -> Sources {
    let mut sources = listed(&[plain("yes")]);
    gone(&mut sources, at(10));
    assert!(asks_at(&mut sources, at(40)));
    sources
}

#[test]
fn the_lists_in_order() {
    let mut sources = listed(&[plain("yes")]);
    assert_eq!(news(&mut sources), ["namespace", "on 01", "complete"]);
    let mut sources = Sources::new(GRACE);
    for kind in Kind::ALL {
        sources.on_source(at(0), kind, Feed::Init);
        sources.on_source(at(0), kind, Feed::InitDone(Rv(1)));
    }
    sources.on_namespace(at(0), Feed::Init);
    sources.on_namespace(at(0), Feed::InitDone(Rv(1)));
    assert_eq!(news(&mut sources), ["frozen namespace"], "without its namespace nothing is complete");
    sources.on_namespace(at(0), Feed::Applied(namespace(1, false)));
    assert_eq!(news(&mut sources), ["namespace", "complete"]);
}

#[test]
fn an_explicit_no_acts_at_once() {
    let mut sources = listed(&[plain("yes")]);
    news(&mut sources);
    assert_eq!(apply(&mut sources, at(1), plain("no")), ["off"]);
    // Without the switch, or without the source, that stands.
    assert!(apply(&mut sources, at(2), plain("")).is_empty());
    assert!(gone(&mut sources, at(3)).is_empty());
    assert!(!asks_at(&mut sources, at(500)));
    sources.tick(at(2) + FORGET_AFTER);
    assert_eq!(news(&mut sources), ["forgotten"]);
    assert_eq!(sources.wake_at(), None);
}

#[test]
fn a_source_that_is_gone_is_off_after_the_grace_and_a_confirmation() {
    for remains in [None, Some(Reading::Plain)] {
        let mut sources = listed(&[plain("yes")]);
        news(&mut sources);
        let told = match remains {
            None => gone(&mut sources, at(10)),
            Some(_) => apply(&mut sources, at(10), plain("")),
        };
        assert_eq!(told, ["leaving Leaving"]);
        assert_eq!(sources.wake_at(), Some(at(40)));
        assert!(!asks_at(&mut sources, at(39)));
        assert!(asks_at(&mut sources, at(40)));
        assert!(news(&mut sources).is_empty());
        assert_eq!(confirm(&mut sources, at(41), Some(found(uid(1), false, remains))), ["off"]);
    }
}

#[test]
fn back_within_the_grace_costs_nothing() {
    let mut sources = listed(&[plain("yes")]);
    gone(&mut sources, at(10));
    news(&mut sources);
    assert_eq!(apply(&mut sources, at(39), plain("yes")), ["on 01"]);
    assert!(!asks_at(&mut sources, at(100)));
    assert_eq!(sources.wake_at(), None);
}

#[test]
fn a_confirmation_that_does_not_confirm_is_tried_again_more_and_more_slowly() {
    let denials: [fn() -> Option<Confirmation>; 6] = [
        || None,
        || Some(found(uid(1), true, None)),
        || Some(found(uid(2), false, None)),
        || Some(Confirmation { namespace: None, source: None }),
        || Some(found(uid(1), false, Some(plain("yes").reading))),
        || Some(found(uid(1), false, Some(plain("perhaps").reading))),
    ];
    for denial in denials {
        let mut sources = confirming();
        news(&mut sources);
        let mut now = at(40);
        for wait in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert!(confirm(&mut sources, now, denial()).is_empty());
            assert_eq!(sources.wake_at(), Some(now + at(wait)));
            now += at(wait);
            assert!(asks_at(&mut sources, now));
        }
        assert_eq!(confirm(&mut sources, now, Some(found(uid(1), false, None))), ["off"]);
    }
}

#[test]
fn a_confirmation_of_an_earlier_absence_does_not_count() {
    let mut sources = confirming();
    apply(&mut sources, at(41), plain("yes"));
    assert_eq!(gone(&mut sources, at(42)), ["leaving Leaving"]);
    assert!(confirm(&mut sources, at(43), Some(found(uid(1), false, None))).is_empty());
    assert!(!asks_at(&mut sources, at(71)));
    assert!(asks_at(&mut sources, at(72)));
    // The same if it is so late that the second grace is over: it is not taken for the second, which is asked for.
    let mut sources = confirming();
    apply(&mut sources, at(41), plain("yes"));
    gone(&mut sources, at(42));
    assert!(!asks_at(&mut sources, at(72)));
    assert!(confirm(&mut sources, at(73), Some(found(uid(1), false, None))).is_empty());
    assert!(asks_at(&mut sources, at(75)));
    assert_eq!(confirm(&mut sources, at(76), Some(found(uid(1), false, None))), ["off"]);
}

#[test]
fn a_confirmation_after_it_came_back_changes_nothing() {
    let mut sources = confirming();
    apply(&mut sources, at(41), plain("yes"));
    assert!(confirm(&mut sources, at(42), Some(found(uid(1), false, None))).is_empty());
    assert_eq!(sources.wake_at(), None);
}

#[test]
fn an_engine_asks_about_orphans() {
    let mut sources = Sources::new(GRACE);
    sources.ask(at(0), &key(), false);
    assert!(news(&mut sources).is_empty(), "not before all lists");
    let mut sources = listed(&[]);
    news(&mut sources);
    sources.ask(at(5), &key(), false);
    sources.ask(at(6), &key(), false);
    assert_eq!(news(&mut sources), ["leaving Leaving"]);
    assert!(asks_at(&mut sources, at(35)));
    assert_eq!(confirm(&mut sources, at(36), Some(found(uid(1), false, None))), ["off"]);
    let mut sources = listed(&[]);
    news(&mut sources);
    sources.ask(at(5), &key(), true);
    assert_eq!(news(&mut sources), ["leaving SourceVanished"]);
    // One that was named is no orphan.
    let mut sources = listed(&[plain("yes")]);
    news(&mut sources);
    sources.ask(at(5), &key(), false);
    assert!(news(&mut sources).is_empty());
}

#[test]
fn an_equal_source_is_no_news() {
    let mut sources = listed(&[plain("yes")]);
    news(&mut sources);
    assert!(apply(&mut sources, at(1), plain("yes")).is_empty());
    let noted = source("yes", |object| drop(object.annotations.insert("note".into(), "x".into())));
    assert!(apply(&mut sources, at(2), noted).is_empty());
    let changed = source("yes", |object| drop(object.content.data.insert("k".into(), "bmV3".into())));
    assert_eq!(apply(&mut sources, at(3), changed), ["on 01"]);
    sources.on_source(at(4), Kind::Secret, Feed::Init);
    sources.on_source(
        at(4),
        Kind::Secret,
        Feed::Listed(source("yes", |object| {
            object.content.data.insert("k".into(), "bmV3".into());
        })),
    );
    sources.on_source(at(4), Kind::Secret, Feed::InitDone(Rv(9)));
    assert!(news(&mut sources).is_empty(), "a list again");
}

#[test]
fn a_list_that_lacks_a_source_is_its_end() {
    let mut sources = listed(&[plain("yes")]);
    news(&mut sources);
    sources.on_source(at(1), Kind::Secret, Feed::Init);
    assert!(news(&mut sources).is_empty(), "not before it is complete");
    sources.on_source(at(1), Kind::Secret, Feed::InitDone(Rv(9)));
    assert_eq!(news(&mut sources), ["leaving Leaving"]);
}

#[test]
fn remarks_are_made_once_and_taken_back() {
    let mut sources = listed(&[plain("perhaps")]);
    assert!(matches!(sources.take_remarks()[..], [Remark::Frozen(..)]));
    apply(&mut sources, at(1), plain("perhaps"));
    assert!(sources.take_remarks().is_empty());
    apply(&mut sources, at(2), plain("yes"));
    apply(&mut sources, at(3), plain("perhaps"));
    assert!(matches!(sources.take_remarks()[..], [Remark::Fine(..), Remark::Frozen(..)]));
    gone(&mut sources, at(4));
    assert!(matches!(sources.take_remarks()[..], [Remark::Leaving(..)]));
}

proptest! {
    /// Whoever hears a snapshot and then the news knows what one who heard all the news knows.
    #[test]
    fn a_snapshot_replays_the_news(steps in prop::collection::vec(0..9usize, 0..40), split in 0..40usize) {
        let mut sources = listed(&[]);
        let mut now = at(0);
        let (mut always, mut late): (Vec<String>, Option<Vec<String>>) = (Vec::new(), None);
        let last = |heard: &[SourceNews], state: &mut Vec<String>| {
            for news in heard {
                let slot = match news {
                    SourceNews::Want(..) | SourceNews::Forgotten(_) => "source",
                    SourceNews::Version(..) => "version",
                    SourceNews::Namespace { .. } => "namespace",
                    SourceNews::Complete => "complete",
                    SourceNews::Current(_) | SourceNews::Noted(_) => panic!("the feed's affair"),
                };
                // A version is of what was told last.
                state.retain(|line| !line.starts_with(slot) && (slot != "source" || !line.starts_with("version")));
                if !matches!(news, SourceNews::Forgotten(_)) {
                    state.push(format!("{slot} {}", word(news)));
                }
                state.sort();
            }
        };
        last(&sources.take_news(), &mut always);
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                0 => sources.on_source(now, Kind::Secret, Feed::Applied(plain("yes"))),
                1 => sources.on_source(now, Kind::Secret, Feed::Applied(plain("no"))),
                2 => sources.on_source(now, Kind::Secret, Feed::Applied(plain(""))),
                3 => sources.on_source(now, Kind::Secret, Feed::Applied(plain("perhaps"))),
                4 => sources.on_source(now, Kind::Secret, Feed::Gone(plain(""))),
                5 => sources.on_namespace(now, Feed::Applied(namespace(1, false))),
                6 => sources.on_namespace(now, Feed::Applied(namespace(2, true))),
                7 => sources.on_namespace(now, Feed::Gone(namespace(2, true))),
                _ => {
                    now += at(35);
                    sources.tick(now);
                    while let Some(key) = sources.next_confirmation() {
                        let namespace = sources.namespace().is();
                        sources.confirmed(now, &key, Some(Confirmation { namespace, source: None }));
                    }
                }
            }
            let heard = sources.take_news();
            last(&heard, &mut always);
            if let Some(late) = &mut late {
                last(&heard, late);
            }
            if n == split {
                let mut state = Vec::new();
                last(&sources.snapshot(), &mut state);
                late = Some(state);
            }
        }
        if let Some(late) = late {
            prop_assert_eq!(late, always);
        }
    }
}
