//! Runs the master.

use std::io::Write as _;
use std::process::ExitCode;

use master::args::Order;
use master::remote::crd;
use sync_core::ops::shutdown::Shutdown;
use sync_core::ops::{self, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Order::parse(std::env::args_os()).unwrap_or_else(|error| error.exit()) {
        Order::Crd => {
            std::io::stdout().write_all(crd::yaml()?.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Order::Run(config) => {
            telemetry::init(config.common.log_level, config.common.log_format);
            Ok(ops::exit_code(master::run(*config, Shutdown::on_signals()?).await))
        }
    }
}
