//! `sbom agent` or `sbom master` prints what is linked into that program, as CycloneDX 1.5.
//!
//! Which crates those are says `cargo tree` for this machine's target, without those that only build or test it; what
//! they are says `cargo metadata`, which by itself knows of some that no feature asks for. Equal lock files give equal
//! bytes. A package of its own, so that the images' build compiles little for it.

// It prints its result.
#![allow(clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

fn main() -> Result<()> {
    let mut names = std::env::args().skip(1);
    let (Some(name), None) = (names.next(), names.next()) else { bail!("usage: sbom PACKAGE") };
    println!("{:#}", bill(&metadata()?, &linked(&name)?, &name)?);
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("not UTF-8")
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

const MANIFEST: &str = concat!("--manifest-path=", env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

/// Name and version of all that is linked into a program, itself included.
fn linked(name: &str) -> Result<BTreeSet<(String, String)>> {
    let mut tree = cargo();
    tree.args(["tree", "--locked", "--prefix=none", "--edges=normal,no-proc-macro", "--format={p}", MANIFEST]);
    let tree = output(tree.args(["--package", name]))?;
    let of = |line: &str| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    };
    tree.lines().map(|line| of(line).with_context(|| format!("cargo tree says {line}"))).collect()
}

fn metadata() -> Result<Value> {
    let rustc = output(Command::new("rustc").arg("-vV"))?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not say its host")?;
    let mut metadata = cargo();
    metadata.args(["metadata", "--locked", "--format-version=1", "--filter-platform", host, MANIFEST]);
    serde_json::from_str(&output(&mut metadata)?).context("cargo's output is not what was expected")
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[key].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("no {key}"))
}

fn bill(metadata: &Value, linked: &BTreeSet<(String, String)>, name: &str) -> Result<Value> {
    let by_id = |of: &'static str, values: &'_ Value, key| -> Result<BTreeMap<String, Value>> {
        list(values, key).map(|value| Ok((text(value, of)?.to_owned(), value.clone()))).collect()
    };
    let packages = by_id("id", metadata, "packages")?;
    let nodes = by_id("id", &metadata["resolve"], "nodes")?;
    let program = packages.iter().find(|(_, package)| package["name"] == name);
    let (root, program) = program.with_context(|| format!("there is no package {name}"))?;

    let (mut seen, mut open) = (BTreeMap::new(), vec![root.as_str()]);
    while let Some(id) = open.pop() {
        if seen.contains_key(id) {
            continue;
        }
        let mut needs = BTreeSet::new();
        for needed in list(nodes.get(id).context("a package without a node")?, "deps") {
            let is_normal = list(needed, "dep_kinds").any(|kind| kind["kind"].is_null());
            let id = text(needed, "pkg")?;
            let of = packages.get(id).context("a node without a package")?;
            if is_normal && linked.contains(&(text(of, "name")?.to_owned(), text(of, "version")?.to_owned())) {
                needs.insert(id);
                open.push(id);
            }
        }
        seen.insert(id, needs);
    }
    let package = |id: &str| packages.get(id).context("a node without a package");
    let purl = |id: &str| Ok(format!("pkg:cargo/{}@{}", text(package(id)?, "name")?, text(package(id)?, "version")?));
    let mut components = Vec::new();
    let mut dependencies = Vec::new();
    for (id, needs) in &seen {
        let of = package(id)?;
        let needs = needs.iter().map(|id| purl(id)).collect::<Result<BTreeSet<_>>>()?;
        dependencies.push(json!({ "ref": purl(id)?, "dependsOn": needs }));
        if *id != root {
            // Some old crates write a slash for OR.
            let license = text(of, "license")?.replace(" / ", " OR ").replace('/', " OR ");
            components.push(json!({
                "type": "library", "bom-ref": purl(id)?, "purl": purl(id)?,
                "name": of["name"], "version": of["version"], "licenses": [{ "expression": license }],
            }));
        }
    }
    components.sort_by_key(|component| component["purl"].to_string());
    dependencies.sort_by_key(|dependency| dependency["ref"].to_string());
    Ok(json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": { "component": {
            "type": "application", "bom-ref": purl(root)?, "name": format!("secret-replicator-eks/{name}"),
            "version": program["version"], "licenses": [{ "expression": program["license"] }],
        } },
        "components": components, "dependencies": dependencies,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_has_what_is_linked_in_and_nothing_else() {
        let metadata = metadata().unwrap();
        for (name, only) in [("master", "aws-sdk-eks"), ("agent", "sync-core")] {
            let linked = linked(name).unwrap();
            let bill = bill(&metadata, &linked, name).unwrap();
            assert_eq!(list(&bill, "components").count() + 1, linked.len());
            let names: BTreeSet<_> =
                list(&bill, "components").map(|component| text(component, "name").unwrap()).collect();
            for linked in ["kube-client", "rustls", "aws-lc-rs", "tokio", "sync-core", only] {
                assert!(names.contains(linked), "{name} lacks {linked}");
            }
            // Of tests, of build scripts, of the compiler, of the other program.
            for other in ["proptest", "rcgen", "cc", "serde_derive", "ring", "testbed", "master", "agent"] {
                assert!(!names.contains(other), "{name} has {other}");
            }
            assert_eq!(names.contains("aws-sdk-eks"), name == "master");
            let refs: BTreeSet<_> = list(&bill, "dependencies").map(|of| text(of, "ref").unwrap()).collect();
            assert_eq!(refs.len(), list(&bill, "components").count() + 1, "one entry each, and one for the program");
            for needed in list(&bill, "dependencies").flat_map(|of| list(of, "dependsOn")) {
                assert!(refs.contains(needed.as_str().unwrap()), "{needed} is not there");
            }
        }
    }
}
