//! Runs the agent.

use agent::args::Config;
use sync_core::ops::shutdown::Shutdown;
use sync_core::ops::telemetry;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    telemetry::init(config.common.log_level, config.common.log_format);
    agent::run(&config, &Shutdown::on_signals()?).await;
    Ok(())
}
