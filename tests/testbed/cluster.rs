//! A cluster: its processes, and their starts and stops.

mod access;
mod components;

use access::Clients;
use components::Failure;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::audit::{self, AuditLog};
use crate::certificates::{self, Authority};
use crate::control_plane::ControlPlane;
use crate::etcd;
use crate::process::Process;
use crate::scratch::Scratch;

/// The `kubernetes` Service's address: first of the Service range.
pub(crate) const SERVICE_ADDRESS: &str = "10.0.0.1";
/// Enough for a component on a machine that is busy with ten other things; usually it takes two seconds.
const DEADLINE: Duration = Duration::from_secs(120);
/// From SIGTERM to SIGKILL. An API server whose etcd is gone never ends by itself.
const STOP_GRACE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(25);
const LOG_LINES: usize = 40;

/// What a cluster is to be like. The default suits most tests.
#[derive(Clone, Debug)]
#[must_use]
pub struct ClusterOptions {
    api_server_args: Vec<String>,
    controller_manager: bool,
    fsync: bool,
    audit_policy: &'static str,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self { api_server_args: Vec::new(), controller_manager: true, fsync: false, audit_policy: audit::POLICY }
    }
}

impl ClusterOptions {
    /// A further argument of kube-apiserver, e.g. `--authentication-token-webhook-config-file=...` or
    /// `--watch-cache=false`. Of a repeated flag the later one counts.
    pub fn api_server_arg(mut self, arg: impl Into<String>) -> Self {
        self.api_server_args.push(arg.into());
        self
    }

    /// No controller manager: namespaces stay Terminating, and get no `default` ServiceAccount and no
    /// `kube-root-ca.crt`. Starts a second earlier and leaves the machine to what is measured.
    pub fn without_controller_manager(mut self) -> Self {
        self.controller_manager = false;
        self
    }

    /// The audit log has the bodies of requests that change Secrets and ConfigMaps, and of their answers.
    pub fn with_bodies_in_audit(mut self) -> Self {
        self.audit_policy = audit::POLICY_WITH_BODIES;
        self
    }

    /// etcd writes durably, as a real one does. Without, writes are faster than in any real cluster.
    pub fn with_fsync(mut self) -> Self {
        self.fsync = true;
        self
    }
}

/// A running cluster. It ends when the value is dropped, and whenever the test process ends.
///
/// The stop in `drop` blocks for a moment; [`Cluster::stop`] does not.
#[derive(Debug)]
pub struct Cluster {
    options: ClusterOptions,
    programs: ControlPlane,
    authority: Authority,
    admin_token: String,
    etcd_port: u16,
    port: u16,
    parts: Mutex<Parts>,
    clients: Clients,
    /// Last, so that it goes after the processes that use it.
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Parts {
    controller_manager: Option<Arc<Process>>,
    api_server: Option<Arc<Process>>,
    etcd: Option<Arc<Process>>,
}

impl Parts {
    /// In the order in which they must be stopped.
    fn all(&self) -> impl Iterator<Item = &Arc<Process>> {
        [&self.controller_manager, &self.api_server, &self.etcd].into_iter().flatten()
    }
}

impl Cluster {
    /// Starts one, and returns when requests, ServiceAccounts and namespaces work. Starts take turns, as many at a time as
    /// there are cores.
    ///
    /// # Errors
    /// If a prerequisite is missing, or a component does not start (with the end of its log).
    pub async fn start(options: ClusterOptions) -> Result<Self> {
        static STARTS: LazyLock<Semaphore> =
            LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));
        let programs = ControlPlane::get().await?;
        // All together they would be no sooner, and what else runs would be late.
        let _turn = STARTS.acquire().await?;
        let scratch = Scratch::new()?;
        let dir = scratch.path();
        let authority = certificates::make(dir)?;
        let admin_token = certificates::random_token()?;
        let manager_token = certificates::random_token()?;
        // KCM as a member of system:masters: its own roles do without ServiceAccounts per controller only in part.
        let tokens = format!(
            "{admin_token},admin,admin,system:masters\n\
             {manager_token},system:kube-controller-manager,manager,system:masters\n"
        );
        fs::write(dir.join("users.csv"), tokens)?;
        fs::write(dir.join("audit.yaml"), options.audit_policy)?;
        let (parts, clients) = Default::default();
        let (etcd_port, port) = (0, 0);
        let mut cluster = Self { options, programs, authority, admin_token, etcd_port, port, parts, clients, scratch };
        cluster.first_start_etcd().await?;
        cluster.first_start_api_server().await?;
        fs::write(cluster.admin_kubeconfig(), cluster.admin().to_yaml())?;
        if cluster.options.controller_manager {
            let mut access = cluster.admin();
            access.token = manager_token;
            fs::write(cluster.dir().join("manager.kubeconfig"), access.to_yaml())?;
            cluster.start_controller_manager().await?;
        }
        Ok(cluster)
    }

    /// Stops it without blocking the runtime.
    pub async fn stop(self) {
        let stopped = tokio::task::spawn_blocking(move || drop(self)).await;
        drop(stopped);
    }

    /// Stops the API server as an upgrade would: SIGTERM, and SIGKILL after 5 seconds.
    ///
    /// # Errors
    /// If it was not running.
    pub async fn stop_api_server(&self) -> Result<()> {
        let process = self.parts().api_server.take().context("the API server is not running")?;
        tokio::task::spawn_blocking(move || process.stop_blocking(STOP_GRACE)).await?;
        Ok(())
    }

    /// Ends the API server with SIGKILL.
    ///
    /// # Errors
    /// If it was not running.
    pub async fn kill_api_server(&self) -> Result<()> {
        let process = self.parts().api_server.take().context("the API server is not running")?;
        process.kill9();
        process.wait_exit(DEADLINE).await?;
        Ok(())
    }

    /// Starts the API server again after a stop: same port, same data, same keys. Returns when it is ready.
    ///
    /// # Errors
    /// If it runs already or does not start.
    pub async fn start_api_server(&self) -> Result<()> {
        if self.parts().api_server.as_ref().is_some_and(|process| process.is_running()) {
            bail!("the API server runs already");
        }
        let end = Instant::now() + DEADLINE;
        loop {
            match self.try_start_api_server().await {
                Ok(()) => return Ok(()),
                // Somebody's outgoing connection, or what was here before: it goes.
                Err(Failure::PortTaken) if Instant::now() < end => sleep(10 * PAUSE).await,
                Err(Failure::PortTaken) => {
                    bail!("port {} was taken while the API server was down", self.port)
                }
                Err(Failure::Other(error)) => return Err(error),
            }
        }
    }

    /// Freezes the API server (SIGSTOP): connections stay, and nothing answers, until [`Cluster::resume_api_server`].
    pub fn pause_api_server(&self) {
        self.parts().api_server.iter().for_each(|process| process.pause());
    }

    /// Ends [`Cluster::pause_api_server`].
    pub fn resume_api_server(&self) {
        self.parts().api_server.iter().for_each(|process| process.resume());
    }

    /// Drops etcd's history and returns the revision that it begins with now.
    ///
    /// The API server answers most watches from a cache of its own, so that old resource versions go on working until
    /// it restarts: [`Cluster::expire_watches`], or the option `--watch-cache=false`.
    ///
    /// # Errors
    /// If etcd does not answer.
    pub async fn compact_etcd(&self) -> Result<i64> {
        etcd::compact(self.etcd_port).await
    }

    /// Makes the API server answer 410 (Gone, Expired) to every watch from a resource version of before this call:
    /// drops etcd's history and restarts the API server.
    ///
    /// # Errors
    /// If either fails.
    pub async fn expire_watches(&self) -> Result<()> {
        self.stop_api_server().await?;
        self.compact_etcd().await?;
        self.start_api_server().await
    }

    /// The requests that the API server has had.
    #[must_use]
    pub fn audit(&self) -> AuditLog<'_> {
        AuditLog::new(self)
    }

    /// Name and pid of each running component.
    #[must_use]
    pub fn pids(&self) -> Vec<(String, u32)> {
        self.parts().all().map(|process| (process.name().to_owned(), process.pid())).collect()
    }

    /// The API server's process, e.g. for its memory.
    #[must_use]
    pub fn api_server(&self) -> Option<Arc<Process>> {
        self.parts().api_server.clone()
    }

    /// The last lines of each running component's log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        self.parts().all().map(|process| process.log_tail(lines)).collect()
    }

    /// The cluster's folder: removed with it, so a good place for a test's own files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) fn audit_path(&self) -> PathBuf {
        self.dir().join("audit.log")
    }

    pub(crate) fn api_server_runs(&self) -> bool {
        self.parts().api_server.as_ref().is_some_and(|process| process.is_running())
    }

    pub(crate) fn show_logs(&self) {
        eprintln!("{}", self.log_tail(LOG_LINES));
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            self.show_logs();
        }
        let mut parts = std::mem::take(&mut *self.parts());
        // One by one, in this order.
        for process in
            [parts.controller_manager.take(), parts.api_server.take(), parts.etcd.take()].into_iter().flatten()
        {
            // A frozen one could not even end.
            process.resume();
            if failed {
                process.kill9();
            }
            process.stop_blocking(STOP_GRACE);
        }
    }
}
