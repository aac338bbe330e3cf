//! The same of the `imagePullSecrets` of ServiceAccounts, for the sources that ask for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;

use super::{Tried, What, of_failure};
use crate::cluster::connection::Connection;
use crate::cluster::pulse::Pulse;
use crate::cluster::{service_accounts, write};
use crate::contract::object::{Kind, SourceKey};
use crate::contract::rules::Rules;
use crate::core::Core;
use crate::fault::Fault;
use crate::index::feed::{Feed, Moment};
use crate::index::news::SourceNews;
use crate::index::sources::Sources;
use crate::lease::Lead;
use crate::service_accounts::plan::{Account, Change};
use crate::service_accounts::{Accounts, GRANT, Input, Reply};

/// Source, namespace and name of the ServiceAccount.
type Key = (Arc<str>, String, String);

pub(super) struct Entries<'a> {
    accounts: Accounts,
    rules: &'a Rules,
    cluster: &'a Connection,
    pulse: Pulse,
    /// The list that was asked for last.
    listed: Option<u64>,
    /// Why there is none.
    unlisted: Option<Fault>,
    tried: BTreeMap<Key, What>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(rules: &'a Rules, cluster: &'a Connection) -> Self {
        // No chance is involved: what it decides is when to try again.
        let mut accounts = Accounts::new(Arc::new(rules.clone()), 0);
        accounts.on(Moment::ZERO, Input::Lead(Lead::Dry));
        let pulse = Pulse::of(cluster, &rules.source_namespace);
        Self { accounts, rules, cluster, pulse, listed: None, unlisted: None, tried: BTreeMap::new() }
    }

    pub(super) fn hear(&mut self, now: Moment, news: &SourceNews) {
        self.accounts.on(now, Input::Sources(news.clone()));
    }

    /// Lists what is to be known and tries what is due. Returns whether there was anything.
    pub(super) async fn go(&mut self, now: Moment, core: &Core, sources: &mut Sources) -> bool {
        // Nothing is deleted here, so nobody need wait.
        drop(self.accounts.take_news(now));
        let asks = self.accounts.take_asks();
        let mut any = !asks.is_empty();
        asks.into_iter().for_each(|(key, upstream)| sources.ask(now, &key, upstream));
        let wanted = self.accounts.watching();
        if wanted.is_some() && wanted != self.listed {
            (self.listed, any) = (wanted, true);
            match service_accounts::all(&self.cluster.watch).await {
                Ok((accounts, rv)) => {
                    core.namespaces().into_iter().for_each(|all| self.accounts.on(now, Input::Namespaces(all)));
                    self.accounts.on(now, Input::Account(Feed::Init));
                    let listed = accounts.into_iter().map(Feed::Listed);
                    listed.chain([Feed::InitDone(rv)]).for_each(|feed| self.accounts.on(now, Input::Account(feed)));
                }
                Err(fault) => self.unlisted = Some(fault),
            }
        }
        let orders: Vec<_> = std::iter::from_fn(|| self.accounts.next(now)).collect();
        any |= !orders.is_empty();
        let (client, rules) = (&self.cluster.write, self.rules);
        let pulse = &self.pulse;
        let answers = orders.into_iter().map(async |order| {
            let send = service_accounts::try_out(client, rules, &order.step, write::DEADLINE);
            (order.id, pulse.mind(write::DEADLINE, send).await)
        });
        for (id, answer) in join_all(answers).await {
            if let Some((account, change)) = self.accounts.patch(id) {
                let told = told(account, change, &answer);
                self.tried.extend(told);
            }
            self.accounts.on(now, Input::Done(id, answer));
        }
        any
    }

    pub(super) fn wake_at(&self) -> Option<Moment> {
        self.accounts.wake_at()
    }

    pub(super) fn is_untried(&self) -> bool {
        self.tried.values().any(super::is_untried)
    }

    /// All that was found out.
    pub(super) fn told(self) -> Vec<Tried> {
        let one = |((name, namespace, account), what)| Tried {
            source: SourceKey { kind: Kind::Secret, name },
            namespace,
            account: Some(account),
            what,
        };
        let mut all: Vec<_> = self.tried.into_iter().map(one).collect();
        if let Some(fault) = self.unlisted {
            let what = || match &fault {
                Fault::Forbidden(_) => What::Refused(fault.reason(), GRANT),
                fault => What::Untried("list", fault.clone()),
            };
            let everywhere = |name| one(((name, "*".to_owned(), "*".to_owned()), what()));
            all.extend(self.accounts.asking().map(everywhere));
        }
        all
    }
}

fn told(account: &Account, change: &Change, answer: &Result<Reply, Fault>) -> Vec<(Key, What)> {
    let action = |name: &Arc<str>| match change.record.get(name) {
        None => "unlist",
        Some(_) if change.append.contains(name) => "list",
        Some(_) => "update",
    };
    let what = |name| match answer {
        Ok(_) => What::Does(action(name)),
        Err(fault) => of_failure(action(name), fault),
    };
    let key = |name: &Arc<str>| (Arc::clone(name), account.namespace.clone(), account.name.clone());
    change.sources.iter().map(|name| (key(name), what(name))).collect()
}
