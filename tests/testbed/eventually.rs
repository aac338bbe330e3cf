//! Waiting for a state of the world, with a deadline.

use std::fmt::Display;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// Least and most pause between two looks, and the part of the time waited until then that it has: short against what a
/// scenario waits for, long against what a look costs.
const PAUSE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(500));
const PART: u32 = 10;

/// Calls `look` until it returns `Ok`, and returns that value.
///
/// After `deadline` it panics, at the caller's line, with `what` (a sentence that should have become true) and the
/// last error. A look that hangs is ended by the deadline too.
#[track_caller]
pub fn eventually<T, E: Display>(
    deadline: Duration,
    what: impl Display,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let start = Instant::now();
        let end = start + deadline;
        let mut last = None;
        loop {
            let late = match timeout_at(end, look()).await {
                Ok(Ok(value)) => return value,
                Ok(Err(error)) => {
                    last = Some(format!("{error:#}"));
                    // A look that never waits is never ended by the deadline.
                    Instant::now() >= end
                }
                Err(_) => true,
            };
            if late {
                let last = last.as_deref().unwrap_or("the first look did not even return");
                panic!("{caller}: not within {deadline:?}: {what}\nlast: {last}");
            }
            let pause = (start.elapsed() / PART).clamp(PAUSE.0, PAUSE.1);
            sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "not within 100ms: it is so\nlast: no")]
    async fn a_look_that_never_waits_has_a_deadline_too() {
        eventually(Duration::from_millis(100), "it is so", async || Err::<(), _>("no")).await;
    }
}
