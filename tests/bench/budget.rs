//! What a benchmark holds its figures against.

use std::process::ExitCode;

/// What `--strict` says of itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Strictness {
    /// End with status 1 if a budget is missed
    #[arg(long)]
    strict: bool,
}

/// The budgets of a run so far.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    missed: bool,
}

impl Budgets {
    /// Says of a figure whether it is within its budget, both in this unit.
    pub(crate) fn hold(&mut self, what: &str, value: f64, most: f64, unit: &str) {
        let met = value <= most;
        self.missed |= !met;
        let verdict = if met { "met" } else { "MISSED" };
        println!("  budget: {what} {value:.2}{unit} <= {most}{unit}: {verdict}");
    }

    /// How the program ends.
    pub(crate) fn verdict(&self, strictness: &Strictness) -> ExitCode {
        if self.missed && strictness.strict { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
