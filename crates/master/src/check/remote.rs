//! One remote cluster, step by step.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sync_core::cluster::query::Query;
use sync_core::cluster::read;
use sync_core::cluster::summary::{self, Stored};
use sync_core::contract::marks::Sighting;
use sync_core::contract::object::{Kind, Uid};
use sync_core::contract::rules::Rules;
use sync_core::fault::Fault;
use sync_core::ops::preflight::{self, mend};
use sync_core::ops::report::Notes;
use sync_core::ops::rights::{self, Whose};
use sync_core::summary::{Summary, Whereabouts, age, is_silent, last_word};

use super::{Tour, recipe};
use crate::remote::crd::RemoteCluster;
use crate::remote::identity::{self, Unknown};
use crate::remote::status::Outcome;
use crate::remote::visit::{Stopped, Visit};

pub(super) async fn check(notes: &mut Notes, tour: &Tour, name: &str, cluster: &RemoteCluster) {
    let destination = cluster.spec.namespace.as_str();
    if cluster.metadata.deletion_timestamp.is_some() {
        let todo = format!("see what it waits for: kubectl describe remotecluster {name}");
        notes.warning("RemoteCluster", "it is being deleted", todo);
    }
    let visit = match tour.visitor.connect(cluster, &mut |step, found| notes.ok(step, found)).await {
        Ok(visit) => visit,
        Err(Stopped { at, outcome }) => {
            if outcome.leads_nowhere() {
                tour.leads(name, None);
            }
            let (why, mut todo) = words(&outcome, destination);
            if let Outcome::Eks(error) = &outcome
                && let Some(command) = recipe::aws(error, cluster)
            {
                todo = format!("{todo}; {command}");
            }
            return match outcome {
                Outcome::Suspended => notes.warning(at, why, todo),
                _ => notes.failed(at, why, todo),
            };
        }
    };
    preflight::version(notes, &visit.version);
    preflight::clock(notes, &visit.connection.write).await;
    if !may_write(notes, &visit, cluster).await {
        // Without rights nothing else is answered, and a namespace that is missing has taken them with it.
        return;
    }
    if place(notes, tour, &visit, name, destination).await {
        rivals(notes, tour, &visit, destination).await;
        agent(notes, tour, &visit, destination).await;
    }
}

/// What is the matter, and what to do, by the words of the condition.
pub(super) fn words(outcome: &Outcome, destination: &str) -> (String, String) {
    match outcome {
        Outcome::Eks(error) => (error.to_string(), error.what_to_do()),
        Outcome::Fault(fault @ (Fault::Connect(_) | Fault::NoAnswer(_) | Fault::Throttled(_))) => {
            (fault.to_string(), mend(fault).to_owned())
        }
        other => {
            let message = other.message(destination);
            let (why, todo) = message.split_once("; ").unwrap_or((&message, ""));
            (why.to_owned(), todo.to_owned())
        }
    }
}

fn fault(visit: &Visit, fault: Fault, destination: &str) -> (String, String) {
    words(&visit.reach.outcome(fault), destination)
}

async fn may_write(notes: &mut Notes, visit: &Visit, cluster: &RemoteCluster) -> bool {
    let (client, destination) = (&visit.connection.write, cluster.spec.namespace.as_str());
    match rights::missing(client, &Whose::Ours, destination, rights::REMOTE).await {
        Ok(missing) => {
            let user = if missing.is_empty() { None } else { preflight::whoami(client).await };
            let todo = recipe::rights(cluster, user.as_deref(), destination);
            preflight::told_rights(notes, &missing, destination, user.as_deref().unwrap_or("the master"), &todo);
            missing.is_empty()
        }
        Err(error) => {
            let (why, todo) = fault(visit, error, destination);
            notes.failed("rights", why, todo);
            false
        }
    }
}

/// Whether there is a destination, and nobody else's.
async fn place(notes: &mut Notes, tour: &Tour, visit: &Visit, name: &str, destination: &str) -> bool {
    const NAME: &str = "namespace";
    let identity = match identity::ask(&tour.visitor.home, &visit.connection, destination).await {
        Ok(identity) => identity,
        Err(Unknown::Missing) => {
            let (why, todo) = words(&Outcome::Unidentified, destination);
            notes.failed(NAME, why, todo);
            return false;
        }
        Err(Unknown::There(error)) => {
            let (why, todo) = fault(visit, error, destination);
            notes.failed(NAME, why, todo);
            return false;
        }
        Err(Unknown::Here(error)) => {
            notes.failed(NAME, format!("the management cluster does not answer: {error}"), error.what_to_do());
            return false;
        }
    };
    tour.leads(name, (!identity.is_self).then_some(identity.uid));
    if identity.is_self {
        let (why, todo) = words(&Outcome::SelfReference, destination);
        notes.failed(NAME, why, todo);
        return false;
    }
    notes.ok(NAME, destination);
    true
}

/// Copies that say that they are ours, and of another incarnation of the source namespace: the one thing by which a second
/// master with the same name can be told, and an own cluster that was rebuilt looks the same.
async fn rivals(notes: &mut Notes, tour: &Tour, visit: &Visit, destination: &str) {
    const NAME: &str = "cluster name";
    let rules = &tour.visitor.rules;
    let mut others: BTreeMap<Uid, usize> = BTreeMap::new();
    for kind in Kind::ALL {
        let other = |object| {
            let ours = Sighting::read(rules, object).ours;
            let other = ours.and_then(|ours| ours.origin_uid).filter(|uid| Some(*uid) != tour.home);
            other.filter(|uid| !rules.take_over.contains(uid))
        };
        let listed = async {
            let query = Query::replicas(rules, kind, Some(destination))?;
            read::list_kept(&visit.connection.watch, &query, kind, other).await
        };
        match listed.await {
            Ok(uids) => uids.into_iter().for_each(|uid| *others.entry(uid).or_default() += 1),
            Err(error) => {
                let (why, todo) = fault(visit, error, destination);
                return notes.failed(NAME, why, todo);
            }
        }
    }
    let called = rules.cluster_name.as_deref().unwrap_or_default();
    if others.is_empty() {
        return notes.ok(NAME, format!("no copies of another cluster called {called}"));
    }
    for (uid, count) in others {
        let why = format!("{count} copies are of another cluster that is called {called} too (origin-uid {uid})");
        let todo = format!(
            "if a second master runs with --cluster-name={called}, give it a name of its own; if that was this cluster before \
             it was rebuilt: master --take-over={uid}"
        );
        notes.failed(NAME, why, todo);
    }
}

async fn agent(notes: &mut Notes, tour: &Tour, visit: &Visit, destination: &str) {
    const NAME: &str = "agent";
    let there = Rules { source_namespace: destination.to_owned(), ..tour.visitor.rules.clone() };
    let (json, time) = match summary::get(&visit.connection.write, &there).await {
        Ok(Stored::Summary { json, time }) => (json, time),
        Ok(Stored::Absent) => {
            let why =
                format!("none reports in namespace {destination}: copies stay there, and reach no other namespace");
            let todo = format!("in that cluster: {}", preflight::apply(preflight::AGENT_MANIFEST));
            return notes.warning(NAME, why, todo);
        }
        Ok(Stored::Foreign) => {
            let why = "ConfigMap mw-sync-agent there is no agent's";
            return notes.warning(NAME, why, "in that cluster: kubectl -n operator delete configmap mw-sync-agent");
        }
        Err(error) => {
            let (why, todo) = fault(visit, error, destination);
            return notes.failed(NAME, why, todo);
        }
    };
    let Some(summary) = Summary::read(&json) else {
        return notes.warning(NAME, "what it reports is of another version", "upgrade master and agent to one version");
    };
    let age = age(&time, Timestamp::now());
    if is_silent(age) {
        let why = format!("{}, and one is due every 10 min; does it run?", last_word(age));
        return notes.warning(NAME, why, Whereabouts::There.look(destination));
    }
    let (version, namespaces) = (summary.agent, summary.namespaces);
    notes.ok(NAME, format!("version {version}, {namespaces} namespaces; {}", last_word(age)));
}
