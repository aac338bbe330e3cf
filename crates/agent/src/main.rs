//! Runs the agent.

use std::process::ExitCode;

use agent::args::Config;
use sync_core::ops::shutdown::Shutdown;
use sync_core::ops::{self, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let config = Config::parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    telemetry::init(config.common.log_level, config.common.log_format);
    Ok(ops::exit_code(agent::run(config, Shutdown::on_signals()?).await))
}
