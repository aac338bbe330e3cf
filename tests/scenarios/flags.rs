//! The command lines of the real binaries: what needs an environment of its own.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use testbed::{Binaries, Process};

const SOON: Duration = Duration::from_secs(30);

/// Exit status, standard output and standard error.
async fn run(program: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<(Option<i32>, String, String)> {
    let process = Process::spawn(program, args, env.iter().copied())?;
    let status = process.wait_exit(SOON).await?;
    Ok((status.code(), process.stdout(), process.stderr()))
}

#[tokio::test]
async fn a_bad_variable_ends_it_with_status_2_and_names_the_flag() -> Result<()> {
    let binaries = Binaries::build().await?;
    for (program, variable, value, flag, expected) in [
        (binaries.agent(), "MW_SYNC_DELETE_GRACE", "30", "--delete-grace", "ms, s, m or h"),
        (binaries.agent(), "MW_SYNC_MAX_IN_FLIGHT", "0", "--max-in-flight", "from 1 to 256"),
        (binaries.agent(), "MW_SYNC_STRIP_LABELS", "a b", "--strip-labels", "`prefix/`"),
        (binaries.agent(), "MW_SYNC_SYNC_ANNOTATION", "mw_sec/sync", "--sync-annotation", "annotation-policy.yaml"),
        (binaries.agent(), "MW_SYNC_SOURCE_NAMESPACE", "A", "--source-namespace", "lower case"),
        (binaries.master(), "MW_SYNC_CLUSTER_NAME", "a.b", "--cluster-name", "lower case"),
        (binaries.master(), "MW_SYNC_LOG", "loud", "--log", "possible values: error, warn, info, debug, trace"),
        (binaries.master(), "MW_SYNC_LOG_FORMAT", "xml", "--log-format", "possible values: auto, text, json"),
    ] {
        let (status, stdout, stderr) = run(program, &[], &[(variable, value)]).await?;
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{variable}: {stderr}");
        assert!(stderr.contains(flag) && stderr.contains(expected), "{variable}: {stderr}");
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
        "MW_SYNC_MAX_IN_FLIGHT",
        "MW_SYNC_LOG",
        "MW_SYNC_LOG_FORMAT",
        "MW_SYNC_CONTEXT",
        "MW_SYNC_CLUSTER_NAME",
        "MW_SYNC_ALLOW_ADDRESSES",
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
