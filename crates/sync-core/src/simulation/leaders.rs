//! Several processes and one Lease: no two of them ever write at once, whatever is lost, late, killed or paused.
//!
//! The decisions of [`Election`] alone, so that a process can stand still in the middle of anything, its clock running
//! on, and act on what it knew before when it wakes up. Time goes in steps; who is first in a step is chance.

use std::time::Duration;

use crate::contract::object::Rv;
use crate::index::feed::Moment;
use crate::lease::{Election, Input, LEASE, Lead, Record, Request};
use crate::mutants::{self, Mutant};
use crate::rng::Rng;

const STEP: Duration = Duration::from_millis(50);
const FAULTS: Duration = Duration::from_secs(300);
/// Enough for a Lease to be lost, observed and taken, and for what is late to arrive.
const CALM: Duration = Duration::from_secs(60);
/// Of a write.
const DEADLINE: Duration = Duration::from_secs(4);
/// Of a request about the Lease.
const PATIENCE: Duration = Duration::from_secs(3);
const SEEDS: u64 = 300;

/// Something on its way.
struct Message {
    at: Moment,
    process: usize,
    /// Of which incarnation of the process.
    life: u64,
    what: What,
}

enum What {
    Arrives(Request),
    /// Long after nobody waits for it any more.
    ArrivesLate(Request),
    Told(Input),
}

struct Process {
    life: u64,
    election: Election,
    /// As it was last told to whoever writes.
    lead: Lead,
    /// How fast its clock runs, in millionths of the true one.
    rate: u32,
    paused: Moment,
    /// No more writes begin; the Lease is given up when the last has ended.
    stopping: bool,
    /// When the write that is under way is done at the latest.
    writes: Option<Moment>,
    inbox: Vec<Input>,
}

struct Run {
    now: Moment,
    rng: Rng,
    lease: Option<Record>,
    rv: u64,
    on_its_way: Vec<Message>,
    processes: Vec<Process>,
    /// Of each process, when its last write was done at the latest.
    wrote: Vec<Moment>,
    lives: u64,
    led: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let rng = Rng::new(seed);
        let (on_its_way, processes, wrote) = (Vec::new(), Vec::new(), Vec::new());
        let mut run =
            Self { now: Moment::ZERO, rng, lease: None, rv: 1, on_its_way, processes, wrote, lives: 0, led: 0 };
        for n in 0..2 + run.below(2) {
            let process = run.born(n);
            run.processes.push(process);
            run.wrote.push(Moment::ZERO);
        }
        run
    }

    fn below(&mut self, n: u64) -> usize {
        usize::try_from(self.rng.below(n)).unwrap()
    }

    fn some_time(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.rng.below(1000) as f64 / 1000.0)
    }

    /// A new process, whose watch shows the Lease soon.
    fn born(&mut self, n: usize) -> Process {
        self.lives += 1;
        let (life, rate) = (self.lives, 1_000_000 - 500 + u32::try_from(self.rng.below(1000)).unwrap());
        self.show(n, life);
        let election = Election::new(format!("process-{life}"), life);
        let (lead, writes, inbox) = (Lead::No, None, Vec::new());
        Process { life, election, lead, rate, paused: Moment::ZERO, stopping: false, writes, inbox }
    }

    fn bear(&mut self, n: usize) {
        let process = self.born(n);
        self.processes[n] = process;
    }

    /// The watch of this process shows the Lease as it is now, a little later.
    fn show(&mut self, process: usize, life: u64) {
        let input = match &self.lease {
            Some(record) => Input::Seen(record.clone()),
            None => Input::Gone(Rv(self.rv)),
        };
        let late = if self.rng.below(10) == 0 { Duration::from_secs(20) } else { Duration::from_millis(200) };
        let at = self.now + self.some_time(late);
        self.on_its_way.push(Message { at, process, life, what: What::Told(input) });
    }

    /// What the server makes of a request, as the process is told.
    fn serve(&mut self, life: u64, request: Request) -> Input {
        if request == Request::Read {
            return Input::Done(self.lease.clone());
        }
        let Some(next) = self.after(life, request) else { return Input::Raced };
        self.rv += 1;
        let next = Record { rv: Rv(self.rv), ..next };
        self.lease = Some(next.clone());
        for n in 0..self.processes.len() {
            self.show(n, self.processes[n].life);
        }
        Input::Done(Some(next))
    }

    /// The Lease after a write; `None` is a conflict.
    fn after(&self, life: u64, request: Request) -> Option<Record> {
        let (holder, duration) = (Some(format!("process-{life}")), LEASE);
        let expects = |rv: Rv| self.lease.clone().filter(|record| record.rv == rv);
        match request {
            Request::Create if self.lease.is_none() => Some(Record { rv: Rv(0), holder, duration, transitions: 0 }),
            Request::Create | Request::Read => None,
            Request::Take { rv, transitions } => Some(Record { holder, transitions, ..expects(rv)? }),
            Request::Renew(rv) => Some(Record { holder, ..expects(rv)? }),
            Request::Release(rv) => Some(Record { holder: None, ..expects(rv)? }),
        }
    }

    fn deliver(&mut self, message: Message) {
        let Message { process, life, what, .. } = message;
        match what {
            What::Told(input) => {
                if self.processes[process].life == life {
                    self.processes[process].inbox.push(input);
                }
            }
            What::ArrivesLate(request) => drop(self.serve(life, request)),
            What::Arrives(request) => {
                let input = self.serve(life, request);
                let at = self.now + self.some_time(Duration::from_millis(200));
                // An answer that is lost is waited for in vain.
                let (at, input) = if self.now < FAULTS && self.rng.below(12) == 0 {
                    (self.now + PATIENCE, Input::Failed)
                } else {
                    (at, input)
                };
                self.on_its_way.push(Message { at, process, life, what: What::Told(input) });
            }
        }
    }

    /// Lets the election of a process run; what is asked for goes on its way, or does not.
    fn elect(&mut self, n: usize) {
        let process = &mut self.processes[n];
        let now = self.now * process.rate / 1_000_000;
        for input in std::mem::take(&mut process.inbox) {
            process.election.on(now, input);
        }
        if process.stopping && process.writes.is_none() {
            process.election.on(now, Input::Stop);
        }
        let request = process.election.next(now);
        process.lead = process.election.lead();
        let life = process.life;
        let Some(request) = request else { return };
        let (lost, late) = (self.rng.below(12) == 0, self.rng.below(3) == 0);
        if self.now < FAULTS && lost {
            let failed = What::Told(Input::Failed);
            self.on_its_way.push(Message { at: self.now + PATIENCE, process: n, life, what: failed });
            if late {
                let at = self.now + self.some_time(Duration::from_secs(30));
                self.on_its_way.push(Message { at, process: n, life, what: What::ArrivesLate(request) });
            }
            return;
        }
        let at = self.now + self.some_time(Duration::from_millis(200));
        self.on_its_way.push(Message { at, process: n, life, what: What::Arrives(request) });
    }

    /// Begins a write, if the process thinks that it may.
    fn write(&mut self, n: usize) -> Result<(), String> {
        let (length, idle) = (self.some_time(DEADLINE), self.rng.below(4) == 0);
        let process = &mut self.processes[n];
        let now = self.now * process.rate / 1_000_000;
        process.writes.take_if(|until| *until <= self.now);
        if idle || process.stopping || process.writes.is_some() || !process.lead.allows(now, DEADLINE) {
            return Ok(());
        }
        process.writes = Some(self.now + length);
        self.led += 1;
        let others = self.wrote.iter().enumerate().filter(|(other, _)| *other != n);
        if let Some((other, until)) = others.max_by_key(|(_, until)| **until).filter(|(_, until)| **until > self.now) {
            return Err(format!(
                "at {:?} process {n} writes, and a write of {other} may last until {until:?}",
                self.now
            ));
        }
        self.wrote[n] = self.wrote[n].max(self.now + length);
        Ok(())
    }

    fn trouble(&mut self) {
        let n = self.below(self.processes.len() as u64);
        match self.rng.below(40) {
            0 => {
                let by = self.some_time(Duration::from_secs(50));
                self.processes[n].paused = self.now + by;
            }
            1 if self.rng.below(3) == 0 => self.bear(n),
            2 if self.rng.below(3) == 0 => self.processes[n].stopping = true,
            _ => {}
        }
    }

    fn go(mut self) -> Result<u64, String> {
        while self.now < FAULTS + CALM {
            self.now += STEP;
            if self.now < FAULTS && self.rng.below(4) == 0 {
                self.trouble();
            }
            let (due, later) = std::mem::take(&mut self.on_its_way).into_iter().partition(|m| m.at <= self.now);
            self.on_its_way = later;
            for message in due {
                self.deliver(message);
            }
            let many = self.processes.len();
            let first = self.below(many as u64);
            for n in (first..first + many).map(|n| n % many) {
                if self.now < self.processes[n].paused {
                    continue;
                }
                // Which of its tasks runs first when it wakes up is chance.
                if self.rng.below(2) == 0 {
                    self.write(n)?;
                    self.elect(n);
                } else {
                    self.elect(n);
                    self.write(n)?;
                }
                if self.processes[n].election.is_over() {
                    self.bear(n);
                }
            }
        }
        let leaders = self.processes.iter().filter(|p| p.lead.allows(self.now * p.rate / 1_000_000, DEADLINE)).count();
        if leaders == 1 { Ok(self.led) } else { Err(format!("{leaders} lead in the end")) }
    }
}

fn first_failure() -> Option<(u64, String)> {
    (0..SEEDS).find_map(|seed| Run::new(seed).go().err().map(|what| (seed, what)))
}

#[test]
fn no_two_processes_write_at_once() {
    let mut led = 0;
    for seed in 0..SEEDS {
        led += Run::new(seed).go().unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
    assert!(led > SEEDS * 50, "hardly anybody ever wrote: {led}");
}

#[test]
fn whoever_ignores_the_lease_is_found() {
    for mutant in [Mutant::LeaseOutlived, Mutant::LeaseSnatched] {
        mutants::put(Some(mutant));
        let found = first_failure();
        mutants::put(None);
        let (seed, what) = found.unwrap_or_else(|| panic!("{mutant:?} is not found in {SEEDS} seeds"));
        println!("{mutant:?} by seed {seed}: {what}");
    }
}
