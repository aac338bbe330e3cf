//! What happens to two processes of which one leads, in some of the seeds.

use std::time::Duration;

use super::faults::{Boundary, Class, Fate};
use super::schedule::Act;
use crate::rng::Rng;

/// One seed of so many has a standby: a run with one takes longer.
const ONE_IN: u64 = 12;

/// One of the two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Leader,
    Standby,
}

impl Whom {
    pub(super) fn is(self, leads: bool) -> bool {
        (self == Self::Leader) == leads
    }
}

/// Whether there is a standby in this seed; then what happens to the two is put between the other acts.
pub(super) fn add(seed: u64, acts: &mut Vec<(Duration, Act)>) -> bool {
    let mut rng = Rng::new(seed.rotate_left(32) ^ 0x1ea5e);
    if rng.below(ONE_IN) != 0 {
        return false;
    }
    for _ in 0..2 + rng.below(10) {
        let act = trouble(&mut rng);
        let at = usize::try_from(rng.below(acts.len() as u64 + 1)).unwrap_or_default();
        // Some of it has the time to be felt.
        let pause = if rng.below(3) == 0 { Duration::from_millis(rng.below(25_000)) } else { Duration::ZERO };
        acts.insert(at, (pause, act));
    }
    true
}

fn trouble(rng: &mut Rng) -> Act {
    let whom = if rng.below(4) == 0 { Whom::Standby } else { Whom::Leader };
    // Shorter than a Lease, and longer.
    let time = Duration::from_millis(500 + rng.below(40_000));
    let boundary = Boundary::ALL[usize::try_from(rng.below(3)).unwrap_or_default()];
    match rng.below(12) {
        0..4 => Act::Pause(whom, time),
        4 => Act::Kill(whom),
        5 => Act::Crash(if rng.below(2) == 0 { Class::Leases } else { Class::Writes }, boundary, 0),
        6 => Act::Restart,
        7 => Act::Jump(time),
        8 => Act::Ambush(Class::Writes, Fate::Late(time), 3),
        _ => {
            let fate = match rng.below(5) {
                0 => Fate::Swallowed,
                1 => Fate::Lost,
                2 => Fate::ReplyLost,
                3 => Fate::Late(time),
                _ => Fate::Refused(503),
            };
            let count = u32::try_from(1 + rng.below(8)).unwrap_or(1);
            Act::Ambush(Class::Leases, fate, count)
        }
    }
}
