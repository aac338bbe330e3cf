//! The components' command lines, and the wait until each is ready.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::time::{sleep, timeout};

use super::{Cluster, DEADLINE, LOG_LINES, PAUSE};
use crate::certificates::NAMED;
use crate::process::{Process, Start};
use crate::{etcd, ports};

/// A port that was free can be taken before we use it; five in a row cannot.
const PORT_ATTEMPTS: u32 = 5;

/// How much garbage a component's runtime lets grow, in percent of what lives (by default 100): an API server starts with
/// a fifth less processor time, and has 60 MiB more.
const GARBAGE: &str = "300";

/// Why a component did not start.
pub(super) enum Failure {
    PortTaken,
    Other(anyhow::Error),
}

impl Cluster {
    fn component<'a>(&'a self, name: &'a str, program: &'a Path) -> Start<'a> {
        let mut start = Start::new(name, program, self.dir());
        start.env.push(("GOGC".into(), GARBAGE.into()));
        start
    }

    pub(super) async fn first_start_etcd(&mut self) -> Result<()> {
        for _ in 0..PORT_ATTEMPTS {
            self.etcd_port = ports::free()?;
            match self.start_etcd(ports::free()?).await {
                Ok(()) => return Ok(()),
                Err(Failure::PortTaken) => {}
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        bail!("etcd found its port taken {PORT_ATTEMPTS} times")
    }

    async fn start_etcd(&self, peer_port: u16) -> Result<(), Failure> {
        let (url, peer) = (format!("http://127.0.0.1:{}", self.etcd_port), format!("http://127.0.0.1:{peer_port}"));
        let data = self.dir().join("etcd.data");
        let mut start = self
            .component("etcd", &self.programs.etcd)
            .args(["--name=default", "--log-level=warn", "--data-dir"])
            .args([&data])
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args([format!("--initial-cluster=default={peer}")]);
        if !self.options.fsync {
            start = start.args(["--unsafe-no-fsync"]);
        }
        let process = Arc::new(start.spawn().map_err(Failure::Other)?);
        ready(&process, async || etcd::healthy(self.etcd_port).await).await?;
        self.parts().etcd = Some(process);
        Ok(())
    }

    pub(super) async fn first_start_api_server(&mut self) -> Result<()> {
        for _ in 0..PORT_ATTEMPTS {
            self.port = ports::free()?;
            match self.try_start_api_server().await {
                Ok(()) => return Ok(()),
                Err(Failure::PortTaken) => {}
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        bail!("kube-apiserver found its port taken {PORT_ATTEMPTS} times")
    }

    pub(super) async fn try_start_api_server(&self) -> Result<(), Failure> {
        let file = |name: &str| self.dir().join(name).display().to_string();
        let start = self
            .component("kube-apiserver", &self.programs.kube_apiserver)
            .args(["--bind-address=127.0.0.1".to_owned(), format!("--secure-port={}", self.port)])
            .args([format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port)])
            .args([format!("--tls-cert-file={}", file("server.crt"))])
            .args([format!("--tls-private-key-file={}", file("server.key"))])
            .args([format!("--tls-sni-cert-key={},{}:localhost", file(NAMED.0), file(NAMED.1))])
            .args([format!("--client-ca-file={}", file("ca.crt"))])
            .args([format!("--token-auth-file={}", file("users.csv"))])
            .args(["--service-account-issuer=https://kubernetes.default.svc"])
            .args([format!("--service-account-key-file={}", file("tokens.pub"))])
            .args([format!("--service-account-signing-key-file={}", file("tokens.key"))])
            .args([format!("--audit-policy-file={}", file("audit.yaml"))])
            .args([format!("--audit-log-path={}", self.audit_path().display())])
            // Never rotated (in MB): a reader keeps its place.
            .args(["--audit-log-maxsize=1000000"])
            .args(["--authorization-mode=Node,RBAC", "--service-cluster-ip-range=10.0.0.0/24"])
            // An address of the documentation range that nobody uses: loopback is refused, and a machine without a
            // network has no other.
            .args(["--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none"])
            // Our certificates, not generated ones.
            .args([format!("--cert-dir={}", file("unused"))])
            .args(&self.options.api_server_args);
        let process = Arc::new(start.spawn().map_err(Failure::Other)?);
        self.clients.forget();
        let client = self.client();
        ready(&process, async || {
            let ready = http::Request::get("/readyz").body(Vec::new())?;
            client.request_text(ready).await.context("the API server is not ready")?;
            Ok(())
        })
        .await?;
        self.parts().api_server = Some(process);
        Ok(())
    }

    pub(super) async fn start_controller_manager(&self) -> Result<()> {
        let kubeconfig = self.dir().join("manager.kubeconfig").display().to_string();
        let key = self.dir().join("tokens.key").display().to_string();
        let authority = self.dir().join("ca.crt").display().to_string();
        let start = self
            .component("kube-controller-manager", &self.programs.kube_controller_manager)
            .args([format!("--kubeconfig={kubeconfig}")])
            .args([format!("--service-account-private-key-file={key}"), format!("--root-ca-file={authority}")])
            .args(["--controllers=namespace-controller,garbage-collector-controller,serviceaccount-controller,\
                 root-ca-certificate-publisher-controller,serviceaccount-token-controller,\
                 clusterrole-aggregation-controller,resourcequota-controller,\
                 validatingadmissionpolicy-status-controller"])
            .args(["--concurrent-namespace-syncs=20", "--leader-elect=false", "--secure-port=0"])
            // As many requests as it likes: a test that empties 1,000 namespaces must not wait for politeness.
            .args(["--kube-api-qps=1000", "--kube-api-burst=2000"]);
        let process = Arc::new(start.spawn()?);
        let result = ready(&process, async || self.namespace_is_served("default").await).await;
        self.parts().controller_manager = Some(process);
        result.map_err(|failure| match failure {
            Failure::PortTaken => anyhow::anyhow!("kube-controller-manager found a port taken"),
            Failure::Other(error) => error,
        })
    }
}

/// Waits until `look` succeeds, or the process has ended, or the deadline.
async fn ready(process: &Process, look: impl AsyncFn() -> Result<()>) -> Result<(), Failure> {
    let end = Instant::now() + DEADLINE;
    loop {
        // Each look has a limit, because whoever has taken the port may never answer.
        let last = match timeout(Duration::from_secs(5), look()).await {
            // Whoever answers must be the process that we have started.
            Ok(Ok(())) if process.is_running() => return Ok(()),
            Ok(Ok(())) => anyhow::anyhow!("another process answers on its port"),
            Ok(Err(error)) => error,
            Err(_) => anyhow::anyhow!("no answer within 5 seconds"),
        };
        let log = || process.log_tail(LOG_LINES);
        if !process.is_running() {
            let log = log();
            let taken = log.contains("address already in use");
            return Err(if taken {
                Failure::PortTaken
            } else {
                Failure::Other(anyhow::anyhow!("{} ended while it started:\n{log}", process.name()))
            });
        }
        if Instant::now() >= end {
            let name = process.name();
            return Err(Failure::Other(last.context(format!("{name} is not ready after {DEADLINE:?}:\n{}", log()))));
        }
        sleep(PAUSE).await;
    }
}
