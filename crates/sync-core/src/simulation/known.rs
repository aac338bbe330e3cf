//! What one process knows of the world: what watches have shown it and what its requests were answered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::api::{Id, Object, is_terminating, meta, uid, version};
use super::faults::{Slot, Watched};
use super::stage::{OPERATOR, Scene};
use super::told::Told;
use super::wishes::{Wish, is_from_master, retains, selects, wish};
use crate::contract::rules::Role;

/// A pair with a request under way is not looked at before the request is over: the deadline of one.
const UNDER_WAY: Duration = Duration::from_secs(10);

/// What a process was told of a source.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) object: Option<Object>,
    pub(super) wish: Wish,
    pub(super) absent_since: Instant,
    /// The last wish, but for its absence, was an explicit `no`, and whether it said that copies stay.
    pub(super) off: Option<bool>,
    /// Whether copies are those of a master's replica, as the last object says that could be read; `None` if none could.
    pub(super) upstream: Option<bool>,
    /// A read of the source namespace and one of the source have confirmed its absence.
    pub(super) confirmed: bool,
}

/// The source namespace, or a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Namespace {
    pub(super) uid: String,
    pub(super) terminating: bool,
    pub(super) opted_out: bool,
    /// Its label `env`, which sources select by; of a master's destination, that of the RemoteCluster.
    pub(super) env: String,
}

impl Namespace {
    fn of(object: &Value) -> Self {
        let no = |key| meta(object, "annotations", key) == Some("no");
        Self {
            uid: uid(object).to_owned(),
            terminating: is_terminating(object),
            opted_out: no("mw-sync") || no("mw-sync.io/sync"),
            env: meta(object, "labels", "env").unwrap_or_default().to_owned(),
        }
    }
}

/// What a request may be judged by: one of the states that a process may believe the world to be in.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) source: &'a Source,
    pub(super) operator: Option<&'a Namespace>,
    pub(super) place: Option<&'a Namespace>,
}

/// All that a process knows.
#[derive(Debug)]
pub(super) struct Known {
    scene: Scene,
    pub(super) started: Instant,
    sources: BTreeMap<Id, Told<Source>>,
    operator: Told<Option<Namespace>>,
    places: BTreeMap<(usize, String), Told<Option<Namespace>>>,
    objects: BTreeMap<(usize, Id), Told<u64>>,
    /// Those of them that are somebody else's with the label of our replicas: known for as long as a copy is wanted there.
    strangers: BTreeSet<(usize, Id)>,
    /// What it has looked at, which no watch need have shown: likewise.
    looked: BTreeMap<(usize, Id), u64>,
    /// When a copy was last not wanted where one had been looked for: all that was known of the place is forgotten then.
    unwanted: BTreeMap<(usize, Id), Instant>,
    /// Since when a copy is selected no more.
    unselected: BTreeMap<(usize, Id), Instant>,
    /// The same of one that is so no more, and when that was told: at that very moment it may not have been looked at.
    reselected: BTreeMap<(usize, Id), (Instant, Instant)>,
    /// The uids that reads of the source namespace have found, as its watch had shown it: each is good for one source.
    confirming: Vec<String>,
    /// The reads of sources that are under way after such a read.
    asked: BTreeMap<u64, String>,
}

/// What an object is called that a watch shows.
pub(super) fn id_of(slot: Slot, object: &Value) -> Id {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    Id::new(slot.what.plural(), text("namespace"), text("name"))
}

fn source_of(id: &Id) -> Id {
    Id::new(id.plural, OPERATOR, &id.name)
}

impl Known {
    pub(super) fn new(scene: Scene, labels: &[&'static str]) -> Self {
        let mut known = Self {
            scene,
            started: Instant::now(),
            sources: BTreeMap::new(),
            operator: Told::new(None),
            places: BTreeMap::new(),
            objects: BTreeMap::new(),
            strangers: BTreeSet::new(),
            looked: BTreeMap::new(),
            unwanted: BTreeMap::new(),
            unselected: BTreeMap::new(),
            reselected: BTreeMap::new(),
            confirming: Vec::new(),
            asked: BTreeMap::new(),
        };
        for (cluster, env) in labels.iter().enumerate() {
            known.labelled(cluster, env);
        }
        known
    }

    /// The RemoteCluster of a master's destination has this label.
    pub(super) fn labelled(&mut self, cluster: usize, env: &str) {
        if self.scene.role == Role::Master {
            let place = Namespace { uid: String::new(), terminating: false, opted_out: false, env: env.to_owned() };
            self.place(cluster, OPERATOR, Some(place));
        }
    }

    /// A watch shows an object.
    pub(super) fn seen(&mut self, slot: Slot, id: &Id, object: &Value) {
        match slot.what {
            Watched::SourceSecrets | Watched::SourceConfigMaps => self.source(id, Some(object)),
            Watched::SourceNamespace => self.operator.tell(Some(Namespace::of(object))),
            Watched::Namespaces => self.place(slot.cluster, &id.name, Some(Namespace::of(object))),
            Watched::Lease => {}
            Watched::Secrets | Watched::ConfigMaps | Watched::Accounts => {
                self.knows(slot.cluster, id, version(object));
                let key = (slot.cluster, id.clone());
                match slot.what == Watched::Accounts || self.scene.is_marked(id, object) {
                    true => self.strangers.remove(&key),
                    false => self.strangers.insert(key),
                };
                self.forget_strangers();
            }
            // It follows what was looked at, and shows more.
            Watched::Name(..) => {
                if let Some(known) = self.looked.get_mut(&(slot.cluster, id.clone())) {
                    *known = version(object).max(*known);
                }
            }
        }
    }

    /// A watch shows that an object is gone, or selected no more.
    pub(super) fn gone(&mut self, slot: Slot, id: &Id) {
        match slot.what {
            Watched::SourceSecrets | Watched::SourceConfigMaps => self.source(id, None),
            Watched::SourceNamespace => self.operator.tell(None),
            Watched::Namespaces => self.place(slot.cluster, &id.name, None),
            // What lost its label may stand there still, so that no version is known.
            Watched::Secrets | Watched::ConfigMaps | Watched::Accounts => {
                self.objects.remove(&(slot.cluster, id.clone()));
            }
            Watched::Name(..) => drop(self.looked.remove(&(slot.cluster, id.clone()))),
            Watched::Lease => {}
        }
    }

    /// A list has not shown what was known before.
    pub(super) fn unlisted(&mut self, slot: Slot, listed: impl Fn(&Id) -> bool) {
        let known: Vec<Id> = match slot.what {
            Watched::SourceSecrets | Watched::SourceConfigMaps => self.sources.keys().cloned().collect(),
            Watched::SourceNamespace => vec![Id::namespace(OPERATOR)],
            Watched::Lease => Vec::new(),
            Watched::Namespaces => self.places.keys().map(|(_, name)| Id::namespace(name)).collect(),
            Watched::Name(_, name) => {
                let here = self.looked.keys().filter(|(cluster, id)| *cluster == slot.cluster && id.name == name);
                here.map(|(_, id)| id.clone()).collect()
            }
            Watched::Secrets | Watched::ConfigMaps | Watched::Accounts => {
                let here = self.objects.keys().filter(|(cluster, _)| *cluster == slot.cluster);
                here.map(|(_, id)| id.clone()).collect()
            }
        };
        for id in known.into_iter().filter(|id| id.plural == slot.what.plural() && !listed(id)) {
            self.gone(slot, &id);
        }
    }

    /// An object stands there in at least this version.
    pub(super) fn knows(&mut self, cluster: usize, id: &Id, version: u64) {
        let told = self.objects.entry((cluster, id.clone())).or_insert_with(|| Told::new(0));
        told.tell(version.max(*told.last()));
    }

    /// A look has found this version.
    pub(super) fn looked(&mut self, cluster: usize, id: &Id, version: u64) {
        let key = (cluster, id.clone());
        if self.wants(cluster, id) && self.unwanted.get(&key) != Some(&Instant::now()) {
            self.looked.insert(key, version);
        }
    }

    /// A namespace is said to be gone or going.
    pub(super) fn left(&mut self, cluster: usize, namespace: &str) {
        self.looked.retain(|(at, id), _| *at != cluster || id.namespace != namespace);
    }

    /// It stands there, but is no replica any more.
    pub(super) fn released(&mut self, cluster: usize, id: &Id) {
        self.objects.remove(&(cluster, id.clone()));
    }

    /// The version of an object that the process must know of.
    pub(super) fn version(&self, cluster: usize, id: &Id) -> Option<u64> {
        let key = (cluster, id.clone());
        let told = self.objects.get(&key).filter(|told| told.each().all(|version| version == told.last()));
        told.map(|told| *told.last()).max(self.looked.get(&key).copied())
    }

    fn fresh(&self) -> Source {
        Source {
            object: None,
            wish: Wish::Plain,
            absent_since: self.started,
            off: None,
            upstream: None,
            confirmed: false,
        }
    }

    fn source(&mut self, id: &Id, object: Option<&Value>) {
        let wish = object.map_or(Wish::Plain, |object| wish(&self.scene, id, object));
        let fresh = self.fresh();
        let told = self.sources.entry(id.clone()).or_insert_with(|| Told::new(fresh));
        let mut source = told.last().clone();
        if wish == Wish::Plain {
            if source.wish != Wish::Plain {
                source.absent_since = Instant::now();
            }
        } else {
            source.off = object.filter(|_| wish == Wish::Off).map(retains);
            source.upstream = object.filter(|_| wish == Wish::On).map(is_from_master).or(source.upstream);
            source.confirmed = false;
        }
        (source.object, source.wish) = (object.cloned().map(Object::new), wish);
        told.tell(source);
        self.reconsider();
    }

    fn place(&mut self, cluster: usize, name: &str, place: Option<Namespace>) {
        let told = self.places.entry((cluster, name.to_owned())).or_insert_with(|| Told::new(None));
        told.tell(place);
        self.reconsider();
    }

    /// Notes what is selected no more, and forgets what was looked at for copies that are not wanted any more.
    fn reconsider(&mut self) {
        let (mut unselected, now) = (BTreeMap::new(), Instant::now());
        self.reselected.retain(|_, (_, until)| now - *until < UNDER_WAY);
        for (source, told) in &self.sources {
            let Source { object: Some(object), wish: Wish::On, .. } = told.last() else { continue };
            for ((cluster, name), place) in &self.places {
                let Some(place) = place.last() else { continue };
                if !selects(&self.scene, object, *cluster, name, &place.env) {
                    let key = (*cluster, Id::new(source.plural, name, &source.name));
                    // It was selected for a short time only, and perhaps nobody has looked.
                    let before = self.reselected.get(&key).map(|(since, _)| *since);
                    let since = self.unselected.get(&key).copied().or(before).unwrap_or(now);
                    unselected.insert(key, since);
                }
            }
        }
        for (key, since) in std::mem::replace(&mut self.unselected, unselected) {
            if !self.unselected.contains_key(&key) {
                self.reselected.insert(key, (since, now));
            }
        }
        let over: Vec<_> = self.looked.keys().filter(|(cluster, id)| !self.wants(*cluster, id)).cloned().collect();
        for key in over {
            self.looked.remove(&key);
            self.unwanted.insert(key, Instant::now());
        }
        self.forget_strangers();
    }

    fn forget_strangers(&mut self) {
        let over: Vec<_> = self.strangers.iter().filter(|(cluster, id)| !self.wants(*cluster, id)).cloned().collect();
        for key in over {
            self.strangers.remove(&key);
            self.objects.remove(&key);
        }
    }

    /// Whether a copy is wanted there, as last told; and was so for long enough, so that none of what was before is told
    /// to the engine later.
    fn wants(&self, cluster: usize, id: &Id) -> bool {
        let on = |told: &&Told<Source>| told.within(Duration::MAX).all(|source| source.wish == Wish::On);
        let source = self.sources.get(&source_of(id)).filter(on).map(Told::last);
        let place = self.places.get(&(cluster, id.namespace.clone())).and_then(|told| told.last().as_ref());
        let (Some(source), Some(place)) = (source, place) else { return false };
        let Some(object) = source.object.as_ref().filter(|_| source.wish == Wish::On) else { return false };
        !place.opted_out && !place.terminating && selects(&self.scene, object, cluster, &id.namespace, &place.env)
    }

    /// Since when a copy is selected no more, if it is not.
    pub(super) fn unselected_since(&self, cluster: usize, id: &Id) -> Option<Instant> {
        let key = (cluster, id.clone());
        let until_now = self.reselected.get(&key).filter(|(_, until)| *until == Instant::now());
        until_now.map(|(since, _)| *since).or_else(|| self.unselected.get(&key).copied())
    }

    /// The answer to a read of the source namespace, the first of the two that confirm the absence of a source.
    pub(super) fn namespace_read(&mut self, found: Option<&Value>) {
        let seen = found.map(Namespace::of).filter(|namespace| !namespace.terminating).map(|namespace| namespace.uid);
        let same = |told: &Option<Namespace>| told.as_ref().is_some_and(|told| Some(&told.uid) == seen.as_ref());
        if self.operator.each().any(same) {
            self.confirming.extend(seen);
        }
    }

    /// The other one is sent.
    pub(super) fn source_asked(&mut self, number: u64) {
        if let Some(uid) = self.confirming.pop() {
            self.asked.insert(number, uid);
        }
    }

    /// The answer to the other one.
    pub(super) fn source_read(&mut self, number: u64, id: &Id, found: Option<&Value>) {
        let absent = found.is_none_or(|object| wish(&self.scene, id, object) == Wish::Plain);
        let uid = self.asked.remove(&number);
        let same = |told: &Option<Namespace>| told.as_ref().is_some_and(|told| Some(&told.uid) == uid.as_ref());
        if absent && self.operator.each().any(same) {
            let fresh = self.fresh();
            let told = self.sources.entry(id.clone()).or_insert_with(|| Told::new(fresh));
            told.tell(Source { confirmed: true, ..told.last().clone() });
        }
    }

    /// Whether a judgement is good by anything that the process may believe; if not, that by the last it was told.
    pub(super) fn judge(
        &self,
        cluster: usize,
        id: &Id,
        judge: impl Fn(&View<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let (source, place) = (Told::new(self.fresh()), Told::new(None));
        let source = self.sources.get(&source_of(id)).unwrap_or(&source);
        let place = self.places.get(&(cluster, id.namespace.clone())).unwrap_or(&place);
        // What may write everywhere waits if it changes all the time; what takes away or stops does not. While it waits,
        // copies are kept as an earlier version wanted them, or as one wanted that could not be understood.
        let busy = source.each().any(|now| now.wish == Wish::On);
        let past = source.within(Duration::MAX).filter(|past| busy && matches!(past.wish, Wish::On | Wish::Frozen));
        let mut first = None;
        for source in source.each().chain(past) {
            for operator in self.operator.each() {
                for place in place.each() {
                    match judge(&View { source, operator: operator.as_ref(), place: place.as_ref() }) {
                        Ok(()) => return Ok(()),
                        Err(why) => drop(first.get_or_insert(why)),
                    }
                }
            }
        }
        first.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use tokio::time::advance;

    use super::*;
    use crate::simulation::schedule::Schedule;

    #[tokio::test(start_paused = true)]
    async fn at_the_moment_of_news_what_was_before_may_be_believed() {
        let scene = Scene { role: Role::Master, clusters: 2, ..Schedule::new(0).scene };
        let mut known = Known::new(scene, &["", ""]);
        let (slot, id) = (Slot { cluster: 0, what: Watched::SourceSecrets }, Id::new("secrets", OPERATOR, "s0"));
        let annotations = json!({ "mw-sync": "yes", "mw-sync.io/clusters": "!cluster-1" });
        known.seen(slot, &id, &json!({ "metadata": { "annotations": annotations } }));
        let since = Some(Instant::now());
        advance(Duration::from_secs(40)).await;
        assert_eq!(known.unselected_since(1, &id), since);
        known.gone(slot, &id);
        assert_eq!(known.unselected_since(1, &id), since);
        advance(Duration::from_millis(1)).await;
        assert_eq!(known.unselected_since(1, &id), None);
    }
}
