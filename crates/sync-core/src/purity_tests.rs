//! What is decided is decided without I/O, without a clock and in no random order.

use std::path::{Path, PathBuf};

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let mut entries: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| files(entry, found));
    } else {
        found.push(path.to_owned());
    }
}

/// Whether a text has this word, on its own.
fn names(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(part) && !text[at + word.len()..].chars().next().is_some_and(part)
    })
}

#[test]
fn the_pure_modules_name_nothing_impure() {
    const PURE: [&str; 12] = [
        "announce",
        "contract",
        "plan",
        "index",
        "queue",
        "core",
        "order",
        "fault",
        "lease",
        "reason",
        "rng",
        "service_accounts",
    ];
    const IMPURE: [&str; 8] =
        ["kube", "k8s_openapi", "tokio", "HashMap", "HashSet", "RandomState", "SystemTime", "Instant"];
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for module in PURE {
        let before = found.len();
        for path in [src.join(module), src.join(format!("{module}.rs")), src.join(format!("{module}_tests.rs"))] {
            if path.exists() {
                files(&path, &mut found);
            }
        }
        assert!(found.len() > before, "where is {module}?");
    }
    for file in found {
        let text = std::fs::read_to_string(&file).unwrap();
        let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for word in IMPURE {
            assert!(!names(&code, word), "{} names {word}", file.display());
        }
    }
}

#[test]
fn a_word_is_found_on_its_own_only() {
    assert!(names("use kube::Api;", "kube") && names("x: std::time::Instant", "Instant"));
    assert!(!names("kubeconfig", "kube") && !names("InstantNoodles", "Instant"));
}
