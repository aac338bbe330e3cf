//! A core whose lists have come, and what tests do with it.

use super::*;
use crate::contract::object::{Object, tests_support::object};
use crate::contract::rules::Role;
use crate::contract::source::{Reading, Source};
use crate::contract::strip::StripList;
use crate::index::feed::NamespaceSeen;

pub(in crate::core) const fn at(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

pub(in crate::core) fn uid(n: u8) -> Uid {
    Uid::parse(&format!("00000000-0000-4000-8000-0000000000{n:02x}")).unwrap()
}

pub(in crate::core) fn rules() -> Arc<Rules> {
    Arc::new(Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).unwrap()))
}

pub(in crate::core) fn namespace(name: &str, n: u8, state: Destination) -> NamespaceSeen {
    NamespaceSeen { name: name.into(), uid: uid(n), rv: Rv(1), state, labels: Labels::new() }
}

pub(in crate::core) fn desired(name: &str, labels: &[(&str, &str)]) -> Arc<Desired> {
    let source = object(Kind::Secret, "operator", name, labels, &[("mw-sync", "yes")]);
    let Reading::On(template) = Source::read(&rules(), source).reading else { panic!() };
    Arc::new(template.desired(uid(200)))
}

pub(in crate::core) fn want(core: &mut Core, name: &str, labels: &[(&str, &str)]) {
    let desired = desired(name, labels);
    core.on(at(0), Input::Sources(SourceNews::Want(desired.key.clone(), Want::On(desired))));
}

/// The replica of `desired` in this version.
pub(in crate::core) fn replica(desired: &Desired, place: &str, n: u8, rv: u64) -> Sighting {
    let object = Object {
        uid: uid(n),
        rv: Rv(rv),
        labels: desired.labels.clone(),
        annotations: desired.annotations.clone(),
        content: (*desired.content).clone(),
        ..object(Kind::Secret, place, &desired.key.name, &[], &[])
    };
    Sighting::read(&rules(), object)
}

pub(in crate::core) fn shows(core: &mut Core, feed: Feed<Sighting>) {
    core.on(at(0), Input::Replica(Kind::Secret, feed));
}

/// All lists have come; sources `a` and so on, namespaces `n0` and so on with uids from 100 up.
pub(in crate::core) fn listed(sources: &[&str], namespaces: u8) -> Core {
    let mut core = Core::new(rules(), Scope::Namespaces, 32, 1);
    core.on(at(0), Input::Sources(SourceNews::Namespace { uid: Some(uid(200)), deletes_frozen: false }));
    sources.iter().for_each(|name| want(&mut core, name, &[]));
    core.on(at(0), Input::Sources(SourceNews::Complete));
    core.on(at(0), Input::Dest(Feed::Init));
    for n in 0..namespaces {
        let seen = namespace(&format!("n{n}"), 100 + n, Destination::Open);
        core.on(at(0), Input::Dest(Feed::Listed(seen)));
    }
    core.on(at(0), Input::Dest(Feed::InitDone(Rv(1))));
    for kind in Kind::ALL {
        core.on(at(0), Input::Replica(kind, Feed::Init));
        core.on(at(0), Input::Replica(kind, Feed::InitDone(Rv(10))));
    }
    core
}

pub(in crate::core) fn order(core: &mut Core, now: Moment, wanted: &str) -> Order {
    let order = core.next(now).unwrap_or_else(|| panic!("nothing where {wanted} was due"));
    assert_eq!(format!("{} {}/{}", order.step.as_str(), order.namespace, order.name), wanted);
    order
}

pub(in crate::core) fn idle(core: &mut Core, now: Moment) {
    let order = core.next(now);
    assert!(order.is_none(), "{order:?}");
}

pub(in crate::core) fn done(core: &mut Core, now: Moment, order: &Order, result: Result<Reply, Fault>) {
    core.on(now, Input::Done(order.id, result));
}

pub(in crate::core) fn no_answer() -> Result<Reply, Fault> {
    Err(Fault::NoAnswer("cut".into()))
}

/// The same, though the server answers others.
pub(in crate::core) fn hangs() -> Result<Reply, Fault> {
    Err(Fault::Hangs("cut".into()))
}
