//! Everything goes wrong at once, at random, and in the end the world is as it should be.
//!
//! People act on real clusters (`people`, `copies`, `accounts`) while links fail and controllers are killed (`faults`). When that
//! is over the world must become what an oracle says (`oracle`), which knows people's objects and nothing of the
//! engine; the audit log must show no write to what was not ours and no list that was not needed (`judge`); and then
//! there must be silence. Nothing else is a verdict: how long things take while they go wrong is not asked.
//!
//! | variable | meaning |
//! |---|---|
//! | `MW_SYNC_CHAOS_SECONDS` | how long things go wrong (45) |
//! | `MW_SYNC_CHAOS_SEED` | decides what happens; printed when none is given |
//! | `MW_SYNC_CHAOS_KEEP` | a folder for the logs if it fails |

mod accounts;
mod controller;
mod copies;
mod dice;
mod faults;
mod hands;
mod judge;
mod objects;
mod options;
mod oracle;
mod people;
mod run;

use anyhow::Result;
use testbed::{Cluster, ClusterOptions, FaultProxy};

use crate::master::stage::{Stage, define};
use crate::support::{World, install};
use controller::{Controller, REMOTE, Remote};
use faults::Faults;
use objects::Manager;
use options::{ADOPT, EQUAL, KEPT, PULL, STEADY};
use people::People;
use run::{Run, Side};

const LOCAL: [&str; 9] = ["s0", "s1", "s2", "s3", STEADY, KEPT, ADOPT, EQUAL, PULL];
const PUSHED: [&str; 7] = ["m0", "m1", "m2", STEADY, KEPT, ADOPT, EQUAL];
const LOCAL_THERE: [&str; 3] = ["s0", "s1", PULL];
const COPIES_THERE: [&str; 10] = ["s0", "s1", PULL, "m0", "m1", "m2", STEADY, KEPT, ADOPT, EQUAL];

/// What an agent needs to write entries.
const RIGHT: [&str; 3] = ["apply", "-f", "deploy/agent-service-accounts.yaml"];

/// Promises 1 to 5 and 7.
#[tokio::test]
async fn an_agent_in_chaos_ends_where_it_should() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default().with_bodies_in_audit()).await?;
    install(&cluster).await?;
    cluster.kubectl(&RIGHT).await?;
    let link = FaultProxy::start(cluster.server_addr())?;
    let agent = Controller::agent(&cluster, &link).await?;
    let side = Side {
        cluster: &cluster,
        people: People::new(World::of(&cluster), &LOCAL, &LOCAL, &[]),
        writers: vec![(Manager::Agent, agent.user())],
    };
    Run::new("agent", vec![side], Faults::of(vec![&link], vec![agent])).verdict().await;
    cluster.stop().await;
    Ok(())
}

/// The same with a master before it: what people do in the management cluster has to reach the namespaces of the remote
/// one, through three links that fail.
#[tokio::test]
async fn a_master_and_an_agent_in_chaos_end_where_they_should() -> Result<()> {
    let management = Cluster::start(ClusterOptions::default().with_bodies_in_audit()).await?;
    let remote = Cluster::start(ClusterOptions::default().with_bodies_in_audit()).await?;
    define(&management).await?;
    let stage = Stage::without_crd(&management, "operator").await?;
    stage.prepare(&remote).await?;
    install(&remote).await?;
    remote.kubectl(&RIGHT).await?;
    let [home, between, there] = [management.server_addr(), remote.server_addr(), remote.server_addr()];
    let [home, between, there] = [FaultProxy::start(home)?, FaultProxy::start(between)?, FaultProxy::start(there)?];
    let there_user = stage.remote_user();
    stage.remote_cluster(REMOTE).await?;
    let to = Remote { stage, cluster: &remote, link: &between };
    let controllers =
        vec![Controller::master(&management, &home, to).await?, Controller::agent(&remote, &there).await?];
    let sides = vec![
        Side {
            cluster: &management,
            people: People::new(World::of(&management), &PUSHED, &[], &[]),
            // It writes nothing there: whatever it wrote would be wrong.
            writers: vec![(Manager::Agent, controllers[0].user())],
        },
        Side {
            cluster: &remote,
            people: People::new(World::of(&remote), &LOCAL_THERE, &COPIES_THERE, &PUSHED),
            writers: vec![(Manager::Master, there_user), (Manager::Agent, controllers[1].user())],
        },
    ];
    Run::new("fleet", sides, Faults::of(vec![&home, &between, &there], controllers)).verdict().await;
    management.stop().await;
    remote.stop().await;
    Ok(())
}
