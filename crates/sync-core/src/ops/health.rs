//! What `/readyz` waits for: the lists that the process begins with.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

type Check = Box<dyn Fn() -> bool + Send + Sync>;

/// What has to be there before the process is of use; a standby's lists come too. Clones share it.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<Vec<(&'static str, Check)>>>);

impl Health {
    /// From now on this is waited for.
    pub fn needs(&self, what: &'static str, is_there: impl Fn() -> bool + Send + Sync + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((what, Box::new(is_there)));
    }

    /// What is not there yet.
    pub fn missing(&self) -> Vec<&'static str> {
        let needs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if needs.is_empty() {
            return vec!["everything"];
        }
        needs.iter().filter(|(_, is_there)| !is_there()).map(|(what, _)| *what).collect()
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Health").field(&self.missing()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn it_is_ready_when_nothing_is_missing_and_not_before_anything_is_known() {
        let health = Health::default();
        assert_eq!(health.missing(), ["everything"]);
        let there = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&there);
        health.needs("sources", move || seen.load(Ordering::Relaxed));
        health.needs("copies", || true);
        assert_eq!(health.missing(), ["sources"]);
        there.store(true, Ordering::Relaxed);
        assert!(health.missing().is_empty());
    }
}
