//! What goes wrong between a process and a server, and on a server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use super::accounts;
use super::api::{LEASES, Request};
use super::stage::{NAMES, Scene};

/// What a watch is for; with its cluster it names one of the watches of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watched {
    SourceSecrets,
    SourceConfigMaps,
    SourceNamespace,
    Secrets,
    ConfigMaps,
    Namespaces,
    Accounts,
    /// Who leads.
    Lease,
    /// All of a kind and name that are not ours.
    Name(&'static str, &'static str),
}

impl Watched {
    /// Whether it shows what is to be copied.
    pub(super) const fn is_of_sources(self) -> bool {
        matches!(self, Self::SourceSecrets | Self::SourceConfigMaps | Self::SourceNamespace)
    }

    /// What it is a watch on.
    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::SourceSecrets | Self::Secrets => "secrets",
            Self::SourceConfigMaps | Self::ConfigMaps => "configmaps",
            Self::SourceNamespace | Self::Namespaces => "namespaces",
            Self::Accounts => accounts::PLURAL,
            Self::Lease => LEASES,
            Self::Name(plural, _) => plural,
        }
    }
}

/// One watch of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) cluster: usize,
    pub(super) what: Watched,
}

impl Slot {
    /// Which watch this is a list or watch request of, if it is one.
    pub(super) fn of(cluster: usize, request: &Request) -> Option<Self> {
        let selector = request.selector().filter(|_| request.is_collection())?;
        let what = match (selector.plural, selector.labels.is_empty(), selector.fields.is_empty()) {
            ("secrets", true, true) => Watched::SourceSecrets,
            ("configmaps", true, true) => Watched::SourceConfigMaps,
            ("secrets", false, true) => Watched::Secrets,
            ("configmaps", false, true) => Watched::ConfigMaps,
            (plural @ ("secrets" | "configmaps"), false, false) => {
                let name = selector.fields.first().map(|(_, name)| name.as_str());
                Watched::Name(plural, NAMES.into_iter().find(|known| Some(*known) == name)?)
            }
            ("namespaces", _, false) => Watched::SourceNamespace,
            ("namespaces", _, true) => Watched::Namespaces,
            (accounts::PLURAL, true, true) => Watched::Accounts,
            (LEASES, true, false) => Watched::Lease,
            _ => return None,
        };
        Some(Self { cluster, what })
    }
}

/// Some of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Writes,
    Reads,
    Watches,
    Leases,
    All,
}

impl Class {
    fn has(self, request: &Request) -> bool {
        match self {
            Self::Writes => request.is_write(),
            Self::Reads => !request.is_write() && !request.is_collection(),
            Self::Watches => request.is_collection(),
            Self::Leases => request.is_of_lease(),
            Self::All => true,
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is answered.
    Fine,
    /// It never arrives, and nobody says so.
    Swallowed,
    /// It never arrives, and the connection breaks.
    Lost,
    /// It is done, and the connection breaks before the answer.
    ReplyLost,
    /// It arrives so much later, perhaps when nobody waits for the answer any more.
    Late(Duration),
    /// It is refused with this code.
    Refused(u16),
    /// It is done, and answered with this code nevertheless.
    DoneBut(u16),
    /// Something that is no API server answers.
    Odd,
    /// It is done, and a proxy on the way back says something of its own.
    DoneButOdd,
}

/// How a namespace is closed to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// A quota, a webhook or a policy rejects every write.
    Rejecting,
    /// Every write waits for a webhook that does not answer.
    Hanging,
}

/// How a watch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// In order.
    End,
    /// The connection breaks, within a line.
    Break,
    /// Nothing comes any more, and nobody says so.
    Silence,
}

/// Where a process is killed, of a request that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boundary {
    /// As it is on its way; it never arrives.
    Sent,
    /// As it has been done, unanswered.
    Done,
    /// As it has been answered.
    Answered,
}

impl Boundary {
    pub(super) const ALL: [Self; 3] = [Self::Sent, Self::Done, Self::Answered];
}

/// All of it, as it is now.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// The next so many of these requests have this fate.
    ambushes: Vec<(Class, Fate, u32)>,
    closed: BTreeMap<(usize, String), (Closed, Instant)>,
    down: BTreeMap<usize, Instant>,
    pub(super) lags: BTreeMap<Slot, Duration>,
    /// How often each watch was cut, and how it was last.
    pub(super) cuts: BTreeMap<Slot, (u64, Option<Cut>)>,
    /// When these watches are resumed the server forgets what has happened.
    pub(super) forgets: BTreeSet<Slot>,
    /// At one of these requests, when so many of them have come as far.
    pub(super) crash: Option<(Class, Boundary, u32)>,
    /// Pages of lists have no more objects than this.
    pub(super) page: Option<usize>,
    counts: BTreeMap<String, u64>,
}

impl Faults {
    pub(super) fn ambush(&mut self, class: Class, fate: Fate, count: u32) {
        self.ambushes.push((class, fate, count));
    }

    pub(super) fn close(&mut self, cluster: usize, namespace: &str, how: Closed, until: Instant) {
        self.closed.insert((cluster, namespace.to_owned()), (how, until));
    }

    pub(super) fn take_down(&mut self, cluster: usize, until: Instant) {
        self.down.insert(cluster, until);
    }

    pub(super) fn cut(&mut self, slot: Slot, how: Cut) {
        let (count, last) = self.cuts.entry(slot).or_default();
        (*count, *last) = (*count + 1, Some(how));
    }

    /// Whether the process is to be killed at this boundary of this request; once.
    pub(super) fn kills(&mut self, request: &Request, boundary: Boundary) -> bool {
        let Some((class, at, before)) = &mut self.crash else { return false };
        if *at != boundary || !class.has(request) {
            return false;
        }
        let kills = *before == 0;
        *before = before.saturating_sub(1);
        self.crash.take_if(|_| kills).is_some()
    }

    /// From now on all is well; watches that were silent stay so.
    pub(super) fn stop(&mut self) {
        let Self { cuts, counts, page, .. } = std::mem::take(self);
        *self = Self { cuts, counts, page, ..Self::default() };
    }

    /// What becomes of this request, and how long it and its answer are on their way.
    pub(super) fn meet(&mut self, scene: &Scene, cluster: usize, request: &Request) -> (Fate, [Duration; 2]) {
        let what = format!("{cluster} {} {}", request.method, request.path);
        let count = self.counts.entry(what.clone()).or_default();
        *count += 1;
        let way = |part: u64| scene.part_of(scene.latency, &what, *count * 2 + part);
        let ways = [way(0), way(1)];
        (self.fate(cluster, request), ways)
    }

    fn fate(&mut self, cluster: usize, request: &Request) -> Fate {
        let now = Instant::now();
        if self.down.get(&cluster).is_some_and(|until| now < *until) {
            return Fate::Lost;
        }
        let namespace = request.target.as_ref().and_then(|target| target.namespace.clone()).unwrap_or_default();
        if let Some((how, until)) = self.closed.get(&(cluster, namespace))
            && now < *until
            && request.is_write()
            && request.method != Method::DELETE
        {
            return match how {
                Closed::Rejecting => Fate::Refused(403),
                Closed::Hanging => Fate::Swallowed,
            };
        }
        let Some(n) = self.ambushes.iter().position(|(class, ..)| class.has(request)) else { return Fate::Fine };
        let (_, fate, left) = &mut self.ambushes[n];
        let fate = *fate;
        *left -= 1;
        if *left == 0 {
            self.ambushes.remove(n);
        }
        fate
    }
}
