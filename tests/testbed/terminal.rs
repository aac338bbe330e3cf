//! A terminal, for programs that do something else where a person sits.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::eventually::eventually;
use crate::process::Process;

/// Pause between two looks at a terminal that no program has open.
const PAUSE: Duration = Duration::from_millis(10);

/// A pseudo terminal, at which the test sits.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    name: String,
    /// All that was ever shown; what is typed is shown too.
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Opens one.
    ///
    /// # Errors
    /// If the system has none.
    pub fn open() -> Result<Self> {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&controller)?;
        unlockpt(&controller)?;
        let name = ptsname(&controller, Vec::new())?.into_string().context("its name is not UTF-8")?;
        let keyboard = File::from(controller);
        let mut shown = keyboard.try_clone()?;
        let screen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::downgrade(&screen);
        std::thread::Builder::new().name("terminal".to_owned()).spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                let read = shown.read(&mut bytes);
                let Some(screen) = kept.upgrade() else { return };
                match read {
                    Ok(count) if count > 0 => {
                        let new = bytes.get(..count).unwrap_or_default();
                        screen.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(new);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // Nobody has it open, yet or any more.
                    _ => std::thread::sleep(PAUSE),
                }
            }
        })?;
        Ok(Self { keyboard, name, screen })
    }

    /// [`Process::spawn`] with these of the standard streams (0, 1, 2) at this terminal.
    ///
    /// # Errors
    /// As there.
    pub fn spawn(
        &self,
        streams: &[u8],
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        env: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> Result<Process> {
        let redirects: String = streams.iter().map(|stream| format!(r#" {stream}<>"$TERMINAL""#)).collect();
        let script = format!(r#"exec "$0" "$@"{redirects}"#);
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        let line = ["-c".into(), script.into(), program.into()].into_iter().chain(args);
        let env = env.into_iter().map(|(key, value)| (key.as_ref().to_owned(), value.as_ref().to_owned()));
        Process::spawn(Path::new("sh"), line, env.chain([("TERMINAL".into(), self.name.clone().into())]))
    }

    /// All that it has shown so far.
    #[must_use]
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits until it has shown these words.
    pub async fn shows(&self, words: &str, deadline: Duration) {
        eventually(deadline, format!("the terminal shows {words:?}"), async || {
            let screen = self.screen();
            ensure!(screen.contains(words), "{screen}");
            Ok(())
        })
        .await;
    }

    /// Types a line and Enter.
    ///
    /// # Errors
    /// If it is gone.
    pub fn answer(&self, line: &str) -> Result<()> {
        (&self.keyboard).write_all(format!("{line}\n").as_bytes()).context("cannot type")
    }
}
