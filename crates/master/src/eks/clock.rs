//! The time of day, as AWS has it.
//!
//! A token is dated by whoever signs it and judged by STS. A clock that is off makes every token a failed login that
//! nobody understands, so it is compared with the `Date` of each answer of AWS, and corrected.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_sts::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_sts::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sts::error::BoxError;
use aws_sdk_sts::primitives::{DateTime, DateTimeFormat};
use tracing::warn;

/// A `Date` has whole seconds and is as old as the answer was under way; a difference below this is no fault of the
/// clock, and STS does not mind it.
const TOLERATED: i64 = 30;

/// Reads the time of day, corrected by what AWS said. Clones share the correction.
#[derive(Clone)]
pub struct WallClock(Arc<Inner>);

struct Inner {
    read: Box<dyn Fn() -> SystemTime + Send + Sync>,
    /// What AWS is ahead of us, in seconds.
    ahead: AtomicI64,
}

impl WallClock {
    /// The machine's.
    pub fn system() -> Self {
        Self::of(SystemTime::now)
    }

    /// Any other.
    pub fn of(read: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { read: Box::new(read), ahead: AtomicI64::new(0) }))
    }

    /// The time of day.
    pub fn now(&self) -> SystemTime {
        let (here, ahead) = ((self.0.read)(), self.ahead());
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { here.checked_sub(by) } else { here.checked_add(by) }.unwrap_or(here)
    }

    /// By how many seconds AWS is ahead of the machine's clock; 0 if it is only a little.
    pub fn ahead(&self) -> i64 {
        self.0.ahead.load(Ordering::Relaxed)
    }

    /// AWS says that it is `theirs`.
    pub fn learn(&self, theirs: SystemTime) {
        let here = (self.0.read)();
        let seconds = |by: Duration| i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
        let ahead = match theirs.duration_since(here) {
            Ok(ahead) => seconds(ahead),
            Err(behind) => -seconds(behind.duration()),
        };
        let ahead = if ahead.abs() <= TOLERATED { 0 } else { ahead };
        let before = self.0.ahead.swap(ahead, Ordering::Relaxed);
        if before.abs_diff(ahead) > TOLERATED.unsigned_abs() && ahead != 0 {
            warn!(
                ahead,
                "the clock of this machine is off by so many seconds, says AWS; correct it. Tokens are dated as AWS has it"
            );
        }
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WallClock").field("ahead", &self.ahead()).finish()
    }
}

/// As a part of a client of AWS: learns from each answer.
impl Intercept for WallClock {
    fn name(&self) -> &'static str {
        "WallClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        if let Some(date) = date.and_then(|date| SystemTime::try_from(date).ok()) {
            self.learn(date);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_corrected() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let clock = WallClock::of(move || start);
        for (theirs, ahead) in [(20, 0), (-20, 0), (3600, 3600), (-600, -600), (3, 0)] {
            let theirs = if theirs < 0 {
                start - Duration::from_secs(-theirs as u64)
            } else {
                start + Duration::from_secs(theirs as u64)
            };
            clock.clone().learn(theirs);
            assert_eq!(clock.ahead(), ahead);
            assert_eq!(clock.now(), if ahead == 0 { start } else { theirs });
        }
    }
}
