//! What goes wrong between the controllers and the clusters, and with the controllers.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use testbed::{FaultProxy, Mode};
use tokio::time::{Instant, sleep};

use super::controller::Controller;
use super::dice::Dice;

/// In one of that length nothing fails for half of it.
const SHORT_RUN: Duration = Duration::from_secs(60);

/// Everything that can fail.
pub(super) struct Faults<'c> {
    pub(super) links: Vec<&'c FaultProxy>,
    pub(super) controllers: Vec<Controller<'c>>,
    /// How often each has happened.
    pub(super) count: BTreeMap<&'static str, usize>,
}

impl<'c> Faults<'c> {
    pub(super) fn of(links: Vec<&'c FaultProxy>, controllers: Vec<Controller<'c>>) -> Self {
        Self { links, controllers, count: BTreeMap::new() }
    }

    /// One fault after the other until then; nothing is wrong any more when this returns.
    pub(super) async fn happen(&mut self, seed: u64, until: Instant) -> Result<()> {
        for step in 0.. {
            let mut dice = Dice::of(seed, 2, step);
            sleep(dice.millis(100, 2500)).await;
            if Instant::now() >= until {
                break;
            }
            let what = self.one(&mut dice, until).await?;
            *self.count.entry(what).or_default() += 1;
        }
        Ok(())
    }

    async fn one(&mut self, dice: &mut Dice, until: Instant) -> Result<&'static str> {
        let link = dice.one_of(&self.links);
        let controller = dice.index(self.controllers.len());
        let controller = &mut self.controllers[controller];
        let (short, long) = (dice.millis(50, 5000), dice.millis(300, 14_000));
        Ok(match dice.below(20) {
            0..4 => {
                link.cut();
                "cut"
            }
            4..6 => {
                // A connection after the other.
                for _ in 0..5 {
                    link.cut();
                    sleep(short / 10).await;
                }
                "five cuts"
            }
            6..8 => during(link, Mode::Refuse, short).await,
            8..11 => during(link, Mode::BlackHole, long).await,
            11..14 => during(link, Mode::Delay(long / 10), long).await,
            14 => {
                controller.process()?.pause();
                sleep(short).await;
                controller.process()?.resume();
                "controller paused"
            }
            15 if until > Instant::now() + SHORT_RUN => {
                // Longer than any deadline of a request.
                link.set(Mode::BlackHole).await;
                sleep(Duration::from_secs(33)).await;
                link.cut();
                link.set(Mode::Pass).await;
                "black hole for 33 s"
            }
            _ => {
                // With something else wrong at that moment, more often than not. What a dead one has sent may arrive
                // after the next one has begun.
                let mode = dice.one_of(&[Mode::Pass, Mode::BlackHole, Mode::Delay(short / 4), Mode::Refuse]);
                link.set(mode).await;
                sleep(short / 10).await;
                controller.end(dice.chance(75)).await?;
                sleep(dice.one_of(&[Duration::ZERO, short / 5, short])).await;
                controller.start().await?;
                sleep(short / 10).await;
                link.set(Mode::Pass).await;
                "end and start"
            }
        })
    }
}

async fn during(link: &FaultProxy, mode: Mode, time: Duration) -> &'static str {
    link.set(mode).await;
    sleep(time).await;
    link.set(Mode::Pass).await;
    match mode {
        Mode::Pass => "nothing",
        Mode::Refuse => "refusal",
        Mode::BlackHole => "black hole",
        Mode::Delay(_) => "delay",
    }
}
