//! What is said of a source in Events: one per change of outcome, never one per destination, and not often.
//!
//! Pure: engines and the source feed report, [`Announcer::next`] says what to write and when, and [`Announcer::done`]
//! hears how it went: what got lost on the way has not been said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use crate::contract::object::{SourceKey, Uid};
use crate::core::{Place, Settled, Tally};
use crate::index::feed::Moment;
use crate::reason::{Counts, Reason};

/// At least so long between two Events on one object; of what happens meanwhile the last counts.
pub const PAUSE: Duration = Duration::from_secs(10);
/// The pause doubles so often while Events get lost: to five minutes.
const DOUBLINGS: u32 = 5;

/// In place of a cluster's name: `imagePullSecrets` of ServiceAccounts. No cluster is called so.
pub const ENTRIES: &str = "ServiceAccounts";

/// What troubles the copies of a source in one cluster, or everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// From the lists in [`Reason`] and [`Fault`](crate::fault::Fault); of several the most frequent.
    pub reason: &'static str,
    /// All of them, this one included, in order: another one is a change of outcome.
    pub reasons: Vec<&'static str>,
    /// For people: how many, the first few, what to do.
    pub note: String,
    /// Something is wrong; else it is only worth knowing.
    pub warning: bool,
}

impl Trouble {
    /// With one reason.
    pub fn one(reason: &'static str, note: String, warning: bool) -> Self {
        Self { reason, reasons: vec![reason], note, warning }
    }

    /// What is not in place of a source that has settled; `None` if everything is.
    pub fn of(settled: &Settled) -> Option<Self> {
        let Tally { synced, pending, refused } = settled.tally;
        let Some(reason) = settled.reasons.first() else {
            let why = Reason::NotSelected;
            let note = format!("{} copies are no longer selected and go: {}", settled.not_selected, why.what_to_do());
            return (settled.not_selected > 0).then(|| Self::one(why.as_str(), note, false));
        };
        let (wrong, all) = (pending + refused, synced + pending + refused);
        let mut note = format!("{wrong} of {all} copies are not in place ({}): ", settled.reasons);
        let mut before = "";
        for (n, Place { namespace, reason, message, todo }) in settled.places.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            let _never_fails = write!(note, "{separator}{namespace}: {reason}");
            // What is the same everywhere is said once.
            let text = if message.is_empty() { todo } else { message.as_str() };
            if text != before {
                let _never_fails = write!(note, ", {text}");
            }
            before = text;
        }
        Some(Self { reason, reasons: settled.reasons.reasons(), note, warning: true })
    }
}

/// An Event to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The same only if this one is tried again: it may have been written though nobody heard so.
    pub serial: u64,
    /// The source that it is about.
    pub source: SourceKey,
    /// `metadata.uid` of the source.
    pub uid: Uid,
    /// In one word.
    pub reason: &'static str,
    /// For people.
    pub note: String,
    /// `Warning` or `Normal`.
    pub warning: bool,
}

#[derive(Debug, Default)]
struct Subject {
    uid: Option<Uid>,
    /// What is wrong with the source itself: then nothing else matters.
    own: Option<Trouble>,
    /// What is wrong in each cluster, by its name; an agent's own cluster has none.
    places: BTreeMap<String, Trouble>,
    /// What has been said, as far as a change of it is worth saying again.
    said: Option<State>,
    /// When that was tried last, whether or not it was written.
    said_at: Option<Moment>,
    /// An Event is under way.
    under_way: Option<Attempt>,
    /// The one before it, if nobody knows whether it was written.
    lost: Option<Attempt>,
    /// What had been said before it.
    before: Option<State>,
    /// Events in a row that got lost.
    failures: u32,
}

/// One Event.
#[derive(Debug)]
struct Attempt {
    serial: u64,
    reason: &'static str,
    note: String,
}

/// What is wrong, by the name of each cluster.
type State = Vec<(String, Vec<&'static str>)>;

/// What has been said of each source, and what is to be said next.
#[derive(Debug, Default)]
pub struct Announcer {
    subjects: BTreeMap<SourceKey, Subject>,
    due: BTreeMap<SourceKey, Moment>,
    /// Sources that are switched off: what troubles the end of their copies is said, and not that it troubles no more.
    off: BTreeSet<SourceKey>,
    /// How many Events there have been.
    count: u64,
}

impl Announcer {
    /// How the source itself fares; `None` is well.
    pub fn source(&mut self, now: Moment, key: &SourceKey, uid: Option<Uid>, own: Option<Trouble>) {
        self.off.remove(key);
        if own.is_none() && !self.subjects.contains_key(key) {
            return;
        }
        let subject = self.subjects.entry(key.clone()).or_default();
        subject.uid = uid.or(subject.uid);
        subject.own = own;
        self.check(now, key);
    }

    /// How its copies fare in one cluster; `None` is well.
    pub fn place(&mut self, now: Moment, key: &SourceKey, uid: Option<Uid>, cluster: &str, trouble: Option<Trouble>) {
        match trouble {
            None if !self.subjects.contains_key(key) => return,
            None => drop(self.subjects.get_mut(key).and_then(|subject| subject.places.remove(cluster))),
            Some(trouble) => {
                let subject = self.subjects.entry(key.clone()).or_default();
                subject.uid = uid.or(subject.uid);
                subject.places.insert(cluster.to_owned(), trouble);
            }
        }
        self.check(now, key);
    }

    /// It is switched off: nothing of what was to be said counts any more. When something last was said is remembered for as
    /// long as that counts.
    pub fn off(&mut self, now: Moment, key: &SourceKey) {
        self.off.insert(key.clone());
        self.due.remove(key);
        let Some(subject) = self.subjects.get_mut(key) else { return };
        match subject.said_at {
            None => drop(self.subjects.remove(key)),
            Some(said_at) => {
                let Subject { uid, under_way, failures, .. } = std::mem::take(subject);
                *subject = Subject { uid, said_at: Some(said_at), under_way, failures, ..Subject::default() };
                self.due.insert(key.clone(), subject.next_at(now));
            }
        }
    }

    fn check(&mut self, now: Moment, key: &SourceKey) {
        let Some(subject) = self.subjects.get_mut(key) else { return };
        let state = subject.state();
        if state.is_empty() && self.off.contains(key) {
            subject.said = None;
        }
        if subject.said.as_ref() == Some(&state) || (subject.is_well() && subject.said_at.is_none()) {
            self.due.remove(key);
            if state.is_empty() {
                self.subjects.remove(key);
            }
            return;
        }
        if subject.under_way.is_none() {
            let at = subject.next_at(now);
            self.due.entry(key.clone()).or_insert(at);
        }
    }

    /// The Event that [`next`](Self::next) has given last for this source is written, or is to be tried again; until then
    /// there is no other.
    pub fn done(&mut self, now: Moment, key: &SourceKey, again: bool) {
        let Some(subject) = self.subjects.get_mut(key) else { return };
        let attempt = subject.under_way.take();
        subject.lost = attempt.filter(|_| again);
        if again {
            (subject.said, subject.failures) = (subject.before.take(), subject.failures.saturating_add(1));
        } else {
            subject.failures = 0;
        }
        self.due.remove(key);
        // What is well now is kept until another Event may be, for its time.
        self.check(now, key);
    }

    /// The next Event that is due.
    pub fn next(&mut self, now: Moment) -> Option<Announcement> {
        loop {
            let key = self.due.iter().find(|(_, at)| **at <= now).map(|(key, _)| key.clone())?;
            self.due.remove(&key);
            let Some(subject) = self.subjects.get_mut(&key) else { continue };
            if subject.is_well() {
                self.subjects.remove(&key);
                continue;
            }
            if subject.under_way.is_some() {
                continue;
            }
            let state = subject.state();
            // An Event needs the object that it is about.
            let Some(uid) = subject.uid else { continue };
            let (reason, note, warning) = subject.text();
            let lost = subject.lost.take().filter(|lost| (lost.reason, &lost.note) == (reason, &note));
            let serial = lost.map_or(self.count, |lost| lost.serial);
            self.count += u64::from(serial == self.count);
            subject.before = subject.said.take();
            subject.under_way = Some(Attempt { serial, reason, note: note.clone() });
            (subject.said, subject.said_at) = ((!state.is_empty()).then_some(state), Some(now));
            return Some(Announcement { serial, source: key, uid, reason, note, warning });
        }
    }

    /// When the next Event is due.
    pub fn wake_at(&self) -> Option<Moment> {
        self.due.values().min().copied()
    }
}

impl Subject {
    /// All is well and has been said, or never was otherwise.
    fn is_well(&self) -> bool {
        self.said.is_none() && self.own.is_none() && self.places.is_empty()
    }

    /// When the next Event may be.
    fn next_at(&self, now: Moment) -> Moment {
        let pause = PAUSE.saturating_mul(1 << self.failures.min(DOUBLINGS));
        self.said_at.map_or(now, |at| at.saturating_add(pause).max(now))
    }

    /// What is wrong, without the counts, which change all the time.
    fn state(&self) -> State {
        match &self.own {
            Some(own) => vec![(own.note.clone(), own.reasons.clone())],
            None => self.places.iter().map(|(cluster, trouble)| (cluster.clone(), trouble.reasons.clone())).collect(),
        }
    }

    fn text(&self) -> (&'static str, String, bool) {
        if let Some(Trouble { reason, note, warning, .. }) = &self.own {
            return (reason, note.clone(), *warning);
        }
        let mut clusters = self.places.iter().filter(|(cluster, _)| *cluster != ENTRIES);
        let entries = self.places.get(ENTRIES);
        let Some((cluster, Trouble { reason, note, warning, .. })) = clusters.next() else {
            return match entries {
                Some(Trouble { reason, note, warning, .. }) => (reason, note.clone(), *warning),
                None => ("Synced", "all copies are in place again".to_owned(), false),
            };
        };
        let (mut count, mut others) = (0, Counts::default());
        for (_, trouble) in clusters {
            count += 1;
            for reason in &trouble.reasons {
                others.add(reason);
            }
        }
        let more = match count {
            0 => String::new(),
            count => format!(" (and in {count} more clusters: {others})"),
        };
        let place = if cluster.is_empty() { String::new() } else { format!("cluster {cluster}: ") };
        let too = entries.map_or_else(String::new, |entries| format!("; {}: {}", entries.reason, entries.note));
        let warning = *warning || entries.is_some_and(|entries| entries.warning);
        (reason, format!("{place}{note}{more}{too}"), warning)
    }
}

#[cfg(test)]
#[path = "announce_tests.rs"]
mod tests;
