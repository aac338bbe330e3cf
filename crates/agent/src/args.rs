//! The agent's flags.

use std::ffi::OsString;

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use sync_core::contract::options::patterns;
use sync_core::contract::patterns::Patterns;
use sync_core::contract::rules::Role;
use sync_core::ops::flags::{self, Common, CommonArgs};
use sync_core::ops::purge::PurgeArgs;
use sync_core::ops::report::Format;
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

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check what the agent needs, and name what is missing with the command that mends it; writes nothing
    ///
    /// Status 0 when nothing has failed, 1 when something has, 2 when the cluster cannot be asked.
    Check {
        /// How to write it
        #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
        output: Format,
    },
    /// Show where each source is in this cluster, by what the agent has last said
    ///
    /// Status 0 when all is well, 1 when something is missing, 2 when it cannot be told.
    Status {
        /// How to write it
        #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
        output: Format,
    },
    /// Show what would be written, by dry runs of all of it; nothing is written
    ///
    /// Give it the flags that the controller has. Status 0 when there is nothing to do, 1 when there is, 2 when something is
    /// refused or cannot be told.
    Plan {
        /// How to write it
        #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
        output: Format,
    },
    /// Delete all copies in this cluster, those of sources that are gone included, and take our entries out of
    /// imagePullSecrets; the agent must have been stopped
    ///
    /// Copies of sources with on-delete: retain, and what was taken over with on-conflict: adopt, stay without our marks.
    /// Status 0 when nothing is left, 1 when something is, 2 when nothing was begun.
    Purge(PurgeArgs),
    /// Print a script that completes this program's command lines
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// What the agent is asked to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// Run the controller.
    Run(Box<Config>),
    /// Check what it needs.
    Check(Box<Config>, Format),
    /// Show where each source is.
    Status(Box<Config>, Format),
    /// Show what would be written.
    Plan(Box<Config>, Format),
    /// Delete all copies.
    Purge(Box<Config>, PurgeArgs),
    /// Print this.
    Print(String),
}

/// What the agent was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the master is told too.
    pub common: Common,
}

impl Order {
    /// Reads a command line and the `MW_SYNC_*` variables.
    ///
    /// # Errors
    /// As [`flags::parse`].
    pub fn parse(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let args: Args = flags::parse(line)?;
        if let Some(Command::Completions { shell }) = args.command {
            return Ok(Self::Print(flags::completions::<Args>(shell)));
        }
        let mut common = args.common.check(Role::Agent, None)?;
        common.rules.exclude_namespaces = args.exclude_namespaces;
        let dry_run = common.dry_run;
        let config = Box::new(Config { common });
        Ok(match args.command {
            Some(Command::Check { output }) => Self::Check(config, output),
            Some(Command::Status { output }) => Self::Status(config, output),
            Some(Command::Plan { output }) => Self::Plan(config, output),
            Some(Command::Purge(args)) => Self::Purge(config, args.or_dry(dry_run)),
            Some(Command::Completions { .. }) | None => Self::Run(config),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(line: &[&str]) -> Result<Config, clap::Error> {
        match Order::parse(["agent"].iter().chain(line))? {
            Order::Run(config) => Ok(*config),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rules_are_those_of_an_agent() {
        let config = config(&["--source-namespace=ops"]).unwrap();
        assert_eq!(config.common.rules.role, Role::Agent);
        assert_eq!(config.common.rules.origin_prefix(), "ops/");
    }

    #[test]
    fn excluded_namespaces_are_read_once() {
        let excluded = |list| {
            config(&["--exclude-namespaces", list]).map(|config| {
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
        let error = config(&["--cluster-name=a"]).unwrap_err();
        assert!(error.to_string().contains("unexpected argument '--cluster-name'"), "{error}");
        assert_eq!(error.exit_code(), 2);
        assert!(config(&["--version"]).unwrap_err().to_string().starts_with("agent 0."));
    }

    #[test]
    fn commands() {
        let order = |line: &[&str]| Order::parse(["agent"].iter().chain(line));
        assert!(matches!(order(&["check", "-o", "json"]), Ok(Order::Check(_, Format::Json))));
        assert!(matches!(order(&["completions", "bash"]), Ok(Order::Print(text)) if text.contains("agent")));
        let Ok(Order::Check(config, _)) = order(&["check", "--context", "north"]) else { panic!() };
        assert_eq!(config.common.context.as_deref(), Some("north"));
        let Ok(Order::Purge(_, args)) = order(&["purge", "--source=secret/a", "--source=cm/b", "--yes"]) else {
            panic!()
        };
        assert!(args.yes && !args.dry_run && args.sources.len() == 2);
        // Whoever says it before the command means it too.
        let Ok(Order::Purge(_, args)) = order(&["--dry-run", "purge", "--yes"]) else { panic!() };
        assert!(args.dry_run);
        assert_eq!(order(&["install"]).unwrap_err().exit_code(), 2);
    }
}
