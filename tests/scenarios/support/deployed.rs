//! A controller as its Deployment runs it.

use std::ffi::OsString;

use anyhow::{Context as _, Result};
use serde_json::Value;
use testbed::{Binaries, Cluster, Process};

/// What a Deployment of `deploy/`, as the API server has it, tells its program.
pub(crate) struct Deployed {
    /// `agent` or `master`.
    name: &'static str,
    /// The pod's template.
    pub(crate) template: Value,
    args: Vec<String>,
    env: Vec<(String, OsString)>,
}

impl Deployed {
    /// Reads it.
    pub(crate) async fn of(cluster: &Cluster, name: &'static str) -> Result<Self> {
        let object = format!("deployment/mw-sync-{name}");
        let read = cluster.kubectl(&["-n", "operator", "get", &object, "-o", "json"]).await?;
        let template = serde_json::from_str::<Value>(&read)?["spec"]["template"].take();
        let container = &template["spec"]["containers"][0];
        let args = container["args"].as_array().context("no args")?.iter().filter_map(Value::as_str);
        let args = args.map(str::to_owned).collect();
        // What a value is taken from in a pod is the namespace.
        let env = container["env"].as_array().context("no env")?.iter();
        let env = env.map(|env| (env["name"].as_str(), env["value"].as_str().unwrap_or("operator")));
        let env = env.filter_map(|(name, value)| Some((name?.to_owned(), value.into()))).collect();
        Ok(Self { name, args, env, template })
    }

    /// The same with other values of these flags, and further ones.
    pub(crate) fn with(mut self, flags: &[&str]) -> Self {
        let name = |flag: &str| flag.split('=').next().unwrap_or_default().to_owned();
        self.args.retain(|arg| !flags.iter().any(|flag| name(flag) == name(arg)));
        self.args.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// Runs the program as the Deployment's ServiceAccount.
    pub(crate) async fn spawn(&self, cluster: &Cluster) -> Result<Process> {
        self.spawn_of(Binaries::build().await?, cluster).await
    }

    /// The same with programs of another commit.
    pub(crate) async fn spawn_of(&self, binaries: &Binaries, cluster: &Cluster) -> Result<Process> {
        let account = self.template["spec"]["serviceAccountName"].as_str().context("no ServiceAccount")?;
        let kubeconfig = cluster.kubeconfig_for_service_account("operator", account).await?;
        let program = if self.name == "agent" { binaries.agent() } else { binaries.master() };
        let kubeconfig = ("KUBECONFIG".to_owned(), kubeconfig.into_os_string());
        Process::spawn(program, &self.args, self.env.iter().cloned().chain([kubeconfig]))
    }
}
