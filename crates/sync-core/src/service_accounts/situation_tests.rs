//! One situation each, by hand.

use super::model_tests::{on, template};
use super::stage::{OPTION, S, Stage, is_now, key, namespace};
use super::tests_support::{read, stored, uid};
use super::*;
use crate::contract::keys;
use crate::contract::options::OnDelete;
use crate::plan::Destination;
use crate::plan::Want;
use crate::reason::Reason;

#[test]
fn nothing_is_watched_or_written_unless_a_source_asks() {
    let mut stage = Stage::new(&[("a", on("a", &[])), ("b", Want::Off(None))], false);
    assert_eq!(stage.passed(), ["a", "b"], "nobody waits");
    assert_eq!((stage.machine.watching(), stage.next().is_none(), stage.machine.wake_at()), (None, true, None));
    stage.want("a", on("a", OPTION));
    assert!(stage.machine.watching().is_some());
    stage.list();
    let Some(Order { id, step: Step::Remember(true) }) = stage.next() else { panic!("first the note") };
    assert!(stage.next().is_none(), "no entry before it is there");
    stage.on(Input::Done(id, Ok(Reply::Remembered)));
    stage.carry_out();
    assert_eq!(stage.names(), ["theirs", "a"]);

    stage.want("a", Want::Off(Some(OnDelete::Delete)));
    stage.carry_out();
    assert_eq!(
        (stage.names(), stage.is_recorded("a"), stage.passed()),
        (vec!["theirs".to_owned()], false, vec!["a".to_owned(); 2])
    );
    let Some(Order { id, step: Step::Remember(false) }) = stage.next() else { panic!("last the note") };
    assert!(stage.machine.watching().is_some());
    stage.on(Input::Done(id, Ok(Reply::Remembered)));
    assert_eq!((stage.machine.watching(), stage.next().is_none(), stage.machine.wake_at()), (None, true, None));
}

#[test]
fn no_entry_is_written_while_the_note_is_taken_away() {
    let mut stage = Stage::listed();
    stage.want("a", Want::Off(None));
    stage.carry_out();
    let Some(Order { id, step: Step::Remember(false) }) = stage.next() else { panic!() };
    stage.want("a", on("a", OPTION));
    assert!(stage.next().is_none());
    stage.on(Input::Done(id, Ok(Reply::Remembered)));
    let Some(Order { step: Step::Remember(true), .. }) = stage.next() else { panic!() };
}

#[test]
fn a_secret_goes_after_its_entries() {
    let mut stage = Stage::listed();
    stage.want("a", Want::Off(Some(OnDelete::Delete)));
    assert!(stage.passed().is_empty(), "held");
    let (id, reply) = stage.patch();
    assert!(stage.passed().is_empty(), "the reply may say anything");
    stage.on(Input::Done(id, reply));
    assert_eq!(stage.passed(), ["a"]);
}

#[test]
fn but_it_does_not_wait_for_long() {
    let mut stage = Stage::listed();
    stage.want("a", Want::Off(Some(OnDelete::Delete)));
    stage.fail(Fault::Rejected("policy".into()));
    stage.now += gate::HOLD - S;
    assert!(stage.passed().is_empty());
    stage.now += S;
    assert!(stage.machine.wake_at().is_some_and(|at| at <= stage.now));
    assert_eq!(stage.passed(), ["a"]);
    assert_eq!(stage.machine.take_news(stage.now).len(), 0, "once");
    stage.carry_out();
    assert_eq!(stage.names(), ["theirs"], "it is tried on");
}

#[test]
fn a_source_that_comes_back_in_that_time_was_never_off() {
    let mut stage = Stage::listed();
    stage.want("a", Want::Off(Some(OnDelete::Delete)));
    stage.want("a", on("a", OPTION));
    assert_eq!(stage.passed(), ["a"], "only that it is on");
    stage.now += gate::HOLD;
    assert!(stage.passed().is_empty());
    assert!(stage.next().is_none() && stage.is_recorded("a"));
}

#[test]
fn what_is_said_of_a_source_that_was_held_comes_in_order() {
    let mut stage = Stage::listed();
    stage.want("a", Want::Off(None));
    stage.on(Input::Sources(SourceNews::Forgotten(key("a"))));
    let news = stage.machine.take_news(stage.now);
    assert!(matches!(&news[..], [SourceNews::Want(_, Want::Off(None)), SourceNews::Forgotten(_)]), "{news:?}");
}

#[test]
fn after_a_restart_what_is_left_is_found() {
    for (retain, names) in [("", &["theirs"][..]), (":retain", &["theirs", "a"])] {
        let mut stage = Stage::new(&[], true);
        let added = format!("operator/a:{}:upstream{retain}", uid(9));
        stage.account = stored(&["theirs", "a"], &[(keys::ADDED_PULL_SECRETS, &added)]);
        stage.list();
        assert!(stage.next().is_none(), "what a source says is not known");
        assert_eq!(stage.machine.take_asks(), [(key("a"), true)]);
        stage.want("a", Want::Leaving(Reason::Leaving));
        assert!(stage.next().is_none(), "in its grace");
        stage.want("a", Want::Off(None));
        stage.carry_out();
        assert_eq!(
            (stage.names(), stage.is_recorded("a")),
            (names.iter().map(|name| (*name).to_owned()).collect(), false)
        );
    }
}

#[test]
fn a_source_that_is_off_at_the_start_waits_for_the_list() {
    let mut stage = Stage::new(&[("a", Want::Off(None))], true);
    let added = format!("operator/a:{}", uid(9));
    stage.account = stored(&["a"], &[(keys::ADDED_PULL_SECRETS, &added)]);
    assert!(stage.passed().is_empty());
    stage.list();
    assert!(stage.passed().is_empty());
    stage.carry_out();
    assert_eq!(stage.passed(), ["a"]);
}

#[test]
fn nothing_moves_while_a_source_is_frozen_or_its_namespace_goes() {
    for want in [
        Want::Frozen(Arc::new(template("a", OPTION).desired(uid(9)))),
        Want::Leaving(Reason::SourceVanished),
        Want::Never,
    ] {
        let mut stage = Stage::listed();
        stage.want("a", want);
        let edited = stage.edit(&[]);
        stage.shown(edited);
        assert!(stage.next().is_none());
    }
    let mut stage = Stage::listed();
    stage.on(Input::Sources(SourceNews::Namespace { uid: Some(uid(9)), deletes_frozen: true }));
    stage.want("a", Want::Off(None));
    assert!(stage.next().is_none());
    assert_eq!(stage.passed(), ["a"], "the engine knows that itself");
    // Another incarnation of the namespace, in which the source never was; the note has gone with the one before.
    stage.on(Input::Sources(SourceNews::Namespace { uid: Some(uid(8)), deletes_frozen: false }));
    for (answer, step) in [(Reply::Recalled(false), "look for our note"), (Reply::Remembered, "note that")] {
        let order = stage.next().unwrap();
        assert!(order.step.to_string().starts_with(step), "{order:?}");
        stage.on(Input::Done(order.id, Ok(answer)));
    }
    assert!(stage.next().is_none());
    stage.want("a", Want::On(Arc::new(template("a", OPTION).desired(uid(8)))));
    stage.carry_out();
    stage.want("a", Want::Off(None));
    stage.carry_out();
    assert_eq!(stage.names(), ["theirs"]);
}

#[test]
fn of_a_reply_and_an_event_the_newer_counts() {
    let mut stage = Stage::new(&[("a", on("a", OPTION))], true);
    stage.list();
    let old = read(&stage.account);
    let (id, reply) = stage.patch();
    // Taken out at once, and shown before our own reply is there.
    let edited = stage.edit(&["theirs"]);
    stage.shown(edited);
    stage.on(Input::Done(id, reply));
    stage.carry_out();
    assert_eq!(stage.names(), ["theirs", "a"]);
    stage.shown(old);
    assert!(stage.next().is_none(), "the event of before");
}

#[test]
fn a_lost_race_is_run_again_when_it_is_known_why() {
    let mut stage = Stage::new(&[("a", on("a", OPTION))], true);
    stage.list();
    let order = stage.next().unwrap();
    let edited = stage.edit(&["theirs", "more"]);
    stage.shown(edited);
    stage.on(Input::Done(order.id, Err(Fault::LostRace)));
    stage.carry_out();
    assert_eq!(stage.names(), ["theirs", "more", "a"]);
    assert_eq!(stage.said("a"), None);
}

#[test]
fn a_namespace_that_is_selected_no_more_keeps_them_for_most_of_the_grace() {
    let selector = (keys::NAMESPACE_SELECTOR, "!x");
    let mut stage = Stage::new(&[("a", on("a", &[OPTION, &[selector]].concat()))], true);
    stage.list();
    stage.carry_out();
    let (out, back) = (namespace(Destination::Open, &[("x", "")]), namespace(Destination::Open, &[]));
    stage.on(is_now(out.clone()));
    stage.now += 19 * S;
    assert!(stage.next().is_none());
    stage.on(is_now(back));
    stage.now += 19 * S;
    assert!(stage.next().is_none(), "back in time costs nothing");
    stage.on(is_now(out));
    stage.now += 20 * S;
    assert_eq!(stage.machine.wake_at(), Some(stage.now));
    stage.fail(Fault::Rejected("policy".into()));
    stage.now += S;
    stage.carry_out();
    assert_eq!(stage.names(), ["theirs"], "a failure does not begin the grace anew");
    assert_eq!(stage.machine.wake_at(), None);
}

/// Promise 8: what is not asked for any more for another reason than before stays as long as if it had been till then.
#[test]
fn the_grace_begins_anew_when_it_is_another_reason() {
    let (named, selector) = (on("a", OPTION), (keys::NAMESPACE_SELECTOR, "x"));
    let mut stage = Stage::new(&[("a", named)], true);
    stage.list();
    stage.carry_out();
    stage.want("a", on("a", &[]));
    stage.now += 19 * S;
    stage.want("a", on("a", &[OPTION, &[selector]].concat()));
    stage.now += 19 * S;
    assert!(stage.next().is_none());
    stage.now += S;
    stage.carry_out();
    assert_eq!(stage.names(), ["theirs"]);
}

#[test]
fn a_namespace_that_opts_out_loses_them_at_once_and_one_that_ends_is_left_alone() {
    let mut stage = Stage::listed();
    stage.on(is_now(namespace(Destination::Leaving, &[])));
    stage.want("a", Want::Off(None));
    assert!(stage.next().is_none());
    let mut stage = Stage::listed();
    stage.on(is_now(namespace(Destination::Excluded, &[])));
    stage.carry_out();
    assert_eq!(stage.names(), ["theirs"]);
}

/// As for replicas: `a_store_that_was_put_back_and_goes_on_far_above_is_believed`.
#[test]
fn a_store_that_was_put_back_is_believed() {
    let mut stage = Stage::new(&[("a", on("a", OPTION))], true);
    let before = stage.account.clone();
    stage.list();
    stage.carry_out();
    assert!(stage.next().is_none());
    (stage.account, stage.version) = (before.clone(), 1000);
    stage.list();
    stage.carry_out();
    assert_eq!(stage.names(), ["theirs", "a"]);
    // What a streaming list has shown before it is complete may have changed.
    let now = read(&stage.account);
    for feed in [Feed::Init, Feed::Listed(read(&before)), Feed::Listed(now), Feed::InitDone(Rv(stage.version))] {
        stage.on(Input::Account(feed));
    }
    assert!(stage.next().is_none());
}

#[test]
fn patterns_that_are_new_ask_for_another_list() {
    let mut stage = Stage::listed();
    let first = stage.machine.watching();
    stage.want("b", on("b", OPTION));
    assert_eq!(stage.machine.watching(), first, "the same ServiceAccounts");
    stage.want("b", on("b", &[(keys::IMAGE_PULL_SECRET, "builder")]));
    assert_ne!(stage.machine.watching(), first);
    let second = stage.machine.watching();
    stage.want("b", on("b", &[]));
    assert_eq!(stage.machine.watching(), second, "fewer need none");
}

#[test]
fn a_missing_right_is_said_with_what_to_do_and_passes() {
    let mut stage = Stage::new(&[("a", on("a", OPTION)), ("b", on("b", &[]))], true);
    let forbidden = || Fault::Forbidden("serviceaccounts is forbidden".into());
    stage.on(Input::Watch("serviceaccounts", Err(forbidden())));
    let said = stage.said("a").unwrap();
    assert!(
        said.starts_with("Forbidden: ") && said.ends_with("kubectl apply -f deploy/agent-service-accounts.yaml"),
        "{said}"
    );
    stage.list();
    // The right to write alone is missing: one at a time, not each on its own.
    stage.fail(forbidden());
    assert!(stage.said("a").unwrap().starts_with("Forbidden: "));
    assert!(stage.next().is_none());
    stage.now += 2 * S;
    stage.carry_out();
    assert_eq!(stage.said("a"), None);
}

#[test]
fn what_fails_at_one_place_is_said() {
    let mut stage = Stage::new(&[("a", on("a", OPTION))], true);
    stage.list();
    stage.fail(Fault::Rejected("quota".into()));
    let said = stage.said("a").unwrap();
    assert_eq!(
        said,
        "Rejected: imagePullSecrets of 1 ServiceAccounts are not as they should be (1 Rejected): app/default: Rejected, rejected: quota"
    );
    stage.now += S;
    stage.carry_out();
    assert_eq!(stage.said("a"), None);
}

#[test]
fn a_war_over_an_entry_is_not_fought() {
    let mut stage = Stage::listed();
    for round in 0..RESTORATIONS {
        let edited = stage.edit(&["theirs"]);
        stage.shown(edited);
        stage.carry_out();
        assert_eq!(stage.names(), ["theirs", "a"], "restoration {round}");
    }
    let edited = stage.edit(&["theirs"]);
    stage.shown(edited);
    assert!(stage.next().is_none());
    assert!(stage.said("a").unwrap().starts_with("Contested: "));
    let pause = stage.machine.wake_at().unwrap() - stage.now;
    assert!((30 * S..=60 * S).contains(&pause), "{pause:?}");
    stage.now += pause;
    stage.carry_out();
    let edited = stage.edit(&["theirs"]);
    stage.shown(edited);
    assert!(stage.next().is_none());
    let pause = stage.machine.wake_at().unwrap() - stage.now;
    assert!((60 * S..=120 * S).contains(&pause), "{pause:?}");
    stage.now += pause;
    stage.carry_out();
    // Left alone for long enough, it is no war any more.
    stage.now += rivals::WINDOW + S;
    let edited = stage.edit(&["theirs"]);
    stage.shown(edited);
    stage.carry_out();
    // What the source says anew is written at once.
    stage.want("a", Want::Off(None));
    stage.carry_out();
    assert_eq!(stage.names(), ["theirs"]);
}

#[test]
fn what_admission_takes_out_is_not_written_again() {
    for event_first in [true, false] {
        let mut stage = Stage::new(&[("a", on("a", OPTION))], true);
        stage.list();
        let (id, reply) = stage.patch();
        stage.account = stored(&["theirs"], &[]);
        stage.account["metadata"]["resourceVersion"] = stage.version.to_string().into();
        let mutated = read(&stage.account);
        if event_first {
            stage.shown(mutated);
            stage.on(Input::Done(id, reply));
        } else {
            stage.on(Input::Done(id, reply));
            stage.shown(mutated);
        }
        assert!(stage.next().is_none(), "event first: {event_first}");
        assert!(stage.said("a").unwrap().starts_with("Mutated: "));
        let pause = stage.machine.wake_at().unwrap() - stage.now;
        assert!((30 * S..=60 * S).contains(&pause), "{pause:?}");
        if event_first {
            stage.now += pause;
        } else {
            stage.want("a", on("a", &[OPTION, &[(keys::ON_DELETE, "retain")]].concat()));
        }
        stage.carry_out();
        assert_eq!(stage.names(), ["theirs", "a"], "perhaps it has changed its mind, or is asked for something else");
    }
}

#[test]
fn a_write_without_a_reply_is_not_over_when_its_source_is() {
    let mut stage = Stage::new(&[("a", on("a", OPTION))], true);
    stage.list();
    stage.fail(Fault::NoAnswer("lost".into()));
    stage.passed();
    stage.want("a", Want::Off(None));
    assert!(stage.next().is_none(), "the note stays");
    assert!(stage.passed().is_empty(), "and the Secret, for a while");
    let list = stage.machine.watching();
    stage.now += SERVER_LIMIT;
    assert!(stage.next().is_none());
    assert_ne!(stage.machine.watching(), list, "a list tells whether it took effect");
    stage.list();
    assert!(matches!(stage.next(), Some(Order { step: Step::Remember(false), .. })));
}
