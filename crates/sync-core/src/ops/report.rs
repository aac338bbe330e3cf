//! What a check has found, told to people line by line, and to programs as JSON.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

/// How it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// How good something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, or may be meant so; somebody should look at it.
    Warning,
    /// Something will not work.
    Failed,
}

impl State {
    /// Its mark, and the number of its colour (ECMA-48).
    const fn mark(self) -> (&'static str, u8) {
        match self {
            Self::Ok => ("√", 32),
            Self::Warning => ("‼", 33),
            Self::Failed => ("×", 31),
        }
    }
}

/// One line of a check. Nothing in it is a credential, and words of servers are cut and escaped by whoever found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it belongs to: `management cluster`, `remote cluster north`.
    pub group: String,
    /// What was looked at: `source namespace`.
    pub name: String,
    /// How good it is.
    pub state: State,
    /// What is there, or what is the matter.
    pub why: String,
    /// The command that mends it, or what else to do; empty if nothing is.
    #[serde(rename = "do")]
    pub todo: String,
}

/// The findings of one group, as they come.
#[derive(Debug)]
pub struct Notes {
    group: String,
    found: Vec<Finding>,
}

impl Notes {
    /// Nothing found yet.
    pub fn of(group: impl Into<String>) -> Self {
        Self { group: group.into(), found: Vec::new() }
    }

    /// As it should be.
    pub fn ok(&mut self, name: impl Into<String>, why: impl Into<String>) {
        self.note(State::Ok, name.into(), why.into(), String::new());
    }

    /// Somebody should look at it.
    pub fn warning(&mut self, name: impl Into<String>, why: impl Into<String>, todo: impl Into<String>) {
        self.note(State::Warning, name.into(), why.into(), todo.into());
    }

    /// Something will not work.
    pub fn failed(&mut self, name: impl Into<String>, why: impl Into<String>, todo: impl Into<String>) {
        self.note(State::Failed, name.into(), why.into(), todo.into());
    }

    fn note(&mut self, state: State, name: String, why: String, todo: String) {
        self.found.push(Finding { group: self.group.clone(), name, state, why, todo });
    }

    /// What was looked at last.
    pub fn last(&self) -> Option<&str> {
        self.found.last().map(|finding| finding.name.as_str())
    }
}

/// Tells findings, group by group.
#[derive(Debug)]
pub struct Report<W> {
    out: W,
    format: Format,
    colours: bool,
    /// Somebody watches, on stderr.
    watched: bool,
    found: Vec<Finding>,
}

impl Report<io::Stdout> {
    /// On standard output: with colours if it is a terminal and `NO_COLOR` does not say otherwise. What is waited for is
    /// said on standard error, if that is a terminal.
    pub fn on_stdout(format: Format) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let out = io::stdout();
        let colours = out.is_terminal() && !no_colour;
        Self { out, format, colours, watched: io::stderr().is_terminal(), found: Vec::new() }
    }
}

impl<W: Write> Report<W> {
    /// Anywhere.
    pub fn new(out: W, format: Format, colours: bool) -> Self {
        Self { out, format, colours, watched: false, found: Vec::new() }
    }

    /// What is waited for, until something is told.
    pub fn waiting(&self, what: &str) {
        if self.watched {
            // Whoever cannot be shown that it takes time sees that anyway.
            let _ = write!(io::stderr(), "\r\x1b[2K… {what}");
        }
    }

    /// Tells one group.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn tell(&mut self, notes: Notes) -> io::Result<()> {
        if self.watched {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
        if self.format == Format::Text {
            let Notes { group, found } = &notes;
            writeln!(self.out, "{group}\n{}", "-".repeat(group.chars().count()))?;
            for finding in found {
                self.line(finding)?;
            }
            writeln!(self.out)?;
            self.out.flush()?;
        }
        self.found.extend(notes.found);
        Ok(())
    }

    fn line(&mut self, finding: &Finding) -> io::Result<()> {
        let Finding { name, state, why, todo, .. } = finding;
        let (mark, colour) = state.mark();
        match self.colours {
            true => write!(self.out, "\x1b[{colour}m{mark}\x1b[0m {name}")?,
            false => write!(self.out, "{mark} {name}")?,
        }
        writeln!(self.out, "{}{why}", if why.is_empty() { "" } else { ": " })?;
        if !todo.is_empty() {
            writeln!(self.out, "    {todo}")?;
        }
        Ok(())
    }

    /// The last line, and the exit status: 0 if nothing has failed, 1 if something has, 2 if nothing could be asked.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn end(mut self, asked: bool) -> io::Result<ExitCode> {
        let of = |state| self.found.iter().filter(|finding| finding.state == state).count();
        let (failed, warnings) = (of(State::Failed), of(State::Warning));
        let worst = self.found.iter().map(|finding| finding.state).max().unwrap_or(State::Ok);
        match self.format {
            Format::Json => {
                let document = json!({ "state": worst, "findings": self.found });
                writeln!(self.out, "{document:#}")?;
            }
            Format::Text if worst == State::Ok => writeln!(self.out, "all is well")?,
            Format::Text => {
                let warned = if warnings == 1 { "1 warning".to_owned() } else { format!("{warnings} warnings") };
                writeln!(self.out, "{failed} failed, {warned}")?;
            }
        }
        self.out.flush()?;
        Ok(ExitCode::from(match (asked, failed) {
            (false, _) => 2,
            (true, 0) => 0,
            (true, _) => 1,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(format: Format, colours: bool) -> (String, ExitCode) {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, format, colours);
        let mut notes = Notes::of("cluster");
        notes.ok("API server", "v1.36.3");
        notes.warning("annotation policy", "missing", "kubectl apply -f deploy/annotation-policy.yaml");
        report.waiting("nobody sees that");
        report.tell(notes).unwrap();
        let mut notes = Notes::of("remote cluster north");
        notes.failed("API server", "no connection", "");
        assert_eq!(notes.last(), Some("API server"));
        report.tell(notes).unwrap();
        let code = report.end(true).unwrap();
        (String::from_utf8(out).unwrap(), code)
    }

    #[test]
    fn people_read_a_line_each_and_what_to_do() {
        let (text, code) = told(Format::Text, false);
        let expected = "\
cluster
-------
√ API server: v1.36.3
‼ annotation policy: missing
    kubectl apply -f deploy/annotation-policy.yaml

remote cluster north
--------------------
× API server: no connection

1 failed, 1 warning
";
        assert_eq!((text.as_str(), code), (expected, ExitCode::from(1)));
        assert!(told(Format::Text, true).0.contains("\u{1b}[31m×\u{1b}[0m API server"));
    }

    #[test]
    fn programs_read_json() {
        let document: serde_json::Value = serde_json::from_str(&told(Format::Json, true).0).unwrap();
        assert_eq!(document["state"], "failed");
        let first = &document["findings"][1];
        assert_eq!((first["group"].as_str(), first["state"].as_str()), (Some("cluster"), Some("warning")));
        assert_eq!(first["do"], "kubectl apply -f deploy/annotation-policy.yaml");
    }

    #[test]
    fn nothing_found_is_well_and_nothing_asked_is_not() {
        let end = |asked| Report::new(Vec::new(), Format::Text, false).end(asked).unwrap();
        assert_eq!((end(true), end(false)), (ExitCode::SUCCESS, ExitCode::from(2)));
    }
}
