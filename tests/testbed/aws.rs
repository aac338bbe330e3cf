//! A stand-in for AWS, and the token webhook of EKS.
//!
//! Two processes. The one is moto's STS and EKS with what moto lacks (`tests/aws/standin`, Python): signatures that are
//! checked, roles with trust rules, sessions that end, clusters that are where a test says, faults, a log of calls. The
//! other answers the token webhook of API servers by aws-iam-authenticator's own verifier (`tests/aws/authenticator`,
//! Go), which asks the first one whose a token is. So a login to "EKS" here is the real thing but for AWS's own code.
//!
//! An API server is started with the options of [`Aws::webhook`], and [`Aws::let_in`] says which EKS clusters it is:
//! several, if several tests share it.

mod programs;
mod said;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::cluster::ClusterOptions;
use crate::local_http;
use crate::process::{Process, Start, workspace};
use crate::scratch::Scratch;

pub use said::{AccessEntry, AwsCall, AwsFault, EksCluster, Review, Role};

/// Python reads moto from the disk; usually in two seconds.
const START_DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(25);
const LOG_LINES: usize = 40;

/// A running stand-in. It ends when the value is dropped, and whenever the test process ends.
#[derive(Debug)]
pub struct Aws {
    stand_in: Process,
    port: u16,
    authenticator: Process,
    authenticator_port: u16,
    /// Last, so that it goes after the processes that write there.
    scratch: Scratch,
}

/// A place in the log of calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallMark(usize);

/// A fault that can be ended.
#[derive(Clone, Copy, Debug)]
pub struct FaultId(u32);

impl Aws {
    /// Builds both programs unless they are there, which takes a minute or two.
    ///
    /// # Errors
    /// If a prerequisite is missing, or a build fails; the text says what to do.
    pub async fn build() -> Result<()> {
        programs().await.map(drop)
    }

    /// Starts one, without roles and clusters.
    ///
    /// # Errors
    /// As [`Aws::build`], and if a program does not start (with the end of its log).
    pub async fn start() -> Result<Self> {
        let (python, authenticator) = programs().await?;
        let scratch = Scratch::new()?;
        let mut start = Start::new("aws", &python, scratch.path()).args([workspace().join("tests/aws/standin")]);
        // Nothing is written into the work tree.
        start.env.push(("PYTHONDONTWRITEBYTECODE".into(), "1".into()));
        let stand_in = start.spawn()?;
        let port = ready(&stand_in).await?;
        let sts = format!("--sts=127.0.0.1:{port}");
        let authenticator = Start::new("authenticator", &authenticator, scratch.path()).args([sts]).spawn()?;
        let authenticator_port = ready(&authenticator).await?;
        Ok(Self { stand_in, port, authenticator, authenticator_port, scratch })
    }

    /// For `AWS_ENDPOINT_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where a [`FaultProxy`](crate::FaultProxy) forwards to.
    #[must_use]
    pub fn addr(&self) -> std::net::SocketAddr {
        (std::net::Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Defines a role, or defines it anew; its sessions stay.
    ///
    /// # Errors
    /// As all the others here: if a program does not answer, or refuses.
    pub async fn role(&self, role: &Role) -> Result<()> {
        self.control("role", &serde_json::to_value(role)?).await.map(drop)
    }

    /// Makes an EKS cluster, or changes it.
    ///
    /// # Errors
    /// As above.
    pub async fn cluster(&self, cluster: &EksCluster) -> Result<()> {
        self.control("cluster", &serde_json::to_value(cluster)?).await.map(drop)
    }

    /// Deletes an EKS cluster: AWS no longer knows it. Its API server goes on.
    ///
    /// # Errors
    /// As above.
    pub async fn delete_cluster(&self, cluster: &EksCluster) -> Result<()> {
        self.control("forget", &serde_json::to_value(cluster)?).await.map(drop)
    }

    /// Lets something go wrong from now on. Of several that fit a call the first one counts.
    ///
    /// # Errors
    /// As above.
    pub async fn fault(&self, fault: &AwsFault) -> Result<FaultId> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut said = serde_json::to_value(fault)?;
        said.as_object_mut().context("no object")?.insert("id".to_owned(), id.into());
        self.control("fault", &said).await?;
        Ok(FaultId(id))
    }

    /// Ends a fault.
    ///
    /// # Errors
    /// As above.
    pub async fn end_fault(&self, FaultId(id): FaultId) -> Result<()> {
        self.control("fault", &json!({ "id": id })).await.map(drop)
    }

    /// The present end of the log.
    ///
    /// # Errors
    /// As above.
    pub async fn mark(&self) -> Result<CallMark> {
        Ok(CallMark(self.log(usize::MAX >> 12).await?.next))
    }

    /// The calls that were answered since.
    ///
    /// # Errors
    /// As above.
    pub async fn calls(&self, CallMark(since): CallMark) -> Result<Vec<AwsCall>> {
        Ok(self.log(since).await?.calls)
    }

    async fn log(&self, since: usize) -> Result<Log> {
        Ok(serde_json::from_value(self.control("calls", &json!({ "since": since })).await?)?)
    }

    /// Secret keys and session tokens of all sessions of these roles, by their ARNs: what must be in no log.
    ///
    /// # Errors
    /// As above.
    pub async fn secrets(&self, roles: &[String]) -> Result<Vec<String>> {
        Ok(serde_json::from_value(self.control("secrets", &json!({ "roles": roles })).await?)?)
    }

    /// A token as `aws eks get-token` makes it, by botocore, of the newest session of a role (by its ARN). `changes`:
    /// `headers` that are signed too, another `host`, the `seconds` that its date is off.
    ///
    /// # Errors
    /// As above.
    pub async fn token(&self, role: &str, cluster: &EksCluster, changes: Value) -> Result<String> {
        let mut said = json!({ "role": role, "cluster": cluster.name, "region": cluster.region });
        for (key, value) in changes.as_object().into_iter().flatten() {
            said.as_object_mut().context("no object")?.insert(key.clone(), value.clone());
        }
        Ok(serde_json::from_value(self.control("sign", &said).await?)?)
    }

    /// An HTTPS server with this certificate and key (PEM) that has one answer to everything. Returns its URL; it runs
    /// as long as the stand-in.
    ///
    /// # Errors
    /// As above.
    pub async fn nonsense(&self, (cert, key): (&str, &str), status: u16, body: &str) -> Result<String> {
        let said = json!({ "cert": cert, "key": key, "status": status, "content_type": "text/html", "body": body });
        let port: u16 = serde_json::from_value(self.control("nonsense", &said).await?)?;
        Ok(format!("https://127.0.0.1:{port}"))
    }

    /// The environment of a pod whose ServiceAccount has this role by IRSA.
    ///
    /// # Errors
    /// If the role has no `service_account`, or its token cannot be written.
    pub fn irsa(&self, role: &Role) -> Result<Vec<(String, String)>> {
        let mut env = self.environment();
        env.push(("AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(), self.token_file(role)?));
        env.push(("AWS_ROLE_ARN".to_owned(), role.arn.clone()));
        Ok(env)
    }

    /// The environment of a pod whose ServiceAccount has this role by Pod Identity: its sessions carry tags.
    ///
    /// # Errors
    /// As [`Aws::irsa`].
    pub fn pod_identity(&self, role: &Role) -> Result<Vec<(String, String)>> {
        let mut env = self.environment();
        env.push(("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), format!("{}/_pod_identity", self.url())));
        env.push(("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE".to_owned(), self.token_file(role)?));
        Ok(env)
    }

    /// The environment of a person who has logged in as this role: the region and three variables with keys.
    ///
    /// # Errors
    /// If the stand-in does not answer, or knows no such role.
    pub async fn keys(&self, role: &Role) -> Result<Vec<(String, String)>> {
        let keys: [String; 3] = serde_json::from_value(self.control("log-in", &json!({ "role": role.arn })).await?)?;
        let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"].map(str::to_owned);
        Ok(self.environment().into_iter().chain(names.into_iter().zip(keys)).collect())
    }

    /// The environment of whoever has no credentials: where AWS is, and a region.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        vec![("AWS_ENDPOINT_URL".to_owned(), self.url()), ("AWS_REGION".to_owned(), "eu-central-1".to_owned())]
    }

    fn token_file(&self, role: &Role) -> Result<String> {
        let token = role.service_account.as_deref().context("no ServiceAccount has this role")?;
        let path = self.scratch.path().join(role.arn.replace(['/', ':'], "."));
        std::fs::write(&path, token)?;
        Ok(path.display().to_string())
    }

    /// What an API server is started with, so that tokens of EKS log in to it. `server` is a name that no other has.
    ///
    /// # Errors
    /// If the webhook's kubeconfig cannot be written.
    pub fn webhook(&self, server: &str) -> Result<ClusterOptions> {
        let path = self.scratch.path().join(format!("{server}.webhook"));
        let url = format!("http://127.0.0.1:{}/authenticate/{server}", self.authenticator_port);
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "webhook",
            "clusters": [{ "name": "webhook", "cluster": { "server": url } }],
            "contexts": [{ "name": "webhook", "context": { "cluster": "webhook", "user": "" } }],
        });
        std::fs::write(&path, kubeconfig.to_string())?;
        let config = format!("--authentication-token-webhook-config-file={}", path.display());
        // EKS's own caching time is not known; with none at all each request is a look of the verifier.
        let cache = "--authentication-token-webhook-cache-ttl=1s";
        let version = "--authentication-token-webhook-version=v1";
        Ok(ClusterOptions::default().api_server_arg(config).api_server_arg(cache).api_server_arg(version))
    }

    /// Says that an API server is this EKS cluster, and who is let in: nobody, and it no longer is. `not_before`, in
    /// seconds since 1970: tokens that were signed before have ended.
    ///
    /// # Errors
    /// If the authenticator does not answer.
    pub async fn let_in(&self, server: &str, eks: &EksCluster, entries: &[AccessEntry], not_before: i64) -> Result<()> {
        let said = json!({ "name": eks.name, "region": eks.region, "entries": entries, "notBefore": not_before });
        self.authenticator(&format!("/clusters/{server}"), &said).await.map(drop)
    }

    /// What the webhook of an API server has been asked.
    ///
    /// # Errors
    /// As above.
    pub async fn reviews(&self, server: &str) -> Result<Vec<Review>> {
        Ok(serde_json::from_value(self.authenticator(&format!("/reviews/{server}"), &Value::Null).await?)?)
    }

    /// The last lines of both programs' logs.
    #[must_use]
    pub fn log_tail(&self) -> String {
        format!("{}{}", self.stand_in.log_tail(LOG_LINES), self.authenticator.log_tail(LOG_LINES))
    }

    async fn control(&self, what: &str, said: &Value) -> Result<Value> {
        local_http::post("the stand-in for AWS", self.port, &format!("/_control/{what}"), said).await
    }

    async fn authenticator(&self, path: &str, said: &Value) -> Result<Value> {
        local_http::post("the authenticator", self.authenticator_port, path, said).await
    }
}

#[derive(Deserialize)]
struct Log {
    calls: Vec<AwsCall>,
    next: usize,
}

/// Python with all that it needs, and the authenticator.
async fn programs() -> Result<(PathBuf, PathBuf)> {
    tokio::task::spawn_blocking(|| Ok((programs::python()?, programs::authenticator()?))).await?
}

/// Waits for the line that says where a program listens, and returns the port.
async fn ready(process: &Process) -> Result<u16> {
    let end = Instant::now() + START_DEADLINE;
    loop {
        let said = process.stdout();
        if let Some(address) = said.lines().find_map(|line| line.strip_prefix("ready 127.0.0.1:")) {
            return address.parse().context("no port");
        }
        if !process.is_running() || Instant::now() >= end {
            bail!("{} has not started:\n{}", process.name(), process.log_tail(LOG_LINES));
        }
        sleep(PAUSE).await;
    }
}
