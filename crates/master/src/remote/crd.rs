//! `RemoteCluster`.

// KubeSchema repeats the types inside of functions.
#![allow(unreachable_pub)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::receipt::{AgentStatus, CopyStatus};

/// What a RemoteCluster is told: how to reach a cluster, and which namespace there is filled.
// Two columns may well be of one type.
#[allow(clippy::duplicated_attributes)]
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, CustomResource, KubeSchema)]
#[kube(
    group = "mw-sync.io",
    version = "v1alpha1",
    kind = "RemoteCluster",
    plural = "remoteclusters",
    shortname = "rcl",
    namespaced,
    status = "RemoteClusterStatus",
    derive = "PartialEq",
    doc = "A cluster to which the master copies Secrets and ConfigMaps. It counts in the master's own namespace only.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Synced", type_ = "integer", json_path = ".status.sources.synced"),
    printcolumn(name = "Refused", type_ = "integer", json_path = ".status.sources.refused"),
    printcolumn(name = "Agent", type_ = "string", json_path = ".status.agent.state"),
    printcolumn(name = "Agent-Pending", type_ = "integer", json_path = ".status.agent.pending"),
    printcolumn(name = "Agent-Refused", type_ = "integer", json_path = ".status.agent.refused"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.eks) != has(self.kubeconfig)").message(
        "exactly one of eks and kubeconfig says how the cluster is reached")
)]
pub struct RemoteClusterSpec {
    /// The cluster is an EKS cluster, and AWS says where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eks: Option<EksCluster>,
    /// The cluster is reached by a kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<KubeconfigRef>,
    /// An HTTP proxy on the way to the cluster's API server; by default what the kubeconfig says, and else HTTPS_PROXY and
    /// NO_PROXY of the master. One that asks for a password belongs there: this object is no place for it.
    #[serde(default, rename = "proxyURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    #[x_kube(
        validation = Rule::new("self.matches('^http://([0-9A-Za-z.-]+|[[][0-9A-Fa-f:.]+[]]):[0-9]{1,5}/?$')").message(
            "proxyURL is an HTTP proxy, without user and password: http://HOST:PORT")
    )]
    pub proxy_url: Option<String>,
    /// Namespace of the remote cluster that the copies are in. It is never changed: the copies in the old one would
    /// be forgotten there.
    #[serde(default = "operator")]
    #[schemars(length(max = 63))]
    #[x_kube(
        validation = Rule::new("self == oldSelf").message(
            "namespace cannot be changed: delete this RemoteCluster and make another one"),
        validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message(
            "namespace is the name of a Namespace: lower case letters, digits and -, first and last no -")
    )]
    pub namespace: String,
    /// Nothing is written or deleted in the remote cluster while this is true.
    #[serde(default)]
    pub suspend: bool,
    /// What becomes of the copies when this RemoteCluster is deleted. With Delete it waits until they are gone, or until
    /// it is annotated with mw-sync.io/abandon=yes.
    #[serde(default)]
    pub on_remove: OnRemove,
}

/// What becomes of the copies in a cluster when its RemoteCluster is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OnRemove {
    /// They stay.
    #[default]
    Retain,
    /// They are deleted first.
    Delete,
}

/// Which EKS cluster, and as whom. Its endpoint and certificate authority are asked of AWS: whoever could set an endpoint
/// here would be sent a live token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "!has(self.roleArn) || (self.roleArn.split(':')[1] == self.arn.split(':')[1] \
         && self.roleArn.split(':')[4] == self.arn.split(':')[4])").message(
        "roleArn is a role of the account that the cluster is in"),
    validation = Rule::new("!has(self.externalId) || has(self.roleArn)").message("externalId needs a roleArn")
)]
pub struct EksCluster {
    /// The cluster's ARN: `aws eks describe-cluster --name NAME --query cluster.arn`.
    #[schemars(length(max = 200))]
    #[x_kube(
        validation = Rule::new("self == oldSelf").message(
            "arn cannot be changed: delete this RemoteCluster and make another one"),
        validation = Rule::new(
            "self.matches('^arn:aws[a-z-]*:eks:[a-z0-9][a-z0-9-]*:[0-9]{12}:cluster/[0-9A-Za-z][0-9A-Za-z_-]{0,99}$')").message(
            "arn is the ARN of an EKS cluster: arn:aws:eks:REGION:ACCOUNT:cluster/NAME")
    )]
    pub arn: String,
    /// A role of the cluster's account that the master assumes. Without one it comes as itself, which only reaches
    /// clusters of its own account.
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
}

/// Where a kubeconfig is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubeconfigRef {
    /// Name of a Secret beside the RemoteCluster. Its type must be mw-sync.io/kubeconfig: `kubectl create secret
    /// generic NAME --type=mw-sync.io/kubeconfig --from-file=kubeconfig=FILE`.
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
    /// Context of the kubeconfig; by default its current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(
        validation = Rule::new("self != ''").message(
            "context is the name of a context of the kubeconfig; leave it out for the current one")
    )]
    pub context: Option<String>,
}

/// What the master has to say about a remote cluster.
// What is not known is written as null: a merge patch takes it out of the object so.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoteClusterStatus {
    /// `Ready` says whether the cluster can be written to, and if not, why and what to do.
    #[serde(default)]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// Address of the API server.
    #[serde(default)]
    pub server: Option<String>,
    /// Kubernetes version, as the API server says it; until it has, as EKS describes it.
    #[serde(default)]
    pub version: Option<String>,
    /// Which destination it is: uid of ConfigMap kube-root-ca.crt in the namespace there. Two RemoteClusters with the
    /// same one lead to the same place.
    #[serde(default)]
    pub identity: Option<String>,
    /// How many sources there are for this cluster.
    #[serde(default)]
    pub sources: Option<Sources>,
    /// What the agent there says.
    #[serde(default)]
    pub agent: Option<AgentStatus>,
    /// Where each source is.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub copies: Vec<CopyStatus>,
    /// The `metadata.generation` that this status is about.
    #[serde(default)]
    pub observed_generation: Option<i64>,
}

/// Sources for one remote cluster, by what has become of their copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sources {
    /// The copy is as it should be.
    #[schemars(range(min = 0))]
    pub synced: i64,
    /// The copy is still to be written or deleted.
    #[schemars(range(min = 0))]
    pub pending: i64,
    /// The copy is not made; an Event on the source says why.
    #[schemars(range(min = 0))]
    pub refused: i64,
}

pub(crate) fn operator() -> String {
    "operator".to_owned()
}

pub(crate) fn kubeconfig() -> String {
    "kubeconfig".to_owned()
}

/// `metav1.Condition`, as every API server defines it.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "message": {"type": "string", "maxLength": 32768},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
                },
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "type": {"type": "string", "minLength": 1, "maxLength": 316}
            }
        },
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let spec: RemoteClusterSpec = serde_yaml::from_str("kubeconfig: {secretName: prod}").unwrap();
        let kubeconfig = KubeconfigRef { secret_name: "prod".into(), key: "kubeconfig".into(), context: None };
        let (eks, namespace, suspend, on_remove) = (None, "operator".to_owned(), false, OnRemove::Retain);
        let (kubeconfig, proxy_url) = (Some(kubeconfig), None);
        assert_eq!(spec, RemoteClusterSpec { eks, kubeconfig, proxy_url, namespace, suspend, on_remove });
        let spec: RemoteClusterSpec = serde_yaml::from_str("eks: {arn: a}").unwrap();
        let eks = EksCluster { arn: "a".into(), role_arn: None, external_id: None };
        assert_eq!((spec.eks, spec.kubeconfig), (Some(eks), None));
    }
}
