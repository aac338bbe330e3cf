//! What is waited for: what a controller says in its log, and what it may do.

use anyhow::ensure;
use testbed::{Cluster, Process, eventually};

use super::SOON;

/// Waits until a line of the log of a controller, which goes on, has all of these words.
pub(crate) async fn until_said(process: &Process, words: &[&str]) {
    eventually(SOON, format!("it says {words:?} in one line"), async || {
        let log = process.stderr();
        let said = log.lines().any(|line| words.iter().all(|word| line.contains(word)));
        ensure!(said && process.is_running(), "{}", process.log_tail(30));
        Ok(())
    })
    .await;
}

/// Waits until `kubectl auth can-i` with these arguments says no: an API server takes a moment to notice.
pub(crate) async fn until_may_not(cluster: &Cluster, args: &[&str]) {
    eventually(SOON, format!("{args:?} is not allowed"), async || {
        // The command fails where the answer is no.
        let answer = cluster.kubectl(&[&["auth", "can-i"], args].concat()).await;
        let answer = answer.unwrap_or_else(|error| error.to_string());
        ensure!(answer.trim_end().ends_with("no"), "{answer}");
        Ok(())
    })
    .await;
}
