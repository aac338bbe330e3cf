//! The flags that both controllers have, and what they are worth once checked.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;
use clap::{Args, Parser};
use clap_complete::Shell;

use super::telemetry::{LogFormat, LogLevel};
use crate::contract::keys;
use crate::contract::rules::{Role, Rules};
use crate::contract::source::Switch;
use crate::contract::strip::StripList;

/// Longest grace, in seconds: it lives in memory, so that each restart begins it anew.
const LONGEST_GRACE: u64 = 24 * 3600;

/// Flags of both, as typed. Flatten it into a parser, parse with [`parse`], then [`CommonArgs::check`].
#[derive(Clone, Debug, Args)]
pub struct CommonArgs {
    /// Namespace whose annotated Secrets and ConfigMaps are copied
    #[arg(long, env = "MW_SYNC_SOURCE_NAMESPACE", value_name = "NAMESPACE", default_value = "operator")]
    #[arg(value_parser = dns_label, global = true)]
    source_namespace: String,

    /// A further spelling of the annotation that switches a source on, beside mw-sync.io/sync and mw-sync; may be
    /// repeated
    #[arg(long = "sync-annotation", env = "MW_SYNC_SYNC_ANNOTATION", value_name = "KEY", value_delimiter = ',')]
    #[arg(value_parser = switch_key)]
    sync_annotations: Vec<String>,

    /// Labels of a source that copies do not carry, beside the usual ones of Argo CD, Flux, Helm and others: key,
    /// prefix/, *.domain/ or text*, separated by commas
    #[arg(long, env = "MW_SYNC_STRIP_LABELS", value_name = "KEYS", value_delimiter = ',')]
    strip_labels: Vec<String>,

    /// How long replicas stay when their source has gone or is no longer annotated, e.g. 500ms, 30s, 2m, 1h
    #[arg(long, env = "MW_SYNC_DELETE_GRACE", value_name = "TIME", default_value = "30s")]
    #[arg(value_parser = time)]
    delete_grace: Duration,

    /// Follow on-conflict: adopt, which overwrites objects that are not ours; without it such a source is refused there
    #[arg(long, env = "MW_SYNC_ALLOW_ADOPT", value_parser = yes_or_no)]
    allow_adopt: bool,

    /// Most writes at once to one cluster, 1 to 256
    #[arg(long, env = "MW_SYNC_MAX_IN_FLIGHT", value_name = "NUMBER", default_value_t = 32)]
    #[arg(value_parser = in_flight)]
    max_in_flight: usize,

    /// Share a Lease with other processes of this controller in the source namespace: one leads, the others stand by
    #[arg(long, env = "MW_SYNC_LEADER_ELECT", value_parser = yes_or_no)]
    leader_elect: bool,

    /// Write nothing at all: run as ever, try each write by a dry run of the API server, and say what would be done
    #[arg(long, env = "MW_SYNC_DRY_RUN", value_parser = yes_or_no)]
    dry_run: bool,

    /// Where /livez, /readyz and /metrics can be had: address and port
    #[arg(long, env = "MW_SYNC_LISTEN", value_name = "ADDRESS", default_value = "[::]:8080", value_parser = listen)]
    listen: SocketAddr,

    /// Where the status page can be had by kubectl port-forward: a loopback address and port, or off
    #[arg(long, env = "MW_SYNC_STATUS_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    #[arg(value_parser = status_listen)]
    status_listen: StatusListen,

    /// How much to log of our own doings; others' warnings are logged too
    #[arg(long = "log", env = "MW_SYNC_LOG", value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info)]
    log_level: LogLevel,

    /// How to log; auto is JSON in a pod and text elsewhere
    #[arg(long, env = "MW_SYNC_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    log_format: LogFormat,

    /// Context of the kubeconfig to use; in a pod there is none
    #[arg(long, env = "MW_SYNC_CONTEXT", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    #[arg(global = true)]
    context: Option<String>,
}

/// What the flags of both are worth; fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct Common {
    /// What a replica looks like.
    pub rules: Rules,
    /// Most writes at once to one cluster, 1 to 256.
    pub max_in_flight: usize,
    /// There may be other processes of this controller.
    pub leader_elect: bool,
    /// Nothing is written, and nobody is asked who leads.
    pub dry_run: bool,
    /// For `/livez` and the like.
    pub listen: SocketAddr,
    /// For the status page; without it there is none.
    pub status_listen: Option<SocketAddr>,
    /// For [`telemetry::init`](super::telemetry::init).
    pub log_level: LogLevel,
    /// For [`telemetry::init`](super::telemetry::init).
    pub log_format: LogFormat,
    /// Context of the kubeconfig, instead of its current one.
    pub context: Option<String>,
}

impl CommonArgs {
    /// Makes the configuration of it. `cluster_name` is for a master.
    ///
    /// # Errors
    /// What a single flag's parser cannot see; [`clap::Error::exit`] prints it and ends with status 2.
    pub fn check(self, role: Role, cluster_name: Option<&str>) -> Result<Common, clap::Error> {
        let strip = StripList::with(&self.strip_labels)
            .map_err(|error| clap::Error::raw(ErrorKind::ValueValidation, format!("--strip-labels: {error}\n")))?;
        let mut rules = Rules::new(role, &self.source_namespace, cluster_name, strip);
        for key in self.sync_annotations {
            if !rules.switches.contains(&key) {
                rules.switches.push(key);
            }
        }
        (rules.delete_grace, rules.allow_adopt) = (self.delete_grace, self.allow_adopt);
        Ok(Common {
            rules,
            max_in_flight: self.max_in_flight,
            leader_elect: self.leader_elect,
            dry_run: self.dry_run,
            listen: self.listen,
            status_listen: self.status_listen.0,
            log_level: self.log_level,
            log_format: self.log_format,
            context: self.context,
        })
    }
}

/// Reads a command line, its first word the program's name, and the MW_SYNC_* variables for the flags it lacks. An
/// empty variable counts as unset: a manifest leaves one so when it has nothing to say.
///
/// # Errors
/// With a text for a person; also for `--help` and `--version`. [`clap::Error::exit`] does what each asks for.
pub fn parse<A: Parser>(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<A, clap::Error> {
    let command = A::command().mut_args(|arg| {
        let empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        if empty { arg.env(None) } else { arg }
    });
    // An error found after parsing is formatted with the usage too.
    let mut usage = command.clone();
    let matches = command.try_get_matches_from(line)?;
    A::from_arg_matches(&matches).map_err(|error| error.format(&mut usage))
}

/// A script by which a shell completes this program's command lines.
pub fn completions<A: Parser>(shell: Shell) -> String {
    let (mut command, mut script) = (A::command(), Vec::new());
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Checks the name of a namespace or of a cluster.
///
/// # Errors
/// With what is expected.
pub fn dns_label(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (1..=63).contains(&text.len())
        && text.chars().all(|c| plain(c) || c == '-')
        && text.starts_with(plain)
        && text.ends_with(plain);
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 63 lower case letters, digits and -, first and last no -".to_owned())
    }
}

/// Checks a key for `--sync-annotation`: one that an API server takes, and none of our other keys.
fn switch_key(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric();
    let name_fits = |name: &str| {
        (1..=63).contains(&name.len())
            && name.chars().all(|c| plain(c) || matches!(c, '-' | '_' | '.'))
            && name.starts_with(plain)
            && name.ends_with(plain)
    };
    let fits = match text.split_once('/') {
        Some((prefix, name)) => {
            prefix.len() <= 253 && prefix.split('.').all(|part| dns_label(part).is_ok()) && name_fits(name)
        }
        None => name_fits(text),
    };
    if !fits {
        return Err("expected an annotation key as API servers take it, e.g. example.com/sync; a _ cannot stand \
                    before the / (deploy/annotation-policy.yaml is for mw_sec/sync)"
            .to_owned());
    }
    if text.starts_with(keys::PREFIX) && text != keys::SYNC {
        return Err(format!(
            "expected a key that is not below {}: what is there has its meaning already",
            keys::PREFIX
        ));
    }
    Ok(text.to_owned())
}

/// Reads what a variable says of a flag without a value, in the words of the switch on a source.
///
/// # Errors
/// For any other word.
pub fn yes_or_no(text: &str) -> Result<bool, String> {
    let switch = Switch::parse(text).ok_or("expected yes (also true, on, 1) or no (also false, off, 0)")?;
    Ok(switch == Switch::Yes)
}

/// Reads `500ms`, `30s`, `2m` or `1h`, up to a day.
///
/// # Errors
/// For anything else, with what is expected.
pub fn time(text: &str) -> Result<Duration, String> {
    let expected = || "expected a number with its unit ms, s, m or h, e.g. 30s, and at most 24h".to_owned();
    let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
    let (number, unit) = text.split_at(unit);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        _ => return Err(expected()),
    };
    let time = number.checked_mul(millis).map(Duration::from_millis);
    time.filter(|time| *time <= Duration::from_secs(LONGEST_GRACE)).ok_or_else(expected)
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an address and a port, e.g. [::]:8080, 0.0.0.0:8080 or 127.0.0.1:0".to_owned())
}

/// `off` is none.
#[derive(Clone, Copy, Debug)]
struct StatusListen(Option<SocketAddr>);

/// Loopback only: the page names what stands where to everybody who can reach it.
fn status_listen(text: &str) -> Result<StatusListen, String> {
    if text == "off" {
        return Ok(StatusListen(None));
    }
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
    let address = address.ok_or("expected a loopback address and a port, e.g. 127.0.0.1:8081 or [::1]:0, or off")?;
    Ok(StatusListen(Some(address)))
}

fn in_flight(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=256).contains(number));
    number.ok_or_else(|| "expected a number from 1 to 256".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::rules::DELETE_GRACE;

    #[derive(Debug, Parser)]
    struct Tool {
        #[command(flatten)]
        common: CommonArgs,
    }

    fn common(line: &[&str]) -> Result<Common, clap::Error> {
        parse::<Tool>(["tool"].iter().chain(line))?.common.check(Role::Agent, None)
    }

    #[test]
    fn defaults() {
        let common = common(&[]).unwrap();
        assert_eq!(common.rules.source_namespace, "operator");
        assert_eq!(common.rules.switches, ["mw-sync.io/sync", "mw-sync"]);
        assert!(common.rules.strip.strips("helm.sh/chart"));
        assert_eq!((common.rules.delete_grace, common.max_in_flight), (DELETE_GRACE, 32));
        assert!(!common.rules.allow_adopt && !common.leader_elect && !common.dry_run);
        assert_eq!(common.listen.to_string(), "[::]:8080");
        assert_eq!((common.log_level, common.log_format, common.context), (LogLevel::Info, LogFormat::Auto, None));
    }

    #[test]
    fn further_switches_and_labels_add_to_ours() {
        let line = ["--sync-annotation=example.com/copy", "--sync-annotation", "my_copy,mw-sync.io/sync"];
        let rules = common(&[&line[..], &["--strip-labels", "team,*.corp.example/"]].concat()).unwrap().rules;
        assert_eq!(rules.switches, ["mw-sync.io/sync", "mw-sync", "example.com/copy", "my_copy"]);
        assert!(rules.strip.strips("team") && rules.strip.strips("a.corp.example/b"));
        assert!(rules.strip.strips("helm.sh/chart") && !rules.strip.strips("app"));
    }

    #[test]
    fn times() {
        for (text, millis) in [("0s", 0), ("500ms", 500), ("30s", 30_000), ("2m", 120_000), ("24h", 86_400_000)] {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "30", "s", "-1s", "1.5s", "30 s", "1d", "1S", "25h", "99999999999999999h", "1m30s", "+1s"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_variable_switches_a_flag_on_or_off() {
        assert_eq!((yes_or_no("Yes"), yes_or_no("0")), (Ok(true), Ok(false)));
        assert!(yes_or_no("perhaps").is_err_and(|text| text.contains("yes (also true")));
        assert!(common(&["--allow-adopt"]).unwrap().rules.allow_adopt);
        assert!(common(&["--dry-run"]).unwrap().dry_run);
    }

    #[test]
    fn what_is_wrong_is_said_with_the_flag_and_what_is_expected() {
        let long = "a".repeat(64);
        for (flag, value, expected) in [
            ("--source-namespace", "Operator", "lower case letters, digits and -"),
            ("--source-namespace", "-a", "first and last no -"),
            ("--source-namespace", &long, "1 to 63"),
            ("--sync-annotation", "mw_sec/sync", "deploy/annotation-policy.yaml"),
            ("--sync-annotation", "a/b/c", "as API servers take it"),
            ("--sync-annotation", "mw-sync.io/origin", "not below mw-sync.io/"),
            ("--strip-labels", "a b", "`prefix/`"),
            ("--delete-grace", "30", "ms, s, m or h"),
            ("--listen", "localhost:8080", "an address and a port, e.g. [::]:8080"),
            ("--listen", "8080", "an address and a port"),
            ("--status-listen", "0.0.0.0:8081", "a loopback address and a port"),
            ("--status-listen", "no", "or off"),
            ("--max-in-flight", "0", "a number from 1 to 256"),
            ("--max-in-flight", "257", "a number from 1 to 256"),
            ("--max-in-flight", "many", "a number from 1 to 256"),
            ("--context", "", "a value is required"),
            ("--log", "loud", "[possible values: error, warn, info, debug, trace]"),
            ("--log-format", "xml", "[possible values: auto, text, json]"),
        ] {
            let error = common(&[&format!("{flag}={value}")]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(flag) && text.contains(expected) && text.starts_with("error: "), "{value}: {text}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
