//! What is to go, in words.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use super::{Copy, How};
use crate::contract::object::SourceKey;

/// Places that are named.
const SHOWN: usize = 3;

/// A line for each source. `at` is before it: the remote cluster, if it is one.
///
/// # Errors
/// If it cannot be written.
pub fn told(at: &str, copies: &[Copy], out: &mut impl Write) -> io::Result<()> {
    let mut by_source: BTreeMap<&SourceKey, (usize, usize, BTreeSet<&str>)> = BTreeMap::new();
    for copy in copies {
        let (deleted, released, places) = by_source.entry(&copy.source).or_default();
        match copy.how {
            How::Deleted(_) => *deleted += 1,
            How::Released(..) => *released += 1,
        }
        places.insert(&copy.namespace);
    }
    for (source, (deleted, released, places)) in by_source {
        let shown: Vec<_> = places.iter().copied().take(SHOWN).collect();
        let more = places.len().saturating_sub(SHOWN);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let released = if released == 0 {
            String::new()
        } else {
            format!(", {released} to release: they stay, without our marks")
        };
        writeln!(out, "{at}{source}: {deleted} to delete{released} (namespaces {}{more})", shown.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::object::{Kind, Rv, Uid};
    use crate::contract::options::OnDelete;
    use crate::plan::Guard;

    #[test]
    fn a_line_per_source() {
        let guard = Guard { uid: Uid::parse("11111111-0000-4000-8000-000000000001").unwrap(), rv: Rv(1) };
        let copy = |name: &str, namespace: &str, how| Copy {
            namespace: namespace.to_owned(),
            source: SourceKey { kind: Kind::Secret, name: name.into() },
            how,
        };
        let mut copies: Vec<_> = ["a", "b", "c", "d"].map(|at| copy("regcred", at, How::Deleted(guard))).into();
        copies.push(copy("kept", "a", How::Released(guard, OnDelete::Retain)));
        let mut out = Vec::new();
        told("north: ", &copies, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "north: Secret/kept: 0 to delete, 1 to release: they stay, without our marks (namespaces a)\n\
             north: Secret/regcred: 4 to delete (namespaces a, b, c and 1 more)\n"
        );
    }
}
