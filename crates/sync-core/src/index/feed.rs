//! What the watches bring: one list after another, and changes between them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::contract::object::{Rv, Uid};
use crate::order::Metadata;
use crate::plan::Destination;

/// Time since the process began to count; the pure modules know no clock.
pub type Moment = Duration;

/// What is known of something that may be there or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seen<T> {
    /// Its list has not come yet.
    #[default]
    Unknown,
    /// It is not there.
    Absent,
    /// It is there.
    Is(T),
}

impl<T> Seen<T> {
    /// What is there, if it is known to be.
    pub fn is(self) -> Option<T> {
        match self {
            Self::Is(it) => Some(it),
            Self::Unknown | Self::Absent => None,
        }
    }
}

/// One step of a list and watch.
#[derive(Clone, Debug)]
pub enum Feed<T> {
    /// A list begins: what is not in it when it ends is gone.
    Init,
    /// An object of the list.
    Listed(T),
    /// The list is complete, as of this version.
    InitDone(Rv),
    /// Created or changed.
    Applied(T),
    /// Deleted, or no longer selected by the watch; as it last was, its version that of the deletion.
    Gone(T),
}

/// Somebody else's object of the name of a source.
#[derive(Clone, Debug)]
pub struct ForeignSeen {
    /// `metadata.namespace`
    pub namespace: String,
    /// Whose it is.
    pub metadata: Metadata,
}

/// A namespace, reduced to what a destination needs.
#[derive(Clone, Debug)]
pub struct NamespaceSeen {
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: Uid,
    /// `metadata.resourceVersion`
    pub rv: Rv,
    /// What it is to us.
    pub state: Destination,
    /// `metadata.labels`, for selectors.
    pub labels: Labels,
}

/// `metadata.labels`
pub type Labels = BTreeMap<String, String>;

/// The source namespace, as the confirming read of a deletion sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceNamespace {
    /// Its uid: its incarnation.
    pub uid: Uid,
    /// It is being deleted.
    pub terminating: bool,
}
