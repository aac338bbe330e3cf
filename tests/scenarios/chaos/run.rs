//! One run: chaos, then the verdict.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::{Cluster, Mark, Requests, eventually};
use tokio::time::{Instant, sleep};

use super::accounts;
use super::controller::{Controller, REMOTE};
use super::dice::Dice;
use super::faults::Faults;
use super::judge::{History, needless_lists};
use super::objects::{Manager, Place};
use super::oracle::{Snapshot, Sync};
use super::people::People;
use crate::support::Kind;

/// How long nobody looks, in the end.
const DOWN: Duration = Duration::from_secs(6);
/// From the last fault to the right state. A pair that has failed again and again waits up to 5 minutes.
const DEADLINE: Duration = Duration::from_secs(420);
/// In the right state for so long without a write: it has settled.
const QUIET: Duration = Duration::from_secs(4);
/// Without a write at all.
const IDLE: Duration = Duration::from_secs(10);
/// Sources that are made when all is over.
const LAST: &str = "last";

/// A cluster of a run.
pub(super) struct Side<'c> {
    pub(super) cluster: &'c Cluster,
    pub(super) people: People,
    /// Who writes Secrets and ConfigMaps there, and what their marks are.
    pub(super) writers: Vec<(Manager, String)>,
}

/// The first side has the sources; with two, the second one has the agent and its own sources.
pub(super) struct Run<'c> {
    name: &'static str,
    seed: u64,
    time: Duration,
    sides: Vec<Side<'c>>,
    faults: Faults<'c>,
}

impl<'c> Run<'c> {
    pub(super) fn new(name: &'static str, sides: Vec<Side<'c>>, faults: Faults<'c>) -> Self {
        let set = |key: &str| std::env::var(key).ok().map(|value| value.parse::<u64>().expect("a number"));
        let random = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), name) % 1_000_000;
        let seed = set("MW_SYNC_CHAOS_SEED").unwrap_or_else(random);
        let time = Duration::from_secs(set("MW_SYNC_CHAOS_SECONDS").unwrap_or(45));
        println!("chaos of {name}: MW_SYNC_CHAOS_SEED={seed}, {time:?}");
        Self { name, seed, time, sides, faults }
    }

    /// Everything; a panic is the verdict.
    pub(super) async fn verdict(mut self) {
        if let Err(error) = self.all().await {
            self.keep();
            panic!("chaos of {}, seed {}: {error:#}", self.name, self.seed);
        }
    }

    async fn all(&mut self) -> Result<()> {
        let mut begun = Vec::new();
        for side in &mut self.sides {
            begun.push(side.cluster.audit().mark().await?);
            side.people.begin().await?;
        }
        for controller in &mut self.faults.controllers {
            controller.start().await?;
        }
        let until = Instant::now() + self.time;
        let (faults, sides) = (&mut self.faults, &mut self.sides);
        let (wrong, acts) = tokio::join!(faults.happen(self.seed, until), act(sides, (self.seed, 1), until));
        wrong?;
        let acts = acts?;
        // In the end all are down at once, and much happens meanwhile.
        for controller in &mut self.faults.controllers {
            controller.end(true).await?;
        }
        let unseen = act(&mut self.sides, (self.seed, 3), Instant::now() + DOWN).await?;
        for controller in &mut self.faults.controllers {
            controller.start().await?;
        }
        println!("{acts} acts of people, {unseen} in the end; {:?}", self.faults.count);
        // It was chaos: most faults take less than 17 s, with their pause; and most acts of people less than a second, but
        // one that makes 300 objects may take ten where the machine is busy.
        let (faults, seconds) = (self.faults.count.values().sum::<usize>(), self.time.as_secs());
        ensure!(faults as u64 >= seconds / 30 && acts >= seconds / 5, "{faults} faults and {acts} acts in {seconds} s");

        let calm = Instant::now();
        for side in &mut self.sides {
            side.people.end().await?;
        }
        // What proves that everything is heard again: sources, namespaces, copies.
        for kind in [Kind::Secret, Kind::ConfigMap] {
            self.sides[0].people.make(kind, LAST).await?;
        }
        self.agreement().await?;
        println!("as it should be after {:.1?}", calm.elapsed());
        self.touch_the_last().await?;
        self.agreement().await?;
        self.silence().await?;

        for controller in &mut self.faults.controllers {
            controller.end(false).await?;
        }
        for (side, mark) in self.sides.iter().zip(begun) {
            let requests = side.cluster.audit().since(mark).await?;
            self.judge(side, &requests)?;
        }
        Ok(())
    }

    /// Waits until the oracle has nothing to say.
    async fn agreement(&self) -> Result<()> {
        let mut last = Vec::new();
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            last = self.differences().await?;
            if last.is_empty() {
                return Ok(());
            }
            sleep(Duration::from_millis(300)).await;
        }
        let shown = last.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
        anyhow::bail!("{} differences {DEADLINE:?} after the last fault:\n{shown}", last.len())
    }

    async fn differences(&self) -> Result<Vec<String>> {
        let mut snapshots = Vec::new();
        for side in &self.sides {
            snapshots.push(Snapshot::of(&side.people.hands.world).await?);
        }
        let mut differences = Vec::new();
        for (side, snapshot) in self.sides.iter().zip(&snapshots) {
            // Waiting does not mend that.
            let changed = side.people.hands.not_as_left(&snapshot.objects);
            ensure!(changed.is_empty(), "{}", changed.join("\n"));
        }
        let [first, last] = [snapshots.first(), snapshots.last()].map(|snapshot| snapshot.expect("a side or two"));
        let hands = &self.sides.last().expect("a side or two").people.hands;
        let theirs = |place: &Place| hands.owned(place).is_some();
        let none = serde_json::Value::Null;
        let agent = Sync { manager: Manager::Agent, sources: last, copies: last, remote_labels: &none };
        differences.extend(agent.differences(theirs)?);
        let people = &self.sides.last().expect("a side or two").people;
        differences.extend(agent.entries(&people.accounts)?);
        if self.sides.len() == 2 {
            let world = &self.sides[0].people.hands.world;
            let remote = world.get(Kind::RemoteCluster, "operator", REMOTE).await?;
            let remote_labels = &remote["metadata"]["labels"];
            let master = Sync { manager: Manager::Master, sources: first, copies: last, remote_labels };
            differences.extend(master.differences(theirs)?);
        }
        Ok(differences)
    }

    /// Edits a copy of each kind at each step of the way: the watches on copies work too.
    async fn touch_the_last(&self) -> Result<()> {
        let world = &self.sides.last().expect("a side or two").people.hands.world;
        let places: &[&str] = if self.sides.len() == 2 { &["calm", "operator"] } else { &["calm"] };
        for namespace in places {
            for kind in [Kind::Secret, Kind::ConfigMap] {
                world.merge(kind, namespace, LAST, &json!({"data": {"k": "dG91Y2hlZA=="}})).await?;
            }
        }
        Ok(())
    }

    /// Waits until nothing is written any more, and listens whether it stays so.
    async fn silence(&self) -> Result<()> {
        eventually(DEADLINE, "nothing is written any more", async || {
            let marks = self.marks().await?;
            sleep(QUIET).await;
            self.no_write(&marks).await
        })
        .await;
        let marks = self.marks().await?;
        sleep(IDLE).await;
        self.no_write(&marks).await?;
        ensure!(self.differences().await?.is_empty(), "it was as it should be, and is no longer");
        Ok(())
    }

    async fn marks(&self) -> Result<Vec<Mark>> {
        let mut marks = Vec::new();
        for side in &self.sides {
            marks.push(side.cluster.audit().mark().await?);
        }
        Ok(marks)
    }

    async fn no_write(&self, marks: &[Mark]) -> Result<()> {
        for (side, mark) in self.sides.iter().zip(marks) {
            let requests = side.cluster.audit().since(*mark).await?.writes();
            let of = |user: &str| side.writers.iter().any(|(_, writer)| writer == user);
            // An Event may come up to 10 s after what it is about; so may an agent's summary, and what a master tells of it.
            // An agent that has found its note of entries in ServiceAccounts takes it back a minute after its start.
            let late = |entry: &testbed::Entry| {
                let by = |manager| entry.request_uri.contains(&format!("fieldManager={manager}&"));
                matches!(&*entry.resource, "events" | "remoteclusters")
                    || by("mw-sync-agent-summary")
                    || (by("mw-sync-agent-pull-secrets") && entry.request["data"] == json!({}))
            };
            let writes = requests.filter(|entry| of(&entry.username) && !late(entry));
            ensure!(writes.count() == 0, "writes although there is nothing to do: {:#?}", writes.entries());
        }
        Ok(())
    }

    fn judge(&self, side: &Side<'_>, requests: &Requests) -> Result<()> {
        let copies = |entry: &testbed::Entry| {
            matches!(&*entry.resource, "secrets" | "configmaps") && entry.subresource.is_empty()
        };
        let writes = requests.clone().writes().filter(copies);
        let history = History::of(&writes);
        let names = [&super::LOCAL[..], &super::PUSHED, &[LAST]].concat();
        let mut wrong = Vec::new();
        for (manager, user) in &side.writers {
            let of_writer = requests.clone().user(user);
            let writes = writes.clone().user(user);
            wrong.extend(history.judge(*manager, &names, &writes));
            wrong.extend(accounts::judge(&of_writer.clone().writes().resource("serviceaccounts")));
            println!("{user}: {:?}", of_writer.counts());
            let codes = writes.each().fold(std::collections::BTreeMap::new(), |mut codes, entry| {
                *codes.entry((&*entry.verb, entry.code)).or_insert(0) += 1;
                codes
            });
            println!("  answers: {codes:?}");
        }
        for life in self.faults.controllers.iter().flat_map(Controller::lives) {
            wrong.extend(needless_lists(requests, life));
        }
        let shown = wrong.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
        ensure!(wrong.is_empty(), "{} requests that should not have been:\n{shown}", wrong.len());
        Ok(())
    }

    /// For whoever wants to know why it failed.
    fn keep(&self) {
        let Some(folder) = std::env::var_os("MW_SYNC_CHAOS_KEEP") else { return };
        let folder = std::path::Path::new(&folder).join(format!("{}-{}", self.name, self.seed));
        drop(std::fs::create_dir_all(&folder));
        for (n, side) in self.sides.iter().enumerate() {
            drop(std::fs::copy(side.cluster.dir().join("audit.log"), folder.join(format!("audit-{n}.log"))));
        }
        for (n, controller) in self.faults.controllers.iter().enumerate() {
            let logs = controller.lives().iter().map(|life| life.log.clone()).chain([controller.log()]);
            for (life, log) in logs.enumerate() {
                drop(std::fs::write(folder.join(format!("controller-{n}-{life:03}.log")), log));
            }
        }
    }
}

/// People act until then, at one cluster or another; says how often.
async fn act(sides: &mut [Side<'_>], (seed, stream): (u64, u64), until: Instant) -> Result<u64> {
    for step in 0.. {
        let mut dice = Dice::of(seed, stream, step);
        sleep(dice.millis(5, 150)).await;
        if Instant::now() >= until {
            return Ok(step);
        }
        let side = dice.index(sides.len());
        sides[side].people.act(&mut dice).await?;
    }
    Ok(0)
}
