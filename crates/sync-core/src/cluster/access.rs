//! How to reach one cluster, and as whom.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use http::Uri;
use kube::client::middleware::AuthLayer;
use kube::client::{AuthError, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::addresses::{AddressRules, Forbidden};
use super::header::SwapHeader;
use super::proxy::Proxy;
use super::renew::{Renew, Renewing};
use crate::fault::message;

/// Where a pod has its ServiceAccount's token.
const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

pub(super) const NOT_HTTPS: &str = "is not https: credentials are never sent in the clear";

/// All that a [`Connection`](super::connection::Connection) needs. `Debug` shows no credential.
#[derive(Clone)]
pub struct Access {
    /// Address and extra headers; credentials only for a local one.
    pub(super) config: kube::Config,
    pub(super) tls: rustls::ClientConfig,
    /// Name that the certificate must be for, if it is not the server's.
    pub(super) tls_name: Option<ServerName<'static>>,
    pub(super) login: Login,
    /// `None` for a local one: it goes wherever the person who started us says.
    pub(super) addresses: Option<AddressRules>,
    pub(super) proxy: Option<Proxy>,
}

#[derive(Clone)]
pub(super) enum Login {
    /// None, or a client certificate.
    None,
    Header(SwapHeader),
    /// Is asked for a newer header when a server refuses it.
    Renewing(Renewing),
    /// kube's own: token files, exec plugins.
    Kube(Arc<AuthLayer>),
}

/// Why a cluster cannot be reached, before anything was sent. Each text says what to do and shows nothing of a
/// kubeconfig but names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Our own cluster's access, from the environment we run in.
    #[error("{0}")]
    Local(String),
    /// No kubeconfig. Line and column, if the parser knows them.
    #[error("the kubeconfig cannot be read{}: compare it with what `kubectl config view --flatten` prints", at(.0))]
    Unreadable(Option<(usize, usize)>),
    /// No context to use.
    #[error("the kubeconfig has no current-context: name one of its contexts ({known})")]
    NoContext {
        /// Their names.
        known: String,
    },
    /// The context is not there.
    #[error("the kubeconfig has no context {name}: name one of {known}")]
    UnknownContext {
        /// The one that was asked for.
        name: String,
        /// Those that are there.
        known: String,
    },
    /// The context leads nowhere.
    #[error("context {context} names no {what} that the kubeconfig has: add it")]
    Dangling {
        /// The context.
        context: String,
        /// `cluster` or `user`
        what: &'static str,
    },
    /// A setting that is refused, missing or cannot be read.
    #[error("{place}: {setting} {problem}")]
    Setting {
        /// `cluster "NAME"` or `user "NAME"`.
        place: String,
        /// The key.
        setting: &'static str,
        /// What is wrong with it, and what to do.
        problem: &'static str,
    },
    /// An address that only we can reach.
    #[error("{place}: its address is {why}: correct it, or run master with --allow-addresses={entry}")]
    Address {
        /// `cluster "NAME"`
        place: String,
        /// What allows it.
        entry: String,
        /// What kind of address.
        why: Forbidden,
    },
}

fn at(position: &Option<(usize, usize)>) -> String {
    position.map_or_else(String::new, |(line, column)| format!(" at line {line}, column {column}"))
}

impl AccessError {
    /// The word for Events, status, metric labels and logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Local(_) => "NoAccess",
            Self::Unreadable(_) | Self::Setting { .. } | Self::Dangling { .. } => "InvalidKubeconfig",
            Self::NoContext { .. } | Self::UnknownContext { .. } => "UnknownContext",
            Self::Address { .. } => "AddressNotAllowed",
        }
    }

    pub(super) fn setting(place: &str, setting: &'static str, problem: &'static str) -> Self {
        Self::Setting { place: message(place), setting, problem }
    }
}

impl Access {
    /// Our own cluster. `--context` and `KUBECONFIG` come first, being said explicitly; then the ServiceAccount of
    /// the pod that we are, then `~/.kube/config`. Exec plugins, token files and client certificates work as kube has
    /// them; a pod's token and certificate authority are read again every minute.
    ///
    /// # Errors
    /// If there is none of these or it cannot be used.
    pub async fn local(context: Option<&str>) -> Result<Self, AccessError> {
        install_crypto();
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let in_pod = set("KUBERNETES_SERVICE_HOST") && Path::new(POD_TOKEN).exists();
        if in_pod && context.is_none() && !set("KUBECONFIG") {
            let config = kube::Config::incluster();
            let config = config.map_err(|error| local(&format!("the pod's ServiceAccount cannot be used: {error}")))?;
            return Self::of_config(config, None).await;
        }
        Self::trusted(Kubeconfig::read().map_err(|error| kubeconfig_error(&error))?, context).await
    }

    /// A cluster by a kubeconfig file of the person who started us, with all that kube supports in one.
    ///
    /// # Errors
    /// If it cannot be used.
    pub async fn trusted(kubeconfig: Kubeconfig, context: Option<&str>) -> Result<Self, AccessError> {
        install_crypto();
        let own_proxy = own_proxy(&kubeconfig, context);
        let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let config = config.map_err(|error| kubeconfig_error(&error))?;
        // kube takes text without a certificate for an authority that vouches for nobody.
        if config.root_cert.as_ref().is_some_and(Vec::is_empty) {
            return Err(local("the certificate authority of the kubeconfig holds no certificate in PEM: correct it"));
        }
        let proxy = match own_proxy {
            Some(url) => Some(Proxy::parse(&url, &config.cluster_url)),
            None => Proxy::from_env(&config.cluster_url),
        };
        let proxy = proxy.transpose().map_err(|bad| local(&bad.to_string()))?;
        Self::of_config(config, proxy).await
    }

    async fn of_config(config: kube::Config, proxy: Option<Proxy>) -> Result<Self, AccessError> {
        // Exec plugins block, and run here for the first time.
        let made = tokio::task::spawn_blocking(move || {
            let (tls, auth) = (config.rustls_client_config(), config.auth_layer());
            (config, tls, auth)
        });
        let (config, tls, auth) = made.await.map_err(|_| local("the login was interrupted"))?;
        let tls = tls.map_err(|error| local(login_error(&error)))?;
        let login = match auth.map_err(|error| local(login_error(&error)))? {
            Some(layer) => Login::Kube(Arc::new(layer)),
            None => Login::None,
        };
        let tls_name = config.tls_server_name.clone().map(ServerName::try_from).transpose();
        let tls_name = tls_name.map_err(|_| local("tls-server-name is no name"))?;
        Ok(Self { config, tls, tls_name, login, addresses: None, proxy })
    }

    /// A cluster by its address, the PEM of its certificate authority, and a header that its owner keeps fresh.
    ///
    /// # Errors
    /// If the address is not allowed or no `https:` one, or the certificate authority cannot be read.
    pub fn with_header(
        server: &str,
        authority_pem: &[u8],
        header: SwapHeader,
        allow: &AddressRules,
    ) -> Result<Self, AccessError> {
        let server = Server { place: "cluster", url: server, authority_pem, tls_name: None };
        Self::remote(&server, None, Login::Header(header), allow)
    }

    pub(super) fn remote(
        server: &Server<'_>,
        identity: Option<Identity>,
        login: Login,
        allow: &AddressRules,
    ) -> Result<Self, AccessError> {
        let Server { place, url, authority_pem, tls_name } = *server;
        let uri = server_url(place, url, allow)?;
        let tls_name = tls_name.map(|name| ServerName::try_from(name.to_owned())).transpose();
        let tls_name =
            tls_name.map_err(|_| AccessError::setting(place, "tls-server-name", "is no name: correct it"))?;
        let tls = tls_config(place, authority_pem, identity)?;
        let proxy = Proxy::from_env(&uri).transpose().map_err(|bad| local(&bad.to_string()))?;
        Ok(Self { config: kube::Config::new(uri), tls, tls_name, login, addresses: Some(allow.clone()), proxy })
    }

    /// The same with one retry of a request that the server answers with 401, if its header is a newer one then.
    #[must_use]
    pub fn renewed_by(mut self, renew: Arc<dyn Renew>) -> Self {
        if let Login::Header(header) = self.login {
            self.login = Login::Renewing(Renewing { header, renew });
        }
        self
    }

    /// The same by a proxy, instead of the one that the environment names: `http://HOST:PORT`, with `USER:PASSWORD@`
    /// before the host if it asks for that. The proxy sees the server's name and encrypted bytes.
    ///
    /// # Errors
    /// If it is no such URL, or at an address that is not allowed.
    pub fn by_proxy(mut self, url: &str) -> Result<Self, AccessError> {
        const HTTP_ONLY: &str = "is no proxy that we can use: write http://HOST:PORT";
        let bad = |_| AccessError::setting("proxy", "proxy-url", HTTP_ONLY);
        let proxy = Proxy::parse(url, self.server()).map_err(bad)?;
        if let (Some(rules), Some(host)) = (&self.addresses, proxy.uri.host()) {
            checked(rules, "the proxy", host)?;
        }
        self.proxy = Some(proxy);
        Ok(self)
    }

    /// The server's URL.
    pub const fn server(&self) -> &Uri {
        &self.config.cluster_url
    }

    /// The header that requests carry, to be swapped; none for local access and for client certificates.
    pub const fn header(&self) -> Option<&SwapHeader> {
        match &self.login {
            Login::Header(header) | Login::Renewing(Renewing { header, .. }) => Some(header),
            Login::None | Login::Kube(_) => None,
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access to {}", self.server())
    }
}

/// The server of a remote cluster, as its description has it.
pub(super) struct Server<'a> {
    /// For error texts.
    pub(super) place: &'a str,
    pub(super) url: &'a str,
    pub(super) authority_pem: &'a [u8],
    pub(super) tls_name: Option<&'a str>,
}

/// A client certificate.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(super) fn read(place: &str, certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, AccessError> {
        let chain = certificates(certificate_pem).ok_or_else(|| {
            AccessError::setting(place, "client-certificate-data", "holds no certificate in PEM: correct it")
        })?;
        let key = PrivateKeyDer::from_pem_slice(key_pem);
        let key =
            key.map_err(|_| AccessError::setting(place, "client-key-data", "holds no private key in PEM: correct it"))?;
        Ok(Self { chain, key })
    }
}

/// Whether this has a certificate in PEM, and none whose end is missing.
pub fn is_authority(pem: &[u8]) -> bool {
    certificates(pem).is_some()
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    read.ok().filter(|certificates| !certificates.is_empty())
}

fn tls_config(
    place: &str,
    authority_pem: &[u8],
    identity: Option<Identity>,
) -> Result<rustls::ClientConfig, AccessError> {
    const AUTHORITY: &str = "certificate-authority-data";
    install_crypto();
    let bad = || AccessError::setting(place, AUTHORITY, "holds no certificate in PEM: correct it");
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(authority_pem).ok_or_else(bad)? {
        roots.add(certificate).map_err(|_| bad())?;
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots);
    match identity {
        None => Ok(config.with_no_client_auth()),
        Some(Identity { chain, key }) => config.with_client_auth_cert(chain, key).map_err(|_| {
            AccessError::setting(place, "client-key-data", "does not belong to client-certificate-data: correct it")
        }),
    }
}

fn server_url(place: &str, url: &str, allow: &AddressRules) -> Result<Uri, AccessError> {
    let bad = |problem| AccessError::setting(place, "server", problem);
    let uri: Uri = url.trim().parse().map_err(|_| bad("is no URL: write https://HOST:PORT"))?;
    if uri.scheme_str() != Some("https") {
        return Err(bad(NOT_HTTPS));
    }
    let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let (Some(host), true, None) = (uri.host(), plain, uri.query()) else {
        return Err(bad("is more than a host, a port and a path: write https://HOST:PORT"));
    };
    checked(allow, place, host)?;
    Ok(uri)
}

fn checked(allow: &AddressRules, place: &str, host: &str) -> Result<(), AccessError> {
    let refused = |why| AccessError::Address { place: message(place), entry: message(&AddressRules::entry(host)), why };
    allow.check_host(host).map_err(refused)
}

/// kube and rustls take the cryptography from here. Whoever else installed one was faster, and it serves as well.
fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}

fn local(text: &str) -> AccessError {
    AccessError::Local(message(text))
}

/// The context's own `proxy-url`. kube mixes it with HTTPS_PROXY, whatever NO_PROXY says.
fn own_proxy(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let name = context.or(kubeconfig.current_context.as_deref())?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == name)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.clone().filter(|url| !url.is_empty())
}

/// Without the text that kube quotes around a syntax error, tokens included.
fn kubeconfig_error(error: &KubeconfigError) -> AccessError {
    match error {
        KubeconfigError::Parse(error) => AccessError::Unreadable(
            error.location().map(|location| (location.line() as usize, location.column() as usize)),
        ),
        KubeconfigError::FindPath => local("no kubeconfig: set KUBECONFIG, or run in a pod with a ServiceAccount"),
        KubeconfigError::ReadConfig(error, path) => local(&format!(
            "cannot read the kubeconfig {}: {error}; set KUBECONFIG to one, or run in a pod with a ServiceAccount",
            path.display()
        )),
        KubeconfigError::LoadContext(name) => {
            local(&format!("the kubeconfig has no context {name:?}: `kubectl config get-contexts` lists them"))
        }
        KubeconfigError::CurrentContextNotSet => local("the kubeconfig has no current-context: say --context NAME"),
        KubeconfigError::LoadClusterOfContext(name) => {
            local(&format!("the kubeconfig has no cluster {name:?}: add it, or choose another with --context"))
        }
        KubeconfigError::LoadCertificateAuthority(_) | KubeconfigError::ParseCertificates(_) => {
            local("the certificate authority of the kubeconfig cannot be read: correct it")
        }
        _ => local("the kubeconfig cannot be used: does kubectl work with it?"),
    }
}

fn login_error(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Auth(AuthError::AuthExecStart(_) | AuthError::AuthExecRun { .. } | AuthError::AuthExec(_)) => {
            "the kubeconfig's login command failed: run it by hand, its output is not shown here"
        }
        kube::Error::Auth(AuthError::ReadTokenFile(..)) => "the token file cannot be read",
        kube::Error::RustlsTls(_) | kube::Error::InferKubeconfig(_) => {
            "a certificate or key of the kubeconfig cannot be read: correct it"
        }
        _ => "the login of the kubeconfig cannot be used: does kubectl work with it?",
    }
}
