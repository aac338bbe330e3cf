//! Lists of names and globs, `!` excludes: `team-*,!team-x`.

use std::fmt;

/// Names and globs of namespaces, clusters or ServiceAccounts.
///
/// A name matches if some entry without `!` does, or there is none such, and no entry with `!` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns {
    wanted: Vec<Glob>,
    unwanted: Vec<Glob>,
}

/// Why a list cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing between two commas, after `!`, or at all: perhaps a template had nothing to fill in.
    #[error("an entry is empty")]
    Empty,
    /// It could never match.
    #[error("{0:?} cannot be part of a name")]
    Character(char),
}

/// A name in which `*` stands for any characters and `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Glob(Box<str>);

impl Patterns {
    /// Reads a list; white space around entries is ignored.
    ///
    /// # Errors
    /// If an entry is empty, or could match no name: these consist of lower-case letters, digits, `-` and `.`.
    pub fn parse(list: &str) -> Result<Self, PatternError> {
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        for entry in list.split(',').map(str::trim) {
            match entry.strip_prefix('!') {
                Some(entry) => unwanted.push(Glob::parse(entry.trim())?),
                None => wanted.push(Glob::parse(entry)?),
            }
        }
        Ok(Self { wanted, unwanted })
    }

    /// Whether this name is one of them.
    pub fn matches(&self, name: &str) -> bool {
        let any = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(name));
        (self.wanted.is_empty() || any(&self.wanted)) && !any(&self.unwanted)
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = self.wanted.iter().map(|glob| ("", glob));
        let unwanted = self.unwanted.iter().map(|glob| ("!", glob));
        for (n, (sign, Glob(text))) in wanted.chain(unwanted).enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{sign}{text}")?;
        }
        Ok(())
    }
}

impl Glob {
    fn parse(text: &str) -> Result<Self, PatternError> {
        let may_stand = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '*' | '?');
        match text.chars().find(|c| !may_stand(*c)) {
            Some(other) => Err(PatternError::Character(other)),
            None if text.is_empty() => Err(PatternError::Empty),
            None => Ok(Self(text.into())),
        }
    }

    fn matches(&self, name: &str) -> bool {
        glob_matches(&self.0, name)
    }
}

/// Whether a text is as a glob says: `*` stands for any characters, `?` for one.
///
/// Goes back to the last `*` only: at most the product of both lengths in steps, whatever the pattern.
pub fn glob_matches(glob: &str, text: &str) -> bool {
    let (mut glob, mut rest) = (glob.as_bytes(), text.as_bytes());
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (glob, rest) {
            ([b'*', after @ ..], _) => {
                star = Some((after, rest));
                glob = after;
            }
            ([b'?', after @ ..], [_, left @ ..]) => (glob, rest) = (after, left),
            ([want, after @ ..], [is, left @ ..]) if want == is => (glob, rest) = (after, left),
            ([], []) => return true,
            _ => {
                let Some((after, [_, left @ ..])) = star else { return false };
                star = Some((after, left));
                (glob, rest) = (after, left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(list: &str, name: &str) -> bool {
        Patterns::parse(list).unwrap().matches(name)
    }

    #[test]
    fn names_globs_and_exclusions() {
        let table = [
            ("app", "app", true),
            ("app", "apps", false),
            ("app,web", "web", true),
            (" app , web ", "web", true),
            ("team-*", "team-", true),
            ("team-*", "team-a.b", true),
            ("team-*", "a-team-", false),
            ("*-dev", "a-dev-dev", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("team-?", "team-a", true),
            ("team-?", "team-", false),
            ("?*", "a", true),
            ("*", "anything", true),
            ("!kube-*", "app", true),
            ("!kube-*", "kube-system", false),
            ("team-*,!team-x", "team-x", false),
            ("!team-x,team-*", "team-x", false),
            ("!team-x,team-*", "app", false),
            ("*,! team-x", "team-x", false),
        ];
        for (list, name, matched) in table {
            assert_eq!(matches(list, name), matched, "{list} {name}");
        }
    }

    #[test]
    fn what_can_match_no_name_is_refused() {
        for empty in ["", " ", "a,", ",a", "a,,b", "!", "a,!"] {
            assert_eq!(Patterns::parse(empty), Err(PatternError::Empty), "{empty:?}");
        }
        for (odd, c) in [("App", 'A'), ("a_b", '_'), ("a b", ' '), ("[ab]", '['), ("!!a", '!'), ("\u{e4}", '\u{e4}')] {
            assert_eq!(Patterns::parse(odd), Err(PatternError::Character(c)), "{odd}");
        }
    }

    #[test]
    fn a_glob_of_many_stars_is_no_trap() {
        let many = "a*".repeat(120) + "b";
        assert!(!matches(&many, &"a".repeat(253)));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(list in "\\PC{0,60}", name in "\\PC{0,60}") {
            if let Ok(patterns) = Patterns::parse(&list) {
                let _ = patterns.matches(&name);
            }
        }

        #[test]
        fn a_list_reads_back(list in "!?[a-c*?.-]{1,5}(,!?[a-c*?.-]{1,5}){0,3}", name in "[a-c.-]{0,6}") {
            let patterns = Patterns::parse(&list).unwrap();
            let again = Patterns::parse(&patterns.to_string()).unwrap();
            prop_assert_eq!(&again, &patterns);
            prop_assert_eq!(again.matches(&name), patterns.matches(&name));
        }

        #[test]
        fn a_glob_matches_as_the_plain_definition_does(glob in "[ab*?]{1,8}", name in "[ab]{0,8}") {
            fn plain(glob: &[u8], name: &[u8]) -> bool {
                match (glob, name) {
                    ([], []) => true,
                    ([b'*', after @ ..], _) => (0..=name.len()).any(|n| plain(after, &name[n..])),
                    ([b'?', after @ ..], [_, left @ ..]) => plain(after, left),
                    ([a, after @ ..], [b, left @ ..]) => a == b && plain(after, left),
                    _ => false,
                }
            }
            prop_assert_eq!(matches(&glob, &name), plain(glob.as_bytes(), name.as_bytes()));
        }
    }
}
