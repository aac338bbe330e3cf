//! Requests that a [`Core`](crate::core::Core) wants made, and their results.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::contract::object::{Keys, Kind, Rv, Uid};
use crate::plan::Inside;

/// One request on one replica.
#[derive(Clone)]
pub struct Order {
    /// Names the order in its result.
    pub id: u64,
    /// Secret or ConfigMap.
    pub kind: Kind,
    /// The destination.
    pub namespace: Arc<str>,
    /// The object.
    pub name: Arc<str>,
    /// What to ask for.
    pub step: Step,
}

/// The request. Bodies are complete and are sent as they are.
#[derive(Clone)]
pub enum Step {
    /// POST
    Create(Bytes),
    /// PATCH, `application/json-patch+json`
    Update(Bytes),
    /// PUT of one version: the other form of an update, see [`body::replace`](crate::contract::body::replace).
    Replace(Bytes),
    /// PATCH, before a master's delete.
    SwitchOff(Bytes),
    /// PATCH, instead of a delete.
    Release(Bytes),
    /// PATCH, on an object that was not ours.
    Adopt(Bytes),
    /// DELETE with `DeleteOptions`
    Delete(Bytes),
    /// GET of the metadata.
    Look,
    /// GET of all.
    LookInside,
}

impl Step {
    /// Whether it changes anything.
    pub const fn is_write(&self) -> bool {
        !matches!(self, Self::Look | Self::LookInside)
    }

    /// One word for logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Update(_) | Self::Replace(_) => "update",
            Self::SwitchOff(_) => "switch-off",
            Self::Release(_) => "release",
            Self::Adopt(_) => "adopt",
            Self::Delete(_) => "delete",
            Self::Look => "look",
            Self::LookInside => "look-inside",
        }
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, kind, namespace, name, step } = self;
        write!(f, "{} {kind} {namespace}/{name} (order {id})", step.as_str())
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The answer to an order that succeeded.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Created, updated, switched off, released or adopted; this is the version now.
    Written {
        /// Its uid.
        uid: Uid,
        /// Its resourceVersion.
        rv: Rv,
    },
    /// Deleted, or it was gone already.
    Deleted,
    /// It would have been done: this was a dry run, and nothing is stored.
    Tried,
    /// What stands there, if anything.
    Looked(Option<Looked>),
}

/// What a look has found.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Whose it is.
    pub metadata: Metadata,
    /// What is in it, if that was asked.
    pub inside: Option<Inside>,
}

/// An object's metadata, as far as it tells whose it is. `Debug` shows no payload.
#[derive(Clone)]
pub struct Metadata {
    /// `metadata.uid`
    pub uid: Uid,
    /// `metadata.resourceVersion`
    pub rv: Rv,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`
    pub annotations: BTreeMap<String, String>,
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uid, rv, labels, annotations } = self;
        f.debug_struct("Metadata")
            .field("uid", uid)
            .field("rv", rv)
            .field("labels", labels)
            .field("annotations", &Keys(annotations))
            .finish()
    }
}
