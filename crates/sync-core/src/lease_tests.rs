use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: f64) -> Moment {
    Duration::from_secs_f64(seconds)
}

fn record(rv: u64, holder: &str) -> Record {
    let holder = Some(holder.to_owned()).filter(|holder| !holder.is_empty());
    Record { rv: Rv(rv), holder, duration: LEASE, transitions: 3 }
}

fn standby(holder: &str) -> Election {
    let mut election = Election::new("me".to_owned(), 1);
    election.on(at(0.0), Input::Seen(record(5, holder)));
    election
}

/// One that has got it with a request that was sent at that moment.
fn leader(sent: f64) -> Election {
    let mut election = standby("");
    assert_eq!(election.next(at(sent)), Some(Request::Take { rv: Rv(5), transitions: 4 }));
    election.on(at(sent + 0.1), Input::Done(Some(record(6, "me"))));
    election
}

#[test]
fn nothing_is_asked_before_the_first_list_and_then_the_lease_is_made() {
    let mut election = Election::new("me".to_owned(), 1);
    assert_eq!((election.next(at(100.0)), election.wake_at(at(100.0))), (None, None));
    election.on(at(100.0), Input::Gone(Rv(4)));
    assert_eq!(election.next(at(100.0)), Some(Request::Create));
    assert_eq!((election.next(at(100.0)), election.lead()), (None, Lead::No));
    election.on(at(101.0), Input::Done(Some(record(5, "me"))));
    // From when it was sent, for others count from later.
    assert_eq!(election.lead(), Lead::Until(at(115.0), 1));
}

#[test]
fn a_lease_of_another_is_taken_when_it_has_stood_unchanged_for_its_time() {
    let mut election = standby("other");
    assert_eq!((election.next(at(14.9)), election.wake_at(at(14.9))), (None, Some(at(15.0))));
    // Shown once more it is no other.
    election.on(at(14.9), Input::Seen(record(5, "other")));
    // Renewed.
    election.on(at(14.95), Input::Seen(record(6, "other")));
    assert_eq!((election.next(at(20.0)), election.wake_at(at(20.0))), (None, Some(at(29.95))));
    assert_eq!(election.next(at(29.95)), Some(Request::Take { rv: Rv(6), transitions: 4 }));
}

#[test]
fn a_longer_lease_is_respected_and_a_silly_one_is_not() {
    let with = |seconds| {
        let mut election = Election::new("me".to_owned(), 1);
        let record = Record { duration: Duration::from_secs(seconds), ..record(5, "other") };
        election.on(at(0.0), Input::Seen(record));
        election.wake_at(at(0.0)).unwrap()
    };
    assert_eq!((with(60), with(0), with(1_000_000)), (at(60.0), LEASE, LONGEST));
}

#[test]
fn one_that_was_given_up_is_taken_at_once() {
    let mut election = standby("other");
    election.on(at(3.0), Input::Seen(record(6, "")));
    assert_eq!(election.next(at(3.0)), Some(Request::Take { rv: Rv(6), transitions: 4 }));
    // Another standby was faster.
    election.on(at(3.1), Input::Raced);
    assert_eq!(election.next(at(3.1)), Some(Request::Read));
    election.on(at(3.2), Input::Done(Some(record(7, "third"))));
    assert_eq!((election.next(at(3.2)), election.wake_at(at(3.2))), (None, Some(at(18.2))));
    assert_eq!(election.holder(), Some("third"));
}

#[test]
fn renewed_in_time_it_is_held_on_and_not_renewed_it_is_lost() {
    let mut election = leader(0.0);
    assert_eq!((election.next(at(4.9)), election.wake_at(at(4.9))), (None, Some(at(5.0))));
    assert_eq!(election.next(at(5.0)), Some(Request::Renew(Rv(6))));
    election.on(at(5.1), Input::Done(Some(record(7, "me"))));
    assert_eq!(election.lead(), Lead::Until(at(20.0), 1));
    // Its own renewal, by the watch.
    election.on(at(5.2), Input::Seen(record(7, "me")));
    let mut now = at(10.0);
    let mut tries = 0;
    while let Some(request) = election.next(now) {
        if now >= at(20.0) {
            break;
        }
        assert_eq!(request, Request::Renew(Rv(7)));
        tries += 1;
        election.on(now + SECOND, Input::Failed);
        assert_eq!(election.lead(), Lead::Until(at(20.0), 1));
        now = election.wake_at(now + SECOND).unwrap();
    }
    assert!(tries >= 4, "{tries}");
    // It is still ours as far as is known: taken again, it is another term.
    election.on(now, Input::Done(Some(record(8, "me"))));
    assert!(matches!(election.lead(), Lead::Until(_, 2)), "{:?}", election.lead());
}

#[test]
fn a_renewal_whose_answer_was_lost_is_found_by_a_read() {
    let mut election = leader(0.0);
    assert_eq!(election.next(at(5.0)), Some(Request::Renew(Rv(6))));
    election.on(at(8.0), Input::Failed);
    assert_eq!(election.next(at(9.0)), Some(Request::Renew(Rv(6))));
    election.on(at(9.1), Input::Raced);
    assert_eq!(election.next(at(9.1)), Some(Request::Read));
    election.on(at(9.2), Input::Done(Some(record(7, "me"))));
    // That it was renewed then does not count: when it arrived there is not known.
    assert_eq!(election.lead(), Lead::Until(at(15.0), 1));
    assert_eq!(election.next(at(9.2)), Some(Request::Renew(Rv(7))));
}

#[test]
fn whoever_sees_another_holder_leads_no_more() {
    for input in [Input::Seen(record(7, "other")), Input::Gone(Rv(7))] {
        let mut election = leader(0.0);
        election.on(at(1.0), input);
        assert_eq!(election.lead(), Lead::No);
    }
    let mut election = leader(0.0);
    // What is past is not news.
    election.on(at(1.0), Input::Seen(record(5, "other")));
    election.on(at(1.0), Input::Gone(Rv(4)));
    assert_eq!(election.lead(), Lead::Until(at(15.0), 1));
}

#[test]
fn a_lease_that_was_deleted_is_free_when_its_holder_must_have_noticed() {
    let mut election = standby("other");
    election.on(at(3.0), Input::Gone(Rv(6)));
    assert_eq!((election.next(at(14.0)), election.wake_at(at(14.0))), (None, Some(at(15.0))));
    assert_eq!(election.next(at(15.0)), Some(Request::Create));
}

#[test]
fn a_write_that_makes_no_new_version_does_not_count() {
    let mut election = leader(0.0);
    assert_eq!(election.next(at(5.0)), Some(Request::Renew(Rv(6))));
    election.on(at(5.1), Input::Done(Some(record(6, "me"))));
    assert_eq!(election.lead(), Lead::Until(at(15.0), 1));
}

#[test]
fn it_is_given_up_once_and_only_by_its_holder() {
    let mut election = leader(0.0);
    election.on(at(1.0), Input::Stop);
    assert!(!election.is_over());
    assert_eq!(election.next(at(1.0)), Some(Request::Release(Rv(6))));
    // Before it is answered.
    assert_eq!(election.lead(), Lead::No);
    election.on(at(1.1), Input::Done(Some(record(7, ""))));
    assert!(election.is_over());
    assert_eq!((election.next(at(1.1)), election.wake_at(at(1.1))), (None, None));
    let mut election = standby("other");
    election.on(at(1.0), Input::Stop);
    assert_eq!((election.next(at(100.0)), election.is_over()), (None, true));
    // A renewal is under way: it ends first.
    let mut election = leader(0.0);
    assert_eq!(election.next(at(5.0)), Some(Request::Renew(Rv(6))));
    election.on(at(5.1), Input::Stop);
    assert_eq!((election.next(at(5.1)), election.is_over()), (None, false));
    election.on(at(5.2), Input::Done(Some(record(7, "me"))));
    assert_eq!(election.next(at(5.2)), Some(Request::Release(Rv(7))));
}

#[test]
fn no_write_begins_that_might_not_end_in_time() {
    let deadline = Duration::from_secs(4);
    let lead = Lead::Until(at(15.0), 1);
    assert!(lead.allows(at(10.0), deadline) && !lead.allows(at(10.001), deadline));
    assert!(Lead::Always.allows(at(1e6), deadline) && !Lead::No.allows(at(0.0), deadline));
}

#[test]
fn a_licence_needs_the_lease_and_sources_as_of_then() {
    let (deadline, lead) = (Duration::from_secs(4), |term| Lead::Until(at(15.0), term));
    assert!(Licence::default().leads(), "the only process");
    let mut licence = Licence::default();
    assert!(!licence.set_lead(Lead::No) && !licence.leads());
    assert!(!licence.set_lead(lead(1)) && !licence.allows(at(0.0), deadline));
    // Everything is planned again, once.
    assert!(licence.set_current(1) && licence.allows(at(0.0), deadline));
    assert!(!licence.set_lead(lead(1)));
    assert!(!licence.set_lead(Lead::No) && !licence.leads());
    // The next term needs them anew.
    assert!(!licence.set_lead(lead(2)) && !licence.leads());
    assert!(licence.set_current(2) && licence.leads() && !licence.allows(at(10.5), deadline));
}
