//! `agent check`: each of the usual mistakes in a line of its own, with the command that mends it. Nothing is written.

use std::io::{self, Write};
use std::time::Duration;

use sync_core::cluster::read;
use sync_core::contract::keys::{AGENT_CONFIG_MAP, IMAGE_PULL_SECRET};
use sync_core::contract::object::Kind;
use sync_core::contract::rules::Rules;
use sync_core::fault::Fault;
use sync_core::ops::preflight::{self, AGENT_MANIFEST, Home, mend};
use sync_core::ops::report::{Notes, Report};
use sync_core::ops::rights::{self, Whose};
use sync_core::summary::{Lack, Whereabouts, is_silent, last_word};
use tokio::time::{Instant, sleep};

use crate::args::Config;
use crate::look::{Look, Unheard};

/// An agent writes its summary at most every 10 s: what it has not told of after so long, it has not acted on.
const SETTLED: Duration = Duration::from_secs(15);
/// Between two looks meanwhile, each of which lists the sources.
const EVERY: Duration = Duration::from_secs(3);

/// Checks all and tells it. Returns whether anything could be asked.
///
/// # Errors
/// If it cannot be written.
pub async fn check<W: Write>(config: &Config, report: &mut Report<W>) -> io::Result<bool> {
    let mut notes = Notes::of("cluster");
    report.waiting("asking the cluster");
    let home = preflight::home(&mut notes, &config.common, rights::AGENT, AGENT_MANIFEST).await;
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

/// What the agent has last said, and whether that is of what there is now.
async fn reported(notes: &mut Notes, home: &Home, rules: &Rules) {
    const NAME: &str = "summary";
    let (namespace, deployment) = (&rules.source_namespace, rules.role.field_manager());
    let run = Whereabouts::Here.look(namespace);
    match settled(home, rules).await {
        Ok(Err(Unheard::Absent)) => {
            notes.warning(NAME, "no agent has reported yet", preflight::apply(AGENT_MANIFEST));
        }
        Ok(Err(Unheard::Foreign)) => {
            let todo = format!("kubectl -n {namespace} delete configmap {AGENT_CONFIG_MAP}");
            notes.warning(NAME, format!("ConfigMap {AGENT_CONFIG_MAP} is somebody else's"), todo);
        }
        Ok(Err(Unheard::Unreadable)) => {
            let todo = format!("kubectl -n {namespace} logs deploy/{deployment}");
            notes.warning(NAME, "it is of another version of the agent", todo);
        }
        Ok(Ok(look)) if is_silent(look.age) => {
            let why = format!("the agent: {}, and one is due every 10 min; does it run?", last_word(look.age));
            notes.failed(NAME, why, run);
        }
        Ok(Ok(look)) => {
            if let Some((source, Lack { why, .. })) = look.unheard() {
                let why = format!("{source}: {why}; {}; does it run?", last_word(look.age));
                return notes.failed(NAME, why, run);
            }
            let Look { summary, age, .. } = look;
            let (pending, refused) = summary.sources.values().fold((0, 0), |(pending, refused), source| {
                (pending + u64::from(source.pending), refused + u64::from(source.refused))
            });
            let (sources, namespaces) = (summary.sources.len(), summary.namespaces);
            let counts = format!("{sources} sources, {namespaces} namespaces, {pending} pending, {refused} refused");
            let why = format!("{counts}; {}", last_word(age));
            match refused {
                0 => notes.ok(NAME, why),
                _ => {
                    let todo = format!("each says why: kubectl -n {namespace} events --types=Warning");
                    notes.warning(NAME, why, todo);
                }
            }
        }
        Err(fault) => notes.warning(NAME, fault.to_string(), mend(&fault)),
    }
}

/// The same as [`Look::at`], once the agent has had time to tell of what has just changed.
async fn settled(home: &Home, rules: &Rules) -> Result<Result<Look, Unheard>, Fault> {
    let end = Instant::now() + SETTLED;
    loop {
        let look = Look::at(&home.connection, rules).await?;
        let waits = look.as_ref().is_ok_and(|look| look.unheard().is_some() && !is_silent(look.age));
        if !waits || Instant::now() >= end {
            return Ok(look);
        }
        sleep(EVERY).await;
    }
}
