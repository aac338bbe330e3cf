//! Writes the status of one RemoteCluster.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use sync_core::cluster::read;
use sync_core::fault::Fault;
use sync_core::rng::Rng;
use tokio::sync::watch as state;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::crd::{RemoteCluster, RemoteClusterStatus};
use super::fleet::Shared;
use super::serve::{BACKOFF_FIRST, BACKOFF_MOST};
use super::status::{self, Report};

/// At least so long between two writes of a status: counts change with every request.
const STATUS_PAUSE: Duration = Duration::from_secs(1);

/// Writes the status.
pub(super) struct Teller {
    shared: Arc<Shared>,
    name: String,
    /// What stands in the object, as far as we know.
    last: Option<RemoteClusterStatus>,
    rng: Rng,
}

impl Teller {
    /// For the RemoteCluster of this name, in whose status `last` stands.
    pub(super) fn new(shared: Arc<Shared>, name: String, last: Option<RemoteClusterStatus>) -> Self {
        let rng = Rng::new(shared.seed_of(&name));
        Self { shared, name, last, rng }
    }

    /// Writes each report that says something new, until nobody reports any more. Returns the status that stands then.
    pub(super) async fn tell(mut self, reports: state::Receiver<Report>) -> Option<RemoteClusterStatus> {
        self.write_all(reports).await;
        self.last
    }

    async fn write_all(&mut self, mut reports: state::Receiver<Report>) {
        let (mut failures, mut leading, mut term) = (0_u8, self.shared.leading.clone(), None);
        loop {
            let mut until_the_end = reports.clone();
            tokio::select! {
                biased;
                () = leading.allowed() => {}
                () = ended(&mut until_the_end) => return,
            }
            if leading.term() != term {
                term = leading.term();
                self.read().await;
            }
            let report = reports.borrow_and_update().clone();
            match self.write(&report).await {
                Ok(()) => failures = 0,
                // It has been deleted: its end comes by the watch.
                Err(Fault::NotFound) => debug!("the RemoteCluster is gone"),
                Err(fault) => {
                    failures = failures.saturating_add(1);
                    warn!(reason = fault.reason(), %fault, todo = fault.what_to_do(), "cannot write the status");
                }
            }
            let pause =
                if failures == 0 { STATUS_PAUSE } else { self.rng.backoff(BACKOFF_FIRST, failures, BACKOFF_MOST) };
            let mut until_the_end = reports.clone();
            tokio::select! {
                biased;
                () = ended(&mut until_the_end) => return,
                () = sleep(pause) => {}
            }
            if failures == 0 && reports.changed().await.is_err() {
                return;
            }
        }
    }

    /// Another process has led, and written what we do not know.
    async fn read(&mut self) {
        let client = &self.shared.connection.watch;
        if let Ok(cluster) = read::get_json::<RemoteCluster>(client, &self.shared.path_of(&self.name)).await {
            self.last = cluster.status;
        }
    }

    async fn write(&mut self, report: &Report) -> Result<(), Fault> {
        let Some(status) = status::next(self.last.as_ref(), report, jiff::Timestamp::now()) else { return Ok(()) };
        let path = format!("{}/status", self.shared.path_of(&self.name));
        let patch = Bytes::from(json!({ "status": status }).to_string());
        let manager = self.shared.rules.role.field_manager();
        let client = &self.shared.connection.write;
        read::patch::<RemoteCluster>(client, &path, manager, patch).await?;
        info!(reason = report.outcome.reason(), "status");
        self.last = Some(status);
        Ok(())
    }
}

/// Returns when nobody reports any more.
async fn ended(reports: &mut state::Receiver<Report>) {
    while reports.changed().await.is_ok() {}
}
