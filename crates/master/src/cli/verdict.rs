//! Whether a source is everywhere: one answer, for `wait` and for `status`.

use std::time::Duration;

use jiff::Timestamp;
use sync_core::cluster::summary::Stored;
use sync_core::contract::desired::Desired;
use sync_core::contract::object::Version;
use sync_core::contract::source::{Reading, Source};
use sync_core::summary::{Lack, Summary, Whereabouts, age, is_silent, last_word};

use super::watching::Watching;
use crate::remote::crd::RemoteCluster;

/// Name that the management cluster itself has among the others.
pub const HERE: &str = "(this cluster)";

/// What sources are looked at by.
#[derive(Debug)]
pub struct View {
    /// All RemoteClusters.
    pub clusters: Vec<RemoteCluster>,
    /// What an agent of this cluster says.
    pub here: Stored,
    /// Whether a master keeps the statuses as things are.
    pub watching: Watching,
    /// The source namespace.
    pub namespace: String,
    /// When it was looked.
    pub now: Timestamp,
}

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
    /// If the agent there may not run, or the master: how old its last word is, and how to see whether it runs. It changes
    /// with the time.
    pub silence: Option<String>,
}

impl Missing {
    /// All of it in words.
    pub fn text(&self) -> String {
        match &self.silence {
            Some(silence) => format!("{}; {silence}", self.reason),
            None => self.reason.clone(),
        }
    }
}

/// Looks at a source.
///
/// Yes is said of the version that `source` has, and only where the master has said so of that very version: what is old,
/// unknown or about another RemoteCluster is no.
pub fn verdict(source: &Source, view: &View) -> Verdict {
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
    // Of many clusters the first says what to do.
    let mut hint = true;
    for cluster in view.clusters.iter().filter(|cluster| selects(&desired, cluster)) {
        of += 1;
        missing.extend(lacks(source, cluster, view.now).or_else(|| {
            let lack = unwatched(cluster, view, hint);
            hint &= lack.is_none();
            lack
        }));
    }
    if let Stored::Summary { json, time } = &view.here {
        of += 1;
        missing.extend(lacks_here(source, json, time, view));
    }
    if of == 0 { Verdict::Nowhere } else { Verdict::Of(of, missing) }
}

fn selects(desired: &Desired, cluster: &RemoteCluster) -> bool {
    let (name, labels) = (cluster.metadata.name.as_deref(), cluster.metadata.labels.clone());
    desired.options.clusters.selects(name.unwrap_or_default(), &labels.unwrap_or_default())
}

/// Why a cluster is not known to have this version everywhere.
fn lacks(source: &Source, cluster: &RemoteCluster, now: Timestamp) -> Option<Missing> {
    let name = cluster.metadata.name.clone().unwrap_or_default();
    let missing = |reason: String, since| Missing { cluster: name.clone(), reason, since, silence: None };
    let lack = |reason: &str| Some(missing(reason.to_owned(), None));
    let Some(status) = &cluster.status else {
        return lack("no master has looked at this RemoteCluster yet; does one run?");
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        return lack("the RemoteCluster is being removed");
    }
    let trouble = status.ready().filter(|ready| ready.status != "True");
    let trouble = trouble.map(|r| missing(format!("{}: {}", r.reason, r.message), Some(r.last_transition_time.0)));
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
            let reason = copy.reason.clone().unwrap_or_else(|| "not everywhere".to_owned());
            let silence = |time: &String| silence(age(time, now), Whereabouts::There, &cluster.spec.namespace);
            Some(Missing { silence: copy.last_report_time.as_ref().map(silence), ..missing(reason, since) })
        }),
        None => trouble.or_else(|| lack("the master has not brought this version there yet")),
    }
}

/// Where all was in place when a master last looked.
fn unwatched(cluster: &RemoteCluster, view: &View, hint: bool) -> Option<Missing> {
    let (reason, silence) = match &view.watching {
        Watching::Yes => return None,
        Watching::Begins => ("all was in place, and a master that has just begun to lead looks again", None),
        Watching::No(last) => {
            let silence = hint.then(|| Watching::look(last, &view.namespace));
            ("all was in place while a master ran, and none does", silence)
        }
    };
    let cluster = cluster.metadata.name.clone().unwrap_or_default();
    Some(Missing { cluster, reason: reason.to_owned(), since: None, silence })
}

/// The same of an agent that runs beside the master, and copies the source itself.
fn lacks_here(source: &Source, json: &str, time: &str, view: &View) -> Option<Missing> {
    let age = age(time, view.now);
    let silent = is_silent(age);
    let Lack { why, unheard } = match Summary::read(json) {
        Some(summary) => summary.lacks_by_now(&source.key, source.version, Whereabouts::Here, silent)?,
        None => {
            let why = "the agent here is of a version that this master does not understand".to_owned();
            Lack { why, unheard: false }
        }
    };
    let silence = (unheard || silent).then(|| silence(age, Whereabouts::Here, &view.namespace));
    Some(Missing { cluster: HERE.to_owned(), reason: why, since: None, silence })
}

fn silence(age: Option<Duration>, at: Whereabouts, namespace: &str) -> String {
    format!("{}; does it run? {}", last_word(age), at.look(namespace))
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
