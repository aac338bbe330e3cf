//! Whether a purge may begin.

use std::fmt::Display;
use std::io::{self, Write};

use serde_json::Value;

use super::{Ending, PurgeArgs};
use crate::cluster::lease::leader;
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
    let controller = match rules.role {
        Role::Agent => "an agent",
        Role::Master => "a master",
    };
    let Running { who, stop } = match running(client, rules).await {
        Ok(None) => return Ok(Ok(())),
        Ok(Some(running)) => running,
        Err(fault) => return Ok(Err(format!("{fault}; {}", mend(&fault)))),
    };
    let why = format!("{controller} still runs and would restore it all: {who}");
    if args.dry_run {
        writeln!(out, "{why}")?;
        return Ok(Ok(()));
    }
    Ok(Err(format!("{why}; {stop}")))
}

/// Says why on standard error.
///
/// # Errors
/// If it cannot be written.
pub fn not_begun(why: &impl Display) -> io::Result<Ending> {
    writeln!(io::stderr(), "error: {why}")?;
    Ok(Ending::NotBegun)
}

/// A controller that would undo it.
struct Running {
    /// Which, and how that is known.
    who: String,
    /// What to do about it.
    stop: String,
}

/// The controller's Deployment.
enum Deployment {
    Wants(i64),
    Absent,
    /// Whoever asks may not read it, as the controller itself may not.
    Hidden,
}

/// What would undo it: a controller that runs in its source namespace, as far as can be known.
async fn running(client: &kube::Client, rules: &Rules) -> Result<Option<Running>, Fault> {
    let (namespace, name) = (&rules.source_namespace, rules.role.field_manager());
    let holder = leader(client, rules).await?.alive(jiff::Timestamp::now());
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/{name}", path::segment(namespace)?);
    let deployment = match read::get_json::<Value>(client, &path).await {
        Ok(found) => Deployment::Wants(found.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1)),
        Err(Fault::NotFound) => Deployment::Absent,
        Err(Fault::Forbidden(_)) => Deployment::Hidden,
        Err(fault) => return Err(fault),
    };
    let who = match (holder, &deployment) {
        (Some(holder), _) => format!("{} leads by Lease {name}, or did so half a minute ago", holder.identity),
        (None, Deployment::Wants(replicas @ 1..)) => format!("Deployment {name} has {replicas} replicas"),
        // Then the Lease has to be enough.
        (None, Deployment::Wants(_) | Deployment::Absent | Deployment::Hidden) => return Ok(None),
    };
    let command = match rules.role {
        Role::Agent => format!("kubectl -n {namespace} delete deployment {name}"),
        Role::Master => format!("kubectl -n {namespace} scale deployment {name} --replicas=0"),
    };
    let stop = match deployment {
        Deployment::Wants(1..) => format!("stop it first: {command}"),
        Deployment::Hidden => format!("stop it first, if Deployment {name} is there by: {command}"),
        Deployment::Wants(_) | Deployment::Absent => format!(
            "no Deployment {name} keeps it running: wait half a minute, if it was stopped just now, or stop it where it runs"
        ),
    };
    Ok(Some(Running { who, stop }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::tests_support::{client, json_response};
    use crate::contract::strip::StripList;

    /// What is said to whoever would purge, with this answer for the Deployment.
    async fn refused(deployment: (u16, Value)) -> String {
        let answer = move |request: http::Request<kube::client::Body>| {
            let time = jiff::Timestamp::now().to_string();
            let lease = json!({ "metadata": { "resourceVersion": "1" }, "spec": {
                "holderIdentity": "somebody", "leaseDurationSeconds": 15, "renewTime": time,
            } });
            let is_lease = request.uri().path().contains("/leases/");
            let (code, body) = if is_lease { (200, lease) } else { deployment.clone() };
            std::future::ready(json_response(code, &body))
        };
        let rules = Rules::new(Role::Master, "operator", Some("eu"), StripList::with::<&str>(&[]).unwrap());
        let said = may_begin(&client(answer), &rules, &PurgeArgs::default(), &mut Vec::new()).await.unwrap();
        said.unwrap_err()
    }

    #[tokio::test]
    async fn the_advice_names_a_deployment_only_if_there_may_be_one() {
        let status = |code: u16, reason: &str| {
            let status =
                json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "no" });
            (code, status)
        };
        let scale = "kubectl -n operator scale deployment mw-sync-master --replicas=0";
        let told = refused((200, json!({ "spec": { "replicas": 2 } }))).await;
        assert!(told.contains("somebody leads") && told.ends_with(&format!("; stop it first: {scale}")), "{told}");
        for gone in [status(404, "NotFound"), (200, json!({ "spec": { "replicas": 0 } }))] {
            let told = refused(gone).await;
            assert!(told.contains("wait half a minute") && !told.contains("kubectl"), "{told}");
        }
        let told = refused(status(403, "Forbidden")).await;
        assert!(told.contains("if Deployment mw-sync-master is there by: kubectl"), "{told}");
    }
}
