//! The metrics of one engine.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::text::{Histogram, Page};
use super::{families, lock};
use crate::contract::object::Kind;
use crate::core::Timing;
use crate::engine::Inquiries;
use crate::fault::Fault;
use crate::order::{Order, Reply, Step};

/// The outcome of what was not in vain.
const DONE: &str = "done";
/// And of what would not have been, in a dry run.
const TRIED: &str = "dry-run";

/// What is counted as it happens: an addition each.
#[derive(Debug)]
pub struct EngineStats {
    cluster: String,
    requests: Mutex<BTreeMap<(&'static str, Kind, &'static str), u64>>,
    fanout: Mutex<Histogram>,
    new_namespace: Mutex<Histogram>,
    /// Where to ask how it stands.
    pub(super) inquiries: Inquiries,
}

impl EngineStats {
    pub(super) fn new(cluster: &str, inquiries: Inquiries) -> Self {
        Self {
            cluster: cluster.to_owned(),
            requests: Mutex::default(),
            fanout: Mutex::default(),
            new_namespace: Mutex::default(),
            inquiries,
        }
    }

    pub(super) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// An order was carried out, or not.
    pub fn count(&self, order: &Order, result: &Result<Reply, Fault>) {
        let outcome = match result {
            Ok(Reply::Tried) => TRIED,
            Ok(_) => DONE,
            Err(fault) => fault.reason(),
        };
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
