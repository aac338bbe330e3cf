//! What was found: clusters of a listing, contexts of a kubeconfig, and how their RemoteClusters are called. Pure.

use std::collections::BTreeMap;

use sync_core::contract::desired::short_hash;

use crate::eks::arn::ClusterArn;
use crate::remote::crd::{EksCluster, KubeconfigRef, RemoteClusterSpec};

/// Longest name that is made; Kubernetes takes 253.
const NAME: usize = 200;
/// Longest label value, and longest label key after its prefix.
const LABEL: usize = 63;

/// A cluster that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Of its RemoteCluster.
    pub(super) name: String,
    pub(super) way: Way,
    /// Labels that its tags make.
    pub(super) labels: BTreeMap<String, String>,
}

/// How a cluster is reached, as a RemoteCluster says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Eks(EksCluster),
    Kubeconfig(KubeconfigRef),
}

impl Way {
    /// The way of a RemoteCluster; none if it names none, or two.
    pub(super) fn of(spec: &RemoteClusterSpec) -> Option<Self> {
        match (&spec.eks, &spec.kubeconfig) {
            (Some(eks), None) => Some(Self::Eks(eks.clone())),
            (None, Some(kubeconfig)) => Some(Self::Kubeconfig(kubeconfig.clone())),
            _ => None,
        }
    }

    /// What is the same for all ways to one cluster, as far as they tell. Two that differ may lead to one all the same: that
    /// shows when they are connected.
    pub(super) fn cluster(&self) -> String {
        match self {
            Self::Eks(eks) => eks.arn.clone(),
            Self::Kubeconfig(KubeconfigRef { secret_name, key, context }) => {
                format!("{secret_name}/{key}/{}", context.as_deref().unwrap_or_default())
            }
        }
    }
}

/// `<cluster>-<region>-<account>`
pub(super) fn name_of_cluster(arn: &ClusterArn) -> String {
    let name = format!("{}-{}-{}", arn.name(), arn.region(), arn.account());
    tame(&name, &arn.to_string())
}

/// The name of the context; of one that is called by its cluster's ARN, as `aws eks update-kubeconfig` does, that of the
/// cluster.
pub(super) fn name_of_context(context: &str) -> String {
    context.parse().map_or_else(|_| tame(context, context), |arn| name_of_cluster(&arn))
}

/// A name that Kubernetes takes. What had to be changed for that ends in a hash of `whole`, so that it is the same whatever
/// else there is, and no other is called so.
fn tame(name: &str, whole: &str) -> String {
    let plain = |c: char| {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' { c } else { '-' }
    };
    let plain: String = name.chars().map(plain).collect();
    let parts: Vec<_> = plain.split('.').map(|part| part.trim_matches('-')).filter(|part| !part.is_empty()).collect();
    let plain = parts.join(".");
    if plain == name && (1..=NAME).contains(&plain.len()) {
        return plain;
    }
    let start: String = plain.chars().take(NAME).collect();
    let start = start.trim_end_matches(['-', '.']);
    format!("{}-{}", if start.is_empty() { "cluster" } else { start }, short_hash(whole))
}

/// The labels that these of the tags make.
pub(super) fn labels(keys: &[String], tags: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    keys.iter().filter_map(|key| Some((label_key(key), label_part(tags.get(key)?)))).collect()
}

/// With a prefix as it is, if it has one that can be one.
fn label_key(tag: &str) -> String {
    let is_prefix = |text: &str| !text.is_empty() && tame(text, "") == *text;
    let key = match tag.split_once('/') {
        Some((prefix, name)) if is_prefix(prefix) && !label_part(name).is_empty() => {
            return format!("{prefix}/{}", label_part(name));
        }
        _ => label_part(tag),
    };
    if key.is_empty() { format!("tag-{}", short_hash(tag)) } else { key }
}

fn label_part(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let ends = |c: char| !c.is_ascii_alphanumeric();
    let plain: String = text.chars().map(plain).collect();
    let start: String = plain.trim_start_matches(ends).chars().take(LABEL).collect();
    start.trim_end_matches(ends).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain_or_ends_in_a_hash() {
        let of = |arn: &str| name_of_cluster(&arn.parse().unwrap());
        assert_eq!(of("arn:aws:eks:eu-west-1:111122223333:cluster/prod"), "prod-eu-west-1-111122223333");
        // Another account is another name.
        assert_eq!(of("arn:aws:eks:eu-west-1:444455556666:cluster/prod"), "prod-eu-west-1-444455556666");
        let (upper, lower) = (
            of("arn:aws:eks:eu-west-1:111122223333:cluster/Prod_A"),
            of("arn:aws:eks:eu-west-1:111122223333:cluster/prod_A"),
        );
        for name in [&upper, &lower] {
            assert!(name.starts_with("prod-a-eu-west-1-111122223333-") && name.len() == 38, "{name}");
        }
        assert_ne!(upper, lower);
        for (context, name) in [
            ("north", "north"),
            ("kind-a.b", "kind-a.b"),
            ("arn:aws:eks:eu-west-1:111122223333:cluster/prod", "prod-eu-west-1-111122223333"),
        ] {
            assert_eq!(name_of_context(context), name);
        }
        for (context, start) in [
            ("admin@prod.x", "admin-prod.x-"),
            ("-a", "a-"),
            ("a..b", "a.b-"),
            ("", "cluster-"),
            ("\u{fc}", "cluster-"),
        ] {
            let name = name_of_context(context);
            assert!(name.starts_with(start) && name.len() == start.len() + 8, "{context}: {name}");
        }
        assert!(name_of_context(&"a".repeat(300)).len() <= 253);
    }

    #[test]
    fn tags_become_labels_that_kubernetes_takes() {
        let tags = [
            ("env", "prod"),
            ("Cost Center", "A & B"),
            ("example.com/team", "\u{e4}x"),
            ("kubernetes.io/cluster/x", "owned"),
            ("long", &"v".repeat(100)),
            ("empty", ""),
            ("other", "x"),
            ("\u{e4}", "y"),
        ];
        let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let keys =
            ["env", "Cost Center", "example.com/team", "kubernetes.io/cluster/x", "long", "empty", "none", "\u{e4}"];
        let labels = labels(&keys.map(str::to_owned), &tags);
        let odd = format!("tag-{}", short_hash("\u{e4}"));
        for (key, value) in [
            ("env", "prod"),
            ("Cost-Center", "A---B"),
            ("example.com/team", "x"),
            ("kubernetes.io/cluster-x", "owned"),
            ("long", &"v".repeat(63)),
            ("empty", ""),
            (&odd, "y"),
        ] {
            assert_eq!(labels.get(key).map(String::as_str), Some(value), "{key}: {labels:?}");
        }
        assert_eq!(labels.len(), 7);
    }
}
