//! What the agent says.

use std::time::Duration;

use anyhow::ensure;
use testbed::{Process, eventually};

/// For 100,000 writes on a slow machine.
const DEADLINE: Duration = Duration::from_secs(900);

/// Waits until the log has so many lines with this text: asking the server would slow it down.
pub(crate) async fn said(agent: &Process, text: &str, times: usize) {
    eventually(DEADLINE, format!("the agent says {text:?}"), async || {
        let log = agent.stderr();
        let lines = log.matches(text).count();
        ensure!(lines >= times && agent.is_running(), "{}", agent.log_tail(20));
        Ok::<(), anyhow::Error>(())
    })
    .await;
}
