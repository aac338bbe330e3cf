//! `master purge`: all copies of ours in the remote clusters go. Each is switched off before it is deleted, so that the agent
//! there knows that it was meant.

use std::io::{self, Write};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use sync_core::cluster::connection::Connection;
use sync_core::cluster::read;
use sync_core::contract::object::Uid;
use sync_core::contract::rules::Rules;
use sync_core::fault::Fault;
use sync_core::ops::preflight::{self, mend};
use sync_core::ops::purge::{self, Ending, Failure, PurgeArgs};
use tokio::time::timeout;

use crate::args::Config;
use crate::remote::crd::RemoteCluster;
use crate::remote::status::Outcome;
use crate::remote::visit::{self, Stopped, Visitor};

/// Remote clusters at once.
const AT_ONCE: usize = 16;
/// For finding what is in one remote cluster, AWS included.
const DEADLINE: Duration = Duration::from_secs(60);

/// What is to go in one remote cluster.
struct Found {
    name: String,
    connection: Connection,
    ours: purge::Ours,
}

/// Purges these remote clusters, or all, and tells it on `out`.
///
/// # Errors
/// If it cannot be written.
pub async fn purge(config: Config, clusters: &[String], args: &PurgeArgs, out: &mut impl Write) -> io::Result<Ending> {
    let at_once = config.common.max_in_flight;
    let (server, visitor) = match preflight::reach(&config.common).await {
        Ok((server, home)) => (server, Visitor::new(config, home)),
        Err(why) => return purge::not_begun(&why),
    };
    writeln!(out, "from the management cluster at {server}, namespace {}:", visitor.rules.source_namespace)?;
    let (chosen, known) = match begin(&visitor, clusters, args, out).await? {
        Ok(chosen) => chosen,
        Err(why) => return purge::not_begun(&why),
    };
    let looks = chosen.into_iter().map(|cluster| look(&visitor, cluster, args, &known));
    let looks: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    let (mut found, mut untold) = (Vec::new(), false);
    for (name, look) in looks {
        match look {
            Ok(here) => {
                purge::told(&format!("{name}: "), &here.ours.copies, out)?;
                for (uid, count) in &here.ours.strange {
                    writeln!(
                        out,
                        "{name}: {count} copies of another incarnation of the source namespace stay, for another master of \
                         the same name may keep them; if there is none: master --take-over={uid} purge"
                    )?;
                }
                found.push(here);
            }
            Err(why) => {
                untold = true;
                writeln!(out, "{name}: {why}")?;
            }
        }
    }
    let count: usize = found.iter().map(|found| found.ours.copies.len()).sum();
    let done = if untold { Ending::Left } else { Ending::Done };
    if count == 0 {
        writeln!(out, "there is nothing of ours{}", if untold { " in the others" } else { "" })?;
        return Ok(done);
    }
    if args.dry_run {
        writeln!(out, "nothing was changed")?;
        return Ok(done);
    }
    if !purge::confirmed(args, &server, out)? {
        return Ok(Ending::NotBegun);
    }
    let rules = &visitor.rules;
    let ends = found.into_iter().map(|Found { name, connection, ours }| async move {
        (name, purge::end(&connection, rules, ours.copies, at_once).await)
    });
    let ends: Vec<_> = stream::iter(ends).buffered(AT_ONCE).collect().await;
    let mut left = 0;
    for (name, failures) in &ends {
        left += failures.len();
        for Failure { copy, fault } in failures {
            writeln!(out, "{name}: {} in namespace {}: {fault}; {}", copy.source, copy.namespace, mend(fault))?;
        }
    }
    writeln!(out, "{} of {count} copies are gone", count - left)?;
    Ok(if left == 0 { done } else { Ending::Left })
}

/// The RemoteClusters that are meant and the incarnations of the source namespace that are ours, if it may begin.
async fn begin(
    visitor: &Visitor,
    clusters: &[String],
    args: &PurgeArgs,
    out: &mut impl Write,
) -> io::Result<Result<(Vec<RemoteCluster>, Vec<Uid>), String>> {
    let Visitor { rules, home, .. } = visitor;
    let told = |fault: &Fault| format!("{fault}; {}", mend(fault));
    if let Err(why) = purge::may_begin(&home.write, rules, args, out).await? {
        return Ok(Err(why));
    }
    let mut all = match visit::all(home, &rules.source_namespace).await {
        Ok(all) => all,
        Err(fault) => return Ok(Err(format!("cannot list RemoteClusters: {}", told(&fault)))),
    };
    let is = |cluster: &RemoteCluster, name: &String| cluster.metadata.name.as_ref() == Some(name);
    if let Some(unknown) = clusters.iter().find(|name| !all.iter().any(|cluster| is(cluster, name))) {
        return Ok(Err(format!("there is no RemoteCluster {unknown} in namespace {}", rules.source_namespace)));
    }
    all.retain(|cluster| clusters.is_empty() || clusters.iter().any(|name| is(cluster, name)));
    let mut known = rules.take_over.clone();
    match read::get_namespace(&home.write, &rules.source_namespace).await {
        Ok(namespace) => known.extend(namespace.map(|namespace| namespace.uid)),
        Err(fault) => return Ok(Err(told(&fault))),
    }
    Ok(Ok((all, known)))
}

async fn look(
    visitor: &Visitor,
    cluster: RemoteCluster,
    args: &PurgeArgs,
    known: &[Uid],
) -> (String, Result<Found, String>) {
    let name = cluster.metadata.name.clone().unwrap_or_default();
    let destination = cluster.spec.namespace.as_str();
    let words = |outcome: Outcome| outcome.message(destination);
    let find = async {
        let visit = visitor.connect(&cluster, &mut |_, _| {}).await;
        let visit = visit.map_err(|Stopped { at, outcome }| format!("{at}: {}", words(outcome)))?;
        let told = |fault| words(visit.reach.outcome(fault));
        let _uid = visit.is_elsewhere(&visitor.home, destination).await?;
        let rules: &Rules = &visitor.rules;
        let ours = purge::copies(&visit.connection, rules, Some(destination), args, Some(known)).await;
        Ok((visit.connection, ours.map_err(told)?))
    };
    let found = match timeout(DEADLINE, find).await {
        Ok(found) => found.map(|(connection, ours)| Found { name: name.clone(), connection, ours }),
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    };
    (name, found)
}
