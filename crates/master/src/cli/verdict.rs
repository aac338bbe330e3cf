//! Whether a source is everywhere: one answer, for `wait` and for `status`.

use jiff::Timestamp;
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
    /// It asks for no copies, or cannot be understood so that no more are made: with what is the matter.
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
    /// Since when, if that is known.
    pub since: Option<Timestamp>,
}

/// What is missing in a cluster, before the cluster has its name there.
type Lack = (String, Option<Timestamp>);

/// Looks at a source, all RemoteClusters, and what an agent of this cluster says.
///
/// Yes is said of the version that `source` has, and only where the master has said so of that very version: what is old,
/// unknown or about another RemoteCluster is no.
pub fn verdict(source: &Source, clusters: &[RemoteCluster], here: &Stored) -> Verdict {
    let desired = match &source.reading {
        // The uid of the namespace is in the marks, and selects nothing.
        Reading::On(template) => template.desired(source.version.uid),
        Reading::Frozen(_, why) => {
            return Verdict::NoCopies(format!("{why}; until then its copies follow, and none is created or deleted"));
        }
        Reading::Never(why) => return Verdict::NoCopies(why.to_string()),
        Reading::Off(_) => return Verdict::NoCopies("it is switched off".to_owned()),
        Reading::Plain => {
            let key = format!("{}/{}", source.key.kind.as_str().to_ascii_lowercase(), source.key.name);
            return Verdict::NoCopies(format!("it is not annotated: kubectl annotate {key} mw-sync=yes"));
        }
    };
    let mut of = 0;
    let mut missing = Vec::new();
    let mut ask = |cluster: &str, lack: Option<Lack>| {
        of += 1;
        missing.extend(lack.map(|(reason, since)| Missing { cluster: cluster.to_owned(), reason, since }));
    };
    for cluster in clusters.iter().filter(|cluster| selects(&desired, cluster)) {
        ask(cluster.metadata.name.as_deref().unwrap_or_default(), lacks(source, cluster));
    }
    if let Stored::Summary { json, .. } = here {
        ask(HERE, lacks_here(source, json).map(|reason| (reason, None)));
    }
    if of == 0 { Verdict::Nowhere } else { Verdict::Of(of, missing) }
}

fn selects(desired: &Desired, cluster: &RemoteCluster) -> bool {
    let (name, labels) = (cluster.metadata.name.as_deref(), cluster.metadata.labels.clone());
    desired.options.clusters.selects(name.unwrap_or_default(), &labels.unwrap_or_default())
}

/// Why a cluster is not known to have this version everywhere.
fn lacks(source: &Source, cluster: &RemoteCluster) -> Option<Lack> {
    let lack = |reason: &str| Some((reason.to_owned(), None));
    let Some(status) = &cluster.status else {
        return lack("no master has looked at this RemoteCluster yet; does one run?");
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        return lack("the RemoteCluster is being removed");
    }
    let trouble = status.ready().filter(|ready| ready.status != "True");
    let trouble = trouble.map(|r| (format!("{}: {}", r.reason, r.message), Some(r.last_transition_time.0)));
    // What was said of another spec may have been said of another cluster.
    if status.observed_generation != cluster.metadata.generation {
        return trouble.or_else(|| lack("the master has not acted on its last change yet"));
    }
    let Version { uid, rv } = source.version;
    let key = source.key.to_string();
    let copy = status.copies.iter().find(|copy| copy.source == key);
    let copy = copy.filter(|copy| copy.uid == uid.to_string() && copy.resource_version == rv.to_string());
    match copy {
        Some(copy) if copy.everywhere => None,
        Some(copy) => trouble.or_else(|| {
            let since = copy.since.as_ref().and_then(|since| since.parse().ok());
            Some((copy.reason.clone().unwrap_or_else(|| "not everywhere".to_owned()), since))
        }),
        None => trouble.or_else(|| lack("the master has not brought this version there yet")),
    }
}

/// The same of an agent that runs beside the master, and copies the source itself.
fn lacks_here(source: &Source, json: &str) -> Option<String> {
    match Summary::read(json) {
        Some(summary) => summary.lacks(&source.key, source.version),
        None => Some("the agent here is of a version that this master does not understand".to_owned()),
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
