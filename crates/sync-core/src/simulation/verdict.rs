//! Whether a write is right, by what a process may believe of the world.

use http::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::accounts;
use super::api::{Id, Object, Request, meta, uid, version};
use super::known::{Known, View};
use super::stage::{FIRST_UID, GRACE, Scene};
use super::wishes::{Wish, disowns, may_adopt, needs_recreate, retains, selects, was_adopted};
use crate::contract::rules::Role;

/// What a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Create,
    Update,
    Adopt,
    SwitchOff,
    Release,
    Delete,
    /// Of entries of a ServiceAccount.
    List,
    /// What the agent notes for itself.
    Note,
}

impl Deed {
    pub(super) fn of(request: &Request) -> Self {
        match request.method {
            _ if request.target.as_ref().is_some_and(|target| target.plural == accounts::PLURAL) => return Self::List,
            Method::PATCH if request.apply => return Self::Note,
            Method::PATCH => {}
            Method::PUT => return Self::Update,
            Method::DELETE => return Self::Delete,
            _ => return Self::Create,
        }
        let patch: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let has = |path: &str| patch.as_array().into_iter().flatten().any(|operation| operation["path"] == path);
        match (has("/data"), has("/metadata/resourceVersion")) {
            (true, false) => Self::Update,
            (true, true) => Self::Adopt,
            (false, _) if has("/metadata/annotations/mw-sync.io~1released-from") => Self::Release,
            (false, _) => Self::SwitchOff,
        }
    }

    /// Whether it takes a copy away, or is about to.
    fn is_farewell(self) -> bool {
        matches!(self, Self::SwitchOff | Self::Release | Self::Delete)
    }
}

/// Whether a request's guards let it through.
pub(super) fn hits(request: &Request, object: &Object) -> bool {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    if matches!(request.method, Method::DELETE | Method::PUT) {
        let guards = if request.method == Method::PUT { &body["metadata"] } else { &body["preconditions"] };
        let guard = |field: &str, is: &str| guards[field].as_str().is_none_or(|wanted| wanted == is);
        return guard("uid", uid(object)) && guard("resourceVersion", &version(object).to_string());
    }
    let mut tests = body.as_array().into_iter().flatten().filter(|operation| operation["op"] == "test");
    tests.all(|test| object.pointer(test["path"].as_str().unwrap_or_default()) == Some(&test["value"]))
}

/// A write on its way, and what it would hit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write<'a> {
    pub(super) scene: &'a Scene,
    pub(super) cluster: usize,
    pub(super) id: &'a Id,
    pub(super) deed: Deed,
    /// What stands there, if the write's guards let it through.
    object: Option<&'a Object>,
    request: &'a Request,
}

impl<'a> Write<'a> {
    /// `truth` is what stands on the server.
    pub(super) fn new(
        scene: &'a Scene,
        cluster: usize,
        request: &'a Request,
        id: &'a Id,
        truth: Option<&'a Object>,
    ) -> Self {
        let object = truth.filter(|object| hits(request, object));
        Self { scene, cluster, id, deed: Deed::of(request), object, request }
    }

    /// Promises 1, 2 and 8, and that nothing is written that is not wanted.
    pub(super) fn is_right(&self, known: &Known) -> Result<(), String> {
        let unselected = known.unselected_since(self.cluster, self.id);
        let judge = |view: &View<'_>| {
            if self.deed.is_farewell() { self.may_go(view, unselected) } else { self.may_stand(view) }
        };
        known.judge(self.cluster, self.id, judge)
    }

    fn is_selected(&self, view: &View<'_>) -> bool {
        let (Some(source), Some(place)) = (&view.source.object, view.place) else { return false };
        selects(self.scene, source, self.cluster, &self.id.namespace, &place.env)
    }

    fn may_stand(&self, view: &View<'_>) -> Result<(), String> {
        if view.place.is_none_or(|place| place.terminating) || self.is_excluded(view) {
            return Err("promise 4: where no copy belongs".to_owned());
        }
        match (self.deed, view.source.wish) {
            (Deed::Update, Wish::Frozen) => {}
            (_, Wish::On) if self.is_selected(view) => {}
            _ => return Err("promise 4: a copy that is not wanted".to_owned()),
        }
        let (Some(source), Some(object)) = (&view.source.object, self.object) else { return Ok(()) };
        // Or it is as an earlier version wanted it, which was the master's: that is told while a source is held.
        if view.source.wish == Wish::Frozen && disowns(self.scene, source, object) && self.takes_mark() {
            return Err(format!("promise 2: it does not tell any more that it came from a master: {object}"));
        }
        if self.deed == Deed::Update && self.is_stranded(view, object) {
            return Err(format!("promise 2: another management cluster may have made it: {object}"));
        }
        if self.deed == Deed::Adopt && !may_adopt(self.scene, self.id, source, object) {
            return Err(format!("promise 1: somebody's object is taken over: {object}"));
        }
        Ok(())
    }

    /// Whether it would leave no mark of a master's replica there.
    fn takes_mark(&self) -> bool {
        let body: Value = serde_json::from_slice(&self.request.body).unwrap_or_default();
        match body.as_array() {
            Some(patch) => patch.iter().any(|operation| {
                operation["op"] == "remove" && operation["path"] == "/metadata/annotations/mw-sync.io~1upstream"
            }),
            None => meta(&body, "annotations", "mw-sync.io/upstream").is_none(),
        }
    }

    /// Whether it is a master's replica of another incarnation of the source namespace, not to be taken over.
    fn is_stranded(&self, view: &View<'_>, replica: &Object) -> bool {
        let made_by = meta(replica, "annotations", "mw-sync.io/origin-uid");
        // While there is none, sources are as they were when there was one.
        let ours = |made_by| view.operator.is_none_or(|operator| operator.uid == made_by);
        let taken_over = |made_by| self.scene.take_over && made_by == FIRST_UID;
        self.scene.role == Role::Master && made_by.is_some_and(|uid| !ours(uid) && !taken_over(uid))
    }

    /// A master's destination is not read, so it cannot opt out.
    fn is_excluded(&self, view: &View<'_>) -> bool {
        self.scene.role == Role::Agent && view.place.is_some_and(|place| place.opted_out && !place.terminating)
    }

    fn may_go(&self, view: &View<'_>, unselected: Option<Instant>) -> Result<(), String> {
        let Some(operator) = view.operator.filter(|operator| !operator.terminating) else {
            return Err("promise 2: while the source namespace is terminating or missing".to_owned());
        };
        // What hits nothing does no harm.
        let Some(replica) = self.object else { return Ok(()) };
        if self.deed == Deed::Delete && was_adopted(replica) {
            return Err("promise 1: an object that was adopted is deleted".to_owned());
        }
        let on = view.source.wish == Wish::On && self.is_selected(view) && !self.is_excluded(view);
        let anew = view.source.object.as_ref().is_some_and(|source| needs_recreate(source, replica));
        if on && anew && self.deed == Deed::Delete && !self.is_stranded(view, replica) {
            return Ok(());
        }
        if meta(replica, "annotations", "mw-sync.io/origin-uid") != Some(operator.uid.as_str()) {
            return Err("promise 2: another incarnation of the source namespace has made it".to_owned());
        }
        let switched_off = meta(replica, "annotations", "mw-sync.io/sync") == Some("no");
        if self.scene.role == Role::Master && self.deed == Deed::Delete && !switched_off {
            return Err("promise 2: it was not switched off first".to_owned());
        }
        let said = if self.is_excluded(view) { None } else { self.is_over(view, replica, unselected)? };
        let stays = was_adopted(replica) || said.unwrap_or_else(|| retains(replica));
        if stays != (self.deed == Deed::Release) {
            return Err(format!("promise 8: the wrong end: {replica}"));
        }
        Ok(())
    }

    /// Whether the time of a replica is over; and whether its source says that it stays, if it says anything.
    fn is_over(&self, view: &View<'_>, replica: &Object, unselected: Option<Instant>) -> Result<Option<bool>, String> {
        let (source, now) = (view.source, Instant::now());
        match source.wish {
            Wish::Off => return Ok(source.object.as_deref().map(retains)),
            Wish::Plain => {}
            Wish::On if self.is_selected(view) => return Err("promise 2: although its source is on".to_owned()),
            Wish::On => {
                return match unselected {
                    Some(since) if since + GRACE <= now => Ok(source.object.as_deref().map(retains)),
                    _ => Err("promise 8: selected no more, but within the grace".to_owned()),
                };
            }
            Wish::Frozen | Wish::Never => return Err(format!("promise 2: although its source is {:?}", source.wish)),
        }
        if source.off.is_some() {
            return Ok(source.off);
        }
        let marked = || meta(replica, "annotations", "mw-sync.io/upstream").is_some();
        if source.upstream.unwrap_or_else(marked) {
            return Err("promise 2: although a master has not switched it off".to_owned());
        }
        if source.absent_since + GRACE > now {
            return Err("promise 8: within the grace".to_owned());
        }
        if !source.confirmed {
            return Err("promise 2: although nothing has confirmed that its source is gone".to_owned());
        }
        Ok(None)
    }
}
