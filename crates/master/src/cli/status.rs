//! `master status`: each source and each remote cluster in a line, or all of it as JSON or YAML.

use std::io::{self, Write};

use serde_json::{Map, Value, json};
use sync_core::contract::source::{Reading, Source};
use sync_core::ops::table::columns;

use super::verdict::{Missing, Verdict, View};
use super::wait::count;
use super::watching::Watching;
use crate::remote::crd::RemoteCluster;

/// How it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For programs, and people who read it.
    Yaml,
}

/// Whether a master runs, every source is everywhere and every cluster ready.
pub fn is_well(sources: &[(Source, Verdict)], view: &View) -> bool {
    let fine = |verdict: &Verdict| match verdict {
        Verdict::Of(_, missing) => missing.is_empty(),
        Verdict::Nowhere => true,
        Verdict::NoCopies(_) => false,
    };
    // What a person has switched off is as it should be.
    let sources = || sources.iter().all(|(source, verdict)| is_off(source) || fine(verdict));
    without_master(view).is_none() && sources() && view.clusters.iter().all(is_ready)
}

/// What is said if no master leads: then all the rest is of the past.
fn without_master(view: &View) -> Option<String> {
    match &view.watching {
        Watching::No(last) => Some(format!("no master leads: {}", Watching::look(last, &view.namespace))),
        Watching::Yes | Watching::Begins => None,
    }
}

const fn is_off(source: &Source) -> bool {
    matches!(source.reading, Reading::Off(_))
}

fn is_ready(cluster: &RemoteCluster) -> bool {
    cluster.spec.suspend || ready(cluster).is_some_and(|condition| condition.status == "True")
}

fn ready(cluster: &RemoteCluster) -> Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    cluster.status.as_ref()?.ready()
}

/// Writes it.
///
/// # Errors
/// If `out` cannot be written to.
pub fn write(format: Format, sources: &[(Source, Verdict)], view: &View, out: &mut impl Write) -> io::Result<()> {
    match format {
        Format::Table => table(sources, view, out),
        Format::Json => writeln!(out, "{:#}", Value::Object(document(sources, view))),
        Format::Yaml => {
            out.write_all(serde_yaml::to_string(&document(sources, view)).map_err(io::Error::other)?.as_bytes())
        }
    }
}

/// All of it.
pub fn document(sources: &[(Source, Verdict)], view: &View) -> Map<String, Value> {
    let source = |(source, verdict): &(Source, Verdict)| {
        let (key, version) = (source.key.to_string(), source.version.rv.to_string());
        match verdict {
            Verdict::NoCopies(why) => {
                let (off, frozen) = (is_off(source), matches!(source.reading, Reading::Frozen(..)));
                json!({ "source": key, "resourceVersion": version, "off": off, "frozen": frozen, "reason": why })
            }
            Verdict::Nowhere => json!({ "source": key, "resourceVersion": version, "clusters": 0, "missing": [] }),
            Verdict::Of(clusters, missing) => {
                let since = |missing: &Missing| missing.since.map(|since| since.to_string());
                let missing = missing
                    .iter()
                    .map(|m| json!({ "cluster": m.cluster, "reason": m.text(), "since": since(m) }))
                    .collect::<Vec<_>>();
                json!({ "source": key, "resourceVersion": version, "clusters": clusters, "missing": missing })
            }
        }
    };
    let cluster = |cluster: &RemoteCluster| {
        let (status, ready) = (cluster.status.as_ref(), ready(cluster));
        json!({
            "name": cluster.metadata.name,
            "suspend": cluster.spec.suspend,
            "ready": ready.map(|condition| condition.status == "True"),
            "reason": ready.map(|condition| &condition.reason),
            "message": ready.map(|condition| &condition.message),
            "since": ready.map(|condition| condition.last_transition_time.0.to_string()),
            "version": status.and_then(|status| status.version.as_ref()),
            "sources": status.and_then(|status| status.sources),
            "agent": status.and_then(|status| status.agent.as_ref()),
        })
    };
    Map::from_iter([
        ("well".to_owned(), is_well(sources, view).into()),
        ("trouble".to_owned(), without_master(view).into()),
        ("sources".to_owned(), sources.iter().map(source).collect()),
        ("clusters".to_owned(), view.clusters.iter().map(cluster).collect()),
    ])
}

fn table(sources: &[(Source, Verdict)], view: &View, out: &mut impl Write) -> io::Result<()> {
    if let Some(trouble) = without_master(view) {
        writeln!(out, "{trouble}\n")?;
    }
    let mut rows = vec![["SOURCE".to_owned(), "VERSION".to_owned(), "EVERYWHERE".to_owned(), "MISSING".to_owned()]];
    for (source, verdict) in sources {
        let (everywhere, missing) = match verdict {
            Verdict::NoCopies(why) => ("-".to_owned(), vec![why.clone()]),
            Verdict::Nowhere => ("-".to_owned(), vec!["selects no cluster".to_owned()]),
            Verdict::Of(of, missing) => {
                let each = missing.iter().map(|missing| format!("{}: {}", missing.cluster, missing.text()));
                (format!("{} of {}", of - missing.len(), count(*of)), each.collect())
            }
        };
        let mut missing = missing.into_iter();
        let first = missing.next().unwrap_or_default();
        rows.push([source.key.to_string(), source.version.rv.to_string(), everywhere, first]);
        rows.extend(missing.map(|missing| [String::new(), String::new(), String::new(), missing]));
    }
    columns(&rows, out)?;
    writeln!(out)?;
    let mut rows = vec![["CLUSTER", "READY", "REASON", "AGENT"].map(str::to_owned)];
    for cluster in &view.clusters {
        let status = ready(cluster).map_or("Unknown", |condition| &condition.status);
        let reason = ready(cluster).map_or("", |condition| &condition.reason);
        let agent = cluster.status.as_ref().and_then(|status| status.agent.as_ref());
        let agent = agent.map_or_else(String::new, |agent| {
            format!(
                "{:?}, {} namespaces, {} pending, {} refused",
                agent.state, agent.namespaces, agent.pending, agent.refused
            )
        });
        let name = cluster.metadata.name.clone().unwrap_or_default();
        rows.push([name, status.to_owned(), reason.to_owned(), agent]);
    }
    columns(&rows, out)
}
