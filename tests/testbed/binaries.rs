//! Our own programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::cache::say;
use crate::process::workspace;

/// The built `master` and `agent`.
#[derive(Clone, Debug)]
pub struct Binaries {
    master: PathBuf,
    agent: PathBuf,
}

/// A line of `cargo build --message-format=json`, of which there are many kinds.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

impl Binaries {
    /// Builds both with cargo, once per test process; `MW_SYNC_TESTBED_PROFILE=release` makes them optimised.
    ///
    /// # Errors
    /// With the compiler's messages, if they do not compile.
    pub async fn build() -> Result<&'static Self> {
        static BUILT: OnceCell<Binaries> = OnceCell::const_new();
        let release = match std::env::var("MW_SYNC_TESTBED_PROFILE").as_deref() {
            Ok("release") => true,
            Ok("" | "dev") | Err(_) => false,
            Ok(other) => bail!("MW_SYNC_TESTBED_PROFILE is `release` or `dev`, not `{other}`"),
        };
        BUILT
            .get_or_try_init(async || {
                tokio::task::spawn_blocking(move || cargo_build(workspace(), release, None)).await?
            })
            .await
    }

    /// Builds both optimised, whatever `MW_SYNC_TESTBED_PROFILE` says: for what is measured.
    ///
    /// # Errors
    /// As [`Binaries::build`].
    pub async fn build_release() -> Result<&'static Self> {
        static BUILT: OnceCell<Binaries> = OnceCell::const_new();
        BUILT
            .get_or_try_init(async || tokio::task::spawn_blocking(|| cargo_build(workspace(), true, None)).await?)
            .await
    }

    /// Builds both as they were at another commit, in `target/revisions`: minutes, the first time. Says too where the
    /// whole tree of that commit is.
    ///
    /// # Errors
    /// If there is no such commit in this checkout, or it does not compile.
    pub async fn build_at(revision: &str) -> Result<(Self, PathBuf)> {
        let revision = revision.to_owned();
        tokio::task::spawn_blocking(move || build_at(&revision)).await?
    }

    /// The master.
    #[must_use]
    pub fn master(&self) -> &Path {
        &self.master
    }

    /// The agent.
    #[must_use]
    pub fn agent(&self) -> &Path {
        &self.agent
    }
}

fn build_at(revision: &str) -> Result<(Binaries, PathBuf)> {
    let output = |command: &mut Command| {
        let output = command.current_dir(workspace()).stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot run {command:?}"))?;
        if !output.status.success() {
            bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
        anyhow::Ok(output.stdout)
    };
    let commit = format!("{revision}^{{commit}}");
    let commit = output(Command::new("git").args(["rev-parse", "--verify", &commit]))
        .context("a whole clone is needed, for a commit before this one")?;
    let target = workspace().join("target/revisions");
    let tree = target.join(String::from_utf8(commit)?.trim());
    std::fs::create_dir_all(&tree)?;
    let archive = target.join("tree.tar");
    output(Command::new("git").args(["archive", "--output"]).arg(&archive).arg(revision))?;
    output(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&tree))?;
    say(format_args!("building master and agent of {revision}: minutes, the first time"));
    Ok((cargo_build(&tree, false, Some(&target))?, tree))
}

/// Builds the workspace in a folder, into another target folder if one is named.
fn cargo_build(dir: &Path, release: bool, target: Option<&Path>) -> Result<Binaries> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "-p", "master", "-p", "agent", "--bins", "--message-format=json-render-diagnostics"]);
    if release {
        command.arg("--release");
    }
    if let Some(target) = target {
        command.arg("--target-dir").arg(target);
    }
    // Not killed with us: a build that was begun is of use to the next one.
    let output = command.current_dir(dir).stdin(Stdio::null()).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("master and agent do not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let (mut master, mut agent) = (None, None);
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{")) {
        let message: Message = serde_json::from_slice(line).context("cargo's output is not what was expected")?;
        let Some((path, target)) = message.executable.zip(message.target) else {
            continue;
        };
        match target.name.as_str() {
            "master" => master = Some(path),
            "agent" => agent = Some(path),
            _ => {}
        }
    }
    let found = master.zip(agent).context("cargo built no executable named master or none named agent")?;
    Ok(Binaries { master: found.0, agent: found.1 })
}
