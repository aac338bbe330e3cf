//! `master check`: each of the usual mistakes in a line of its own, with the command that mends it.
//!
//! It comes to each cluster by the same way as the engines do, writes nothing, and waits for no cluster longer than a
//! deadline: a black hole delays no other.

mod crd;
mod remote;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use serde_json::Value;
use sync_core::cluster::read;
use sync_core::contract::object::Uid;
use sync_core::fault::Fault;
use sync_core::ops::preflight::{self, Home, mend};
use sync_core::ops::report::{Notes, Report};
use sync_core::ops::rights;
use tokio::time::timeout;

use crate::args::Config;
use crate::eks::aws::SessionKey;
use crate::eks::target::Target;
use crate::remote::crd::RemoteCluster;
use crate::remote::visit::{self, Visitor};

/// Remote clusters that are looked at at once.
const AT_ONCE: usize = 16;
/// For one remote cluster, AWS included.
const DEADLINE: Duration = Duration::from_secs(30);

/// What all looks at remote clusters share.
struct Tour {
    visitor: Visitor,
    /// Incarnation of the source namespace, if it is there.
    home: Option<Uid>,
    /// Which RemoteCluster leads to a destination; the first one that has said so.
    places: Mutex<BTreeMap<Uid, String>>,
}

/// Checks all and tells it. Returns whether anything could be asked.
///
/// # Errors
/// If it cannot be written.
pub async fn check<W: Write>(config: Config, report: &mut Report<W>) -> io::Result<bool> {
    let mut notes = Notes::of("management cluster");
    report.waiting("asking the management cluster");
    let Some(home) = preflight::home(&mut notes, &config.common, rights::MASTER, "deploy/master.yaml").await else {
        report.tell(notes)?;
        return Ok(false);
    };
    crd::check(&mut notes, &home.connection).await;
    discoveries(&mut notes, &home, &config.common.rules.source_namespace).await;
    let clusters = remote_clusters(&mut notes, &home, &config.common.rules.source_namespace).await;
    report.tell(notes)?;

    let Home { connection, namespace, .. } = home;
    let tour = Tour { visitor: Visitor::new(config, connection), home: namespace, places: Mutex::default() };
    let tour = Arc::new(tour);
    if let Some(target) = clusters.iter().find_map(target) {
        report.waiting("asking AWS who we are");
        report.tell(aws(&tour.visitor, &target).await)?;
    }
    let mut waiting: Vec<_> = clusters.iter().filter_map(|cluster| cluster.metadata.name.clone()).collect();
    let looks = clusters.into_iter().map(|cluster| {
        let tour = Arc::clone(&tour);
        async move {
            let name = cluster.metadata.name.clone().unwrap_or_default();
            let mut notes = Notes::of(format!("remote cluster {name}"));
            let look = timeout(DEADLINE, remote::check(&mut notes, &tour, &name, &cluster)).await;
            if look.is_err() {
                let after = notes.last().map_or_else(String::new, |last| format!(" after: {last}"));
                let why = format!("no answer within {} s{after}", DEADLINE.as_secs());
                notes.failed("deadline", why, "check the network and proxies between");
            }
            (name, notes)
        }
    });
    let mut looks = stream::iter(looks).buffer_unordered(AT_ONCE);
    loop {
        match waiting.as_slice() {
            [] => {}
            [one] => report.waiting(&format!("waiting for remote cluster {one}")),
            [one, others @ ..] => {
                report.waiting(&format!("waiting for remote cluster {one} and {} others", others.len()));
            }
        }
        let Some((name, notes)) = looks.next().await else { break };
        waiting.retain(|other| *other != name);
        report.tell(notes)?;
    }
    Ok(true)
}

/// A master may not read their definition; that they cannot be listed tells that it is missing.
async fn discoveries(notes: &mut Notes, home: &Home, namespace: &str) {
    const NAME: &str = "ClusterDiscoveries";
    let path = format!("/apis/mw-sync.io/v1alpha1/namespaces/{namespace}/clusterdiscoveries");
    match read::get_json::<Value>(&home.connection.write, &path).await {
        Ok(list) => {
            // Whoever discovers nothing need not read of it.
            let count = list.get("items").and_then(Value::as_array).map_or(0, Vec::len);
            if count > 0 {
                notes.ok(NAME, count.to_string());
            }
        }
        Err(Fault::NotFound) => {
            let why = "their definition is missing, or of an older version";
            notes.failed(NAME, why, "kubectl apply -f deploy/crds.yaml");
        }
        Err(fault) => notes.failed(NAME, fault.to_string(), mend(&fault)),
    }
}

async fn remote_clusters(notes: &mut Notes, home: &Home, namespace: &str) -> Vec<RemoteCluster> {
    const NAME: &str = "RemoteClusters";
    match visit::all(&home.connection, namespace).await {
        Ok(clusters) if clusters.is_empty() => {
            let todo = "make one, see deploy/examples: kubectl explain remotecluster.spec";
            notes.warning(NAME, format!("there is none in namespace {namespace}"), todo);
            clusters
        }
        Ok(clusters) => {
            notes.ok(NAME, clusters.len().to_string());
            clusters
        }
        // Told of the definition.
        Err(Fault::NotFound) => Vec::new(),
        Err(fault) => {
            notes.failed(NAME, fault.to_string(), mend(&fault));
            Vec::new()
        }
    }
}

fn target(cluster: &RemoteCluster) -> Option<Target> {
    let eks = cluster.spec.eks.as_ref().filter(|_| !cluster.spec.suspend)?;
    Target::parse(&eks.arn, eks.role_arn.as_deref(), eks.external_id.as_deref()).ok()
}

/// Who we are, before any role.
async fn aws(visitor: &Visitor, target: &Target) -> Notes {
    let mut notes = Notes::of("AWS");
    let region = target.arn.region().to_owned();
    let ourselves = SessionKey { role: None, external_id: None, session_name: None, region };
    match timeout(DEADLINE, visitor.eks.session(&ourselves).get()).await {
        Ok(Ok(held)) => notes.ok("identity", held.grant.caller.as_deref().unwrap_or("AWS does not say")),
        Ok(Err(error)) => notes.failed("identity", error.to_string(), error.what_to_do()),
        Err(_) => {
            let todo = "check the way to AWS: proxies (HTTPS_PROXY, NO_PROXY), VPC endpoints, name resolution";
            notes.failed("identity", format!("no answer within {} s", DEADLINE.as_secs()), todo);
        }
    }
    preflight::differ(&mut notes, visitor.clock.ahead(), "AWS's");
    notes
}
