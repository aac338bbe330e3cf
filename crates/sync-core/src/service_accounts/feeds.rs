//! What the watches bring.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::Account;
use super::{Accounts, Entry, Fault, Feed, Lane, Moment, NamespaceNews, Rv, SERVER_LIMIT, destination, pair, report};
use crate::core::NamespaceKnown;
use crate::index::feed::Labels;
use crate::plan::Destination;

#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) state: Destination,
    pub(super) labels: Labels,
}

/// The list of ServiceAccounts that is under way or was last complete.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) complete: bool,
    /// When it was asked for.
    pub(super) since: Moment,
    seen: Option<BTreeSet<u32>>,
    /// Those of the present list that are older than what we know of them: right if the store was restored.
    older: BTreeMap<u32, Account>,
    /// The watch has shown everything up to this version.
    shown: Rv,
}

impl Accounts {
    pub(super) fn on_watch(&mut self, watch: &'static str, result: Result<(), Fault>) {
        match result {
            Ok(()) => drop(self.troubles.remove(watch)),
            Err(fault) => drop(self.troubles.insert(watch, fault)),
        }
        self.all_dirty();
    }

    pub(super) fn on_namespaces(&mut self, news: NamespaceNews) {
        match news {
            NamespaceNews::All(all) => {
                let each = all
                    .into_iter()
                    .map(|known| (known.name.to_string(), Namespace { state: known.state, labels: known.labels }));
                self.namespaces = each.collect();
                self.namespaces_complete = true;
                self.touch_all(Lane::Changed);
            }
            NamespaceNews::One(known) => self.namespace_applied(known),
            // What is in it is gone, as the watch tells.
            NamespaceNews::Gone(name) => {
                self.namespaces.remove(&*name);
                self.queue.forget_silence(destination(&name));
            }
        }
    }

    fn namespace_applied(&mut self, known: NamespaceKnown) {
        let NamespaceKnown { name, state, labels } = known;
        let name = name.to_string();
        let old = self.namespaces.get(&name);
        if old.is_some_and(|old| old.state == state && old.labels == labels) {
            return;
        }
        self.namespaces.insert(name.clone(), Namespace { state, labels });
        // Webhooks are asked by the labels of a namespace.
        self.queue.forget_silence(destination(&name));
        let first = (name.clone(), String::new());
        let inside = self.ids.range(first..).take_while(|((namespace, _), _)| *namespace == name);
        let ids: Vec<_> = inside.map(|(_, id)| *id).collect();
        for id in ids {
            self.wants_anew(id);
            self.touch(id, Lane::NewNamespace);
        }
    }

    pub(super) fn on_account(&mut self, feed: Feed<Account>) {
        match feed {
            Feed::Init => (self.listing.seen, self.listing.older) = (Some(BTreeSet::new()), BTreeMap::new()),
            Feed::Listed(account) => {
                let known = self.known(&account);
                let newer =
                    known.and_then(|id| self.entries.get(&id)).is_some_and(|known| known.account.rv > account.rv);
                let id = match known {
                    Some(id) if newer => {
                        self.listing.older.insert(id, account);
                        Some(id)
                    }
                    _ => {
                        self.is_newer(known);
                        self.account_applied(account, Lane::Changed)
                    }
                };
                if let (Some(seen), Some(id)) = (&mut self.listing.seen, id) {
                    seen.insert(id);
                }
            }
            Feed::Applied(account) => {
                self.listing.shown = self.listing.shown.max(account.rv);
                let lane = if self.known(&account).is_some() { Lane::Drift } else { Lane::NewNamespace };
                self.account_applied(account, lane);
            }
            Feed::Gone(account) => {
                self.listing.shown = self.listing.shown.max(account.rv);
                let id = self.known(&account);
                self.is_newer(id);
                let known = id.and_then(|id| Some((id, self.entries.get(&id)?.account.uid)));
                if let Some((id, uid)) = known
                    && uid == account.uid
                {
                    self.remove(id);
                }
            }
            Feed::InitDone(list) => self.accounts_listed(list),
        }
    }

    /// What the list has shown of this one before is no longer so.
    fn is_newer(&mut self, id: Option<u32>) {
        if let Some(id) = id {
            self.listing.older.remove(&id);
        }
    }

    fn accounts_listed(&mut self, list: Rv) {
        let seen = self.listing.seen.take().unwrap_or_default();
        let older = std::mem::take(&mut self.listing.older);
        // The store may have been put back to an earlier time: versions begin anew, or go on far above, as for replicas.
        let restored = list < self.listing.shown;
        (self.listing.shown, self.listing.complete) = (list, true);
        let is_gone = |(id, entry): &(&u32, &Entry)| !seen.contains(*id) && (restored || entry.account.rv <= list);
        let gone: Vec<_> = self.entries.iter().filter(is_gone).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.remove(id));
        for (id, account) in older {
            if restored || self.entries.get(&id).is_some_and(|entry| entry.account.rv <= list) {
                self.remove(id);
                self.account_applied(account, Lane::Changed);
            }
        }
        let since = self.listing.since;
        for entry in self.entries.values_mut() {
            entry.doubt = entry.doubt.filter(|doubt| doubt.saturating_add(SERVER_LIMIT) > since);
        }
        self.is_well("serviceaccounts");
        self.paused_until = None;
        self.touch_all(Lane::Changed);
    }

    /// A list is a sign of life, of those watches that have not reported it themselves yet.
    fn is_well(&mut self, watch: &'static str) {
        if self.troubles.remove(watch).is_some() {
            self.all_dirty();
        }
    }

    fn number(&mut self) -> u32 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    fn known(&self, account: &Account) -> Option<u32> {
        self.ids.get(&(account.namespace.clone(), account.name.clone())).copied()
    }

    fn account_applied(&mut self, account: Account, lane: Lane) -> Option<u32> {
        let record = self.read_record(account.added.as_deref());
        if let Some(id) = self.known(&account) {
            if self.entries.get(&id).is_some_and(|known| known.account.uid == account.uid) {
                self.account_changed(id, account);
                self.touch(id, lane);
                return Some(id);
            }
            // Another of that name: what was known is of the one that went.
            self.remove(id);
        }
        if account.namespace == self.rules.source_namespace || !self.is_of_interest(&account.name, &record) {
            return None;
        }
        let id = self.number();
        self.ids.insert((account.namespace.clone(), account.name.clone()), id);
        let pair = pair(id, &account.namespace);
        let entry = Entry {
            account,
            record,
            pair,
            failures: 0,
            echo: None,
            doubt: None,
            mutated: false,
            writes: Vec::new(),
            contests: 0,
            until: Moment::ZERO,
            leaving: BTreeMap::new(),
            pending: Vec::new(),
            tried: None,
            trouble: None,
        };
        self.entries.insert(id, entry);
        self.touch(id, lane);
        Some(id)
    }

    fn account_changed(&mut self, id: u32, account: Account) {
        let record = self.read_record(account.added.as_deref());
        let Some(known) = self.entries.get_mut(&id).filter(|known| known.account.rv <= account.rv) else { return };
        // At equality the event: it shows what admission made of our write.
        if let Some((rv, sources)) = known.echo.take_if(|(rv, _)| *rv <= account.rv)
            && rv == account.rv
            && !same(&known.account, &account)
        {
            known.mutated = true;
            known.give_way(self.now, &mut self.rng, report::Why::Mutated, &sources);
            self.dirty.extend(sources);
        }
        if known.account.rv < account.rv {
            // A write of the version before cannot take effect any more.
            known.doubt = None;
            // And it is no longer what admission made of it.
            known.mutated = false;
        }
        (known.account, known.record) = (account, record);
    }
}

/// Whether what we write there is the same.
pub(super) fn same(a: &Account, b: &Account) -> bool {
    a.pull_secrets == b.pull_secrets && a.added == b.added
}
