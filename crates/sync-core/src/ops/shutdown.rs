//! The end of the process, asked for by a signal.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Whether the process is to end. Clones share one state, which is set once and stays.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    /// One that SIGTERM (the kubelet) and SIGINT (Ctrl-C) begin. A second signal ends the process at once, with
    /// status 128 + signal as a shell shows it.
    ///
    /// # Errors
    /// If the system refuses to tell us of signals.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::default();
        // Here and not in the task: a signal that comes before its first poll counts too.
        let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::spawn(listen(signals, shutdown.clone()));
        Ok(shutdown)
    }

    /// Begins it, as a signal would.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it has begun.
    pub async fn begun(&self) {
        // It cannot fail: we hold the sender.
        let mut state = self.0.subscribe();
        let _gone = state.wait_for(|begun| *begun).await;
    }
}

async fn listen((mut terminate, mut interrupt): (Signal, Signal), shutdown: Shutdown) {
    let signal = next(&mut terminate, &mut interrupt).await;
    tracing::info!(signal, "shutting down; a second signal ends the process at once");
    shutdown.begin();
    let signal = next(&mut terminate, &mut interrupt).await;
    tracing::warn!(signal, "second signal");
    end(128 + signal)
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> i32 {
    tokio::select! {
        biased;
        _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
        _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
    }
}

// Whoever signals twice does not want to wait for what may hang, the return from `main` included.
#[allow(clippy::exit)]
fn end(status: i32) -> ! {
    std::process::exit(status)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, ExitStatus, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn every_clone_sees_it_whenever_it_looks() {
        let shutdown = Shutdown::default();
        let early = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.begun().await }
        });
        tokio::task::yield_now().await;
        assert!(!shutdown.has_begun() && !early.is_finished());
        shutdown.clone().begin();
        early.await.unwrap();
        shutdown.begun().await;
        shutdown.begin();
        assert!(shutdown.has_begun());
    }

    /// What a victim, this test binary run again, writes when it waits for its first and for its second signal.
    const MARKS: [&str; 2] = ["first>", "second>"];

    /// Does nothing but as a child of the test below.
    #[tokio::test]
    async fn victim() {
        if std::env::var_os("SHUTDOWN_VICTIM").is_none() {
            return;
        }
        let shutdown = Shutdown::on_signals().unwrap();
        print!("{}", MARKS[0]);
        io::Write::flush(&mut io::stdout()).unwrap();
        shutdown.begun().await;
        print!("{}", MARKS[1]);
        io::Write::flush(&mut io::stdout()).unwrap();
        // As work does that never ends.
        std::future::pending::<()>().await;
    }

    fn signal_at(child: &mut Child, mark: &str, name: &str) {
        let mut seen = Vec::new();
        let out = child.stdout.as_mut().unwrap();
        while !seen.ends_with(mark.as_bytes()) {
            let mut byte = [0];
            io::Read::read_exact(out, &mut byte).unwrap();
            seen.push(byte[0]);
        }
        let kill = format!("kill -s {name} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn end_of(child: &mut Child) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if start.elapsed() > Duration::from_secs(20) {
                child.kill().unwrap();
                panic!("still there");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn the_first_signal_begins_it_and_the_second_ends_the_process() {
        for (signals, status) in [(["TERM", "INT"], 130), (["INT", "TERM"], 143)] {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "ops::shutdown::tests::victim", "--nocapture"])
                .env("SHUTDOWN_VICTIM", "yes")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            for (mark, name) in MARKS.into_iter().zip(signals) {
                signal_at(&mut child, mark, name);
            }
            assert_eq!(end_of(&mut child).code(), Some(status));
        }
    }
}
