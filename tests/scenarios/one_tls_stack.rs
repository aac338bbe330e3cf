//! One TLS stack: rustls on aws-lc-rs, in the programs and in the tests.

use std::process::Command;

use serde_json::Value;

/// A second one in the tree would come in by a feature that nobody meant to enable. The lock file may name it: it
/// names what any feature could enable.
#[test]
fn rustls_on_aws_lc_and_no_other() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    // Normal, build and dev dependencies of all packages, each line a name and a version.
    let args = ["tree", "--workspace", "--edges", "all", "--prefix", "none", "--locked", "--manifest-path", manifest];
    let output = Command::new(cargo).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let has = |name: &str| tree.lines().any(|line| line.split(' ').next() == Some(name));
    for ours in ["rustls", "aws-lc-rs", "hyper-rustls", "testbed", "proptest"] {
        assert!(has(ours), "{ours} is not in the tree, so this test reads it wrongly");
    }
    let deny: Value = toml::from_str(include_str!("../../deny.toml")).unwrap();
    let banned: Vec<_> =
        deny["bans"]["deny"].as_array().unwrap().iter().map(|banned| banned["name"].as_str().unwrap()).collect();
    assert!(banned.contains(&"ring"));
    for other in banned {
        assert!(!has(other), "{other} is in the tree; `cargo tree --workspace -e all -i {other}` says by what");
    }
}
