//! A cluster with a thousand namespaces.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use testbed::{Cluster, ClusterOptions, Process, eventually};
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio::task::JoinSet;

use super::{Kind, World, install};

/// Enough for a thousand writes, whatever else the machine does.
const LONG: Duration = Duration::from_secs(180);
/// Writes of ours at once.
const AT_ONCE: usize = 32;

/// One test at a time has it, and leaves it without sources, copies and agents.
pub(crate) struct Thousand {
    pub(crate) cluster: &'static Cluster,
    pub(crate) world: World,
    /// Of the agent's ServiceAccount.
    pub(crate) kubeconfig: std::path::PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Drop for Thousand {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.cluster.log_tail(40));
        }
    }
}

/// Without a controller manager: it would make two objects in each namespace, and nothing here needs them.
pub(crate) async fn thousand() -> Result<Thousand> {
    static CLUSTER: OnceCell<(Cluster, std::path::PathBuf)> = OnceCell::const_new();
    static ALONE: Mutex<()> = Mutex::const_new(());
    let alone = ALONE.lock().await;
    let begin = async || {
        let cluster = Cluster::start(ClusterOptions::default().without_controller_manager()).await?;
        let kubeconfig = install(&cluster).await?;
        let world = World::of(&cluster);
        each(1000, |n| {
            let world = world.clone();
            async move { world.namespace(&format!("n-{n:04}")).await.map(drop) }
        })
        .await?;
        anyhow::Ok((cluster, kubeconfig))
    };
    let (cluster, kubeconfig) = CLUSTER.get_or_try_init(begin).await?;
    Ok(Thousand { world: World::of(cluster), cluster, kubeconfig: kubeconfig.clone(), _alone: alone })
}

/// Does something for 0 to `count`, 32 at once.
async fn each<F>(count: usize, mut work: impl FnMut(usize) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut running = JoinSet::new();
    for n in 0..count {
        if running.len() == AT_ONCE
            && let Some(done) = running.join_next().await
        {
            done??;
        }
        running.spawn(work(n));
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(())
}

impl Thousand {
    /// The thousand and those of every cluster.
    pub(crate) const NAMESPACES: usize = 1004;

    /// Waits until there are so many copies that `is` likes, looking now and then: each look is a list of all.
    pub(crate) async fn until_copies(&self, name: &str, count: usize, is: impl Fn(&Value) -> bool) -> Vec<Value> {
        eventually(LONG, format!("{count} copies of {name}"), async || {
            // While the API server is down there is nothing to see.
            let looked = self.world.copies(Kind::Secret, name).await;
            let done = looked.and_then(|copies| {
                let good = copies.iter().filter(|copy| is(copy)).count();
                ensure!(good == count && copies.len() == count, "{good} of {} are so", copies.len());
                Ok(copies)
            });
            if done.is_err() {
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            done
        })
        .await
    }

    /// Waits until the agent says that it is done with a source, which costs the API server nothing.
    pub(crate) async fn until_said(&self, agent: &Process, name: &str) {
        let said = format!("in place source=Secret/{name} synced={}", Self::NAMESPACES);
        eventually(LONG, &said, async || {
            let log = agent.stderr();
            if log.contains(&said) { Ok(()) } else { Err(agent.log_tail(20)) }
        })
        .await;
    }

    /// Takes a source and its copies away, and ends the agent.
    pub(crate) async fn clear(&self, name: &str, agent: Process) -> Result<()> {
        self.world.annotate(Kind::Secret, name, &serde_json::json!({"mw-sync": "no"})).await?;
        self.until_copies(name, 0, |_| true).await;
        agent.terminate();
        ensure!(agent.wait_exit(super::SOON).await?.success(), "it ends well:\n{}", agent.stderr());
        self.world.delete(Kind::Secret, "operator", name).await?;
        Ok(())
    }
}
