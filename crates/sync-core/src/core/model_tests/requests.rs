//! Requests on their way to the server and answers on their way back, each of which may be lost.

use std::sync::Arc;
use std::time::Duration;

use super::{OPERATOR, Sim};
use crate::contract::object::Object;
use crate::contract::rules::Role;
use crate::contract::source::{Reading, Source};
use crate::core::Input;
use crate::core::model_tests::world::Id;
use crate::fault::Fault;
use crate::index::feed::SourceNamespace;
use crate::index::news::Confirmation;
use crate::order::{Order, Reply, Step};

impl Sim {
    /// Takes the next order, if there is one; it is judged as it is sent.
    pub(in super::super) fn take_order(&mut self) -> bool {
        let Some(order) = self.core.next(self.now) else { return false };
        self.note(format_args!("sends {order:?}"));
        self.orders += 1;
        let id: Id = (order.kind, order.namespace.to_string(), order.name.to_string());
        assert!(self.rules.role == Role::Master || id.1 != OPERATOR, "{order:?} in the source namespace");
        assert!(!self.flying.values().any(|other| *other == id), "{order:?} while another is in flight");
        if matches!(order.step, Step::Delete(_) | Step::SwitchOff(_)) {
            self.judge.may_remove(self.now, &order, self.worlds.last().unwrap());
        }
        self.flying.insert(order.id, id);
        self.sent.push(order);
        true
    }

    /// The server gets a request, or does not, and answers, or does not.
    pub(in super::super) fn serve(&mut self, n: usize) {
        let order = self.sent.remove(n);
        let hangs = self.faults && self.chance(0.5);
        let no_answer = || Err(if hangs { Fault::Hangs("cut".into()) } else { Fault::NoAnswer("cut".into()) });
        let result = match if self.faults { self.below(32) } else { 31 } {
            0 => no_answer(),
            1 => {
                self.late.push(order.clone());
                no_answer()
            }
            2 | 3 => {
                drop(self.apply(&order));
                no_answer()
            }
            4..7 => match self.below(8) {
                0 => Err(Fault::Throttled(Some(Duration::from_secs(2)))),
                1 => Err(Fault::Forbidden("no".into())),
                2 => Err(Fault::Rejected("quota".into())),
                3 => Err(Fault::Unavailable { code: 500, message: "oops".into() }),
                4 => Err(Fault::Unauthorised),
                5 => Err(Fault::Odd(502)),
                // As it was before: this API server is behind another.
                6 => Err(Fault::NamespaceMissing),
                _ => Err(Fault::Throttled(None)),
            },
            _ => match self.apply(&order) {
                // What a delete of something gone is told as is open.
                Err(Fault::NotFound) if matches!(order.step, Step::Delete(_)) && self.chance(0.5) => Ok(Reply::Deleted),
                result => result,
            },
        };
        self.note(format_args!("  {order:?} -> {result:?}"));
        self.replies.push((order.id, result));
    }

    /// A request that was given up arrives after all.
    pub(in super::super) fn serve_late(&mut self, n: usize) {
        let order = self.late.remove(n);
        let result = self.apply(&order);
        self.note(format_args!("  late {order:?} -> {result:?}"));
    }

    /// Promise 1, on the server.
    fn apply(&mut self, order: &Order) -> Result<Reply, Fault> {
        let id: Id = (order.kind, order.namespace.to_string(), order.name.to_string());
        let (before, rv) = (self.dest_world().objects.get(&id).cloned(), self.dest_world().rv);
        let result = self.dest_world().execute(order);
        if self.dest_world().rv != rv {
            self.writes += 1;
            if let Some(before) = before {
                assert!(self.is_marked(&before), "{order:?} of somebody else's object");
                let theirs = |object: &Object| object.labels.contains_key("theirs");
                let after = self.dest_world().objects.get(&id);
                let lost = theirs(&before) && after.is_some_and(|after| !theirs(after));
                assert!(!lost, "{order:?} takes away what somebody else has put there");
            }
        }
        self.spread();
        result
    }

    pub(in super::super) fn reply(&mut self, n: usize) {
        let (id, result) = self.replies.remove(n);
        self.note(format_args!("order {id} is answered"));
        self.flying.remove(&id);
        self.core.on(self.now, Input::Done(id, result));
        self.pump();
    }

    /// The confirming reads of a source.
    pub(in super::super) fn read(&mut self, n: usize) {
        let key = self.confirming.remove(n);
        let rules = Arc::clone(&self.rules);
        let failed = self.faults && self.chance(0.2);
        let world = self.source_world();
        let namespace = world.namespaces.get(OPERATOR);
        let namespace = namespace.map(|ns| SourceNamespace { uid: ns.uid, terminating: ns.terminating });
        let object = world.objects.get(&(key.kind, OPERATOR.to_owned(), key.name.to_string())).cloned();
        let source = object.map(|object| Source::read(&rules, object).reading);
        self.confirmed.push((key, (!failed).then_some(Confirmation { namespace, source })));
    }

    pub(in super::super) fn confirm(&mut self, n: usize) {
        let (key, found) = self.confirmed.remove(n);
        self.note(format_args!("confirmation of {key}: {found:?}"));
        if let Some(Confirmation { namespace: Some(ns), source: None | Some(Reading::Plain) }) = &found
            && !ns.terminating
        {
            self.judge.confirmed.insert(key.clone());
        }
        self.sources.confirmed(self.now, &key, found);
        self.pump();
    }
}
