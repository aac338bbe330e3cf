//! The rotation receipt while everything fails: whenever `master wait` says yes, every copy has what the source had in the
//! version that it names, or what came later.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testbed::{Cluster, FaultProxy, Mode, Process, eventually, shared};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::api;
use super::stage::{SOON, Stage, end, value};

const NAME: &str = "m-proof";
/// How much later the agent's bytes come: with one write at a time its fan-out takes some seconds, and a yes that came too
/// early would come in their midst.
const LATE: Mode = Mode::Delay(Duration::from_millis(60));
/// How long a fault lasts.
const FAULT: Duration = Duration::from_secs(3);

/// What happens while somebody waits for a change that has just been made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mishap {
    Nothing,
    MasterKilled,
    AgentKilled,
    BothKilled,
    /// No connection from the master to the remote cluster.
    WayCut,
    /// Connections stay, and nothing comes through.
    WaySilent,
    AgentCut,
    AgentStandsStill,
    /// Right after the first copy has come.
    SecondChange,
    CopyTaken,
    /// From the next change on it counts too.
    NewNamespace,
}

const MISHAPS: [Mishap; 11] = [
    Mishap::Nothing,
    Mishap::NewNamespace,
    Mishap::MasterKilled,
    Mishap::AgentKilled,
    Mishap::BothKilled,
    Mishap::WayCut,
    Mishap::WaySilent,
    Mishap::AgentCut,
    Mishap::AgentStandsStill,
    Mishap::SecondChange,
    Mishap::CopyTaken,
];

struct World<'c> {
    stage: &'c Stage<'c>,
    remote: &'c Cluster,
    /// From the master to the remote cluster.
    way: FaultProxy,
    /// From the agent to its API server.
    inside: FaultProxy,
    agents_file: PathBuf,
    master: Mutex<Process>,
    agent: Mutex<Process>,
    /// What each version of the source said.
    versions: Mutex<BTreeMap<String, u32>>,
}

impl World<'_> {
    async fn start_master(stage: &Stage<'_>) -> Result<Process> {
        stage.master(&["--cluster-name=proof"]).await
    }

    async fn start_agent(stage: &Stage<'_>, file: &Path) -> Result<Process> {
        stage.agent_by(file, &["--delete-grace=2s", "--max-in-flight=1"]).await
    }

    async fn restart_master(&self) -> Result<()> {
        let mut master = self.master.lock().await;
        master.kill9();
        *master = Self::start_master(self.stage).await?;
        Ok(())
    }

    async fn restart_agent(&self) -> Result<()> {
        let mut agent = self.agent.lock().await;
        agent.kill9();
        *agent = Self::start_agent(self.stage, &self.agents_file).await?;
        Ok(())
    }

    async fn change(&self, number: u32) -> Result<()> {
        self.stage.set("regcred", &number.to_string()).await?;
        let source = api::get(self.stage.management, &self.stage.path("regcred")).await?.context("the source")?;
        let version = source["metadata"]["resourceVersion"].as_str().context("a version")?.to_owned();
        self.versions.lock().await.insert(version, number);
        Ok(())
    }

    /// What the copies in these namespaces say now; 0 where there is none.
    async fn copies(&self, namespaces: &[String]) -> Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for namespace in namespaces {
            let copy = api::get(self.remote, &api::secret(namespace, "regcred")).await?;
            numbers.push(copy.map_or(Ok(0), |copy| value(&copy).parse())?);
        }
        Ok(numbers)
    }

    async fn happen(&self, mishap: Mishap, number: u32, first: &str) -> Result<()> {
        match mishap {
            Mishap::Nothing => {}
            Mishap::MasterKilled => self.restart_master().await?,
            Mishap::AgentKilled => self.restart_agent().await?,
            Mishap::BothKilled => drop(tokio::try_join!(self.restart_master(), self.restart_agent())?),
            Mishap::WayCut | Mishap::WaySilent => {
                self.way.set(if mishap == Mishap::WayCut { Mode::Refuse } else { Mode::BlackHole }).await;
                sleep(FAULT).await;
                self.way.set(Mode::Pass).await;
            }
            Mishap::AgentCut => {
                self.inside.set(Mode::Refuse).await;
                sleep(FAULT).await;
                self.inside.set(LATE).await;
            }
            Mishap::AgentStandsStill => {
                let agent = self.agent.lock().await;
                agent.pause();
                sleep(FAULT).await;
                agent.resume();
            }
            Mishap::SecondChange => {
                let first = [first.to_owned()];
                eventually(SOON, "the first copy has come", async || {
                    ensure!(self.copies(&first).await? == [number], "not yet");
                    Ok(())
                })
                .await;
                self.change(number + 1).await?;
            }
            Mishap::CopyTaken => {
                let agent = self.agent.lock().await;
                agent.pause();
                self.remote.kubectl(&["-n", first, "delete", "secret", "regcred"]).await?;
                agent.resume();
            }
            Mishap::NewNamespace => {
                self.remote.kubectl(&["create", "namespace", &format!("{NAME}-{number}")]).await?;
            }
        }
        Ok(())
    }
}

/// Promises 3 and 10.
#[tokio::test]
async fn a_yes_is_never_too_early_whatever_fails() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, NAME).await?;
    let mut namespaces: Vec<_> = (0..12).map(|n| format!("{NAME}-x{n}")).collect();
    for namespace in &namespaces {
        remote.kubectl(&["create", "namespace", namespace]).await?;
    }
    let (way, inside) = (FaultProxy::start(remote.server_addr())?, FaultProxy::start(remote.server_addr())?);
    inside.set(LATE).await;
    let access = stage.prepare(&remote).await?.by_server(way.url());
    let agents_file = remote.write_kubeconfig(&stage.prepare_agent(&remote).await?.by_server(inside.url()))?;
    let (master, agent) = tokio::try_join!(World::start_master(&stage), World::start_agent(&stage, &agents_file))?;
    let (master, agent) = (Mutex::new(master), Mutex::new(agent));
    let versions = Mutex::default();
    let world = World { stage: &stage, remote: &remote, way, inside, agents_file, master, agent, versions };
    stage.join("a", &access).await?;
    let options = serde_json::json!({ "mw-sync.io/namespaces": format!("{NAME}-*") });
    stage.asking("regcred", "0", options).await?;

    let mut progress = 0;
    for (round, mishap) in MISHAPS.into_iter().enumerate() {
        let number = (u32::try_from(round)? + 1) * 10;
        let before = world.versions.lock().await.clone();
        world.change(number).await?;
        let wait = async {
            let told = stage.ask(&["wait", "secret/regcred", "--timeout=110s"]).await?;
            // At once: what is not there now was not there when it said yes.
            anyhow::Ok((told, world.copies(&namespaces).await?))
        };
        let (((code, told), copies), ()) = tokio::try_join!(wait, world.happen(mishap, number, &namespaces[0]))?;
        ensure!(code == Some(0), "{mishap:?}: {code:?} {told}");
        let (_, version) = told.trim_end().rsplit_once(" is everywhere in version ").context("no yes")?;
        let version = version.split(':').next().unwrap_or_default();
        let versions = world.versions.lock().await;
        let of = *versions.get(version).with_context(|| format!("{mishap:?}: {version} is none of {versions:?}"))?;
        ensure!(!before.contains_key(version), "{mishap:?}: yes to a version of before");
        ensure!(copies.iter().all(|copy| *copy >= of), "{mishap:?}: yes to {of}, and the copies are {copies:?}");
        if mishap == Mishap::NewNamespace {
            namespaces.push(format!("{NAME}-{number}"));
        }
        progress += usize::from(told.contains(" pending and 0 refused there"));
    }
    ensure!(progress > 0, "nothing was told while the copies were made");
    let World { master, agent, .. } = world;
    end(&agent.into_inner()).await?;
    end(&master.into_inner()).await
}
