//! What we have added to a ServiceAccount, as it is recorded there.
//!
//! The annotation lists, separated by commas, one mark per entry: its origin, the uid of the source namespace, and
//! what else must be known when the source is gone: `operator/regcred:<uid>:retain:upstream`. So the marks of an
//! agent with another source namespace are told from ours, and what cannot be read is nobody's: it stays as it is.

use std::fmt;
use std::sync::Arc;

use crate::contract::object::Uid;

/// What is remembered of an entry of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The incarnation of the source namespace that asked for it.
    pub origin_uid: Option<Uid>,
    /// `on-delete: retain`: the entry stays when the source goes.
    pub retain: bool,
    /// The source was a master's replica.
    pub upstream: bool,
}

/// The value of the annotation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record(Vec<Line>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Ours(Arc<str>, Mark),
    Other(Box<str>),
}

const RETAIN: &str = "retain";
const UPSTREAM: &str = "upstream";

impl Record {
    /// Reads the annotation; `prefix` is what origins of ours begin with.
    pub fn parse(prefix: &str, text: &str) -> Self {
        let mut record = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match ours(prefix, part) {
                // One that stands there twice is one entry.
                Some((name, _)) if record.get(&name).is_some() => {}
                Some((name, mark)) => record.0.push(Line::Ours(name, mark)),
                None => record.0.push(Line::Other(part.into())),
            }
        }
        record
    }

    /// The mark of an entry of ours.
    pub fn get(&self, name: &str) -> Option<&Mark> {
        self.marks().find(|(ours, _)| &***ours == name).map(|(_, mark)| mark)
    }

    /// All entries of ours.
    pub fn marks(&self) -> impl Iterator<Item = (&Arc<str>, &Mark)> {
        self.0.iter().filter_map(|line| match line {
            Line::Ours(name, mark) => Some((name, mark)),
            Line::Other(_) => None,
        })
    }

    /// Whether there is nothing of ours in it.
    pub fn has_none(&self) -> bool {
        self.marks().next().is_none()
    }

    /// This entry is ours, with this mark.
    pub fn set(&mut self, name: &Arc<str>, mark: Mark) {
        let known = self.0.iter_mut().find_map(|line| match line {
            Line::Ours(ours, mark) if ours == name => Some(mark),
            _ => None,
        });
        match known {
            Some(known) => *known = mark,
            None => self.0.push(Line::Ours(Arc::clone(name), mark)),
        }
    }

    /// This entry is not ours any more.
    pub fn drop_mark(&mut self, name: &str) {
        self.0.retain(|line| !matches!(line, Line::Ours(ours, _) if &**ours == name));
    }

    /// The annotation; `None` if there is nothing to say.
    pub fn to_annotation(&self, prefix: &str) -> Option<String> {
        let parts: Vec<_> = self.0.iter().map(|line| Shown(prefix, line).to_string()).collect();
        (!parts.is_empty()).then(|| parts.join(","))
    }
}

fn ours(prefix: &str, part: &str) -> Option<(Arc<str>, Mark)> {
    let mut words = part.strip_prefix(prefix)?.split(':');
    let name = words.next().filter(|name| !name.is_empty() && !name.contains('/'))?;
    let mut mark = Mark::default();
    if let Some(uid) = words.next() {
        mark.origin_uid = Some(Uid::parse(uid)?);
    }
    for word in words {
        match word {
            RETAIN => mark.retain = true,
            UPSTREAM => mark.upstream = true,
            _ => return None,
        }
    }
    Some((name.into(), mark))
}

struct Shown<'a>(&'a str, &'a Line);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(prefix, line) = self;
        let (name, mark) = match line {
            Line::Other(text) => return f.write_str(text),
            Line::Ours(name, mark) => (name, mark),
        };
        write!(f, "{prefix}{name}")?;
        let Some(uid) = mark.origin_uid else { return Ok(()) };
        write!(f, ":{uid}")?;
        for (word, stands) in [(RETAIN, mark.retain), (UPSTREAM, mark.upstream)] {
            if stands {
                write!(f, ":{word}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UID: &str = "11111111-0000-4000-8000-000000000001";

    #[test]
    fn what_is_recorded_reads_back() {
        let text = format!("other/regcred:{UID},operator/a:{UID}:retain,operator/b:{UID},operator/c");
        let record = Record::parse("operator/", &text);
        let names: Vec<_> = record.marks().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(record.get("a").unwrap().retain && !record.get("b").unwrap().retain);
        assert_eq!((record.get("b").unwrap().origin_uid, record.get("c").unwrap().origin_uid), (Uid::parse(UID), None));
        assert_eq!(record.to_annotation("operator/").unwrap(), text);
        assert_eq!(record.get("regcred"), None, "another agent's");
    }

    #[test]
    fn what_cannot_be_read_is_not_ours_and_stays() {
        for odd in [
            "operator/",
            "operator/a/b",
            "operator/a:x",
            "operator/a::retain",
            "regcred",
            &format!("operator/a:{UID}:new"),
        ] {
            let record = Record::parse("operator/", odd);
            assert!(record.has_none(), "{odd}");
            assert_eq!(record.to_annotation("operator/").unwrap(), odd);
        }
        let twice = Record::parse("operator/", " operator/a ,, operator/a:");
        assert_eq!(twice.to_annotation("operator/").unwrap(), "operator/a,operator/a:", "the second is none");
        let twice = Record::parse("operator/", "operator/a,operator/a");
        assert_eq!(twice.to_annotation("operator/").unwrap(), "operator/a");
        assert_eq!(Record::parse("operator/", " , ").to_annotation("operator/"), None);
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_writing_is_stable(text in "(operator/|[a-c:/,]|retain|\\PC){0,12}") {
            let written = Record::parse("operator/", &text).to_annotation("operator/");
            let again = written.as_deref().and_then(|text| Record::parse("operator/", text).to_annotation("operator/"));
            prop_assert_eq!(again, written);
        }
    }
}
