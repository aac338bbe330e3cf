//! Runs the master.

use std::io::Write as _;

use master::args::Order;
use master::remote::crd;
use sync_core::ops::shutdown::Shutdown;
use sync_core::ops::telemetry;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Order::parse(std::env::args_os()).unwrap_or_else(|error| error.exit()) {
        Order::Crd => std::io::stdout().write_all(crd::yaml()?.as_bytes())?,
        Order::Run(config) => {
            telemetry::init(config.common.log_level, config.common.log_format);
            master::run(&config, &Shutdown::on_signals()?).await;
        }
    }
    Ok(())
}
