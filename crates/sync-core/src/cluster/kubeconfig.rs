//! Kubeconfigs that stand in a Secret. They are credentials, not programs: what would run a command, read a file of
//! ours or trust anybody is refused by name.

use std::collections::BTreeSet;

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::access::{Access, AccessError, Identity, Login, Server};
use super::addresses::AddressRules;
use super::header::SwapHeader;
use crate::fault::message;

const FLATTEN: &str = "is a file of another machine: `kubectl config view --raw --flatten` puts the file's content in";

/// A kubeconfig that was parsed. It is opened by [`Kubeconfig::access`] for one of its contexts.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kubeconfig {
    current_context: Option<String>,
    contexts: Option<Vec<NamedContext>>,
    clusters: Option<Vec<NamedCluster>>,
    users: Option<Vec<NamedUser>>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Option<Context>,
}

#[derive(Deserialize)]
struct Context {
    cluster: Option<String>,
    user: Option<String>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Option<Cluster>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: Option<String>,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: Option<bool>,
    tls_server_name: Option<String>,
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: Option<User>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    username: Option<String>,
    password: Option<String>,
    exec: Option<Exec>,
    auth_provider: Option<IgnoredAny>,
    r#as: Option<IgnoredAny>,
    as_uid: Option<IgnoredAny>,
    as_groups: Option<IgnoredAny>,
    as_user_extra: Option<IgnoredAny>,
}

/// A login command. It is never run; a caller may know how to do without.
#[derive(Clone, Deserialize, PartialEq, Eq)]
pub struct Exec {
    /// The program.
    #[serde(default)]
    pub command: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Option<Vec<String>>,
    /// Its environment.
    #[serde(default)]
    pub env: Option<Vec<ExecEnv>>,
}

/// A variable of a login command's environment.
#[derive(Clone, Deserialize, PartialEq, Eq)]
pub struct ExecEnv {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
}

/// A context whose user logs in by a command.
#[derive(Clone, Copy)]
pub struct LoginCommand<'a> {
    /// The context's name.
    pub context: &'a str,
    /// The name of its cluster.
    pub cluster: &'a str,
    /// The name of its user.
    pub user: &'a str,
    /// The command.
    pub exec: &'a Exec,
    /// The cluster's `proxy-url`, which may hold a password.
    pub proxy_url: Option<&'a str>,
}

impl std::fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kubeconfig")
    }
}

impl std::fmt::Debug for Exec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exec")
    }
}

impl std::fmt::Debug for ExecEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExecEnv")
    }
}

impl std::fmt::Debug for LoginCommand<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginCommand").field("context", &self.context).finish_non_exhaustive()
    }
}

impl Access {
    /// A cluster by a kubeconfig that stands in a Secret; `None` is its current context.
    ///
    /// # Errors
    /// If it cannot be read, asks for something that is refused, or names a server that is not allowed.
    pub fn from_kubeconfig(bytes: &[u8], context: Option<&str>, allow: &AddressRules) -> Result<Self, AccessError> {
        Kubeconfig::parse(bytes)?.access(context, allow)
    }
}

impl Kubeconfig {
    /// Parses the YAML (or JSON) of a kubeconfig.
    ///
    /// # Errors
    /// Where it cannot be read, and never what stands there.
    pub fn parse(bytes: &[u8]) -> Result<Self, AccessError> {
        serde_yaml::from_slice(bytes).map_err(|error| {
            AccessError::Unreadable(error.location().map(|location| (location.line(), location.column())))
        })
    }

    /// The names of its contexts.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        self.contexts.iter().flatten().map(|context| context.name.as_str())
    }

    /// The login command of a context's user, if it has one. What else the context asks for is not refused less for it.
    ///
    /// # Errors
    /// If there is no such context, its cluster or user is missing, or it asks for something that is refused.
    pub fn login_command(&self, context: Option<&str>) -> Result<Option<LoginCommand<'_>>, AccessError> {
        let (context, names) = self.context(context)?;
        let (user, Some(settings)) = self.user(context, names)? else { return Ok(None) };
        let Some(exec) = &settings.exec else { return Ok(None) };
        refuse_others(&format!("user {user:?}"), settings)?;
        let (cluster, settings) = self.cluster(context, names)?;
        let place = format!("cluster {cluster:?}");
        refuse_trust(&place, settings)?;
        // Whoever knows how to do without the command knows the address too.
        if text(&settings.server).is_some_and(|url| !url.trim().starts_with("https://")) {
            return Err(AccessError::setting(&place, "server", super::access::NOT_HTTPS));
        }
        if text(&settings.tls_server_name).is_some() {
            return Err(AccessError::setting(
                &place,
                "tls-server-name",
                "does not go with a login command: take it out",
            ));
        }
        Ok(Some(LoginCommand { context, cluster, user, exec, proxy_url: text(&settings.proxy_url) }))
    }

    /// The access that a context gives.
    ///
    /// # Errors
    /// If the context asks for something that is refused, or names a server that is not allowed.
    pub fn access(&self, context: Option<&str>, allow: &AddressRules) -> Result<Access, AccessError> {
        let (name, context) = self.context(context)?;
        let (cluster_name, cluster) = self.cluster(name, context)?;
        let (user_name, user) = self.user(name, context)?;
        let place = format!("cluster {cluster_name:?}");
        let (url, authority_pem) = server(&place, cluster)?;
        let server =
            Server { place: &place, url, authority_pem: &authority_pem, tls_name: text(&cluster.tls_server_name) };
        let no_user = User::default();
        let (identity, login) = login(&format!("user {user_name:?}"), user.unwrap_or(&no_user))?;
        let access = Access::remote(&server, identity, login, allow)?;
        match text(&cluster.proxy_url) {
            Some(url) => access.by_proxy(url),
            None => Ok(access),
        }
    }

    fn context(&self, asked: Option<&str>) -> Result<(&str, &Context), AccessError> {
        let known = || known(self.contexts());
        let Some(asked) = asked.or(self.current_context.as_deref()).filter(|name| !name.is_empty()) else {
            return Err(AccessError::NoContext { known: known() });
        };
        let found = self.contexts.iter().flatten().find(|context| context.name == asked);
        match found.and_then(|named| Some((named.name.as_str(), named.context.as_ref()?))) {
            Some(found) => Ok(found),
            None => Err(AccessError::UnknownContext { name: quoted(asked), known: known() }),
        }
    }

    fn cluster<'a>(&'a self, name: &str, context: &'a Context) -> Result<(&'a str, &'a Cluster), AccessError> {
        let named = self.clusters.iter().flatten().find(|named| Some(&named.name) == context.cluster.as_ref());
        named
            .and_then(|named| Some((named.name.as_str(), named.cluster.as_ref()?)))
            .ok_or_else(|| AccessError::Dangling { context: quoted(name), what: "cluster" })
    }

    fn user<'a>(&'a self, name: &str, context: &'a Context) -> Result<(&'a str, Option<&'a User>), AccessError> {
        let named = self.users.iter().flatten().find(|named| Some(&named.name) == context.user.as_ref());
        named
            .map(|named| (named.name.as_str(), named.user.as_ref()))
            .ok_or_else(|| AccessError::Dangling { context: quoted(name), what: "user" })
    }
}

fn quoted(name: &str) -> String {
    message(&format!("{name:?}"))
}

fn known<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: BTreeSet<_> = names.collect();
    if names.is_empty() {
        return "none is there".to_owned();
    }
    message(&names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "))
}

fn text(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|text| !text.is_empty())
}

/// Go's decoder passes over line breaks; so do files written by hand.
fn base64(value: &str) -> Option<Vec<u8>> {
    let compact: String = value.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    ByteString::deserialize(serde_json::Value::String(compact)).ok().map(|bytes| bytes.0)
}

/// What would trust anybody, or a file of ours.
fn refuse_trust(place: &str, cluster: &Cluster) -> Result<(), AccessError> {
    if cluster.insecure_skip_tls_verify == Some(true) {
        const PROBLEM: &str = "is refused: give certificate-authority-data";
        return Err(AccessError::setting(place, "insecure-skip-tls-verify", PROBLEM));
    }
    if text(&cluster.certificate_authority).is_some() {
        return Err(AccessError::setting(place, "certificate-authority", FLATTEN));
    }
    Ok(())
}

fn server<'a>(place: &str, cluster: &'a Cluster) -> Result<(&'a str, Vec<u8>), AccessError> {
    const DATA: &str = "certificate-authority-data";
    let bad = |setting, problem| Err(AccessError::setting(place, setting, problem));
    refuse_trust(place, cluster)?;
    let Some(url) = text(&cluster.server) else {
        return bad("server", "is missing: write https://HOST:PORT");
    };
    let Some(authority) = text(&cluster.certificate_authority_data) else {
        return bad(DATA, "is missing: it says which certificate is the server's, so add it");
    };
    match base64(authority) {
        Some(pem) => Ok((url, pem)),
        None => bad(DATA, "is no base64: correct it"),
    }
}

/// What is refused beside a login command as much as without one.
fn refuse_always(place: &str, user: &User) -> Result<(), AccessError> {
    const IDENTITY: &str = "is refused: use the credential of the identity that is meant";
    for (setting, there, problem) in [
        ("client-certificate", text(&user.client_certificate).is_some(), FLATTEN),
        ("client-key", text(&user.client_key).is_some(), FLATTEN),
        ("auth-provider", user.auth_provider.is_some(), "is refused: use a token or a client certificate"),
        ("tokenFile", text(&user.token_file).is_some(), "is a file of another machine: write the token itself"),
        ("as", user.r#as.is_some(), IDENTITY),
        ("as-uid", user.as_uid.is_some(), IDENTITY),
        ("as-groups", user.as_groups.is_some(), IDENTITY),
        ("as-user-extra", user.as_user_extra.is_some(), IDENTITY),
    ] {
        if there {
            return Err(AccessError::setting(place, setting, problem));
        }
    }
    Ok(())
}

/// Everything beside the login command.
fn refuse_others(place: &str, user: &User) -> Result<(), AccessError> {
    refuse_always(place, user)?;
    for (setting, value) in [
        ("token", &user.token),
        ("username", &user.username),
        ("client-certificate-data", &user.client_certificate_data),
        ("client-key-data", &user.client_key_data),
    ] {
        if text(value).is_some() {
            const TWO: &str = "stands beside exec, and which of the two counts is not clear: take one out";
            return Err(AccessError::setting(place, setting, TWO));
        }
    }
    Ok(())
}

fn login(place: &str, user: &User) -> Result<(Option<Identity>, Login), AccessError> {
    let bad = |setting, problem| AccessError::setting(place, setting, problem);
    if user.exec.is_some() {
        return Err(bad("exec", "is refused, commands are not run here: use a token or a client certificate"));
    }
    refuse_always(place, user)?;
    let identity = match (text(&user.client_certificate_data), text(&user.client_key_data)) {
        (None, None) => None,
        (Some(_), None) => return Err(bad("client-key-data", "is missing: add the key of the certificate")),
        (None, Some(_)) => return Err(bad("client-certificate-data", "is missing: add the certificate of the key")),
        (Some(certificate), Some(key)) => {
            let decode = |setting, value| base64(value).ok_or_else(|| bad(setting, "is no base64: correct it"));
            let certificate = decode("client-certificate-data", certificate)?;
            Some(Identity::read(place, &certificate, &decode("client-key-data", key)?)?)
        }
    };
    const CHARACTERS: &str = "holds characters that no HTTP header can carry: remove line breaks and spaces";
    let header = match (text(&user.token), text(&user.username)) {
        // A token written with a block scalar ends with a line break.
        (Some(token), _) => Some(SwapHeader::bearer(token.trim()).map_err(|_| bad("token", CHARACTERS))?),
        (None, Some(name)) => {
            let password = user.password.as_deref().unwrap_or_default();
            Some(SwapHeader::basic(name, password).map_err(|_| bad("username", "holds a colon: correct it"))?)
        }
        (None, None) => None,
    };
    if identity.is_none() && header.is_none() {
        return Err(bad("token", "is missing, and so is any other credential: add one"));
    }
    Ok((identity, header.map_or(Login::None, Login::Header)))
}

#[cfg(test)]
#[path = "kubeconfig_tests.rs"]
mod tests;
