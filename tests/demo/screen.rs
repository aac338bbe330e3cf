//! What people see.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

/// Standard output, with colours only on a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    colours: bool,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const CYAN: &str = "36";

impl Screen {
    /// Colours as <https://no-color.org> has it.
    pub(crate) fn new() -> Self {
        let set = |key: &str| std::env::var_os(key).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        Self { colours: io::stdout().is_terminal() && set("NO_COLOR").is_none() && !dumb }
    }

    fn paint(self, code: &str, text: impl Display) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// What is to be shown now.
    pub(crate) fn heading(self, text: impl Display) -> io::Result<()> {
        line(format_args!("\n{}", self.paint(BOLD, text)))
    }

    /// A command that is run on a cluster.
    pub(crate) fn command(self, cluster: &str, command: impl Display) -> io::Result<()> {
        let prompt = self.paint(DIM, format_args!("{cluster:>10} $"));
        line(format_args!("{prompt} {}", self.paint(CYAN, command)))
    }

    /// Something that was checked, and how long it took.
    pub(crate) fn verified(self, took: Duration, what: impl Display) -> io::Result<()> {
        let time = if took < Duration::from_secs(10) {
            format!("{:>7} ms", took.as_millis())
        } else {
            format!("{:>8.1} s", took.as_secs_f64())
        };
        line(format_args!("{time} {} {what}", self.paint(GREEN, "ok")))
    }

    /// An explanation.
    pub(crate) fn note(self, text: impl Display) -> io::Result<()> {
        line(format_args!("             {}", self.paint(DIM, text)))
    }
}

/// What a command printed.
pub(crate) fn output(text: &str) -> io::Result<()> {
    text.lines().try_for_each(|text| line(format_args!("             {text}")))
}

/// Anything else.
pub(crate) fn plain(text: impl Display) -> io::Result<()> {
    line(format_args!("{text}"))
}

/// Not `println!`: a reader that has gone (`| head`) ends the demo and is no panic.
fn line(text: std::fmt::Arguments<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
