//! Whether this process may write: drives the [`Election`], and is what all who write in it ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::sync::watch as state;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::cluster::connection::Connection;
use crate::cluster::lease::{Candidate, decode};
use crate::cluster::query::Query;
use crate::cluster::watch::watch;
use crate::cluster::wire::micro_time;
use crate::cluster::write;
use crate::engine::Clock;
use crate::fault::Fault;
use crate::index::feed::Feed;
use crate::lease::{self, Election, Input, LEASE, Lead, Record, Request, Term};
use crate::mutants::{self, Mutant};
use crate::ops::metrics::Heard;
use crate::ops::shutdown::Shutdown;
use crate::watches::{Told, Troubles};

/// How much the watch may be ahead, in events.
const AHEAD: usize = 16;
/// For the Lease to be given up at the end; if that takes longer it runs out by itself.
const RELEASE: Duration = Duration::from_millis(700);

/// What everybody who writes holds. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Leading {
    clock: Clock,
    lead: state::Receiver<Lead>,
    /// A write may be under way although nobody waits for it any more.
    left_open: Arc<AtomicBool>,
}

/// How a request is to be carried out: said when it is ordered, and minded when it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permit {
    end: Instant,
    /// Nothing is to be changed by it.
    pub(crate) dry: bool,
}

impl Permit {
    /// How long it may take.
    ///
    /// # Errors
    ///
    /// Nothing is to be sent any more: the process may have stood still since it was ordered.
    pub(crate) fn left(self) -> Result<Duration, Fault> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() && !mutants::has(Mutant::LeaseOutlived) {
            return Err(Fault::NoAnswer("not sent within the deadline".to_owned()));
        }
        Ok(left)
    }
}

impl Leading {
    /// Of the only process there is.
    pub fn alone() -> Self {
        Self { clock: Clock::start(), lead: state::channel(Lead::Always).1, left_open: Arc::default() }
    }

    /// Of a process that writes nothing, whoever else there is: see [`Lead::Dry`].
    pub fn dry() -> Self {
        Self { lead: state::channel(Lead::Dry).1, ..Self::alone() }
    }

    /// Whether this is a dry run: then [`Leading::allows`] no write ever.
    pub fn is_dry(&self) -> bool {
        *self.lead.borrow() == Lead::Dry
    }

    /// Whether there is a Lease.
    pub fn is_shared(&self) -> bool {
        !matches!(*self.lead.borrow(), Lead::Always | Lead::Dry)
    }

    /// Whether and how long, by this clock.
    pub fn lead(&self, clock: &Clock) -> Lead {
        match *self.lead.borrow() {
            Lead::Until(until, term) => Lead::Until(clock.moment(self.clock.instant(until)), term),
            lead => lead,
        }
    }

    /// Whether a write may begin now that ends within [`Leading::deadline`].
    pub fn allows(&self) -> bool {
        self.lead.borrow().allows(self.clock.now(), self.deadline())
    }

    /// How long a write may take.
    pub fn deadline(&self) -> Duration {
        match *self.lead.borrow() {
            Lead::Always | Lead::Dry => write::DEADLINE,
            Lead::No | Lead::Until(..) => lease::DEADLINE,
        }
    }

    /// For a request that is ordered now.
    pub(crate) fn permit(&self) -> Permit {
        Permit { end: Instant::now() + self.deadline(), dry: self.is_dry() }
    }

    /// Whether it leads, though perhaps not for long enough to begin anything.
    pub fn leads(&self) -> bool {
        let now = self.clock.now();
        match *self.lead.borrow() {
            Lead::Always => true,
            Lead::No | Lead::Dry => false,
            Lead::Until(until, _) => now < until,
        }
    }

    /// Counts how often this process has begun to lead; `None` while it does not, or is the only one.
    pub fn term(&self) -> Option<Term> {
        match *self.lead.borrow() {
            Lead::Until(_, term) => Some(term),
            Lead::Always | Lead::No | Lead::Dry => None,
        }
    }

    /// Returns when it may write.
    pub async fn allowed(&mut self) {
        while !self.allows() {
            self.changed().await;
        }
    }

    /// Returns when something has changed, a renewal included.
    pub async fn changed(&mut self) {
        if self.lead.changed().await.is_err() {
            // It stays as it is.
            std::future::pending::<()>().await;
        }
    }

    /// Nobody waits any more for what has been sent: until its time is over nobody else may write.
    pub fn leave_open(&self) {
        self.left_open.store(true, Ordering::Relaxed);
    }
}

/// Leads or stands by, until it is given up.
#[derive(Debug)]
pub struct Leadership {
    leading: Leading,
    stop: Shutdown,
    task: Option<JoinHandle<()>>,
}

impl Leadership {
    /// No Lease: this is the only process.
    pub fn alone() -> Self {
        Self { leading: Leading::alone(), stop: Shutdown::default(), task: None }
    }

    /// No Lease either, and nothing is written: there may be others that do.
    pub fn dry() -> Self {
        Self { leading: Leading::dry(), stop: Shutdown::default(), task: None }
    }

    /// Shares a Lease with others. `wall_clock` is for the times that people read in it.
    ///
    /// # Errors
    /// If the Lease's namespace cannot be one.
    pub fn shared(
        candidate: Candidate,
        connection: Connection,
        seed: u64,
        heard: Heard,
        wall_clock: fn() -> jiff::Timestamp,
    ) -> Result<Self, Fault> {
        Self::shared_by(candidate, connection, seed, heard, wall_clock, |task| tokio::spawn(task))
    }

    /// The same; its task is started by the last parameter.
    pub(crate) fn shared_by(
        candidate: Candidate,
        connection: Connection,
        seed: u64,
        heard: Heard,
        wall_clock: fn() -> jiff::Timestamp,
        spawn: impl FnOnce(BoxFuture<'static, ()>) -> JoinHandle<()>,
    ) -> Result<Self, Fault> {
        let (clock, stop) = (Clock::start(), Shutdown::default());
        let (sender, lead) = state::channel(Lead::No);
        let leading = Leading { clock, lead, left_open: Arc::default() };
        let query = Query { heard, ..candidate.query()? };
        let driver = Driver { candidate, connection, sender, clock, wall_clock, last: None, standing_by: None };
        let task = spawn(driver.run(query, seed, stop.clone()).boxed());
        Ok(Self { leading, stop, task: Some(task) })
    }

    /// What everybody who writes holds.
    pub fn leading(&self) -> Leading {
        self.leading.clone()
    }

    /// Gives the Lease up, when nothing is written any more. Not if a write may still be under way: then it runs out.
    pub async fn end(self) {
        let Some(task) = self.task else { return };
        if self.leading.left_open.load(Ordering::Relaxed) {
            warn!(
                seconds = LEASE.as_secs(),
                "the lease is not given up, for a write may still be under way; it runs out"
            );
            task.abort();
            return;
        }
        self.stop.begin();
        if tokio::time::timeout(RELEASE, task).await.is_err() {
            warn!("the lease could not be given up in time; it runs out");
        }
    }
}

struct Driver {
    candidate: Candidate,
    connection: Connection,
    sender: state::Sender<Lead>,
    clock: Clock,
    wall_clock: fn() -> jiff::Timestamp,
    /// The time that was last written.
    last: Option<jiff::Timestamp>,
    /// Whom we have said to stand by for.
    standing_by: Option<String>,
}

impl Driver {
    async fn run(mut self, query: Query, seed: u64, stop: Shutdown) {
        let mut election = Election::new(self.candidate.identity.clone(), seed);
        let (sender, mut events) = mpsc::channel(AHEAD);
        let wrap = |news| Told::of("leases", news, |feed| feed);
        let mut watches = JoinSet::new();
        watches.spawn(watch(self.connection.watch.clone(), query, seed, decode, wrap, sender));
        let (mut flight, mut troubles) = (FuturesUnordered::new(), Troubles::default());
        let (mut shown, mut failing) = (false, None);
        loop {
            let now = self.clock.now();
            if let Some(request) = election.next(now) {
                let time = self.time();
                let (candidate, client) = (self.candidate.clone(), self.connection.watch.clone());
                flight.push(async move { (request, candidate.execute(&client, request, &time).await) });
            }
            self.publish(&election);
            if election.is_over() {
                return;
            }
            tokio::select! {
                biased;
                () = stop.begun(), if !election.is_stopping() => election.on(self.clock.now(), Input::Stop),
                Some((request, result)) = flight.next(), if !flight.is_empty() => {
                    let input = answered(request, result, &mut failing);
                    election.on(self.clock.now(), input);
                }
                Some(told) = events.recv() => match told {
                    Told::Input(feed) => {
                        if let Some(input) = input(feed, &mut shown) {
                            election.on(self.clock.now(), input);
                        }
                    }
                    Told::Watch(watch, result) => troubles.note(watch, result),
                },
                () = self.clock.reach(election.wake_at(now)) => {}
            }
        }
    }

    /// The wall clock, which may stand still or go back; what we write does not.
    fn time(&mut self) -> String {
        let next = self.last.and_then(|last| last.checked_add(jiff::SignedDuration::from_micros(1)).ok());
        let time = (self.wall_clock)().max(next.unwrap_or(jiff::Timestamp::MIN));
        self.last = Some(time);
        micro_time(time)
    }

    fn publish(&mut self, election: &Election) {
        let lead = election.lead();
        let before = *self.sender.borrow();
        self.sender.send_if_modified(|known| std::mem::replace(known, lead) != lead);
        match (before, lead) {
            (Lead::No, Lead::Until(..)) => info!("leading"),
            (Lead::Until(..), Lead::No) if !election.is_stopping() => warn!("not leading any more: the lease is lost"),
            _ => {}
        }
        let holder = standing_by_for(election, &self.candidate.identity);
        if self.standing_by.as_deref() != holder {
            self.standing_by = holder.map(str::to_owned);
            if let Some(leader) = holder {
                info!(leader = crate::fault::message(leader), "standing by");
            }
        }
    }
}

/// Who leads in our stead. A watch may show a Lease as ours before the reply to our request for it has come.
fn standing_by_for<'e>(election: &'e Election, ourselves: &str) -> Option<&'e str> {
    let stands_by = election.lead() == Lead::No && !election.is_stopping();
    election.holder().filter(|holder| stands_by && *holder != ourselves)
}

fn input(feed: Feed<Record>, shown: &mut bool) -> Option<Input> {
    match feed {
        Feed::Init => {
            *shown = false;
            None
        }
        Feed::Listed(record) => {
            *shown = true;
            Some(Input::Seen(record))
        }
        Feed::InitDone(list) => (!*shown).then_some(Input::Gone(list)),
        Feed::Applied(record) => Some(Input::Seen(record)),
        Feed::Gone(record) => {
            *shown = false;
            Some(Input::Gone(record.rv))
        }
    }
}

fn answered(request: Request, result: Result<Option<Record>, Fault>, failing: &mut Option<&'static str>) -> Input {
    match result {
        Ok(record) => {
            if failing.take().is_some() {
                info!("the lease can be written again");
            }
            Input::Done(record)
        }
        Err(Fault::AlreadyExists | Fault::Conflict | Fault::LostRace) => Input::Raced,
        Err(Fault::NotFound) if request != Request::Create => Input::Raced,
        Err(fault) => {
            if failing.replace(fault.reason()) != Some(fault.reason()) {
                warn!(reason = fault.reason(), %fault, todo = fault.what_to_do(), "cannot write the lease");
            }
            debug!(?request, reason = fault.reason(), "failed");
            Input::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::object::Rv;

    #[test]
    fn nobody_stands_by_for_itself() {
        let seen = |holder: &str| {
            let mut election = Election::new("me".to_owned(), 1);
            let record = Record { rv: Rv(5), holder: Some(holder.to_owned()), duration: LEASE, transitions: 0 };
            election.on(Duration::ZERO, Input::Seen(record));
            standing_by_for(&election, "me").map(str::to_owned)
        };
        assert_eq!((seen("other").as_deref(), seen("me")), (Some("other"), None));
    }
}
