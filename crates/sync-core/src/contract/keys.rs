//! Keys that stand on users' objects and on replicas, spelled once.

/// Prefix of everything that is ours. An unknown annotation below it freezes a source.
pub const PREFIX: &str = "mw-sync.io/";
/// The switch, canonical spelling; a master's replica carries this one.
pub const SYNC: &str = "mw-sync.io/sync";
/// The switch without a prefix, for clusters without the admission policy.
pub const SYNC_SHORT: &str = "mw-sync";

/// Label on a replica: which controller manages it, [`Role::as_str`](crate::contract::rules::Role::as_str).
pub const MANAGED_BY: &str = "mw-sync.io/managed-by";
/// Label on a replica: name of its source, shortened with a hash over 63 characters.
pub const SOURCE: &str = "mw-sync.io/source";
/// Annotation on a replica: `<cluster-name>/<namespace>/<name>` (master) or `<namespace>/<name>` (agent).
pub const ORIGIN: &str = "mw-sync.io/origin";
/// Annotation on a replica: uid of the source namespace, which tells its incarnations apart.
pub const ORIGIN_UID: &str = "mw-sync.io/origin-uid";
/// Annotation on a replica: the label and annotation keys that came from the source.
pub const COPIED: &str = "mw-sync.io/copied";
/// Annotation on an agent's replica whose source was itself a master's replica: the origin of that one. It
/// outlives the source, so that an agent which was down still knows that a vanished source is a loss upstream
/// (`SourceVanished`) and no order to delete.
pub const UPSTREAM: &str = "mw-sync.io/upstream";

/// Annotations below [`PREFIX`] that may stand on a source without freezing it: the switch, and the marks of a
/// master's replica, which is the source of an agent.
pub const KNOWN_ON_SOURCE: &[&str] = &[SYNC, ORIGIN, ORIGIN_UID, COPIED, UPSTREAM];

/// Type of the Secrets that hold credentials of remote clusters; never replicated.
pub const KUBECONFIG_TYPE: &str = "mw-sync.io/kubeconfig";

/// Secret types that are never replicated: bound to one object or one cluster, or credentials of clusters.
pub const NEVER_TYPES: &[&str] =
    &["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token", "helm.sh/release.v1", KUBECONFIG_TYPE];

/// ConfigMaps that are never replicated: every namespace or cluster has its own.
pub const NEVER_CONFIG_MAPS: &[&str] = &["kube-root-ca.crt", "aws-auth", "mw-sync-agent"];
