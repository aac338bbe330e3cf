//! What stands in several files and must say the same.

use std::collections::BTreeSet;

use anyhow::Result;
use sync_core::contract::keys;
use sync_core::contract::object::Kind;
use sync_core::contract::options::Options;
use testbed::{Binaries, Process};

const README: &str = include_str!("../../README.md");
const MANIFEST: &str = include_str!("../../Cargo.toml");
const IMAGES: [(&str, &str); 2] =
    [("master", include_str!("../../Dockerfile.master")), ("agent", include_str!("../../Dockerfile.agent"))];
/// Where reasons are spelled, each as `=> "Word"`, and some that must be found.
const REASONS: [(&str, &[&str]); 6] = [
    (include_str!("../../crates/sync-core/src/reason.rs"), &["ForeignObject", "SourceNamespaceLeaving"]),
    (include_str!("../../crates/sync-core/src/fault.rs"), &["Unreachable", "OddAnswer"]),
    (include_str!("../../crates/master/src/remote/status.rs"), &["Connected", "SourceNamespaceMissing"]),
    (include_str!("../../crates/master/src/discovery/status.rs"), &["Listed", "ListShrunk"]),
    (include_str!("../../crates/master/src/eks/error.rs"), &["AssumeRoleDenied", "AwsRefused"]),
    (include_str!("../../crates/master/src/remote/secret.rs"), &["SecretMissing", "SecretKeyMissing"]),
];

/// Words of that form: an upper case letter and more letters.
fn reasons(code: &str) -> BTreeSet<&str> {
    let words = code.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next());
    words.filter(|word| word.starts_with(char::is_uppercase) && word.chars().all(char::is_alphanumeric)).collect()
}

/// As a link names a heading: its words in lower case, `-` between them.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn links_of_the_readme_lead_somewhere() {
    let headings =
        README.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#').trim()));
    let headings: BTreeSet<_> = headings.collect();
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let links: Vec<_> = README.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 20 && headings.contains("quick-start"), "this test reads README.md wrongly: {links:?}");
    for link in links {
        match link.strip_prefix('#') {
            Some(heading) => assert!(headings.contains(heading), "README.md has no heading for #{heading}"),
            None if link.starts_with("https://") => {}
            None => assert!(root.join(link).exists(), "there is no {link}"),
        }
    }
}

/// The tables at the head of the scenarios.
#[test]
fn each_situation_has_the_tests_that_are_named() {
    let rows =
        include_str!("main.rs").lines().filter(|line| line.starts_with("//! | ") && !line.ends_with("| tests |"));
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() >= 30, "this test reads them wrongly: {rows:#?}");
    for key in keys::OPTIONS {
        let words = [format!("`{key}`"), format!("`{}`", key.trim_start_matches(keys::PREFIX))];
        let has = |row: &str| row.split('|').nth(1).is_some_and(|cell| words.iter().any(|word| cell.contains(word)));
        assert!(rows.iter().any(|row| has(row)), "no row for {key}");
    }
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit("| ").next().unwrap_or_default();
        assert!(!tests.is_empty(), "{row}");
        for test in tests.split(", ").map(|test| test.trim_matches('`')) {
            let (module, name) = test.rsplit_once("::").expect("a module and a name");
            let file = format!("{}/scenarios/{}.rs", env!("CARGO_MANIFEST_DIR"), module.replace("::", "/"));
            let code = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{test}: {file}: {error}"));
            assert!(code.contains(&format!("fn {name}(")), "there is no {test}");
        }
    }
}

#[test]
fn the_readme_has_every_reason_and_what_to_do() {
    for (code, some) in REASONS {
        let found = reasons(code);
        assert!(some.iter().all(|reason| found.contains(reason)), "this test reads {some:?} wrongly: {found:?}");
        for reason in found {
            let row = README.lines().find(|line| line.starts_with(&format!("| `{reason}` |")));
            let row = row.unwrap_or_else(|| panic!("README.md has no row for the reason {reason}"));
            assert_eq!(row.split(" | ").filter(|cell| cell.len() > 3).count(), 3, "reason, meaning, what to do: {row}");
        }
    }
}

#[test]
fn the_readme_has_every_option_with_an_example_that_can_be_read() {
    for key in keys::OPTIONS.iter().filter(|key| **key != keys::SYNC) {
        let row = README.lines().find(|line| line.starts_with(&format!("| `{key}` | `")));
        let row = row.unwrap_or_else(|| panic!("README.md has no row with an example for {key}"));
        let example = row.split('`').nth(3).unwrap_or_default();
        let annotations = [((*key).to_owned(), example.to_owned())].into();
        let (options, bad) = Options::read(Kind::Secret, Some(keys::PULL_SECRET_TYPES[0]), &annotations);
        assert_eq!(bad, None);
        assert_ne!(options, Options::default(), "{key} as it is without: {example}");
    }
}

#[tokio::test]
async fn the_readme_has_every_flag_and_variable() -> Result<()> {
    let binaries = Binaries::build().await?;
    for program in [binaries.master(), binaries.agent()] {
        let help = Process::spawn(program, ["--help"], [("COLUMNS", "100")])?;
        help.wait_exit(std::time::Duration::from_secs(30)).await?;
        let help = help.stdout();
        let words = help.split(|c: char| c.is_whitespace() || "[]=,`".contains(c));
        let words: BTreeSet<_> =
            words.filter(|word| word.starts_with("--") && word.len() > 2 || word.starts_with("MW_SYNC_")).collect();
        assert!(words.contains("--delete-grace") && words.contains("MW_SYNC_DELETE_GRACE"), "{words:?}");
        for word in words.iter().filter(|word| !["--help", "--version"].contains(word)) {
            assert!(README.contains(&format!("| `{word}` |")), "README.md's table of flags lacks {word}");
        }
    }
    Ok(())
}

#[test]
fn versions_agree() {
    let rust = MANIFEST.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    assert!(README.contains(&format!("Rust {rust}")), "README.md does not ask for Rust {rust}");
    for (name, image) in IMAGES {
        let version = env!("CARGO_PKG_VERSION");
        assert!(image.contains(&format!("image.version=\"{version}\"")), "Dockerfile.{name} is not of {version}");
        assert!(image.contains(&format!("secret-replicator-eks/{name}:{version} ")), "Dockerfile.{name}");
        assert!(image.contains(&format!("ARG RUST=rust:{rust}.")), "Dockerfile.{name} does not build with {rust}");
        // One cache for each architecture: programs of both in one would be taken for each other.
        let both = ["--platform linux/amd64,linux/arm64", "ARG TARGETARCH", "id=target-${TARGETARCH},"];
        assert!(both.iter().all(|words| image.contains(words)), "Dockerfile.{name} is for one architecture");
    }
}

/// By digest, and both images on the same ones.
#[test]
fn bases_are_pinned() {
    let bases = |image: &'static str| image.lines().filter(|line| line.starts_with("ARG R")).collect::<Vec<_>>();
    let [(_, master), (_, agent)] = IMAGES;
    assert_eq!(bases(master), bases(agent));
    let is_pinned = |base: &&str| {
        base.split_once("@sha256:").is_some_and(|(_, digest)| {
            digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        })
    };
    assert_eq!(bases(master).iter().filter(|base| is_pinned(base)).count(), 2, "{:?}", bases(master));
    for (name, image) in IMAGES {
        let stages = image.lines().filter(|line| line.starts_with("FROM "));
        assert!(stages.clone().all(|line| line.starts_with("FROM ${R")) && stages.count() == 2, "Dockerfile.{name}");
    }
}
