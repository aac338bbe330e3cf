//! What stands in a cluster, as watches show it, each change with its time.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Instant;

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, WatchEvent, WatchParams};
use kube::{Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// Namespaces, and the Secrets of one name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// Since when each namespace is there.
    pub(crate) namespaces: BTreeMap<String, Instant>,
    /// By namespace. One that was deleted stays here, without content.
    pub(crate) secrets: BTreeMap<String, Entry>,
}

/// A Secret.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its last change.
    pub(crate) at: Instant,
    /// Its last deletion.
    pub(crate) deleted: Option<Instant>,
    /// As it is now, if it is there.
    pub(crate) secret: Option<Seen>,
}

/// What matters of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `type` and `data`.
    pub(crate) content: (Option<String>, BTreeMap<String, ByteString>),
    /// Whether it carries a controller's mark.
    pub(crate) is_copy: bool,
}

impl Observed {
    /// The Secret in this namespace.
    pub(crate) fn secret(&self, namespace: &str) -> Option<&Seen> {
        self.secrets.get(namespace)?.secret.as_ref()
    }

    /// When it last changed.
    pub(crate) fn changed(&self, namespace: &str) -> Option<Instant> {
        self.secrets.get(namespace).map(|entry| entry.at)
    }
}

/// Watches until the receiver is dropped.
pub(crate) fn observe(client: &Client, name: &str) -> watch::Receiver<Observed> {
    let (sender, receiver) = watch::channel(Observed::default());
    let secrets = Api::<Secret>::all(client.clone());
    let only = WatchParams::default().fields(&format!("metadata.name={name}"));
    tokio::spawn(follow(secrets, only, sender.clone(), secret));
    tokio::spawn(follow(Api::<Namespace>::all(client.clone()), WatchParams::default(), sender, namespace));
    receiver
}

/// A watch that ends is begun again; whoever waits for something has a deadline.
async fn follow<K>(api: Api<K>, params: WatchParams, to: watch::Sender<Observed>, note: fn(&mut Observed, &K, bool))
where
    K: Clone + Debug + DeserializeOwned,
{
    let once = async || -> Result<()> {
        let mut events = Box::pin(api.watch(&params, "0").await?);
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    to.send_modify(|observed| note(observed, &object, true));
                }
                WatchEvent::Deleted(object) => to.send_modify(|observed| note(observed, &object, false)),
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(status) => return Err(status).context("the watch has failed"),
            }
        }
        Ok(())
    };
    loop {
        tokio::select! {
            biased;
            () = to.closed() => return,
            _ended = once() => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
}

fn namespace(observed: &mut Observed, namespace: &Namespace, there: bool) {
    let name = namespace.name_any();
    if there {
        observed.namespaces.entry(name).or_insert_with(Instant::now);
    } else {
        observed.namespaces.remove(&name);
    }
}

fn secret(observed: &mut Observed, secret: &Secret, there: bool) {
    let at = Instant::now();
    let namespace = secret.namespace().unwrap_or_default();
    let is_copy = secret.labels().contains_key("mw-sync.io/managed-by");
    let seen = Seen { content: (secret.type_.clone(), secret.data.clone().unwrap_or_default()), is_copy };
    let before = observed.secrets.get(&namespace).and_then(|entry| entry.deleted);
    let deleted = if there { before } else { Some(at) };
    observed.secrets.insert(namespace, Entry { at, deleted, secret: there.then_some(seen) });
}
