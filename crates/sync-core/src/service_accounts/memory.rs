//! The note in our own ConfigMap: ServiceAccounts may list our Secrets. It is written before the first entry and taken
//! away after the last, so that a restart knows, without a list, whether there is anything to look for.

use super::{Accounts, Fault, Flight, Lane, Moment, Order, Reply, SERVER_LIMIT, Step};
use crate::contract::object::Uid;
use crate::core::{BACKOFF_CLUSTER, BACKOFF_FIRST};
use crate::lease::{self, Lead};
use crate::mutants::{self, Mutant};

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Whether the note is there.
    noted: Option<bool>,
    under_way: bool,
    /// What is under way was asked for when things stood otherwise: its result tells nothing.
    outdated: bool,
    /// What the watch has shown while it was under way.
    shown: Option<bool>,
    /// The incarnation of the source namespace that it is in: it goes with that.
    place: Option<Uid>,
    failures: u8,
    due: Option<Moment>,
    /// It was found, not written, and stays until then: the process that wrote it may have ended in the middle of a write,
    /// which may take effect still.
    stays: Option<Moment>,
}

impl Memory {
    /// It is there for certain.
    pub(super) fn is_noted(&self) -> bool {
        self.noted == Some(true)
    }

    /// There is none for certain.
    pub(super) fn is_clear(&self) -> bool {
        self.noted == Some(false)
    }

    pub(super) fn wake_at(&self) -> Option<Moment> {
        self.due.into_iter().chain(self.stays).min()
    }

    pub(super) fn pass(&mut self, now: Moment) {
        self.stays = self.stays.filter(|until| now < *until);
    }

    /// Whether it is there is not known any more.
    pub(super) fn forget(&mut self) {
        (self.noted, self.outdated) = (None, self.under_way);
    }

    /// The watch shows it, or shows that there is none. If that is news, somebody else has written it or taken it away,
    /// or a write that was given up, perhaps by a process that is no more, has taken effect. Or it is behind what we
    /// have written: so it is not believed, but the note is read once more.
    pub(super) fn is_shown(&mut self, noted: bool) {
        if mutants::has(Mutant::NoteUnheard) || mutants::has(Mutant::NoteTrusted) {
            return;
        }
        if self.under_way {
            self.shown = Some(noted);
        } else if self.noted == Some(!noted) {
            self.forget();
        }
    }

    /// The source namespace is this one: with another one a note has gone. The watch on what is in it shows that too,
    /// but perhaps later, and an entry must not be written before its note.
    pub(super) fn is_in(&mut self, place: Uid) {
        if self.place.replace(place).is_some_and(|before| before != place) && !mutants::has(Mutant::NoteTrusted) {
            self.forget();
            (self.failures, self.due) = (0, None);
        }
    }
}

impl Accounts {
    /// Whether to watch. What was asked for once is watched until nothing of it is left.
    pub(super) fn decide_watch(&mut self) {
        let is_watching = self.watching.is_some();
        let left = self.memory.is_noted() || (is_watching && (!self.memory.is_clear() || self.has_entries()));
        let wanted = self.sources_complete && (self.is_asked() || left);
        match (is_watching, wanted) {
            (false, true) => self.watch_anew(),
            (true, false) => {
                self.watching = None;
                self.namespaces.clear();
                self.namespaces_complete = false;
                self.listing = super::feeds::Listing::default();
                self.troubles.clear();
                self.scope.clear();
                let ids: Vec<_> = self.entries.keys().copied().collect();
                ids.into_iter().for_each(|id| self.remove(id));
            }
            _ => {}
        }
    }

    /// A list and watch that begins anew.
    pub(super) fn watch_anew(&mut self) {
        self.generation += 1;
        self.watching = Some(self.generation);
        (self.listing.complete, self.listing.since) = (false, self.now);
    }

    /// When nothing can be written any more of what had no reply: a list shows then whether it was. Only if that is all
    /// that is left; else the watch, or the next write, tells sooner or later.
    pub(super) fn doubt_ends(&self) -> Option<Moment> {
        if self.is_asked() || !self.is_ready() || self.entries.values().any(|entry| !entry.record.has_none()) {
            return None;
        }
        self.entries.values().filter_map(|entry| entry.doubt).max().map(|at| at.saturating_add(SERVER_LIMIT))
    }

    /// Reads the note, if it is not known: all that a standby does.
    pub(super) fn next_recall(&mut self) -> Option<Order> {
        if self.memory.noted.is_none() { self.next_note() } else { None }
    }

    /// Whether this process may write now.
    pub(super) fn may_write(&self) -> bool {
        self.licence.allows(self.now, lease::DEADLINE)
    }

    pub(super) fn on_lead(&mut self, lead: Lead) {
        if self.licence.set_lead(lead) {
            self.begins_to_lead();
        }
    }

    /// From now on this process writes; the one that did before may have written the note, or taken it away.
    pub(super) fn begins_to_lead(&mut self) {
        self.memory.forget();
        self.touch_all(Lane::Changed);
    }

    /// Reads or writes the note, if that is due.
    pub(super) fn next_note(&mut self) -> Option<Order> {
        if self.memory.under_way || self.memory.due.is_some_and(|due| self.now < due) {
            return None;
        }
        self.memory.due = None;
        let over = self.is_ready()
            && !self.is_asked()
            && !self.has_entries()
            && self.flights.is_empty()
            && self.memory.stays.is_none();
        let (flight, step) = match self.memory.noted {
            None => (Flight::Recall, Step::Recall),
            // Or it has gone, and what it tells of is there still.
            Some(false) if self.is_to_be_noted() => (Flight::Remember(true), Step::Remember(true)),
            Some(true) if over => {
                // From now on no entry may be written.
                self.memory.noted = None;
                (Flight::Remember(false), Step::Remember(false))
            }
            Some(_) => return None,
        };
        (self.memory.under_way, self.memory.outdated, self.memory.shown) = (true, false, None);
        Some(self.send(flight, step))
    }

    /// There is something to note, and where it is noted stands and stays.
    fn is_to_be_noted(&self) -> bool {
        !self.deletes_frozen && (!self.unnoted.is_empty() || (self.is_ready() && self.has_records()))
    }

    pub(super) fn note_done(&mut self, ordered: Option<bool>, result: Result<Reply, Fault>) {
        self.memory.under_way = false;
        match (result, ordered) {
            (Ok(_), _) if self.memory.outdated => {}
            (Ok(Reply::Recalled(noted)), None) | (Ok(_), Some(noted)) if self.memory.shown == Some(!noted) => {
                self.memory.forget();
            }
            (Ok(Reply::Recalled(noted)), None) => {
                self.memory.stays = noted.then(|| self.now.saturating_add(SERVER_LIMIT));
                self.noted(noted);
            }
            (Ok(_), Some(noted)) => self.noted(noted),
            (result, _) => {
                // Perhaps it was written all the same.
                self.memory.noted = None;
                self.memory.failures = self.memory.failures.saturating_add(1);
                let pause = match ordered {
                    // It may take effect until then, and entries must not be written meanwhile.
                    Some(false) => SERVER_LIMIT,
                    _ => self.rng.backoff(BACKOFF_FIRST, self.memory.failures, BACKOFF_CLUSTER),
                };
                self.memory.due = Some(self.now.saturating_add(pause));
                self.fault = result.err();
                self.all_dirty();
            }
        }
    }

    fn noted(&mut self, noted: bool) {
        (self.memory.noted, self.memory.failures) = (Some(noted), 0);
        if self.failures == 0 && self.fault.take().is_some() {
            self.all_dirty();
        }
        if noted {
            let waiting = std::mem::take(&mut self.unnoted);
            waiting.into_iter().for_each(|id| self.touch(id, Lane::Changed));
        }
    }
}
