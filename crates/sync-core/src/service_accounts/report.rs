//! What is said of a source whose entries are not as they should be.

use std::fmt::Write as _;
use std::sync::Arc;

use super::plan::{Account, Change};
use super::{Accounts, Fault, Flight};
use crate::announce::Trouble;
use crate::contract::object::{Kind, SourceKey};
use crate::reason::{Counts, Reason, Would};

/// How many places a report names.
const PLACES: usize = 3;
/// What to do about a missing right.
pub const GRANT: &str = "kubectl apply -f deploy/agent-service-accounts.yaml";

/// Why a ServiceAccount is not as it should be.
#[derive(Clone, Debug)]
pub(super) enum Why {
    Failed(Fault),
    Mutated,
    /// Somebody takes out what we write, again and again.
    Contested,
    /// It would be: this is a dry run.
    Tried,
}

impl Why {
    fn reason(&self) -> &'static str {
        match self {
            Self::Failed(fault) => fault.reason(),
            Self::Mutated => Reason::Mutated.as_str(),
            Self::Contested => Reason::Contested.as_str(),
            Self::Tried => Would::Update.as_str(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Failed(fault) => fault.to_string(),
            Self::Mutated => Reason::Mutated.what_to_do().to_owned(),
            Self::Tried => Would::TODO.to_owned(),
            Self::Contested => {
                "somebody takes it out again and again; find out who, or name other ServiceAccounts".to_owned()
            }
        }
    }
}

impl Accounts {
    /// The sources that ask for entries.
    pub fn asking(&self) -> impl Iterator<Item = Arc<str>> {
        self.sources.keys().filter(|name| self.asks(name)).cloned()
    }

    /// The ServiceAccount that this order, which is under way, is on, and what is to change there.
    pub fn patch(&self, order: u64) -> Option<(&Account, &Change)> {
        match self.flights.get(&order)? {
            Flight::Patch(patch) => Some((&patch.before, &patch.change)),
            Flight::Recall | Flight::Remember(_) => None,
        }
    }

    /// Something has changed that is the matter with all sources that ask.
    pub(super) fn all_dirty(&mut self) {
        let names: Vec<_> = self.asking().chain(self.pending.keys().cloned()).collect();
        self.dirty.extend(names);
    }

    /// How the entries of sources fare, of which that may have changed; `None` is well.
    pub fn take_reports(&mut self) -> Vec<(SourceKey, Option<Trouble>)> {
        let everywhere = self.troubles.values().next().or(self.fault.as_ref()).cloned();
        if self.queue.is_busy() && everywhere.is_none() {
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
        let wrong = self.entries.values().filter_map(|entry| {
            let (why, sources) = entry.trouble.as_ref()?;
            sources.contains(name).then_some((&entry.account, why))
        });
        let (mut reasons, mut firsts, mut more) = (Counts::default(), Vec::new(), Vec::new());
        let mut count = 0;
        for (account, why) in wrong {
            count += 1;
            let places = if reasons.add(why.reason()) { &mut firsts } else { &mut more };
            if places.len() < PLACES {
                places.push((account, why));
            }
        }
        let reason = reasons.first()?;
        let mut note = format!("imagePullSecrets of {count} ServiceAccounts are not as they should be ({reasons}): ");
        let mut before = String::new();
        for (n, (account, why)) in firsts.into_iter().chain(more).take(PLACES).enumerate() {
            let (separator, text) = (if n == 0 { "" } else { "; " }, why.text());
            let _never_fails = write!(note, "{separator}{}/{}: {}", account.namespace, account.name, why.reason());
            // What is the same everywhere is said once.
            if text != before {
                let _never_fails = write!(note, ", {text}");
            }
            before = text;
        }
        let warning = reasons.reasons().iter().any(|reason| *reason != Would::Update.as_str());
        Some(Trouble { reason, reasons: reasons.reasons(), note, warning })
    }
}

fn of_all(fault: &Fault) -> Trouble {
    let todo = if matches!(fault, Fault::Forbidden(_)) { GRANT } else { fault.what_to_do() };
    let note = format!("it cannot be listed in imagePullSecrets of ServiceAccounts: {fault}; {todo}");
    Trouble::one(fault.reason(), note, true)
}
