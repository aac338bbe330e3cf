//! Order, shares and limits of the queue.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NOW: Moment = Duration::from_secs(100);

fn pair(source: u32, dest: u32) -> Pair {
    Pair { source: SourceId(source), dest: DestId(dest) }
}

/// All are of one class.
fn one(_: Pair) -> Class {
    Class(0)
}

fn pop(queue: &mut Queue) -> Option<(Pair, Lane)> {
    queue.pop(NOW, usize::MAX, one)
}

/// Pops and finishes everything, one at a time.
fn run(queue: &mut Queue) -> Vec<(Pair, Lane)> {
    let mut order = Vec::new();
    while let Some((pair, lane)) = pop(queue) {
        queue.done(pair);
        order.push((pair, lane));
    }
    order
}

#[test]
fn a_pair_waits_once_in_its_best_lane() {
    let mut queue = Queue::new(8, false);
    for lane in [Lane::Retry, Lane::Drift, Lane::NewNamespace, Lane::Changed] {
        queue.push(pair(1, 1), lane);
    }
    assert_eq!(run(&mut queue), [(pair(1, 1), Lane::NewNamespace)]);
    assert!(!queue.contains(pair(1, 1)) && !queue.is_open(SourceId(1)) && !queue.has_waiting());
}

#[test]
fn what_is_touched_in_flight_runs_once_more_in_the_best_lane() {
    let mut queue = Queue::new(8, false);
    queue.push(pair(1, 1), Lane::Changed);
    assert!(pop(&mut queue).is_some());
    for lane in [Lane::Retry, Lane::Drift, Lane::Retry] {
        queue.push(pair(1, 1), lane);
    }
    assert_eq!(pop(&mut queue), None, "once in flight");
    assert!(queue.is_in_flight(pair(1, 1)));
    queue.done(pair(1, 1));
    assert_eq!(run(&mut queue), [(pair(1, 1), Lane::Drift)]);
}

#[test]
fn first_in_first_out_within_a_lane() {
    let mut queue = Queue::new(8, false);
    let wanted: Vec<_> = [5, 3, 9, 1].map(|n| pair(n, n)).into();
    wanted.iter().for_each(|pair| queue.push(*pair, Lane::Changed));
    queue.push(pair(5, 5), Lane::Drift);
    assert_eq!(run(&mut queue).into_iter().map(|(pair, _)| pair).collect::<Vec<_>>(), wanted);
}

#[test]
fn lanes_share_by_weight_and_none_starves() {
    let mut queue = Queue::new(8, false);
    for (n, (lane, _)) in (0u32..).zip(Lane::SHARES) {
        (0..100).for_each(|dest| queue.push(pair(n, dest), lane));
    }
    let shares = |order: &[(Pair, Lane)]| {
        Lane::SHARES.map(|(lane, _)| order.iter().filter(|(_, popped)| *popped == lane).count())
    };
    let order = run(&mut queue);
    assert_eq!(shares(&order[..43]), [32, 4, 4, 2, 1]);
    assert_eq!(shares(&order[..86]), [64, 8, 8, 4, 2]);
    assert_eq!(order.len(), 500);
}

#[test]
fn one_destination_takes_an_eighth_and_no_other_waits_for_it() {
    let mut queue = Queue::new(32, true);
    (0..50).for_each(|source| queue.push(pair(source, 1), Lane::NewNamespace));
    (0..3).for_each(|source| queue.push(pair(source, 2), Lane::Drift));
    let mut popped = Vec::new();
    while let Some((pair, _)) = pop(&mut queue) {
        popped.push(pair);
    }
    let at = |dest| popped.iter().filter(|pair| pair.dest == DestId(dest)).count();
    assert_eq!((at(1), at(2)), (4, 3));
    // A slot that comes free there goes to the next that waits for it, in order.
    queue.done(popped[0]);
    assert_eq!(pop(&mut queue), Some((pair(4, 1), Lane::NewNamespace)));
    assert_eq!(pop(&mut queue), None);
    // With one destination there is no such limit.
    let mut alone = Queue::new(32, false);
    (0..50).for_each(|source| alone.push(pair(source, 1), Lane::Changed));
    assert_eq!(std::iter::from_fn(|| pop(&mut alone)).count(), 32);
}

#[test]
fn a_destination_that_answers_has_more_and_three_quarters_at_most() {
    let mut queue = Queue::new(32, true);
    (0..150).for_each(|source| queue.push(pair(source, 1), Lane::NewNamespace));
    let mut flying: Vec<_> = std::iter::from_fn(|| pop(&mut queue)).map(|(pair, _)| pair).collect();
    // In each round all are answered; each that succeeds makes room for three more, in order.
    for (round, expected) in [4, 16, 24, 24].into_iter().enumerate() {
        assert_eq!(flying.len(), expected, "round {round}");
        assert!(flying.is_sorted_by_key(|pair| pair.source.0), "{flying:?}");
        let mut next = Vec::new();
        for pair in flying {
            queue.answered(NOW, pair.dest, Class(0), Answer::Soon);
            queue.done(pair);
            next.extend(std::iter::from_fn(|| pop(&mut queue)).map(|(pair, _)| pair));
        }
        flying = next;
    }
    // One failure, and it is as any other again.
    for pair in flying.drain(..20) {
        queue.answered(NOW, pair.dest, Class(0), Answer::Other);
        queue.done(pair);
    }
    assert_eq!(pop(&mut queue), None);
    // So it is when all have come and gone, whatever they said.
    for pair in flying {
        queue.answered(NOW, pair.dest, Class(0), Answer::Soon);
        queue.done(pair);
    }
    assert!(queue.per_destination.is_empty(), "forgotten");
    assert_eq!(std::iter::from_fn(|| pop(&mut queue)).count(), 4);
}

/// A queue where the first write to each of six destinations has gone unanswered, but for the last.
fn silent(slots: usize) -> Queue {
    let mut queue = Queue::new(slots, true);
    (0..6).for_each(|dest| queue.push(pair(0, dest), Lane::Changed));
    for (pair, _) in std::iter::from_fn(|| pop(&mut queue)).collect::<Vec<_>>() {
        queue.answered(NOW, pair.dest, Class(0), if pair.dest.0 < 5 { Answer::None } else { Answer::Soon });
        queue.done(pair);
    }
    queue
}

fn all(queue: &mut Queue, now: Moment) -> Vec<Pair> {
    let class = |pair: Pair| Class((pair.source.0 >= 100).into());
    std::iter::from_fn(|| queue.pop(now, usize::MAX, class)).map(|(pair, _)| pair).collect()
}

#[test]
fn where_writes_are_not_answered_one_at_a_time_is_tried_the_most_urgent_first() {
    let second = Duration::from_secs(1);
    let mut queue = silent(16);
    (0..6).for_each(|dest| queue.push(pair(1, dest), Lane::Retry));
    (0..6).for_each(|dest| queue.push(pair(2, dest), Lane::Drift));
    // The one that answers has its own at once; nobody waits behind the others.
    assert_eq!(all(&mut queue, NOW), [pair(2, 5), pair(1, 5)]);
    assert!(queue.is_aside(pair(1, 0)) && queue.contains(pair(1, 0)) && !queue.is_open(SourceId(3)));
    // After a while some of them are tried, so many at a time as an eighth of the slots.
    assert_eq!(queue.wake_at(), Some(NOW + second));
    let now = NOW + second;
    assert_eq!(all(&mut queue, now), [pair(2, 0), pair(2, 1)]);
    // One that is silent again waits longer, and the next one has its turn.
    queue.answered(now, DestId(0), Class(0), Answer::None);
    queue.done(pair(2, 0));
    assert_eq!(queue.take_unanswered(), [pair(1, 0)]);
    assert_eq!(all(&mut queue, now), [pair(2, 2)]);
    // One that answers is as any other, all at once.
    queue.answered(now, DestId(1), Class(0), Answer::Other);
    queue.done(pair(2, 1));
    assert_eq!(all(&mut queue, now), [pair(2, 3), pair(1, 1)]);
    // What becomes urgent while it stands aside is tried first; what nobody wants any more is not.
    queue.push(pair(1, 4), Lane::Changed);
    queue.forget(pair(2, 4));
    queue.answered(now, DestId(2), Class(0), Answer::None);
    queue.done(pair(2, 2));
    assert_eq!(all(&mut queue, now), [pair(1, 4)]);
    assert!(!queue.contains(pair(2, 4)));
}

#[test]
fn silence_is_of_a_class_and_of_a_destination_while_it_is_there() {
    let mut queue = silent(16);
    queue.push(pair(1, 0), Lane::Changed);
    queue.push(pair(100, 0), Lane::Changed);
    assert_eq!(all(&mut queue, NOW), [pair(100, 0)]);
    queue.forget_silence(DestId(0));
    assert_eq!(all(&mut queue, NOW), [pair(1, 0)]);
}

#[test]
fn a_source_of_which_all_stands_aside_is_not_open() {
    let mut queue = silent(16);
    queue.push(pair(1, 0), Lane::Changed);
    assert!(queue.is_open(SourceId(1)));
    assert_eq!(all(&mut queue, NOW), []);
    assert!(!queue.is_open(SourceId(1)) && queue.has_waiting());
    // However often it is touched it stands there once.
    for _ in 0..10 {
        queue.push(pair(1, 0), Lane::Changed);
        assert_eq!(all(&mut queue, NOW), []);
    }
    let depths: Vec<_> = queue.depths().into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(depths, [("aside", 1)]);
}

#[test]
fn one_slot_is_free_for_a_new_namespace() {
    let mut queue = Queue::new(8, true);
    (0..20).for_each(|dest| queue.push(pair(1, dest), Lane::Changed));
    assert_eq!(std::iter::from_fn(|| pop(&mut queue)).count(), 7);
    queue.push(pair(1, 99), Lane::NewNamespace);
    assert_eq!(pop(&mut queue), Some((pair(1, 99), Lane::NewNamespace)));
}

#[test]
fn retries_take_at_most_a_quarter() {
    let mut queue = Queue::new(18, true);
    (0..20).for_each(|dest| queue.push(pair(1, dest), Lane::Retry));
    assert_eq!(std::iter::from_fn(|| pop(&mut queue)).count(), 4);
    queue.push(pair(2, 50), Lane::Drift);
    assert_eq!(pop(&mut queue), Some((pair(2, 50), Lane::Drift)));
    // One slot alone is not a quarter of one.
    let mut probe = Queue::new(9, true);
    probe.push(pair(1, 1), Lane::Retry);
    assert!(probe.pop(NOW, 1, one).is_some());
}

#[test]
fn one_source_leaves_a_quarter_to_others_if_any_wait() {
    let mut queue = Queue::new(16, true);
    (0..40).for_each(|dest| queue.push(pair(1, dest), Lane::Changed));
    // Nobody else waits: all but the slot for a new namespace.
    let mut flying: Vec<_> = std::iter::from_fn(|| pop(&mut queue)).map(|(pair, _)| pair).collect();
    assert_eq!(flying, (0..15).map(|dest| pair(1, dest)).collect::<Vec<_>>());
    (0..5).for_each(|dest| queue.push(pair(2, dest), Lane::Changed));
    for popped in [pair(2, 0), pair(2, 1), pair(2, 2), pair(1, 15), pair(1, 16)] {
        queue.done(flying.remove(0));
        assert_eq!(pop(&mut queue), Some((popped, Lane::Changed)));
        flying.push(popped);
    }
    // What is held moves to a better lane all the same, and what is left is in order.
    queue.push(pair(1, 20), Lane::NewNamespace);
    assert_eq!(pop(&mut queue), Some((pair(1, 20), Lane::NewNamespace)));
    flying.into_iter().for_each(|pair| queue.done(pair));
    assert_eq!(run(&mut queue)[..4], [17, 18, 19, 21].map(|dest| (pair(1, dest), Lane::Changed)));
}

#[test]
fn at_most_limit_are_in_flight() {
    let mut queue = Queue::new(8, true);
    (0..4).for_each(|dest| queue.push(pair(1, dest), Lane::Changed));
    assert!(queue.pop(NOW, 1, one).is_some());
    assert_eq!(queue.pop(NOW, 1, one), None);
}

#[test]
fn a_delayed_pair_waits_for_its_time_or_for_news() {
    let second = Duration::from_secs(1);
    let mut queue = Queue::new(8, false);
    queue.push_later(pair(1, 1), NOW + second);
    queue.push_later(pair(2, 2), NOW + second * 2);
    assert_eq!((pop(&mut queue), queue.wake_at()), (None, Some(NOW + second)));
    assert!(!queue.is_open(SourceId(1)), "time alone passes");
    assert_eq!(queue.pop(NOW + second, 8, one), Some((pair(1, 1), Lane::Retry)));
    queue.push(pair(2, 2), Lane::Changed);
    assert_eq!(queue.wake_at(), None);
    assert_eq!(pop(&mut queue), Some((pair(2, 2), Lane::Changed)));
    // In flight or waiting: no delay takes it away.
    queue.push_later(pair(2, 2), NOW + second);
    assert_eq!(queue.wake_at(), None);
    // Of two delays the later call counts, and what is forgotten does not come.
    queue.push_later(pair(3, 3), NOW + second);
    queue.push_later(pair(3, 3), NOW + second * 9);
    assert_eq!(queue.wake_at(), Some(NOW + second * 9));
    queue.forget(pair(3, 3));
    assert_eq!((queue.wake_at(), queue.contains(pair(3, 3))), (None, false));
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Push(u32, u32, usize),
    Later(u32, u32, u64),
    Pop(usize),
    Done(usize, Answer),
    Forget(u32, u32),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..8u32, 0..4u32, 0..5usize).prop_map(|(source, dest, lane)| Op::Push(source, dest, lane)),
        2 => (0..8u32, 0..4u32, 0..20u64).prop_map(|(source, dest, at)| Op::Later(source, dest, at)),
        5 => (1..20usize).prop_map(Op::Pop),
        5 => (any::<usize>(), 0..3usize).prop_map(|(n, answer)| Op::Done(n, [Answer::Soon, Answer::Other, Answer::None][answer])),
        1 => (0..8u32, 0..4u32).prop_map(|(source, dest)| Op::Forget(source, dest)),
        1 => (0..10u64).prop_map(Op::Wait),
    ]
}

proptest! {
    #[test]
    fn counts_are_right_and_nothing_is_lost(
        slots in 1..20usize, many in any::<bool>(), ops in prop::collection::vec(op(), 0..200)
    ) {
        let class = |pair: Pair| Class(u8::from(pair.source.0 == 3));
        let mut queue = Queue::new(slots, many);
        let (mut now, mut flying, mut pushed) = (NOW, Vec::<(Pair, Lane)>::new(), BTreeSet::new());
        let mut again = BTreeSet::new();
        for op in ops {
            match op {
                Op::Push(source, dest, lane) => {
                    let pair = pair(source, dest);
                    let target = if queue.is_in_flight(pair) { &mut again } else { &mut pushed };
                    target.insert(pair);
                    queue.push(pair, Lane::SHARES[lane].0);
                }
                Op::Later(source, dest, at) => {
                    queue.push_later(pair(source, dest), NOW + Duration::from_secs(at));
                }
                Op::Pop(limit) => {
                    if let Some((pair, lane)) = queue.pop(now, limit, class) {
                        prop_assert!(flying.iter().all(|(other, _)| *other != pair), "in flight twice");
                        flying.push((pair, lane));
                        prop_assert!(flying.len() <= slots.min(limit));
                        pushed.remove(&pair);
                        let there = flying.iter().filter(|(other, _)| other.dest == pair.dest).count();
                        prop_assert!(!many || there <= (slots * 3 / 4).max(1));
                    }
                }
                Op::Done(n, answer) if !flying.is_empty() => {
                    let (pair, _) = flying.remove(n % flying.len());
                    queue.answered(now, pair.dest, class(pair), answer);
                    if again.remove(&pair) {
                        pushed.insert(pair);
                    }
                    queue.done(pair);
                }
                Op::Done(n, _) => queue.done(pair(9, u32::try_from(n % 7).unwrap())),
                Op::Forget(source, dest) => {
                    if queue.is_aside(pair(source, dest)) {
                        pushed.remove(&pair(source, dest));
                    }
                    queue.forget(pair(source, dest));
                }
                Op::Wait(seconds) => now += Duration::from_secs(seconds),
            }
            prop_assert_eq!(queue.in_flight(), flying.len());
            for dest in queue.parked.keys() {
                let comes = queue.places.iter().any(|(pair, place)| pair.dest == *dest && place.phase == Phase::Waiting);
                prop_assert!(comes || flying.iter().any(|(pair, _)| pair.dest == *dest), "nobody unparks {:?}", dest);
            }
            let waiting: usize = queue.depths().iter().map(|(_, count)| count).sum();
            prop_assert!(waiting <= 5 * queue.places.len() + 40, "{} wait: {:?}", queue.places.len(), queue.depths());
            for source in (0..8).map(SourceId) {
                let is_tried = |pair: &Pair| matches!(queue.places.get(pair), Some(Place { phase: Phase::InFlight(_, Some(_)), .. }));
                let flying = flying.iter().map(|(pair, _)| pair).filter(|pair| !is_tried(pair));
                let is_open = pushed.iter().chain(flying).any(|pair| pair.source == source);
                let is_aside = (0..4).any(|dest| queue.is_aside(Pair { source, dest: DestId(dest) }));
                prop_assert!(!is_open || is_aside || queue.is_open(source));
            }
        }
        // Whatever was pushed comes out, once everything else is done.
        for (pair, _) in flying {
            if again.remove(&pair) {
                pushed.insert(pair);
            }
            queue.done(pair);
        }
        while let Some((pair, _)) = queue.pop(NOW + Duration::from_secs(1000), usize::MAX, class) {
            pushed.remove(&pair);
            queue.done(pair);
        }
        prop_assert!(pushed.is_empty(), "lost {:?}", pushed);
        prop_assert!(queue.places.is_empty() && queue.open.is_empty() && queue.parked.is_empty());
        prop_assert!(queue.held.is_empty() && queue.per_source.is_empty());
        prop_assert!(queue.per_destination.is_empty() && queue.delayed.is_empty() && !queue.has_waiting());
        prop_assert_eq!((queue.in_flight, queue.retries_in_flight), (0, 0));
        prop_assert_eq!((queue.silences.aside(), queue.silences.tried()), (0, 0));
    }
}
