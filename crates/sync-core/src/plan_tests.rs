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
    Replica { uid: uid(9), rv: Rv(7), fingerprint, shape: Arc::clone(&desired.shape), origin_uid }
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
        Action::Look => "look".into(),
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
    let leaving = Want::Leaving(Reason::Leaving);
    let vanished = Want::Leaving(Reason::SourceVanished);
    let (masters, master_other) = (plain(Master), desired(Master, |o| o.content.data.clear()));
    let master_on = Want::On(Arc::clone(&masters));
    let (master_equal, master_earlier) = (replica(&masters, Some(uid(1))), replica(&masters, Some(uid(2))));
    let master_older = replica(&master_other, Some(uid(1)));

    let view = |role, want, destination, there| View {
        role,
        want: Some(want),
        destination: Some(destination),
        there: Some(there),
        deletes_frozen: false,
        origin_uid: Some(uid(1)),
        mutated: false,
    };
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
        ("replicas unknown, off", View { there: None, ..agent(&Want::Off, There::Absent) }, "hold Unknown"),
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
        ("foreign", agent(&on, There::Foreign), "refuse ForeignObject"),
        ("ours, not shown yet", agent(&on, There::Awaited), "hold Unknown"),
        ("admission changed it", View { mutated: true, ..agent(&on, ours(&older)) }, "refuse Mutated"),
        ("earlier incarnation, source back", agent(&on, ours(&earlier)), "update"),
        ("mark of incarnation lost", agent(&on, ours(&unmarked)), "update"),
        ("master: equal", view(Master, &master_on, Open, ours(&master_equal)), "keep"),
        ("master: differs", view(Master, &master_on, Open, ours(&master_older)), "update"),
        ("master: earlier incarnation", view(Master, &master_on, Open, ours(&master_earlier)), "hold Stranded"),
        // frozen
        ("frozen, nothing there", agent(&frozen, There::Absent), "refuse Frozen"),
        ("frozen, equal", agent(&frozen, ours(&equal)), "keep"),
        ("frozen, data differ", agent(&frozen, ours(&older)), "update"),
        ("frozen, type differs", agent(&frozen, ours(&of_type)), "refuse Frozen"),
        ("frozen, foreign", agent(&frozen, There::Foreign), "refuse Frozen"),
        // never, leaving, off
        ("never", agent(&Want::Never, ours(&older)), "refuse NeverReplicated"),
        ("never, nothing there", agent(&Want::Never, There::Absent), "keep"),
        ("leaving", agent(&leaving, ours(&equal)), "hold Leaving"),
        ("leaving, nothing there", agent(&leaving, There::Absent), "keep"),
        ("vanished upstream", agent(&vanished, ours(&equal)), "hold SourceVanished"),
        ("off", agent(&Want::Off, ours(&equal)), "delete 7"),
        ("off, drifted", agent(&Want::Off, ours(&older)), "delete 7"),
        ("off, nothing there", agent(&Want::Off, There::Absent), "keep"),
        ("off, foreign", agent(&Want::Off, There::Foreign), "keep"),
        ("off, something there", agent(&Want::Off, There::Taken), "keep"),
        (
            "off while frozen",
            View { deletes_frozen: true, ..agent(&Want::Off, ours(&equal)) },
            "hold SourceNamespaceLeaving",
        ),
        ("off, earlier incarnation", agent(&Want::Off, ours(&earlier)), "hold Stranded"),
        ("off, mark of incarnation lost", agent(&Want::Off, ours(&unmarked)), "hold Stranded"),
        ("off, own namespace unknown", View { origin_uid: None, ..agent(&Want::Off, ours(&equal)) }, "hold Stranded"),
        ("master: off", view(Master, &Want::Off, Open, ours(&master_equal)), "delete 7"),
        // destinations
        ("terminating, nothing there", view(Agent, &on, Leaving, There::Absent), "keep"),
        ("terminating, differs", view(Agent, &on, Leaving, ours(&older)), "keep"),
        ("terminating, off", view(Agent, &Want::Off, Leaving, ours(&equal)), "keep"),
        ("opted out, ours there", view(Agent, &on, Excluded, ours(&equal)), "delete 7"),
        ("opted out, nothing there", view(Agent, &on, Excluded, There::Absent), "keep"),
        ("opted out, foreign", view(Agent, &on, Excluded, There::Foreign), "keep"),
    ];
    for (situation, view, wanted) in table {
        assert_eq!(word(&plan(&view)), wanted, "{situation}");
    }
}
