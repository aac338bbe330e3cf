//! Lanes, and what else tells pairs apart.

use std::time::Duration;

use crate::fault::Fault;

/// The shortest time-out that a webhook can have: a server that cannot answer after so long has waited for one, perhaps.
const TIMED_OUT: Duration = Duration::from_secs(1);

/// Why a pair waits, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Its namespace is new.
    NewNamespace,
    /// Its source changed.
    Changed,
    /// Its source was switched off or is gone.
    Removed,
    /// Its replica was touched by somebody else.
    Drift,
    /// It failed before.
    Retry,
}

impl Lane {
    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewNamespace => "new-namespace",
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Drift => "drift",
            Self::Retry => "retry",
        }
    }

    /// All, the most urgent first, each with its share. A new namespace, without which nothing can be deployed there, has
    /// nearly all; where many come at once, or change their labels, all others together have a quarter.
    pub(super) const SHARES: [(Self, u32); 5] =
        [(Self::NewNamespace, 32), (Self::Changed, 4), (Self::Removed, 4), (Self::Drift, 2), (Self::Retry, 1)];
}

/// Pairs whose writes the same webhooks are asked about: where those of one class hang, others are admitted perhaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(pub u8);

impl Class {
    pub(super) const LEAST: Self = Self(0);
}

/// How a write was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It succeeded soon.
    Soon,
    /// It failed, or took its time.
    Other,
    /// Not at all, although the server answers others.
    None,
}

impl Answer {
    /// Of a write that has failed after so long. What fails for the whole cluster tells nothing of a destination.
    pub fn of_failure(fault: &Fault, took: Duration) -> Option<Self> {
        match fault {
            Fault::Hangs(_) => Some(Self::None),
            // A server that has waited for a webhook in vain says so.
            Fault::Unavailable { .. } if took >= TIMED_OUT => Some(Self::None),
            fault if fault.is_of_the_cluster() => None,
            _ => Some(Self::Other),
        }
    }
}
