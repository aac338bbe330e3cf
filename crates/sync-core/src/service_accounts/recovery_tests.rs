//! What goes away and comes back, or is not to come back.

use super::model_tests::{on, template};
use super::stage::{OPTION, S, Stage, is_now, key, namespace};
use super::tests_support::{read, stored, uid};
use super::*;
use crate::contract::keys;
use crate::contract::options::OnDelete;
use crate::core::NamespaceKnown;
use crate::plan::Destination;
use crate::plan::Want;
use crate::reason::Reason;

#[test]
fn a_note_that_went_with_the_source_namespace_is_written_again() {
    let mut stage = Stage::listed();
    stage.on(Input::Sources(SourceNews::Namespace { uid: None, deletes_frozen: true }));
    assert!(stage.next().is_none());
    stage.on(Input::Sources(SourceNews::Namespace { uid: Some(uid(8)), deletes_frozen: false }));
    let Some(Order { id, step: Step::Recall }) = stage.next() else { panic!("is it there?") };
    stage.on(Input::Done(id, Ok(Reply::Recalled(false))));
    let Some(Order { id, step: Step::Remember(true) }) = stage.next() else { panic!("there are entries") };
    stage.on(Input::Done(id, Ok(Reply::Remembered)));
    assert!(stage.next().is_none());
}

#[test]
fn what_was_under_way_as_the_source_namespace_went_says_nothing_of_the_next_one() {
    let mut stage = Stage::new(&[("a", on("a", OPTION))], false);
    stage.list();
    let Some(Order { id, step: Step::Remember(true) }) = stage.next() else { panic!() };
    stage.on(Input::Sources(SourceNews::Namespace { uid: Some(uid(8)), deletes_frozen: false }));
    stage.on(Input::Done(id, Ok(Reply::Remembered)));
    assert!(matches!(stage.next(), Some(Order { step: Step::Recall, .. })));
}

/// The next order is to read the note, and that is what it finds.
fn recalls(stage: &mut Stage, noted: bool) {
    let Some(Order { id, step: Step::Recall }) = stage.next() else { panic!("is it there?") };
    stage.on(Input::Done(id, Ok(Reply::Recalled(noted))));
}

#[test]
fn a_note_that_is_written_late_is_found_and_taken_away() {
    let mut stage = Stage::new(&[("a", on("a", OPTION))], false);
    stage.list();
    stage.fail(Fault::NoAnswer("lost".into()));
    stage.want("a", Want::Off(None));
    stage.now += SERVER_LIMIT / 2;
    recalls(&mut stage, false);
    stage.on(Input::Sources(SourceNews::Noted(false)));
    assert!(stage.next().is_none() && stage.machine.watching().is_none());
    stage.on(Input::Sources(SourceNews::Noted(true)));
    recalls(&mut stage, true);
    stage.list();
    stage.now += SERVER_LIMIT;
    assert!(matches!(stage.next(), Some(Order { step: Step::Remember(false), .. })));
}

#[test]
fn what_a_process_that_is_no_more_has_sent_may_take_effect_while_its_note_stays() {
    let mut stage = Stage::new(&[], false);
    stage.machine.memory.forget();
    recalls(&mut stage, true);
    stage.list();
    stage.now += SERVER_LIMIT / 2;
    assert!(stage.next().is_none());
    let added = format!("operator/a:{}", uid(9));
    stage.account = stored(&["theirs", "a"], &[(keys::ADDED_PULL_SECRETS, &added)]);
    stage.account["metadata"]["resourceVersion"] = "8".into();
    stage.version = 8;
    stage.shown(read(&stage.account.clone()));
    assert_eq!(stage.machine.take_asks().len(), 1, "whose is it?");
    stage.want("a", Want::Off(None));
    stage.carry_out();
    assert_eq!(stage.names(), ["theirs"]);
    assert!(stage.next().is_none());
    stage.now += SERVER_LIMIT / 2;
    assert!(matches!(stage.next(), Some(Order { step: Step::Remember(false), .. })));
}

#[test]
fn a_note_that_somebody_takes_away_is_written_again() {
    let mut stage = Stage::listed();
    stage.on(Input::Sources(SourceNews::Noted(true)));
    assert!(stage.next().is_none());
    stage.on(Input::Sources(SourceNews::Noted(false)));
    recalls(&mut stage, false);
    assert!(matches!(stage.next(), Some(Order { step: Step::Remember(true), .. })));
}

#[test]
fn what_the_watch_shows_while_the_note_is_read_or_written_is_not_lost() {
    let mut stage = Stage::new(&[], true);
    stage.machine.memory.forget();
    let Some(Order { id, step: Step::Recall }) = stage.next() else { panic!() };
    stage.on(Input::Sources(SourceNews::Noted(true)));
    stage.on(Input::Done(id, Ok(Reply::Recalled(false))));
    recalls(&mut stage, true);
    stage.list();
    stage.now += SERVER_LIMIT;
    let Some(Order { id, step: Step::Remember(false) }) = stage.next() else { panic!() };
    stage.on(Input::Sources(SourceNews::Noted(false)));
    stage.on(Input::Done(id, Ok(Reply::Remembered)));
    assert!(stage.next().is_none(), "it is as ordered");
}

#[test]
fn a_stranded_entry_is_asked_about_once() {
    let mut stage = Stage::new(&[], true);
    let added = format!("operator/a:{}", uid(7));
    stage.account = stored(&["a"], &[(keys::ADDED_PULL_SECRETS, &added)]);
    stage.list();
    assert_eq!(stage.machine.take_asks(), [(key("a"), false)]);
    stage.want("a", Want::Off(None));
    stage.on(Input::Sources(SourceNews::Forgotten(key("a"))));
    assert!(stage.next().is_none(), "another incarnation has made it");
    assert_eq!(stage.machine.take_asks(), []);
    // With the entry what is known of the source goes.
    stage.account = stored(&["a"], &[]);
    stage.account["metadata"]["resourceVersion"] = "8".into();
    let edited = read(&stage.account);
    stage.shown(edited);
    assert!(stage.machine.sources.is_empty() && stage.machine.forgotten.is_empty());
}

/// Promise 2: if it goes too, nobody else knows that what it took the place of was a master's (seed 48843).
#[test]
fn an_entry_tells_that_it_came_from_a_master_while_its_source_cannot_be_read() {
    for (marks, asks) in [(":upstream", vec![(key("a"), true)]), ("", vec![])] {
        let mut stage = Stage::new(&[], true);
        let added = format!("operator/a:{}{marks}", uid(9));
        stage.account = stored(&["a"], &[(keys::ADDED_PULL_SECRETS, &added)]);
        stage.want("a", Want::Frozen(Arc::new(template("a", &[]).desired(uid(9)))));
        stage.list();
        assert!(stage.next().is_none(), "nothing moves");
        assert_eq!(stage.machine.take_asks(), asks);
        assert!(stage.next().is_none() && stage.machine.take_asks().is_empty(), "once");
    }
}

#[test]
fn while_a_no_is_held_no_copy_is_made() {
    let mut stage = Stage::listed();
    stage.want("a", Want::Off(Some(OnDelete::Delete)));
    let told = |stage: &mut Stage| stage.machine.take_news(stage.now);
    let news = told(&mut stage);
    assert!(matches!(&news[..], [SourceNews::Want(_, Want::Leaving(Reason::Leaving))]), "{news:?}");
    assert_eq!(told(&mut stage).len(), 0, "once");
    stage.carry_out();
    assert!(matches!(&told(&mut stage)[..], [SourceNews::Want(_, Want::Off(Some(OnDelete::Delete)))]));
}

#[test]
fn a_namespace_that_opts_out_loses_them_whatever_the_source_says() {
    for want in [Want::Frozen(Arc::new(template("a", OPTION).desired(uid(9)))), Want::Never] {
        let mut stage = Stage::listed();
        stage.want("a", want);
        stage.on(is_now(namespace(Destination::Excluded, &[])));
        stage.carry_out();
        assert_eq!(stage.names(), ["theirs"]);
    }
}

#[test]
fn a_namespace_that_opts_out_and_in_again_is_no_war() {
    let mut stage = Stage::listed();
    for round in 0..2 * RESTORATIONS {
        let (state, names) = if round % 2 == 0 {
            (Destination::Excluded, &["theirs"][..])
        } else {
            (Destination::Open, &["theirs", "a"][..])
        };
        stage.on(is_now(namespace(state, &[])));
        stage.carry_out();
        assert_eq!(stage.names(), names, "round {round}");
    }
}

#[test]
fn a_late_event_does_not_bring_back_what_we_have_taken_out() {
    let mut stage = Stage::new(&[("a", Want::Off(None)), ("b", Want::Leaving(Reason::Leaving))], true);
    let added = format!("operator/a:{0},operator/b:{0}", uid(9));
    stage.account = stored(&["a", "b"], &[(keys::ADDED_PULL_SECRETS, &added)]);
    stage.list();
    stage.carry_out();
    let late = read(&stage.account);
    stage.want("b", Want::Off(None));
    stage.carry_out();
    stage.shown(late);
    assert!(matches!(stage.next(), Some(Order { step: Step::Remember(false), .. })), "nothing more is to be taken out");
    stage.shown(read(&stage.account.clone()));
    assert!(stage.machine.entries.is_empty(), "it is nobody's business any more");
}

#[test]
fn namespaces_where_writes_hang_delay_no_other_and_a_silent_server_is_left_alone() {
    let mut stage = Stage::new(&[("a", on("a", OPTION))], true);
    stage.list();
    for (name, n) in [("other", 3), ("third", 4)] {
        stage.on(is_now(NamespaceKnown { name: name.into(), ..namespace(Destination::Open, &[]) }));
        let mut account = stored(&[], &[]);
        (account["metadata"]["namespace"], account["metadata"]["uid"]) = (name.into(), uid(n).to_string().into());
        stage.shown(read(&account));
    }
    for _ in 0..2 {
        stage.fail(Fault::Hangs("a webhook".into()));
    }
    stage.fail(Fault::NoAnswer("lost".into()));
    assert!(stage.next().is_none(), "the cluster as a whole does not answer");
}

#[test]
fn a_dry_run_tries_each_entry_once_and_holds_no_secret_back() {
    let mut stage = Stage::new(&[("a", on("a", OPTION))], false);
    stage.on(Input::Lead(Lead::Dry));
    stage.list();
    let tried = |stage: &mut Stage| {
        let mut count = 0;
        while let Some(Order { id, step }) = stage.next() {
            let reply = match step {
                Step::Recall => Reply::Recalled(false),
                Step::Remember(_) => Reply::Remembered,
                Step::Patch { .. } => Reply::Tried,
            };
            count += u32::from(matches!(reply, Reply::Tried));
            assert!(count < 10, "again and again");
            stage.on(Input::Done(id, Ok(reply)));
        }
        count
    };
    assert_eq!(tried(&mut stage), 1);
    let said = stage.said("a").unwrap_or_default();
    assert!(said.starts_with("WouldUpdate: ") && said.contains("(1 WouldUpdate): app/default"), "{said}");
    // Nothing was stored; what others write there makes no other entry due.
    let account = stage.edit(&["theirs", "more"]);
    stage.shown(account);
    stage.now += S * 1000;
    assert_eq!((tried(&mut stage), stage.machine.wake_at()), (0, None));
    // Somebody has written it; then it is to go, which is tried too, and the Secret does not wait for it.
    let mut stage = Stage::listed();
    stage.on(Input::Lead(Lead::Dry));
    stage.want("a", Want::Off(None));
    assert!(stage.passed().is_empty(), "held until it was tried");
    assert_eq!(tried(&mut stage), 1);
    assert_eq!(stage.passed(), ["a"]);
    assert_eq!((tried(&mut stage), stage.names()), (0, vec!["theirs".to_owned(), "a".to_owned()]));
}
