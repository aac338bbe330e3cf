//! One run: a schedule, its end, and what must be so then.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{Instant, advance, sleep};

use super::api::Id;
use super::discretion::{self, Reader};
use super::faults::Cut;
use super::judge::Judge;
use super::oracle::{self, Look};
use super::process::Process;
use super::schedule::{Act, Schedule};
use super::stage::{Counts, OPERATOR, Stage};
use super::users::{Namespace, User};

/// The longest pause of the engine is half an hour, for what others keep changing.
const LONG: Duration = Duration::from_secs(2400);
/// Longer than what is known of a source that is gone is kept.
const IDLE: Duration = Duration::from_secs(700);
/// After a crash the next process starts.
const DOWNTIME: Duration = Duration::from_secs(2);

/// What broke, and what had happened until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) what: String,
    pub(super) log: Vec<String>,
}

/// Runs a schedule. `log`: whether a failure tells what happened.
pub(super) fn run(schedule: &Schedule, log: bool) -> Result<(), Failure> {
    let (result, log) = drive(schedule, log);
    result.map_err(|what| Failure { what, log })
}

/// Runs a schedule and tells what happened, however it ends.
pub(super) fn logged(schedule: &Schedule) -> (Outcome, Vec<String>) {
    drive(schedule, true)
}

fn drive(schedule: &Schedule, log: bool) -> (Outcome, Vec<String>) {
    let reader = Reader::of(schedule.scene.seed);
    let _log = reader.as_ref().map(|(_, log)| tracing::dispatcher::set_default(log));
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let stage = Stage::new(schedule.scene, log);
        let seats = (0..1 + usize::from(schedule.scene.standby)).map(|_| Seat::default()).collect();
        let mut driver = Driver { stage: stage.clone(), seats };
        let result = driver.run(schedule).await;
        let result = result.and_then(|()| reader.map_or(Ok(()), |(reader, _)| reader.result()));
        let log = stage.lock().take_log();
        (result, log)
    })
}

type Outcome = Result<(), String>;

struct Driver {
    stage: Stage,
    /// One, or a leader and a standby.
    seats: Vec<Seat>,
}

#[derive(Default)]
struct Seat {
    process: Option<Process>,
    /// When the next process starts, if none runs.
    back_at: Option<Instant>,
}

impl Seat {
    fn start(&mut self, stage: &Stage) {
        (self.process, self.back_at) = (Some(Process::start(stage)), None);
    }
}

impl Driver {
    async fn run(&mut self, schedule: &Schedule) -> Outcome {
        {
            let mut state = self.stage.lock();
            state.faults.page = schedule.pages;
            state.servers.iter_mut().for_each(|server| server.streaming_lists = schedule.pages.is_none());
        }
        self.start();
        for (pause, act) in &schedule.acts {
            self.pass(*pause).await?;
            self.act(act).await?;
        }
        self.end(schedule).await
    }

    fn start(&mut self) {
        let due = |seat: &&mut Seat| seat.process.is_none() && seat.back_at.is_none_or(|at| at <= Instant::now());
        self.seats.iter_mut().filter(due).for_each(|seat| seat.start(&self.stage));
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        self.seats.iter().filter_map(|seat| seat.process.as_ref())
    }

    /// The process that leads, or else any.
    fn leader(&self) -> Option<u64> {
        let holder = self.stage.lock().tenure.holder();
        let numbers = || self.processes().map(|process| process.number);
        numbers().find(|number| Some(*number) == holder).or_else(|| numbers().next())
    }

    /// Lets time pass; a process that was killed is replaced meanwhile.
    async fn pass(&mut self, pause: Duration) -> Outcome {
        let until = Instant::now() + pause;
        loop {
            let numbers: Vec<_> = self.processes().map(|process| process.number).collect();
            let back_at = self.seats.iter().filter_map(|seat| seat.back_at).min();
            let next = back_at.map_or(until, |at| at.min(until));
            let killed = self.stage.wait(|state| match state.failure() {
                Some(what) => Ok(Err(what.to_owned())),
                None if numbers.iter().any(|number| !state.lives(*number)) => Ok(Ok(true)),
                None if next <= Instant::now() => Ok(Ok(false)),
                None => Err(Some(next)),
            });
            if killed.await? {
                for seat in &mut self.seats {
                    let dead = |process: &mut Process| !self.stage.lock().lives(process.number);
                    if let Some(process) = seat.process.take_if(dead) {
                        process.kill(&self.stage);
                        seat.back_at = Some(Instant::now() + DOWNTIME);
                    }
                }
                continue;
            }
            self.start();
            if until <= Instant::now() {
                return Ok(());
            }
        }
    }

    async fn act(&mut self, act: &Act) -> Outcome {
        if !matches!(act, Act::User(_)) {
            self.stage.lock().note(|| format!("{act:?}"));
        }
        match act {
            Act::User(user) => user.act(&self.stage),
            Act::Jump(by) => {
                advance(*by).await;
                // Before the next one, what was due is done.
                sleep(Duration::from_millis(1)).await;
            }
            Act::Restart => {
                let leader = self.leader();
                for seat in &mut self.seats {
                    if let Some(process) = seat.process.take_if(|process| Some(process.number) == leader) {
                        discretion::is_discreet(&process).await?;
                        process.stop(&self.stage).await;
                        seat.start(&self.stage);
                    }
                }
            }
            Act::Relabel(cluster, env) => {
                let mut state = self.stage.lock();
                state.labels[*cluster] = env;
                state.judges.values_mut().for_each(|judge| judge.known.labelled(*cluster, env));
                drop(state);
                self.processes().for_each(|process| process.relabel(*cluster, env));
            }
            Act::Check(cluster, closed) => {
                let state = self.stage.lock();
                oracle::check(&state, Look::But(*cluster, closed)).map_err(|what| format!("promise 5: {what}"))?;
            }
            Act::Pause(whom, by) => {
                let (leader, until) = (self.leader(), Instant::now() + *by);
                let whom =
                    self.processes().map(|process| process.number).find(|number| whom.is(Some(*number) == leader));
                self.stage.change(|state| state.pauses.extend(whom.map(|number| (number, until))));
            }
            Act::Kill(whom) => {
                let leader = self.leader();
                let whom =
                    self.processes().map(|process| process.number).find(|number| whom.is(Some(*number) == leader));
                self.stage.change(|state| whom.into_iter().for_each(|number| state.kill(number)));
            }
            other => self.stage.change(|state| {
                let (faults, now) = (&mut state.faults, Instant::now());
                match other {
                    Act::Ambush(class, fate, count) => faults.ambush(*class, *fate, *count),
                    Act::Close(cluster, place, how, by) => faults.close(*cluster, place, *how, now + *by),
                    Act::Down(cluster, by) => faults.take_down(*cluster, now + *by),
                    Act::Lag(slot, by) => drop(faults.lags.insert(*slot, *by)),
                    Act::Cut(slot, how) => faults.cut(*slot, *how),
                    Act::Expire(slot) => {
                        faults.cut(*slot, Cut::Break);
                        faults.forgets.insert(*slot);
                    }
                    Act::Compact(cluster) => state.servers[*cluster].store.compact(),
                    Act::Stale(cluster, by) => state.servers[*cluster].stale = *by,
                    Act::Crash(class, boundary, before) => faults.crash = Some((*class, *boundary, *before)),
                    Act::User(_)
                    | Act::Jump(_)
                    | Act::Restart
                    | Act::Relabel(..)
                    | Act::Check(..)
                    | Act::Pause(..)
                    | Act::Kill(..) => {}
                }
            }),
        }
        Ok(())
    }

    /// The faults stop; time passes; all must be well, and stay so without another request.
    async fn end(&mut self, schedule: &Schedule) -> Outcome {
        self.stage.change(|state| {
            state.note(|| "faults stop".to_owned());
            state.faults.stop();
            state.pauses.clear();
        });
        self.pass(Duration::from_secs(60)).await?;
        for cluster in 0..schedule.scene.clusters {
            let missing = self.stage.lock().get(cluster, &Id::namespace(OPERATOR)).is_none();
            if missing && (schedule.operator_stays || cluster > 0) {
                User::Namespace(cluster, OPERATOR, Namespace::Create).act(&self.stage);
            }
        }
        self.pass(LONG).await?;
        self.at_rest()?;
        // Idle, there is no request at all, though something be in the way.
        let before = self.stage.lock().counts;
        self.pass(IDLE).await?;
        let after = self.stage.lock().counts;
        let asked = |counts: Counts| counts.requests - counts.watches - counts.leases;
        if asked(after) != asked(before) {
            return Err(format!("promise 4: requests although nothing happens: {before:?}, {after:?}"));
        }
        let before = after;
        // Watches begin anew, some of them with a list; a new process begins from nothing.
        for compact in [false, true] {
            self.stage.change(|state| {
                for server in state.servers.iter_mut().filter(|_| compact) {
                    server.store.compact();
                }
                let slots: BTreeSet<_> = state.judges.values().flat_map(Judge::slots).collect();
                slots.into_iter().for_each(|slot| state.faults.cut(slot, Cut::End));
            });
            self.pass(Duration::from_secs(60)).await?;
        }
        self.is_untouched(before)?;
        let forgettable = oracle::kept_by_memory(&self.stage.lock());
        for _ in 0..self.seats.len() {
            self.act(&Act::Restart).await?;
            self.pass(Duration::from_secs(400)).await?;
        }
        if forgettable { self.at_rest().map(drop) } else { self.is_untouched(before) }
    }

    /// Whether nothing was written since, to a world that is as it should be.
    fn is_untouched(&self, before: Counts) -> Outcome {
        let after = self.stage.lock().counts;
        if after.changes != before.changes || (self.at_rest()? && after.writes != before.writes) {
            return Err(format!("promise 4: a world that was as it should be was written to: {before:?}, {after:?}"));
        }
        Ok(())
    }

    /// Whether nothing is in the way of a copy.
    fn at_rest(&self) -> Result<bool, String> {
        let found = oracle::check(&self.stage.lock(), Look::AtRest)?;
        let processes: Vec<_> = self.processes().collect();
        if processes.len() < self.seats.len() {
            return Err("no process runs".to_owned());
        }
        for (found, (cluster, state)) in processes.iter().flat_map(|process| found.iter().zip(&process.states)) {
            let state = state.borrow().clone();
            if !state.ready || state.fault.is_some() {
                return Err(format!("promise 10: cluster {cluster} says {state:?}"));
            }
            if state.tally.synced != found.in_place {
                return Err(format!("promise 10: cluster {cluster} says {state:?}, but it is {found:?}"));
            }
        }
        Ok(!found.is_empty() && found.iter().all(|found| found.in_the_way == 0))
    }
}
