//! Whether a server lives, when a write to it has gone unanswered.
//!
//! A webhook may hang in some namespaces. What is written there goes unanswered although the server is well, and that is
//! the affair of those namespaces: a server that is down is left alone for a while, with all that waits for it. Nothing
//! that was lost can tell the two apart, so the server is asked.

use std::fmt;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::connection::Connection;
use super::read;
use crate::fault::Fault;
use crate::mutants::{self, Mutant};

/// For the answer. A read of one small object takes milliseconds, and those that wait for it hold their slots.
const DEADLINE: Duration = Duration::from_secs(2);
/// A process that has noticed the end of a deadline so much later stood still, and cannot tell whose fault it was.
const PROMPT: Duration = Duration::from_secs(1);

/// Of one server.
pub struct Pulse {
    client: kube::Client,
    namespace: String,
    /// When the last question ended, and whether it was answered. One is enough for all that go unanswered together.
    asked: Mutex<Option<(Instant, bool)>>,
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulse").finish_non_exhaustive()
    }
}

impl Pulse {
    /// Of the server that is written to. The namespace is one that we may read.
    pub fn of(connection: &Connection, namespace: &str) -> Self {
        Self { client: connection.write.clone(), namespace: namespace.to_owned(), asked: Mutex::default() }
    }

    /// What comes of a write that is given so long: [`Fault::NoAnswer`] if the server does not answer, and
    /// [`Fault::Hangs`] if it is well. Of one whose connection breaks nothing more can be said.
    ///
    /// # Errors
    /// As the write, and the second of these.
    pub async fn mind<T>(&self, given: Duration, write: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let sent = Instant::now();
        self.judge(sent, given, write.await).await
    }

    async fn judge<T>(&self, sent: Instant, given: Duration, result: Result<T, Fault>) -> Result<T, Fault> {
        let (end, now) = (sent + given, Instant::now());
        match result {
            Err(Fault::NoAnswer(why)) if now >= end && now <= end + PROMPT && self.beats(end).await => {
                Err(Fault::Hangs(why))
            }
            result => result,
        }
    }

    /// Whether the server answers, then or later.
    async fn beats(&self, then: Instant) -> bool {
        if mutants::has(Mutant::SilenceSpreads) {
            return false;
        }
        let mut asked = self.asked.lock().await;
        match *asked {
            Some((ended, beats)) if ended >= then => beats,
            _ => {
                let answer = timeout(DEADLINE, read::get_namespace(&self.client, &self.namespace)).await;
                // Whether it is there and whether we may see it does not matter.
                let beats = matches!(answer, Ok(Ok(_) | Err(Fault::Forbidden(_))));
                *asked = Some((Instant::now(), beats));
                beats
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use serde_json::json;
    use tokio::time::sleep;

    use super::*;
    use crate::cluster::tests_support::{client, json_response};

    const GIVEN: Duration = Duration::from_secs(4);

    /// The pulse of a server that answers so, after a second or never, and how often it was asked.
    fn pulse(code: u16) -> (Pulse, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let client = client(move |request| {
            assert_eq!(request.uri(), "/api/v1/namespaces/operator");
            count.fetch_add(1, Ordering::Relaxed);
            async move {
                sleep(Duration::from_secs(if code == 0 { 3600 } else { 1 })).await;
                let metadata = json!({ "name": "operator", "uid": "11111111-0000-4000-8000-000000000001" });
                json_response(code, &json!({ "metadata": metadata, "kind": "Status", "code": code }))
            }
        });
        let connection = Connection { watch: client.clone(), write: client };
        (Pulse::of(&connection, "operator"), asked)
    }

    async fn unanswered(pulse: &Pulse, sent: Instant) -> &'static str {
        let lost = Err::<(), _>(Fault::NoAnswer("late".into()));
        pulse.judge(sent, GIVEN, lost).await.map_or_else(|fault| fault.reason(), |()| "")
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_unanswered_is_the_servers_affair_only_if_it_answers_nothing() {
        let cases = [(200, "WriteHangs"), (403, "WriteHangs"), (0, "NoAnswer"), (503, "NoAnswer"), (401, "NoAnswer")];
        for (code, reason) in cases {
            let (pulse, asked) = pulse(code);
            let sent = Instant::now();
            sleep(GIVEN).await;
            // All that were under way together ask one question.
            let all = join_all((0..32).map(|_| unanswered(&pulse, sent))).await;
            assert!(all.iter().all(|told| *told == reason), "{code}: {all:?}");
            assert_eq!(asked.load(Ordering::Relaxed), 1, "{code}");
            // What was answered before says nothing of what is lost later.
            let sent = Instant::now();
            sleep(GIVEN).await;
            assert_eq!(unanswered(&pulse, sent).await, reason);
            assert_eq!(asked.load(Ordering::Relaxed), 2, "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_another_reason_is_not_asked_about() {
        let (pulse, asked) = pulse(200);
        let sent = Instant::now();
        assert_eq!(unanswered(&pulse, sent).await, "NoAnswer", "the connection broke");
        sleep(GIVEN + Duration::from_secs(5)).await;
        assert_eq!(unanswered(&pulse, sent).await, "NoAnswer", "the process stood still");
        assert_eq!(pulse.judge::<()>(sent, GIVEN, Err(Fault::Conflict)).await, Err(Fault::Conflict));
        assert_eq!(pulse.judge(sent, GIVEN, Ok(7)).await, Ok(7));
        assert_eq!(asked.load(Ordering::Relaxed), 0);
    }
}
