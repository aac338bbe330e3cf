//! Of two processes one writes: what a server has been asked to hold, and what each process sends meanwhile.
//!
//! A write that was sent in time may still arrive late, and then its guards are what holds it; so what is judged is
//! when it was sent. Nobody else may hold the Lease before the time is over that such a write may take.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::api::Request;

/// As `deploy/` and DESIGN say: of the Lease, and of a write under it.
const LEASE: Duration = Duration::from_secs(15);
const DEADLINE: Duration = Duration::from_secs(4);

/// Who holds the Lease, as the server sees it.
#[derive(Debug, Default)]
pub(super) struct Tenure {
    /// Whom it was given to last, and when that one sent the last request by which it has it still.
    held: Option<(u64, Instant)>,
    /// When requests about it were sent, and by whom.
    asked: BTreeMap<u64, Instant>,
    /// Writes that were not answered: who sent them, and until when they may be under way.
    writes: BTreeMap<u64, (u64, Instant)>,
}

/// Whether a request is to become the holder of the Lease.
pub(super) fn takes(request: &Request) -> bool {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let takes = |operation: &Value| operation["path"] == "/spec";
    request.is_of_lease() && (body["spec"].is_object() || body.as_array().is_some_and(|patch| patch.iter().any(takes)))
}

impl Tenure {
    /// The process that the Lease was given to last, if it was not given up.
    pub(super) fn holder(&self) -> Option<u64> {
        self.held.map(|(process, _)| process)
    }

    /// A process sends something.
    pub(super) fn sends(&mut self, process: u64, number: u64, request: &Request) -> Result<(), String> {
        let now = Instant::now();
        if request.is_of_lease() {
            self.asked.insert(number, now);
            return Ok(());
        }
        if !request.is_write() {
            return Ok(());
        }
        self.writes.retain(|_, (_, until)| *until > now);
        self.writes.insert(number, (process, now + DEADLINE));
        match self.held {
            Some((holder, sent)) if holder == process && now + DEADLINE <= sent + LEASE => Ok(()),
            Some((holder, sent)) if holder == process => Err(format!(
                "two leaders: {} {} of process {process}, which has the Lease since {:?} ago",
                request.method,
                request.path,
                now - sent
            )),
            held => Err(format!(
                "two leaders: {} {} of process {process}, and the Lease is {held:?}",
                request.method, request.path
            )),
        }
    }

    /// A request was answered, or its connection broke: it is no longer under way.
    pub(super) fn answered(&mut self, number: u64) {
        self.writes.remove(&number);
    }

    /// The server has written the Lease.
    pub(super) fn holds(&mut self, number: u64, lease: &Value) -> Result<(), String> {
        let now = Instant::now();
        let sent = self.asked.get(&number).copied().unwrap_or(now);
        let holder =
            lease["spec"]["holderIdentity"].as_str().and_then(|name| name.strip_prefix("process-")?.parse().ok());
        self.held = holder.map(|process| (process, sent));
        let Some(process) = holder else { return Ok(()) };
        match self.writes.values().find(|(other, until)| *other != process && *until > now) {
            Some((other, until)) => Err(format!(
                "two leaders: process {process} takes the Lease, and a write of {other} may last {:?} still",
                *until - now
            )),
            None => Ok(()),
        }
    }
}
