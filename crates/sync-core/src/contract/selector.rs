//! Label selectors in the grammar of Kubernetes, as `kubectl -l` takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// All of its requirements must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    Exists,
    Missing,
    /// `=`, `==`, `in`
    In(BTreeSet<String>),
    /// `!=`, `notin`: holds also where the label is missing.
    NotIn(BTreeSet<String>),
    /// The label is a number above this one.
    Above(i64),
    /// The label is a number below this one.
    Below(i64),
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Nothing at all. Kubernetes would select everything; here it is rather a template with nothing to fill in.
    #[error("it is empty")]
    Empty,
    /// Something else was expected there.
    #[error("after {after:?} should come {wanted}")]
    Expected {
        /// What was understood so far.
        after: String,
        /// What should come.
        wanted: &'static str,
    },
    /// A label cannot have this key.
    #[error("{0:?} is no label key")]
    Key(String),
    /// A label cannot have this value.
    #[error("{0:?} is no label value")]
    Value(String),
    /// `<` and `>` compare numbers.
    #[error("{0:?} is no number")]
    Number(String),
}

impl Selector {
    /// Reads a selector: `key=value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key`, `!key`, `key>1`,
    /// `key<1`, separated by commas.
    ///
    /// # Errors
    /// Where an API server would refuse it, and for an empty one.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { text, at: 0 };
        let mut requirements = Vec::new();
        if parser.peek() == Token::End {
            return Err(SelectorError::Empty);
        }
        loop {
            requirements.push(parser.requirement()?);
            match parser.next() {
                Token::End => return Ok(Self(requirements)),
                Token::Sign(',') => {}
                _ => return Err(parser.expected("a comma or the end")),
            }
        }
    }

    /// Whether something with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|Requirement { key, operator }| {
            let label = labels.get(key);
            let number = || label.and_then(|label| label.parse::<i64>().ok());
            match operator {
                Operator::Exists => label.is_some(),
                Operator::Missing => label.is_none(),
                Operator::In(values) => label.is_some_and(|label| values.contains(label)),
                Operator::NotIn(values) => label.is_none_or(|label| !values.contains(label)),
                Operator::Above(than) => number().is_some_and(|number| number > *than),
                Operator::Below(than) => number().is_some_and(|number| number < *than),
            }
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Requirement { key, operator }) in self.0.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "," })?;
            let list = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            match operator {
                Operator::Exists => f.write_str(key)?,
                Operator::Missing => write!(f, "!{key}")?,
                Operator::In(values) => write!(f, "{key} in ({})", list(values))?,
                Operator::NotIn(values) => write!(f, "{key} notin ({})", list(values))?,
                Operator::Above(than) => write!(f, "{key}>{than}")?,
                Operator::Below(than) => write!(f, "{key}<{than}")?,
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// One of `! , ( ) < > =`
    Sign(char),
    NotEqual,
    End,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Token<'a> {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\t', '\r', '\n']).len();
        let rest = self.rest();
        let (token, length) = match rest.chars().next() {
            None => (Token::End, 0),
            Some('=') if rest.starts_with("==") => (Token::Sign('='), 2),
            Some('!') if rest.starts_with("!=") => (Token::NotEqual, 2),
            Some(sign @ ('=' | '!' | ',' | '(' | ')' | '<' | '>')) => (Token::Sign(sign), 1),
            Some(_) => {
                let ends = [' ', '\t', '\r', '\n', '=', '!', ',', '(', ')', '<', '>'];
                let word = rest.split(ends).next().unwrap_or_default();
                (Token::Word(word), word.len())
            }
        };
        self.at += length;
        token
    }

    fn peek(&self) -> Token<'a> {
        Self { ..*self }.next()
    }

    fn expected(&self, wanted: &'static str) -> SelectorError {
        let after: String = self.text.get(..self.at).unwrap_or_default().chars().take(64).collect();
        SelectorError::Expected { after, wanted }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let missing = self.peek() == Token::Sign('!');
        if missing {
            self.next();
        }
        let Token::Word(key) = self.next() else { return Err(self.expected("a label key")) };
        if !is_qualified_name(key) {
            return Err(SelectorError::Key(cut(key)));
        }
        let operator = match self.peek() {
            _ if missing => Operator::Missing,
            Token::End | Token::Sign(',') => Operator::Exists,
            _ => match self.next() {
                Token::Sign('=') => Operator::In([self.value()?].into()),
                Token::NotEqual => Operator::NotIn([self.value()?].into()),
                Token::Sign('>') => Operator::Above(self.number()?),
                Token::Sign('<') => Operator::Below(self.number()?),
                Token::Word("in") => Operator::In(self.values()?),
                Token::Word("notin") => Operator::NotIn(self.values()?),
                _ => return Err(self.expected("an operator: =, !=, in, notin, < or >")),
            },
        };
        Ok(Requirement { key: key.to_owned(), operator })
    }

    /// A value, which may be missing and is empty then.
    fn value(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            Token::End | Token::Sign(',') => Ok(String::new()),
            Token::Word(value) => {
                self.next();
                checked(value)
            }
            Token::Sign(_) | Token::NotEqual => {
                self.next();
                Err(self.expected("a value"))
            }
        }
    }

    fn number(&mut self) -> Result<i64, SelectorError> {
        let value = self.value()?;
        value.parse().map_err(|_| SelectorError::Number(value))
    }

    /// `(a,b)`; what is missing between commas and parentheses is the empty value.
    fn values(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        if self.next() != Token::Sign('(') {
            return Err(self.expected("a list in parentheses"));
        }
        let mut values = BTreeSet::new();
        loop {
            let value = match self.peek() {
                Token::Sign(',' | ')') => String::new(),
                Token::Word(value) => {
                    self.next();
                    checked(value)?
                }
                _ => return Err(self.expected("a value")),
            };
            values.insert(value);
            match self.next() {
                Token::Sign(',') => {}
                Token::Sign(')') => return Ok(values),
                _ => return Err(self.expected("a comma or a closing parenthesis")),
            }
        }
    }
}

fn checked(value: &str) -> Result<String, SelectorError> {
    let is_value = value.is_empty() || is_name(value);
    if is_value { Ok(value.to_owned()) } else { Err(SelectorError::Value(cut(value))) }
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

/// At most 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends: a label value, or a key without prefix.
fn is_name(text: &str) -> bool {
    let ends = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && ends(bytes.first().copied())
        && ends(bytes.last().copied())
        && bytes.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

/// The key of a label or annotation: a name, perhaps after a DNS subdomain and `/`.
pub fn is_qualified_name(text: &str) -> bool {
    let Some((prefix, name)) = text.split_once('/') else { return is_name(text) };
    let may_stand = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().copied().is_some_and(may_stand)
            && bytes.last().copied().is_some_and(may_stand)
            && bytes.iter().all(|c| may_stand(*c) || *c == b'-')
    };
    prefix.len() <= 253 && prefix.split('.').all(is_part) && is_name(name)
}

#[cfg(test)]
#[path = "selector_tests.rs"]
mod tests;
