//! The agent's flags.

use std::ffi::OsString;

use clap::Parser;
use sync_core::contract::options::patterns;
use sync_core::contract::patterns::Patterns;
use sync_core::contract::rules::Role;
use sync_core::ops::flags::{self, Common, CommonArgs};
use sync_core::ops::version::version;

/// Copies annotated Secrets and ConfigMaps of one namespace into every namespace of the cluster.
#[derive(Debug, Parser)]
#[command(name = "agent", version = version())]
struct Args {
    #[command(flatten)]
    common: CommonArgs,

    /// Namespaces that never get copies, whatever sources say: names and globs, separated by commas, e.g. kube-*
    #[arg(long, env = "MW_SYNC_EXCLUDE_NAMESPACES", value_name = "NAMES", value_parser = patterns)]
    exclude_namespaces: Option<Patterns>,
}

/// What the agent was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the master is told too.
    pub common: Common,
}

impl Config {
    /// Reads a command line and the `MW_SYNC_*` variables.
    ///
    /// # Errors
    /// As [`flags::parse`].
    pub fn parse(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let args: Args = flags::parse(line)?;
        let mut common = args.common.check(Role::Agent, None)?;
        common.rules.exclude_namespaces = args.exclude_namespaces;
        Ok(Self { common })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_those_of_an_agent() {
        let config = Config::parse(["agent", "--source-namespace=ops"]).unwrap();
        assert_eq!(config.common.rules.role, Role::Agent);
        assert_eq!(config.common.rules.origin_prefix(), "ops/");
    }

    #[test]
    fn excluded_namespaces_are_read_once() {
        let excluded = |list| {
            Config::parse(["agent", "--exclude-namespaces", list]).map(|config| {
                let patterns = config.common.rules.exclude_namespaces.unwrap();
                (patterns.matches("kube-system"), patterns.matches("app"))
            })
        };
        assert_eq!(excluded("kube-*,ops").unwrap(), (true, false));
        let error = excluded("Kube").unwrap_err();
        assert!(error.to_string().contains("'K' cannot be part of a name; write names or globs"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn flags_of_the_master_are_none_of_the_agents() {
        let error = Config::parse(["agent", "--cluster-name=a"]).unwrap_err();
        assert!(error.to_string().contains("unexpected argument '--cluster-name'"), "{error}");
        assert_eq!(error.exit_code(), 2);
        assert!(Config::parse(["agent", "--version"]).unwrap_err().to_string().starts_with("agent 0."));
    }
}
