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

/// Annotation on what was our replica until its source went with `on-delete: retain`, or until it was released because
/// it had been adopted: the origin. A source of that origin takes it back.
pub const RELEASED_FROM: &str = "mw-sync.io/released-from";
/// Annotation on a replica that was somebody's object before: `adopt-equal` or `adopt`, as the source said then. What
/// was taken over with `adopt` is released and never deleted.
pub const ADOPTED: &str = "mw-sync.io/adopted";

/// Annotation on a ServiceAccount: which of its `imagePullSecrets` are ours, see
/// [`Record`](crate::service_accounts::record::Record).
pub const ADDED_PULL_SECRETS: &str = "mw-sync.io/added-pull-secrets";

/// Option: which remote clusters, by name.
pub const CLUSTERS: &str = "mw-sync.io/clusters";
/// Option: which remote clusters, by labels.
pub const CLUSTER_SELECTOR: &str = "mw-sync.io/cluster-selector";
/// Option: which namespaces, by name.
pub const NAMESPACES: &str = "mw-sync.io/namespaces";
/// Option: which namespaces, by labels.
pub const NAMESPACE_SELECTOR: &str = "mw-sync.io/namespace-selector";
/// Option: what to do with an object that is not ours.
pub const ON_CONFLICT: &str = "mw-sync.io/on-conflict";
/// Option: what becomes of replicas that are wanted no more. On a replica: remembered there, for the source may be gone.
pub const ON_DELETE: &str = "mw-sync.io/on-delete";
/// Option: annotations that copies carry.
pub const COPY_ANNOTATIONS: &str = "mw-sync.io/copy-annotations";
/// Option: ServiceAccounts that pull images with it.
pub const IMAGE_PULL_SECRET: &str = "mw-sync.io/image-pull-secret";

/// What people write on a source: the switch and the options.
pub const OPTIONS: &[&str] = &[
    SYNC,
    CLUSTERS,
    CLUSTER_SELECTOR,
    NAMESPACES,
    NAMESPACE_SELECTOR,
    ON_CONFLICT,
    ON_DELETE,
    COPY_ANNOTATIONS,
    IMAGE_PULL_SECRET,
];
/// Options that only a master reads; its replicas do not carry them.
pub const OPTIONS_OF_MASTER: &[&str] = &[CLUSTERS, CLUSTER_SELECTOR];
/// Marks that may stand on a source: a master's replica is the source of an agent, and so is one that it released.
pub const MARKS_ON_SOURCE: &[&str] = &[ORIGIN, ORIGIN_UID, COPIED, UPSTREAM, RELEASED_FROM, ADOPTED];

/// Where `kubectl apply` keeps the whole object, payload included.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Types of Secrets that a kubelet pulls images with.
pub const PULL_SECRET_TYPES: &[&str] = &["kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"];

/// Type of the Secrets that hold credentials of remote clusters; never replicated.
pub const KUBECONFIG_TYPE: &str = "mw-sync.io/kubeconfig";

/// Secret types that are never replicated: bound to one object or one cluster, or credentials of clusters.
pub const NEVER_TYPES: &[&str] =
    &["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token", "helm.sh/release.v1", KUBECONFIG_TYPE];

/// The ConfigMap in which an agent keeps what it must know after a restart.
pub const AGENT_CONFIG_MAP: &str = "mw-sync-agent";
/// A key in it: ServiceAccounts may list our Secrets. It is not there when none does.
pub const PULL_SECRETS_LISTED: &str = "pull-secrets";

/// ConfigMaps that are never replicated: every namespace or cluster has its own.
pub const NEVER_CONFIG_MAPS: &[&str] = &["kube-root-ca.crt", "aws-auth", AGENT_CONFIG_MAP];
