//! What has come of every pair, for somebody who wants them all.

use super::{Core, Fault, Outcome};
use crate::contract::object::SourceKey;
use crate::reason::Would;

/// A pair for which nothing more is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The source.
    pub source: SourceKey,
    /// The destination.
    pub namespace: String,
    /// From the lists in [`Reason`](crate::reason::Reason) and [`Fault`](crate::fault::Fault).
    pub reason: &'static str,
    /// What a person can do about it.
    pub todo: &'static str,
    /// What was not tried, because writes like it are not answered there.
    pub untried: Option<Would>,
}

impl Core {
    /// The pairs that are not as they should be, and for which nothing is due: held, refused, or failed.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let (mut verdicts, hangs) = (Vec::new(), Fault::Hangs(String::new()));
        for (pair, state) in &self.pairs {
            let (reason, todo) = match state.outcome {
                _ if self.queue.is_aside(*pair) => (hangs.reason(), hangs.what_to_do()),
                Outcome::Nothing | Outcome::Synced | Outcome::Pending | Outcome::Tried(_) => continue,
                Outcome::Held(reason) | Outcome::Refused(reason) => (reason.as_str(), reason.what_to_do()),
                Outcome::Failed(reason) => (reason, ""),
            };
            let Some((source, dest)) = self.sources.get(&pair.source).zip(self.dests.get(&pair.dest)) else { continue };
            let (source, namespace) = (source.key.clone(), dest.name.to_string());
            let attempt = self.queue.is_aside(*pair).then(|| self.attempt(*pair, &self.plan(*pair))).flatten();
            verdicts.push(Verdict { source, namespace, reason, todo, untried: attempt.map(|attempt| attempt.would) });
        }
        verdicts
    }
}
