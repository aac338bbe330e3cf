//! A controller that is killed and started again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{Binaries, Cluster, FaultProxy, Process};

use crate::master::stage::Stage;
use crate::support::until_said;

/// From SIGTERM to the end, whatever the network does: requests under way may take 4 s, remote clusters 6 s.
const END: Duration = Duration::from_secs(20);

/// One life of a controller.
pub(super) struct Life {
    /// The ids of the tokens that it had, and nobody else: of its own cluster, and of the remote one.
    pub(super) tokens: Vec<String>,
    /// What it has logged.
    pub(super) log: String,
}

/// The cluster that a master pushes to.
pub(super) struct Remote<'c> {
    pub(super) stage: Stage<'c>,
    pub(super) cluster: &'c Cluster,
    pub(super) link: &'c FaultProxy,
}

/// Name of the RemoteCluster.
pub(super) const REMOTE: &str = "far";

/// The agent or the master.
pub(super) struct Controller<'c> {
    cluster: &'c Cluster,
    link: &'c FaultProxy,
    account: &'static str,
    program: &'static Path,
    flags: &'static [&'static str],
    remote: Option<Remote<'c>>,
    running: Option<(Process, Vec<String>)>,
    lives: Vec<Life>,
}

impl<'c> Controller<'c> {
    /// The agent of a cluster, which is installed there.
    pub(super) async fn agent(cluster: &'c Cluster, link: &'c FaultProxy) -> Result<Self> {
        let (account, program) = ("mw-sync-agent", Binaries::build().await?.agent());
        let flags = &["--delete-grace=2s", "--log=debug", "--allow-adopt"];
        Ok(Self { cluster, link, account, program, flags, remote: None, running: None, lives: Vec::new() })
    }

    /// The master of a cluster, which is installed there.
    pub(super) async fn master(cluster: &'c Cluster, link: &'c FaultProxy, remote: Remote<'c>) -> Result<Self> {
        let (account, program) = ("mw-sync-master", Binaries::build().await?.master());
        let flags = &["--delete-grace=2s", "--log=debug", "--allow-adopt", "--allow-addresses=127.0.0.1"];
        Ok(Self { cluster, link, account, program, flags, remote: Some(remote), running: None, lives: Vec::new() })
    }

    /// Its user in its own cluster.
    pub(super) fn user(&self) -> String {
        format!("system:serviceaccount:operator:{}", self.account)
    }

    /// Starts it with tokens of its own, so that requests of it that are late are not taken for the next one's.
    pub(super) async fn start(&mut self) -> Result<()> {
        let access = self.cluster.service_account("operator", self.account).await?;
        let mut tokens: Vec<_> = access.token_id().into_iter().collect();
        if let Some(Remote { stage, cluster, link }) = &self.remote {
            let there = cluster.service_account("operator", "mw-sync-remote").await?;
            tokens.extend(there.token_id());
            stage.kubeconfig(REMOTE, &there.by_server(link.url()).to_yaml()).await?;
        }
        ensure!(tokens.len() == 1 + usize::from(self.remote.is_some()), "a token without an id");
        let kubeconfig: PathBuf = self.cluster.write_kubeconfig(&access.by_server(self.link.url()))?;
        let process = Process::spawn(self.program, self.flags, [("KUBECONFIG", &kubeconfig)])?;
        self.running = Some((process, tokens));
        Ok(())
    }

    /// Its process, which never ends by itself.
    pub(super) fn process(&self) -> Result<&Process> {
        let (process, _) = self.running.as_ref().expect("it was started");
        ensure!(process.is_running(), "{} ended by itself: {}", self.account, process.log_tail(60));
        Ok(process)
    }

    /// Ends it, without a word or as a node that is drained does.
    pub(super) async fn end(&mut self, kill: bool) -> Result<()> {
        let process = self.process()?;
        if kill {
            process.kill9();
        } else {
            // Before it listens to the signal, the signal ends it.
            until_said(process, &["started"]).await;
            process.terminate();
        }
        let status = process.wait_exit(END).await?;
        ensure!(kill || status.success(), "{} ended with {status}: {}", self.account, process.log_tail(60));
        if let Some((process, tokens)) = self.running.take() {
            self.lives.push(Life { tokens, log: process.stderr() });
        }
        Ok(())
    }

    /// What its lives were, once it has ended for good.
    pub(super) fn lives(&self) -> &[Life] {
        &self.lives
    }

    /// What it logs at present.
    pub(super) fn log(&self) -> String {
        self.running.as_ref().map(|(process, _)| process.stderr()).unwrap_or_default()
    }
}

impl Drop for Controller<'_> {
    fn drop(&mut self) {
        if let (true, Some((process, _))) = (std::thread::panicking(), &self.running) {
            println!("{}", process.log_tail(60));
        }
    }
}
