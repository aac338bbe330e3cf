//! Ways into a cluster: clients, kubeconfigs, tokens, kubectl.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::{HeaderValue, Request, header};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::{Client, Config};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::runtime::{self, Handle};

use super::Cluster;
use crate::certificates::{self, Authority};
use crate::eventually::eventually;
use crate::kubeconfig::Kubeconfig;
use crate::process::{Start, workspace};

/// A kubectl that takes longer waits for what never comes.
const KUBECTL_DEADLINE: Duration = Duration::from_secs(180);
/// The user agent of [`Cluster::client`], by which a test tells its own requests in the audit log.
const USER_AGENT: &str = "testbed";
/// A working day: no test is longer.
const TOKEN_SECONDS: i64 = 8 * 3600;

/// One client for each runtime, for connections belong to one.
#[derive(Default)]
pub(super) struct Clients(Mutex<HashMap<runtime::Id, Client>>);

impl Clients {
    fn of_this_runtime(&self, make: impl FnOnce() -> Client) -> Client {
        let Ok(runtime) = Handle::try_current() else { return make() };
        self.lock().entry(runtime.id()).or_insert_with(make).clone()
    }

    /// Their connections lead to what has ended.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<runtime::Id, Client>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clients").field(&self.lock().len()).finish()
    }
}

impl Cluster {
    /// `https://127.0.0.1:port`; the port stays when the API server restarts.
    #[must_use]
    pub fn server_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Shows to whoever connects by the name `localhost` a certificate of this authority from now on; by the address it
    /// stays as it is. The API server takes a moment to notice, and open connections stay.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn serve_localhost_by(&self, authority: &Authority) -> Result<()> {
        certificates::write_named(self.dir(), authority)
    }

    /// Where a [`FaultProxy`](crate::FaultProxy) forwards to.
    #[must_use]
    pub fn server_addr(&self) -> std::net::SocketAddr {
        (std::net::Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The certificate authority, in PEM. Its server certificate is for `127.0.0.1` and `localhost`, any port.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.pem()
    }

    /// What its own certificates are signed by.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The access of a user in `system:masters`.
    #[must_use]
    pub fn admin(&self) -> Kubeconfig {
        self.access_with_token("admin", &self.admin_token)
    }

    /// A kubeconfig file of a user in `system:masters`.
    #[must_use]
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.dir().join("admin.kubeconfig")
    }

    /// The access of whoever has `token`.
    #[must_use]
    pub fn access_with_token(&self, name: &str, token: &str) -> Kubeconfig {
        Kubeconfig {
            server: self.server_url(),
            ca_pem: self.authority.pem().to_owned(),
            token: token.to_owned(),
            name: name.to_owned(),
            namespace: "default".to_owned(),
        }
    }

    /// The access of an existing ServiceAccount, with a fresh token (by TokenRequest, valid for 8 hours).
    ///
    /// # Errors
    /// If there is no such ServiceAccount.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<Kubeconfig> {
        let token = self.service_account_token(namespace, name, TOKEN_SECONDS).await?;
        let mut access = self.access_with_token(name, &token);
        namespace.clone_into(&mut access.namespace);
        Ok(access)
    }

    /// A fresh token of a ServiceAccount; `seconds` is at least 600.
    ///
    /// # Errors
    /// If there is no such ServiceAccount.
    pub async fn service_account_token(&self, namespace: &str, name: &str, seconds: i64) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(seconds), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
        let answer = answer.with_context(|| format!("no token for ServiceAccount {namespace}/{name}"))?;
        Ok(answer.status.context("a TokenRequest without status")?.token)
    }

    /// A kubeconfig file of an existing ServiceAccount, see [`Cluster::service_account`].
    ///
    /// # Errors
    /// If there is no such ServiceAccount.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        self.write_kubeconfig(&self.service_account(namespace, name).await?)
    }

    /// A kubeconfig file of whoever has `token`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn kubeconfig_with_token(&self, name: &str, token: &str) -> Result<PathBuf> {
        self.write_kubeconfig(&self.access_with_token(name, token))
    }

    /// Writes a kubeconfig to a new file in the cluster's folder.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_kubeconfig(&self, access: &Kubeconfig) -> Result<PathBuf> {
        let path = self.dir().join(format!("{}-{}.kubeconfig", access.name, next()));
        fs::write(&path, access.to_yaml()).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A client with all rights, over HTTP/1.1, with user agent `testbed`. It belongs to the runtime that calls this, which
    /// gets the same one until the API server is started again: connections are used again.
    ///
    /// It opens a connection per concurrent request: limit what runs at once.
    #[must_use]
    pub fn client(&self) -> Client {
        self.clients.of_this_runtime(|| self.client_of(&self.admin(), USER_AGENT))
    }

    /// A client of whoever has this access; else as [`Cluster::client`].
    #[must_use]
    pub fn client_with(&self, access: &Kubeconfig) -> Client {
        self.client_of(access, USER_AGENT)
    }

    pub(crate) fn client_of(&self, access: &Kubeconfig, user_agent: &'static str) -> Client {
        let mut config = Config::new(access.server.parse().expect("the server's URL is one"));
        config.root_cert = Some(vec![self.authority.der()]);
        config.auth_info.token = Some(access.token.clone().into());
        config.headers.push((header::USER_AGENT, HeaderValue::from_static(user_agent)));
        Client::try_from(config).expect("a client from a certificate and a token")
    }

    /// The kubectl of the cluster's version; the folder that it is in goes into a `PATH`.
    #[must_use]
    pub fn kubectl_program(&self) -> &Path {
        &self.programs.kubectl
    }

    /// Runs kubectl as admin, in the workspace's root (so `-f deploy/agent.yaml` works), and returns what it printed.
    ///
    /// # Errors
    /// If it fails (with what it wrote to its standard error) or does not end within 3 minutes.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.run_kubectl(&self.admin_kubeconfig(), args, None).await
    }

    /// The same with something to read, for `-f -`.
    ///
    /// # Errors
    /// As [`Cluster::kubectl`].
    pub async fn kubectl_stdin(&self, args: &[&str], input: impl Into<Vec<u8>>) -> Result<String> {
        self.run_kubectl(&self.admin_kubeconfig(), args, Some(input.into())).await
    }

    /// Applies the objects of a manifest on the server's side, as admin: what a test only needs to be there. kubectl takes a
    /// process and a description of the whole API for each call.
    ///
    /// # Errors
    /// If one of them is refused, or is no object.
    pub async fn apply(&self, manifest: &str) -> Result<()> {
        for document in serde_yaml::Deserializer::from_str(manifest) {
            let object = Value::deserialize(document).context("no YAML")?;
            if object.is_null() {
                continue;
            }
            let path = path_of(&object).with_context(|| format!("no object: {object}"))?;
            let request = Request::patch(format!("{path}?fieldManager={USER_AGENT}&force=true"));
            let request = request.header(header::CONTENT_TYPE, "application/apply-patch+yaml");
            let applied = self.client().request::<Value>(request.body(object.to_string().into_bytes())?).await;
            applied.with_context(|| format!("cannot apply {path}"))?;
        }
        Ok(())
    }

    /// [`Cluster::apply`] for files of the workspace, by their paths in it.
    ///
    /// # Errors
    /// If one cannot be read, or as [`Cluster::apply`].
    pub async fn apply_files(&self, paths: &[&str]) -> Result<()> {
        for path in paths {
            let path = workspace().join(path);
            let manifest = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            self.apply(&manifest).await?;
        }
        Ok(())
    }

    /// Waits until the kinds of all definitions (CustomResourceDefinitions) are served. `kubectl wait` fails at once where
    /// the server has not begun to say whether they are.
    pub async fn until_established(&self) {
        const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        eventually(Duration::from_secs(60), "all definitions are established", async || {
            let list = self.client().request::<Value>(Request::get(PATH).body(Vec::new())?).await?;
            for definition in list.get("items").and_then(Value::as_array).context("no list")? {
                let conditions = definition.pointer("/status/conditions").and_then(Value::as_array);
                let is = |condition: &Value| condition["type"] == "Established" && condition["status"] == "True";
                ensure!(conditions.is_some_and(|all| all.iter().any(is)), "{conditions:?}");
            }
            Ok(())
        })
        .await;
    }

    /// Runs kubectl with another kubeconfig file.
    ///
    /// # Errors
    /// As [`Cluster::kubectl`].
    pub async fn kubectl_as(&self, kubeconfig: &Path, args: &[&str]) -> Result<String> {
        self.run_kubectl(kubeconfig, args, None).await
    }

    async fn run_kubectl(&self, kubeconfig: &Path, args: &[&str], input: Option<Vec<u8>>) -> Result<String> {
        let name = format!("kubectl-{}", next());
        let mut start = Start::new(&name, &self.programs.kubectl, self.dir()).args(args);
        start.env.push(("KUBECONFIG".into(), kubeconfig.into()));
        // It ends before its garbage would be worth collecting: a fifth less processor time.
        start.env.push(("GOGC".into(), "off".into()));
        start.stdin = input;
        let process = start.spawn()?;
        let status = process.wait_exit(KUBECTL_DEADLINE).await;
        let (stdout, stderr) = (process.stdout(), process.stderr());
        process.remove_output();
        let what = || format!("kubectl {}", args.join(" "));
        let status = status.with_context(|| format!("{}: {stderr}", what()))?;
        if !status.success() {
            bail!("{}: {status}: {}{stdout}", what(), stderr.trim_end());
        }
        Ok(stdout)
    }

    /// Whether the controller manager has given a namespace what every namespace gets.
    pub(super) async fn namespace_is_served(&self, namespace: &str) -> Result<()> {
        Api::<ServiceAccount>::namespaced(self.client(), namespace).get("default").await?;
        Api::<ConfigMap>::namespaced(self.client(), namespace).get("kube-root-ca.crt").await?;
        Ok(())
    }
}

/// Where an object is in the API, by the rules that names of resources follow in English.
fn path_of(object: &Value) -> Option<String> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let (version, kind, name) = (text("/apiVersion")?, text("/kind")?.to_lowercase(), text("/metadata/name")?);
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    };
    let api = if version.contains('/') { "apis" } else { "api" };
    let namespace = text("/metadata/namespace").map(|name| format!("/namespaces/{name}"));
    Some(format!("/{api}/{version}{}/{plural}/{name}", namespace.unwrap_or_default()))
}

/// Numbers for file names.
fn next() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}
