//! `master check`: each of the usual mistakes in a line of its own, with the command that mends it.
//!
//! It comes to each cluster by the same way as the engines do, writes nothing, and waits for no cluster longer than a
//! deadline: a black hole delays no other.

mod crd;
mod recipe;
mod remote;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, future, stream};
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
use crate::remote::claims::{self, Rank};
use crate::remote::crd::RemoteCluster;
use crate::remote::status::Outcome;
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
    /// Where RemoteClusters lead, by name; nowhere, those that nobody would set out for.
    places: Mutex<BTreeMap<String, Option<Uid>>>,
}

impl Tour {
    fn leads(&self, name: &str, place: Option<Uid>) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), place);
    }
}

/// Checks all and tells it. Returns whether anything could be asked.
///
/// # Errors
/// If it cannot be written.
pub async fn check<W: Write>(config: Config, report: &mut Report<W>) -> io::Result<bool> {
    let mut notes = Notes::of("management cluster");
    report.waiting("asking the management cluster");
    let Some(home) = preflight::home(&mut notes, &config.common, rights::MASTER, preflight::MASTER_MANIFEST).await
    else {
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
    report.waiting("asking AWS who we are");
    if let Ok(Some(target)) = timeout(DEADLINE, target(&tour.visitor, &clusters)).await {
        report.tell(aws(&tour.visitor, &target).await)?;
    }
    let mut waiting: Vec<_> = clusters.iter().filter_map(|cluster| cluster.metadata.name.clone()).collect();
    let looks = clusters.clone().into_iter().map(|cluster| {
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
    let places = std::mem::take(&mut *tour.places.lock().unwrap_or_else(PoisonError::into_inner));
    for notes in duplicates(&clusters, &places) {
        report.tell(notes)?;
    }
    Ok(true)
}

/// Those that lead where another one leads too, and that the master passes over for it. `places` are where they led now;
/// one that did not answer keeps the place that it had, as it does there.
fn duplicates(clusters: &[RemoteCluster], places: &BTreeMap<String, Option<Uid>>) -> Vec<Notes> {
    let mut claimants: BTreeMap<Uid, BTreeSet<(Rank, &str)>> = BTreeMap::new();
    for cluster in clusters {
        let rank = Rank::of(cluster);
        if let Some(place) = places.get(&rank.name).copied().unwrap_or_else(|| claims::led(cluster)) {
            claimants.entry(place).or_default().insert((rank, &cluster.spec.namespace));
        }
    }
    let mut all = Vec::new();
    for mut claimants in claimants.into_values() {
        let Some((first, destination)) = claimants.pop_first() else { continue };
        for (Rank { name, .. }, _) in claimants {
            let mut notes = Notes::of(format!("remote cluster {name}"));
            let (why, todo) = remote::words(&Outcome::Duplicate(first.name.clone()), destination);
            notes.failed("duplicate", why, todo);
            all.push(notes);
        }
    }
    all
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

/// One that is to be reached by AWS. Those that name an EKS cluster themselves come first: of the others the kubeconfigs are
/// read.
async fn target(visitor: &Visitor, clusters: &[RemoteCluster]) -> Option<Target> {
    let (named, others): (Vec<_>, Vec<_>) = clusters.iter().partition(|cluster| cluster.spec.eks.is_some());
    let targets = stream::iter(named).chain(stream::iter(others)).map(|cluster| visitor.target(cluster));
    pin!(targets.buffered(AT_ONCE).filter_map(future::ready)).next().await
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

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(n: u8) -> Uid {
        Uid::parse(&format!("0a1b2c3d-0000-4abc-8def-0000000000{n:02}")).unwrap()
    }

    /// Made in this second of a minute; where it led when it was last connected.
    fn cluster(name: &str, second: u8, led: Option<Uid>) -> RemoteCluster {
        let mut cluster = RemoteCluster::new(name, serde_yaml::from_str("kubeconfig: {secretName: a}").unwrap());
        let time = format!("2026-01-01T00:00:{second:02}Z").parse().unwrap();
        cluster.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
        let status = serde_json::from_value(serde_json::json!({ "identity": led.map(|uid| uid.to_string()) }));
        cluster.status = Some(status.unwrap());
        cluster
    }

    #[test]
    fn the_one_that_the_master_passes_over_is_the_duplicate() {
        let mut discovered = cluster("discovered", 0, None);
        discovered.metadata.labels = Some([("mw-sync.io/discovered-by".to_owned(), "fleet".to_owned())].into());
        let clusters = [
            cluster("young", 9, None),
            cluster("old", 5, None),
            discovered,
            cluster("down", 1, Some(uid(2))),
            cluster("late", 3, None),
            cluster("off", 1, Some(uid(1))),
            cluster("moved", 1, Some(uid(1))),
        ];
        let at = |place| move |name: &str| (name.to_owned(), place);
        let places = ["young", "old", "discovered"].map(at(Some(uid(1)))).into_iter();
        let places = places.chain([at(Some(uid(2)))("late"), at(None)("off"), at(Some(uid(3)))("moved")]).collect();
        let told = duplicates(&clusters, &places);
        let told: Vec<_> = told.iter().map(|notes| format!("{notes:?}")).collect();
        let expected = [("young", "old"), ("discovered", "old"), ("late", "down")];
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for ((name, first), told) in expected.iter().zip(&told) {
            assert!(told.contains(&format!("remote cluster {name}")), "{told}");
            assert!(told.contains(&format!("RemoteCluster {first} is older")), "{told}");
        }
    }
}
