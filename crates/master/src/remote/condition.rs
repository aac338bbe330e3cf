//! The condition `Ready` of our objects. Pure: the time is handed in.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Type of the one condition.
pub const READY: &str = "Ready";

/// What the condition is to say.
#[derive(Debug)]
pub(crate) struct Ready {
    /// True or False.
    pub(crate) is: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// `metadata.generation` of the object that was acted on.
    pub(crate) generation: Option<i64>,
}

/// The condition, once somebody has written it.
pub fn ready(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == READY)
}

impl Ready {
    /// The conditions that follow these. Those of other types are left alone; `lastTransitionTime` moves only when `Ready`
    /// changes between True and False.
    pub(crate) fn among(self, before: &[Condition], now: Timestamp) -> Vec<Condition> {
        let status = if self.is { "True" } else { "False" };
        let since = ready(before).filter(|old| old.status == status).map(|old| old.last_transition_time.clone());
        let next = Condition {
            type_: READY.to_owned(),
            status: status.to_owned(),
            reason: self.reason.to_owned(),
            message: self.message,
            // Kubernetes writes whole seconds; with more the object read back would differ from what was written.
            last_transition_time: since.unwrap_or_else(|| Time(whole_seconds(now))),
            observed_generation: self.generation,
        };
        let mut conditions = before.to_vec();
        match conditions.iter_mut().find(|condition| condition.type_ == READY) {
            Some(place) => *place = next,
            None => conditions.push(next),
        }
        conditions
    }
}

/// As Kubernetes writes times.
pub(crate) fn whole_seconds(time: Timestamp) -> Timestamp {
    // Always within the range that a `Timestamp` has, for it comes from one.
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
