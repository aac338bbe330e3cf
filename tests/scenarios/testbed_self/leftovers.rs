//! What ends the test process ends its clusters.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use testbed::{Cluster, ClusterOptions, Process, eventually, shared};
use tokio::sync::Mutex;

use crate::support::SOON;

const VICTIM_TEST: &str = "testbed_self::leftovers::victim";
/// How the victim, a process of this test binary, is to end.
const VICTIM: &str = "TESTBED_VICTIM";

/// Pid and command line of the processes that use `dir`: a component has it in its arguments, and what is run with a
/// kubeconfig in its environment.
pub(crate) fn of(dir: &Path) -> Result<BTreeMap<u32, String>> {
    let dir = dir.to_str().context("a path in UTF-8")?;
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end while we look, and others are not ours to look at.
        let read = |what: &str| {
            let text = std::fs::read(entry.path().join(what)).unwrap_or_default();
            String::from_utf8_lossy(&text).replace('\0', " ")
        };
        let line = read("cmdline");
        if line.contains(dir) || read("environ").contains(dir) {
            found.insert(pid, line);
        }
    }
    Ok(found)
}

/// Runs a process of this binary that has clusters and ends as `how` says; returns the folders that it used.
async fn end(how: &str) -> Result<Vec<PathBuf>> {
    let binary = std::env::current_exe()?;
    // Whoever runs the tests in the background may have them ignore Ctrl-C.
    let victim = Process::spawn(
        "env".as_ref(),
        [
            "--default-signal=INT".as_ref(),
            binary.as_os_str(),
            "--exact".as_ref(),
            OsStr::new(VICTIM_TEST),
            "--nocapture".as_ref(),
        ],
        std::env::vars_os().chain([(VICTIM.into(), how.into())]),
    )?;
    let dirs = eventually(Duration::from_secs(180), "the victim's clusters run", async || {
        let output = victim.stdout();
        let dirs = output.lines().find_map(|line| line.split_once("DIRS ")).map(|(_, dirs)| dirs.to_owned());
        dirs.with_context(|| format!("{output}{}", victim.stderr()))
    })
    .await;
    let dirs: Vec<_> = dirs.split_whitespace().map(PathBuf::from).collect();
    if how == "killed" || how == "interrupted" {
        eventually(SOON, format!("something runs in each of {dirs:?}, a sleep too"), async || {
            let runs = dirs.iter().map(|dir| of(dir)).collect::<Result<Vec<_>>>()?;
            let sleeps = runs.iter().flat_map(BTreeMap::values).any(|line| line.starts_with("sleep "));
            ensure!(sleeps && !runs.iter().any(BTreeMap::is_empty), "{runs:#?}");
            Ok(())
        })
        .await;
        if how == "killed" {
            victim.kill9();
        } else {
            victim.interrupt();
        }
    }
    victim.wait_exit(SOON).await?;
    if how == "panic" && !victim.stderr().contains("---- kube-apiserver (running") {
        bail!("a test that panics shows no logs: {}", victim.stderr());
    }
    Ok(dirs)
}

async fn nothing_is_left(how: &str) -> Result<()> {
    // The clusters of another process take no turn with those of this one.
    static ALONE: Mutex<()> = Mutex::const_new(());
    let _alone = ALONE.lock().await;
    for dir in end(how).await? {
        eventually(SOON, format!("nothing is left of {}", dir.display()), async || {
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
        "killed" | "interrupted" => std::future::pending().await,
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

/// Ctrl-C.
#[tokio::test]
async fn an_interrupted_test_process_leaves_nothing() -> Result<()> {
    nothing_is_left("interrupted").await
}

#[tokio::test]
async fn a_panic_leaves_nothing_and_shows_logs() -> Result<()> {
    nothing_is_left("panic").await
}

#[tokio::test]
async fn a_finished_test_process_leaves_nothing() -> Result<()> {
    nothing_is_left("success").await
}
