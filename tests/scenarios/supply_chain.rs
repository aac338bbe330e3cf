//! `deny.toml`: licences, sources and banned crates of everything in the tree, tests included. `cargo deny` reads the same
//! file and can do more; it is no part of the checks, for its own build takes longer than all of ours.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Deny {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    unknown_registry: String,
    unknown_git: String,
    allow_registry: Vec<String>,
}

/// An SPDX expression: `A OR B AND (C OR D WITH E)`, AND before OR; a slash is an old way to write OR.
struct Expression<'a> {
    words: std::iter::Peekable<std::vec::IntoIter<&'a str>>,
    allowed: &'a BTreeSet<String>,
    used: &'a mut BTreeSet<String>,
}

impl Expression<'_> {
    fn is_met(text: &str, allowed: &BTreeSet<String>, used: &mut BTreeSet<String>) -> Result<bool> {
        let text = text.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        let words: Vec<_> = text.split_whitespace().collect();
        let mut expression = Expression { words: words.into_iter().peekable(), allowed, used };
        let met = expression.any()?;
        ensure!(expression.words.next().is_none(), "not understood: {text}");
        Ok(met)
    }

    fn any(&mut self) -> Result<bool> {
        let mut met = self.all()?;
        while self.words.next_if_eq(&"OR").is_some() {
            met |= self.all()?;
        }
        Ok(met)
    }

    fn all(&mut self) -> Result<bool> {
        let mut met = self.one()?;
        while self.words.next_if_eq(&"AND").is_some() {
            met &= self.one()?;
        }
        Ok(met)
    }

    fn one(&mut self) -> Result<bool> {
        let word = self.words.next().context("it ends early")?;
        if word == "(" {
            let met = self.any()?;
            ensure!(self.words.next() == Some(")"), "no )");
            return Ok(met);
        }
        let mut licence = word.to_owned();
        if self.words.next_if_eq(&"WITH").is_some() {
            licence = format!("{licence} WITH {}", self.words.next().context("no exception")?);
        }
        let met = self.allowed.contains(&licence);
        self.used.extend(met.then_some(licence));
        Ok(met)
    }
}

/// The packages that are in the tree on this target.
fn packages(target: &str) -> Result<Vec<Value>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!("--manifest-path=", env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let args = ["metadata", "--locked", "--format-version=1", "--filter-platform", target, manifest];
    let output = Command::new(cargo).args(args).output().context("cannot run cargo")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout)?;
    let nodes = metadata["resolve"]["nodes"].take();
    let in_tree: BTreeSet<_> = nodes.as_array().into_iter().flatten().filter_map(|node| node["id"].as_str()).collect();
    let all = metadata["packages"].as_array_mut().map(std::mem::take).unwrap_or_default();
    Ok(all.into_iter().filter(|package| package["id"].as_str().is_some_and(|id| in_tree.contains(id))).collect())
}

/// What `deny.toml` bans; `one_tls_stack` looks for it in the tree as it is built, of which `cargo metadata` knows too much.
pub(crate) fn banned() -> Result<Vec<String>> {
    let deny: Deny = toml::from_str(include_str!("../../deny.toml"))?;
    Ok(deny.bans.deny.into_iter().map(|banned| banned.name).collect())
}

#[test]
fn the_tree_is_as_deny_toml_says() -> Result<()> {
    let deny: Deny = toml::from_str(include_str!("../../deny.toml"))?;
    assert_eq!((&*deny.sources.unknown_registry, &*deny.sources.unknown_git), ("deny", "deny"));
    let registries: Vec<_> = deny.sources.allow_registry.iter().map(|url| format!("registry+{url}")).collect();
    let mut used = BTreeSet::new();
    for target in &deny.graph.targets {
        let packages = packages(target)?;
        assert!(packages.len() > 150, "{} packages: this test reads cargo wrongly", packages.len());
        for package in packages {
            let name = package["name"].as_str().context("no name")?;
            let licence = package["license"].as_str().with_context(|| format!("{name} names no licence"))?;
            let met = Expression::is_met(licence, &deny.licenses.allow, &mut used).with_context(|| name.to_owned())?;
            assert!(met, "licence of {name}: {licence}");
            // Without one it is ours.
            if let Some(source) = package["source"].as_str() {
                assert!(registries.iter().any(|registry| registry == source), "{name} comes from {source}");
            }
        }
    }
    assert_eq!(used, deny.licenses.allow, "licences that are allowed and not there");
    Ok(())
}

#[test]
fn expressions_are_read_as_spdx_says() -> Result<()> {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
    let is_met = |text| Expression::is_met(text, &allowed, &mut BTreeSet::new());
    for good in ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "ISC AND (MIT OR GPL-3.0)", "Apache-2.0 WITH LLVM-exception"] {
        assert!(is_met(good)?, "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "GPL-3.0 OR ISC AND GPL-2.0", "Apache-2.0", "MIT WITH LLVM-exception"] {
        assert!(!is_met(bad)?, "{bad}");
    }
    for broken in ["", "MIT MIT", "(MIT", "MIT OR", "MIT WITH"] {
        assert!(is_met(broken).is_err(), "{broken}");
    }
    Ok(())
}
