//! Whether a server lives, when a request to it has gone unanswered.
//!
//! A webhook may hang in some namespaces. What is written there goes unanswered although the server is well, and that is
//! the affair of those namespaces: a server that is down is left alone for a while, with all that waits for it. Nothing
//! that was lost can tell the two apart, so the server is asked.

use std::fmt;
use std::sync::Mutex;

use tokio::time::Instant;

use super::connection::Connection;
use super::read;
use crate::fault::Fault;
use crate::mutants::{self, Mutant};

/// Of one server.
pub struct Pulse {
    client: kube::Client,
    namespace: String,
    /// When a request was last answered as only the server itself can.
    heard: Mutex<Option<Instant>>,
    /// When the last question ended, whatever came of it. One is enough for all that go unanswered together.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulse").finish_non_exhaustive()
    }
}

impl Pulse {
    /// Of the server that is written to. The namespace is one that we may read.
    pub fn of(connection: &Connection, namespace: &str) -> Self {
        let (client, namespace) = (connection.write.clone(), namespace.to_owned());
        Self { client, namespace, heard: Mutex::default(), asked: tokio::sync::Mutex::default() }
    }

    /// What came of a request that was sent at that moment: [`Fault::NoAnswer`] if the server did not answer, and
    /// [`Fault::Hangs`] if it answers others.
    pub async fn judge<T>(&self, sent: Instant, result: Result<T, Fault>) -> Result<T, Fault> {
        match result {
            Err(Fault::NoAnswer(why)) if self.beats(sent).await => Err(Fault::Hangs(why)),
            Ok(done) => {
                self.beat();
                Ok(done)
            }
            failed => failed,
        }
    }

    async fn beats(&self, sent: Instant) -> bool {
        if mutants::has(Mutant::SilenceSpreads) {
            return false;
        }
        let unanswered = Instant::now();
        if self.heard_after(sent) {
            return true;
        }
        let mut asked = self.asked.lock().await;
        if asked.is_none_or(|asked| asked < unanswered) {
            // Whether it is there and whether we may see it does not matter.
            let answer = read::get_namespace(&self.client, &self.namespace).await;
            if matches!(answer, Ok(_) | Err(Fault::Forbidden(_))) {
                self.beat();
            }
            *asked = Some(Instant::now());
        }
        self.heard_after(sent)
    }

    fn beat(&self) {
        if let Ok(mut heard) = self.heard.lock() {
            *heard = Some(Instant::now());
        }
    }

    fn heard_after(&self, sent: Instant) -> bool {
        self.heard.lock().is_ok_and(|heard| heard.is_some_and(|heard| heard > sent))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::future::join_all;
    use serde_json::json;
    use tokio::time::sleep;

    use super::*;
    use crate::cluster::tests_support::{client, json_response};

    /// The pulse of a server that answers so, after a second, and how often it was asked.
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
        pulse.judge::<()>(sent, Err(Fault::NoAnswer("late".into()))).await.map_or_else(|fault| fault.reason(), |()| "")
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_unanswered_is_the_servers_affair_only_if_it_answers_nothing() {
        for (code, reason) in
            [(200, "WriteHangs"), (403, "WriteHangs"), (0, "NoAnswer"), (503, "NoAnswer"), (401, "NoAnswer")]
        {
            let (pulse, asked) = pulse(code);
            let sent = Instant::now();
            sleep(Duration::from_secs(4)).await;
            // All that were under way together ask one question.
            let all = join_all((0..32).map(|_| unanswered(&pulse, sent))).await;
            assert!(all.iter().all(|told| *told == reason), "{code}: {all:?}");
            assert_eq!(asked.load(Ordering::Relaxed), 1, "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_has_answered_since_is_not_asked_and_one_that_was_heard_before_is() {
        let (pulse, asked) = pulse(0);
        let sent = Instant::now();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(pulse.judge(sent, Ok(7)).await, Ok(7));
        assert_eq!(unanswered(&pulse, sent).await, "WriteHangs");
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(unanswered(&pulse, Instant::now()).await, "NoAnswer");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        // Other failures are what they are.
        assert_eq!(pulse.judge::<()>(sent, Err(Fault::Conflict)).await, Err(Fault::Conflict));
    }
}
