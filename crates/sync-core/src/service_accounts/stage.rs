//! One ServiceAccount, one namespace, and whatever a test lets happen.

use serde_json::Value;

use super::model_tests::{on, rules};
use super::tests_support::{PREFIX, patched, read, stored, uid};
use super::*;
use crate::contract::keys;
use crate::contract::object::Kind;
use crate::core::NamespaceKnown;
use crate::plan::Destination;
use crate::plan::Want;
use crate::reason::Reason;

pub(super) const OPTION: &[(&str, &str)] = &[(keys::IMAGE_PULL_SECRET, "default")];
pub(super) const S: Duration = Duration::from_secs(1);

pub(super) struct Stage {
    pub(super) machine: Accounts,
    pub(super) now: Moment,
    pub(super) account: Value,
    pub(super) version: u64,
}

pub(super) fn key(name: &str) -> SourceKey {
    SourceKey { kind: Kind::Secret, name: name.into() }
}

pub(super) fn namespace(state: Destination, labels: &[(&str, &str)]) -> NamespaceKnown {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    NamespaceKnown { name: "app".into(), state, labels }
}

/// It is so from now on.
pub(super) fn is_now(namespace: NamespaceKnown) -> Input {
    Input::Namespaces(NamespaceNews::One(namespace))
}

impl Stage {
    /// Sources are told and complete, the note is read. Nothing is watched yet.
    pub(super) fn new(wants: &[(&str, Want)], noted: bool) -> Self {
        let machine = Accounts::new(Arc::new(rules()), 1);
        let mut stage = Self { machine, now: Moment::ZERO, account: stored(&["theirs"], &[]), version: 7 };
        let Some(Order { id, step: Step::Recall }) = stage.machine.next(stage.now) else { panic!() };
        stage.on(Input::Done(id, Ok(Reply::Recalled(noted))));
        if noted {
            // Nothing that the process before has sent can take effect any more.
            stage.now += SERVER_LIMIT;
        }
        stage.on(Input::Sources(SourceNews::Namespace { uid: Some(uid(9)), deletes_frozen: false }));
        wants.iter().for_each(|(name, want)| stage.want(name, want.clone()));
        stage.on(Input::Sources(SourceNews::Complete));
        stage
    }

    /// One source that asks, and it is listed.
    pub(super) fn listed() -> Self {
        let mut stage = Self::new(&[("a", on("a", OPTION))], true);
        stage.list();
        stage.carry_out();
        stage.machine.take_news(stage.now);
        stage
    }

    pub(super) fn on(&mut self, input: Input) {
        self.machine.on(self.now, input);
    }

    pub(super) fn want(&mut self, name: &str, want: Want) {
        self.on(Input::Sources(SourceNews::Want(key(name), want)));
    }

    pub(super) fn list(&mut self) {
        assert!(self.machine.watching().is_some(), "nothing asks for a list");
        self.on(Input::Namespaces(NamespaceNews::All(vec![namespace(Destination::Open, &[])])));
        self.on(Input::Account(Feed::Init));
        self.on(Input::Account(Feed::Listed(read(&self.account))));
        self.on(Input::Account(Feed::InitDone(Rv(self.version))));
    }

    pub(super) fn next(&mut self) -> Option<Order> {
        self.machine.next(self.now)
    }

    /// What is listed, if the next order is a patch and is carried out; the reply is still to come.
    pub(super) fn patch(&mut self) -> (u64, Result<Reply, Fault>) {
        let order = self.next().expect("there is something to do");
        let Step::Patch { body, .. } = order.step else { panic!("{order:?}") };
        self.account = patched(&self.account, &body);
        assert!(!self.account.is_null(), "the server takes it");
        let Account { uid, rv, .. } = read(&self.account);
        self.version = rv.0;
        (order.id, Ok(Reply::Patched { uid, rv }))
    }

    pub(super) fn carry_out(&mut self) {
        let (id, reply) = self.patch();
        self.on(Input::Done(id, reply));
    }

    pub(super) fn fail(&mut self, fault: Fault) {
        let order = self.next().expect("there is something to do");
        self.on(Input::Done(order.id, Err(fault)));
    }

    /// Somebody sets the list; the event is still to come.
    pub(super) fn edit(&mut self, names: &[&str]) -> Account {
        self.version += 1;
        self.account["imagePullSecrets"] = names.iter().map(|name| serde_json::json!({ "name": name })).collect();
        self.account["metadata"]["resourceVersion"] = self.version.to_string().into();
        read(&self.account)
    }

    pub(super) fn shown(&mut self, account: Account) {
        self.on(Input::Account(Feed::Applied(account)));
    }

    pub(super) fn names(&self) -> Vec<String> {
        read(&self.account).pull_secrets
    }

    pub(super) fn is_recorded(&self, name: &str) -> bool {
        Record::parse(PREFIX, read(&self.account).added.as_deref().unwrap_or_default()).get(name).is_some()
    }

    /// What the engine is told of; but for that something leaves, which it is told first.
    pub(super) fn passed(&mut self) -> Vec<String> {
        let news = self.machine.take_news(self.now);
        let wants = news.into_iter().filter_map(|news| match news {
            SourceNews::Want(_, Want::Leaving(Reason::Leaving)) => None,
            SourceNews::Want(key, _) => Some(key.name.to_string()),
            _ => None,
        });
        wants.collect()
    }

    pub(super) fn said(&mut self, name: &str) -> Option<String> {
        let reports = self.machine.take_reports();
        let found = reports.into_iter().rfind(|(key, _)| *key.name == *name);
        let Some((_, trouble)) = found else { panic!("nothing is said") };
        trouble.map(|trouble| format!("{}: {}", trouble.reason, trouble.note))
    }
}
