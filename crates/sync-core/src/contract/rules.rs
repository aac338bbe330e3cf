//! Who we are and what we were told: the part of the configuration that decides what a replica looks like.

use std::time::Duration;

use super::keys;
use super::object::{SourceKey, Uid};
use super::patterns::Patterns;
use super::strip::StripList;

/// How long replicas outlive what asked for them, unless `--delete-grace` says otherwise: time enough to delete a
/// source and create it anew.
pub const DELETE_GRACE: Duration = Duration::from_secs(30);

/// Which of the two controllers this is. Each treats the other's replicas as somebody else's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Pushes to one namespace of each remote cluster.
    Master,
    /// Fans out to the namespaces of its own cluster.
    Agent,
}

impl Role {
    /// Value of the label [`keys::MANAGED_BY`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Agent => "agent",
        }
    }

    /// The one whose [`field_manager`](Self::field_manager) that is.
    pub fn by_field_manager(name: &str) -> Option<Self> {
        [Self::Agent, Self::Master].into_iter().find(|role| role.field_manager() == name)
    }

    /// Field manager of all writes.
    pub const fn field_manager(self) -> &'static str {
        match self {
            Self::Master => "mw-sync-master",
            Self::Agent => "mw-sync-agent",
        }
    }

    /// User agent of all requests: the same with the version.
    pub const fn user_agent(self) -> &'static str {
        match self {
            Self::Master => concat!("mw-sync-master/", env!("CARGO_PKG_VERSION")),
            Self::Agent => concat!("mw-sync-agent/", env!("CARGO_PKG_VERSION")),
        }
    }

    /// The command that shows whether one runs in this namespace, its own.
    pub fn look(self, namespace: &str) -> String {
        format!("kubectl -n {namespace} get deployment,pods -l app.kubernetes.io/name={}", self.field_manager())
    }
}

/// Settings that the contract depends on; fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Which controller.
    pub role: Role,
    /// `--source-namespace`
    pub source_namespace: String,
    /// `--cluster-name`; names the origin of a master's replicas. `None` for an agent.
    pub cluster_name: Option<String>,
    /// Keys of the switch: the canonical one and those of `--sync-annotation`.
    pub switches: Vec<String>,
    /// Labels that copies do not carry.
    pub strip: StripList,
    /// `--delete-grace`
    pub delete_grace: Duration,
    /// `--allow-adopt`
    pub allow_adopt: bool,
    /// `--exclude-namespaces`: no copies there, whatever sources say.
    pub exclude_namespaces: Option<Patterns>,
    /// `--take-over`: incarnations of the source namespace whose replicas a master takes over.
    pub take_over: Vec<Uid>,
}

impl Rules {
    /// What is before the name in the origin of every replica of ours: `operator/` or `management/operator/`.
    pub fn origin_prefix(&self) -> String {
        match &self.cluster_name {
            Some(cluster) => format!("{cluster}/{}/", self.source_namespace),
            None => format!("{}/", self.source_namespace),
        }
    }

    /// The value of [`keys::ORIGIN`] on replicas of this source.
    pub fn origin(&self, source: &SourceKey) -> String {
        format!("{}{}", self.origin_prefix(), source.name)
    }

    /// Label selector of the watches on our replicas.
    pub fn replica_selector(&self) -> String {
        format!("{}={}", keys::MANAGED_BY, self.role.as_str())
    }

    /// Rules with the defaults of every flag.
    pub fn new(role: Role, source_namespace: &str, cluster_name: Option<&str>, strip: StripList) -> Self {
        Self {
            role,
            source_namespace: source_namespace.to_owned(),
            cluster_name: cluster_name.map(str::to_owned),
            switches: vec![keys::SYNC.to_owned(), keys::SYNC_SHORT.to_owned()],
            strip,
            delete_grace: DELETE_GRACE,
            allow_adopt: false,
            exclude_namespaces: None,
            take_over: Vec::new(),
        }
    }
}
