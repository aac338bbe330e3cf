//! A source, as people name it on a command line.

use std::str::FromStr;

use crate::contract::object::{Kind, SourceKey};

/// `secret/NAME` or `configmap/NAME`, as kubectl writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceName(pub SourceKey);

impl FromStr for SourceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected secret/NAME or configmap/NAME".to_owned();
        let (kind, name) = text.split_once('/').ok_or_else(expected)?;
        let kind = match kind.to_ascii_lowercase().as_str() {
            "secret" | "secrets" => Kind::Secret,
            "configmap" | "configmaps" | "cm" => Kind::ConfigMap,
            _ => return Err(expected()),
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if name.is_empty() || name.len() > 253 || !name.chars().all(plain) {
            return Err(expected());
        }
        Ok(Self(SourceKey { kind, name: name.into() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_kubectl_writes_them() {
        for (text, shown) in [("secret/regcred", "Secret/regcred"), ("CM/a.b", "ConfigMap/a.b")] {
            assert_eq!(text.parse::<SourceName>().unwrap().0.to_string(), shown);
        }
        for bad in ["regcred", "pod/x", "secret/", "secret/a/b", "secret/A", "secret/a b"] {
            assert!(bad.parse::<SourceName>().is_err(), "{bad}");
        }
    }
}
