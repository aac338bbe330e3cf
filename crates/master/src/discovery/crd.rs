//! `ClusterDiscovery`.

// KubeSchema repeats the types inside of functions.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::remote::crd::{conditions, kubeconfig, operator};

/// What a ClusterDiscovery is told: where clusters are listed, and what becomes of those that are found.
// Two columns may well be of one type.
#[allow(clippy::duplicated_attributes)]
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, CustomResource, KubeSchema)]
#[kube(
    group = "mw-sync.io",
    version = "v1alpha1",
    kind = "ClusterDiscovery",
    plural = "clusterdiscoveries",
    shortname = "cld",
    namespaced,
    status = "ClusterDiscoveryStatus",
    derive = "PartialEq",
    doc = "Keeps a RemoteCluster for each cluster that a listing shows. It counts in the master's own namespace only.",
    validation = Rule::new("self.metadata.name.size() <= 63").message(
        "the name has at most 63 characters: a label of its RemoteClusters says it"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Found", type_ = "integer", json_path = ".status.clusters.found"),
    printcolumn(name = "NotListed", type_ = "integer", json_path = ".status.clusters.notListed"),
    printcolumn(name = "Refused", type_ = "integer", json_path = ".status.clusters.refused"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.eks) != has(self.kubeconfig)").message(
        "exactly one of eks and kubeconfig says where clusters are listed")
)]
pub struct ClusterDiscoverySpec {
    /// The EKS clusters of an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eks: Option<EksAccount>,
    /// The contexts of a kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<KubeconfigFile>,
    /// `spec.namespace` of the RemoteClusters: the namespace there that the copies are in.
    #[serde(default = "operator")]
    #[schemars(length(max = 63))]
    #[x_kube(
        validation = Rule::new("self == oldSelf").message(
            "namespace cannot be changed: delete this ClusterDiscovery and its RemoteClusters, and make another one"),
        validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message(
            "namespace is the name of a Namespace: lower case letters, digits and -, first and last no -")
    )]
    pub namespace: String,
    /// Whether copies are made in a new cluster at once, or when a person has set `spec.suspend` of its RemoteCluster to
    /// false.
    #[serde(default)]
    pub approval: Approval,
}

/// What becomes of a cluster that is found for the first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Approval {
    /// Copies are made there.
    #[default]
    Automatic,
    /// Its RemoteCluster begins suspended.
    Manual,
}

/// An account, as whom it is looked at, and which of its clusters are meant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.externalId) || has(self.roleArn)").message("externalId needs a roleArn")
)]
pub struct EksAccount {
    /// A role that the master assumes, to list the clusters of the role's account and to log in to them. Without one it
    /// comes as itself, to its own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 700))]
    #[x_kube(
        validation = Rule::new(
            "self.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role(/[0-9A-Za-z+=,.@_-]+)+$')").message(
            "roleArn is the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME")
    )]
    pub role_arn: Option<String>,
    /// What the role's trust policy asks for as sts:ExternalId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224))]
    #[x_kube(
        validation = Rule::new("self.matches('^[0-9A-Za-z_+=,.@:/-]+$')").message(
            "externalId has letters, digits and _+=,.@:/- only")
    )]
    pub external_id: Option<String>,
    /// The regions that are looked at.
    #[schemars(length(min = 1, max = 50), inner(length(max = 40)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(region, region.matches('^[a-z]{2,}(-[a-z0-9]+)+$'))").message(
            "regions are names like eu-west-1")
    )]
    pub regions: Vec<String>,
    /// Only clusters with all of these tags. In a value `*` stands for any characters, `?` for one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "tags")]
    pub tags: BTreeMap<String, String>,
    /// Keys of tags that the RemoteClusters have as labels, for `mw-sync.io/cluster-selector`. What a label cannot have
    /// becomes `-`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 128)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(key, !key.startsWith('mw-sync.io/'))").message(
            "labels below mw-sync.io/ are the master's own")
    )]
    pub labels_from_tags: Vec<String>,
}

/// Where a kubeconfig with several contexts is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubeconfigFile {
    /// Name of a Secret beside the ClusterDiscovery, of type mw-sync.io/kubeconfig.
    #[schemars(length(max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$')").message(
            "secretName is the name of a Secret: lower case letters, digits, - and ., first and last a letter or digit")
    )]
    pub secret_name: String,
    /// Key of the Secret's data that has the kubeconfig.
    #[serde(default = "kubeconfig")]
    #[schemars(length(max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message(
            "key is a key of the Secret's data: letters, digits, -, _ and .")
    )]
    pub key: String,
}

/// What the master has to say about a ClusterDiscovery.
// What is not known is written as null: a merge patch takes it out of the object so.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterDiscoveryStatus {
    /// `Ready` says whether each cluster that was found has its RemoteCluster, and if not, why and what to do.
    #[serde(default)]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// How many clusters there were when the whole list was last had.
    #[serde(default)]
    pub clusters: Option<Clusters>,
    /// The `metadata.generation` that this status is about.
    #[serde(default)]
    pub observed_generation: Option<i64>,
}

/// Clusters of a ClusterDiscovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Clusters {
    /// The listing shows them.
    #[schemars(range(min = 0))]
    pub found: i64,
    /// Of these, a person has made their RemoteCluster.
    #[schemars(range(min = 0))]
    pub by_hand: i64,
    /// Of these, their RemoteCluster is suspended: nobody has approved it yet, or somebody has suspended it.
    #[schemars(range(min = 0))]
    pub suspended: i64,
    /// Of these, they have no RemoteCluster, for the reason in the condition.
    #[schemars(range(min = 0))]
    pub refused: i64,
    /// The listing no longer shows them, and their RemoteClusters are still there.
    #[schemars(range(min = 0))]
    pub not_listed: i64,
}

/// As AWS bounds them.
fn tags(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 50, "additionalProperties": { "type": "string", "maxLength": 256 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let spec: ClusterDiscoverySpec = serde_yaml::from_str("eks: {regions: [eu-west-1]}").unwrap();
        assert_eq!((spec.namespace.as_str(), spec.approval), ("operator", Approval::Automatic));
        let eks = spec.eks.unwrap();
        assert!(eks.tags.is_empty() && eks.labels_from_tags.is_empty() && eks.role_arn.is_none());
        let spec: ClusterDiscoverySpec = serde_yaml::from_str("kubeconfig: {secretName: all}").unwrap();
        assert_eq!(spec.kubeconfig.unwrap().key, "kubeconfig");
    }
}
