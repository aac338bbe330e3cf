//! All that is random in a run, decided before it begins: from one seed comes one schedule, and each of its acts can
//! be left out.

use std::time::Duration;

use super::accounts::{self, Account};
use super::faults::{Boundary, Class, Closed, Cut, Fate, Slot, Watched};
use super::stage::{NAMES, OPERATOR, Scene};
use super::takeover::{self, Whom};
use super::users::{Namespace, Replica, Source, Switch, User};
use super::wishes::{OPTIONS, PULL_TYPE, PULLS};
use crate::contract::rules::Role;
use crate::rng::Rng;

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    User(User),
    /// The next so many requests have this fate.
    Ambush(Class, Fate, u32),
    Close(usize, &'static str, Closed, Duration),
    /// A cluster cannot be reached for so long.
    Down(usize, Duration),
    /// From now on a watch is that much behind.
    Lag(Slot, Duration),
    Cut(Slot, Cut),
    /// A watch breaks, and when it is resumed the server has forgotten what happened meanwhile.
    Expire(Slot),
    /// The server forgets what has happened.
    Compact(usize),
    /// From now on lists begin so many versions back.
    Stale(usize, u64),
    /// At one of these requests, when so many have come as far.
    Crash(Class, Boundary, u32),
    Restart,
    /// A process stands still for so long, its clock running on.
    Pause(Whom, Duration),
    Kill(Whom),
    /// A RemoteCluster has this label `env` from now on.
    Relabel(usize, &'static str),
    /// The clock jumps.
    Jump(Duration),
    /// Everything must be in place but in these namespaces of this cluster.
    Check(usize, Vec<&'static str>),
}

/// A run, from its beginning to the end of all faults.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) scene: Scene,
    /// Lists come in pages of so many objects, not as the beginning of a watch.
    pub(super) pages: Option<usize>,
    /// Each act with the pause before it.
    pub(super) acts: Vec<(Duration, Act)>,
    /// Whether the source namespace is there in the end, whatever users did.
    pub(super) operator_stays: bool,
}

const PLURALS: [&str; 2] = ["secrets", "configmaps"];
const PLACES: [&str; 4] = ["n0", "n1", "n2", "kube-n3"];
const CRASHES: [Class; 5] = [Class::Writes, Class::Writes, Class::Writes, Class::Reads, Class::Watches];
const DATA: [&str; 7] = ["0x", "0y", "0z", "0x", "0y", "0z", ""];

/// Makes schedules.
struct Dice {
    rng: Rng,
    role: Role,
    clusters: usize,
    names: usize,
    places: usize,
    /// One of so many sources has any one option.
    plainness: usize,
    /// Sources are to be listed in ServiceAccounts.
    pulls: bool,
    /// For what came later: all else of a seed stays as it was.
    more: Rng,
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let role = if rng.below(3) == 0 { Role::Master } else { Role::Agent };
        let clusters = if role == Role::Master { 2 + usize::try_from(rng.below(2)).unwrap() } else { 1 };
        let (pulls, more) = (Rng::new(!seed).below(3) == 0, Rng::new(seed.rotate_left(32)));
        let mut dice = Dice { rng, role, clusters, names: 1, places: 1, plainness: 4, pulls, more };
        (dice.names, dice.places, dice.plainness) =
            (dice.of(&[1, 1, 2, 3]), dice.of(&[1, 1, 2, 4]), dice.of(&[3, 8, 1000]));
        let millis = Duration::from_millis;
        let mut scene = Scene {
            seed,
            role,
            clusters,
            allow_adopt: dice.one_in(2),
            take_over: dice.one_in(2),
            standby: false,
            pulls: dice.pulls,
            max_in_flight: dice.of(&[1, 4, 16]),
            latency: dice.of(&[millis(3), millis(3), millis(80), millis(1500)]),
            lag: dice.of(&[millis(0), millis(20), millis(20), millis(4000)]),
        };
        let isolation = dice.one_in(6);
        if isolation {
            (scene.max_in_flight, scene.latency, scene.lag) = (16, millis(80), millis(20));
            (dice.names, dice.places) = (2, 4);
        }
        let pages = dice.one_in(5).then(|| dice.of(&[1, 2, 20]));
        let mut acts: Vec<_> = dice.opening().into_iter().map(|act| (Duration::ZERO, act)).collect();
        if isolation {
            dice.isolation(&mut acts);
        } else {
            dice.trouble(&mut acts);
        }
        let operator_stays = isolation || !dice.one_in(10);
        if !isolation {
            scene.standby = takeover::add(seed, &mut acts);
        }
        Self { scene, pages, acts, operator_stays }
    }
}

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.rng.below(n as u64)).unwrap()
    }

    fn of<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// A cluster that copies belong in.
    fn destination(&mut self) -> usize {
        if self.role == Role::Agent { 0 } else { 1 + self.below(self.clusters - 1) }
    }

    fn place(&mut self) -> &'static str {
        if self.role == Role::Agent { PLACES[self.below(self.places)] } else { OPERATOR }
    }

    fn name(&mut self) -> &'static str {
        match self.below(16) {
            0 | 1 => "m0",
            2 => "aws-auth",
            _ => NAMES[self.below(self.names)],
        }
    }

    fn plural(&mut self) -> &'static str {
        PLURALS[usize::from(self.one_in(if self.pulls { 6 } else { 3 }))]
    }

    /// The first sources and namespaces, and most of the source namespaces.
    fn opening(&mut self) -> Vec<Act> {
        let create = |cluster, name| Act::User(User::Namespace(cluster, name, Namespace::Create));
        let mut acts: Vec<_> = (0..self.clusters).map(|cluster| create(cluster, OPERATOR)).collect();
        if self.role == Role::Agent {
            acts.extend(PLACES[..self.places].iter().map(|name| create(0, *name)));
            let pulls = if self.pulls { self.places } else { 0 };
            acts.extend(PLACES[..pulls].iter().flat_map(|name| accounts::opening(name)).map(Act::User));
        }
        for _ in 0..4 {
            acts.push(Act::User(self.source()));
        }
        acts
    }

    /// Anything at all.
    fn trouble(&mut self, acts: &mut Vec<(Duration, Act)>) {
        let (faults, pace) = (self.of(&[0, 2, 4, 10]), self.of(&[10, 300, 300, 3000]));
        for _ in 0..self.of(&[30, 60, 100]) {
            let pause = match self.below(12) {
                0..5 => Duration::ZERO,
                11 => Duration::from_secs(self.of(&[5, 15, 31, 70])),
                _ => Duration::from_millis(self.rng.below(pace)),
            };
            let act = if self.below(20) < faults { self.fault() } else { self.user() };
            let again = matches!(act, Act::User(User::Namespace(0, OPERATOR, Namespace::Delete)));
            acts.push((pause, act));
            if again && !self.one_in(3) {
                // Whoever deletes the source namespace makes it anew, and its sources.
                let create = Act::User(User::Namespace(0, OPERATOR, Namespace::Create));
                acts.push((Duration::from_millis(self.rng.below(20_000)), create));
                for _ in 0..3 {
                    acts.push((Duration::from_millis(self.rng.below(2_000)), Act::User(self.source())));
                }
            }
        }
    }

    /// One namespace, or one cluster, is closed for good, or some hang; all others must not notice.
    fn isolation(&mut self, acts: &mut Vec<(Duration, Act)>) {
        let cluster = self.destination();
        let mut closed = vec![self.place()];
        let long = Duration::from_secs(100_000);
        match (self.role, self.below(3)) {
            (Role::Master, 0) => acts.push((Duration::ZERO, Act::Down(cluster, long))),
            (_, how) => {
                let how = if how == 1 { Closed::Hanging } else { Closed::Rejecting };
                closed.extend((0..self.below(3)).map(|_| self.place()));
                let close = |place: &&'static str| (Duration::ZERO, Act::Close(cluster, place, how, long));
                acts.extend(closed.iter().map(close));
            }
        }
        let mut edits = 0;
        for _ in 0..self.of(&[5, 10, 20]) {
            for _ in 0..1 + self.below(4) {
                let act = self.user();
                // Without the source namespace nothing is in place; what is contested comes later.
                let slow = match &act {
                    Act::User(User::Namespace(_, OPERATOR, _)) => true,
                    Act::User(User::Replica(..) | User::Account(..)) => {
                        edits += 1;
                        edits > 2
                    }
                    _ => false,
                };
                if !slow {
                    acts.push((Duration::from_millis(self.rng.below(1000)), act));
                }
            }
            acts.push((Duration::from_secs(15), Act::Check(cluster, closed.clone())));
        }
    }

    fn slot(&mut self) -> Slot {
        let source = [Watched::SourceSecrets, Watched::SourceConfigMaps, Watched::SourceNamespace];
        let copies = [Watched::Secrets, Watched::ConfigMaps, Watched::Namespaces, Watched::Accounts];
        let copies = &copies[..3 + usize::from(self.pulls && self.role == Role::Agent)];
        if self.one_in(2) {
            Slot { cluster: 0, what: self.of(&source) }
        } else {
            Slot { cluster: self.destination(), what: self.of(copies) }
        }
    }

    fn fault(&mut self) -> Act {
        let cluster = self.below(self.clusters);
        let seconds = Duration::from_secs(1 + self.rng.below(20));
        match self.below(20) {
            0..7 => {
                let code = self.of(&[401, 403, 404, 409, 429, 429, 500, 503]);
                let fate = match self.below(12) {
                    0 => Fate::Swallowed,
                    1 | 2 => Fate::Lost,
                    3..6 => Fate::ReplyLost,
                    6 | 7 => Fate::Late(seconds),
                    8 => Fate::DoneBut(500),
                    9 if self.more.below(2) == 0 => Fate::DoneButOdd,
                    9 => Fate::Odd,
                    _ => Fate::Refused(code),
                };
                let class =
                    self.of(&[Class::Writes, Class::Writes, Class::Writes, Class::Reads, Class::Watches, Class::All]);
                Act::Ambush(class, fate, self.of(&[1, 1, 2, 3, 8]))
            }
            7 => {
                let how = self.of(&[Closed::Rejecting, Closed::Hanging]);
                Act::Close(self.destination(), self.place(), how, seconds * 3)
            }
            8 => Act::Down(cluster, seconds),
            9..12 => Act::Lag(self.slot(), self.of(&[Duration::ZERO, seconds, seconds])),
            12..14 => Act::Cut(self.slot(), self.of(&[Cut::End, Cut::Break, Cut::Break, Cut::Silence])),
            14 if self.one_in(3) => Act::Compact(cluster),
            14 => Act::Expire(self.slot()),
            15 => Act::Stale(cluster, self.rng.below(4)),
            16 | 17 => Act::Crash(self.of(&CRASHES), self.of(&Boundary::ALL), 0),
            18 => Act::Restart,
            _ => Act::Jump(self.of(&[Duration::from_secs(2), Duration::from_secs(40), Duration::from_secs(200)])),
        }
    }

    fn labels(&mut self) -> Vec<(&'static str, &'static str)> {
        let mut labels = Vec::new();
        for key in ["team", "tier", "helm.sh/chart"] {
            if self.one_in(2) {
                labels.push((key, self.of(&["a", "b"])));
            }
        }
        labels
    }

    fn switch(&mut self) -> Switch {
        match self.below(12) {
            0 => None,
            1 | 2 => Some(("mw-sync", "no")),
            3 => Some(("mw-sync.io/sync", "perhaps")),
            4 => Some(("mw-sync.io/typo", "x")),
            5 | 6 => Some(("mw-sync.io/sync", "yes")),
            _ => Some(("mw-sync", "yes")),
        }
    }

    fn options(&mut self) -> Vec<(&'static str, &'static str)> {
        let (mut options, pulls) = (Vec::new(), self.pulls);
        for (key, values) in OPTIONS.into_iter().filter(|(key, _)| pulls || *key != PULLS) {
            if self.one_in(if key == PULLS { 2 } else { self.plainness }) {
                // What cannot be understood is rare: it hides everything else.
                let good: Vec<_> = values.iter().filter(|(_, good)| *good).collect();
                let value =
                    if self.one_in(20) { &values[self.below(values.len())] } else { good[self.below(good.len())] };
                options.push((key, value.0));
            }
        }
        options
    }

    fn kind_of_secret(&mut self) -> &'static str {
        if self.pulls && !self.one_in(8) {
            return PULL_TYPE;
        }
        self.of(&["Opaque", "Opaque", "Opaque", "example.com/one", "example.com/two", "helm.sh/release.v1"])
    }

    fn source(&mut self) -> User {
        let (plural, name) = (self.plural(), self.name());
        let act = match self.below(12) {
            0 => Source::Delete,
            1..5 => Source::Annotate(self.switch()),
            5 if self.one_in(2) => Source::Note(self.of(&["a", "b"])),
            5 => Source::Options(self.options()),
            6..8 => Source::Change { labels: self.labels(), data: self.of(&DATA) },
            8 if self.one_in(3) => Source::Fix,
            _ => Source::Make {
                labels: self.labels(),
                switch: self.switch(),
                options: self.options(),
                data: self.of(&DATA),
                of: self.kind_of_secret(),
                fixed: self.one_in(6),
                marked: self.more.below(4) != 0,
            },
        };
        User::Source(plural, name, act)
    }

    fn account(&mut self) -> User {
        let name = if self.one_in(12) { "other" } else { NAMES[self.below(self.names)] };
        let act = match self.below(12) {
            0 => Account::Delete,
            1..4 => Account::Create(self.one_in(2)),
            4 | 5 => Account::List(name, self.one_in(2)),
            6..8 => Account::Unlist(name),
            8 => Account::TurnAround,
            9 => Account::DropRecord,
            _ => Account::Note(self.of(&["a", "b"])),
        };
        User::Account(self.place(), accounts::NAMES[usize::from(self.one_in(3))], act)
    }

    fn user(&mut self) -> Act {
        if self.pulls && self.role == Role::Agent && self.one_in(4) {
            return Act::User(self.account());
        }
        let user = match self.below(20) {
            0..10 => self.source(),
            10 if self.one_in(4) => {
                let cluster = self.below(self.clusters);
                User::Namespace(cluster, OPERATOR, self.of(&[Namespace::Delete, Namespace::Create, Namespace::Create]))
            }
            10 if self.role == Role::Master && self.one_in(2) => {
                return Act::Relabel(self.destination(), self.of(&["", "a", "b"]));
            }
            11..14 => {
                let (cluster, place) = (self.destination(), self.place());
                let act = match self.below(8) {
                    0 | 1 if place != OPERATOR || self.one_in(3) => Namespace::Delete,
                    2 => Namespace::OptOut(true),
                    3 => Namespace::OptOut(false),
                    4 => Namespace::Relabel(self.of(&["a", "b"])),
                    _ => Namespace::Create,
                };
                User::Namespace(cluster, place, act)
            }
            _ => {
                let (cluster, plural, place, name) = (self.destination(), self.plural(), self.place(), self.name());
                User::Replica(cluster, plural, place, name, self.on_replica())
            }
        };
        Act::User(user)
    }

    fn on_replica(&mut self) -> Replica {
        match self.below(16) {
            0..3 => Replica::Delete,
            3 | 4 => Replica::Data(self.of(&["k", "x"]), "0drift"),
            5 => Replica::Label,
            6 => Replica::DropSource,
            7 => Replica::Relabel,
            8 | 9 => Replica::DropMark,
            10 => Replica::OtherOrigin,
            11 => Replica::Mark,
            12 => Replica::Fix,
            _ => Replica::Make { data: self.of(&DATA), of: self.kind_of_secret(), labelled: self.one_in(3) },
        }
    }
}
