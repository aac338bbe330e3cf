//! Runs the master.

use std::io::Write as _;
use std::process::ExitCode;

use master::args::Order;
use master::cli::look::Looker;
use master::cli::{status, wait};
use master::{check, crds, plan, purge};
use sync_core::ops::flags::Common;
use sync_core::ops::plan_told;
use sync_core::ops::report::Report;
use sync_core::ops::shutdown::Shutdown;
use sync_core::ops::{self, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Order::parse(std::env::args_os()).unwrap_or_else(|error| error.exit()) {
        Order::Crd => {
            std::io::stdout().write_all(crds::yaml()?.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Order::Print(text) => {
            std::io::stdout().write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Order::Check(config, format) => {
            let mut report = Report::on_stdout(format);
            let asked = check::check(*config, &mut report).await?;
            Ok(report.end(asked)?)
        }
        Order::Plan(config, format) => {
            let planned = plan::plan(*config).await;
            Ok(plan_told::write(format, &planned, &mut std::io::stdout())?)
        }
        Order::Purge(config, clusters, args) => {
            Ok(purge::purge(*config, &clusters, &args, &mut std::io::stdout()).await?.into())
        }
        Order::Wait(common, source, timeout) => Ok(match Looker::new(*common).await {
            Ok(looker) => wait::wait(&looker, &source, timeout, &mut std::io::stdout()).await?.into(),
            Err(error) => told(&error),
        }),
        Order::Status(common, format) => Ok(show(*common, format).await?),
        Order::Run(config) => {
            telemetry::init(config.common.log_level, config.common.log_format);
            Ok(ops::exit_code(master::run(*config, Shutdown::on_signals()?).await))
        }
    }
}

async fn show(common: Common, format: status::Format) -> std::io::Result<ExitCode> {
    let looker = match Looker::once(common).await {
        Ok(looker) => looker,
        Err(why) => return Ok(told(&why)),
    };
    let (sources, view) = match looker.at_all().await {
        Ok(all) => all,
        Err(fault) => return Ok(told(&format!("{fault}; {}", fault.what_to_do()))),
    };
    status::write(format, &sources, &view, &mut std::io::stdout())?;
    Ok(if status::is_well(&sources, &view) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// What cannot be mended by waiting.
fn told(error: &impl std::fmt::Display) -> ExitCode {
    // If nobody reads that either, the status says it.
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::from(2)
}
