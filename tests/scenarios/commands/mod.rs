//! What else people ask of the programs: `plan`, `purge`, `completions`.

mod agent_purge;
mod master_purge;
mod plan;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{Binaries, FaultProxy, Mode, Process, shared};

use crate::support::SOON;

/// Runs a command of the agent to its end: its status, and what it has written.
pub(crate) async fn agent(kubeconfig: &Path, command: &[&str]) -> Result<(Option<i32>, String)> {
    let process = Process::spawn(Binaries::build().await?.agent(), command, [("KUBECONFIG", kubeconfig)])?;
    let code = process.wait_exit(SOON * 2).await?.code();
    Ok((code, format!("{}{}", process.stdout(), process.stderr())))
}

/// A controller would have given this connection up, and made another one later.
#[tokio::test]
async fn who_asks_once_has_patience_with_a_slow_cluster() -> Result<()> {
    let cluster = shared("remote-a").await?;
    let proxy = FaultProxy::start(cluster.server_addr())?;
    proxy.set(Mode::Delay(Duration::from_millis(2200))).await;
    let kubeconfig = cluster.write_kubeconfig(&cluster.admin().by_server(proxy.url()))?;
    let (code, told) = agent(&kubeconfig, &["--source-namespace=nowhere", "status"]).await?;
    ensure!(code == Some(2) && told.contains("no agent reports in this cluster"), "{code:?} {told}");
    proxy.set(Mode::BlackHole).await;
    for command in ["status", "purge"] {
        let (code, told) = agent(&kubeconfig, &[command]).await?;
        let words = [proxy.url(), "cannot connect: no connection in time; check the server's address".to_owned()];
        ensure!(code == Some(2) && words.iter().all(|words| told.contains(words)), "{command}: {code:?} {told}");
    }
    Ok(())
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
