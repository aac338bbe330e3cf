//! What came of the orders.

use super::{
    AWAIT, Action, BACKOFF_CLUSTER, BACKOFF_FIRST, BACKOFF_PAIR, Core, Fault, Flight, Lane, Moment, Outcome, Pair,
    Reply, Scope, What,
};
use crate::contract::marks;
use crate::plan::Replica;

impl Core {
    pub(super) fn on_done(&mut self, now: Moment, id: u64, result: Result<Reply, Fault>) {
        let Some(Flight { pair, lane, what }) = self.flights.remove(&id) else { return };
        self.queue.done(pair);
        // The namespace went while this was under way.
        if !self.dests.contains_key(&pair.dest) {
            self.drop_pair(pair);
            self.queue.forget(pair);
            return;
        }
        match result {
            Ok(reply) => {
                self.answered();
                self.succeeded(now, pair, lane, what, reply);
            }
            Err(fault) if self.is_of_the_cluster(&fault) => self.cluster_failed(now, pair, lane, fault),
            Err(fault) => {
                self.answered();
                self.failed(now, pair, &what, &fault);
            }
        }
    }

    fn succeeded(&mut self, now: Moment, pair: Pair, lane: Lane, what: What, reply: Reply) {
        let state = self.pairs.entry(pair).or_default();
        let mut lane = lane;
        match (what, reply) {
            (What::Write(desired), Reply::Written { uid, rv }) => {
                state.failures = 0;
                let shape = self.shapes.intern((*desired.shape).clone());
                state.wrote(Replica {
                    uid,
                    rv,
                    fingerprint: desired.fingerprint.clone(),
                    shape,
                    origin_uid: Some(desired.origin_uid),
                });
            }
            (What::SwitchOff, Reply::Written { uid, rv }) => {
                state.failures = 0;
                state.wrote_switch(uid, rv);
            }
            (What::Delete { uid, then_create }, _) => {
                state.failures = 0;
                state.deleted(uid);
                if then_create {
                    // Nothing stands there now, and nobody should notice.
                    lane = Lane::NewNamespace;
                }
            }
            (What::Look, Reply::Looked(None)) => state.looked_nothing(),
            (What::Look, Reply::Looked(Some(found))) => {
                let source = self.sources.get(&pair.source).map(|source| &source.key);
                let ours =
                    source.is_some_and(|key| marks::is_ours(&self.rules, key, &found.labels, &found.annotations));
                if !ours {
                    state.looked_foreign();
                    self.again_later(now, pair);
                } else if state.looked_ours(found.uid, found.rv) {
                    // Known already, and still our request failed: not at once a second time.
                    self.again_later(now, pair);
                    return;
                } else {
                    self.settle(pair, &Action::Hold(crate::reason::Reason::Unknown));
                    self.queue.push_later(pair, now.saturating_add(AWAIT));
                    return;
                }
            }
            // An answer to another question: nothing can be concluded from it.
            (What::Write(_) | What::SwitchOff | What::Look, _) => state.surprised(),
        }
        self.touch(pair, lane);
    }

    /// Backs the pair off by its failures so far, this one included.
    fn again_later(&mut self, now: Moment, pair: Pair) {
        let state = self.pairs.entry(pair).or_default();
        state.failures = state.failures.saturating_add(1);
        let pause = self.rng.backoff(BACKOFF_FIRST, state.failures, BACKOFF_PAIR);
        self.queue.push_later(pair, now.saturating_add(pause));
    }

    fn failed(&mut self, now: Moment, pair: Pair, what: &What, fault: &Fault) {
        match fault {
            Fault::NamespaceTerminating | Fault::NamespaceMissing if self.scope == Scope::Namespaces => {
                self.dest_is_leaving(pair.dest);
            }
            Fault::AlreadyExists | Fault::LostRace | Fault::Conflict | Fault::NotFound => {
                let state = self.pairs.entry(pair).or_default();
                state.surprised();
                state.failures = state.failures.saturating_add(1);
                if state.failures > 1 && !matches!(what, What::Write(_)) || state.failures > 2 {
                    self.again_later(now, pair);
                    self.set_outcome(pair, Outcome::Failed(fault.reason()));
                } else {
                    self.touch(pair, Lane::Drift);
                }
            }
            other => {
                self.note_failure(pair, other);
                self.again_later(now, pair);
            }
        }
    }

    /// A missing namespace is the whole cluster's failure where there is but one destination.
    fn is_of_the_cluster(&self, fault: &Fault) -> bool {
        let nowhere_to_write = matches!(fault, Fault::NamespaceMissing | Fault::NamespaceTerminating);
        fault.is_of_the_cluster() || (nowhere_to_write && self.scope != Scope::Namespaces)
    }

    /// The cluster as a whole works.
    fn answered(&mut self) {
        (self.cluster_fault, self.cluster_failures, self.paused_until, self.proven) = (None, 0, None, true);
    }

    fn cluster_failed(&mut self, now: Moment, pair: Pair, lane: Lane, fault: Fault) {
        // Those that were under way together fail together: that is one failure.
        if self.paused_until.is_none_or(|until| until <= now) {
            self.cluster_failures = self.cluster_failures.saturating_add(1);
            let pause = match &fault {
                Fault::Throttled(Some(pause)) => *pause,
                _ => self.rng.backoff(BACKOFF_FIRST, self.cluster_failures, BACKOFF_CLUSTER),
            };
            self.paused_until = Some(now.saturating_add(pause));
        }
        self.note_failure(pair, &fault);
        self.proven = false;
        self.cluster_fault = Some(fault);
        self.queue.push(pair, lane);
    }
}
