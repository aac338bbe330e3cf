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
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    /// It is a program's unit tests, not the program.
    test: bool,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// What cargo is asked for.
#[derive(Clone, Copy, Debug)]
enum How {
    /// All that `cargo test --workspace` builds too. Tests ask for more features of some dependencies (tokio's
    /// `test-util`), so without them half of the tree would be built once more: minutes, in which all scenarios wait.
    BesideTests,
    /// The two programs and what they need.
    Alone,
    /// The same, optimised.
    Release,
}

impl How {
    /// Optimised if `MW_SYNC_TESTBED_PROFILE` says so.
    fn or_release(self) -> Result<Self> {
        match std::env::var("MW_SYNC_TESTBED_PROFILE").as_deref() {
            Ok("release") => Ok(Self::Release),
            Ok("" | "dev") | Err(_) => Ok(self),
            Ok(other) => bail!("MW_SYNC_TESTBED_PROFILE is `release` or `dev`, not `{other}`"),
        }
    }

    const fn args(self) -> &'static [&'static str] {
        match self {
            Self::BesideTests => &["--workspace", "--bins", "--tests"],
            Self::Alone => &["-p", "master", "-p", "agent", "--bins"],
            Self::Release => &["-p", "master", "-p", "agent", "--bins", "--release"],
        }
    }
}

impl Binaries {
    /// Builds both with cargo for a test, once per process; `MW_SYNC_TESTBED_PROFILE=release` makes them optimised.
    ///
    /// # Errors
    /// With the compiler's messages, if they do not compile.
    pub async fn build() -> Result<&'static Self> {
        static BUILT: OnceCell<Binaries> = OnceCell::const_new();
        BUILT.get_or_try_init(async || Self::made(How::BesideTests.or_release()?).await).await
    }

    /// The same where no tests are built.
    ///
    /// # Errors
    /// As [`Binaries::build`].
    pub async fn build_alone() -> Result<&'static Self> {
        static BUILT: OnceCell<Binaries> = OnceCell::const_new();
        BUILT.get_or_try_init(async || Self::made(How::Alone.or_release()?).await).await
    }

    /// Builds both optimised, whatever `MW_SYNC_TESTBED_PROFILE` says: for what is measured.
    ///
    /// # Errors
    /// As [`Binaries::build`].
    pub async fn build_release() -> Result<&'static Self> {
        static BUILT: OnceCell<Binaries> = OnceCell::const_new();
        BUILT.get_or_try_init(async || Self::made(How::Release).await).await
    }

    async fn made(how: How) -> Result<Self> {
        tokio::task::spawn_blocking(move || cargo_build(workspace(), how, None)).await?
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
    Ok((cargo_build(&tree, How::Alone, Some(&target))?, tree))
}

/// Builds the workspace in a folder, into another target folder if one is named.
fn cargo_build(dir: &Path, how: How, target: Option<&Path>) -> Result<Binaries> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--message-format=json-render-diagnostics"]).args(how.args());
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
        let is_test = message.profile.is_some_and(|profile| profile.test);
        let Some((path, target)) = message.executable.zip(message.target).filter(|_| !is_test) else {
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
