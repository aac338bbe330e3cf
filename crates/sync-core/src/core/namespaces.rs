//! The namespaces of the cluster, for who needs them too and would else watch them a second time.

use super::{Arc, Core, Destination, Feed, Labels, NamespaceSeen};

/// What there is to know of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceKnown {
    /// Its name.
    pub name: Arc<str>,
    /// Whether copies belong there.
    pub state: Destination,
    /// Its labels.
    pub labels: Labels,
}

/// What has become of them.
#[derive(Clone, Debug)]
pub enum NamespaceNews {
    /// There are these, and no others.
    All(Vec<NamespaceKnown>),
    /// This one is there, and so it stands.
    One(NamespaceKnown),
    /// The one of this name is gone.
    Gone(Arc<str>),
}

impl NamespaceNews {
    /// What a step of the watch on them tells, if it does by itself.
    pub fn of(feed: &Feed<NamespaceSeen>) -> Option<Self> {
        match feed {
            Feed::Applied(seen) => {
                let (name, labels) = (seen.name.as_str().into(), seen.labels.clone());
                Some(Self::One(NamespaceKnown { name, state: seen.state, labels }))
            }
            Feed::Gone(seen) => Some(Self::Gone(seen.name.as_str().into())),
            // The list tells when it is complete.
            Feed::Init | Feed::Listed(_) | Feed::InitDone(_) => None,
        }
    }
}

impl Core {
    /// All namespaces but the source namespace; `None` until their list has come.
    pub fn namespaces(&self) -> Option<NamespaceNews> {
        let all = self.dests.values().filter_map(|dest| {
            let (name, labels) = (Arc::clone(&dest.name), dest.labels.clone());
            Some(NamespaceKnown { name, state: dest.state?, labels })
        });
        self.dests_complete.then(|| NamespaceNews::All(all.collect()))
    }
}
