//! What is to be done about a pair, and the request for it.

use bytes::Bytes;

use super::{
    Action, Arc, Core, Desired, Dest, Destination, Flight, Kind, Lane, Order, Outcome, Pair, PairState, Scope,
    Selected, SourceState, There, Want, What,
};
use crate::contract::body;
use crate::contract::marks::End;
use crate::contract::rules::Role;
use crate::lease;
use crate::order::Step;
use crate::plan::{Guard, MayAdopt, View, plan};
use crate::queue::Class;

impl Core {
    pub(super) fn plan(&self, pair: Pair) -> Action {
        let source = self.sources.get(&pair.source);
        let listed = source.is_some_and(|source| self.listings.of(source.key.kind).complete);
        let known = self.known(pair);
        let dest = self.dests.get(&pair.dest);
        let state = dest.and_then(|dest| dest.state);
        let is_system = self.scope == Scope::Namespaces && dest.is_some_and(|dest| dest.name.starts_with("kube-"));
        plan(&View {
            role: self.rules.role,
            want: source.and_then(|source| source.want.as_ref()).filter(|_| self.sources_complete),
            destination: self.dests_complete.then(|| state.unwrap_or(Destination::Leaving)),
            selected: self.selected(pair),
            there: listed.then(|| known.map_or(There::Absent, PairState::there)),
            deletes_frozen: self.deletes_frozen,
            origin_uid: self.origin_uid,
            take_over: &self.rules.take_over,
            may_adopt: match self.rules.allow_adopt {
                _ if is_system => MayAdopt::SystemNamespace,
                true => MayAdopt::Yes,
                false => MayAdopt::NotAllowed,
            },
            mutated: known.is_some_and(|known| known.mutated),
            contested: self.rivals.holds(self.now, pair).is_some(),
        })
    }

    /// Whether this process may order anything now.
    pub(super) fn may_order(&self) -> bool {
        self.licence.allows(self.now, lease::DEADLINE)
    }

    /// Whether the source wants a copy at an open destination.
    pub(super) fn selected(&self, pair: Pair) -> Selected {
        let want = self.sources.get(&pair.source).and_then(|source| source.want.as_ref());
        let (Some(Want::On(desired) | Want::Frozen(desired)), Some(dest)) = (want, self.dests.get(&pair.dest)) else {
            return Selected::Yes;
        };
        let (selection, name) = match &self.scope {
            Scope::Namespaces => (&desired.options.namespaces, &*dest.name),
            Scope::One { cluster, .. } => (&desired.options.clusters, cluster.as_str()),
        };
        let excluded = self.rules.exclude_namespaces.as_ref().is_some_and(|patterns| patterns.matches(&dest.name));
        if selection.selects(name, &dest.labels) && !excluded {
            return Selected::Yes;
        }
        // Nothing wakes a pair for a grace that has no length.
        let over = self.rules.delete_grace.is_zero()
            || self.known(pair).and_then(PairState::stays_until).is_some_and(|until| until <= self.now);
        if over { Selected::No } else { Selected::Leaving }
    }

    /// Something about this pair has changed: queues it if a request is due.
    pub(super) fn touch(&mut self, pair: Pair, lane: Lane) {
        if self.queue.is_in_flight(pair) {
            self.queue.push(pair, lane);
            return;
        }
        let action = self.plan(pair);
        if self.is_due(pair, &action) {
            self.queue.push(pair, lane);
            self.note_selected(pair);
            // Where it stands aside it has failed still.
            let failed = self.known(pair).is_some_and(|state| matches!(state.outcome, Outcome::Failed(_)));
            if !(failed && self.queue.is_aside(pair)) {
                self.set_outcome(pair, Outcome::Pending);
            }
        } else {
            self.settle(pair, &action);
        }
    }

    /// The request that an action needs.
    pub(super) fn order(&mut self, pair: Pair, lane: Lane, action: &Action) -> Option<Order> {
        let attempt = self.attempt(pair, action);
        let source = self.sources.get_mut(&pair.source)?;
        let dest = self.dests.get(&pair.dest)?;
        let (namespace, dest) = (Arc::clone(&dest.name), dest.uid);
        let (kind, name) = (source.key.kind, Arc::clone(&source.key.name));
        let mut bodies = |desired: &Arc<Desired>| Arc::clone(source.bodies.insert(desired.bodies()));
        let (step, what) = match action {
            Action::Create(desired) => {
                let end = End::of(&desired.options, false);
                (Step::Create(bodies(desired).create(desired)), What::Write(Arc::clone(desired), end))
            }
            Action::Update(desired, old) => {
                let perhaps = self.pairs.get_mut(&pair).and_then(|state| state.perhaps(self.now)).cloned();
                let known = self.pairs.get(&pair).and_then(|state| state.replica());
                let end = End::of(&desired.options, known.is_some_and(|known| known.end.adopted));
                // Not in doubt whether another write of ours is done by then, or whether it is taken over.
                let alone = known.filter(|known| {
                    known.alone && perhaps.is_none() && known.origin_uid.as_deref() == Some(&desired.origin_uid)
                });
                let (alone, bodies) = (alone.map(Guard::from), bodies(desired));
                let step = match alone.and_then(|guard| bodies.replace(desired, guard)) {
                    Some(body) => Step::Replace(body),
                    None => {
                        let old = perhaps.map_or_else(|| Arc::clone(old), |more| self.shapes.intern(old.and(&more)));
                        Step::Update(bodies.update(desired, &old))
                    }
                };
                (step, What::Write(Arc::clone(desired), end))
            }
            Action::Adopt(desired, adoption) => {
                let body = Bytes::from(body::adopt(desired, adoption));
                (Step::Adopt(body), What::Write(Arc::clone(desired), adoption.end))
            }
            Action::Release(guard, how) => {
                let body = body::release(self.rules.role, &self.rules.origin(&source.key), *guard, *how);
                (Step::Release(Bytes::from(body)), What::Release(guard.uid))
            }
            Action::Recreate(_, guard) => delete(*guard, true),
            Action::Delete(guard) => {
                let switched_off = self.pairs.get(&pair).is_some_and(|state| state.is_switched_off());
                if self.rules.role == Role::Master && !switched_off {
                    (Step::SwitchOff(Bytes::from(body::switch_off(*guard))), What::SwitchOff(guard.uid))
                } else {
                    delete(*guard, false)
                }
            }
            Action::Look => (Step::Look, What::Look),
            Action::LookInside => (Step::LookInside, What::Look),
            Action::Keep | Action::Hold(_) | Action::Refuse(_) => return None,
        };
        let id = self.next_order;
        self.next_order += 1;
        self.flights.insert(id, Flight { pair, lane, what, attempt, dest, sent: self.now });
        self.state(pair).ordered();
        Some(Order { id, kind, namespace, name, step })
    }
}

/// Webhooks are asked about kinds, and few about a deletion.
pub(super) const fn class_of(kind: Kind, stays: bool) -> Class {
    match (kind, stays) {
        (Kind::Secret, true) => Class(0),
        (Kind::Secret, false) => Class(1),
        (Kind::ConfigMap, true) => Class(2),
        (Kind::ConfigMap, false) => Class(3),
    }
}

/// The class of what is most likely to be done.
pub(super) fn class(source: Option<&SourceState>, dest: Option<&Dest>) -> Class {
    let wanted = source.is_some_and(|source| matches!(source.want, Some(Want::On(_) | Want::Frozen(_))));
    let open = dest.is_some_and(|dest| dest.state == Some(Destination::Open));
    class_of(source.map_or(Kind::Secret, |source| source.key.kind), wanted && open)
}

fn delete(guard: Guard, then_create: bool) -> (Step, What) {
    (Step::Delete(Bytes::from(body::delete(guard))), What::Delete { uid: guard.uid, then_create })
}
