//! What the watches bring: one list after another, and changes between them.

use std::time::Duration;

use crate::contract::object::{Rv, Uid};
use crate::plan::Destination;

/// Time since the process began to count; the pure modules know no clock.
pub type Moment = Duration;

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
}
