//! Operating the process: flags, logs, shutdown.

use std::hash::{BuildHasher as _, RandomState};
use std::process::ExitCode;

pub mod flags;
pub mod shutdown;
pub mod telemetry;

/// A seed for this process's jitter: many agents must not act in step.
pub fn seed() -> u64 {
    RandomState::new().hash_one("seed")
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
