//! What [`Sources`](super::sources::Sources) tells engines and people, and what it asks to be confirmed.

use super::feed::SourceNamespace;
use crate::contract::object::{SourceKey, Uid, Version};
use crate::contract::source::{Freeze, Never, Reading};
use crate::lease::Term;
use crate::plan::Want;
use crate::reason::Reason;

/// What an engine is told.
#[derive(Clone, Debug)]
pub enum SourceNews {
    /// What is wanted of the replicas of this source from now on.
    Want(SourceKey, Want),
    /// What was last told of this source is what this version of it wants. Told only of one that is on or frozen.
    Version(SourceKey, Version),
    /// Nothing is known of this source any more.
    Forgotten(SourceKey),
    /// The source namespace, and whether deletions are frozen because it is Terminating or missing.
    Namespace {
        /// Its present incarnation.
        uid: Option<Uid>,
        /// Nothing is deleted.
        deletes_frozen: bool,
    },
    /// All sources have been named; a replica of another is an orphan.
    Complete,
    /// All that was told before is as of this term: it was read after the lease had been got.
    Current(Term),
    /// Whether it is noted in our own ConfigMap that ServiceAccounts list our Secrets. It may have changed since.
    Noted(bool),
}

/// Something that a person should know of a source, whatever its destinations.
#[derive(Clone, Debug)]
pub enum Remark {
    /// It cannot be understood.
    Frozen(SourceKey, Uid, Freeze),
    /// It is never replicated.
    Never(SourceKey, Uid, Never),
    /// Its switch or it itself went.
    Leaving(SourceKey, Option<Uid>, Reason),
    /// It changes all the time.
    Busy(SourceKey, Option<Uid>),
    /// None of these any more.
    Fine(SourceKey, Option<Uid>),
    /// It is none any more: that its copies go is no trouble, and no good news either.
    Off(SourceKey),
}

/// What one GET each of the source namespace and of the source brought.
#[derive(Clone, Debug)]
pub struct Confirmation {
    /// The namespace, if there.
    pub namespace: Option<SourceNamespace>,
    /// The source, if there.
    pub source: Option<Reading>,
}
