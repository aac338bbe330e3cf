//! The agent: the real binary under its ServiceAccount.

use std::time::Duration;

use anyhow::{Result, ensure};
use http::Method;
use serde_json::{Value, json};
use sync_core::contract::keys;
use testbed::{Mark, Process, eventually};

use crate::IN_FLIGHT;
use crate::copies::{Copies, cpu_of_server};
use crate::log::said;
use crate::report::{AgentRun, Span, Spans};
use crate::world::{NAME, World, docker_config, secrets, send};

const DEADLINE: Duration = Duration::from_secs(300);

/// Starts it, has the source copied, updated and taken away again; the latter does not count.
pub(crate) async fn run(world: &World, copies: &Copies) -> Result<AgentRun> {
    let args = ["--log-format=text".to_owned(), format!("--max-in-flight={IN_FLIGHT}")];
    let agent = Process::spawn(world.agent, args, [("KUBECONFIG", &world.agent_kubeconfig)])?;
    said(&agent, "all sources are known", 1).await;
    said(&agent, "all lists have come", 1).await;
    let all = format!("synced={}", world.namespaces.len());
    change(world, &json!({ "data": docker_config("first") })).await?;

    let (cpu, server) = (agent.cpu_seconds()?, cpu_of_server(world)?);
    let mark = world.cluster.audit().mark().await?;
    change(world, &json!({ "metadata": { "annotations": { "mw-sync": "yes" } } })).await?;
    said(&agent, &all, 1).await;
    let server_cpu = cpu_of_server(world)? - server;
    let create = Span { server_cpu, ..span(world, mark).await? };
    let cpu_create = agent.cpu_seconds()? - cpu;
    Copies::check(world, &docker_config("first")).await?;
    copies.learn(world).await?;

    let (cpu, server) = (agent.cpu_seconds()?, cpu_of_server(world)?);
    let mark = world.cluster.audit().mark().await?;
    change(world, &json!({ "data": docker_config("again") })).await?;
    said(&agent, &all, 2).await;
    let server_cpu = cpu_of_server(world)? - server;
    let update = Span { server_cpu, ..span(world, mark).await? };
    let cpu_update = agent.cpu_seconds()? - cpu;
    Copies::check(world, &docker_config("again")).await?;

    change(world, &json!({ "metadata": { "annotations": { "mw-sync": "no" } } })).await?;
    eventually(DEADLINE, "all copies are gone", async || {
        let left = Copies::all(world).await?.len();
        ensure!(left == 0, "{left} are left");
        Ok(())
    })
    .await;
    let peak_rss = agent.peak_rss()?;
    agent.terminate();
    ensure!(agent.wait_exit(Duration::from_secs(10)).await?.success(), "{}", agent.log_tail(20));
    Ok(AgentRun { spans: Spans { create, update }, cpu_create, cpu_update, peak_rss })
}

async fn change(world: &World, patch: &Value) -> Result<()> {
    let path = format!("{}/{NAME}", secrets("operator"));
    send(&world.connection, Method::PATCH, &path, patch.to_string().into()).await.map(drop)
}

/// From the request that changed the source, the first of ours, to the agent's last write.
async fn span(world: &World, mark: Mark) -> Result<Span> {
    let requests = world.cluster.audit().since(mark).await?;
    let source = requests.clone().user_agent("bench-floor").writes();
    let all = requests.user("system:serviceaccount:operator:mw-sync-agent");
    // Not the summary of all its copies, which it writes once at the end.
    let all = all.filter(|entry| entry.name != keys::AGENT_CONFIG_MAP);
    let mut span = Span::of(&all.clone().writes())?;
    let began = Span::of(&source)?.begin;
    span.lead = span.begin.duration_since(began).as_secs_f64();
    span.begin = began;
    span.requests = all.count();
    Ok(span)
}
