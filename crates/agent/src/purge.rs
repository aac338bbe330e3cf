//! `agent purge`: all copies in this cluster go, and our entries in `imagePullSecrets` before them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use sync_core::cluster::connection::Connection;
use sync_core::cluster::{service_accounts, summary, write};
use sync_core::contract::keys::AGENT_CONFIG_MAP;
use sync_core::contract::object::{Kind, SourceKey};
use sync_core::contract::rules::Rules;
use sync_core::fault::Fault;
use sync_core::ops::preflight::{self, mend};
use sync_core::ops::purge::{self, Ending, Failure, PurgeArgs};
use sync_core::service_accounts::plan::{Account, Wish, plan};
use sync_core::service_accounts::record::Record;
use sync_core::service_accounts::{Reply, Step};

use crate::args::Config;

/// A ServiceAccount and the request that takes our entries out.
type Entry = (Account, Step);

/// What is to go.
struct Found {
    entries: Vec<Entry>,
    copies: Vec<purge::Copy>,
}

/// Purges, and tells it on `out`.
///
/// # Errors
/// If it cannot be written.
pub async fn purge(config: &Config, args: &PurgeArgs, out: &mut impl Write) -> io::Result<Ending> {
    let rules = &config.common.rules;
    let (server, connection) = match preflight::reach(&config.common).await {
        Ok(reached) => reached,
        Err(why) => return purge::not_begun(&why),
    };
    writeln!(out, "in the cluster at {server}, copies of namespace {}:", rules.source_namespace)?;
    if let Err(why) = purge::may_begin(&connection.write, rules, args, out).await? {
        return purge::not_begun(&why);
    }
    let found = match find(&connection, rules, args).await {
        Ok(found) => found,
        Err(fault) => return purge::not_begun(&format!("{fault}; {}", mend(&fault))),
    };
    for (account, _) in &found.entries {
        writeln!(out, "ServiceAccount {}/{}: our entries in imagePullSecrets go", account.namespace, account.name)?;
    }
    purge::told("", &found.copies, out)?;
    if found.entries.is_empty() && found.copies.is_empty() {
        writeln!(out, "there is nothing of ours")?;
        return Ok(Ending::Done);
    }
    if args.dry_run {
        writeln!(out, "nothing was changed")?;
        return Ok(Ending::Done);
    }
    if !purge::confirmed(args, &server, out)? {
        return Ok(Ending::NotBegun);
    }
    // Before the first copy goes: without an agent it would be said for ever, and a master would believe it.
    if let Err(fault) = summary::withdraw(&connection.write, rules).await {
        let what = "the agent's summary cannot be taken away, so nothing is deleted";
        return purge::not_begun(&format!("{what}: ConfigMap {AGENT_CONFIG_MAP}: {fault}; {}", mend(&fault)));
    }
    let at_once = config.common.max_in_flight;
    let entries = take_out(&connection, rules, found.entries, at_once).await;
    for (account, fault) in &entries {
        writeln!(out, "ServiceAccount {}/{}: {fault}; {}", account.namespace, account.name, mend(fault))?;
    }
    let count = found.copies.len();
    // What pods are told to pull with stays for as long as they are.
    let is_named = |copy: &purge::Copy| entries.iter().any(|(account, _)| *account.namespace == *copy.namespace);
    let (named, copies): (Vec<_>, Vec<_>) = found.copies.into_iter().partition(is_named);
    for copy in &named {
        writeln!(out, "{} in namespace {} stays: a ServiceAccount there still names it", copy.source, copy.namespace)?;
    }
    let left = purge::end(&connection, rules, copies, at_once).await;
    for Failure { copy, fault } in &left {
        writeln!(out, "{} in namespace {}: {fault}; {}", copy.source, copy.namespace, mend(fault))?;
    }
    writeln!(out, "{} of {count} copies are gone", count - left.len() - named.len())?;
    Ok(if left.is_empty() && entries.is_empty() { Ending::Done } else { Ending::Left })
}

async fn find(connection: &Connection, rules: &Rules, args: &PurgeArgs) -> Result<Found, Fault> {
    let accounts = match service_accounts::all(&connection.watch).await {
        Ok((accounts, _)) => accounts,
        // The right is granted apart, and where it is not there are no entries, unless it was taken away since.
        Err(fault @ Fault::Forbidden(_)) => {
            let recall = service_accounts::execute(&connection.write, rules, &Step::Recall, write::DEADLINE).await?;
            match recall {
                Reply::Recalled(true) => return Err(fault),
                _ => Vec::new(),
            }
        }
        Err(fault) => return Err(fault),
    };
    let entries = accounts.into_iter().filter_map(|account| entry(rules, args, account)).collect();
    let copies = purge::copies(connection, rules, None, args, None).await?.copies;
    Ok(Found { entries, copies })
}

fn entry(rules: &Rules, args: &PurgeArgs, account: Account) -> Option<Entry> {
    let prefix = rules.origin_prefix();
    let record = Record::parse(&prefix, account.added.as_deref()?);
    let ours = record.marks().filter(|(name, _)| args.takes(&SourceKey { kind: Kind::Secret, name: Arc::clone(name) }));
    let wish = |retain| if retain { Wish::Released } else { Wish::Out };
    let wishes: BTreeMap<_, _> = ours.map(|(name, mark)| (Arc::clone(name), wish(mark.retain))).collect();
    let body = Bytes::from(plan(&account, &record, &wishes)?.body(&prefix, &account));
    let step = Step::Patch { namespace: account.namespace.clone(), name: account.name.clone(), body };
    Some((account, step))
}

async fn take_out(
    connection: &Connection,
    rules: &Rules,
    entries: Vec<Entry>,
    at_once: usize,
) -> Vec<(Account, Fault)> {
    let ends = entries.into_iter().map(|(account, step)| async move {
        let done = service_accounts::execute(&connection.write, rules, &step, write::DEADLINE).await;
        Some((account, done.err()?))
    });
    stream::iter(ends).buffer_unordered(at_once).filter_map(std::future::ready).collect().await
}
