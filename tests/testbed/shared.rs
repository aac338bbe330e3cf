//! Clusters that all tests of a process use.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use anyhow::Result;
use tokio::sync::OnceCell;

use crate::cluster::{Cluster, ClusterOptions};

/// A cluster that other tests use at the same time. It runs until the test process ends.
#[derive(Clone, Debug)]
pub struct SharedCluster(Arc<Cluster>);

/// The cluster of that name, started by whoever asks first; equal names give the same cluster within a test process.
///
/// # Errors
/// If it does not start. The next caller tries again.
pub async fn shared(name: &str) -> Result<SharedCluster> {
    shared_with(name, || Ok(ClusterOptions::default())).await
}

/// The same for a cluster with options, which all who ask for this name must agree on.
///
/// # Errors
/// As [`shared`], and if there are no options.
pub async fn shared_with(name: &str, options: impl FnOnce() -> Result<ClusterOptions>) -> Result<SharedCluster> {
    type Clusters = Mutex<HashMap<String, Arc<OnceCell<Arc<Cluster>>>>>;
    static CLUSTERS: LazyLock<Clusters> = LazyLock::new(Mutex::default);
    let cell = {
        let mut clusters = CLUSTERS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(clusters.entry(name.to_owned()).or_default())
    };
    let start = async || Cluster::start(options()?).await.map(Arc::new);
    Ok(SharedCluster(Arc::clone(cell.get_or_try_init(start).await?)))
}

impl Deref for SharedCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.0
    }
}

impl Drop for SharedCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
    }
}
