//! `agent check` and `master check`: each of the usual mistakes, made on purpose, has a line of its own that names it and
//! the command that mends it.

pub(crate) mod aws;
mod home;
mod remotes;
mod servers;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::{Binaries, Cluster, Process, Requests, eventually};

use crate::support::SOON;

/// A program that checks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Who {
    Agent,
    Master,
}

/// What a check has told.
pub(crate) struct Told {
    code: Option<i32>,
    findings: Vec<Value>,
}

/// Runs a check to its end.
async fn check(who: Who, kubeconfig: &Path, flags: &[&str], env: &[(String, String)]) -> Result<Told> {
    let binaries = Binaries::build().await?;
    let program = if who == Who::Agent { binaries.agent() } else { binaries.master() };
    let kubeconfig = [("KUBECONFIG".to_owned(), kubeconfig.display().to_string())];
    let line = flags.iter().copied().chain(["check", "--output=json"]);
    let process = Process::spawn(program, line, kubeconfig.iter().chain(env).cloned())?;
    let code = process.wait_exit(SOON * 2).await?.code();
    let mut document: Value = serde_json::from_str(&process.stdout()).with_context(|| process.stderr())?;
    let findings = document["findings"].as_array_mut().map(std::mem::take).context("no findings")?;
    Ok(Told { code, findings })
}

impl Told {
    /// The finding of this name in this group that is in this state and says these words, as they are told or in what to do.
    pub(crate) fn find(&self, group: &str, name: &str, state: &str, words: &[&str]) -> Result<&Value> {
        let is = |finding: &&Value| {
            let text = format!("{}\n{}", finding["why"], finding["do"]);
            finding["group"] == group
                && finding["name"] == name
                && finding["state"] == state
                && words.iter().all(|words| text.contains(words))
        };
        let of_group = || self.findings.iter().filter(|finding| finding["group"] == group).collect::<Vec<_>>();
        let found = self.findings.iter().find(is);
        found.with_context(|| format!("no {state} {name} with {words:?} in {group}: {:#?}", of_group()))
    }

    /// Nothing has failed.
    fn is_well(&self) -> Result<()> {
        let failed: Vec<_> = self.findings.iter().filter(|finding| finding["state"] == "failed").collect();
        ensure!(failed.is_empty() && self.code == Some(0), "{:?} {failed:#?}", self.code);
        Ok(())
    }
}

/// Checks until it says so: what was just changed may take the server a moment.
async fn until(
    (who, kubeconfig, flags): (Who, &Path, &[&str]),
    (group, name, state, words): (&str, &str, &str, &[&str]),
) -> Value {
    eventually(SOON, format!("{who:?} says {state} of {name}"), async || {
        let told = check(who, kubeconfig, flags, &[]).await?;
        let has_failed = told.findings.iter().any(|finding| finding["state"] == "failed");
        ensure!(told.code == Some(i32::from(has_failed)), "it ended with {:?}", told.code);
        told.find(group, name, state, words).cloned()
    })
    .await
}

/// Does what a finding says, as a person would paste it into a shell whose `registry` is set as README.md has it.
async fn mend(cluster: &Cluster, finding: &Value) -> Result<()> {
    let todo = finding["do"].as_str().context("nothing to do")?;
    let command = todo.strip_prefix("in that cluster: ").unwrap_or(todo).split("; ").next().unwrap_or_default();
    let folder = cluster.kubectl_program().parent().context("a folder")?.display().to_string();
    let path = std::env::var("PATH").map_or_else(|_| folder.clone(), |path| format!("{folder}:{path}"));
    let config = cluster.admin_kubeconfig().display().to_string();
    let env = [("PATH", &*path), ("KUBECONFIG", &*config), ("registry", "registry.example.com")];
    let shell = Process::spawn("sh".as_ref(), ["-c", command], env)?;
    let status = shell.wait_exit(SOON).await?;
    ensure!(status.success(), "{command}: {status}: {}", shell.stderr());
    Ok(())
}

/// Questions and dry runs, and nothing else that would write.
fn no_writes(requests: &Requests) {
    for entry in requests.clone().writes().entries() {
        let is_question = entry.resource.ends_with("reviews");
        assert!(is_question || entry.request_uri.contains("dryRun=All"), "{} {}", entry.verb, entry.request_uri);
    }
}
