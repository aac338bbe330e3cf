//! Our entries in `imagePullSecrets`: whether a write of one is right, by what a process may believe, and how all must
//! be in the end, worked out from the users' objects alone.

use serde_json::Value;
use tokio::time::Instant;

use super::accounts::{self, Mark, listed, recorded};
use super::api::{Id, Object, Request, is_terminating, meta, patch, uid};
use super::known::{Known, View};
use super::oracle;
use super::stage::{GRACE, NAMES, OPERATOR, Scene, State};
use super::verdict::hits;
use super::wishes::{Wish, asks, retains, selects, wish};
use crate::contract::rules::Role;

/// Promises 2, 4 and 8 for a write that is sent. `truth` is what stands on the server.
pub(super) fn is_right(
    scene: &Scene,
    known: &Known,
    request: &Request,
    id: &Id,
    truth: Option<&Object>,
) -> Result<(), String> {
    // What hits nothing does no harm.
    let Some(before) = truth.filter(|object| hits(request, object)) else { return Ok(()) };
    let mut after = (**before).clone();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    if patch::apply(&mut after, &body).is_none() {
        return Ok(());
    }
    let (old, new) = (listed(before), listed(&after));
    let marked = recorded(&after);
    let source = |name: &str| Id::new("secrets", &id.namespace, name);
    for name in new.iter().filter(|name| !old.contains(name)) {
        known.judge(0, &source(name), |view| may_come(scene, view, id))?;
    }
    for (name, mark) in recorded(before).into_iter().filter(|(name, _)| !marked.contains_key(name)) {
        let unselected = known.unselected_since(0, &source(name));
        let stays = old.contains(&name).then(|| new.contains(&name));
        known.judge(0, &source(name), |view| may_go(scene, view, id, &mark, unselected, stays))?;
    }
    Ok(())
}

/// Whether the source asks for an entry there.
fn is_chosen(scene: &Scene, view: &View<'_>, id: &Id) -> bool {
    let (Some(source), Some(place)) = (&view.source.object, view.place) else { return false };
    view.source.wish == Wish::On
        && !place.terminating
        && !place.opted_out
        && selects(scene, source, 0, &id.namespace, &place.env)
        && asks(source, &id.name)
}

fn may_come(scene: &Scene, view: &View<'_>, id: &Id) -> Result<(), String> {
    if is_chosen(scene, view, id) { Ok(()) } else { Err("promise 4: an entry that is not wanted".to_owned()) }
}

/// `stays`: whether the entry stays, and is theirs from then on; `None` if there was none.
fn may_go(
    scene: &Scene,
    view: &View<'_>,
    id: &Id,
    mark: &Mark,
    unselected: Option<Instant>,
    stays: Option<bool>,
) -> Result<(), String> {
    let Some(operator) = view.operator.filter(|operator| !operator.terminating) else {
        return Err("promise 2: an entry goes while the source namespace is terminating or missing".to_owned());
    };
    let (source, now) = (view.source, Instant::now());
    let said = source.object.as_deref().map(retains);
    let selected = match (&source.object, view.place) {
        (Some(object), Some(place)) => selects(scene, object, 0, &id.namespace, &place.env),
        _ => true,
    };
    let own = || {
        let own = mark.uid == operator.uid;
        own.then_some(()).ok_or("promise 2: an entry of another incarnation of the source namespace goes".to_owned())
    };
    let said = match source.wish {
        _ if view.place.is_some_and(|place| place.opted_out) => own().map(|()| None)?,
        Wish::On if is_chosen(scene, view, id) => return Err("promise 2: an entry goes that is wanted".to_owned()),
        // The Secret stays.
        Wish::On if selected => Some(false),
        // Or its time has run since the ServiceAccount was named no more.
        Wish::On
            if unselected.is_some_and(|since| since + GRACE * 2 / 3 <= now)
                || source.object.as_ref().is_some_and(|object| !asks(object, &id.name)) =>
        {
            own().map(|()| said)?
        }
        Wish::On => return Err("promise 8: an entry goes within the grace".to_owned()),
        Wish::Off => own().map(|()| said)?,
        Wish::Frozen | Wish::Never => {
            return Err(format!("promise 2: an entry goes although its source is {:?}", source.wish));
        }
        Wish::Plain if source.off.is_some() => own().map(|()| source.off)?,
        Wish::Plain if source.upstream.unwrap_or(mark.upstream) => {
            return Err("promise 2: an entry goes although a master has not switched its source off".to_owned());
        }
        Wish::Plain if source.absent_since + GRACE > now => {
            return Err("promise 8: an entry goes within the grace".to_owned());
        }
        Wish::Plain if !source.confirmed => {
            return Err("promise 2: an entry goes although nothing has confirmed that its source is gone".to_owned());
        }
        Wish::Plain => own().map(|()| None)?,
    };
    match stays {
        Some(stays) if stays != said.unwrap_or(mark.retain) => {
            Err(format!("promise 8: the wrong end of an entry ({mark:?})"))
        }
        _ => Ok(()),
    }
}

/// Whether all entries that are wanted are there, but in these namespaces.
pub(super) fn check_but(state: &State, closed: &[&str]) -> Result<(), String> {
    let accounts = state.servers[0].store.objects.iter().filter(|(id, _)| id.plural == accounts::PLURAL);
    for (id, account) in accounts.filter(|(id, _)| id.namespace != OPERATOR && !closed.contains(&id.namespace.as_str()))
    {
        let namespace = state.get(0, &Id::namespace(&id.namespace)).filter(|namespace| !is_terminating(namespace));
        let Some(namespace) = namespace.filter(|namespace| !is_opted_out(namespace)) else { continue };
        let env = meta(namespace, "labels", "env").unwrap_or_default();
        for name in NAMES {
            let of = Id::new("secrets", OPERATOR, name);
            let source = state.get(0, &of).filter(|source| wish(&state.scene, &of, source) == Wish::On);
            let asks =
                |source: &&Object| selects(&state.scene, source, 0, &id.namespace, env) && asks(source, &id.name);
            if source.filter(asks).is_some() && !listed(account).contains(&name) {
                return Err(format!("the entry {name} of {id:?} is missing: {account}"));
            }
        }
    }
    Ok(())
}

fn is_opted_out(namespace: &Value) -> bool {
    ["mw-sync", "mw-sync.io/sync"].iter().any(|key| meta(namespace, "annotations", key) == Some("no"))
}

/// Whether all entries are as users want them, long after the last fault; says what is wrong first.
pub(super) fn check(state: &State, operator: &Object) -> Result<(), String> {
    if state.scene.role == Role::Master {
        return Ok(());
    }
    let objects = &state.servers[0].store.objects;
    let (mut are_there, mut are_marked) = (false, false);
    for (id, account) in objects.iter().filter(|(id, _)| id.plural == accounts::PLURAL) {
        let namespace = state.get(0, &Id::namespace(&id.namespace)).filter(|namespace| !is_terminating(namespace));
        let Some(namespace) = namespace.filter(|_| id.namespace != OPERATOR) else { continue };
        let marks = recorded(account);
        are_there |= marks.values().any(|mark| mark.uid == uid(operator));
        are_marked |= !marks.is_empty();
        for name in NAMES {
            check_entry(state, id, account, name, namespace, uid(operator))
                .map_err(|what| format!("promise 3: the entry {name} of {id:?} {what}: {account}"))?;
        }
    }
    let secrets = objects.iter().filter(|(id, _)| id.plural == "secrets" && id.namespace == OPERATOR);
    let mut asking = secrets.filter(|(id, source)| wish(&state.scene, id, source) == Wish::On);
    let is_asked = asking.any(|(_, source)| meta(source, "annotations", "mw-sync.io/image-pull-secret").is_some());
    let note = state.get(0, &Id::new("configmaps", OPERATOR, accounts::NOTE));
    let is_noted = note.is_some_and(|note| !note["data"]["pull-secrets"].is_null());
    if are_there && !is_noted {
        return Err("promise 3: there are entries of ours, and no note of it".to_owned());
    }
    if is_noted && !is_asked && !are_marked {
        return Err("promise 3: there is a note of entries, and none of ours".to_owned());
    }
    Ok(())
}

fn check_entry(
    state: &State,
    id: &Id,
    account: &Object,
    name: &str,
    namespace: &Object,
    operator: &str,
) -> Result<(), String> {
    let scene = &state.scene;
    let of = Id::new("secrets", OPERATOR, name);
    let source = state.get(0, &of).map(|source| (wish(scene, &of, source), source));
    let mark = recorded(account).remove(name);
    let ours = mark.as_ref().filter(|mark| mark.uid == operator);
    let gone = |why: &str| match ours {
        Some(_) => Err(format!("is recorded still although {why}")),
        None => Ok(()),
    };
    if is_opted_out(namespace) {
        return gone("the namespace is opted out");
    }
    let env = meta(namespace, "labels", "env").unwrap_or_default();
    match source {
        Some((Wish::On, source)) if selects(scene, source, 0, &id.namespace, env) && asks(source, &id.name) => {
            if !listed(account).contains(&name) {
                return Err("is missing".to_owned());
            }
            match ours {
                Some(mark) if mark.retain == retains(source) => Ok(()),
                None if state.ledger.is_theirs(id, name) => Ok(()),
                _ => Err(format!("is not recorded as it should be ({mark:?})")),
            }
        }
        Some((Wish::On, _)) => gone("it is not asked for"),
        Some((Wish::Off, _)) => gone("its source is switched off"),
        Some((Wish::Frozen | Wish::Never, _)) => Ok(()),
        None | Some((Wish::Plain, _)) if oracle::has_held_upstream(state, &of) => Ok(()),
        Some((Wish::Plain, _)) | None => gone("its source is gone"),
    }
}
