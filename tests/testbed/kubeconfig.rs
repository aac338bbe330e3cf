//! Kubeconfig files.

use k8s_openapi::ByteString;

/// What a client needs to reach a cluster, and its text as a kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    /// `https://address:port`. A proxy's, to put faults between a client and the cluster.
    pub server: String,
    /// The certificate authority, in PEM.
    pub ca_pem: String,
    /// Bearer token.
    pub token: String,
    /// Names of the cluster, the user and the only context.
    pub name: String,
    /// The context's namespace.
    pub namespace: String,
}

impl Kubeconfig {
    /// The text of a kubeconfig file.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let Self { server, ca_pem, token, name, namespace } = self;
        // As kubectl expects it, and base64 without one more dependency.
        let ca = serde_json::to_string(&ByteString(ca_pem.clone().into_bytes())).unwrap_or_default();
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {name}\n\
             clusters:\n- name: {name}\n  cluster:\n    server: {server}\n    certificate-authority-data: {ca}\n\
             users:\n- name: {name}\n  user:\n    token: {token}\n\
             contexts:\n- name: {name}\n  context:\n    cluster: {name}\n    user: {name}\n    namespace: {namespace}\n"
        )
    }

    /// The id of a ServiceAccount's token, which each line of the audit log has: tells apart processes that have a
    /// token each. `None` for other tokens.
    #[must_use]
    pub fn token_id(&self) -> Option<String> {
        // A JSON Web Token: the middle part is base64url without padding.
        let mut claims = self.token.split('.').nth(1)?.replace('-', "+").replace('_', "/");
        claims.push_str(["", "", "==", "="].get(claims.len() % 4)?);
        let claims: ByteString = serde_json::from_value(claims.into()).ok()?;
        let claims: serde_json::Value = serde_json::from_slice(&claims.0).ok()?;
        claims.get("jti")?.as_str().map(str::to_owned)
    }

    /// The same access by another way, e.g. `https://` and a [`FaultProxy`](crate::FaultProxy)'s address.
    #[must_use]
    pub fn by_server(mut self, server: impl Into<String>) -> Self {
        self.server = server.into();
        self
    }
}
