//! The manifest that the types of our objects write.

use kube::CustomResourceExt as _;

use crate::discovery::crd::ClusterDiscovery;
use crate::remote::crd::RemoteCluster;

/// First lines of `deploy/crds.yaml`.
const HEADER: &str = "\
# Written by `master crd`; do not edit. No other manifest deletes these: with a definition all its objects would go.
";

/// `deploy/crds.yaml`
///
/// # Errors
/// None in practice: the types can be written as YAML.
pub fn yaml() -> Result<String, serde_yaml::Error> {
    let [remote, discovery] = [RemoteCluster::crd(), ClusterDiscovery::crd()];
    Ok(format!("{HEADER}{}---\n{}", serde_yaml::to_string(&remote)?, serde_yaml::to_string(&discovery)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_what_the_types_write() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/crds.yaml");
        let file = std::fs::read_to_string(path).unwrap();
        let same = file == yaml().unwrap();
        assert!(same, "deploy/crds.yaml is out of date: cargo run -p master -- crd > deploy/crds.yaml");
    }
}
