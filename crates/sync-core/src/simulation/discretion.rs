//! What people are told, in all ways there are: no byte of a payload may be in it (promise 6). Events the judge looks at.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt;

use super::process::Process;
use super::users::PAYLOAD;

/// The beginning of every payload as it was before it was encoded.
const PLAIN: &str = "payload-";
/// In one run of so many all log lines are looked at: to write them takes time.
const ONE_IN: u64 = 16;

/// Whether this may be shown; `what` it is.
pub(super) fn check(what: &str, text: &str) -> Result<(), String> {
    match text.lines().find(|line| line.contains(PAYLOAD) || line.contains(PLAIN)) {
        Some(line) => Err(format!("promise 6: {what} shows a payload: {line}")),
        None => Ok(()),
    }
}

/// The metrics of a process, and how it says that its clusters are doing: that is in `/status`.
pub(super) async fn is_discreet(process: &Process) -> Result<(), String> {
    check("a metric", &process.metrics.render().await)?;
    process.states.iter().try_for_each(|(_, state)| check("the status", &format!("{:?}", *state.borrow())))
}

/// Reads the log of one run.
#[derive(Clone, Default)]
pub(super) struct Reader(Arc<Mutex<Option<String>>>);

impl Reader {
    /// One that reads everything, if this seed is one of those; then all that is logged while the dispatch is the default
    /// goes to it.
    pub(super) fn of(seed: u64) -> Option<(Self, Dispatch)> {
        seed.is_multiple_of(ONE_IN).then(|| {
            let reader = Self::default();
            let writer = reader.clone();
            let subscriber =
                fmt().with_max_level(LevelFilter::TRACE).with_ansi(false).with_writer(move || writer.clone());
            (reader, Dispatch::new(subscriber.finish()))
        })
    }

    /// What was found.
    pub(super) fn result(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

impl io::Write for Reader {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(what) = check("the log", &String::from_utf8_lossy(line)) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_payload_in_the_log_is_found() {
    let (reader, log) = Reader::of(0).unwrap();
    tracing::dispatcher::with_default(&log, || tracing::debug!(body = "{\"k\":\"cGF5bG9hZC0x\"}", "sent"));
    assert!(reader.result().is_err_and(|what| what.starts_with("promise 6")));
    tracing::dispatcher::with_default(&log, || tracing::debug!("sent"));
    assert_eq!(reader.result(), Ok(()));
}
