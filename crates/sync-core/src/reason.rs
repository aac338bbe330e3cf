//! The fixed list of reasons that a decision can have. The same words stand in Events, status, metrics and logs;
//! reasons of failed requests are in [`crate::fault`].

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

/// Why a pair is not simply in sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A watch that matters has not delivered its list yet.
    Unknown,
    /// An object of this name stands there and is not ours.
    ForeignObject,
    /// An object of this name stands there, and `adopt-equal` does not take it over because its content differs.
    NotEqual,
    /// `adopt` would take over the object that stands there, and this controller does not run with `--allow-adopt`.
    AdoptionDisabled,
    /// `adopt` cannot take over the object that stands there.
    NotAdoptable,
    /// The source does not select this destination any more; its replica there goes when the grace is over.
    NotSelected,
    /// The source cannot be understood.
    Frozen,
    /// The source is of a type or name that is never replicated.
    NeverReplicated,
    /// Admission there changes what we write.
    Mutated,
    /// Somebody else keeps changing or deleting the replica.
    Contested,
    /// The replica was made by an earlier incarnation of the source namespace.
    Stranded,
    /// The source was switched off or went; its replicas go when the grace is over.
    Leaving,
    /// The source changes all the time.
    SourceBusy,
    /// The source was a master's replica and vanished without having been switched off.
    SourceVanished,
    /// The source namespace is Terminating or missing: nothing is deleted.
    SourceNamespaceLeaving,
}

impl Reason {
    /// The word for Events, status and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::ForeignObject => "ForeignObject",
            Self::NotEqual => "NotEqual",
            Self::AdoptionDisabled => "AdoptionDisabled",
            Self::NotAdoptable => "NotAdoptable",
            Self::NotSelected => "NotSelected",
            Self::Frozen => "Frozen",
            Self::NeverReplicated => "NeverReplicated",
            Self::Mutated => "Mutated",
            Self::Contested => "Contested",
            Self::Stranded => "Stranded",
            Self::Leaving => "Leaving",
            Self::SourceBusy => "SourceBusy",
            Self::SourceVanished => "SourceVanished",
            Self::SourceNamespaceLeaving => "SourceNamespaceLeaving",
        }
    }

    /// What a person can do about it.
    pub const fn what_to_do(self) -> &'static str {
        match self {
            Self::Unknown => "wait: a watch is still reading its list",
            Self::ForeignObject => "delete or rename the object that stands there, if the copy shall take its place",
            Self::NotEqual => "make the object that stands there equal or delete it; on-conflict: adopt overwrites it",
            Self::AdoptionDisabled => "run the controller with --allow-adopt, or delete the object that stands there",
            Self::NotAdoptable => {
                "delete the object that stands there: its type differs, it is immutable, or its namespace is kube-*"
            }
            Self::NotSelected => "change the selection or the labels back within the grace to keep the copies",
            Self::Frozen => "correct the annotation of the source",
            Self::NeverReplicated => "remove the annotation",
            Self::Mutated => "exempt our field manager from the webhook or policy that changes the copy",
            Self::Contested => "find out who keeps changing or deleting the copy; we try again within 30 minutes",
            Self::Stranded => {
                "bring the source back (a master needs --take-over with the uid in mw-sync.io/origin-uid of the copy), or \
                 delete the copy by hand"
            }
            Self::Leaving => "switch it on again within the grace to keep its copies",
            Self::SourceBusy => "find out who keeps changing the source; until then its copies follow every 10 s",
            Self::SourceVanished => {
                "the master's copy has gone or lost its annotation without having been switched off, and what was copied \
                 from it stays: wait for the master to restore it (remove what stands in its place), or delete the copies \
                 by hand"
            }
            Self::SourceNamespaceLeaving => "bring the source namespace back; until then nothing is deleted",
        }
    }
}

/// What would be done, in a dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Would {
    /// A copy would be made.
    Create,
    /// It would be changed.
    Update,
    /// It would be deleted and made again.
    Recreate,
    /// It would be deleted.
    Delete,
    /// It would stay, without our marks.
    Release,
    /// Somebody's object would become a copy.
    Adopt,
}

impl Would {
    /// What a person can do about it.
    pub const TODO: &str = "nothing: this is a dry run; without --dry-run it is done";

    /// The word for logs, status and page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "WouldCreate",
            Self::Update => "WouldUpdate",
            Self::Recreate => "WouldRecreate",
            Self::Delete => "WouldDelete",
            Self::Release => "WouldRelease",
            Self::Adopt => "WouldAdopt",
        }
    }

    /// What is done, in a word.
    pub const fn action(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Recreate => "recreate",
            Self::Delete => "delete",
            Self::Release => "release",
            Self::Adopt => "adopt",
        }
    }
}

/// How often each reason stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, u32>);

impl Counts {
    /// Once more; whether that is the first time.
    pub fn add(&mut self, reason: &'static str) -> bool {
        let count = self.0.entry(reason).or_default();
        *count += 1;
        *count == 1
    }

    /// All reasons, by name.
    pub fn reasons(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }

    /// The most frequent one; of several the first by name.
    pub fn first(&self) -> Option<&'static str> {
        self.sorted().first().map(|(reason, _)| *reason)
    }

    fn sorted(&self) -> Vec<(&'static str, u32)> {
        let mut all: Vec<_> = self.0.iter().map(|(reason, count)| (*reason, *count)).collect();
        all.sort_by_key(|(_, count)| Reverse(*count));
        all
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (reason, count)) in self.sorted().iter().enumerate() {
            write!(f, "{}{count} {reason}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
