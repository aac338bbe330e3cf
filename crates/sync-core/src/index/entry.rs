//! What is kept of one source, and what is told of it when it changes too often.

use std::sync::Arc;

use super::feed::Moment;
use super::pace::Pace;
use crate::contract::desired::Desired;
use crate::contract::object::{Uid, Version};
use crate::contract::options::OnDelete;
use crate::contract::source::Reading;
use crate::plan::Want;
use crate::reason::Reason;

/// One source that is known.
#[derive(Debug)]
pub(super) struct Entry {
    /// The last that was seen.
    pub(super) version: Option<Version>,
    /// `None` once it is gone.
    pub(super) reading: Option<Reading>,
    /// The last reading was an explicit `no`, or the absence is confirmed: copies go.
    pub(super) off: bool,
    /// What the `no` said becomes of the copies.
    pub(super) how: Option<OnDelete>,
    /// It is, or was, a master's replica.
    pub(super) from_master: bool,
    /// An object that could be read has said so, or that it is none; until then copies may say that it was.
    pub(super) knows_origin: bool,
    /// When the grace or a pause is over, or the next confirmation or the forgetting is due.
    pub(super) due: Option<Moment>,
    pub(super) confirming: bool,
    pub(super) attempts: u32,
    pub(super) pace: Pace,
    /// It has changed too often, and people know.
    pub(super) busy: bool,
    /// What is wanted is told when it is due.
    pub(super) held: bool,
    pub(super) told: Option<Want>,
    /// The version that wants what was told, if engines know.
    pub(super) told_version: Option<Version>,
}

impl Entry {
    pub(super) fn new(version: Option<Version>, reading: Option<Reading>, from_master: bool) -> Self {
        Self {
            version,
            off: matches!(reading, Some(Reading::Off(_))),
            how: reading.as_ref().and_then(how),
            reading,
            from_master,
            knows_origin: false,
            due: None,
            confirming: false,
            attempts: 0,
            pace: Pace::default(),
            busy: false,
            held: false,
            told: None,
            told_version: None,
        }
    }

    /// Its uid, as it is or last was.
    pub(super) fn uid(&self) -> Option<Uid> {
        self.version.map(|version| version.uid)
    }

    /// The version that wants what was told, if that is news; `want_told`: what it wants was told just now.
    pub(super) fn news_of_version(&mut self, want_told: bool) -> Option<Version> {
        if want_told {
            self.told_version = None;
        }
        // While it is held, what was told is what an earlier version wants.
        if self.held || !matches!(self.told, Some(Want::On(_) | Want::Frozen(_))) {
            return None;
        }
        let before = std::mem::replace(&mut self.told_version, self.version);
        self.version.filter(|_| self.version != before)
    }

    /// What is told now of what is wanted, and when there is more to do. What may write everywhere waits if it
    /// changes too often; what takes away or stops does not.
    pub(super) fn paced(&mut self, now: Moment, want: Want, due: Option<Moment>) -> (Want, Option<Moment>) {
        self.held = false;
        if !matches!(want, Want::On(_) | Want::Frozen(_)) {
            return (want, due);
        }
        let news = self.told.as_ref().is_none_or(|told| !same(told, &want));
        match if news { self.pace.take(now) } else { Ok(()) } {
            Ok(()) => (want, self.busy.then(|| self.pace.full_at())),
            Err(at) => {
                self.held = true;
                // It was switched off and on again: what is not deleted yet stays.
                let instead = match (&self.told, &want) {
                    (None | Some(Want::Off(_)), _) => Want::Leaving(Reason::SourceBusy),
                    // What cannot be understood makes and deletes nothing from now on; only what stands is late.
                    (Some(Want::On(old)), Want::Frozen(_)) => Want::Frozen(Arc::clone(old)),
                    (Some(told), _) => told.clone(),
                };
                (instead, Some(at))
            }
        }
    }
}

/// What an explicit `no` says becomes of the copies.
pub(super) fn how(reading: &Reading) -> Option<OnDelete> {
    match reading {
        Reading::Off(how) => Some(*how),
        Reading::Plain | Reading::On(_) | Reading::Frozen(..) | Reading::Never(_) => None,
    }
}

/// Whether nothing is wanted that was not wanted before: an equal source that was applied again changes nothing.
pub(super) fn same(old: &Want, new: &Want) -> bool {
    let equal = |a: &Desired, b: &Desired| a.fingerprint == b.fingerprint && a.options == b.options;
    match (old, new) {
        (Want::On(a), Want::On(b)) | (Want::Frozen(a), Want::Frozen(b)) => equal(a, b),
        (Want::Never, Want::Never) => true,
        (Want::Off(a), Want::Off(b)) => a == b,
        (Want::Leaving(a), Want::Leaving(b)) => a == b,
        _ => false,
    }
}
