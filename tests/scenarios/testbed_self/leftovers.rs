//! What ends the test process ends its clusters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use testbed::{Cluster, ClusterOptions, Process, eventually, shared};

/// How the victim, a process of this test binary, is to end.
const VICTIM: &str = "TESTBED_VICTIM";

/// Pid and command line of the processes that use `dir`: each component has it in its arguments.
pub(crate) fn of(dir: &Path) -> Result<BTreeMap<u32, String>> {
    let dir = dir.to_str().context("a path in UTF-8")?;
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end while we look.
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(dir) {
            found.insert(pid, line);
        }
    }
    Ok(found)
}

/// Runs a process of this binary that has clusters and ends as `how` says; returns the folders that it used.
async fn end(how: &str) -> Result<Vec<PathBuf>> {
    let victim = Process::spawn(
        &std::env::current_exe()?,
        ["--exact", "testbed_self::leftovers::victim", "--nocapture"],
        std::env::vars_os().chain([(VICTIM.into(), how.into())]),
    )?;
    let dirs = eventually(Duration::from_secs(180), "the victim's clusters run", async || {
        let output = victim.stdout();
        let dirs = output.lines().find_map(|line| line.split_once("DIRS ")).map(|(_, dirs)| dirs.to_owned());
        dirs.with_context(|| format!("{output}{}", victim.stderr()))
    })
    .await;
    let dirs: Vec<_> = dirs.split_whitespace().map(PathBuf::from).collect();
    if how == "killed" {
        for dir in &dirs {
            anyhow::ensure!(!of(dir)?.is_empty(), "nothing runs in {}", dir.display());
        }
        victim.kill9();
    }
    victim.wait_exit(Duration::from_secs(60)).await?;
    if how == "panic" && !victim.stderr().contains("---- kube-apiserver (running") {
        bail!("a test that panics shows no logs: {}", victim.stderr());
    }
    Ok(dirs)
}

async fn nothing_is_left(how: &str) -> Result<()> {
    for dir in end(how).await? {
        eventually(Duration::from_secs(20), format!("nothing is left of {}", dir.display()), async || {
            let left = of(&dir).map_err(|error| error.to_string())?;
            if left.is_empty() && !dir.exists() { Ok(()) } else { Err(format!("{left:#?}")) }
        })
        .await;
    }
    Ok(())
}

/// Does nothing but as a child of the tests below.
#[tokio::test]
async fn victim() -> Result<()> {
    let Ok(how) = std::env::var(VICTIM) else {
        return Ok(());
    };
    let own = Cluster::start(ClusterOptions::default()).await?;
    let shared = shared("victim").await?;
    let process = Process::spawn("sleep".as_ref(), ["1000"], [("IN", shared.dir())])?;
    println!("DIRS {} {}", own.dir().display(), shared.dir().display());
    match how.as_str() {
        "killed" => std::future::pending().await,
        "panic" => panic!("as a test that fails"),
        _ => {
            drop(own);
            drop(process);
            Ok(())
        }
    }
}

#[tokio::test]
async fn a_killed_test_process_leaves_nothing() -> Result<()> {
    nothing_is_left("killed").await
}

#[tokio::test]
async fn a_panic_leaves_nothing_and_shows_logs() -> Result<()> {
    nothing_is_left("panic").await
}

#[tokio::test]
async fn a_finished_test_process_leaves_nothing() -> Result<()> {
    nothing_is_left("success").await
}
