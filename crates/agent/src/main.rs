//! Runs the agent.

use std::io::Write as _;
use std::process::ExitCode;

use agent::args::Order;
use agent::{check, look, plan, purge};
use sync_core::ops::plan_told;
use sync_core::ops::report::Report;
use sync_core::ops::shutdown::Shutdown;
use sync_core::ops::{self, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Order::parse(std::env::args_os()).unwrap_or_else(|error| error.exit()) {
        Order::Print(text) => {
            std::io::stdout().write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Order::Check(config, format) => {
            let mut report = Report::on_stdout(format);
            let asked = check::check(&config, &mut report).await?;
            Ok(report.end(asked)?)
        }
        Order::Status(config, format) => Ok(look::status(&config, format, &mut std::io::stdout()).await?),
        Order::Plan(config, format) => {
            let planned = plan::plan(&config).await;
            Ok(plan_told::write(format, &planned, &mut std::io::stdout())?)
        }
        Order::Purge(config, args) => Ok(purge::purge(&config, &args, &mut std::io::stdout()).await?.into()),
        Order::Run(config) => {
            telemetry::init(config.common.log_level, config.common.log_format);
            Ok(ops::exit_code(agent::run(*config, Shutdown::on_signals()?).await))
        }
    }
}
