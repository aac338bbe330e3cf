//! Whether a source is everywhere: one answer, for `wait` and for `status`.

use sync_core::cluster::summary::Stored;
use sync_core::contract::desired::Desired;
use sync_core::contract::object::Version;
use sync_core::contract::source::{Reading, Source};
use sync_core::summary::Summary;

use crate::remote::crd::RemoteCluster;

/// Name that the management cluster itself has among the others.
pub const HERE: &str = "(this cluster)";

/// What is known of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It asks for no copies, or cannot be understood: with what is the matter.
    NoCopies(String),
    /// No cluster is to have it.
    Nowhere,
    /// The clusters that are to have it: how many, and those that have not, each with the reason.
    Of(usize, Vec<Missing>),
}

/// A cluster that has not got every copy of a source in its present version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Name of the RemoteCluster, or [`HERE`].
    pub cluster: String,
    /// What is missing, and what to do.
    pub reason: String,
}

/// Looks at a source, all RemoteClusters, and what an agent of this cluster says.
///
/// Yes is said of the version that `source` has, and only where the master has said so of that very version: what is old,
/// unknown or about another RemoteCluster is no.
pub fn verdict(source: &Source, clusters: &[RemoteCluster], here: &Stored) -> Verdict {
    let desired = match &source.reading {
        // The uid of the namespace is in the marks, and selects nothing.
        Reading::On(template) => template.desired(source.version.uid),
        Reading::Frozen(_, why) => return Verdict::NoCopies(why.to_string()),
        Reading::Never(why) => return Verdict::NoCopies(why.to_string()),
        Reading::Off(_) => return Verdict::NoCopies("it is switched off".to_owned()),
        Reading::Plain => {
            let key = format!("{}/{}", source.key.kind.as_str().to_ascii_lowercase(), source.key.name);
            return Verdict::NoCopies(format!("it is not annotated: kubectl annotate {key} mw-sync=yes"));
        }
    };
    let mut of = 0;
    let mut missing = Vec::new();
    let mut ask = |cluster: &str, reason: Option<String>| {
        of += 1;
        missing.extend(reason.map(|reason| Missing { cluster: cluster.to_owned(), reason }));
    };
    for cluster in clusters.iter().filter(|cluster| selects(&desired, cluster)) {
        ask(cluster.metadata.name.as_deref().unwrap_or_default(), lacks(source, cluster));
    }
    if let Stored::Summary { json, .. } = here {
        ask(HERE, lacks_here(source, json));
    }
    if of == 0 { Verdict::Nowhere } else { Verdict::Of(of, missing) }
}

fn selects(desired: &Desired, cluster: &RemoteCluster) -> bool {
    let (name, labels) = (cluster.metadata.name.as_deref(), cluster.metadata.labels.clone());
    desired.options.clusters.selects(name.unwrap_or_default(), &labels.unwrap_or_default())
}

/// Why a cluster is not known to have this version everywhere.
fn lacks(source: &Source, cluster: &RemoteCluster) -> Option<String> {
    let Some(status) = &cluster.status else {
        return Some("no master has looked at this RemoteCluster yet; does one run?".to_owned());
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        return Some("the RemoteCluster is being removed".to_owned());
    }
    let trouble = status.ready().filter(|ready| ready.status != "True");
    let trouble = trouble.map(|ready| format!("{}: {}", ready.reason, ready.message));
    // What was said of another spec may have been said of another cluster.
    if status.observed_generation != cluster.metadata.generation {
        return Some(trouble.unwrap_or_else(|| "the master has not acted on its last change yet".to_owned()));
    }
    let Version { uid, rv } = source.version;
    let key = source.key.to_string();
    let copy = status.copies.iter().find(|copy| copy.source == key);
    let copy = copy.filter(|copy| copy.uid == uid.to_string() && copy.resource_version == rv.to_string());
    match copy {
        Some(copy) if copy.everywhere => None,
        Some(copy) => Some(trouble.or_else(|| copy.reason.clone()).unwrap_or_else(|| "not everywhere".to_owned())),
        None => Some(trouble.unwrap_or_else(|| "the master has not brought this version there yet".to_owned())),
    }
}

/// The same of an agent that runs beside the master, and copies the source itself.
fn lacks_here(source: &Source, json: &str) -> Option<String> {
    let told = Summary::read(json).and_then(|mut summary| summary.sources.remove(&source.key.to_string()));
    match told {
        Some(told) if told.is_everywhere(source.version) => None,
        Some(told) if told.version() == Some(source.version) => {
            Some(format!("{} pending and {} refused", told.pending, told.refused))
        }
        _ => Some("the agent has not acted on this version yet".to_owned()),
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
