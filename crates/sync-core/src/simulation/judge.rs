//! Holds each request of a process against the promises, by what that process has been told.
//!
//! What is judged as a request is sent is what the process could know; what is judged as it arrives is what the
//! server has seen it do. Nothing here asks how the engine came to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::accounts::{self, NOTE};
use super::api::{Id, LEASES, Object, Request, meta, version};
use super::entries;
use super::faults::{Slot, Watched};
use super::known::{Known, id_of};
use super::stage::{OPERATOR, Scene};
use super::tenure;
use super::users::{PAYLOAD, THEIRS};
use super::verdict::{Deed, Write};
use crate::contract::rules::Role;

/// Between two Events on one source.
const EVENT_PAUSE: Duration = Duration::from_secs(10);
/// An order may have been given that is not on its way yet: a namespace to which none is under way is not idle yet.
const PAUSE: Duration = Duration::from_secs(1);
/// Entries are written so many at once.
const ENTRIES: usize = 8;
/// After so many attempts to resume a watch that a server refuses there may be a list.
const ATTEMPTS: u32 = 5;

/// What a watch may ask for.
#[derive(Debug, Default)]
struct Listing {
    /// The list is complete.
    complete: bool,
    /// Nothing justifies another one.
    enough: bool,
    /// How often it was tried to list or resume since the watch last said anything.
    attempts: u32,
    /// A server has refused that.
    refused: bool,
    /// It must be asked for anew: what is still to come of an earlier list does not count.
    anew: bool,
    shown: BTreeSet<Id>,
}

/// A request that has not been answered.
#[derive(Debug)]
struct UnderWay {
    cluster: usize,
    id: Id,
    /// The version of the object that the process must have known of when it sent this.
    knew: Option<u64>,
}

/// The judge of one process, from its start on.
#[derive(Debug)]
pub(super) struct Judge {
    scene: Scene,
    pub(super) known: Known,
    lists: BTreeMap<Slot, Listing>,
    under_way: BTreeMap<u64, UnderWay>,
    /// Of a namespace with copies: how many requests have been answered without a pause, and when the last was.
    answers: BTreeMap<(usize, String), (usize, Instant)>,
    events: BTreeMap<String, Instant>,
}

impl Judge {
    pub(super) fn new(scene: Scene, labels: &[&'static str]) -> Self {
        let known = Known::new(scene, labels);
        let (lists, under_way, answers) = Default::default();
        Self { scene, known, lists, under_way, answers, events: BTreeMap::new() }
    }

    /// The watches that have been heard of.
    pub(super) fn slots(&self) -> Vec<Slot> {
        self.lists.keys().copied().collect()
    }

    /// A watch has begun to answer.
    pub(super) fn opened(&mut self, slot: Slot, list: bool) {
        if list {
            self.lists.entry(slot).or_default().shown.clear();
        }
    }

    /// A line of a watch arrives.
    pub(super) fn hears(&mut self, slot: Slot, kind: &str, object: &Value) {
        let listing = self.lists.entry(slot).or_default();
        let ends_a_list = meta(object, "annotations", "k8s.io/initial-events-end").is_some();
        // A list is no sign that the watch works.
        if listing.enough && !ends_a_list {
            (listing.attempts, listing.refused) = (0, false);
        }
        match kind {
            "ERROR" => listing.enough = false,
            "BOOKMARK" if ends_a_list => self.listed(slot),
            "BOOKMARK" => {}
            "DELETED" => {
                let id = id_of(slot, object);
                listing.shown.remove(&id);
                self.known.gone(slot, &id);
            }
            _ => self.seen(slot, object),
        }
    }

    fn seen(&mut self, slot: Slot, object: &Value) {
        let id = id_of(slot, object);
        self.known.seen(slot, &id, object);
        self.lists.entry(slot).or_default().shown.insert(id);
    }

    /// A list is complete: what it has not shown is gone.
    fn listed(&mut self, slot: Slot) {
        let listing = self.lists.entry(slot).or_default();
        if !listing.anew {
            (listing.complete, listing.enough) = (true, true);
        }
        let shown = std::mem::take(&mut listing.shown);
        self.known.unlisted(slot, |id| shown.contains(id));
    }

    /// The process has got the Lease: what it was told of the sources before may be old, however its watches stand.
    fn leads(&mut self) {
        for (_, listing) in self.lists.iter_mut().filter(|(slot, _)| slot.what.is_of_sources()) {
            (listing.complete, listing.anew) = (false, true);
        }
    }

    /// A request is sent. `truth` is what stands on the server.
    pub(super) fn sends(
        &mut self,
        cluster: usize,
        number: u64,
        request: &Request,
        truth: Option<&Object>,
    ) -> Result<(), String> {
        if let Some(slot) = Slot::of(cluster, request) {
            let listing = self.lists.entry(slot).or_default();
            listing.attempts += 1;
            if request.is_list() && !request.query.contains_key("continue") && std::mem::take(&mut listing.anew) {
                listing.enough = false;
            }
            let in_vain = listing.refused && listing.attempts > ATTEMPTS;
            // A watch on a name ends with what is in the way, and the next one is another.
            // One on ServiceAccounts ends when no source asks for it, and is another for other names.
            let is_new = matches!(slot.what, Watched::Name(..) | Watched::Accounts);
            if !is_new && request.is_list() && listing.enough && !in_vain {
                return Err(format!("promise 4: {slot:?} is listed again for nothing"));
            }
            return Ok(());
        }
        if request.is_write() && request.target.as_ref().is_some_and(|target| target.plural == "events") {
            return self.may_post(cluster, request);
        }
        // Whether it may hold that the tenure tells.
        let Some(id) = request.id().filter(|id| id.plural != LEASES) else { return Ok(()) };
        if id.name == NOTE {
            return self.may_note(cluster, request, &id);
        }
        if request.is_write() {
            self.may_write(cluster, request, &id, truth)?;
        } else if !self.scene.is_destination(cluster, &id.namespace) {
            if id.plural != "namespaces" {
                self.known.source_asked(number);
            }
            return Ok(());
        }
        self.is_modest(cluster, &id)?;
        let knew = self.known.version(cluster, &id);
        self.under_way.insert(number, UnderWay { cluster, id, knew });
        Ok(())
    }

    /// The one object of the source namespace that an agent writes: its own.
    fn may_note(&self, cluster: usize, request: &Request, id: &Id) -> Result<(), String> {
        let is_own = (cluster, id.plural, &*id.namespace, self.scene.role) == (0, "configmaps", OPERATOR, Role::Agent);
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let fine = body["data"].as_object().is_some_and(|data| data.keys().all(|key| key == "pull-secrets"));
        if request.method == Method::GET || (is_own && request.apply && fine) {
            return Ok(());
        }
        Err(format!("promise 7: what is no note of ours: {} {}", request.method, request.path))
    }

    /// Promise 9, and that a pair is in flight once.
    fn is_modest(&self, cluster: usize, id: &Id) -> Result<(), String> {
        let is_entry = |id: &Id| id.plural == accounts::PLURAL;
        let here = self.under_way.values().filter(|other| other.cluster == cluster);
        let here: Vec<_> = here.filter(|other| is_entry(&other.id) == is_entry(id)).collect();
        if here.iter().any(|other| other.id == *id) {
            return Err(format!("promise 4: {id:?} is asked for while another request for it is under way"));
        }
        let slots = if is_entry(id) { ENTRIES } else { self.scene.max_in_flight };
        let same = here.iter().filter(|other| other.id.namespace == id.namespace).count();
        let answers = self.answers.get(&(cluster, id.namespace.clone())).filter(|_| !is_entry(id));
        let answers = answers.filter(|(_, last)| same > 0 || last.elapsed() < PAUSE).map_or(0, |(answers, _)| *answers);
        let least = (slots / 8).max(1);
        let most = (least + 3 * answers).min(slots * 3 / 4).max(least);
        if here.len() >= slots || (self.scene.role == Role::Agent && same >= most) {
            return Err(format!("promise 5: too much is under way at once as {id:?} is asked for"));
        }
        Ok(())
    }

    /// Promise 7, and that Events are few and tell nothing.
    fn may_post(&mut self, cluster: usize, request: &Request) -> Result<(), String> {
        let event: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let about = event["regarding"]["uid"].as_str().unwrap_or_default().to_owned();
        let says_nothing = event["note"].as_str().is_none_or(str::is_empty);
        if cluster != 0 || event["metadata"]["namespace"] != OPERATOR || says_nothing {
            return Err(format!("promise 7: an Event that does not belong there: {event}"));
        }
        if String::from_utf8_lossy(&request.body).contains(PAYLOAD) {
            return Err("promise 6: an Event shows a payload".to_owned());
        }
        let last = self.events.insert(about, Instant::now());
        if last.is_some_and(|last| last.elapsed() < EVENT_PAUSE) {
            return Err(format!("promise 10: two Events at once: {event}"));
        }
        Ok(())
    }

    fn has_listed(&self, cluster: usize, what: Watched) -> bool {
        self.lists.get(&Slot { cluster, what }).is_some_and(|listing| listing.complete)
    }

    /// Promises 1, 2, 7 and 8, and that nothing is written on what is not known.
    fn may_write(&self, cluster: usize, request: &Request, id: &Id, truth: Option<&Object>) -> Result<(), String> {
        let write = Write::new(&self.scene, cluster, request, id, truth);
        let what = |why: String| format!("{why}: {:?} {id:?} in cluster {cluster}", write.deed);
        if id.plural == "namespaces" || !self.scene.is_destination(cluster, &id.namespace) {
            return Err(what("promise 7: where we write nothing".to_owned()));
        }
        let own = match id.plural {
            "secrets" => Watched::Secrets,
            accounts::PLURAL => Watched::Accounts,
            _ => Watched::ConfigMaps,
        };
        let complete = [Watched::SourceSecrets, Watched::SourceConfigMaps, Watched::SourceNamespace]
            .into_iter()
            .all(|what| self.has_listed(0, what))
            && self.has_listed(cluster, own)
            && (self.scene.role == Role::Master || self.has_listed(cluster, Watched::Namespaces));
        if !complete {
            return Err(what("promise 2: before all lists have come".to_owned()));
        }
        if write.deed == Deed::List {
            return entries::is_right(&self.scene, &self.known, request, id, truth).map_err(what);
        }
        write.is_right(&self.known).map_err(what)
    }

    /// Nobody waits for the answer to this request any more.
    pub(super) fn is_over(&mut self, number: u64) {
        self.under_way.remove(&number);
    }

    /// The answer to a request reaches the process.
    pub(super) fn answered(&mut self, cluster: usize, number: u64, request: &Request, code: u16, body: &Value) {
        self.under_way.remove(&number);
        if let Some(slot) = Slot::of(cluster, request) {
            return self.of_list(slot, request, code, body);
        }
        if tenure::takes(request) && (200..300).contains(&code) {
            return self.leads();
        }
        let ours = |id: &Id| id.plural != LEASES && id.name != NOTE;
        let Some(id) = request.id().filter(ours) else { return };
        let is_read = request.method == Method::GET;
        let found = (200..300).contains(&code);
        let missing = code == 404 && body["details"]["name"] == id.name && body["details"]["kind"] == id.plural;
        if self.scene.is_destination(cluster, &id.namespace) {
            if !is_read {
                let of = self.answers.entry((cluster, id.namespace.clone())).or_insert((0, Instant::now()));
                let before = if of.1.elapsed() < PAUSE { of.0 } else { 0 };
                let done = found || (missing && request.method == Method::DELETE);
                *of = (if done { before + 1 } else { 0 }, Instant::now());
            }
            match request.method {
                // No namespace, or one that is ending: what was in it is of no interest.
                Method::POST if matches!(code, 403 | 404) => self.known.left(cluster, &id.namespace),
                _ if !found => {}
                Method::DELETE => {}
                Method::GET => self.known.looked(cluster, &id, version(body)),
                _ if Deed::of(request) == Deed::Release => self.known.released(cluster, &id),
                _ => self.known.knows(cluster, &id, version(body)),
            }
        } else if is_read && (found || missing) {
            let there = Some(body).filter(|_| found);
            match id.plural {
                "namespaces" => self.known.namespace_read(there),
                _ => self.known.source_read(number, &id, there),
            }
        }
    }

    fn of_list(&mut self, slot: Slot, request: &Request, code: u16, body: &Value) {
        if code != 200 {
            let listing = self.lists.entry(slot).or_default();
            listing.refused = true;
            listing.enough &= code != 410;
            return;
        }
        if !request.query.contains_key("continue") {
            self.opened(slot, true);
        }
        for object in body["items"].as_array().into_iter().flatten() {
            self.seen(slot, object);
        }
        if body["metadata"]["continue"].is_null() {
            self.listed(slot);
        }
    }

    /// Promises 1 and 4, on the server, for a write that has just been carried out or refused there; there is a judge
    /// if the process that sent it lives.
    pub(super) fn arrived(
        scene: &Scene,
        judge: Option<&Self>,
        number: u64,
        arrival: &Arrival<'_>,
    ) -> Result<(), String> {
        let Arrival { request, id, before: Some(before), after, code, changed } = arrival else { return Ok(()) };
        let deed = Deed::of(request);
        if deed == Deed::Note {
            return Ok(());
        }
        let theirs = |object: &Object| meta(object, "labels", THEIRS).is_some();
        if *changed && theirs(before) && after.is_some_and(|after| !theirs(after)) {
            return Err(format!("promise 1: {deed:?} {id:?} takes away what somebody else has put there: {before}"));
        }
        if *changed && !matches!(deed, Deed::Adopt | Deed::List) && !scene.is_marked(id, before) {
            return Err(format!("promise 1: {deed:?} {id:?}, which is not ours: {before}"));
        }
        let sent = judge.and_then(|judge| judge.under_way.get(&number));
        // A namespace that is ending says nothing of the object, and perhaps has not been heard to end.
        if *code == 403 {
            return Ok(());
        }
        // A process that starts cannot know that the one before it has switched off what is to be deleted.
        if !changed && deed != Deed::SwitchOff && sent.is_some_and(|sent| sent.knew == Some(version(before))) {
            return Err(format!("promise 4: {deed:?} {id:?} could change nothing ({code}), as was known: {before}"));
        }
        Ok(())
    }
}

/// A write that a server has carried out or refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    pub(super) request: &'a Request,
    pub(super) id: &'a Id,
    pub(super) before: Option<&'a Object>,
    pub(super) after: Option<&'a Object>,
    pub(super) code: u16,
    pub(super) changed: bool,
}
