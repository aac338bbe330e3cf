//! The master's flags.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use sync_core::cluster::addresses::AddressRules;
use sync_core::contract::object::Uid;
use sync_core::contract::rules::Role;
use sync_core::ops::flags::{self, Common, CommonArgs, dns_label, yes_or_no};
use sync_core::ops::purge::PurgeArgs;
use sync_core::ops::report;
use sync_core::ops::source_name::SourceName;
use sync_core::ops::version::version;

use crate::cli::status::Format;
use crate::eks::roles::RoleRules;

/// Copies annotated Secrets and ConfigMaps of one namespace into one namespace of every remote cluster.
#[derive(Debug, Parser)]
#[command(name = "master", version = version())]
struct Args {
    #[command(flatten)]
    common: CommonArgs,

    /// Name of this cluster in the marks of copies; unique among masters that share remote clusters
    #[arg(long, env = "MW_SYNC_CLUSTER_NAME", value_name = "NAME", default_value = "management")]
    #[arg(value_parser = dns_label, global = true)]
    cluster_name: String,

    /// Take over replicas that an earlier incarnation of the source namespace made: its uid, as mw-sync.io/origin-uid on
    /// them says; may be repeated
    #[arg(long, env = "MW_SYNC_TAKE_OVER", value_name = "UID", value_delimiter = ',', value_parser = uid)]
    take_over: Vec<Uid>,

    /// Where API servers are accepted although it is loopback, link-local or a metadata service: addresses, ranges such
    /// as 127.0.0.0/8 and host names, separated by commas
    #[arg(long, env = "MW_SYNC_ALLOW_ADDRESSES", value_name = "ADDRESSES", global = true)]
    allow_addresses: Option<AddressRules>,

    /// The only roles that are assumed: ARNs, in which * and ? stand for others, separated by commas; without it any
    #[arg(long, env = "MW_SYNC_ALLOW_ROLES", value_name = "ARNS")]
    allow_roles: Option<RoleRules>,

    /// Log in to AWS as the role of the node, by the instance metadata service, where a pod has no role of its own
    #[arg(long, env = "MW_SYNC_ALLOW_NODE_ROLE", value_parser = yes_or_no)]
    allow_node_role: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the CustomResourceDefinitions, as deploy/crds.yaml has them
    Crd,
    /// Wait until every copy of a source has its present version: then an old credential can be revoked
    ///
    /// Status 0 when it is everywhere, 1 when time is over, 2 when there is nothing to wait for.
    Wait {
        /// secret/NAME or configmap/NAME
        source: SourceName,
        /// How long at most, e.g. 90s, 10m, 1h
        #[arg(long, value_name = "TIME", default_value = "10m", value_parser = flags::time)]
        timeout: Duration,
    },
    /// Show where each source is, and how each remote cluster fares
    ///
    /// Status 0 when all is well, 1 when something is missing, 2 when it cannot be told.
    Status {
        /// How to write it
        #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
        output: Format,
    },
    /// Check what the master needs, here and in each remote cluster, and name what is missing with the command that mends
    /// it; writes nothing
    ///
    /// Give it the flags that the controller has. Status 0 when nothing has failed, 1 when something has, 2 when the
    /// management cluster cannot be asked.
    Check {
        /// How to write it
        #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
        output: report::Format,
    },
    /// Show what would be written, by dry runs of all of it; nothing is written
    ///
    /// Give it the flags that the controller has. Status 0 when there is nothing to do, 1 when there is, 2 when something is
    /// refused or cannot be told.
    Plan {
        /// How to write it
        #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
        output: report::Format,
    },
    /// Delete all copies in the remote clusters, those of sources that are gone included; the master must have been stopped
    ///
    /// The agents there delete theirs after that. Give it the flags that the controller has. Copies of sources with
    /// on-delete: retain, and what was taken over with on-conflict: adopt, stay without our marks. Status 0 when nothing
    /// is left, 1 when something is, 2 when nothing was begun.
    Purge {
        #[command(flatten)]
        args: PurgeArgs,
        /// Only in this RemoteCluster; may be repeated
        #[arg(long = "cluster", value_name = "NAME")]
        clusters: Vec<String>,
    },
    /// Print a script that completes this program's command lines
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// What the master is asked to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// Run the controller.
    Run(Box<Config>),
    /// Print the CustomResourceDefinitions.
    Crd,
    /// Print this.
    Print(String),
    /// Check what it needs.
    Check(Box<Config>, report::Format),
    /// Show what would be written.
    Plan(Box<Config>, report::Format),
    /// Delete all copies, in these remote clusters or in all.
    Purge(Box<Config>, Vec<String>, PurgeArgs),
    /// Wait for a source to be everywhere.
    Wait(Box<Common>, SourceName, Duration),
    /// Show where each source is.
    Status(Box<Common>, Format),
}

/// What the controller was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the agent is told too; the cluster's name is in its rules.
    pub common: Common,
    /// `--allow-addresses`
    pub allow_addresses: AddressRules,
    /// `--allow-roles`; without it any may be assumed.
    pub allow_roles: Option<RoleRules>,
    /// `--allow-node-role`
    pub allow_node_role: bool,
}

impl Order {
    /// Reads a command line and the `MW_SYNC_*` variables.
    ///
    /// # Errors
    /// As [`flags::parse`].
    pub fn parse(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let args: Args = flags::parse(line)?;
        match args.command {
            Some(Command::Crd) => return Ok(Self::Crd),
            Some(Command::Completions { shell }) => return Ok(Self::Print(flags::completions::<Args>(shell))),
            _ => {}
        }
        let mut common = args.common.check(Role::Master, Some(&args.cluster_name))?;
        common.rules.take_over = args.take_over;
        let (allow_addresses, allow_node_role) = (args.allow_addresses.unwrap_or_default(), args.allow_node_role);
        let (allow_roles, dry_run) = (args.allow_roles, common.dry_run);
        let config = Box::new(Config { common, allow_addresses, allow_roles, allow_node_role });
        Ok(match args.command {
            Some(Command::Wait { source, timeout }) => Self::Wait(Box::new(config.common), source, timeout),
            Some(Command::Status { output }) => Self::Status(Box::new(config.common), output),
            Some(Command::Check { output }) => Self::Check(config, output),
            Some(Command::Plan { output }) => Self::Plan(config, output),
            Some(Command::Purge { args, clusters }) => Self::Purge(config, clusters, args.or_dry(dry_run)),
            Some(Command::Crd | Command::Completions { .. }) | None => Self::Run(config),
        })
    }
}

fn uid(text: &str) -> Result<Uid, String> {
    Uid::parse(text).ok_or_else(|| "no uid, which looks like 0a1b2c3d-0000-4abc-8def-00000000000f".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(line: &[&str]) -> Config {
        match Order::parse(["master"].iter().chain(line)).unwrap() {
            Order::Run(config) => *config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_clusters_name_is_in_the_origin() {
        assert_eq!(config(&[]).common.rules.origin_prefix(), "management/operator/");
        let config = config(&["--cluster-name", "eu", "--source-namespace=ops"]);
        assert_eq!(
            (config.common.rules.role, config.common.rules.origin_prefix()),
            (Role::Master, "eu/ops/".to_owned())
        );
    }

    #[test]
    fn uids_to_take_over() {
        let uid = "0a1b2c3d-0000-4abc-8def-00000000000f";
        let config = config(&["--take-over", uid]);
        assert_eq!(config.common.rules.take_over, [Uid::parse(uid).unwrap()]);
        let error = Order::parse(["master", "--take-over=operator"]).unwrap_err();
        assert!(error.to_string().contains("no uid, which looks like"), "{error}");
    }

    #[test]
    fn addresses_are_read_once() {
        let rules = config(&["--allow-addresses=127.0.0.0/8,::1"]).allow_addresses;
        assert!(rules.check_host("127.1.2.3").is_ok() && rules.check_host("169.254.1.1").is_err());
        assert!(config(&[]).allow_addresses.check_host("127.0.0.1").is_err());
        let text = Order::parse(["master", "--allow-addresses=127.0.0.0/99"]).unwrap_err().to_string();
        assert!(text.contains("--allow-addresses") && text.contains("127.0.0.0/99"), "{text}");
    }

    #[test]
    fn any_role_or_some() {
        assert!(config(&[]).allow_roles.is_none());
        let role = "arn:aws:iam::111122223333:role/mw-sync";
        let rules = config(&[&format!("--allow-roles={role},arn:aws:iam::*:role/team/*")]).allow_roles.unwrap();
        assert!(rules.allow(&role.parse().unwrap()));
        let text = Order::parse(["master", "--allow-roles=mw-sync"]).unwrap_err().to_string();
        assert!(text.contains("--allow-roles") && text.contains("write arn:aws:iam::ACCOUNT:role/NAME"), "{text}");
    }

    #[test]
    fn the_role_of_the_node_is_not_ours_by_default() {
        assert!(!config(&[]).allow_node_role);
        assert!(config(&["--allow-node-role"]).allow_node_role);
    }

    #[test]
    fn wait_and_status_are_commands() {
        let Order::Wait(common, source, timeout) =
            Order::parse(["master", "--source-namespace=ops", "wait", "secret/regcred", "--timeout=90s"]).unwrap()
        else {
            panic!()
        };
        assert_eq!((common.rules.source_namespace.as_str(), timeout), ("ops", Duration::from_secs(90)));
        assert_eq!(source.0.to_string(), "Secret/regcred");
        assert!(matches!(Order::parse(["master", "status", "-o", "yaml"]), Ok(Order::Status(_, Format::Yaml))));
        let error = Order::parse(["master", "wait", "regcred"]).unwrap_err();
        assert!(error.to_string().contains("expected secret/NAME or configmap/NAME"), "{error}");
    }

    #[test]
    fn other_commands() {
        let order = |line: &[&str]| Order::parse(["master"].iter().chain(line));
        assert!(matches!(order(&["crd"]), Ok(Order::Crd)));
        let Ok(Order::Check(config, report::Format::Text)) = order(&["--cluster-name=eu", "check"]) else { panic!() };
        assert_eq!(config.common.rules.cluster_name.as_deref(), Some("eu"));
        // People name the place after the command.
        let line = ["check", "--context=north", "--cluster-name=eu", "--source-namespace", "ops"];
        let Ok(Order::Check(config, _)) = order(&line) else { panic!() };
        assert_eq!(config.common.context.as_deref(), Some("north"));
        assert_eq!(config.common.rules.origin_prefix(), "eu/ops/");
        let Ok(Order::Purge(_, clusters, args)) = order(&["purge", "--cluster=a", "--dry-run"]) else { panic!() };
        assert!(clusters == ["a"] && args.dry_run && !args.yes);
        let Ok(Order::Purge(_, _, args)) = order(&["--dry-run", "purge", "--yes"]) else { panic!() };
        assert!(args.dry_run);
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            assert!(
                matches!(order(&["completions", shell]), Ok(Order::Print(text)) if text.contains("status")),
                "{shell}"
            );
        }
    }

    #[test]
    fn a_bad_name_is_named() {
        let error = Order::parse(["master", "--cluster-name=EU/1"]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("--cluster-name") && text.contains("lower case letters, digits and -"), "{text}");
        assert_eq!(error.exit_code(), 2);
        assert!(Order::parse(["master", "--version"]).unwrap_err().to_string().starts_with("master 0."));
    }
}
