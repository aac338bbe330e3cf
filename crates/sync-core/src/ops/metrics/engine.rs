//! The metrics of one engine.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::{mpsc, oneshot};

use super::text::{Histogram, Page};
use super::{families, lock};
use crate::contract::object::Kind;
use crate::core::{Snapshot, Timing};
use crate::fault::Fault;
use crate::order::{Order, Reply, Step};

/// Who asks how the engine stands; it answers between two other things.
pub type Questions = mpsc::Receiver<oneshot::Sender<Snapshot>>;

/// Several may ask at once.
const ASKED: usize = 4;
/// The outcome of what was not in vain.
const DONE: &str = "done";

/// What is counted as it happens: an addition each.
#[derive(Debug)]
pub struct EngineStats {
    cluster: String,
    requests: Mutex<BTreeMap<(&'static str, Kind, &'static str), u64>>,
    fanout: Mutex<Histogram>,
    new_namespace: Mutex<Histogram>,
    ask: mpsc::Sender<oneshot::Sender<Snapshot>>,
}

impl EngineStats {
    pub(super) fn new(cluster: &str) -> (Self, Questions) {
        let (ask, questions) = mpsc::channel(ASKED);
        let stats = Self {
            cluster: cluster.to_owned(),
            requests: Mutex::default(),
            fanout: Mutex::default(),
            new_namespace: Mutex::default(),
            ask,
        };
        (stats, questions)
    }

    pub(super) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// An order was carried out, or not.
    pub fn count(&self, order: &Order, result: &Result<Reply, Fault>) {
        let outcome = result.as_ref().map_or_else(Fault::reason, |_| DONE);
        let action = match order.step {
            Step::Look | Step::LookInside => "",
            _ => order.step.as_str(),
        };
        *lock(&self.requests).entry((action, order.kind, outcome)).or_default() += 1;
    }

    /// Something was complete after so long.
    pub fn observe(&self, timing: Timing) {
        match timing {
            Timing::Fanout(time) => lock(&self.fanout).observe(time),
            Timing::NewNamespace(time) => lock(&self.new_namespace).observe(time),
        }
    }

    /// How the engine stands; `None` if it has ended, or is asked by too many.
    pub(super) async fn ask(&self) -> Option<Snapshot> {
        let (answer, answered) = oneshot::channel();
        self.ask.try_send(answer).ok()?;
        answered.await.ok()
    }

    pub(super) fn tell(&self, page: &mut Page) {
        let here = ("remote_cluster", self.cluster.as_str());
        for ((action, kind, outcome), count) in lock(&self.requests).iter() {
            let family = if action.is_empty() { &families::LOOKS } else { &families::WRITES };
            let labels = [("action", *action), ("kind", kind.as_str()), ("outcome", *outcome), here];
            page.set(family, &labels, *count as f64);
        }
        page.histogram(&families::FANOUT, &[here], &lock(&self.fanout));
        if self.cluster.is_empty() {
            page.histogram(&families::NEW_NAMESPACE, &[], &lock(&self.new_namespace));
        }
    }
}
