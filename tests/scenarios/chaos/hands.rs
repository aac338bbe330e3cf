//! What people do to the objects of one cluster, and what is theirs from then on.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;
use tokio::time::Instant;

use super::objects::Place;
use super::options::is_lent;
use crate::support::{Kind, World, code, uid, version};

/// A replica that is restored three times within 5 minutes is contested, and waits for minutes.
const TOUCHES: usize = 2;
const TOUCHES_WITHIN: Duration = Duration::from_secs(320);

/// They act on the API server itself, with no fault in between, so that it is known what they have done.
pub(super) struct Hands {
    pub(super) world: World,
    /// What is nobody's but theirs, as they have left it.
    owned: BTreeMap<Place, Value>,
    touched: BTreeMap<Place, Vec<Instant>>,
    /// Names of the sources that they make here.
    sources: &'static [&'static str],
}

impl Hands {
    pub(super) fn new(world: World, sources: &'static [&'static str]) -> Self {
        Self { world, owned: BTreeMap::new(), touched: BTreeMap::new(), sources }
    }

    /// What stands at a place, if it is theirs.
    pub(super) fn owned(&self, place: &Place) -> Option<&Value> {
        self.owned.get(place)
    }

    /// All that is theirs.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Place, &Value)> {
        self.owned.iter()
    }

    /// Makes an object, unless something stands there or the namespace is missing or going.
    pub(super) async fn put(&mut self, place: &Place, object: &Value) -> Result<()> {
        if let Some(made) = harmless(self.world.create(object).await, &[403, 404, 409])? {
            self.own(place, made);
        }
        Ok(())
    }

    /// A source is always theirs; what is in the way of one that takes over may become a copy.
    fn own(&mut self, place: &Place, object: Value) {
        let is_source = place.namespace == "operator" && self.sources.contains(&&*place.name);
        if is_source || !is_lent(&place.name) {
            self.owned.insert(place.clone(), object);
        }
    }

    /// Changes what is theirs. Nobody else may have.
    pub(super) async fn change(&mut self, place: &Place, mut patch: Value) -> Result<()> {
        let Some(mine) = self.owned.get(place) else { return Ok(()) };
        patch["metadata"]["resourceVersion"] = version(mine).into();
        let changed = self.world.merge(place.kind, &place.namespace, &place.name, &patch).await;
        // What is immutable cannot be changed.
        let changed = harmless(theirs(place, changed)?, &[422])?;
        if let Some(changed) = changed {
            self.owned.insert(place.clone(), changed);
        }
        Ok(())
    }

    /// Deletes what is theirs.
    pub(super) async fn take(&mut self, place: &Place) -> Result<()> {
        let Some(mine) = self.owned.remove(place) else { return Ok(()) };
        theirs(place, self.world.delete_exactly(place.kind, &place.namespace, &place.name, &mine).await)?
    }

    /// Makes it a controller's by a patch that gives it marks.
    pub(super) async fn give(&mut self, place: &Place, patch: Value) -> Result<()> {
        self.change(place, patch).await?;
        self.owned.remove(place);
        Ok(())
    }

    /// A namespace goes, and all that is in it.
    pub(super) fn forget(&mut self, namespace: &str) {
        self.owned.retain(|place, _| place.namespace != namespace);
        self.touched.retain(|place, _| place.namespace != namespace);
    }

    /// What stands at a place.
    pub(super) async fn seen(&self, place: &Place) -> Result<Option<Value>> {
        self.world.find(place.kind, &place.namespace, &place.name).await
    }

    /// Whether a namespace is there and stays. Nobody but these people deletes one.
    pub(super) async fn is_open(&self, namespace: &str) -> Result<bool> {
        let namespace = self.world.find(Kind::Namespace, "", namespace).await?;
        Ok(namespace.is_some_and(|namespace| namespace["metadata"]["deletionTimestamp"].is_null()))
    }

    /// Whether a replica may be touched once more without being contested. Counts it.
    pub(super) fn may_touch(&mut self, place: &Place) -> bool {
        let now = Instant::now();
        let touched = self.touched.entry(place.clone()).or_default();
        touched.retain(|at| now.duration_since(*at) < TOUCHES_WITHIN);
        let may = touched.len() < TOUCHES;
        if may {
            touched.push(now);
        }
        may
    }

    /// Changes what is not theirs, if it still is as they have seen it.
    pub(super) async fn edit(&self, place: &Place, seen: &Value, mut patch: Value) -> Result<Option<Value>> {
        patch["metadata"]["resourceVersion"] = version(seen).into();
        let edited = self.world.merge(place.kind, &place.namespace, &place.name, &patch).await;
        harmless(edited, &[403, 404, 409, 422])
    }

    /// The same by a patch that takes marks away: from then on it is theirs.
    pub(super) async fn seize(&mut self, place: &Place, seen: &Value, patch: Value) -> Result<()> {
        if let Some(seized) = self.edit(place, seen, patch).await? {
            self.own(place, seized);
        }
        Ok(())
    }

    /// Deletes what is not theirs, if it still is as they have seen it.
    pub(super) async fn remove(&self, place: &Place, seen: &Value) -> Result<()> {
        let removed = self.world.delete_exactly(place.kind, &place.namespace, &place.name, seen).await;
        harmless(removed, &[403, 404, 409]).map(drop)
    }

    /// Promise 1: everything that is theirs is as they have left it.
    pub(super) fn not_as_left(&self, objects: &BTreeMap<Place, Value>) -> Vec<String> {
        let bad = |(place, mine): (&Place, &Value)| match objects.get(place) {
            None => Some(format!("{place} was deleted, though it was not ours: {mine}")),
            Some(now) if (uid(now), version(now)) != (uid(mine), version(mine)) => {
                Some(format!("{place} was changed, though it was not ours: {mine} became {now}"))
            }
            Some(_) => None,
        };
        self.all().filter_map(bad).collect()
    }
}

/// An answer, or nothing if it is one of these refusals.
pub(super) fn harmless<T>(answer: Result<T>, codes: &[u16]) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if code(&error).is_some_and(|code| codes.contains(&code)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Their own object is there, in the version that they know.
fn theirs<T>(place: &Place, answer: Result<T>) -> Result<Result<T>> {
    match &answer {
        Err(error) if matches!(code(error), Some(404 | 409)) => {
            bail!("{place} is nobody's but a person's, and somebody else has changed or deleted it: {error:#}")
        }
        _ => Ok(answer),
    }
}
