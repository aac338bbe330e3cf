//! The sources: what each wants, and since when one that is gone is gone.
//!
//! One [`Sources`] serves all engines of a process. Time is resolved here: an engine is told [`Want`]s and never
//! asks for the time. A source that goes is `Leaving` for the grace, then confirmed by a read of the source
//! namespace and of the source, and only then `Off`. A source that was never on is nobody's business.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::entry::{Entry, how, same};
use super::feed::{Feed, Moment, NamespaceSeen, Seen, SourceNamespace};
use super::news::{Confirmation, Remark, SourceNews};
use crate::contract::desired::Template;
use crate::contract::object::{Kind, PerKind, SourceKey, Uid};
use crate::contract::source::{Reading, Source};
use crate::mutants::{self, Mutant};
use crate::plan::{Destination, Want};
use crate::reason::Reason;

/// How long the memory of a source that is off and gone is kept; an engine that still has its replicas asks again.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Before a confirmation that failed is tried again: doubled each time, up to the second.
const CONFIRM_AGAIN: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(300)];

/// How far the watch on one kind is.
#[derive(Debug, Default)]
struct Listing {
    complete: bool,
    /// What the present list has shown so far.
    shown: Option<BTreeSet<SourceKey>>,
}

/// All sources of the source namespace.
#[derive(Debug)]
pub struct Sources {
    grace: Duration,
    namespace: Seen<SourceNamespace>,
    /// The present list has shown it.
    namespace_listed: bool,
    /// Its first list is complete; before that what is shown may be past.
    namespace_known: bool,
    complete: bool,
    entries: BTreeMap<SourceKey, Entry>,
    lists: PerKind<Listing>,
    due: BTreeSet<(Moment, SourceKey)>,
    confirm: VecDeque<SourceKey>,
    news: Vec<SourceNews>,
    remarks: Vec<Remark>,
}

impl Sources {
    /// None known yet. `grace` is `--delete-grace`.
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            namespace: Seen::Unknown,
            namespace_listed: false,
            namespace_known: false,
            complete: false,
            entries: BTreeMap::new(),
            lists: PerKind::default(),
            due: BTreeSet::new(),
            confirm: VecDeque::new(),
            news: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// What the watch on the source namespace brings.
    pub fn on_namespace(&mut self, now: Moment, feed: Feed<NamespaceSeen>) {
        let seen = |ns: NamespaceSeen| SourceNamespace { uid: ns.uid, terminating: ns.state == Destination::Leaving };
        match feed {
            Feed::Init => self.namespace_listed = false,
            Feed::Listed(ns) => {
                self.namespace_listed = true;
                self.set_namespace(now, Seen::Is(seen(ns)));
            }
            Feed::Applied(ns) => self.set_namespace(now, Seen::Is(seen(ns))),
            Feed::Gone(_) => {
                self.namespace_listed = false;
                self.set_namespace(now, Seen::Absent);
            }
            Feed::InitDone(_) => {
                self.namespace_known = true;
                if !self.namespace_listed {
                    self.set_namespace(now, Seen::Absent);
                }
                self.check_complete();
            }
        }
    }

    fn set_namespace(&mut self, now: Moment, namespace: Seen<SourceNamespace>) {
        if self.namespace == namespace {
            return;
        }
        self.namespace = namespace;
        self.news.push(self.namespace_news());
        let keys: Vec<_> = self.entries.keys().cloned().collect();
        for key in keys {
            self.tell(now, &key);
        }
        self.check_complete();
    }

    fn namespace_news(&self) -> SourceNews {
        let uid = self.namespace.is().map(|namespace| namespace.uid);
        SourceNews::Namespace { uid, deletes_frozen: !is_open(self.namespace) }
    }

    /// What the watch on one kind in the source namespace brings.
    pub fn on_source(&mut self, now: Moment, kind: Kind, feed: Feed<Source>) {
        match feed {
            Feed::Init => self.lists.of_mut(kind).shown = Some(BTreeSet::new()),
            Feed::Listed(source) => {
                if let Some(shown) = &mut self.lists.of_mut(kind).shown {
                    shown.insert(source.key.clone());
                }
                self.applied(now, source);
            }
            Feed::Applied(source) => self.applied(now, source),
            Feed::Gone(source) => self.gone(now, &source.key),
            Feed::InitDone(_) => {
                let shown = self.lists.of_mut(kind).shown.take().unwrap_or_default();
                let gone: Vec<_> =
                    self.entries.keys().filter(|key| key.kind == kind && !shown.contains(*key)).cloned().collect();
                for key in gone {
                    self.gone(now, &key);
                }
                self.lists.of_mut(kind).complete = true;
                self.check_complete();
            }
        }
    }

    fn check_complete(&mut self) {
        let known = self.namespace_known && self.lists.all(|list| list.complete);
        if !self.complete && known && self.namespace.is().is_some() {
            self.complete = true;
            self.news.push(SourceNews::Complete);
        }
    }

    /// Whether all lists have come and the source namespace exists.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// `metadata.uid` of a source, as it is or last was.
    pub fn uid(&self, key: &SourceKey) -> Option<Uid> {
        self.entries.get(key)?.uid()
    }

    /// `--delete-grace`
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// The source namespace.
    pub fn namespace(&self) -> Seen<SourceNamespace> {
        self.namespace
    }

    fn applied(&mut self, now: Moment, source: Source) {
        let Source { key, version, reading, from_master, noted: _ } = source;
        let plain = matches!(reading, Reading::Plain);
        let Some(entry) = self.entries.get_mut(&key) else {
            if !plain {
                let knows_origin = matches!(reading, Reading::On(_));
                let entry = Entry::new(Some(version), Some(reading), from_master && knows_origin);
                self.entries.insert(key.clone(), Entry { knows_origin, ..entry });
                self.tell(now, &key);
            }
            return;
        };
        // A switch that goes after a `no` leaves the `no` standing.
        if !(entry.off && plain) {
            (entry.off, entry.how) = (matches!(reading, Reading::Off(_)), how(&reading));
        }
        // Copies become those of another only if it is one that can be read. What else stands in the place of a master's
        // replica does not change that this is lost (promise 2); after a restart copies tell whose they are.
        if matches!(reading, Reading::On(_)) || mutants::has(Mutant::LossForgotten) {
            (entry.from_master, entry.knows_origin) = (from_master, true);
        }
        (entry.version, entry.reading) = (Some(version), Some(reading));
        self.tell(now, &key);
    }

    fn gone(&mut self, now: Moment, key: &SourceKey) {
        if let Some(entry) = self.entries.get_mut(key)
            && entry.reading.take().is_some()
        {
            self.tell(now, key);
        }
    }

    /// An engine has replicas of a source that was not named, or that cannot be read. `upstream`: they say that it was a
    /// master's replica.
    pub fn ask(&mut self, now: Moment, key: &SourceKey, upstream: bool) {
        if !self.complete {
            return;
        }
        let is_new = !self.entries.contains_key(key);
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry::new(None, None, upstream));
        // Whoever asks first need not have seen all.
        let turns = upstream && !entry.from_master && !entry.knows_origin;
        entry.from_master |= turns;
        if is_new || turns {
            self.tell(now, key);
        }
    }

    /// Tells what is wanted of a source, and which version of it wants that, if either is news.
    fn tell(&mut self, now: Moment, key: &SourceKey) {
        let told = self.tell_want(now, key);
        let version = self.entries.get_mut(key).and_then(|entry| entry.news_of_version(told));
        self.news.extend(version.map(|version| SourceNews::Version(key.clone(), version)));
    }

    /// Decides what is wanted of a source and tells it if that is news, which it returns.
    fn tell_want(&mut self, now: Moment, key: &SourceKey) -> bool {
        let namespace = self.namespace.is();
        let Some(entry) = self.entries.get_mut(key) else { return false };
        // That of a pause is none of a grace.
        let since = entry.due.filter(|_| !entry.held && !entry.busy);
        let desired = |template: &Template| Some(Arc::new(template.desired(namespace?.uid)));
        let (want, due) = match &entry.reading {
            Some(Reading::On(template) | Reading::Frozen(template, _)) => {
                // Replicas carry the uid of the source namespace: without it none can be made.
                let Some(desired) = desired(template) else { return false };
                let frozen = matches!(entry.reading, Some(Reading::Frozen(..)));
                (if frozen { Want::Frozen(desired) } else { Want::On(desired) }, None)
            }
            Some(Reading::Never(_)) => (Want::Never, None),
            Some(Reading::Off(how)) => (Want::Off(Some(*how)), None),
            Some(Reading::Plain) | None if entry.off => {
                (Want::Off(entry.how), Some(since.unwrap_or_else(|| now.saturating_add(FORGET_AFTER))))
            }
            // A master switches off what it takes away; whatever else happened here is an accident or a hand.
            Some(Reading::Plain) | None if entry.from_master => (Want::Leaving(Reason::SourceVanished), None),
            // While deletions are frozen there is nothing to confirm; when the namespace is back the grace begins anew.
            Some(Reading::Plain) | None => {
                let over = since.unwrap_or_else(|| now.saturating_add(self.grace));
                (Want::Leaving(Reason::Leaving), is_open(self.namespace).then_some(over))
            }
        };
        let may_be_busy = matches!(want, Want::On(_) | Want::Frozen(_));
        let (want, due) = entry.paced(now, want, due);
        let was_busy = entry.busy;
        entry.busy = may_be_busy && (entry.busy || entry.held);
        let old_due = std::mem::replace(&mut entry.due, due);
        if old_due != due {
            if let Some(at) = old_due {
                self.due.remove(&(at, key.clone()));
            }
            if let Some(at) = due {
                self.due.insert((at, key.clone()));
            }
        }
        if due.is_none() {
            entry.attempts = 0;
        }
        let uid = entry.uid();
        if entry.busy && !was_busy && !matches!(entry.told, Some(Want::Frozen(_))) {
            self.remarks.push(Remark::Busy(key.clone(), uid));
        }
        if entry.told.as_ref().is_some_and(|told| same(told, &want)) {
            return false;
        }
        let troubled = matches!(entry.told, Some(Want::Frozen(_) | Want::Never | Want::Leaving(_) | Want::Off(_)));
        match (&entry.reading, &want, uid) {
            (Some(Reading::Frozen(_, why)), _, Some(uid)) => {
                self.remarks.push(Remark::Frozen(key.clone(), uid, why.clone()));
            }
            (Some(Reading::Never(why)), _, Some(uid)) => {
                self.remarks.push(Remark::Never(key.clone(), uid, why.clone()));
            }
            (_, Want::Leaving(Reason::SourceBusy), _) => {}
            (_, Want::Off(_), _) => self.remarks.push(Remark::Off(key.clone())),
            (_, Want::Leaving(why), _) => self.remarks.push(Remark::Leaving(key.clone(), uid, *why)),
            _ if entry.busy && troubled => self.remarks.push(Remark::Busy(key.clone(), uid)),
            _ if troubled || (was_busy && !entry.busy) => self.remarks.push(Remark::Fine(key.clone(), uid)),
            _ => {}
        }
        entry.told = Some(want.clone());
        self.news.push(SourceNews::Want(key.clone(), want));
        true
    }

    /// Lets time pass: what was due by `now` happens.
    pub fn tick(&mut self, now: Moment) {
        while let Some((at, key)) = self.due.first().cloned().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, key.clone()));
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.due = None;
            if entry.held {
                self.tell(now, &key);
            } else if entry.busy {
                entry.busy = false;
                if !matches!(entry.told, Some(Want::Frozen(_))) {
                    self.remarks.push(Remark::Fine(key, entry.uid()));
                }
            } else if entry.off {
                self.entries.remove(&key);
                self.remarks.push(Remark::Fine(key.clone(), None));
                self.news.push(SourceNews::Forgotten(key));
            } else if entry.confirming {
                // One of an earlier absence is still under way, and does not count for this one.
                let [again, _] = CONFIRM_AGAIN;
                let at = now.saturating_add(again);
                entry.due = Some(at);
                self.due.insert((at, key));
            } else {
                entry.confirming = true;
                self.confirm.push_back(key);
            }
        }
    }

    /// The next source whose absence is to be confirmed; [`Sources::confirmed`] takes the result.
    pub fn next_confirmation(&mut self) -> Option<SourceKey> {
        self.confirm.pop_front()
    }

    /// The result of a confirmation; `None` if a read failed.
    pub fn confirmed(&mut self, now: Moment, key: &SourceKey, result: Option<Confirmation>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.confirming = false;
        // It has come back meanwhile, and perhaps gone again: then the grace runs anew.
        if entry.due.is_some() || !matches!(entry.told, Some(Want::Leaving(Reason::Leaving))) {
            return;
        }
        let gone = result.is_some_and(|found| {
            let same_namespace = self.namespace.is().is_some_and(|known| found.namespace == Some(known));
            let present = found.namespace.is_some_and(|ns| !ns.terminating);
            same_namespace && present && matches!(found.source, None | Some(Reading::Plain))
        });
        if gone {
            entry.off = true;
            self.tell(now, key);
        } else if is_open(self.namespace) {
            let [first, most] = CONFIRM_AGAIN;
            let wait = first.saturating_mul(1 << entry.attempts.min(16)).min(most);
            entry.attempts += 1;
            let at = now.saturating_add(wait);
            entry.due = Some(at);
            self.due.insert((at, key.clone()));
        }
    }

    /// When [`Sources::tick`] is due next.
    pub fn wake_at(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What engines are to be told since the last call, in order.
    pub fn take_news(&mut self) -> Vec<SourceNews> {
        std::mem::take(&mut self.news)
    }

    /// What people are to be told since the last call.
    pub fn take_remarks(&mut self) -> Vec<Remark> {
        std::mem::take(&mut self.remarks)
    }

    /// Everything that an engine which starts now has missed. Take the news first.
    pub fn snapshot(&self) -> Vec<SourceNews> {
        let mut all = Vec::new();
        if self.namespace != Seen::Unknown {
            all.push(self.namespace_news());
        }
        for (key, entry) in &self.entries {
            all.extend(entry.told.clone().map(|want| SourceNews::Want(key.clone(), want)));
            all.extend(entry.told_version.map(|version| SourceNews::Version(key.clone(), version)));
        }
        if self.complete {
            all.push(SourceNews::Complete);
        }
        all
    }
}

/// Whether a source namespace is there and stays, so that copies may be deleted.
fn is_open(namespace: Seen<SourceNamespace>) -> bool {
    namespace.is().is_some_and(|namespace| !namespace.terminating)
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
