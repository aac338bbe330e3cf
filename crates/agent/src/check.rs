//! `agent check`: each of the usual mistakes in a line of its own, with the command that mends it. Nothing is written.

use std::io::{self, Write};

use sync_core::cluster::read;
use sync_core::cluster::summary::{self, Stored};
use sync_core::contract::keys::{AGENT_CONFIG_MAP, IMAGE_PULL_SECRET};
use sync_core::contract::object::Kind;
use sync_core::contract::rules::Rules;
use sync_core::fault::Fault;
use sync_core::ops::preflight::{self, Home, mend};
use sync_core::ops::report::{Notes, Report};
use sync_core::ops::rights::{self, Whose};
use sync_core::summary::Summary;

use crate::args::Config;
use crate::look::{SILENCE, age};

/// Checks all and tells it. Returns whether anything could be asked.
///
/// # Errors
/// If it cannot be written.
pub async fn check<W: Write>(config: &Config, report: &mut Report<W>) -> io::Result<bool> {
    let mut notes = Notes::of("cluster");
    report.waiting("asking the cluster");
    let home = preflight::home(&mut notes, &config.common, rights::AGENT, "deploy/agent.yaml").await;
    if let Some(home) = &home {
        let rules = &config.common.rules;
        pull_secrets(&mut notes, home, rules).await;
        reported(&mut notes, home, rules).await;
    }
    report.tell(notes)?;
    Ok(home.is_some())
}

/// The one right that is granted apart, where a source needs it.
async fn pull_secrets(notes: &mut Notes, home: &Home, rules: &Rules) {
    const NAME: &str = "rights for image-pull-secret";
    let (client, namespace) = (&home.connection.write, rules.source_namespace.as_str());
    // Without the right to list them that is told already.
    let Ok(secrets) = read::list_objects(client, Kind::Secret, namespace).await else { return };
    let Some(source) = secrets.iter().find(|secret| secret.annotations.contains_key(IMAGE_PULL_SECRET)) else { return };
    let is_account = home.user.as_deref().is_some_and(|user| user.starts_with("system:serviceaccount:"));
    let whose = if is_account { Whose::Ours } else { Whose::Account(rules.role.field_manager().to_owned()) };
    match rights::missing(client, &whose, namespace, rights::AGENT_SERVICE_ACCOUNTS).await {
        Ok(missing) if missing.is_empty() => notes.ok(NAME, "granted"),
        Ok(missing) => {
            for (right, verbs) in missing {
                let why = format!(
                    "the agent may not {}, and Secret {} asks for it",
                    right.words(&verbs, namespace),
                    source.name
                );
                notes.failed(NAME, why, "kubectl apply -f deploy/agent-service-accounts.yaml");
            }
        }
        Err(Fault::Forbidden(_)) => {}
        Err(fault) => notes.failed(NAME, fault.to_string(), mend(&fault)),
    }
}

/// What the agent has last said.
async fn reported(notes: &mut Notes, home: &Home, rules: &Rules) {
    const NAME: &str = "summary";
    let (namespace, deployment) = (&rules.source_namespace, rules.role.field_manager());
    let look = format!("kubectl -n {namespace} logs deploy/{deployment}");
    match summary::get(&home.connection.write, rules).await {
        Ok(Stored::Absent) => notes.warning(NAME, "no agent has reported yet", "kubectl apply -f deploy/agent.yaml"),
        Ok(Stored::Foreign) => {
            let todo = format!("kubectl -n {namespace} delete configmap {AGENT_CONFIG_MAP}");
            notes.warning(NAME, format!("ConfigMap {AGENT_CONFIG_MAP} is somebody else's"), todo);
        }
        Ok(Stored::Summary { json, time }) => match (Summary::read(&json), age(&time)) {
            (None, _) => notes.warning(NAME, "it is of another version of the agent", look),
            (Some(_), Some(age)) if age > SILENCE => {
                let why = format!("the agent has not reported for {} min, and should every 10", age.as_secs() / 60);
                notes.warning(NAME, why, look);
            }
            (Some(summary), _) => {
                let (pending, refused) = summary.sources.values().fold((0, 0), |(pending, refused), source| {
                    (pending + u64::from(source.pending), refused + u64::from(source.refused))
                });
                let (sources, namespaces) = (summary.sources.len(), summary.namespaces);
                let why = format!("{sources} sources, {namespaces} namespaces, {pending} pending, {refused} refused");
                match refused {
                    0 => notes.ok(NAME, why),
                    _ => {
                        let todo = format!("each says why: kubectl -n {namespace} events --types=Warning");
                        notes.warning(NAME, why, todo);
                    }
                }
            }
        },
        Err(fault) => notes.warning(NAME, fault.to_string(), mend(&fault)),
    }
}
