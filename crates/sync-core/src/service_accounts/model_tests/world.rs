//! The server, the people and the process.

use serde_json::{Value, json};

use super::super::tests_support::{PREFIX, patched, read, stored, uid};
use super::super::*;
use super::{Act, NAMES, NAMESPACES, Outcome, SOURCES, on, rules, template};
use crate::contract::keys;
use crate::contract::object::Kind;
use crate::contract::options::OnDelete;
use crate::core::NamespaceKnown;
use crate::index::feed::Labels;
use crate::plan::Destination;
use crate::plan::Want;
use crate::reason::Reason;

/// The server, the people and the process.
pub(super) struct World {
    pub(super) accounts: BTreeMap<(&'static str, &'static str), Value>,
    /// Entries that others wrote, by account and name.
    pub(super) theirs: BTreeMap<(&'static str, &'static str, String), usize>,
    pub(super) namespaces: BTreeMap<&'static str, (Destination, Labels)>,
    pub(super) wants: BTreeMap<&'static str, Want>,
    pub(super) note: bool,
    pub(super) rv: u64,
    uids: u8,
    now: Moment,
    pub(super) machine: Accounts,
    /// The list that the machine has been given.
    generation: Option<u64>,
    events: Vec<Event>,
    late: Vec<(u64, Result<Reply, Fault>)>,
    ghosts: Vec<(Moment, Step)>,
}

pub(super) fn recorded(account: &Account) -> Record {
    Record::parse(PREFIX, account.added.as_deref().unwrap_or_default())
}

#[derive(Clone)]
enum Event {
    Account(Feed<Account>),
    Namespaces(NamespaceNews),
}

impl World {
    pub(super) fn new() -> Self {
        let open = || (Destination::Open, Labels::from([("team".to_owned(), "x".to_owned())]));
        let mut world = Self {
            accounts: BTreeMap::new(),
            theirs: BTreeMap::new(),
            namespaces: NAMESPACES.into_iter().map(|name| (name, open())).collect(),
            wants: BTreeMap::new(),
            note: false,
            rv: 10,
            uids: 20,
            now: Moment::ZERO,
            machine: Accounts::new(Arc::new(rules()), 1),
            generation: None,
            events: Vec::new(),
            late: Vec::new(),
            ghosts: Vec::new(),
        };
        for namespace in NAMESPACES {
            for name in NAMES {
                world.edit((namespace, name), 1);
            }
        }
        world.start();
        world.act(&Act::Source(0, 2));
        world
    }

    pub(super) fn input(&mut self, input: Input) {
        self.machine.on(self.now, input);
        self.after();
    }

    pub(super) fn start(&mut self) {
        self.machine = Accounts::new(Arc::new(rules()), self.rv);
        // Whoever closes a connection ends what is under way on it.
        (self.generation, self.events, self.late, self.ghosts) = (None, Vec::new(), Vec::new(), Vec::new());
        self.input(Input::Sources(SourceNews::Namespace { uid: Some(uid(9)), deletes_frozen: false }));
        for (name, want) in self.wants.clone() {
            self.tell(name, want);
        }
        self.input(Input::Sources(SourceNews::Complete));
    }

    pub(super) fn tell(&mut self, name: &'static str, want: Want) {
        let key = SourceKey { kind: Kind::Secret, name: name.into() };
        self.input(Input::Sources(SourceNews::Want(key, want)));
    }

    /// What a driver does after each input.
    pub(super) fn after(&mut self) {
        self.machine.take_news(self.now);
        self.machine.take_reports();
        for (key, _) in self.machine.take_asks() {
            let name = SOURCES.into_iter().find(|name| **name == *key.name).expect("one of ours");
            assert!(!self.wants.contains_key(name), "{name} is known");
            self.tell(name, Want::Off(None));
        }
        if self.machine.watching() != self.generation {
            self.generation = self.machine.watching();
            self.events.clear();
            if self.generation.is_some() {
                self.list();
            }
        }
    }

    pub(super) fn list(&mut self) {
        let version = Rv(self.rv);
        let all = self.namespaces.keys().map(|name| self.seen(name)).collect();
        self.events.push(Event::Namespaces(NamespaceNews::All(all)));
        self.events.push(Event::Account(Feed::Init));
        self.events.extend(self.accounts.values().map(|account| Event::Account(Feed::Listed(read(account)))));
        self.events.push(Event::Account(Feed::InitDone(version)));
    }

    pub(super) fn seen(&self, name: &str) -> NamespaceKnown {
        let (state, labels) = self.namespaces[name].clone();
        NamespaceKnown { name: name.into(), state, labels }
    }

    fn event(&mut self, event: Event) {
        if self.generation.is_some() {
            self.events.push(event);
        }
    }

    /// An object in its next version.
    pub(super) fn store(&mut self, key: (&'static str, &'static str), mut account: Value) -> Account {
        self.rv += 1;
        account["metadata"]["resourceVersion"] = self.rv.to_string().into();
        let seen = read(&account);
        self.accounts.insert(key, account);
        self.event(Event::Account(Feed::Applied(seen.clone())));
        seen
    }

    pub(super) fn their(&mut self, key: (&'static str, &'static str), name: &str) -> &mut usize {
        self.theirs.entry((key.0, key.1, name.to_owned())).or_default()
    }

    pub(super) fn edit(&mut self, key: (&'static str, &'static str), how: u8) {
        let Some(account) = self.accounts.get(&key).cloned() else {
            let mut account = stored(&["theirs"], &[]);
            self.uids = self.uids.wrapping_add(1);
            account["metadata"]["namespace"] = key.0.into();
            account["metadata"]["name"] = key.1.into();
            account["metadata"]["uid"] = uid(self.uids).to_string().into();
            self.theirs.retain(|(namespace, name, _), _| (*namespace, *name) != key);
            *self.their(key, "theirs") = 1;
            self.store(key, account);
            return;
        };
        let seen = read(&account);
        match how {
            0 => {
                self.rv += 1;
                let mut gone = seen;
                gone.rv = Rv(self.rv);
                self.accounts.remove(&key);
                self.event(Event::Account(Feed::Gone(gone)));
            }
            // Somebody lists a Secret of a source's name, or of another.
            1..=3 => {
                let name = if how == 1 { "a" } else { "other" };
                let mut names: Vec<_> = seen.pull_secrets.iter().map(String::as_str).collect();
                names.insert(usize::from(self.rv.is_multiple_of(2)).min(names.len()), name);
                // Who writes again what the record says is ours has restored it.
                let ours = recorded(&seen).get(name).is_some() && !seen.pull_secrets.iter().any(|entry| entry == name);
                *self.their(key, name) += usize::from(!ours);
                self.set(key, account, &names);
            }
            // Somebody takes one out.
            4..=7 => {
                let name = if how < 7 { "a" } else { "b" };
                let Some(place) = seen.pull_secrets.iter().position(|entry| entry == name) else { return };
                let mut names: Vec<_> = seen.pull_secrets.iter().map(String::as_str).collect();
                names.remove(place);
                let theirs = self.their(key, name);
                *theirs = theirs.saturating_sub(1);
                self.set(key, account, &names);
            }
            // Something else about it.
            _ => {
                let mut account = account;
                account["metadata"]["labels"]["x"] = self.rv.to_string().into();
                self.store(key, account);
            }
        }
    }

    pub(super) fn set(&mut self, key: (&'static str, &'static str), mut account: Value, names: &[&str]) {
        account["imagePullSecrets"] = names.iter().map(|name| json!({ "name": name })).collect();
        if names.is_empty() {
            account.as_object_mut().unwrap().remove("imagePullSecrets");
        }
        self.store(key, account);
    }

    /// Carries out a request, and checks it against what the people want and wrote.
    pub(super) fn serve(&mut self, step: &Step) -> Result<Reply, Fault> {
        let (namespace, name, body) = match step {
            Step::Recall => return Ok(Reply::Recalled(self.note)),
            Step::Remember(noted) => {
                let any = |account: &Value| !recorded(&read(account)).has_none();
                assert!(*noted || !self.accounts.values().any(any), "the note goes last");
                self.note = *noted;
                return Ok(Reply::Remembered);
            }
            Step::Patch { namespace, name, body } => (namespace, name, body),
        };
        let found = self.accounts.iter().find(|((ns, of), _)| ns == namespace && of == name);
        let Some((key, account)) = found.map(|(key, account)| (*key, account.clone())) else {
            return Err(Fault::NotFound);
        };
        let new = patched(&account, body);
        if new.is_null() {
            return Err(Fault::LostRace);
        }
        let (old, new_read) = (read(&account), read(&new));
        let listed = |account: &Account, name: &str| account.pull_secrets.iter().filter(|entry| *entry == name).count();
        for source in SOURCES {
            let theirs = self.theirs.get(&(key.0, key.1, source.to_owned())).copied().unwrap_or_default();
            let (before, after) = (listed(&old, source), listed(&new_read, source));
            assert!(after >= theirs, "an entry of somebody else's went: {source} of {old:?}");
            assert!(after <= before || self.note, "an entry came before the note");
            assert!(after <= before + 1);
            if after < before {
                assert!(recorded(&old).get(source).is_some(), "not recorded");
            }
            if after == before && recorded(&old).get(source).is_some() && recorded(&new_read).get(source).is_none() {
                // Released: it is theirs from now on, if it is there.
                *self.their(key, source) = after;
            }
        }
        let others = |account: &Account| {
            let is_other = |entry: &&String| !SOURCES.contains(&entry.as_str());
            account.pull_secrets.iter().filter(is_other).cloned().collect::<Vec<_>>()
        };
        assert_eq!(others(&old), others(&new_read), "others and their order");
        let seen = self.store(key, new);
        Ok(Reply::Patched { uid: seen.uid, rv: seen.rv })
    }

    pub(super) fn act(&mut self, act: &Act) {
        match act {
            Act::Source(n, how) => {
                let name = SOURCES[*n];
                let pull = |patterns| (keys::IMAGE_PULL_SECRET, patterns);
                let selector = (keys::NAMESPACE_SELECTOR, "team=x");
                let want = match how {
                    0 | 1 => on(name, &[pull("default")]),
                    2 | 6 => on(name, &[pull("*")]),
                    3 => on(name, &[pull("builder"), selector]),
                    4 => on(name, &[pull("default"), (keys::ON_DELETE, "retain")]),
                    5 => on(name, &[]),
                    7 => Want::Frozen(Arc::new(template(name, &[pull("*")]).desired(uid(9)))),
                    8 => Want::Leaving(Reason::Leaving),
                    9 => Want::Off(Some(OnDelete::Retain)),
                    10 => Want::Off(None),
                    _ => Want::Off(Some(OnDelete::Delete)),
                };
                self.wants.insert(name, want.clone());
                self.tell(name, want);
            }
            Act::Account(ns, name, how) => self.edit((NAMESPACES[*ns], NAMES[*name]), *how),
            Act::Namespace(ns, how) => {
                let labels = match how {
                    0 => Labels::new(),
                    _ => Labels::from([("team".to_owned(), "x".to_owned())]),
                };
                let state = if *how == 1 { Destination::Excluded } else { Destination::Open };
                self.rv += 1;
                self.namespaces.insert(NAMESPACES[*ns], (state, labels));
                self.event(Event::Namespaces(NamespaceNews::One(self.seen(NAMESPACES[*ns]))));
            }
            Act::Deliver => {
                if !self.events.is_empty() {
                    let input = match self.events.remove(0) {
                        Event::Account(feed) => Input::Account(feed),
                        Event::Namespaces(news) => Input::Namespaces(news),
                    };
                    self.input(input);
                }
            }
            Act::Send(outcome) => self.send(*outcome),
            Act::Pass(millis) => {
                if millis % 2 == 0 {
                    self.ghosts_act();
                }
                self.now += Duration::from_millis((*millis).into());
                self.after();
            }
            Act::Restart => self.start(),
        }
    }

    pub(super) fn ghosts_act(&mut self) {
        for (until, step) in std::mem::take(&mut self.ghosts) {
            if self.now < until {
                let _nobody_hears = self.serve(&step);
            }
        }
    }

    pub(super) fn send(&mut self, outcome: Outcome) {
        if outcome != Outcome::Late
            && let Some((id, result)) = self.late.pop()
        {
            self.input(Input::Done(id, result));
        }
        let order = self.machine.next(self.now);
        self.after();
        let Some(order) = order else { return };
        self.check(&order.step);
        // Whether others are answered is another matter.
        let no_answer = Err(match order.id % 2 {
            0 => Fault::NoAnswer("gone".into()),
            _ => Fault::Hangs("gone".into()),
        });
        let result = match outcome {
            Outcome::Done | Outcome::Late => self.serve(&order.step),
            Outcome::LostReply => self.serve(&order.step).and(no_answer),
            Outcome::NeverSent => no_answer,
            // A note that nobody needs is taken away by the next process.
            Outcome::Ghost if matches!(order.step, Step::Remember(true)) => no_answer,
            Outcome::Ghost => {
                self.ghosts.push((self.now + SERVER_LIMIT, order.step));
                no_answer
            }
            Outcome::Forbidden => Err(Fault::Forbidden("serviceaccounts".into())),
            Outcome::Rejected => Err(Fault::Rejected("policy".into())),
        };
        if outcome == Outcome::Late {
            self.late.push((order.id, result));
        } else {
            self.input(Input::Done(order.id, result));
        }
    }

    /// No more faults, and nobody does anything.
    pub(super) fn settle(&mut self) {
        self.ghosts_act();
        let mut quiet = 0;
        for _ in 0..10_000 {
            let before = (self.rv, self.note, self.events.len(), self.machine.flights.len());
            while !self.events.is_empty() {
                self.act(&Act::Deliver);
            }
            self.send(Outcome::Done);
            quiet = if before == (self.rv, self.note, self.events.len(), self.machine.flights.len()) {
                quiet + 1
            } else {
                0
            };
            match self.machine.wake_at() {
                None if quiet > 3 => return,
                Some(at) if quiet > 3 => {
                    self.now = self.now.max(at);
                    self.after();
                    quiet = 0;
                }
                _ => {}
            }
        }
        panic!("it does not come to rest");
    }
}
