//! Which of several processes may write: what is decided about a Lease (`coordination.k8s.io/v1`).
//!
//! A state machine without I/O and without a clock, as [`Core`](crate::core::Core) is: it is fed ([`Election::on`]),
//! says what to ask for ([`Election::next`]) and when to wake it. What it relies on:
//!
//! - **Compare-and-swap.** Every write of the Lease is guarded by its resourceVersion, so that of several which try one
//!   succeeds, whatever each has seen.
//! - **Our own clock.** Times that others have written are never read. A Lease is taken from a holder when its version
//!   has stood unchanged before our eyes for as long as it was taken for; that holder counts the same time from before
//!   it sent its last renewal, so it has stopped by then.
//! - **Whoever holds it stops early.** No write begins unless its deadline and [`MARGIN`] are left ([`Lead::allows`]).
//!
//! A process whose machine stands still, its clock too, cannot know; a write that such a one had begun is held up by its
//! own guards, as every write is.

use std::time::Duration;

use crate::contract::object::Rv;
use crate::index::feed::Moment;
use crate::mutants::{self, Mutant};
use crate::rng::Rng;

/// How long a Lease is held without a renewal; client-go's default.
pub const LEASE: Duration = Duration::from_secs(15);
/// Between two renewals: two may fail, and a third one still saves it.
pub const RENEW: Duration = Duration::from_secs(5);
/// Of a write under a Lease, from sending it to the end of its reply. Without one there is more patience: this is what
/// is left between renewals.
pub const DEADLINE: Duration = Duration::from_secs(4);
/// Must be left on the Lease when a write that begins now has reached its deadline: clocks do not run quite alike.
pub const MARGIN: Duration = Duration::from_secs(1);
/// After a request that failed.
const RETRY: Duration = Duration::from_secs(1);
/// A holder that says it would hold it for longer is not believed.
const LONGEST: Duration = Duration::from_secs(3600);

/// Counts how often this process has got the Lease.
pub type Term = u64;

/// Whether this process may write, by its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// It is the only one: there is no Lease.
    Always,
    /// Another one may write.
    No,
    /// Nobody asks who leads: all that is to be done is tried by dry runs, and nothing is written.
    Dry,
    /// Until that moment, unless it is renewed before.
    Until(Moment, Term),
}

impl Lead {
    /// Whether a write that takes at most so long may begin.
    pub fn allows(self, now: Moment, deadline: Duration) -> bool {
        match self {
            Self::Always => true,
            Self::No | Self::Dry => false,
            Self::Until(..) if mutants::has(Mutant::LeaseOutlived) => true,
            Self::Until(until, _) => now.saturating_add(deadline).saturating_add(MARGIN) <= until,
        }
    }
}

/// Whether a state machine may order writes: it leads, and what it knows of the sources was read since it does.
///
/// A standby's watches may have been silent for long without its knowledge, while the other process wrote what is
/// newer: who begins to lead with that would write the old over the new.
#[derive(Debug)]
pub struct Licence {
    lead: Lead,
    /// The sources are known as of this term.
    current: Option<Term>,
    /// Everything was planned in this term.
    planned: Option<Term>,
}

impl Default for Licence {
    /// That of the only process.
    fn default() -> Self {
        Self { lead: Lead::Always, current: None, planned: None }
    }
}

impl Licence {
    /// It leads or does not from now on. Returns whether everything is to be planned again.
    pub fn set_lead(&mut self, lead: Lead) -> bool {
        self.lead = lead;
        self.begins()
    }

    /// The sources are known as they were when this term had begun. Returns whether everything is to be planned again.
    pub fn set_current(&mut self, term: Term) -> bool {
        self.current = Some(term);
        self.begins()
    }

    fn begins(&mut self) -> bool {
        match self.lead {
            Lead::Until(_, term) if self.leads() => self.planned.replace(term) != Some(term),
            _ => false,
        }
    }

    /// Whether it leads, though perhaps not for long enough to begin anything; in a dry run, whether it would.
    pub fn leads(&self) -> bool {
        match self.lead {
            Lead::Always | Lead::Dry => true,
            Lead::No => false,
            Lead::Until(..) if mutants::has(Mutant::StandbyTrusted) => true,
            Lead::Until(_, term) => self.current == Some(term),
        }
    }

    /// Whether a write that takes at most so long may be ordered; in a dry run it is only tried.
    pub fn allows(&self, now: Moment, deadline: Duration) -> bool {
        self.lead == Lead::Dry || (self.leads() && self.lead.allows(now, deadline))
    }
}

/// The Lease, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `metadata.resourceVersion`
    pub rv: Rv,
    /// `spec.holderIdentity`; nobody if it is empty.
    pub holder: Option<String>,
    /// `spec.leaseDurationSeconds`
    pub duration: Duration,
    /// `spec.leaseTransitions`
    pub transitions: u32,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// The watch shows the Lease.
    Seen(Record),
    /// The watch shows that in this version there is none, or none any more.
    Gone(Rv),
    /// The request was carried out; this is the Lease now, if there is one.
    Done(Option<Record>),
    /// The request was in vain because the Lease is not in that version.
    Raced,
    /// The request failed; whether it was carried out is in doubt.
    Failed,
    /// The process ends and writes nothing any more: the Lease is given up.
    Stop,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read it.
    Read,
    /// Make it, and hold it.
    Create,
    /// Become its holder.
    Take {
        /// The version that it must be in.
        rv: Rv,
        /// How often the holder has changed, this change included.
        transitions: u32,
    },
    /// Hold on.
    Renew(Rv),
    /// Hold it no more.
    Release(Rv),
}

#[derive(Debug)]
enum Known {
    /// Before the first list.
    Unknown,
    /// There is none; nobody holds it after that moment.
    Absent { free: Moment },
    /// In this version since then.
    Is { record: Record, since: Moment },
}

impl Known {
    fn is_older_than(&self, rv: Rv) -> bool {
        !matches!(self, Self::Is { record, .. } if rv <= record.rv)
    }
}

#[derive(Clone, Copy, Debug)]
struct Held {
    term: Term,
    /// When the last request that has succeeded was sent.
    sent: Moment,
}

/// The state machine of one process.
#[derive(Debug)]
pub struct Election {
    me: String,
    rng: Rng,
    known: Known,
    /// What is known is not so: it is to be read.
    unsure: bool,
    under_way: Option<(Request, Moment)>,
    held: Option<Held>,
    term: Term,
    /// Nothing is asked before.
    not_before: Moment,
    stopping: bool,
}

impl Election {
    /// `me` is nobody else's name, not even of the process before this one.
    pub fn new(me: String, seed: u64) -> Self {
        Self {
            me,
            rng: Rng::new(seed),
            known: Known::Unknown,
            unsure: false,
            under_way: None,
            held: None,
            term: 0,
            not_before: Moment::ZERO,
            stopping: false,
        }
    }

    /// Takes in what happened.
    pub fn on(&mut self, now: Moment, input: Input) {
        match input {
            // What the watch shows may be past. If a restored store is behind it, a race tells.
            Input::Seen(record) if self.known.is_older_than(record.rv) => self.knows(now, Some(record)),
            Input::Gone(rv) if self.known.is_older_than(rv) => self.knows(now, None),
            Input::Seen(_) | Input::Gone(_) => {}
            Input::Done(record) => self.done(now, record),
            Input::Raced => {
                self.under_way = None;
                // Again and again: somebody else is as busy as we are.
                if self.unsure {
                    self.not_before = now.saturating_add(self.rng.jittered(RETRY));
                }
                self.unsure = true;
            }
            Input::Failed => {
                self.under_way = None;
                self.not_before = now.saturating_add(self.rng.jittered(RETRY));
            }
            Input::Stop => self.stopping = true,
        }
    }

    fn knows(&mut self, now: Moment, record: Option<Record>) {
        let ours = record.as_ref().is_some_and(|record| record.holder.as_ref() == Some(&self.me));
        if !ours {
            self.held = None;
        }
        self.known = match record {
            Some(record) => Known::Is { record, since: now },
            // Somebody has deleted it: its holder may not know yet.
            None => Known::Absent { free: self.free_at(now).unwrap_or(now) },
        };
    }

    fn done(&mut self, now: Moment, record: Option<Record>) {
        let Some((request, sent)) = self.under_way.take() else { return };
        let before = match request {
            Request::Take { rv, .. } | Request::Renew(rv) | Request::Release(rv) => Some(rv),
            Request::Read | Request::Create => None,
        };
        // A write that made no new version is one that nobody else can see.
        if before.is_some() && record.as_ref().map(|record| record.rv) <= before {
            return self.on(now, Input::Raced);
        }
        self.unsure = false;
        if request == Request::Read {
            let same = matches!((&self.known, &record), (Known::Is { record: a, .. }, Some(b)) if a.rv == b.rv);
            if !same {
                self.knows(now, record);
            }
            return;
        }
        if let Some(record) = record {
            self.known = Known::Is { record, since: now };
        }
        match request {
            Request::Create | Request::Take { .. } => {
                self.term += 1;
                self.held = Some(Held { term: self.term, sent });
            }
            Request::Renew(_) => {
                // Unless the watch has shown meanwhile that it is another's.
                if let Some(held) = &mut self.held {
                    held.sent = sent;
                }
            }
            Request::Release(_) | Request::Read => self.held = None,
        }
    }

    /// When the Lease can be taken; `None` if that is not known.
    fn free_at(&self, now: Moment) -> Option<Moment> {
        match &self.known {
            Known::Unknown => None,
            Known::Absent { free } => Some(*free),
            Known::Is { record, since } => match &record.holder {
                None => Some(now),
                Some(holder) if *holder == self.me => Some(now),
                Some(_) if mutants::has(Mutant::LeaseSnatched) => Some(now),
                Some(_) => Some(since.saturating_add(record.duration.clamp(LEASE, LONGEST))),
            },
        }
    }

    /// The next request, if one is due. There is one at a time; [`Input::Done`], [`Input::Raced`] or [`Input::Failed`]
    /// is its end.
    pub fn next(&mut self, now: Moment) -> Option<Request> {
        if self.under_way.is_some() {
            return None;
        }
        if self.held.is_some_and(|held| held.sent.saturating_add(LEASE) <= now) {
            self.held = None;
        }
        let request = self.due(now)?;
        if matches!(request, Request::Release(_)) {
            self.held = None;
        }
        self.under_way = Some((request, now));
        Some(request)
    }

    fn due(&self, now: Moment) -> Option<Request> {
        let rv = match &self.known {
            Known::Is { record, .. } => Some(record.rv),
            Known::Unknown | Known::Absent { .. } => None,
        };
        if self.stopping {
            return self.held.and(rv).map(Request::Release);
        }
        if now < self.not_before {
            return None;
        }
        if self.unsure {
            return Some(Request::Read);
        }
        if let Some(held) = self.held {
            return rv.filter(|_| held.sent.saturating_add(RENEW) <= now).map(Request::Renew);
        }
        if self.free_at(now)? > now {
            return None;
        }
        Some(match &self.known {
            Known::Is { record, .. } => {
                Request::Take { rv: record.rv, transitions: record.transitions.saturating_add(1) }
            }
            Known::Unknown | Known::Absent { .. } => Request::Create,
        })
    }

    /// When [`Election::next`], which has just had nothing, may have something although nothing has happened.
    pub fn wake_at(&self, now: Moment) -> Option<Moment> {
        if self.under_way.is_some() || self.stopping {
            return None;
        }
        let due = match self.held {
            _ if self.unsure => Some(now),
            Some(held) => Some(held.sent.saturating_add(RENEW)),
            None => self.free_at(now),
        };
        due.map(|at| at.max(self.not_before))
    }

    /// Whether this process may write, as of the last call.
    pub fn lead(&self) -> Lead {
        match self.held {
            Some(Held { term, sent }) => Lead::Until(sent.saturating_add(LEASE), term),
            None => Lead::No,
        }
    }

    /// Who holds it, as far as is known.
    pub fn holder(&self) -> Option<&str> {
        match &self.known {
            Known::Is { record, .. } => record.holder.as_deref(),
            Known::Unknown | Known::Absent { .. } => None,
        }
    }

    /// The process ends.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Nothing of ours is left to give up.
    pub fn is_over(&self) -> bool {
        self.stopping && self.under_way.is_none() && self.held.is_none()
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
