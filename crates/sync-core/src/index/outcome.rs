//! What people are told of a pair.

use crate::reason::{Reason, Would};

/// What has come of a pair, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is wanted and nothing is there.
    #[default]
    Nothing,
    /// The replica is as it should be.
    Synced,
    /// Something is to be done.
    Pending,
    /// In a dry run: it has been tried, and would have been done.
    Tried(Would),
    /// Nothing is done for now.
    Held(Reason),
    /// Nothing is done until a person acts.
    Refused(Reason),
    /// The last request failed, with [`Fault::reason`](crate::fault::Fault::reason); it is tried again.
    Failed(&'static str),
}
