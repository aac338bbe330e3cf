//! How the world must look, worked out from the users' objects alone: those in the source namespace, the namespaces,
//! and what users did to copies by hand.

use super::api::{Id, Object, is_terminating, meta, uid};
use super::entries;
use super::stage::{FIRST_UID, NAMES, OPERATOR, State};
use super::wishes::{Wish, differs, disowns, is_from_master, may_adopt, needs_recreate, selects, was_adopted, wish};
use crate::contract::rules::Role;

/// What was found of the copies in one cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Copies that are as they should be.
    pub(super) in_place: u32,
    /// Somebody else's objects where copies belong, and copies that are not to be touched.
    pub(super) in_the_way: u32,
}

/// How strictly to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look<'a> {
    /// Long after the last fault.
    AtRest,
    /// While all is well but in these namespaces of this cluster, and a grace may be running.
    But(usize, &'a [&'static str]),
}

/// Compares the world with what users want; says what is wrong first, or what was found in each cluster.
pub(super) fn check(state: &State, look: Look<'_>) -> Result<Vec<Found>, String> {
    let Some(operator) = source_namespace(state) else { return Ok(Vec::new()) };
    match look {
        Look::AtRest => entries::check(state, operator)?,
        Look::But(_, closed) if state.scene.role == Role::Agent => entries::check_but(state, closed)?,
        Look::But(..) => {}
    }
    state.scene.destinations().map(|cluster| check_cluster(state, cluster, operator, look)).collect()
}

fn source_namespace(state: &State) -> Option<&Object> {
    state.get(0, &Id::namespace(OPERATOR)).filter(|operator| !is_terminating(operator))
}

/// Whether the present incarnation of the source namespace has made a copy.
fn is_present(object: &Object, operator: &Object) -> bool {
    meta(object, "annotations", "mw-sync.io/origin-uid") == Some(uid(operator))
}

/// Whether a master's replica has ever stood in this place of the source namespace: an agent that has seen it go without a
/// word keeps the copies, for a master that takes one away says so first.
pub(super) fn has_held_upstream(state: &State, source: &Id) -> bool {
    state.scene.role == Role::Agent && state.servers[0].store.all_versions(source).any(|object| is_from_master(object))
}

/// Whether copies stand that a running process keeps only because it has seen a master's replica in the place of their
/// source: it went before they followed it, so that one which begins anew takes them for an agent's own, and rightly.
pub(super) fn kept_by_memory(state: &State) -> bool {
    let Some(operator) = source_namespace(state).filter(|_| state.scene.role == Role::Agent) else { return false };
    let may_be_kept = |id: &Id| {
        let source = Id::new(id.plural, OPERATOR, &id.name);
        let is_plain = state.get(0, &source).is_none_or(|source| wish(&state.scene, id, source) == Wish::Plain);
        is_plain && has_held_upstream(state, &source)
    };
    let may_go = |id: &Id, object: &Object| {
        let says_upstream = meta(object, "annotations", "mw-sync.io/upstream").is_some();
        state.scene.is_marked(id, object) && is_present(object, operator) && !says_upstream
    };
    let mut objects = state.servers[0].store.objects.iter();
    objects.any(|(id, object)| id.namespace != OPERATOR && may_go(id, object) && may_be_kept(id))
}

fn check_cluster(state: &State, cluster: usize, operator: &Object, look: Look<'_>) -> Result<Found, String> {
    let mut found = Found::default();
    let dests = state.servers[cluster].store.objects.iter().filter(|(id, _)| id.plural == "namespaces");
    let closed = match look {
        Look::But(of, closed) if of == cluster => closed,
        _ => &[],
    };
    let open = |id: &Id| state.scene.is_destination(cluster, &id.name) && !closed.contains(&id.name.as_str());
    for (dest, namespace) in dests.filter(|(id, object)| open(id) && !is_terminating(object)) {
        for plural in ["secrets", "configmaps"] {
            for name in NAMES {
                let replica = Id::new(plural, &dest.name, name);
                check_pair(state, cluster, &replica, namespace, operator, look, &mut found)
                    .map_err(|what| format!("promise 3: {replica:?} in cluster {cluster} {what}"))?;
            }
        }
    }
    Ok(found)
}

fn check_pair(
    state: &State,
    cluster: usize,
    id: &Id,
    namespace: &Object,
    operator: &Object,
    look: Look<'_>,
    found: &mut Found,
) -> Result<(), String> {
    let scene = &state.scene;
    let source_id = Id::new(id.plural, OPERATOR, &id.name);
    let source = state.get(0, &source_id);
    let there = state.get(cluster, id);
    let ours = there.filter(|object| scene.is_marked(id, object));
    let stranded = |object: &Object| {
        let made_by = meta(object, "annotations", "mw-sync.io/origin-uid");
        let taken_over = scene.take_over && made_by == Some(FIRST_UID);
        made_by.is_some_and(|made_by| made_by != uid(operator)) && !taken_over
    };
    let stays = |why: &str| match ours.filter(|object| is_present(object, operator)) {
        Some(object) => Err(format!("still stands there although {why}: {object}")),
        None => Ok(()),
    };
    let opted_out = ["mw-sync", "mw-sync.io/sync"].iter().any(|key| meta(namespace, "annotations", key) == Some("no"));
    if opted_out && scene.role == Role::Agent {
        return stays("the namespace is opted out");
    }
    let equals = |source: &Object, object: &Object| {
        let loose = state.servers[cluster].store.versions(id, uid(object)).any(|version| !scene.is_marked(id, version));
        match differs(scene, source, object, uid(operator), loose) {
            Some(how) => Err(format!("is not as its source: {how}\n  source {source}\n  replica {object}")),
            None => Ok(()),
        }
    };
    let env = match scene.role {
        Role::Agent => meta(namespace, "labels", "env").unwrap_or_default(),
        Role::Master => state.labels[cluster],
    };
    let selected = |source: &Object| selects(scene, source, cluster, &id.namespace, env);
    match (source.map(|source| (wish(scene, id, source), source)), there, ours) {
        (Some((Wish::On, source)), ..) if !selected(source) => match look {
            Look::AtRest => stays("it is not selected"),
            Look::But(..) => Ok(()),
        },
        (Some((Wish::On, source)), None, _) => Err(format!("is missing; source {source}")),
        (Some((Wish::On, source)), Some(object), None) => {
            found.in_the_way += 1;
            let adopt = look == Look::AtRest && may_adopt(scene, id, source, object);
            if adopt { Err(format!("is not taken over: {object}; source {source}")) } else { Ok(()) }
        }
        // Another management cluster may have made it.
        (Some((Wish::On | Wish::Frozen, _)), _, Some(object)) if scene.role == Role::Master && stranded(object) => {
            found.in_the_way += 1;
            Ok(())
        }
        // It stays as it is if a copy of what cannot be read would have to be made anew, or would not tell any more whose it is.
        (Some((Wish::Frozen, source)), _, Some(object))
            if needs_recreate(source, object) || disowns(scene, source, object) =>
        {
            Ok(())
        }
        // It would be deleted, and it was somebody's.
        (Some((Wish::On, source)), _, Some(object)) if needs_recreate(source, object) && was_adopted(object) => {
            found.in_the_way += 1;
            Ok(())
        }
        (Some((Wish::On | Wish::Frozen, source)), _, Some(object)) => {
            found.in_place += 1;
            equals(source, object)
        }
        (Some((Wish::Frozen | Wish::Never, _)), _, _) => Ok(()),
        (Some((Wish::Off, _)), ..) => stays("its source is switched off"),
        (None | Some((Wish::Plain, _)), ..) if look != Look::AtRest => Ok(()),
        (None | Some((Wish::Plain, _)), ..) if has_held_upstream(state, &source_id) => Ok(()),
        (None | Some((Wish::Plain, _)), ..) => stays("its source is gone"),
    }
}
