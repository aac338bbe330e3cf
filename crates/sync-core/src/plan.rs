//! The decision: what to do about one source at one destination, from what is known of both.
//!
//! [`plan`] is pure: no client, no clock. Time passes by the index changing what is wanted ([`Want`]). Every
//! situation is a line of the table test below. Unknown, absent and gone are different things: where anything
//! that matters is unknown the answer is [`Action::Hold`].

use std::sync::Arc;

use crate::contract::desired::Desired;
use crate::contract::fingerprint::{Fingerprint, Shape};
use crate::contract::object::{Rv, Uid};
use crate::contract::rules::Role;
use crate::reason::Reason;

/// What is wanted of a source's replicas, at every destination alike.
#[derive(Clone, Debug)]
pub enum Want {
    /// Copies everywhere.
    On(Arc<Desired>),
    /// Existing copies follow; none is created or deleted.
    Frozen(Arc<Desired>),
    /// Of a type or name that is never replicated; what stands stays.
    Never,
    /// On its way out, for this reason: within the grace, or waiting for a confirmation. Nothing moves.
    Leaving(Reason),
    /// Copies are to go: an explicit `no`, or the grace is over and the absence confirmed.
    Off,
}

/// A destination as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Copies may stand there.
    Open,
    /// Opted out: copies are to go.
    Excluded,
    /// Terminating or not there: its pairs are nobody's business any more.
    Leaving,
}

/// A replica of ours, as last seen or as our own last write left it.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its uid.
    pub uid: Uid,
    /// Its resourceVersion.
    pub rv: Rv,
    /// What it looks like.
    pub fingerprint: Fingerprint,
    /// The keys that were copied to it.
    pub shape: Arc<Shape>,
    /// The incarnation of the source namespace that made it.
    pub origin_uid: Option<Uid>,
}

/// What stands at the destination under the source's kind and name.
#[derive(Clone, Copy, Debug)]
pub enum There<'a> {
    /// Nothing of ours. Perhaps something of somebody else's: a create tells.
    Absent,
    /// Our replica.
    Ours(&'a Replica),
    /// Something; whose is not known yet.
    Taken,
    /// Somebody else's object.
    Foreign,
    /// Ours by its marks, but our watch has not shown it yet.
    Awaited,
}

/// All that the decision depends on. `None` is unknown.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Which controller asks.
    pub role: Role,
    /// What the source wants.
    pub want: Option<&'a Want>,
    /// The destination.
    pub destination: Option<Destination>,
    /// What stands there; `None` until the watch on replicas has its list.
    pub there: Option<There<'a>>,
    /// The source namespace is Terminating or missing: nothing is deleted.
    pub deletes_frozen: bool,
    /// The present incarnation of the source namespace.
    pub origin_uid: Option<Uid>,
    /// Admission changed what we wrote of this very version: writing it again would change nothing.
    pub mutated: bool,
}

/// Exactly one version of one object: what a delete is guarded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Its uid.
    pub uid: Uid,
    /// Its resourceVersion.
    pub rv: Rv,
}

impl From<&Replica> for Guard {
    fn from(replica: &Replica) -> Self {
        Self { uid: replica.uid, rv: replica.rv }
    }
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Nothing: the world is as it should be.
    Keep,
    /// Nothing for now, though something is to be done or found out.
    Hold(Reason),
    /// Nothing, until a person acts.
    Refuse(Reason),
    /// One POST.
    Create(Arc<Desired>),
    /// One JSON Patch; takes away the copied keys of the old shape that are wanted no more.
    Update(Arc<Desired>, Arc<Shape>),
    /// A guarded delete, then a create: for a change that an update cannot make.
    Recreate(Arc<Desired>, Guard),
    /// A guarded delete (a master's: switched off first).
    Delete(Guard),
    /// One metadata GET: whose object stands there?
    Look,
}

/// Decides.
pub fn plan(view: &View<'_>) -> Action {
    let (Some(want), Some(destination), Some(there)) = (view.want, view.destination, view.there) else {
        return Action::Hold(Reason::Unknown);
    };
    match destination {
        Destination::Leaving => return Action::Keep,
        Destination::Excluded => return remove(view, there),
        Destination::Open => {}
    }
    match want {
        Want::On(desired) => copy(view, desired, there),
        Want::Frozen(desired) => match (there, copy(view, desired, there)) {
            (There::Ours(_), action @ (Action::Keep | Action::Update(..) | Action::Refuse(_))) => action,
            _ => Action::Refuse(Reason::Frozen),
        },
        Want::Never => match there {
            There::Ours(_) => Action::Refuse(Reason::NeverReplicated),
            There::Absent | There::Taken | There::Foreign | There::Awaited => Action::Keep,
        },
        Want::Leaving(why) => match there {
            There::Ours(_) => Action::Hold(*why),
            There::Absent | There::Taken | There::Foreign | There::Awaited => Action::Keep,
        },
        Want::Off => remove(view, there),
    }
}

fn copy(view: &View<'_>, desired: &Arc<Desired>, there: There<'_>) -> Action {
    let replica = match there {
        There::Absent => return Action::Create(Arc::clone(desired)),
        There::Taken => return Action::Look,
        There::Foreign => return Action::Refuse(Reason::ForeignObject),
        There::Awaited => return Action::Hold(Reason::Unknown),
        There::Ours(replica) => replica,
    };
    let (has, wants) = (&replica.fingerprint, &desired.fingerprint);
    if has == wants {
        return Action::Keep;
    }
    // Another management cluster may use our name: what an earlier incarnation pushed is not taken over unasked.
    // An agent's source namespace is in its own cluster, there is no second one.
    if view.role == Role::Master && replica.origin_uid.is_some_and(|uid| uid != desired.origin_uid) {
        return Action::Hold(Reason::Stranded);
    }
    if view.mutated {
        return Action::Refuse(Reason::Mutated);
    }
    let fixed = has.immutable && (has.payload != wants.payload || !wants.immutable);
    if fixed || has.secret_type != wants.secret_type {
        return if view.deletes_frozen {
            Action::Hold(Reason::SourceNamespaceLeaving)
        } else {
            Action::Recreate(Arc::clone(desired), replica.into())
        };
    }
    Action::Update(Arc::clone(desired), Arc::clone(&replica.shape))
}

fn remove(view: &View<'_>, there: There<'_>) -> Action {
    match there {
        There::Ours(_) if view.deletes_frozen => Action::Hold(Reason::SourceNamespaceLeaving),
        There::Ours(replica) if replica.origin_uid.is_none() || replica.origin_uid != view.origin_uid => {
            Action::Hold(Reason::Stranded)
        }
        There::Ours(replica) => Action::Delete(replica.into()),
        There::Absent | There::Taken | There::Foreign | There::Awaited => Action::Keep,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
