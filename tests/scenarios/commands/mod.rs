//! What else people ask of the programs: `plan`, `purge`, `completions`.

mod agent_purge;
mod master_purge;
mod plan;

use std::path::Path;

use anyhow::{Result, ensure};
use testbed::{Binaries, Process};

use crate::support::SOON;

/// Runs a command of the agent to its end: its status, and what it has written.
pub(crate) async fn agent(kubeconfig: &Path, command: &[&str]) -> Result<(Option<i32>, String)> {
    let process = Process::spawn(Binaries::build().await?.agent(), command, [("KUBECONFIG", kubeconfig)])?;
    let code = process.wait_exit(SOON * 2).await?.code();
    Ok((code, format!("{}{}", process.stdout(), process.stderr())))
}

/// Needs no cluster, and no kubeconfig.
#[tokio::test]
async fn completions_are_scripts_that_a_shell_can_read() -> Result<()> {
    let binaries = Binaries::build().await?;
    for program in [binaries.agent(), binaries.master()] {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let none = [("KUBECONFIG", "/no/such/file")];
            let process = Process::spawn(program, ["completions", shell], none)?;
            ensure!(process.wait_exit(SOON).await?.success(), "{}", process.stderr());
            ensure!(process.stdout().contains("completions"), "{shell}: {}", process.stdout());
        }
        let read = "eval \"$(\"$0\" completions bash)\" && complete -p $(basename \"$0\")";
        let program = program.display().to_string();
        let process = Process::spawn(Path::new("bash"), ["-c", read, &program], [("HOME", "/")])?;
        ensure!(process.wait_exit(SOON).await?.success(), "{}", process.stderr());
    }
    Ok(())
}
