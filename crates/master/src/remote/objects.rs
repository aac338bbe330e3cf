//! Objects of one kind in the source namespace, as a watch shows them, for all who need them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sync_core::index::feed::Feed;
use tokio::sync::watch as state;
use tracing::warn;

use super::crd::RemoteCluster;

/// What the watches of the fleet have shown.
#[derive(Debug, Default)]
pub struct Known {
    /// All RemoteClusters.
    pub clusters: Shelf<RemoteCluster>,
    /// All Secrets; of those that are no kubeconfigs little more than the type.
    pub secrets: Shelf<Secret>,
}

/// Where a book stands, for one writer and any number of readers.
pub type Shelf<T> = Arc<state::Sender<Book<T>>>;

/// What is known of objects of a kind. `Debug` shows their names: some are credentials.
pub struct Book<T> {
    /// Those that there are.
    pub by_name: BTreeMap<String, Arc<T>>,
    /// Their list has come; before that absent and unknown are not told apart.
    pub complete: bool,
}

/// The writer of a book.
pub(crate) struct Objects<T> {
    book: Shelf<T>,
    listed: Option<Vec<String>>,
}

impl<T> Default for Book<T> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), complete: false }
    }
}

impl<T> fmt::Debug for Book<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Book").field("names", &self.by_name.keys()).field("complete", &self.complete).finish()
    }
}

/// Objects are shown in full; nothing of one that cannot be read is.
pub(crate) fn decode<T: DeserializeOwned>(json: &RawValue) -> Option<T> {
    let object = serde_json::from_str(json.get()).ok();
    if object.is_none() {
        warn!(kind = std::any::type_name::<T>(), "an object cannot be understood and is passed over");
    }
    object
}

impl<T: kube::Resource> Objects<T> {
    /// Writes into this book.
    pub(crate) fn of(book: &Shelf<T>) -> Self {
        Self { book: Arc::clone(book), listed: None }
    }

    /// Whether the list has come.
    pub(crate) fn is_complete(&self) -> bool {
        self.book.borrow().complete
    }

    /// The object of this name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<T>> {
        self.book.borrow().by_name.get(name).cloned()
    }

    /// The names of those that are like this.
    pub(crate) fn names(&self, like: impl Fn(&T) -> bool) -> Vec<String> {
        let book = self.book.borrow();
        book.by_name.iter().filter(|(_, object)| like(object)).map(|(name, _)| name.clone()).collect()
    }

    /// Takes in a step, and returns the names of what has changed.
    pub(crate) fn take(&mut self, feed: Feed<T>) -> Vec<String> {
        let mut changed = Vec::new();
        let listed = &mut self.listed;
        self.book.send_if_modified(|book| {
            changed = book.take(listed, feed);
            !changed.is_empty() || book.complete
        });
        changed
    }
}

impl<T: kube::Resource> Book<T> {
    fn take(&mut self, listed: &mut Option<Vec<String>>, feed: Feed<T>) -> Vec<String> {
        match feed {
            Feed::Init => {
                *listed = Some(Vec::new());
                Vec::new()
            }
            Feed::Listed(object) => {
                let name = object.name_any();
                self.by_name.insert(name.clone(), Arc::new(object));
                listed.get_or_insert_default().push(name.clone());
                vec![name]
            }
            Feed::Applied(object) => {
                let name = object.name_any();
                self.by_name.insert(name.clone(), Arc::new(object));
                vec![name]
            }
            Feed::Gone(object) => {
                let name = object.name_any();
                self.by_name.remove(&name);
                vec![name]
            }
            Feed::InitDone(_) => {
                let listed = listed.take().unwrap_or_default();
                let first = !std::mem::replace(&mut self.complete, true);
                let all: Vec<_> = self.by_name.keys().cloned().collect();
                self.by_name.retain(|name, _| listed.contains(name));
                if first { all } else { all.into_iter().filter(|name| !listed.contains(name)).collect() }
            }
        }
    }
}
