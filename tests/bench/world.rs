//! The cluster, its namespaces, and who may do what in it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use http::{Method, Request, header};
use kube::client::Body;
use serde_json::{Value, json};
use sync_core::cluster::access::Access;
use sync_core::cluster::connection::Connection;
use sync_core::cluster::header::SwapHeader;
use sync_core::cluster::request::{self, Limits};
use testbed::{Binaries, Cluster, ClusterOptions};

use crate::IN_FLIGHT;

/// The source and each of its copies.
pub(crate) const NAME: &str = "regcred";
const RIGHTS: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: bench-floor, namespace: operator}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: bench-floor}
rules: [{apiGroups: ['', events.k8s.io], resources: [secrets, namespaces], verbs: ['*']}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: bench-floor}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: bench-floor}
subjects: [{kind: ServiceAccount, name: bench-floor, namespace: operator}]
";

/// One cluster with all that the runs need.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) namespaces: Vec<String>,
    /// All rights; a ServiceAccount as the agent is, so that the server treats their requests alike.
    pub(crate) connection: Connection,
    pub(crate) agent: &'static Path,
    pub(crate) agent_kubeconfig: PathBuf,
}

/// Where the Secrets of a namespace are.
pub(crate) fn secrets(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets")
}

/// Of a payload such as registries have.
pub(crate) fn docker_config(password: &str) -> Value {
    let auths = json!({ "auths": { "registry.example.com": { "username": "robot", "password": password } } });
    json!({ ".dockerconfigjson": k8s_openapi::ByteString(auths.to_string().into_bytes()) })
}

/// One request with its JSON answer.
pub(crate) async fn send(connection: &Connection, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
    let content = match (method == Method::PATCH, body.first()) {
        (true, Some(b'[')) => "application/json-patch+json",
        (true, _) => "application/merge-patch+json",
        (false, _) => "application/json",
    };
    let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, content);
    let request = request.header(header::ACCEPT, "application/json").body(Body::from(body))?;
    Ok(request::send(&connection.write, request, Limits::PAGE).await?)
}

/// The same request to many paths, as many at once as a run has.
pub(crate) async fn send_all(
    connection: &Connection,
    method: &Method,
    to: impl Iterator<Item = (String, Bytes)>,
) -> Result<()> {
    let requests =
        to.map(|(path, body)| Ok(async move { send(connection, method.clone(), &path, body).await.map(drop) }));
    stream::iter(requests).try_buffer_unordered(IN_FLIGHT).try_collect().await
}

impl World {
    pub(crate) async fn start(namespaces: u32) -> Result<Self> {
        eprintln!("building the agent, starting a cluster ...");
        let binaries = Binaries::build_release().await?;
        // Without the controller manager nothing else is busy with new namespaces.
        let cluster = Cluster::start(ClusterOptions::default().without_controller_manager()).await?;
        cluster.kubectl(&["apply", "-f", "deploy/namespace.yaml", "-f", "deploy/agent.yaml"]).await?;
        cluster.kubectl_stdin(&["apply", "-f", "-"], RIGHTS).await?;
        let token = cluster.service_account_token("operator", "bench-floor", 8 * 3600).await?;
        let allow = "127.0.0.1".parse()?;
        let access = Access::with_header(
            &cluster.server_url(),
            cluster.ca_pem().as_bytes(),
            SwapHeader::bearer(&token)?,
            &allow,
        )?;
        let connection = Connection::new(&access, "bench-floor")?;
        connection.warm().await?;
        let names: Vec<_> = (0..namespaces).map(|n| format!("tenant-{n:05}")).collect();
        let bodies = names.iter().map(|name| {
            let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
            ("/api/v1/namespaces".to_owned(), Bytes::from(namespace.to_string()))
        });
        send_all(&connection, &Method::POST, bodies).await?;
        let source = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
            "metadata": { "name": NAME }, "data": docker_config("first"),
        });
        send(&connection, Method::POST, &secrets("operator"), source.to_string().into()).await?;
        let agent_kubeconfig = cluster.kubeconfig_for_service_account("operator", "mw-sync-agent").await?;
        let agent = binaries.agent();
        let mut namespaces = Vec::new();
        // The agent fills those of the cluster's own too, and so does the floor.
        let listed: Value =
            serde_json::from_slice(&send(&connection, Method::GET, "/api/v1/namespaces", Bytes::new()).await?)?;
        for namespace in listed["items"].as_array().into_iter().flatten() {
            let name = namespace["metadata"]["name"].as_str().context("a name")?;
            if name != "operator" {
                namespaces.push(name.to_owned());
            }
        }
        Ok(Self { cluster, namespaces, connection, agent, agent_kubeconfig })
    }

    pub(crate) async fn stop(self) {
        self.cluster.stop().await;
    }
}
