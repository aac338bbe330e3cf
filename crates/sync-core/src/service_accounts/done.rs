//! What came of the orders.

use super::feeds::same;
use super::report::Why;
use super::{Accounts, ENTRIES, Fault, Flight, Lane, Patch, Reply};
use crate::core::{BACKOFF_CLUSTER, BACKOFF_FIRST, BACKOFF_PAIR, pause_asked};
use crate::mutants::{self, Mutant};
use crate::queue::Answer;

/// After so many lost races in a row it is said that there are any: a moment's trouble is not worth an Event.
const RACES: u8 = 4;

impl Accounts {
    pub(super) fn on_done(&mut self, id: u64, result: Result<Reply, Fault>) {
        match self.flights.remove(&id) {
            None => {}
            Some(Flight::Recall) => self.note_done(None, result),
            Some(Flight::Remember(noted)) => self.note_done(Some(noted), result),
            Some(Flight::Patch(patch)) => {
                let took = self.now.saturating_sub(patch.sent);
                let answer = match &result {
                    Ok(_) => Some(Answer::Other),
                    Err(fault) => Answer::of_failure(fault, took),
                };
                if let Some(answer) = answer {
                    self.queue.answered(self.now, patch.pair.dest, ENTRIES, answer);
                    self.note_unanswered();
                }
                self.queue.done(patch.pair);
                match result {
                    Ok(reply) => self.patched(*patch, reply),
                    Err(fault) => self.failed(*patch, fault),
                }
            }
        }
    }

    fn answered(&mut self) {
        (self.failures, self.paused_until) = (0, None);
        if self.fault.take().is_some() {
            self.all_dirty();
        }
    }

    fn patched(&mut self, patch: Patch, reply: Reply) {
        let Patch { account: id, change, before, .. } = patch;
        self.answered();
        let (prefix, now) = (self.prefix.clone(), self.now);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Reply::Tried = reply {
            (entry.failures, entry.trouble) = (0, Some((Why::Tried, change.sources.clone())));
            self.dirty.extend(change.sources.iter().cloned());
            entry.tried = Some(change);
        } else if let Reply::Patched { uid, rv } = reply
            && uid == entry.account.uid
        {
            let after = change.applied(&prefix, &before, rv);
            (entry.failures, entry.doubt) = (0, None);
            entry.writes.push(now);
            if entry.account.rv < rv {
                (entry.account, entry.record, entry.echo) = (after, change.record, Some((rv, change.sources)));
            } else if entry.account.rv == rv && !same(&entry.account, &after) {
                entry.mutated = true;
                entry.give_way(now, &mut self.rng, Why::Mutated, &change.sources);
                self.dirty.extend(change.sources);
            }
        }
        self.touch(id, Lane::Drift);
    }

    fn failed(&mut self, patch: Patch, fault: Fault) {
        let Patch { account: id, pair, change, before, .. } = patch;
        let of_all = fault.is_of_the_cluster()
            || matches!(fault, Fault::Forbidden(_))
            || mutants::has(Mutant::EntryFailureSpreads);
        match of_all {
            true => self.all_failed(&fault),
            false => self.answered(),
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.failures = entry.failures.saturating_add(1);
        let race = matches!(
            fault,
            Fault::LostRace | Fault::Conflict | Fault::NotFound | Fault::NamespaceMissing | Fault::NamespaceTerminating
        );
        // A watch has shown already why.
        let heard = entry.account.rv > before.rv;
        let failures = entry.failures;
        if fault.leaves_in_doubt() && !heard {
            entry.doubt = Some(self.now);
        }
        if !of_all && (!race || failures >= RACES) {
            self.dirty.extend(change.sources.iter().cloned());
            entry.trouble = Some((Why::Failed(fault), change.sources));
        }
        if race && heard && failures < RACES {
            return self.touch(id, Lane::Drift);
        }
        let pause = self.rng.backoff(BACKOFF_FIRST, failures, BACKOFF_PAIR);
        self.queue.push_later(pair, self.now.saturating_add(pause));
    }

    /// A right is missing, or the server does not answer: one request at a time, more and more slowly.
    fn all_failed(&mut self, fault: &Fault) {
        if self.paused_until.is_none_or(|until| until <= self.now) {
            self.failures = self.failures.saturating_add(1);
            let pause = match fault {
                Fault::Throttled(asked @ Some(_)) => pause_asked(*asked),
                _ => self.rng.backoff(BACKOFF_FIRST, self.failures, BACKOFF_CLUSTER),
            };
            self.paused_until = Some(self.now.saturating_add(pause));
        }
        self.fault = Some(fault.clone());
        self.all_dirty();
    }
}
