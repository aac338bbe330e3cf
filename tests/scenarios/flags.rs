//! The command lines of the real binaries: what needs an environment of its own.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use testbed::{Binaries, Process};

use crate::support::SOON;

/// Exit status, standard output and standard error.
async fn run(program: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<(Option<i32>, String, String)> {
    let process = Process::spawn(program, args, env.iter().copied())?;
    let status = process.wait_exit(SOON).await?;
    Ok((status.code(), process.stdout(), process.stderr()))
}

/// Flag, variable, a value that cannot be, and what is said of it; those of the master alone come last.
const BAD: [(&str, &str, &str, &str); 19] = [
    ("--source-namespace", "MW_SYNC_SOURCE_NAMESPACE", "A", "1 to 63 lower case letters, digits and -"),
    ("--sync-annotation", "MW_SYNC_SYNC_ANNOTATION", "mw_sec/sync", "annotation-policy.yaml"),
    ("--strip-labels", "MW_SYNC_STRIP_LABELS", "a b", "`prefix/`"),
    ("--delete-grace", "MW_SYNC_DELETE_GRACE", "30", "ms, s, m or h"),
    ("--allow-adopt", "MW_SYNC_ALLOW_ADOPT", "perhaps", "expected yes (also true, on, 1) or no"),
    ("--allow-node-role", "MW_SYNC_ALLOW_NODE_ROLE", "perhaps", "expected yes (also true, on, 1) or no"),
    ("--leader-elect", "MW_SYNC_LEADER_ELECT", "perhaps", "expected yes (also true, on, 1) or no"),
    ("--dry-run", "MW_SYNC_DRY_RUN", "perhaps", "expected yes (also true, on, 1) or no"),
    ("--listen", "MW_SYNC_LISTEN", "8080", "an address and a port, e.g. [::]:8080"),
    ("--status-listen", "MW_SYNC_STATUS_LISTEN", "0.0.0.0:8081", "a loopback address and a port, e.g. 127.0.0.1:8081"),
    ("--max-in-flight", "MW_SYNC_MAX_IN_FLIGHT", "0", "from 1 to 256"),
    ("--log", "MW_SYNC_LOG", "loud", "possible values: error, warn, info, debug, trace"),
    ("--log-format", "MW_SYNC_LOG_FORMAT", "xml", "possible values: auto, text, json"),
    // Which contexts there are the kubeconfig says, and then the message: see `agent::help`.
    ("--context", "MW_SYNC_CONTEXT", "nowhere", "KUBECONFIG"),
    ("--exclude-namespaces", "MW_SYNC_EXCLUDE_NAMESPACES", "Kube-*", "write names or globs, separated by commas"),
    ("--cluster-name", "MW_SYNC_CLUSTER_NAME", "a.b", "1 to 63 lower case letters, digits and -"),
    ("--take-over", "MW_SYNC_TAKE_OVER", "operator", "which looks like 0a1b2c3d-0000"),
    ("--allow-roles", "MW_SYNC_ALLOW_ROLES", "mw-sync", "write arn:aws:iam::ACCOUNT:role/NAME"),
    ("--allow-addresses", "MW_SYNC_ALLOW_ADDRESSES", "127.0.0.0/99", "no network like 127.0.0.0/8 and no host name"),
];

/// The words of a help text that begin so.
fn words<'a>(help: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    help.split(|c: char| c.is_whitespace() || "[]=,`".contains(c))
        .filter(|word| word.starts_with(prefix) && word.len() > prefix.len())
        .collect()
}

#[tokio::test]
async fn a_bad_value_of_any_flag_ends_it_with_status_2_and_says_what_to_write() -> Result<()> {
    let binaries = Binaries::build().await?;
    let mut known = BTreeSet::new();
    for program in [binaries.agent(), binaries.master()] {
        let (_, help, _) = run(program, &["--help"], &[]).await?;
        let (flags, variables) = (words(&help, "--"), words(&help, "MW_SYNC_"));
        for (flag, variable, value, expected) in BAD.iter().filter(|(flag, ..)| flags.contains(flag)) {
            assert!(variables.contains(variable), "{variable} in {help}");
            known.extend([flag.to_string(), variable.to_string()]);
            for by_flag in [true, false] {
                let typed = format!("{flag}={value}");
                let args: &[&str] = if by_flag { &[&typed] } else { &[] };
                // Outside a pod and without a kubeconfig there is nowhere to go.
                let mut env = vec![("KUBECONFIG", ""), ("HOME", "/nowhere")];
                env.extend((!by_flag).then_some((*variable, *value)));
                let (status, stdout, stderr) = run(program, args, &env).await?;
                assert_eq!((status, stdout.as_str()), (Some(2), ""), "{flag}: {stderr}");
                let says = stderr.contains(flag) && stderr.contains(expected);
                // A flag that takes no value is told so on the command line.
                let takes_none = stderr.contains(&format!("unexpected value '{value}' for '{flag}'"));
                assert!(says || takes_none || *flag == "--context" && stderr.contains(expected), "{flag}: {stderr}");
            }
        }
        let all = flags.iter().chain(&variables).filter(|word| !["--help", "--version"].contains(word));
        let missing: Vec<_> = all.filter(|word| !known.contains(**word)).collect();
        assert!(missing.is_empty(), "no bad value here for {missing:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_empty_variable_counts_as_unset() -> Result<()> {
    let empty = [
        "MW_SYNC_SOURCE_NAMESPACE",
        "MW_SYNC_SYNC_ANNOTATION",
        "MW_SYNC_STRIP_LABELS",
        "MW_SYNC_DELETE_GRACE",
        "MW_SYNC_ALLOW_ADOPT",
        "MW_SYNC_MAX_IN_FLIGHT",
        "MW_SYNC_LEADER_ELECT",
        "MW_SYNC_DRY_RUN",
        "MW_SYNC_LISTEN",
        "MW_SYNC_STATUS_LISTEN",
        "MW_SYNC_LOG",
        "MW_SYNC_LOG_FORMAT",
        "MW_SYNC_CONTEXT",
        "MW_SYNC_CLUSTER_NAME",
        "MW_SYNC_TAKE_OVER",
        "MW_SYNC_ALLOW_ADDRESSES",
        "MW_SYNC_ALLOW_ROLES",
        "MW_SYNC_ALLOW_NODE_ROLE",
    ];
    let master = Binaries::build().await?.master();
    let (status, stdout, stderr) = run(master, &["crd"], &empty.map(|variable| (variable, ""))).await?;
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.contains("name: remoteclusters.mw-sync.io"), "{stdout}");
    // Only what is empty counts as unset.
    let (status, _, stderr) = run(master, &["crd"], &[("MW_SYNC_LOG", ""), ("MW_SYNC_DELETE_GRACE", "x")]).await?;
    assert!(status == Some(2) && stderr.contains("--delete-grace"), "{stderr}");
    Ok(())
}

#[tokio::test]
async fn versions_are_told() -> Result<()> {
    let binaries = Binaries::build().await?;
    for (program, name) in [(binaries.agent(), "agent"), (binaries.master(), "master")] {
        let (status, stdout, _) = run(program, &["--version"], &[]).await?;
        assert_eq!((status, stdout), (Some(0), format!("{name} {}\n", env!("CARGO_PKG_VERSION"))));
    }
    Ok(())
}
