//! Whether a purge may begin.

use std::fmt::Display;
use std::io::{self, Write};

use serde_json::Value;

use super::{Ending, PurgeArgs};
use crate::cluster::lease::holder;
use crate::cluster::{path, read};
use crate::contract::rules::{Role, Rules};
use crate::fault::Fault;
use crate::ops::preflight::mend;

/// Not while a controller runs, which would restore it all; why not, for people. Of what only says what would go, it is
/// told on `out` and may begin.
///
/// # Errors
/// If it cannot be written.
pub async fn may_begin(
    client: &kube::Client,
    rules: &Rules,
    args: &PurgeArgs,
    out: &mut impl Write,
) -> io::Result<Result<(), String>> {
    let Rules { role, source_namespace, .. } = rules;
    let (controller, stop, more) = match role {
        Role::Agent => ("an agent", "delete", ""),
        Role::Master => ("a master", "scale", " --replicas=0"),
    };
    let who = match running(client, rules).await {
        Ok(None) => return Ok(Ok(())),
        Ok(Some(who)) => format!("{controller} still runs and would restore it all: {who}"),
        Err(fault) => return Ok(Err(format!("{fault}; {}", mend(&fault)))),
    };
    if args.dry_run {
        writeln!(out, "{who}")?;
        return Ok(Ok(()));
    }
    let deployment = role.field_manager();
    Ok(Err(format!("{who}; stop it first: kubectl -n {source_namespace} {stop} deployment {deployment}{more}")))
}

/// Says why on standard error.
///
/// # Errors
/// If it cannot be written.
pub fn not_begun(why: &impl Display) -> io::Result<Ending> {
    writeln!(io::stderr(), "error: {why}")?;
    Ok(Ending::NotBegun)
}

/// What would undo it: a controller that runs in its source namespace, as far as can be known.
async fn running(client: &kube::Client, rules: &Rules) -> Result<Option<String>, Fault> {
    let (namespace, name) = (&rules.source_namespace, rules.role.field_manager());
    if let Some(holder) = holder(client, rules).await?.filter(|holder| holder.is_alive(jiff::Timestamp::now())) {
        return Ok(Some(format!("{} leads by Lease {name}, or did so half a minute ago", holder.identity)));
    }
    let deployment = format!("/apis/apps/v1/namespaces/{}/deployments/{name}", path::segment(namespace)?);
    let replicas = match read::get_json::<Value>(client, &deployment).await {
        Ok(found) => found.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1),
        // The controller itself may not read it; then the Lease has to be enough.
        Err(Fault::NotFound | Fault::Forbidden(_)) => 0,
        Err(fault) => return Err(fault),
    };
    Ok((replicas > 0).then(|| format!("Deployment {name} has {replicas} replicas")))
}
