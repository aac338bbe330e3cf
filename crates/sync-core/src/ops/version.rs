//! What this program is.

use std::sync::LazyLock;

/// The commit that it was built from, if whoever built it said so: `MW_SYNC_REVISION=$(git rev-parse --short=12 HEAD)`
/// in the environment of cargo. Nobody asks git for it: a build is the same wherever the source is unpacked.
const REVISION: Option<&str> = option_env!("MW_SYNC_REVISION");

/// The version, and the revision if it is known: `0.1.0` or `0.1.0 (0123456789ab)`.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| said(REVISION));
    &VERSION
}

fn said(revision: Option<&str>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match revision.filter(|revision| !revision.is_empty()) {
        Some(revision) => format!("{version} ({revision})"),
        None => version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_revision_is_none() {
        assert!(version().starts_with("0."));
        assert_eq!(said(Some("0123456789ab")), format!("{} (0123456789ab)", said(None)));
        assert_eq!(said(Some("")), said(None));
    }
}
