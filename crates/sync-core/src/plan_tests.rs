//! One line for each situation.

use super::*;
use crate::contract::object::{Kind, Object, tests_support::object};
use crate::contract::rules::Rules;
use crate::contract::source::{Reading, Source};
use crate::contract::strip::StripList;

fn uid(n: u8) -> Uid {
    Uid::parse(&format!("00000000-0000-4000-8000-0000000000{n:02x}")).unwrap()
}

/// What a source in namespace incarnation 1 wants, after `change`.
fn desired(role: Role, change: impl Fn(&mut Object)) -> Arc<Desired> {
    let cluster = (role == Role::Master).then_some("management");
    let rules = Rules::new(role, "operator", cluster, StripList::with::<&str>(&[]).unwrap());
    let mut source = object(Kind::Secret, "operator", "regcred", &[], &[("mw-sync", "yes")]);
    change(&mut source);
    let Reading::On(template) = Source::read(&rules, source).reading else { panic!("not on") };
    Arc::new(template.desired(uid(1)))
}

/// The replica that equals `desired`, made by this incarnation.
fn replica(desired: &Desired, origin_uid: Option<Uid>) -> Replica {
    let mut fingerprint = desired.fingerprint.clone();
    if origin_uid != Some(desired.origin_uid) {
        fingerprint.metadata = fingerprint.payload;
    }
    Replica {
        uid: uid(9),
        rv: Rv(7),
        fingerprint: Arc::new(fingerprint),
        shape: Arc::clone(&desired.shape),
        origin_uid: origin_uid.map(Arc::new),
        end: End::default(),
        alone: false,
    }
}

fn view<'a>(role: Role, want: &'a Want, destination: Destination, there: There<'a>) -> View<'a> {
    View {
        role,
        want: Some(want),
        destination: Some(destination),
        selected: Selected::Yes,
        there: Some(there),
        deletes_frozen: false,
        origin_uid: Some(uid(1)),
        take_over: &[],
        may_adopt: MayAdopt::NotAllowed,
        mutated: false,
        contested: false,
    }
}

fn word(action: &Action) -> String {
    match action {
        Action::Keep => "keep".into(),
        Action::Hold(why) => format!("hold {why}"),
        Action::Refuse(why) => format!("refuse {why}"),
        Action::Create(_) => "create".into(),
        Action::Update(..) => "update".into(),
        Action::Recreate(_, guard) => format!("recreate {}", guard.rv),
        Action::Delete(guard) => format!("delete {}", guard.rv),
        Action::Release(guard, OnDelete::Retain) => format!("release {}", guard.rv),
        Action::Release(guard, OnDelete::Delete) => format!("give back {}", guard.rv),
        Action::Adopt(_, adoption) => {
            let how = adoption.asked.map_or("back".to_owned(), |asked| format!("{asked:?}"));
            let released = if adoption.end.adopted { " to be released" } else { "" };
            format!("adopt {} {how}{released}", adoption.guard.rv)
        }
        Action::Look => "look".into(),
        Action::LookInside => "look inside".into(),
    }
}

#[test]
fn the_table() {
    use Destination::{Excluded, Leaving, Open};
    use Role::{Agent, Master};
    let plain = |role| desired(role, |_| ());
    let (want, other) = (plain(Agent), desired(Agent, |o| drop(o.content.data.insert("k".into(), "bmV3".into()))));
    let typed = desired(Agent, |o| o.content.secret_type = Some("kubernetes.io/dockerconfigjson".into()));
    let fixed = desired(Agent, |o| o.content.immutable = true);
    let fixed_other = desired(Agent, |o| {
        o.content.immutable = true;
        o.content.data.clear();
    });
    let fixed_labelled = desired(Agent, |o| {
        o.content.immutable = true;
        o.labels.insert("a".into(), "b".into());
    });
    let (on, frozen) = (Want::On(Arc::clone(&want)), Want::Frozen(Arc::clone(&want)));
    let (equal, older) = (replica(&want, Some(uid(1))), replica(&other, Some(uid(1))));
    let (of_type, immutable) = (replica(&typed, Some(uid(1))), replica(&fixed, Some(uid(1))));
    let (earlier, unmarked) = (replica(&want, Some(uid(2))), replica(&want, None));
    let pushed = desired(Agent, |o| {
        o.content.data.clear();
        o.labels.insert(keys::MANAGED_BY.into(), "master".into());
        o.annotations.insert(keys::ORIGIN.into(), "management/operator/a".into());
    });
    let of_master = replica(&pushed, Some(uid(1)));
    let of_master_before = replica(&pushed, Some(uid(2)));
    let pushed_frozen = Want::Frozen(Arc::clone(&pushed));
    let leaving = Want::Leaving(Reason::Leaving);
    let vanished = Want::Leaving(Reason::SourceVanished);
    let (masters, master_other) = (plain(Master), desired(Master, |o| o.content.data.clear()));
    let master_on = Want::On(Arc::clone(&masters));
    let (master_equal, master_earlier) = (replica(&masters, Some(uid(1))), replica(&masters, Some(uid(2))));
    let master_older = replica(&master_other, Some(uid(1)));

    let (two, three) = ([uid(2)], [uid(3)]);
    let agent = |want, there| view(Agent, want, Open, there);
    let ours = There::Ours;
    let on_fixed = |desired: &Arc<Desired>| Want::On(Arc::clone(desired));
    let (on_fixed_other, on_fixed_labelled, on_fixed_same) =
        (on_fixed(&fixed_other), on_fixed(&fixed_labelled), on_fixed(&fixed));

    let table: Vec<(&str, View<'_>, &str)> = vec![
        // incomplete views
        ("source unknown", View { want: None, ..agent(&on, There::Absent) }, "hold Unknown"),
        ("destination unknown", View { destination: None, ..agent(&on, There::Absent) }, "hold Unknown"),
        ("replicas unknown", View { there: None, ..agent(&on, There::Absent) }, "hold Unknown"),
        ("replicas unknown, off", View { there: None, ..agent(&Want::Off(None), There::Absent) }, "hold Unknown"),
        // on
        ("nothing there", agent(&on, There::Absent), "create"),
        ("equal", agent(&on, ours(&equal)), "keep"),
        ("data differ", agent(&on, ours(&older)), "update"),
        ("type differs", agent(&on, ours(&of_type)), "recreate 7"),
        ("replica immutable, source not", agent(&on, ours(&immutable)), "recreate 7"),
        ("source became immutable", agent(&on_fixed_same, ours(&equal)), "update"),
        ("both immutable, data differ", agent(&on_fixed_other, ours(&immutable)), "recreate 7"),
        ("both immutable, labels differ", agent(&on_fixed_labelled, ours(&immutable)), "update"),
        (
            "recreate while frozen",
            View { deletes_frozen: true, ..agent(&on, ours(&of_type)) },
            "hold SourceNamespaceLeaving",
        ),
        ("update while frozen", View { deletes_frozen: true, ..agent(&on, ours(&older)) }, "update"),
        ("something there", agent(&on, There::Taken), "look"),
        ("foreign", agent(&on, There::Foreign(None)), "refuse ForeignObject"),
        ("ours, not shown yet", agent(&on, There::Awaited), "hold Unknown"),
        ("admission changed it", View { mutated: true, ..agent(&on, ours(&older)) }, "refuse Mutated"),
        ("contested, equal", View { contested: true, ..agent(&on, ours(&equal)) }, "keep"),
        ("contested, differs", View { contested: true, ..agent(&on, ours(&older)) }, "refuse Contested"),
        ("contested, type differs", View { contested: true, ..agent(&on, ours(&of_type)) }, "refuse Contested"),
        ("contested, deleted", View { contested: true, ..agent(&on, There::Absent) }, "refuse Contested"),
        ("contested, off", View { contested: true, ..agent(&Want::Off(None), ours(&equal)) }, "refuse Contested"),
        ("contested, off and gone", View { contested: true, ..agent(&Want::Off(None), There::Absent) }, "keep"),
        ("earlier incarnation, source back", agent(&on, ours(&earlier)), "update"),
        ("mark of incarnation lost", agent(&on, ours(&unmarked)), "update"),
        ("master: equal", view(Master, &master_on, Open, ours(&master_equal)), "keep"),
        ("master: differs", view(Master, &master_on, Open, ours(&master_older)), "update"),
        ("master: earlier incarnation", view(Master, &master_on, Open, ours(&master_earlier)), "hold Stranded"),
        (
            "master: earlier incarnation, to be taken over",
            View { take_over: &two, ..view(Master, &master_on, Open, ours(&master_earlier)) },
            "update",
        ),
        (
            "master: another earlier incarnation",
            View { take_over: &three, ..view(Master, &master_on, Open, ours(&master_earlier)) },
            "hold Stranded",
        ),
        // frozen
        ("frozen, nothing there", agent(&frozen, There::Absent), "refuse Frozen"),
        ("frozen, equal", agent(&frozen, ours(&equal)), "keep"),
        ("frozen, data differ", agent(&frozen, ours(&older)), "update"),
        ("frozen, in the place of a master's replica", agent(&frozen, ours(&of_master)), "refuse Frozen"),
        ("frozen, a master's replica", agent(&pushed_frozen, ours(&older)), "update"),
        ("frozen, a master's replica, as before", agent(&pushed_frozen, ours(&of_master_before)), "update"),
        ("on, in the place of a master's replica", agent(&on, ours(&of_master)), "update"),
        ("frozen, type differs", agent(&frozen, ours(&of_type)), "refuse Frozen"),
        ("frozen, in doubt", agent(&frozen, There::Taken), "look"),
        ("frozen, foreign", agent(&frozen, There::Foreign(None)), "refuse Frozen"),
        // never, leaving, off
        ("never", agent(&Want::Never, ours(&older)), "refuse NeverReplicated"),
        ("never, nothing there", agent(&Want::Never, There::Absent), "keep"),
        ("leaving", agent(&leaving, ours(&equal)), "hold Leaving"),
        ("leaving, nothing there", agent(&leaving, There::Absent), "keep"),
        ("vanished upstream", agent(&vanished, ours(&equal)), "hold SourceVanished"),
        ("off", agent(&Want::Off(None), ours(&equal)), "delete 7"),
        ("off, drifted", agent(&Want::Off(None), ours(&older)), "delete 7"),
        ("off, nothing there", agent(&Want::Off(None), There::Absent), "keep"),
        ("off, foreign", agent(&Want::Off(None), There::Foreign(None)), "keep"),
        ("off, something there", agent(&Want::Off(None), There::Taken), "keep"),
        (
            "off while frozen",
            View { deletes_frozen: true, ..agent(&Want::Off(None), ours(&equal)) },
            "hold SourceNamespaceLeaving",
        ),
        ("off, earlier incarnation", agent(&Want::Off(None), ours(&earlier)), "hold Stranded"),
        ("off, mark of incarnation lost", agent(&Want::Off(None), ours(&unmarked)), "hold Stranded"),
        (
            "off, own namespace unknown",
            View { origin_uid: None, ..agent(&Want::Off(None), ours(&equal)) },
            "hold Stranded",
        ),
        ("master: off", view(Master, &Want::Off(None), Open, ours(&master_equal)), "delete 7"),
        (
            "master: off, earlier incarnation, to be taken over",
            View { take_over: &two, ..view(Master, &Want::Off(None), Open, ours(&master_earlier)) },
            "hold Stranded",
        ),
        // destinations
        ("terminating, nothing there", view(Agent, &on, Leaving, There::Absent), "keep"),
        ("terminating, differs", view(Agent, &on, Leaving, ours(&older)), "keep"),
        ("terminating, off", view(Agent, &Want::Off(None), Leaving, ours(&equal)), "keep"),
        ("opted out, ours there", view(Agent, &on, Excluded, ours(&equal)), "delete 7"),
        ("opted out, nothing there", view(Agent, &on, Excluded, There::Absent), "keep"),
        ("opted out, foreign", view(Agent, &on, Excluded, There::Foreign(None)), "keep"),
    ];
    for (situation, view, wanted) in table {
        assert_eq!(word(&plan(&view)), wanted, "{situation}");
    }
}

#[test]
fn selection() {
    let select = |options: &[(&str, &str)]| {
        let add = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Want::On(desired(Role::Agent, |o| o.annotations.extend(options.iter().map(add))))
    };
    let (on, retain) = (select(&[]), select(&[("mw-sync.io/on-delete", "retain")]));
    let plain = desired(Role::Agent, |_| ());
    let frozen = Want::Frozen(Arc::clone(&plain));
    let equal = replica(&plain, Some(uid(1)));
    let retained = Replica { end: End { retain: true, adopted: false }, ..equal.clone() };
    let adopted = Replica { end: End { retain: false, adopted: true }, ..equal.clone() };
    let (absent, ours) = (There::Absent, There::Ours);
    use Selected::{Leaving, No};
    let table: Vec<(&str, Selected, &Want, There<'_>, &str)> = vec![
        ("selected no more", Leaving, &on, ours(&equal), "hold NotSelected"),
        ("the grace is over", No, &on, ours(&equal), "delete 7"),
        ("the source retains", No, &retain, ours(&equal), "release 7"),
        ("the source says delete, the replica remembers retain", No, &on, ours(&retained), "delete 7"),
        ("the replica was somebody's", No, &on, ours(&adopted), "give back 7"),
        ("nothing there", No, &on, absent, "keep"),
        ("something there", No, &on, There::Taken, "keep"),
        ("foreign", No, &on, There::Foreign(None), "keep"),
        ("frozen: nothing is deleted", No, &frozen, ours(&equal), "keep"),
        ("frozen: it is not missed where it is not wanted", Leaving, &frozen, absent, "keep"),
    ];
    for (situation, selected, want, there, wanted) in table {
        let view = View { selected, ..view(Role::Agent, want, Destination::Open, there) };
        assert_eq!(word(&plan(&view)), wanted, "{situation}");
    }
    let frozen = View { deletes_frozen: true, selected: No, ..view(Role::Agent, &on, Destination::Open, ours(&equal)) };
    assert_eq!(word(&plan(&frozen)), "hold SourceNamespaceLeaving");
}

#[test]
fn ends() {
    let plain = desired(Role::Agent, |_| ());
    let on = Want::On(Arc::clone(&plain));
    let equal = replica(&plain, Some(uid(1)));
    let of = |retain, adopted| Replica { end: End { retain, adopted }, ..equal.clone() };
    let (retained, adopted) = (of(true, false), of(false, true));
    let off = Want::Off;
    let table = [
        ("gone, nothing remembered", off(None), &equal, "delete 7"),
        ("gone, retain remembered", off(None), &retained, "release 7"),
        ("gone, adopted", off(None), &adopted, "give back 7"),
        ("off, the source retains", off(Some(OnDelete::Retain)), &equal, "release 7"),
        ("off, the source deletes", off(Some(OnDelete::Delete)), &retained, "delete 7"),
        ("off, the source deletes, adopted", off(Some(OnDelete::Delete)), &adopted, "give back 7"),
        ("off, the source retains, adopted", off(Some(OnDelete::Retain)), &adopted, "release 7"),
    ];
    for (situation, want, there, wanted) in &table {
        let view = view(Role::Agent, want, Destination::Open, There::Ours(there));
        assert_eq!(word(&plan(&view)), *wanted, "{situation}");
        let frozen = View { deletes_frozen: true, ..view };
        assert_eq!(word(&plan(&frozen)), "hold SourceNamespaceLeaving", "{situation}");
    }
    let opted_out = |there| word(&plan(&view(Role::Agent, &on, Destination::Excluded, There::Ours(there))));
    assert_eq!(
        [opted_out(&equal), opted_out(&retained), opted_out(&adopted)],
        ["delete 7", "release 7", "give back 7"]
    );
    let typed = desired(Role::Agent, |o| o.content.secret_type = Some("kubernetes.io/tls".into()));
    let view = view(Role::Agent, &on, Destination::Open, There::Absent);
    let adopted = Replica { end: End { retain: false, adopted: true }, ..replica(&typed, Some(uid(1))) };
    let word = word(&plan(&View { there: Some(There::Ours(&adopted)), ..view }));
    assert_eq!(word, "refuse NotAdoptable", "what was somebody's is not deleted, not even to be made anew");
}

#[test]
fn adoption() {
    let with = |option: &str, change: &dyn Fn(&mut Object)| {
        Want::On(desired(Role::Agent, |o| {
            drop(o.annotations.insert("mw-sync.io/on-conflict".into(), option.into()));
            change(o);
        }))
    };
    let (refuse, equal, adopt) = (with("refuse", &|_| ()), with("adopt-equal", &|_| ()), with("adopt", &|_| ()));
    let fixed = with("adopt-equal", &|o| o.content.immutable = true);
    let plain = desired(Role::Agent, |_| ());
    let other = desired(Role::Agent, |o| o.content.data.clear());
    let typed = desired(Role::Agent, |o| o.content.secret_type = Some("kubernetes.io/tls".into()));
    let inside = |of: &Desired, immutable| {
        let Fingerprint { payload, secret_type, .. } = of.fingerprint;
        Some(Inside { payload, secret_type, immutable })
    };
    let foreign = |inside| Foreign {
        guard: Guard { uid: uid(9), rv: Rv(7) },
        has_labels: false,
        has_annotations: false,
        rival: false,
        was_ours: false,
        end: End::default(),
        left: Shape::default(),
        inside,
    };
    let unseen = foreign(None);
    let (same, differs) = (foreign(inside(&plain, false)), foreign(inside(&other, false)));
    let (of_type, same_fixed, differs_fixed) =
        (foreign(inside(&typed, false)), foreign(inside(&plain, true)), foreign(inside(&other, true)));
    let released = |foreign: &Foreign| Foreign { was_ours: true, ..foreign.clone() };
    let (back, back_unseen, back_fixed) = (released(&differs), released(&unseen), released(&differs_fixed));
    let back_adopted = Foreign { end: End { retain: false, adopted: true }, ..back.clone() };
    let rival = Foreign { rival: true, ..same.clone() };
    use MayAdopt::{NotAllowed, SystemNamespace, Yes};
    let table: Vec<(&str, &Want, MayAdopt, &Foreign, &str)> = vec![
        ("refuse", &refuse, Yes, &unseen, "refuse ForeignObject"),
        ("equal, not looked inside yet", &equal, NotAllowed, &unseen, "look inside"),
        ("equal", &equal, NotAllowed, &same, "adopt 7 AdoptEqual"),
        ("equal, in a system namespace", &equal, SystemNamespace, &same, "adopt 7 AdoptEqual"),
        ("equal, but it differs", &equal, Yes, &differs, "refuse NotEqual"),
        ("equal, but of another type", &equal, Yes, &of_type, "refuse NotEqual"),
        ("equal, but it is immutable and we are not", &equal, Yes, &same_fixed, "refuse NotEqual"),
        ("equal, both immutable", &fixed, NotAllowed, &same_fixed, "adopt 7 AdoptEqual"),
        ("equal, to become immutable", &fixed, NotAllowed, &same, "adopt 7 AdoptEqual"),
        ("adopt", &adopt, Yes, &differs, "adopt 7 Adopt to be released"),
        ("adopt what is equal", &adopt, Yes, &same, "adopt 7 Adopt to be released"),
        ("adopt, not allowed", &adopt, NotAllowed, &differs, "refuse AdoptionDisabled"),
        ("adopt, in a system namespace", &adopt, SystemNamespace, &differs, "refuse NotAdoptable"),
        ("adopt, of another type", &adopt, Yes, &of_type, "refuse NotAdoptable"),
        ("adopt, immutable", &adopt, Yes, &differs_fixed, "refuse NotAdoptable"),
        ("adopt, another controller's of ours", &adopt, Yes, &rival, "refuse ForeignObject"),
        ("released by us", &refuse, NotAllowed, &back, "adopt 7 back"),
        ("released by us, not looked inside yet", &refuse, NotAllowed, &back_unseen, "look inside"),
        ("released by us, immutable since", &refuse, NotAllowed, &back_fixed, "refuse ForeignObject"),
        ("adopted, released, taken back", &refuse, NotAllowed, &back_adopted, "adopt 7 back to be released"),
    ];
    for (situation, want, may_adopt, foreign, wanted) in table {
        let there = There::Foreign(Some(foreign));
        let view = View { may_adopt, ..view(Role::Agent, want, Destination::Open, there) };
        assert_eq!(word(&plan(&view)), wanted, "{situation}");
        let contested = if wanted.starts_with("adopt") { "refuse Contested" } else { wanted };
        assert_eq!(word(&plan(&View { contested: true, ..view })), contested, "{situation}, contested");
    }
    for (want, wanted) in [(&refuse, "look"), (&equal, "look inside"), (&adopt, "look inside")] {
        assert_eq!(word(&plan(&view(Role::Agent, want, Destination::Open, There::Taken))), wanted);
        let labelled = view(Role::Agent, want, Destination::Open, There::Foreign(None));
        assert_eq!(word(&plan(&labelled)), "refuse ForeignObject");
    }
}
