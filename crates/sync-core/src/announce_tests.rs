use super::*;
use crate::contract::object::Kind;

fn key() -> SourceKey {
    SourceKey { kind: Kind::Secret, name: "regcred".into() }
}

fn uid() -> Option<Uid> {
    Uid::parse("00000000-0000-4000-8000-000000000001")
}

const fn at(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

fn trouble(reason: &'static str, note: &str) -> Option<Trouble> {
    Some(Trouble::one(reason, note.to_owned(), true))
}

/// The next Event, which is written.
fn say(announcer: &mut Announcer, now: Moment) -> Option<Announcement> {
    let event = announcer.next(now)?;
    announcer.done(now, &event.source, false);
    Some(event)
}

#[test]
fn what_got_lost_has_not_been_said() {
    let mut announcer = Announcer::default();
    announcer.place(at(0), &key(), uid(), "", trouble("Rejected", "a"));
    let (mut tries, mut serials) = (Vec::new(), Vec::new());
    for second in 0..1000 {
        if let Some(event) = announcer.next(at(second)) {
            assert_eq!(event.reason, "Rejected");
            serials.push(event.serial);
            announcer.place(at(second), &key(), uid(), "", trouble("Rejected", "b"));
            assert_eq!((announcer.next(at(second)), announcer.wake_at()), (None, None), "one at a time");
            announcer.done(at(second), &key(), true);
            tries.push(second);
        }
    }
    assert_eq!(tries, [0, 20, 60, 140, 300, 620, 940], "again and again, but less and less often");
    assert_eq!(serials, [0, 1, 1, 1, 1, 1, 1], "what says the same is the same");
    assert_eq!(say(&mut announcer, at(1260)).unwrap().note, "b");
    assert_eq!((say(&mut announcer, at(9999)), announcer.wake_at()), (None, None));
    // That it is well again is said all the same, if it was said that it is not.
    announcer.place(at(9999), &key(), uid(), "", None);
    assert_eq!(announcer.next(at(9999)).unwrap().reason, "Synced");
    announcer.done(at(9999), &key(), true);
    assert_eq!(say(&mut announcer, at(10_019)).unwrap().reason, "Synced");
    assert_eq!((say(&mut announcer, at(10_029)), announcer.wake_at()), (None, None));
    assert!(announcer.subjects.is_empty() && announcer.due.is_empty());
}

#[test]
fn what_never_could_be_said_needs_no_end() {
    let mut announcer = Announcer::default();
    announcer.place(at(0), &key(), uid(), "", trouble("Rejected", "a"));
    assert!(announcer.next(at(0)).is_some());
    announcer.place(at(1), &key(), uid(), "", None);
    announcer.done(at(2), &key(), true);
    assert_eq!((say(&mut announcer, at(100)), announcer.wake_at()), (None, None));
    assert!(announcer.subjects.is_empty() && announcer.due.is_empty());
}

#[test]
fn well_from_the_start_is_not_worth_an_event() {
    let mut announcer = Announcer::default();
    announcer.place(at(0), &key(), uid(), "", None);
    announcer.source(at(0), &key(), uid(), None);
    assert_eq!((say(&mut announcer, at(100)), announcer.wake_at()), (None, None));
}

#[test]
fn what_is_selected_no_more_is_worth_knowing_and_no_warning() {
    let tally = Tally { synced: 1, pending: 2, refused: 0 };
    let settled = Settled { source: key(), tally, reasons: Counts::default(), places: Vec::new(), not_selected: 2 };
    let Trouble { reason, note, warning, .. } = Trouble::of(&settled).unwrap();
    assert_eq!((reason, warning), ("NotSelected", false));
    assert!(note.starts_with("2 copies are no longer selected and go: change the selection"), "{note}");
    assert_eq!(Trouble::of(&Settled { not_selected: 0, ..settled }), None);
}

#[test]
fn one_event_per_change_and_none_for_counts() {
    let mut announcer = Announcer::default();
    announcer.place(at(0), &key(), uid(), "", trouble("ForeignObject", "1 of 3"));
    let event = say(&mut announcer, at(0)).unwrap();
    assert_eq!((event.reason, event.note.as_str(), event.warning), ("ForeignObject", "1 of 3", true));
    announcer.place(at(20), &key(), uid(), "", trouble("ForeignObject", "2 of 3"));
    assert_eq!(say(&mut announcer, at(20)), None);
    announcer.place(at(30), &key(), uid(), "", None);
    let event = say(&mut announcer, at(30)).unwrap();
    assert_eq!((event.reason, event.warning), ("Synced", false));
    assert_eq!((say(&mut announcer, at(40)), announcer.wake_at()), (None, None));
    assert!(announcer.subjects.is_empty() && announcer.due.is_empty(), "nothing is kept of what is well");
}

#[test]
fn of_what_is_switched_off_nothing_more_is_said() {
    let mut announcer = Announcer::default();
    announcer.source(at(0), &key(), uid(), trouble("Leaving", "its copies go"));
    announcer.place(at(0), &key(), uid(), "", trouble("ForeignObject", "1 of 3"));
    assert_eq!(say(&mut announcer, at(0)).unwrap().reason, "Leaving");
    announcer.off(at(1), &key());
    announcer.place(at(1), &key(), uid(), "", None);
    assert_eq!(say(&mut announcer, at(5)), None, "least of all that its copies are in place again");
    // What is wrong after that is, and no sooner than anything else.
    announcer.source(at(5), &key(), uid(), trouble("Frozen", "maybe"));
    assert_eq!(say(&mut announcer, at(9)), None);
    assert_eq!(say(&mut announcer, at(10)).unwrap().reason, "Frozen");
    announcer.off(at(100), &key());
    assert_eq!((say(&mut announcer, at(100)), announcer.wake_at()), (None, None));
    assert!(announcer.subjects.is_empty() && announcer.due.is_empty());
    // What troubles the end of its copies is said, but nothing is in place when that is over.
    announcer.place(at(110), &key(), uid(), "", trouble("Rejected", "it may not be deleted"));
    assert_eq!(say(&mut announcer, at(110)).unwrap().reason, "Rejected");
    announcer.place(at(120), &key(), uid(), "", None);
    assert_eq!((say(&mut announcer, at(200)), announcer.wake_at()), (None, None));
    assert!(announcer.subjects.is_empty() && announcer.due.is_empty());
    // Switched on again it is as any other.
    announcer.source(at(210), &key(), uid(), None);
    announcer.place(at(210), &key(), uid(), "", trouble("Rejected", "a"));
    assert_eq!(say(&mut announcer, at(210)).unwrap().reason, "Rejected");
    announcer.place(at(230), &key(), uid(), "", None);
    assert_eq!(say(&mut announcer, at(230)).unwrap().reason, "Synced");
    assert!(announcer.off.is_empty());
}

fn settled(wrong: &[(&str, &'static str)]) -> Settled {
    let mut reasons = Counts::default();
    let place = |(namespace, reason): &(&str, &'static str)| {
        reasons.add(reason);
        Place { namespace: (*namespace).to_owned(), reason, message: String::new(), todo: "" }
    };
    let places = wrong.iter().map(place).take(3).collect();
    let refused = u32::try_from(wrong.len()).unwrap();
    let (source, tally) = (key(), Tally { synced: 1, pending: 0, refused });
    for (_, reason) in wrong.iter().skip(3) {
        reasons.add(reason);
    }
    Settled { source, tally, reasons, places, not_selected: 0 }
}

#[test]
fn each_reason_is_named_with_its_count_and_another_one_is_another_event() {
    let mut announcer = Announcer::default();
    let wrong = [("a", "Rejected"), ("b", "Rejected"), ("c", "Rejected"), ("d", "Rejected")];
    announcer.place(at(0), &key(), uid(), "", Trouble::of(&settled(&wrong)));
    let note = say(&mut announcer, at(0)).unwrap().note;
    assert!(note.starts_with("4 of 5 copies are not in place (4 Rejected): a: Rejected; b: Rejected; "), "{note}");
    // At a place that is not named.
    announcer.place(at(20), &key(), uid(), "", Trouble::of(&settled(&[&wrong[..], &[("e", "Contested")]].concat())));
    let event = say(&mut announcer, at(20)).unwrap();
    assert_eq!(event.reason, "Rejected", "the most frequent one");
    assert!(event.note.starts_with("5 of 6 copies are not in place (4 Rejected, 1 Contested): a: "), "{}", event.note);
}

#[test]
fn what_goes_wrong_right_after_all_was_well_waits_its_turn() {
    let mut announcer = Announcer::default();
    announcer.place(at(0), &key(), uid(), "", trouble("Rejected", "a"));
    assert!(say(&mut announcer, at(0)).is_some());
    announcer.place(at(20), &key(), uid(), "", None);
    assert_eq!(say(&mut announcer, at(20)).unwrap().reason, "Synced");
    announcer.place(at(21), &key(), uid(), "", trouble("Rejected", "a"));
    assert_eq!((say(&mut announcer, at(29)), announcer.wake_at()), (None, Some(at(30))));
    assert_eq!(say(&mut announcer, at(30)).unwrap().reason, "Rejected");
}

#[test]
fn changes_in_quick_succession_are_one_event_and_only_if_something_is_left_to_say() {
    let mut announcer = Announcer::default();
    announcer.place(at(0), &key(), uid(), "", trouble("Rejected", "a"));
    assert!(say(&mut announcer, at(0)).is_some());
    announcer.place(at(1), &key(), uid(), "", None);
    announcer.place(at(2), &key(), uid(), "", trouble("Forbidden", "b"));
    assert_eq!((say(&mut announcer, at(9)), announcer.wake_at()), (None, Some(at(10))));
    assert_eq!(say(&mut announcer, at(10)).unwrap().reason, "Forbidden");
    announcer.place(at(11), &key(), uid(), "", None);
    announcer.place(at(12), &key(), uid(), "", trouble("Forbidden", "b"));
    assert_eq!((say(&mut announcer, at(60)), announcer.wake_at()), (None, None));
}

#[test]
fn what_is_wrong_with_the_source_comes_first_and_clusters_are_counted() {
    let mut announcer = Announcer::default();
    announcer.place(at(0), &key(), uid(), "eu", trouble("Rejected", "quota"));
    announcer.place(at(0), &key(), uid(), "us", trouble("Rejected", "quota"));
    assert_eq!(say(&mut announcer, at(0)).unwrap().note, "cluster eu: quota (and in 1 more clusters: 1 Rejected)");
    announcer.source(at(20), &key(), uid(), trouble("Frozen", "write yes"));
    assert_eq!(say(&mut announcer, at(20)).unwrap().note, "write yes");
    announcer.source(at(40), &key(), uid(), None);
    assert_eq!(say(&mut announcer, at(40)).unwrap().reason, "Rejected");
}

#[test]
fn entries_of_service_accounts_are_a_place_of_their_own() {
    let mut announcer = Announcer::default();
    announcer.place(at(0), &key(), uid(), ENTRIES, trouble("Forbidden", "it cannot be listed"));
    let event = say(&mut announcer, at(0)).unwrap();
    assert_eq!((event.reason, event.note.as_str()), ("Forbidden", "it cannot be listed"));
    announcer.place(at(20), &key(), uid(), "", trouble("ForeignObject", "1 of 3"));
    let event = say(&mut announcer, at(20)).unwrap();
    assert_eq!((event.reason, event.note.as_str()), ("ForeignObject", "1 of 3; Forbidden: it cannot be listed"));
    announcer.place(at(40), &key(), uid(), ENTRIES, None);
    assert_eq!(say(&mut announcer, at(40)).unwrap().note, "1 of 3");
}
