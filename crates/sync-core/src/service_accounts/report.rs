//! What is said of a source whose entries are not as they should be.

use std::fmt::Write as _;
use std::sync::Arc;

use super::{Accounts, Fault};
use crate::announce::Trouble;
use crate::contract::object::{Kind, SourceKey};
use crate::reason::Reason;

/// How many places a report names.
const PLACES: usize = 3;
/// What to do about a missing right.
const GRANT: &str = "kubectl apply -f deploy/agent-service-accounts.yaml";

/// Why a ServiceAccount is not as it should be.
#[derive(Clone, Debug)]
pub(super) enum Why {
    Failed(Fault),
    Mutated,
    /// Somebody takes out what we write, again and again.
    Contested,
}

impl Why {
    fn reason(&self) -> &'static str {
        match self {
            Self::Failed(fault) => fault.reason(),
            Self::Mutated => Reason::Mutated.as_str(),
            Self::Contested => Reason::Contested.as_str(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Failed(fault) => fault.to_string(),
            Self::Mutated => Reason::Mutated.what_to_do().to_owned(),
            Self::Contested => {
                "somebody takes it out again and again; find out who, or name other ServiceAccounts".to_owned()
            }
        }
    }
}

impl Accounts {
    /// Something has changed that is the matter with all sources that ask.
    pub(super) fn all_dirty(&mut self) {
        let asking = self.sources.keys().filter(|name| self.asks(name)).cloned();
        let names: Vec<_> = asking.chain(self.pending.keys().cloned()).collect();
        self.dirty.extend(names);
    }

    /// How the entries of sources fare, of which that may have changed; `None` is well.
    pub fn take_reports(&mut self) -> Vec<(SourceKey, Option<Trouble>)> {
        let everywhere = self.troubles.values().next().or(self.fault.as_ref()).cloned();
        let settled = self.queue.in_flight() == 0 && !self.queue.has_waiting();
        if !settled && everywhere.is_none() {
            return Vec::new();
        }
        let dirty = std::mem::take(&mut self.dirty);
        let report = |name: Arc<str>| {
            let concerned = self.asks(&name) || self.pending.contains_key(&name);
            let trouble = match &everywhere {
                Some(fault) if concerned => Some(of_all(fault)),
                _ => self.of_some(&name),
            };
            (SourceKey { kind: Kind::Secret, name }, trouble)
        };
        dirty.into_iter().map(report).collect()
    }

    fn of_some(&self, name: &Arc<str>) -> Option<Trouble> {
        let mut wrong = self.entries.values().filter_map(|entry| {
            let (why, sources) = entry.trouble.as_ref()?;
            sources.contains(name).then_some((&entry.account, why))
        });
        let first = wrong.next()?;
        let mut places = String::new();
        let mut count = 1;
        let mut before = String::new();
        let mut tell = |(account, why): (&super::Account, &Why)| {
            let text = why.text();
            let separator = if places.is_empty() { "" } else { "; " };
            let _never_fails = write!(places, "{separator}{}/{}: {}", account.namespace, account.name, why.reason());
            // What is the same everywhere is said once.
            if text != before {
                let _never_fails = write!(places, ", {text}");
            }
            before = text;
        };
        tell(first);
        for (n, place) in (1..).zip(wrong) {
            count += 1;
            if n < PLACES {
                tell(place);
            }
        }
        let note = format!("imagePullSecrets of {count} ServiceAccounts are not as they should be: {places}");
        Some(Trouble { reason: first.1.reason(), note, warning: true })
    }
}

fn of_all(fault: &Fault) -> Trouble {
    let todo = if matches!(fault, Fault::Forbidden(_)) { GRANT } else { fault.what_to_do() };
    let note = format!("it cannot be listed in imagePullSecrets of ServiceAccounts: {fault}; {todo}");
    Trouble { reason: fault.reason(), note, warning: true }
}
