//! The decision: what to do about one source at one destination, from what is known of both.
//!
//! [`plan`] is pure: no client, no clock. Time passes by the index changing what is wanted ([`Want`]). Every
//! situation is a line of the table test below. Unknown, absent and gone are different things: where anything
//! that matters is unknown the answer is [`Action::Hold`].

use std::sync::Arc;

use crate::contract::desired::Desired;
use crate::contract::fingerprint::{Digest, Fingerprint, Shape};
use crate::contract::keys;
use crate::contract::marks::End;
use crate::contract::object::{Rv, Uid};
use crate::contract::options::{OnConflict, OnDelete};
use crate::contract::rules::Role;
use crate::mutants::{self, Mutant};
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
    /// Copies are to go: an explicit `no`, or the grace is over and the absence confirmed. The source says how; `None`
    /// if it is gone, and each replica remembers.
    Off(Option<OnDelete>),
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

/// Whether a source wants a copy at a destination that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// It does.
    Yes,
    /// Not any more, or not that we know: its replica there stays for the grace.
    Leaving,
    /// It does not, and the grace is over.
    No,
}

/// A replica of ours, as last seen or as our own last write left it.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its uid.
    pub uid: Uid,
    /// Its resourceVersion.
    pub rv: Rv,
    /// What it looks like.
    pub fingerprint: Arc<Fingerprint>,
    /// The keys that were copied to it.
    pub shape: Arc<Shape>,
    /// The incarnation of the source namespace that made it.
    pub origin_uid: Option<Arc<Uid>>,
    /// What it remembers about its end.
    pub end: End,
    /// Nobody has added anything to this version of it, as a watch has shown.
    pub alone: bool,
}

/// Somebody else's object, as a look found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Its version.
    pub guard: Guard,
    /// It has labels at all, so that one can be added.
    pub has_labels: bool,
    /// It has annotations at all.
    pub has_annotations: bool,
    /// It carries the marks of a controller of ours, but not of this source.
    pub rival: bool,
    /// It was our replica of this source until it was released.
    pub was_ours: bool,
    /// What it remembers from that time.
    pub end: End,
    /// Options on it that go when it is taken over, unless the source has them.
    pub left: Shape,
    /// What is in it, if we have looked.
    pub inside: Option<Inside>,
}

/// An object's content, as far as it decides about an adoption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// As in [`Fingerprint`].
    pub payload: Digest,
    /// As in [`Fingerprint`].
    pub secret_type: Digest,
    /// `immutable`
    pub immutable: bool,
}

/// How somebody's object becomes a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// Its version.
    pub guard: Guard,
    /// As in [`Foreign`].
    pub has_labels: bool,
    /// As in [`Foreign`].
    pub has_annotations: bool,
    /// With which word it was asked for; `None` for one that is taken back.
    pub asked: Option<OnConflict>,
    /// What it remembers from then on.
    pub end: End,
    /// As in [`Foreign`].
    pub left: Shape,
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
    /// Somebody else's object; nothing more is known of one that our own watch shows, because it has our label.
    Foreign(Option<&'a Foreign>),
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
    /// Whether the source wants a copy there.
    pub selected: Selected,
    /// What stands there; `None` until the watch on replicas has its list.
    pub there: Option<There<'a>>,
    /// The source namespace is Terminating or missing: nothing is deleted.
    pub deletes_frozen: bool,
    /// The present incarnation of the source namespace.
    pub origin_uid: Option<Uid>,
    /// Earlier incarnations whose replicas are taken over (a master's `--take-over`).
    pub take_over: &'a [Uid],
    /// Objects with other data may be taken over there, if the source asks for it.
    pub may_adopt: MayAdopt,
    /// Admission changed what we wrote of this very version: writing it again would change nothing.
    pub mutated: bool,
    /// Somebody keeps undoing what we write: nothing is written for now.
    pub contested: bool,
}

/// Whether `on-conflict: adopt` is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayAdopt {
    /// It is.
    Yes,
    /// The controller does not run with `--allow-adopt`.
    NotAllowed,
    /// Never in `kube-*` namespaces.
    SystemNamespace,
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
    /// One PUT of the version that we know, or one JSON Patch; takes away the copied keys of the old shape that are wanted
    /// no more.
    Update(Arc<Desired>, Arc<Shape>),
    /// A guarded delete, then a create: for a change that an update cannot make.
    Recreate(Arc<Desired>, Guard),
    /// A guarded delete (a master's: switched off first).
    Delete(Guard),
    /// One guarded JSON Patch takes our marks off; the object stays. `Delete` where it stays only because it had been
    /// adopted: then a master switches it off, for the agent there.
    Release(Guard, OnDelete),
    /// One guarded JSON Patch makes somebody's object a replica.
    Adopt(Arc<Desired>, Adoption),
    /// One metadata GET: whose object stands there?
    Look,
    /// One GET: and is it equal to what we would write?
    LookInside,
}

/// Decides.
pub fn plan(view: &View<'_>) -> Action {
    let (Some(want), Some(destination), Some(there)) = (view.want, view.destination, view.there) else {
        return Action::Hold(Reason::Unknown);
    };
    match destination {
        Destination::Leaving => return Action::Keep,
        Destination::Excluded => return remove(view, there, None),
        Destination::Open => {}
    }
    match want {
        Want::On(desired) => match view.selected {
            Selected::Yes => copy(view, desired, there),
            Selected::Leaving => stay(there, Reason::NotSelected),
            Selected::No => remove(view, there, Some(desired.options.on_delete)),
        },
        Want::Frozen(desired) => match (there, copy(view, desired, there)) {
            (There::Ours(replica), Action::Update(..)) if disowns(desired, replica) => Action::Refuse(Reason::Frozen),
            (There::Ours(_), action @ (Action::Keep | Action::Update(..) | Action::Refuse(_))) => action,
            // Perhaps ours.
            (There::Taken, look) => look,
            // Nothing of ours is there, and perhaps nothing should be: which is what cannot be read.
            (There::Absent, _) if view.selected != Selected::Yes => Action::Keep,
            _ => Action::Refuse(Reason::Frozen),
        },
        Want::Never => match there {
            There::Ours(_) => Action::Refuse(Reason::NeverReplicated),
            There::Absent | There::Taken | There::Foreign(_) | There::Awaited => Action::Keep,
        },
        Want::Leaving(why) => stay(there, *why),
        Want::Off(how) => remove(view, there, *how),
    }
}

/// Whether this replica of a master's replica would not tell any more that it is one. What stands in the master's place and
/// cannot be read does not decide whose copies these are: if it goes too, they are a loss upstream (promise 2).
fn disowns(desired: &Desired, replica: &Replica) -> bool {
    let is_from_master = replica.shape.annotations.iter().any(|key| key == keys::UPSTREAM);
    is_from_master && !desired.annotations.contains_key(keys::UPSTREAM)
}

/// A replica that is there stays for now.
fn stay(there: There<'_>, why: Reason) -> Action {
    match there {
        There::Ours(_) => Action::Hold(why),
        There::Absent | There::Taken | There::Foreign(_) | There::Awaited => Action::Keep,
    }
}

fn copy(view: &View<'_>, desired: &Arc<Desired>, there: There<'_>) -> Action {
    let replica = match there {
        There::Absent if view.contested => return Action::Refuse(Reason::Contested),
        There::Absent => return Action::Create(Arc::clone(desired)),
        There::Taken if desired.options.on_conflict == OnConflict::Refuse => return Action::Look,
        There::Taken => return Action::LookInside,
        There::Foreign(foreign) => return adopt(view, desired, foreign),
        There::Awaited => return Action::Hold(Reason::Unknown),
        There::Ours(replica) => replica,
    };
    let (has, wants) = (&*replica.fingerprint, &desired.fingerprint);
    if has == wants {
        return Action::Keep;
    }
    // Another management cluster may use our name: what an earlier incarnation pushed is not taken over unasked.
    // An agent's source namespace is in its own cluster, there is no second one.
    let strange = |uid: Uid| uid != desired.origin_uid && !view.take_over.contains(&uid);
    if view.role == Role::Master && replica.origin_uid.as_deref().copied().is_some_and(strange) {
        return Action::Hold(Reason::Stranded);
    }
    if view.mutated {
        return Action::Refuse(Reason::Mutated);
    }
    if view.contested {
        return Action::Refuse(Reason::Contested);
    }
    let fixed = has.immutable && (has.payload != wants.payload || !wants.immutable);
    if fixed || has.secret_type != wants.secret_type {
        return if view.deletes_frozen {
            Action::Hold(Reason::SourceNamespaceLeaving)
        } else if replica.end.adopted {
            // It would be deleted, and it was somebody's.
            Action::Refuse(Reason::NotAdoptable)
        } else {
            Action::Recreate(Arc::clone(desired), replica.into())
        };
    }
    Action::Update(Arc::clone(desired), Arc::clone(&replica.shape))
}

/// Somebody else's object is in the way.
fn adopt(view: &View<'_>, desired: &Arc<Desired>, foreign: Option<&Foreign>) -> Action {
    let asked = desired.options.on_conflict;
    let Some(foreign) = foreign.filter(|foreign| !foreign.rival) else {
        return Action::Refuse(Reason::ForeignObject);
    };
    if asked == OnConflict::Refuse && !foreign.was_ours {
        return Action::Refuse(Reason::ForeignObject);
    }
    let Some(inside) = &foreign.inside else { return Action::LookInside };
    let wants = &desired.fingerprint;
    let same_type = inside.secret_type == wants.secret_type;
    // An immutable object takes our marks, and nothing else.
    let equal = same_type && inside.payload == wants.payload && (!inside.immutable || wants.immutable);
    let can_follow = same_type && !inside.immutable;
    let Foreign { guard, has_labels, has_annotations, end, was_ours, .. } = *foreign;
    let asked = match asked {
        _ if was_ours && (equal || can_follow) => None,
        OnConflict::AdoptEqual if equal => Some(asked),
        OnConflict::Adopt if !(equal || can_follow) => return Action::Refuse(Reason::NotAdoptable),
        OnConflict::Adopt => match view.may_adopt {
            MayAdopt::Yes => Some(asked),
            MayAdopt::NotAllowed => return Action::Refuse(Reason::AdoptionDisabled),
            MayAdopt::SystemNamespace => return Action::Refuse(Reason::NotAdoptable),
        },
        OnConflict::AdoptEqual => return Action::Refuse(Reason::NotEqual),
        OnConflict::Refuse => return Action::Refuse(Reason::ForeignObject),
    };
    if view.contested {
        return Action::Refuse(Reason::Contested);
    }
    let left = foreign.left.clone();
    let end = End::of(&desired.options, end.adopted || asked == Some(OnConflict::Adopt));
    Action::Adopt(Arc::clone(desired), Adoption { guard, has_labels, has_annotations, asked, end, left })
}

/// A replica is wanted no more; `said` is how the source wants it to end, if it is there to say so.
fn remove(view: &View<'_>, there: There<'_>, said: Option<OnDelete>) -> Action {
    let replica = match there {
        There::Ours(replica) => replica,
        There::Absent | There::Taken | There::Foreign(_) | There::Awaited => return Action::Keep,
    };
    let how = said.unwrap_or(if replica.end.retain { OnDelete::Retain } else { OnDelete::Delete });
    let is_strange = replica.origin_uid.is_none() || replica.origin_uid.as_deref() != view.origin_uid.as_ref();
    if view.deletes_frozen {
        Action::Hold(Reason::SourceNamespaceLeaving)
    } else if is_strange && !mutants::has(Mutant::IncarnationIgnored) {
        Action::Hold(Reason::Stranded)
    } else if view.contested {
        Action::Refuse(Reason::Contested)
    } else if how == OnDelete::Retain || replica.end.adopted {
        Action::Release(replica.into(), how)
    } else {
        Action::Delete(replica.into())
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
