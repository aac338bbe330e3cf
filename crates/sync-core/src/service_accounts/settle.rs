//! ServiceAccounts that something has happened to: queued if a request is due, else done with, perhaps forgotten.

use std::sync::Arc;

use super::plan::{Change, plan};
use super::record::Record;
use super::report::Why;
use super::{Accounts, Fault, Lane};

impl Accounts {
    /// Something about this ServiceAccount has changed: queues it if a request is due.
    pub(super) fn touch(&mut self, id: u32, lane: Lane) {
        let Some(pair) = self.entries.get(&id).map(|entry| entry.pair) else { return };
        if self.queue.is_in_flight(pair) {
            self.queue.push(pair, lane);
            return;
        }
        if !self.is_ready() {
            return;
        }
        match self.decide(id) {
            Some(change) => {
                self.set_pending(id, change.sources);
                // Our note is only needed for what comes.
                if change.append.is_empty() {
                    self.unnoted.remove(&id);
                }
                if !self.unnoted.contains(&id) {
                    self.queue.push(pair, lane);
                }
            }
            None => self.settle(id),
        }
    }

    /// Those that wait where a write has gone unanswered are told of as if they had been tried.
    pub(super) fn note_unanswered(&mut self) {
        for pair in self.queue.take_unanswered() {
            if let Some(entry) = self.entries.get_mut(&pair.source.0) {
                entry.trouble = Some((Why::Failed(Fault::others_hang()), entry.pending.clone()));
                self.dirty.extend(entry.pending.iter().cloned());
            }
        }
    }

    pub(super) fn touch_all(&mut self, lane: Lane) {
        let ids: Vec<_> = self.entries.keys().copied().collect();
        for id in ids {
            self.touch(id, lane);
        }
    }

    /// What is to change at this ServiceAccount, unless it was tried already.
    pub(super) fn decide(&mut self, id: u32) -> Option<Change> {
        let wishes = self.wishes(id)?;
        let entry = self.entries.get_mut(&id)?;
        let change = plan(&entry.account, &entry.record, &wishes);
        if entry.tried.is_some() && entry.tried == change {
            return None;
        }
        entry.tried = None;
        change
    }

    /// No request is due for this ServiceAccount.
    pub(super) fn settle(&mut self, id: u32) {
        self.unnoted.remove(&id);
        // What may have been written is not out yet.
        if self.entries.get(&id).is_some_and(|entry| entry.doubt.is_none()) {
            self.set_pending(id, Vec::new());
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.failures = 0;
        if !entry.mutated
            && entry.tried.is_none()
            && let Some((_, sources)) = entry.trouble.take()
        {
            self.dirty.extend(sources);
        }
        let (pair, now) = (entry.pair, self.now);
        let again = entry.mutated.then_some(entry.until);
        let due = entry.leaving.values().map(|leaves| leaves.at).chain(again).filter(|at| *at > now).min();
        self.queue.forget(pair);
        if let Some(at) = due {
            self.queue.push_later(pair, at);
        }
        self.tidy(id);
    }

    pub(super) fn set_pending(&mut self, id: u32, sources: Vec<Arc<str>>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.pending == sources {
            return;
        }
        for name in &sources {
            *self.pending.entry(Arc::clone(name)).or_default() += 1;
        }
        for name in std::mem::replace(&mut entry.pending, sources.clone()) {
            if let Some(count) = self.pending.get_mut(&name) {
                *count -= 1;
                if *count == 0 {
                    self.pending.remove(&name);
                }
            }
            self.dirty.insert(name);
        }
        self.dirty.extend(sources);
    }

    /// Forgets a ServiceAccount that is nobody's business any more.
    pub(super) fn tidy(&mut self, id: u32) {
        let Some(entry) = self.entries.get(&id) else { return };
        // Until the event of our own write has come, an older one would bring it back as it was.
        let awaited = entry.doubt.is_some() || entry.echo.is_some();
        let of_interest = awaited || self.is_of_interest(&entry.account.name, &entry.record);
        if !of_interest && !self.queue.contains(entry.pair) {
            self.remove(id);
        }
    }

    pub(super) fn remove(&mut self, id: u32) {
        self.set_pending(id, Vec::new());
        self.unnoted.remove(&id);
        if let Some(entry) = self.entries.remove(&id) {
            self.ids.remove(&(entry.account.namespace, entry.account.name));
            self.queue.forget(entry.pair);
            self.dirty.extend(entry.trouble.into_iter().flat_map(|(_, sources)| sources));
        }
    }

    pub(super) fn is_of_interest(&self, name: &str, record: &Record) -> bool {
        !record.has_none() || self.scope.iter().any(|patterns| patterns.matches(name))
    }
}
