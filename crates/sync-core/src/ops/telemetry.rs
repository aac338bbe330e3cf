//! Logs: what is written, how, and above all what never is.

use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry;

/// Our own crates: `--log` is for them.
const OURS: [&str; 3] = ["sync_core", "master", "agent"];
/// Whatever `--log` says, these write nothing: a reply that kube cannot read is logged with its whole body, and that
/// may be a Secret.
const SILENT: [&str; 1] = ["kube_client"];
/// Nor do these, by the beginning of their names: the AWS SDK warns of failures with the whole answer, and that of a
/// wrong signature quotes the session token. What matters of them, we say.
const SILENT_FAMILY: &str = "aws_";

/// `--log`: how much our own crates write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// And what may.
    Warn,
    /// And what was done.
    Info,
    /// And why.
    Debug,
    /// And each step.
    Trace,
}

impl LogLevel {
    const fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

/// `--log-format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// JSON in a pod, text elsewhere.
    Auto,
    /// A line of text.
    Text,
    /// An object per line.
    Json,
}

impl LogFormat {
    fn is_json(self) -> bool {
        match self {
            // Every pod has this variable.
            Self::Auto => std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
            Self::Text => false,
            Self::Json => true,
        }
    }
}

/// Writes logs to the standard error from here on, until the process ends. Of several calls the first counts.
pub fn init(level: LogLevel, format: LogFormat) {
    let (json, colours) = (format.is_json(), io::stderr().is_terminal());
    // The only error is that there is a subscriber already.
    let _already = tracing::subscriber::set_global_default(subscriber(level, json, colours, io::stderr));
}

/// The most that events of this target may say.
fn ceiling(level: LevelFilter, target: &str) -> LevelFilter {
    // A target is a module's path unless the event says otherwise.
    let name = target.split("::").next().unwrap_or_default();
    if SILENT.contains(&name) || name.starts_with(SILENT_FAMILY) {
        LevelFilter::OFF
    } else if OURS.contains(&name) {
        level
    } else {
        // HTTP, TLS and the like quote headers and frames at the finer levels.
        level.min(LevelFilter::WARN)
    }
}

fn subscriber<W>(level: LogLevel, json: bool, colours: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let level = level.filter();
    let filter = filter_fn(move |event| *event.level() <= ceiling(level, event.target())).with_max_level_hint(level);
    // Times are RFC 3339 in UTC, which is the default.
    let lines = fmt::layer().with_writer(writer).with_ansi(colours && !json);
    let lines = if json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    registry().with(lines.with_filter(filter))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().map_err(|_| io::ErrorKind::Other)?.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(level: LogLevel, json: bool, colours: bool, log: impl FnOnce()) -> String {
        let out = Written::default();
        let writer = out.clone();
        tracing::subscriber::with_default(subscriber(level, json, colours, move || writer.clone()), log);
        let bytes = out.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn all_kinds() {
        tracing::warn!(target: "kube_client::client", "{{\"data\":{{\"password\":\"aHVudGVyMg==\"}}}}");
        tracing::error!(target: "kube_client", "aHVudGVyMg==");
        tracing::warn!(target: "aws_config::meta::credentials::chain", "x-amz-security-token: aHVudGVyMg==");
        tracing::trace!(target: "h2::codec", "frame");
        tracing::debug!(target: "hyper_util::client", "dialling");
        tracing::info!(target: "hyper", "connected");
        tracing::warn!(target: "rustls::conn", "foreign warning");
        tracing::trace!(target: "sync_core::cluster", "ours, fine");
        tracing::info!(target: "master", "ours, coarse");
        tracing::info!(target: "mastermind", "not ours");
    }

    #[test]
    fn replies_and_frames_of_others_are_not_written_even_at_trace() {
        for json in [false, true] {
            let out = written(LogLevel::Trace, json, false, all_kinds);
            for never in ["kube_client", "aws_config", "aHVudGVyMg", "h2", "hyper", "not ours"] {
                assert!(!out.contains(never), "{never} in {out}");
            }
            for kept in ["foreign warning", "ours, fine", "ours, coarse"] {
                assert!(out.contains(kept), "no {kept} in {out}");
            }
        }
    }

    #[test]
    fn the_level_is_for_our_own_crates_and_caps_the_others_too() {
        let out = written(LogLevel::Info, false, false, all_kinds);
        assert!(out.contains("ours, coarse") && out.contains("foreign warning") && !out.contains("fine"), "{out}");
        assert_eq!(written(LogLevel::Error, false, false, all_kinds), "");
    }

    #[test]
    fn a_line_of_json_has_utc_time_level_message_and_fields_at_the_top() {
        let out = written(LogLevel::Info, true, true, || tracing::info!(target: "agent", replicas = 3, "written"));
        let line: serde_json::Value = serde_json::from_str(&out).unwrap();
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{time}");
        assert_eq!(
            (&line["level"], &line["message"], &line["replicas"]),
            (&"INFO".into(), &"written".into(), &3.into())
        );
    }

    #[test]
    fn only_a_terminal_gets_colours() {
        let log = || tracing::info!(target: "agent", "written");
        assert!(written(LogLevel::Info, false, true, log).contains('\u{1b}'));
        assert!(!written(LogLevel::Info, false, false, log).contains('\u{1b}'));
    }
}
