//! Who waits for whom, in virtual time: a server that takes 20 ms for each request, and 32 slots.

use super::*;
use crate::contract::object::tests_support::object;
use crate::contract::rules::Role;
use crate::contract::source::{Reading, Source};
use crate::contract::strip::StripList;
use crate::index::feed::NamespaceSeen;

const SLOTS: usize = 32;
const USUAL: Duration = Duration::from_millis(20);
/// A webhook that does not answer is given up after this by default.
const SLOW: Duration = Duration::from_secs(10);

const fn at(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

fn uid(n: usize) -> Uid {
    Uid::parse(&format!("00000000-0000-4000-8000-{n:012x}")).unwrap()
}

type Serve = fn(&Order) -> (Duration, Option<Fault>);

/// A core whose requests are served, each in its own time.
struct Busy {
    core: Core,
    now: Moment,
    serve: Serve,
    under_way: BTreeMap<(Moment, u64), Order>,
    /// When each replica was made.
    made: BTreeMap<(Arc<str>, Arc<str>), Moment>,
    requests: usize,
}

impl Busy {
    /// All lists have come and there are so many namespaces, `n0` and so on, but no source.
    fn with(namespaces: usize, serve: Serve) -> Self {
        let rules = Arc::new(Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).unwrap()));
        let core = Core::new(rules, Scope::Namespaces, SLOTS, 1);
        let (under_way, made) = (BTreeMap::new(), BTreeMap::new());
        let mut busy = Self { core, now: at(0), serve, under_way, made, requests: 0 };
        busy.on(Input::Sources(SourceNews::Namespace { uid: Some(uid(0)), deletes_frozen: false }));
        busy.on(Input::Sources(SourceNews::Complete));
        busy.on(Input::Dest(Feed::Init));
        (0..namespaces).for_each(|n| busy.on(Input::Dest(Feed::Listed(Self::namespace(n)))));
        busy.on(Input::Dest(Feed::InitDone(Rv(1))));
        for kind in Kind::ALL {
            busy.on(Input::Replica(kind, Feed::Init));
            busy.on(Input::Replica(kind, Feed::InitDone(Rv(1))));
        }
        busy
    }

    fn on(&mut self, input: Input) {
        self.core.on(self.now, input);
    }

    fn namespace(n: usize) -> NamespaceSeen {
        NamespaceSeen {
            name: format!("n{n}"),
            uid: uid(n + 1),
            rv: Rv(1),
            state: Destination::Open,
            labels: Labels::new(),
        }
    }

    fn source(&mut self, name: &str) {
        let source = object(Kind::Secret, "operator", name, &[], &[("mw-sync", "yes")]);
        let Reading::On(template) = Source::read(&self.core.rules, source).reading else { panic!() };
        let desired = Arc::new(template.desired(uid(0)));
        self.on(Input::Sources(SourceNews::Want(desired.key.clone(), Want::On(desired))));
    }

    /// Lets time pass until so many replicas are made that `of` likes; returns when that was.
    fn until(&mut self, count: usize, of: impl Fn(&str, &str) -> bool) -> Moment {
        loop {
            if self.made.keys().filter(|(namespace, name)| of(namespace, name)).count() == count {
                return self.now;
            }
            self.step();
            assert!(self.now < at(3600), "{} are made", self.made.len());
        }
    }

    /// The next thing happens.
    fn step(&mut self) {
        while let Some(order) = self.core.next(self.now) {
            self.requests += 1;
            let (time, _) = (self.serve)(&order);
            self.under_way.insert((self.now + time, order.id), order);
        }
        let answer = self.under_way.first_key_value().map(|((at, _), _)| *at);
        self.now = answer.into_iter().chain(self.core.wake_at()).min().expect("something is to come").max(self.now);
        if answer == Some(self.now)
            && let Some(((_, id), order)) = self.under_way.pop_first()
        {
            let result = match (self.serve)(&order).1 {
                Some(fault) => Err(fault),
                None => {
                    self.made.insert((Arc::clone(&order.namespace), Arc::clone(&order.name)), self.now);
                    Ok(Reply::Written { uid: uid(10_000 + self.made.len()), rv: Rv(10 + id) })
                }
            };
            self.on(Input::Done(id, result));
        }
        drop(self.core.take_settled());
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.step();
        }
    }
}

/// Promise 5 and issue 4: how long after it has begun a source is everywhere.
fn takes(busy: &mut Busy, name: &str, places: usize) -> Duration {
    let begin = busy.now;
    busy.source(name);
    busy.until(places, |_, made| made == name) - begin
}

fn healthy(_: &Order) -> (Duration, Option<Fault>) {
    (USUAL, None)
}

#[test]
fn a_new_namespace_is_complete_within_a_second_while_a_hundred_thousand_pairs_wait() {
    let mut busy = Busy::with(1000, healthy);
    (0..100).for_each(|n| busy.source(&format!("s{n}")));
    busy.pass(at(1));
    assert!(busy.made.len() < 2_000, "nearly all wait: {}", busy.made.len());
    for n in [1000, 1001, 1002] {
        let begin = busy.now;
        busy.on(Input::Dest(Feed::Applied(Busy::namespace(n))));
        let name = format!("n{n}");
        let took = busy.until(100, |namespace, _| namespace == name) - begin;
        assert!(took < at(1), "{took:?}");
        busy.pass(USUAL * 3);
    }
}

#[test]
fn a_source_that_fails_in_a_thousand_namespaces_slows_no_other() {
    let fast: Serve = |order| (USUAL, (&*order.name == "bad").then(|| Fault::Rejected("no".into())));
    let slow: Serve =
        |order| if &*order.name == "bad" { (SLOW, Some(Fault::Rejected("no".into()))) } else { (USUAL, None) };
    let alone = takes(&mut Busy::with(1000, healthy), "good", 1000);
    for (serve, most) in [(fast, 1.1), (slow, 1.5)] {
        let mut busy = Busy::with(1000, serve);
        busy.source("bad");
        // It has failed everywhere, and is tried again here and there.
        busy.pass(at(600));
        for name in ["good", "better", "best"] {
            let took = takes(&mut busy, name, 1000);
            assert!(took < alone.mul_f64(most), "{took:?} instead of {alone:?}");
            busy.pass(at(20));
        }
    }
}

#[test]
fn a_source_that_is_slow_everywhere_leaves_others_their_slots_in_its_first_pass() {
    let slow: Serve = |order| (if &*order.name == "bad" { SLOW } else { USUAL }, None);
    // With nobody else, all slots but the one for a new namespace are its own.
    let mut alone = Busy::with(1000, slow);
    assert!(takes(&mut alone, "bad", 1000) <= SLOW * 1000_u32.div_ceil(31));
    let mut busy = Busy::with(1000, slow);
    busy.source("bad");
    // Others come while it has all of them, and get what comes free; after that a quarter is theirs.
    busy.pass(at(15));
    let took = takes(&mut busy, "good", 1000);
    assert!(took < SLOW, "{took:?}");
    assert!(busy.made.len() < 1200, "the first pass is under way: {}", busy.made.len());
    let took = takes(&mut busy, "better", 1000);
    assert!(took < SLOW + at(4), "{took:?}");
}

/// A webhook there takes its time and admits all the same: that is no reason for more slots.
#[test]
fn destinations_that_are_slow_and_succeed_slow_no_other() {
    let slow: Serve = |order| (if ["n0", "n1"].contains(&&*order.namespace) { at(1) } else { USUAL }, None);
    let fast = |namespace: &str| !["n0", "n1"].contains(&namespace);
    let took = |serve: Serve| {
        let mut busy = Busy::with(100, serve);
        let begin = busy.now;
        (0..150).for_each(|n| busy.source(&format!("s{n}")));
        busy.until(150 * 98, |namespace, _| fast(namespace)) - begin
    };
    let (alone, beside) = (took(healthy), took(slow));
    assert!(alone > at(2), "long enough for the slow ones to gain slots: {alone:?}");
    assert!(beside < alone.mul_f64(1.4), "{beside:?} instead of {alone:?}");
}

/// Promise 5, where a webhook hangs in most namespaces: what is not written there yet is tried once everywhere, and after
/// that nobody waits for it.
#[test]
fn namespaces_where_writes_hang_delay_a_source_for_one_deadline_and_the_next_one_not_at_all() {
    fn hangs(namespace: &str) -> bool {
        namespace[1..].parse::<usize>().is_ok_and(|n| n < 40)
    }
    let serve: Serve = |order| match hangs(&order.namespace) {
        true => (SLOW, Some(Fault::Hangs("a webhook".into()))),
        false => (USUAL, None),
    };
    let mut busy = Busy::with(60, serve);
    let takes = |busy: &mut Busy, name: &str| {
        let begin = busy.now;
        busy.source(name);
        busy.until(20, |namespace, made| made == name && !hangs(namespace)) - begin
    };
    let first = takes(&mut busy, "first");
    assert!(first < SLOW + at(1), "{first:?}");
    busy.pass(at(60));
    let next = takes(&mut busy, "next");
    assert!(next < at(1), "{next:?}");
    // Now many are due there, and a new namespace does not wait either.
    (0..50).for_each(|n| busy.source(&format!("s{n}")));
    busy.until(50 * 20, |namespace, made| made.starts_with('s') && !hangs(namespace));
    let begin = busy.now;
    busy.on(Input::Dest(Feed::Applied(Busy::namespace(60))));
    let took = busy.until(52, |namespace, _| namespace == "n60") - begin;
    assert!(took < at(1), "{took:?}");
    let requests = busy.requests;
    busy.pass(at(60));
    // A quarter of the slots, and a deadline each.
    let most = SLOTS / 4 * 60 / 10 + SLOTS;
    assert!(busy.requests - requests <= most, "{} requests in a minute", busy.requests - requests);
}

#[test]
fn a_slow_destination_slows_no_other() {
    let slow: Serve = |order| (if &*order.namespace == "n0" { SLOW } else { USUAL }, None);
    let mut alone = Busy::with(100, healthy);
    let begin = alone.now;
    (0..20).for_each(|n| alone.source(&format!("s{n}")));
    let alone = alone.until(20 * 99, |namespace, _| namespace != "n0") - begin;
    let mut busy = Busy::with(100, slow);
    (0..20).for_each(|n| busy.source(&format!("s{n}")));
    let took = busy.until(20 * 99, |namespace, _| namespace != "n0");
    assert!(took < alone.mul_f64(1.25), "{took:?} instead of {alone:?}");
    // And a new namespace comes before what waits for the slow one.
    busy.on(Input::Dest(Feed::Applied(Busy::namespace(100))));
    let begin = busy.now;
    let took = busy.until(20, |namespace, _| namespace == "n100") - begin;
    assert!(took < at(1), "{took:?}");
}
