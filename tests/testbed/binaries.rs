//! Our own programs.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::process::workspace;

/// The built `master` and `agent`.
#[derive(Debug)]
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
        BUILT.get_or_try_init(async || tokio::task::spawn_blocking(move || cargo_build(release)).await?).await
    }

    /// Builds both optimised, whatever `MW_SYNC_TESTBED_PROFILE` says: for what is measured.
    ///
    /// # Errors
    /// As [`Binaries::build`].
    pub async fn build_release() -> Result<&'static Self> {
        static BUILT: OnceCell<Binaries> = OnceCell::const_new();
        BUILT.get_or_try_init(async || tokio::task::spawn_blocking(|| cargo_build(true)).await?).await
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

fn cargo_build(release: bool) -> Result<Binaries> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.args(["build", "-p", "master", "-p", "agent", "--bins", "--message-format=json-render-diagnostics"]);
    if release {
        command.arg("--release");
    }
    // Not killed with us: a build that was begun is of use to the next one.
    let output = command.current_dir(workspace()).stdin(Stdio::null()).output().context("cannot run cargo")?;
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
