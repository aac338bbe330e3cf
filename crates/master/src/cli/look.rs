//! What the management cluster knows at this moment, in a few reads.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Map, Value};
use sync_core::cluster::access::AccessError;
use sync_core::cluster::connection::{Connection, Patience};
use sync_core::cluster::lease::{Holder, Leader, leader};
use sync_core::cluster::read;
use sync_core::cluster::summary;
use sync_core::contract::object::SourceKey;
use sync_core::contract::rules::Rules;
use sync_core::contract::source::Source;
use sync_core::fault::Fault;
use sync_core::leadership::Leading;
use sync_core::lease::LEASE;
use sync_core::ops::flags::Common;
use sync_core::ops::preflight;
use sync_core::ops::status::Shows;
use tokio::time::Instant;

use super::status;
use super::verdict::{Verdict, View, verdict};
use super::watching::Watching;
use crate::remote::crd::RemoteCluster;
use crate::remote::gauges::Gauges;
use crate::remote::visit;

/// A master has reached and heard a thousand clusters within twenty seconds of its start.
const FIRST_LOOK: Duration = Duration::from_secs(30);

/// The management cluster, to be looked at.
#[derive(Debug)]
pub struct Looker {
    rules: Arc<Rules>,
    connection: Connection,
    /// What a dry run knows of remote clusters: it writes no status.
    dry: Option<Arc<Gauges>>,
    /// Whether a master that runs shows by its Lease.
    by_lease: bool,
    /// The last renewal, and when it was seen to follow another one.
    renewal: Mutex<Option<(Timestamp, Option<Instant>)>>,
}

impl Looker {
    /// For whoever looks again and again. Nothing is sent yet.
    ///
    /// # Errors
    /// If there is no way to reach a cluster.
    pub async fn new(common: Common) -> Result<Self, AccessError> {
        let Common { rules, context, .. } = common;
        let way = Connection::local(context.as_deref(), rules.role.user_agent(), Patience::PERSON);
        let (_, connection) = way.await?;
        Ok(Self::from_outside(rules, connection))
    }

    /// For whoever looks once.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn once(common: Common) -> Result<Self, String> {
        let (_, connection) = preflight::reach(&common).await?;
        Ok(Self::from_outside(common.rules, connection))
    }

    fn from_outside(rules: Rules, connection: Connection) -> Self {
        Self { rules: Arc::new(rules), connection, dry: None, by_lease: true, renewal: Mutex::default() }
    }

    /// Of a controller that runs; in a dry run remote clusters are as it knows them, not as their status says.
    pub fn of(rules: Arc<Rules>, connection: Connection, gauges: Arc<Gauges>, leading: &Leading) -> Self {
        Self {
            rules,
            connection,
            dry: leading.is_dry().then_some(gauges),
            by_lease: leading.is_shared(),
            renewal: Mutex::default(),
        }
    }

    /// `--source-namespace`
    pub fn namespace(&self) -> &str {
        &self.rules.source_namespace
    }

    /// One source and where it is for certain; `None` if there is no such object.
    ///
    /// # Errors
    /// If one of the reads fails.
    pub async fn at(&self, key: &SourceKey) -> Result<Option<(Source, Verdict)>, Fault> {
        let object = read::get_object(&self.connection.write, key.kind, self.namespace(), &key.name).await?;
        let Some(object) = object else { return Ok(None) };
        let source = Source::read(&self.rules, object);
        // After the source: what is said of this version is not older than it.
        let view = self.view(FIRST_LOOK).await?;
        let verdict = verdict(&source, &view);
        Ok(Some((source, verdict)))
    }

    /// All sources and where they are, and what they were looked at by.
    ///
    /// # Errors
    /// If one of the reads fails.
    pub async fn at_all(&self) -> Result<(Vec<(Source, Verdict)>, View), Fault> {
        let sources = read::sources(&self.connection.watch, &self.rules).await?;
        // What a new master has not seen yet it will say in a moment: whoever asks for all of it does not wait.
        let view = self.view(Duration::ZERO).await?;
        let told = sources.into_iter().map(|source| {
            let verdict = verdict(&source, &view);
            (source, verdict)
        });
        Ok((told.collect(), view))
    }

    async fn view(&self, first_look: Duration) -> Result<View, Fault> {
        let (clusters, namespace) = (self.clusters().await?, self.namespace().to_owned());
        let here = summary::get(&self.connection.write, &self.rules).await?;
        let master = if self.by_lease { leader(&self.connection.write, &self.rules).await? } else { Leader::NoLease };
        let (renewing, now) = (self.is_renewing(&master), Timestamp::now());
        Ok(View { clusters, here, watching: Watching::of(&master, renewing, first_look, now), namespace, now })
    }

    /// Whether the Lease is renewed before our eyes, whatever the clocks say.
    fn is_renewing(&self, master: &Leader) -> bool {
        let Leader::Holder(Holder { renewed, .. }) = master else { return false };
        let mut known = self.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = match *known {
            Some((before, seen)) if before == *renewed => seen,
            before => before.map(|_| Instant::now()),
        };
        *known = Some((*renewed, seen));
        seen.is_some_and(|seen| seen.elapsed() < 2 * LEASE)
    }

    async fn clusters(&self) -> Result<Vec<RemoteCluster>, Fault> {
        let mut clusters = visit::all(&self.connection, self.namespace()).await?;
        if let Some(gauges) = &self.dry {
            for cluster in &mut clusters {
                cluster.status = gauges.status(cluster.metadata.name.as_deref().unwrap_or_default());
            }
        }
        Ok(clusters)
    }
}

/// What `master status` says, for the page.
impl Shows for Looker {
    fn show(&self) -> BoxFuture<'_, Result<Map<String, Value>, String>> {
        let told = |fault: Fault| format!("cannot look: {fault}; {}", fault.what_to_do());
        async move {
            let (sources, view) = self.at_all().await.map_err(told)?;
            Ok(status::document(&sources, &view))
        }
        .boxed()
    }
}
