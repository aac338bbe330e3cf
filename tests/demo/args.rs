//! The demo's command line.

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Shows secret-replicator-eks at work: three real control planes on this machine, two of them as EKS clusters in two AWS
accounts (AWS itself is played by moto), the built binaries, kubectl.

Usage: cargo demo [--keep]

Options:
      --keep  Leave everything running until Ctrl-C, and say how to talk to it
  -h, --help  Print this

The first run builds a Kubernetes control plane with Go (about 8 minutes, once per version, kept in the user's cache
folder; KUBEBUILDER_ASSETS names a folder that has one), and a stand-in for AWS with Go and Python 3 (a minute).
NO_COLOR switches colours off.
";

/// What the demo is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Args {
    /// To run.
    Run {
        /// And to stay.
        keep: bool,
    },
    /// To explain itself.
    Help,
}

impl Args {
    /// Reads the arguments, the program's name not among them. `--` is passed over: `cargo demo` has one of its own
    /// already, and people write another.
    pub(crate) fn parse(line: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut keep = false;
        for arg in line {
            match arg.as_str() {
                "--" => {}
                "--keep" => keep = true,
                "-h" | "--help" => return Ok(Self::Help),
                other => return Err(format!("unknown argument {other:?}; there is --keep, and --help says more")),
            }
        }
        Ok(Self::Run { keep })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_write_it() {
        let parse = |line: &[&str]| Args::parse(line.iter().map(|arg| (*arg).to_owned()));
        assert_eq!(parse(&[]), Ok(Args::Run { keep: false }));
        assert_eq!(parse(&["--keep"]), Ok(Args::Run { keep: true }));
        assert_eq!(parse(&["--", "--keep"]), Ok(Args::Run { keep: true }));
        assert_eq!(parse(&["--keep", "-h"]), Ok(Args::Help));
        let error = parse(&["--kep"]).unwrap_err();
        assert!(error.contains("--kep") && error.contains("--help"), "{error}");
    }
}
