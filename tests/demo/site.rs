//! One of the demo's clusters, and what runs there.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use testbed::{Cluster, ClusterOptions, Process};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::observed::{Observed, observe};
use crate::screen::Screen;

/// Where sources are.
pub(crate) const SOURCES: &str = "operator";
/// The Secret that the demo is about.
pub(crate) const SECRET: &str = "regcred";
/// Namespaces of its own in each cluster.
const TEAMS: u32 = 20;
/// Within this everything must have happened; most takes milliseconds.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// How much of a log is shown when something has not.
const LOG_LINES: usize = 25;

/// A cluster with its controllers. The cluster is last: an API server that still has watches takes long to end.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) name: &'static str,
    pub(crate) observed: watch::Receiver<Observed>,
    screen: Screen,
    controllers: Vec<Process>,
    pub(crate) cluster: Cluster,
}

impl Site {
    /// Starts a cluster with twenty namespaces.
    pub(crate) async fn start(name: &'static str, options: ClusterOptions, screen: Screen) -> Result<Self> {
        let cluster = Cluster::start(options).await.with_context(|| format!("cluster {name}"))?;
        let teams =
            (1..=TEAMS).map(|n| format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: team-{n:02}\n---\n"));
        cluster.kubectl_stdin(&["create", "-f", "-"], teams.collect::<String>()).await?;
        let observed = observe(&cluster.client(), SECRET);
        Ok(Self { name, observed, screen, controllers: Vec::new(), cluster })
    }

    /// Shows a kubectl command, runs it and returns what it printed.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.screen.command(self.name, shown(args))?;
        self.cluster.kubectl(args).await
    }

    /// The same with a YAML document to read, which is shown as a here-document would be.
    pub(crate) async fn apply(&self, what: &str, yaml: String) -> Result<()> {
        self.screen.command(self.name, format_args!("kubectl apply -f -    # {what}"))?;
        self.cluster.kubectl_stdin(&["apply", "-f", "-"], yaml).await.map(drop)
    }

    /// Runs one of our programs as a ServiceAccount of this cluster.
    pub(crate) async fn run(&mut self, program: &std::path::Path, account: &str) -> Result<()> {
        self.run_with(program, account, &[], Vec::new()).await
    }

    /// The same with flags, and with more in its environment.
    pub(crate) async fn run_with(
        &mut self,
        program: &std::path::Path,
        account: &str,
        args: &[&str],
        mut env: Vec<(String, String)>,
    ) -> Result<()> {
        let kubeconfig = self.cluster.kubeconfig_for_service_account(SOURCES, account).await?;
        env.push(("KUBECONFIG".to_owned(), kubeconfig.display().to_string()));
        self.controllers.push(Process::spawn(program, args, env)?);
        Ok(())
    }

    /// Waits until every controller here has its sources.
    pub(crate) async fn controllers_are_ready(&self) -> Result<()> {
        let end = Instant::now() + DEADLINE;
        for controller in &self.controllers {
            while !controller.stderr().contains("all sources are known") {
                let name = controller.name();
                if let Some(status) = controller.exit_status() {
                    return Err(anyhow!("the {name} of {} has ended: {status}", self.name));
                }
                if Instant::now() >= end {
                    return Err(anyhow!("the {name} of {} has not read its sources within {DEADLINE:?}", self.name));
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// Waits until it is so, and returns what was seen then.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Observed) -> bool) -> Result<Observed> {
        let mut observed = self.observed.clone();
        let seen = timeout(DEADLINE, observed.wait_for(|observed| is_so(observed))).await;
        match seen {
            Ok(seen) => Ok(seen.context("nobody watches any more")?.clone()),
            Err(_) => {
                let now = self.observed.borrow();
                let there: Vec<_> = now.secrets.iter().filter(|(_, entry)| entry.secret.is_some()).collect();
                let (there, all) = (there.len(), now.namespaces.len());
                Err(anyhow!(
                    "not within {DEADLINE:?}: {}: {what} ({SECRET} is in {there} of {all} namespaces)",
                    self.name
                ))
            }
        }
    }

    /// Whether a controller has ended by itself.
    pub(crate) fn ended(&self) -> Option<&str> {
        self.controllers.iter().find(|controller| !controller.is_running()).map(Process::name)
    }

    /// The ends of the controllers' logs.
    pub(crate) fn logs(&self) -> String {
        self.controllers.iter().map(|process| format!("{}: {}", self.name, process.log_tail(LOG_LINES))).collect()
    }

    /// Ends the controllers as a kubelet would, and then the cluster.
    pub(crate) async fn stop(self) {
        for controller in &self.controllers {
            controller.terminate();
        }
        for controller in &self.controllers {
            // One that does not end is killed in a moment.
            let _ended = controller.wait_exit(Duration::from_secs(5)).await;
        }
        drop((self.controllers, self.observed));
        self.cluster.stop().await;
    }
}

/// A command line as a person would type it.
pub(crate) fn shown(args: &[&str]) -> String {
    args.iter().fold("kubectl".to_owned(), |line, arg| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=/.,:@%+".contains(c);
        let quoted = if arg.chars().all(plain) { (*arg).to_owned() } else { format!("'{arg}'") };
        format!("{line} {quoted}")
    })
}
