//! What a process has been told, and when: it may act on that and on nothing else.

use std::time::Duration;

use tokio::time::Instant;

/// For so long a source that changes all the time may be treated as it was before (promise 9).
const BUSY: Duration = Duration::from_secs(10);

/// Something that a process knows. What it was told at this very moment it may not have looked at yet.
#[derive(Clone, Debug)]
pub(super) struct Told<T> {
    last: T,
    /// What it was told before, and when something else took its place.
    before: Vec<(Instant, T)>,
}

impl<T> Told<T> {
    pub(super) fn new(it: T) -> Self {
        Self { last: it, before: Vec::new() }
    }

    pub(super) fn tell(&mut self, it: T) {
        let now = Instant::now();
        self.before.retain(|(until, _)| *until + BUSY >= now);
        self.before.push((now, std::mem::replace(&mut self.last, it)));
    }

    /// The last that it was told.
    pub(super) fn last(&self) -> &T {
        &self.last
    }

    /// All that it may believe at present, the last first.
    pub(super) fn each(&self) -> impl Iterator<Item = &T> {
        self.within(Duration::ZERO)
    }

    /// All that it has believed within this time, the last first.
    pub(super) fn within(&self, time: Duration) -> impl Iterator<Item = &T> {
        let since = Instant::now() - time.min(BUSY);
        let before = self.before.iter().rev().filter(move |(until, _)| *until >= since);
        std::iter::once(&self.last).chain(before.map(|(_, it)| it))
    }
}
