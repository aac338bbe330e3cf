//! `plan`, told to people as a table and to programs as JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::report::Format;
use crate::trial::{Tried, What};

/// What would be done in one cluster, or why that cannot be told.
#[derive(Debug)]
pub struct Planned {
    /// Name of the RemoteCluster; empty for an agent's own cluster.
    pub cluster: String,
    /// All copies that are not as they should be.
    pub copies: Result<Vec<Tried>, String>,
}

/// One line.
struct Line {
    action: &'static str,
    reason: &'static str,
    message: String,
    todo: &'static str,
}

impl Line {
    fn of(what: &What) -> Self {
        match what {
            What::Does(action) => Self { action, reason: "", message: String::new(), todo: "" },
            What::Fails(action, fault) => {
                Self { action, reason: fault.reason(), message: fault.to_string(), todo: fault.what_to_do() }
            }
            What::Untried(action, fault) => Self {
                action,
                reason: fault.reason(),
                message: format!("could not be tried: {fault}"),
                todo: "run it again",
            },
            What::Refused(reason, todo) => Self { action: "refuse", reason, message: String::new(), todo },
        }
    }
}

/// Writes it. Status 0 if nothing would be done, 1 if something would, 2 if something is refused or cannot be told.
///
/// # Errors
/// If `out` cannot be written to.
pub fn write(format: Format, planned: &[Planned], out: &mut impl Write) -> io::Result<ExitCode> {
    match format {
        Format::Json => writeln!(out, "{:#}", document(planned))?,
        Format::Text => table(planned, out)?,
    }
    out.flush()?;
    let copies = || planned.iter().filter_map(|planned| planned.copies.as_ref().ok()).flatten();
    let does = |tried: &Tried| matches!(tried.what, What::Does(_));
    Ok(ExitCode::from(match () {
        () if planned.iter().any(|planned| planned.copies.is_err()) || !copies().all(does) => 2,
        () => u8::from(copies().next().is_some()),
    }))
}

fn document(planned: &[Planned]) -> Value {
    let copy = |tried: &Tried| {
        let Line { action, reason, message, todo } = Line::of(&tried.what);
        json!({
            "source": tried.source.to_string(), "namespace": tried.namespace, "serviceAccount": tried.account,
            "action": action, "reason": reason, "message": message, "do": todo,
        })
    };
    let cluster = |planned: &Planned| match &planned.copies {
        Ok(copies) => json!({ "cluster": planned.cluster, "copies": copies.iter().map(copy).collect::<Vec<_>>() }),
        Err(why) => json!({ "cluster": planned.cluster, "error": why }),
    };
    json!({ "clusters": planned.iter().map(cluster).collect::<Vec<_>>() })
}

fn table(planned: &[Planned], out: &mut impl Write) -> io::Result<()> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for Planned { cluster, copies } in planned {
        let at = if cluster.is_empty() { String::new() } else { format!("{cluster}: ") };
        let copies = match copies {
            Ok(copies) => copies,
            Err(why) => {
                writeln!(out, "{at}cannot be told: {why}")?;
                continue;
            }
        };
        for tried in copies {
            let Line { action, reason, message, todo } = Line::of(&tried.what);
            let counted = match &tried.what {
                What::Does(action) => action,
                What::Untried(..) => "could not be tried",
                What::Fails(..) | What::Refused(..) => "refused",
            };
            *counts.entry(counted).or_default() += 1;
            write!(out, "{at}{action:8} {} in ", tried.source)?;
            match &tried.account {
                None => write!(out, "namespace {}", tried.namespace)?,
                Some(account) => write!(out, "ServiceAccount {}/{account}", tried.namespace)?,
            }
            match (reason, message.as_str()) {
                ("", _) => writeln!(out)?,
                (reason, "") => writeln!(out, ": {reason}; {todo}")?,
                (_, message) => writeln!(out, ": {message}; {todo}")?,
            }
        }
    }
    let counts: Vec<_> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    let untold = planned.iter().filter(|planned| planned.copies.is_err()).count();
    match counts.as_slice() {
        // Where nothing could be told there may be all to do.
        [] if untold > 0 && untold == planned.len() => Ok(()),
        [] if untold > 0 => writeln!(out, "nothing to do in the others"),
        [] => writeln!(out, "nothing to do"),
        counts => writeln!(out, "{}", counts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::object::{Kind, SourceKey};
    use crate::fault::Fault;

    fn tried(namespace: &str, what: What) -> Tried {
        Tried {
            source: SourceKey { kind: Kind::Secret, name: "a".into() },
            namespace: namespace.to_owned(),
            account: None,
            what,
        }
    }

    fn text(planned: &[Planned]) -> (String, ExitCode) {
        let mut out = Vec::new();
        let code = write(Format::Text, planned, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), code)
    }

    #[test]
    fn a_line_per_copy_and_the_status() {
        let of = |copies| [Planned { cluster: "north".to_owned(), copies }];
        assert_eq!(text(&of(Ok(Vec::new()))), ("nothing to do\n".to_owned(), ExitCode::SUCCESS));
        let does = || tried("app", What::Does("create"));
        let expected = "north: create   Secret/a in namespace app\n1 create\n";
        assert_eq!(text(&of(Ok(vec![does()]))), (expected.to_owned(), ExitCode::from(1)));
        let fails = tried("b", What::Fails("create", Fault::Rejected("exceeded quota: q".to_owned())));
        let refused = tried("c", What::Refused("ForeignObject", "delete it"));
        let (told, code) = text(&of(Ok(vec![does(), fails, refused])));
        assert_eq!(code, ExitCode::from(2));
        assert!(
            told.contains("north: create   Secret/a in namespace b: rejected: exceeded quota: q; change"),
            "{told}"
        );
        assert!(
            told.contains("north: refuse   Secret/a in namespace c: ForeignObject; delete it\n1 create, 2 refused"),
            "{told}"
        );
        let account = Some("default".to_owned());
        let (told, _) = text(&of(Ok(vec![Tried { account, ..tried("app", What::Does("list")) }])));
        assert_eq!(told, "north: list     Secret/a in ServiceAccount app/default\n1 list\n");
        let untried = tried("d", What::Untried("create", Fault::Throttled(None)));
        let (told, code) = text(&of(Ok(vec![does(), untried])));
        assert_eq!(code, ExitCode::from(2));
        assert!(told.contains("d: could not be tried: the server asks to slow down; run it again\n1 could"), "{told}");
        let (told, code) = text(&of(Err("no answer".to_owned())));
        assert_eq!((told.as_str(), code), ("north: cannot be told: no answer\n", ExitCode::from(2)));
        let planned = |cluster: &str, copies| Planned { cluster: cluster.to_owned(), copies };
        let unknown = || planned("north", Err("no answer".to_owned()));
        let (told, code) = text(&[unknown(), planned("south", Ok(Vec::new()))]);
        let expected = "north: cannot be told: no answer\nnothing to do in the others\n";
        assert_eq!((told.as_str(), code), (expected, ExitCode::from(2)));
        let (told, _) = text(&[unknown(), planned("south", Err("no answer".to_owned()))]);
        assert!(!told.contains("nothing to do"), "{told}");
    }
}
