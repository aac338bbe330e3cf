//! Events on sources.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::eventually;

use super::{Kind, SOON, World};

/// What people read of an Event.
#[derive(Debug)]
pub(crate) struct Said {
    /// `Normal` or `Warning`.
    pub(crate) kind: String,
    pub(crate) reason: String,
    pub(crate) note: String,
}

impl World {
    /// The Events on an object of the source namespace `operator`.
    pub(crate) async fn events(&self, kind: Kind, name: &str) -> Result<Vec<Said>> {
        self.events_in("operator", kind, name).await
    }

    /// The Events on an object.
    pub(crate) async fn events_in(&self, namespace: &str, kind: Kind, name: &str) -> Result<Vec<Said>> {
        self.events_of(namespace, kind.name(), name).await
    }

    /// The same of any kind.
    pub(crate) async fn events_of(&self, namespace: &str, kind: &str, name: &str) -> Result<Vec<Said>> {
        let of = format!("involvedObject.kind={kind},involvedObject.name={name}");
        let list = self.list(&format!("/api/v1/namespaces/{namespace}/events?fieldSelector={of}")).await?;
        let text =
            |event: &Value, key: &str| event[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"));
        let said =
            |e: &Value| Ok(Said { kind: text(e, "type")?, reason: text(e, "reason")?, note: text(e, "message")? });
        list.iter().map(said).collect()
    }

    /// Waits until there is an Event with this reason and these words on an object of the source namespace `operator`.
    pub(crate) async fn until_said(&self, kind: Kind, name: &str, reason: &str, words: &[&str]) -> Said {
        self.until_said_in("operator", kind, name, reason, words).await
    }

    /// The same of any object.
    pub(crate) async fn until_said_in(
        &self,
        namespace: &str,
        kind: Kind,
        name: &str,
        reason: &str,
        words: &[&str],
    ) -> Said {
        eventually(SOON, format!("an Event on {namespace}/{name}: {reason}, {words:?}"), async || {
            let mut all = self.events_in(namespace, kind, name).await?;
            let is = |said: &Said| said.reason == reason && words.iter().all(|word| said.note.contains(word));
            let found = all.iter().position(is);
            ensure!(found.is_some(), "{all:?}");
            Ok(all.swap_remove(found.unwrap_or_default()))
        })
        .await
    }
}
