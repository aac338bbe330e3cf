//! Where copies belong.

/// Where copies belong in this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every namespace but the source namespace; a watch tells which there are.
    Namespaces,
    /// One namespace of a remote cluster. Whether it exists, only a write tells.
    One {
        /// The namespace.
        namespace: String,
        /// Name of the RemoteCluster; sources select by it.
        cluster: String,
    },
}

impl Scope {
    /// The one namespace, if it is one.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Namespaces => None,
            Self::One { namespace, .. } => Some(namespace),
        }
    }

    /// The remote cluster; empty for an agent's own.
    pub fn cluster(&self) -> &str {
        match self {
            Self::Namespaces => "",
            Self::One { cluster, .. } => cluster,
        }
    }
}
