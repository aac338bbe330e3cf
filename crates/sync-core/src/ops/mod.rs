//! Operating the process: flags, logs, shutdown.

pub mod flags;
pub mod shutdown;
pub mod telemetry;
