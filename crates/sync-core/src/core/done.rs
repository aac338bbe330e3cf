//! What came of the orders.

use super::decide::class_of;
use super::{
    AWAIT, Answer, Arc, BACKOFF_CLUSTER, BACKOFF_FIRST, BACKOFF_PAIR, Core, Fault, Flight, LATE, Lane, Moment, Outcome,
    Pair, PairState, Reply, Scope, There, Want, What, pause_asked,
};
use crate::contract::keys;
use crate::contract::marks::{self, End};
use crate::contract::object::SourceKey;
use crate::mutants::{self, Mutant};
use crate::order::{Looked, Metadata};
use crate::plan::{Foreign, Guard, Inside, Replica};

impl Core {
    pub(super) fn on_done(&mut self, id: u64, result: Result<Reply, Fault>) {
        let Some(flight) = self.flights.remove(&id) else { return };
        self.note_answer(&flight, &result);
        self.queue.done(flight.pair);
        match result {
            Ok(reply) => {
                self.answered(flight.sent);
                self.succeeded(flight, reply);
            }
            Err(fault) => self.failed(flight, fault),
        }
    }

    /// Whether writes are answered at a destination. A read passes by webhooks.
    fn note_answer(&mut self, flight: &Flight, result: &Result<Reply, Fault>) {
        let (Flight { pair, what, sent, .. }, now) = (flight, self.now);
        let took = now.saturating_sub(*sent);
        let answer = match result {
            Ok(_) if took <= super::limit::TOLERATED => Some(Answer::Soon),
            Ok(_) => Some(Answer::Other),
            Err(fault) => Answer::of_failure(fault, took),
        };
        let stays = match what {
            What::Look => return,
            What::Write(..) => true,
            What::SwitchOff(_) | What::Delete { .. } | What::Release(_) => false,
        };
        if let (Some(source), Some(answer)) = (self.sources.get(&pair.source), answer) {
            self.queue.answered(now, pair.dest, class_of(source.key.kind, stays), answer);
            self.note_unanswered();
        }
    }

    /// The server answers, and a request that was sent then.
    fn answered(&mut self, sent: Moment) {
        self.lives();
        self.limit.answered(self.now, sent);
    }

    /// The server answers.
    fn lives(&mut self) {
        (self.cluster_fault, self.cluster_failures, self.paused_until) = (None, 0, None);
        self.answered = Some(self.now);
    }

    fn succeeded(&mut self, flight: Flight, reply: Reply) {
        let Flight { pair, mut lane, what, attempt, .. } = flight;
        self.leaving.succeeded(pair.dest);
        let Some(source) = self.sources.get(&pair.source) else { return };
        let shown = self.listings.of(source.key.kind).shown;
        match (what, reply) {
            (What::Write(..) | What::SwitchOff(_) | What::Release(_) | What::Delete { .. }, Reply::Tried) => {
                self.state(pair).failures = 0;
                self.attempts.extend(attempt.map(|attempt| (pair, attempt)));
            }
            (What::Write(desired, end), Reply::Written { uid, rv }) => {
                let shape = self.shapes.intern((*desired.shape).clone());
                let present =
                    matches!(&source.want, Some(Want::On(now) | Want::Frozen(now)) if Arc::ptr_eq(now, &desired));
                let fingerprint = self.fingerprints.intern(desired.fingerprint.clone());
                let origin_uid = Some(self.incarnations.intern(desired.origin_uid));
                let state = self.state(pair);
                state.failures = 0;
                // What admission made of it, or others have on it, its event shows.
                let alone = false;
                state.wrote(Replica { uid, rv, fingerprint, shape, origin_uid, end, alone }, shown);
                match (present, std::mem::replace(&mut state.stood, present)) {
                    (true, true) => self.rivals.restored(self.now, pair),
                    (true, false) => self.rivals.written(pair),
                    // Something else is wanted meanwhile.
                    (false, _) => {}
                }
                self.namespace_has_copy(pair.dest);
            }
            (What::SwitchOff(_), Reply::Written { uid, rv }) => {
                let state = self.state(pair);
                state.failures = 0;
                state.wrote_switch(uid, rv);
            }
            (What::SwitchOff(uid), Reply::Deleted) => self.state(pair).deleted(uid),
            // To our watch it is gone with its label.
            (What::Release(uid), _) => {
                let state = self.state(pair);
                state.failures = 0;
                state.deleted(uid);
                self.rivals.deleted(self.now, pair);
            }
            (What::Delete { uid, then_create }, _) => {
                let state = self.state(pair);
                state.failures = 0;
                state.deleted(uid);
                if then_create {
                    // Nothing stands there now, and nobody should notice.
                    lane = Lane::NewNamespace;
                } else {
                    self.rivals.deleted(self.now, pair);
                }
            }
            (What::Look, Reply::Looked(None)) => self.state(pair).looked_nothing(),
            (What::Look, Reply::Looked(Some(Looked { metadata, inside }))) => {
                let Metadata { uid, rv, labels, annotations } = &metadata;
                if marks::is_ours(&self.rules, &source.key, labels, annotations) {
                    self.state(pair).looked_ours(*uid, *rv, shown);
                } else {
                    let labelled = labels.get(keys::MANAGED_BY).is_some_and(|by| by == self.rules.role.as_str());
                    let foreign = self.foreign(&source.key, &metadata, inside);
                    self.state(pair).looked_foreign(foreign, labelled && *rv <= shown);
                }
                match self.state(pair).there() {
                    // Known already, and still our request failed: not at once a second time.
                    There::Ours(_) => return self.again_later(pair),
                    There::Foreign(_) => {
                        // One that a watch shows needs no further look.
                        if self.known(pair).is_some_and(PairState::is_unwatched) && !self.is_shown(pair) {
                            self.again_later(pair);
                        }
                        // A retry begins with a look, and this was it.
                        if lane == Lane::Retry {
                            lane = Lane::Drift;
                        }
                    }
                    There::Awaited => self.queue.push_later(pair, self.now.saturating_add(AWAIT)),
                    There::Absent | There::Taken => {}
                }
            }
            // An answer to another question: nothing can be concluded from it.
            (What::Write(..) | What::SwitchOff(_) | What::Look, _) => self.state(pair).surprised(),
        }
        self.touch(pair, lane);
    }

    /// Somebody else's object, as its metadata show it.
    pub(super) fn foreign(&self, key: &SourceKey, metadata: &Metadata, inside: Option<Inside>) -> Foreign {
        let Metadata { uid, rv, labels, annotations } = metadata;
        Foreign {
            guard: Guard { uid: *uid, rv: *rv },
            has_labels: !labels.is_empty(),
            has_annotations: !annotations.is_empty(),
            rival: labels.contains_key(keys::MANAGED_BY),
            was_ours: marks::was_ours(&self.rules, key, labels, annotations),
            end: End::read(annotations),
            left: marks::options_left(&self.rules, annotations),
            inside,
        }
    }

    /// Backs the pair off by its failures so far, this one included.
    pub(super) fn again_later(&mut self, pair: Pair) {
        let state = self.state(pair);
        state.failures = state.failures.saturating_add(1);
        let failures = state.failures;
        if mutants::has(Mutant::RetryDropped) {
            return;
        }
        let pause = self.rng.backoff(BACKOFF_FIRST, failures, BACKOFF_PAIR);
        self.queue.push_later(pair, self.now.saturating_add(pause));
    }

    fn failed(&mut self, flight: Flight, fault: Fault) {
        let Flight { pair, lane, what, dest, sent, .. } = flight;
        let in_flight = self.flights.len() + 1;
        if fault.leaves_in_doubt()
            && let What::Write(desired, _) = &what
        {
            let now = self.now;
            let shape = match self.state(pair).perhaps(now).map(|more| more.and(&desired.shape)) {
                Some(both) => self.shapes.intern(both),
                None => Arc::clone(&desired.shape),
            };
            self.state(pair).perhaps_wrote(shape, now.saturating_add(LATE));
        }
        if let Fault::Throttled(asked) = fault {
            self.limit.overloaded(self.now, sent, in_flight);
            // Others were answered meanwhile: fewer at once is what is asked for, and this one later.
            if self.answered.is_some_and(|answered| answered > sent) {
                self.note_failure(pair, &fault);
                return self.queue.push_later(pair, self.now.saturating_add(pause_asked(asked)));
            }
        }
        if self.is_of_the_cluster(&fault) {
            if matches!(fault, Fault::NoAnswer(_)) {
                self.limit.overloaded(self.now, sent, in_flight);
            }
            return self.cluster_failed(pair, lane, sent, fault);
        }
        match fault {
            Fault::Hangs(_) => self.lives(),
            // The server answers, but only that it has too much to do.
            Fault::Unavailable { code: 503 | 504, .. } => {
                self.answered(sent);
                self.limit.overloaded(self.now, sent, in_flight);
            }
            _ => self.answered(sent),
        }
        match &fault {
            Fault::NamespaceTerminating | Fault::NamespaceMissing => {
                // Unless the watch has shown the next namespace of that name already.
                if self.dests.get(&pair.dest).is_some_and(|now| now.uid == dest) {
                    self.dest_is_leaving(pair.dest);
                }
                self.touch(pair, lane);
            }
            Fault::AlreadyExists | Fault::LostRace | Fault::Conflict | Fault::NotFound => {
                self.lost_race(pair, &what, &fault);
            }
            other => {
                self.note_failure(pair, other);
                self.again_later(pair);
            }
        }
    }

    /// The object was not as we knew it. If a watch has shown something meanwhile, that is why; else a look tells.
    fn lost_race(&mut self, pair: Pair, what: &What, fault: &Fault) {
        let state = self.state(pair);
        let first = state.failures == 0;
        match what {
            // The event that brings the version to guard with is on its way. A 404 that names this object is no fault
            // here; one that does not is somebody else's, and says nothing of it.
            What::Delete { .. } | What::SwitchOff(_) | What::Release(_) if !state.has_heard() => {
                self.set_outcome(pair, Outcome::Failed(fault.reason()));
                return self.again_later(pair);
            }
            // Whoever changed it meanwhile may have added something: a JSON Patch leaves that alone, and needs no look.
            What::Write(..) if *fault == Fault::Conflict && state.not_alone() => {}
            _ if state.has_heard() => {}
            _ => state.surprised(),
        }
        if first {
            self.state(pair).failures = 1;
            self.touch(pair, Lane::Drift);
        } else {
            self.set_outcome(pair, Outcome::Failed(fault.reason()));
            self.again_later(pair);
        }
    }

    fn is_of_the_cluster(&self, fault: &Fault) -> bool {
        match fault {
            // A missing namespace is the whole cluster's failure where there is but one destination.
            Fault::NamespaceMissing | Fault::NamespaceTerminating => self.scope != Scope::Namespaces,
            other => other.is_of_the_cluster() || mutants::has(Mutant::FailureSpreads),
        }
    }

    fn cluster_failed(&mut self, pair: Pair, lane: Lane, sent: Moment, fault: Fault) {
        // Those that were under way together fail together, some of them after the pause: that is one failure.
        if !self.is_paused() && self.cluster_failed.is_none_or(|failed| failed <= sent) {
            self.cluster_failed = Some(self.now);
            self.cluster_failures = self.cluster_failures.saturating_add(1);
            let pause = match &fault {
                Fault::Throttled(asked @ Some(_)) => pause_asked(*asked),
                _ => self.rng.backoff(BACKOFF_FIRST, self.cluster_failures, BACKOFF_CLUSTER),
            };
            self.paused_until = Some(self.now.saturating_add(pause));
        }
        self.note_failure(pair, &fault);
        self.cluster_fault = Some(fault);
        self.queue.push(pair, lane);
    }
}
