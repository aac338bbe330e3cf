//! Operating the process: flags, start, logs, shutdown; and what people ask of it on a command line.

use std::hash::{BuildHasher as _, RandomState};
use std::process::ExitCode;

pub mod begin;
pub mod flags;
pub mod health;
pub mod http;
pub mod metrics;
pub mod plan_told;
pub mod preflight;
mod probes;
pub mod purge;
pub mod report;
pub mod rights;
pub mod shutdown;
pub mod source_name;
pub mod status;
pub mod table;
pub mod telemetry;
pub mod version;

/// A seed for this process's jitter: many agents must not act in step.
pub fn seed() -> u64 {
    RandomState::new().hash_one("seed")
}

/// Name of this process for Events: the pod's, else the machine's, as far as the environment tells.
pub fn instance(role: crate::contract::rules::Role) -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|host| !host.is_empty() && host.len() < 128);
    host.unwrap_or_else(|| role.field_manager().to_owned())
}

/// What a controller's end means to whoever started it: 2 for what waiting cannot mend, as for a wrong flag.
pub fn exit_code<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(2)
        }
    }
}
