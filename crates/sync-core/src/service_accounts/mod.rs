//! The `imagePullSecrets` of ServiceAccounts: which of our Secrets they list, for sources that ask for it.
//!
//! A state machine without I/O and without a clock, beside [`Core`](crate::core::Core) and like it: it is fed
//! ([`Accounts::on`]), says what to send ([`Accounts::next`]) and when to wake it. What is to be done about one
//! ServiceAccount is decided by [`plan::plan`].
//!
//! - **Nothing is watched unless a source asks for it**, or something of ours is left to take out. Because a restart
//!   must know of that, it is noted in our own ConfigMap before the first entry is written, and after the last one went.
//!   It is read at the start ([`Step::Recall`]), and again if the watch on the source namespace shows something else
//!   ([`SourceNews::Noted`]).
//! - **Entries go before the Secret**: the news that a source is off passes through here to the engine, and is held
//!   until they are out, but not for long (`gate.rs`).
//! - Only ServiceAccounts that are asked for, or carry our record, are kept in memory.

mod done;
mod feeds;
mod gate;
mod memory;
#[cfg(test)]
mod model_tests;
pub mod plan;
pub mod record;
#[cfg(test)]
mod recovery_tests;
mod report;
mod settle;
#[cfg(test)]
mod situation_tests;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod tests_support;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::contract::object::{Rv, SourceKey, Uid};
use crate::contract::patterns::Patterns;
use crate::contract::rules::Rules;
use crate::core::{NamespaceNews, rivals};
use crate::fault::Fault;
use crate::index::feed::{Feed, Moment};
use crate::index::news::SourceNews;
use crate::index::pairs::{DestId, Pair, SourceId};
use crate::lease::{Lead, Licence};
use crate::queue::{Class, Lane, Queue};
use crate::rng::Rng;
use plan::{Account, Change};
use record::Record;
pub use report::GRANT;
use wishes::Standing;

/// Requests under way at once: a fan-out of copies is not to be held up by this.
const AT_ONCE: usize = 8;
/// All writes here are of ServiceAccounts.
const ENTRIES: Class = Class(0);
/// A server ends a request after this time (kube-apiserver's `--request-timeout`): a write whose reply was lost may take
/// effect until then.
const SERVER_LIMIT: Duration = Duration::from_secs(60);
/// So many times in [`rivals::WINDOW`] an entry is restored at once; after that with the pauses of a replica.
const RESTORATIONS: usize = 3;

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// What the sources want; [`Accounts::take_news`] passes it on.
    Sources(SourceNews),
    /// The cluster's namespaces.
    Namespaces(NamespaceNews),
    /// Its ServiceAccounts.
    Account(Feed<Account>),
    /// The watch of this name has failed, or works again.
    Watch(&'static str, Result<(), Fault>),
    /// An order was carried out, or not.
    Done(u64, Result<Reply, Fault>),
    /// Whether anything may be written; until the first of these, always.
    Lead(Lead),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Order {
    /// Names the order in its result.
    pub id: u64,
    /// What to ask for.
    pub step: Step,
}

/// The request.
#[derive(Clone, Debug)]
pub enum Step {
    /// Read the note in our ConfigMap.
    Recall,
    /// Write the note that ServiceAccounts list our Secrets, or take it away.
    Remember(bool),
    /// PATCH of a ServiceAccount, `application/json-patch+json`.
    Patch {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Complete.
        body: Bytes,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recall => f.write_str("look for our note"),
            Self::Remember(true) => f.write_str("note that ServiceAccounts list our Secrets"),
            Self::Remember(false) => f.write_str("note that none does"),
            Self::Patch { namespace, name, .. } => write!(f, "patch ServiceAccount {namespace}/{name}"),
        }
    }
}

/// The answer to an order that succeeded.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// Whether the note is there.
    Recalled(bool),
    /// It is, or is not, as ordered.
    Remembered,
    /// A dry run: it would be as ordered.
    Tried,
    /// The ServiceAccount now.
    Patched {
        /// Its uid.
        uid: Uid,
        /// Its resourceVersion.
        rv: Rv,
    },
}

/// What is known of one ServiceAccount.
#[derive(Debug)]
struct Entry {
    account: Account,
    record: Record,
    pair: Pair,
    failures: u8,
    /// The version that our last write made, and for which sources, until its event has come.
    echo: Option<(Rv, Vec<Arc<str>>)>,
    /// A write had no reply at that time, and may take effect on this version still.
    doubt: Option<Moment>,
    /// Admission changed what we wrote: nothing is written to this version until then.
    mutated: bool,
    /// When we wrote what the sources want of it now.
    writes: Vec<Moment>,
    /// How often in a row we have given way to somebody who undoes what we write, and until when.
    contests: u8,
    until: Moment,
    /// Entries that are not selected any more, and until when they stay.
    leaving: BTreeMap<Arc<str>, wishes::Leaves>,
    /// The sources that something is to be done for.
    pending: Vec<Arc<str>>,
    tried: Option<Change>,
    /// What went wrong last, and for which sources.
    trouble: Option<(report::Why, Vec<Arc<str>>)>,
}

impl Entry {
    /// Somebody undoes what we write: no war, but another try later.
    fn give_way(&mut self, now: Moment, rng: &mut Rng, why: report::Why, sources: &[Arc<str>]) {
        self.contests = self.contests.saturating_add(1);
        self.until = now.saturating_add(rng.backoff(rivals::FIRST, self.contests, rivals::LONGEST));
        self.trouble = Some((why, sources.to_vec()));
    }
}

#[derive(Debug)]
enum Flight {
    Recall,
    Remember(bool),
    Patch(Box<Patch>),
}

#[derive(Debug)]
struct Patch {
    account: u32,
    pair: Pair,
    change: Change,
    /// What it was made for.
    before: Account,
    sent: Moment,
}

/// The state machine.
#[derive(Debug)]
pub struct Accounts {
    rules: Arc<Rules>,
    /// What origins of ours begin with.
    prefix: String,
    /// Of the last call.
    now: Moment,
    rng: Rng,
    sources: BTreeMap<Arc<str>, Standing>,
    sources_complete: bool,
    origin_uid: Option<Uid>,
    deletes_frozen: bool,
    asked: BTreeSet<Arc<str>>,
    /// Off, and nothing more will be told of them.
    forgotten: BTreeSet<Arc<str>>,
    asks: Vec<(SourceKey, bool)>,
    namespaces: BTreeMap<String, feeds::Namespace>,
    namespaces_complete: bool,
    ids: BTreeMap<(String, String), u32>,
    entries: BTreeMap<u32, Entry>,
    listing: feeds::Listing,
    next_id: u32,
    /// Which ServiceAccounts are kept, beside those with our record.
    scope: Vec<Patterns>,
    /// The list and watch that is wanted, numbered.
    watching: Option<u64>,
    generation: u64,
    memory: memory::Memory,
    /// They wait until our note is written.
    unnoted: BTreeSet<u32>,
    queue: Queue,
    flights: BTreeMap<u64, Flight>,
    next_order: u64,
    paused_until: Option<Moment>,
    fault: Option<Fault>,
    failures: u8,
    /// Watches that fail.
    troubles: BTreeMap<&'static str, Fault>,
    /// How many ServiceAccounts something is to be done at, for each source.
    pending: BTreeMap<Arc<str>, u32>,
    gate: gate::Gate,
    /// Sources of which something may be to report.
    dirty: BTreeSet<Arc<str>>,
    licence: Licence,
}

impl Accounts {
    /// Knows nothing yet. Equal seeds give equal jitter.
    pub fn new(rules: Arc<Rules>, seed: u64) -> Self {
        Self {
            prefix: rules.origin_prefix(),
            rules,
            now: Moment::ZERO,
            rng: Rng::new(seed),
            sources: BTreeMap::new(),
            sources_complete: false,
            origin_uid: None,
            deletes_frozen: true,
            asked: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            asks: Vec::new(),
            namespaces: BTreeMap::new(),
            namespaces_complete: false,
            ids: BTreeMap::new(),
            entries: BTreeMap::new(),
            listing: feeds::Listing::default(),
            next_id: 0,
            scope: Vec::new(),
            watching: None,
            generation: 0,
            memory: memory::Memory::default(),
            unnoted: BTreeSet::new(),
            queue: Queue::new(AT_ONCE, true),
            flights: BTreeMap::new(),
            next_order: 0,
            paused_until: None,
            fault: None,
            failures: 0,
            troubles: BTreeMap::new(),
            pending: BTreeMap::new(),
            gate: gate::Gate::default(),
            dirty: BTreeSet::new(),
            licence: Licence::default(),
        }
    }

    /// Takes in what happened.
    pub fn on(&mut self, now: Moment, input: Input) {
        self.now = now;
        match input {
            Input::Sources(news) => self.on_sources(news),
            Input::Namespaces(news) => self.on_namespaces(news),
            Input::Account(feed) => self.on_account(feed),
            Input::Watch(watch, result) => self.on_watch(watch, result),
            Input::Done(id, result) => self.on_done(id, result),
            Input::Lead(lead) => self.on_lead(lead),
        }
        self.drop_forgotten();
        self.decide_watch();
    }

    /// The next request to make, if one is due and there is a slot for it.
    pub fn next(&mut self, now: Moment) -> Option<Order> {
        self.now = now;
        self.memory.pass(now);
        if self.doubt_ends().is_some_and(|at| at <= now) {
            self.watch_anew();
        }
        if !self.may_write() {
            return self.next_recall();
        }
        if let Some(order) = self.next_note() {
            return Some(order);
        }
        if !self.is_ready() || self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        let limit = if self.failures > 0 { 1 } else { AT_ONCE };
        loop {
            // What waits for our note may have just been found.
            let Some((pair, lane)) = self.queue.pop(now, limit, |_| ENTRIES) else { return self.next_note() };
            let id = pair.source.0;
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.mutated &= now < entry.until;
            }
            if let Some(change) = self.decide(id)
                && let Some(order) = self.order(id, lane, change)
            {
                return Some(order);
            }
            self.queue.done(pair);
            if self.decide(id).is_none() {
                self.settle(id);
            }
        }
    }

    fn order(&mut self, id: u32, lane: Lane, change: Change) -> Option<Order> {
        if !change.append.is_empty() && !self.memory.is_noted() {
            self.unnoted.insert(id);
            return None;
        }
        let now = self.now;
        let entry = self.entries.get_mut(&id)?;
        entry.writes.retain(|at| now.saturating_sub(*at) < rivals::WINDOW);
        if entry.contests > 0 && now >= entry.until.saturating_add(rivals::WINDOW) {
            entry.contests = 0;
        }
        if (entry.contests > 0 || entry.writes.len() > RESTORATIONS) && lane != Lane::Retry {
            entry.give_way(now, &mut self.rng, report::Why::Contested, &change.sources);
            let (pair, until) = (entry.pair, entry.until);
            self.dirty.extend(change.sources);
            self.queue.done(pair);
            self.queue.push_later(pair, until);
            return None;
        }
        let before = entry.account.clone();
        let (namespace, name) = (before.namespace.clone(), before.name.clone());
        let body = Bytes::from(change.body(&self.prefix, &before));
        let flight = Flight::Patch(Box::new(Patch { account: id, pair: entry.pair, change, before, sent: now }));
        Some(self.send(flight, Step::Patch { namespace, name, body }))
    }

    fn send(&mut self, flight: Flight, step: Step) -> Order {
        let id = self.next_order;
        self.next_order += 1;
        self.flights.insert(id, flight);
        Order { id, step }
    }

    /// When [`Accounts::next`] or [`Accounts::take_news`] may have something although nothing has happened.
    pub fn wake_at(&self) -> Option<Moment> {
        let waiting = self.paused_until.filter(|_| self.queue.has_waiting());
        let delayed = self.queue.wake_at().map(|at| at.max(self.paused_until.unwrap_or_default()));
        let queue = waiting.or(delayed).filter(|_| self.is_ready() && self.may_write());
        let others = [self.memory.wake_at(), self.gate.wake_at(), self.doubt_ends()];
        queue.into_iter().chain(others.into_iter().flatten()).min()
    }

    /// The list and watch on ServiceAccounts that is wanted. Another number asks for another list.
    pub const fn watching(&self) -> Option<u64> {
        self.watching
    }

    /// Sources that are unknown although ServiceAccounts list them; the second is whether the record says that it was a
    /// master's replica.
    pub fn take_asks(&mut self) -> Vec<(SourceKey, bool)> {
        std::mem::take(&mut self.asks)
    }

    fn is_ready(&self) -> bool {
        self.watching.is_some() && self.sources_complete && self.namespaces_complete && self.listing.complete
    }
}

/// The pair that a ServiceAccount waits as: the queue's limit for one destination is one for its namespace.
fn pair(id: u32, namespace: &str) -> Pair {
    Pair { source: SourceId(id), dest: destination(namespace) }
}

/// A number for a namespace, which two may seldom share.
fn destination(namespace: &str) -> DestId {
    let hash = |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    DestId(namespace.bytes().fold(0x811c_9dc5, hash))
}
