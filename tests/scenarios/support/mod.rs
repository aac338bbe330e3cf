//! What several themes need: the agent as `deploy/` installs it, and short ways to look at a cluster and change it.

mod deployed;
mod events;
mod installed;
mod thousand;
mod waits;
mod world;

pub(crate) use deployed::Deployed;
pub(crate) use installed::{
    AGENT, Shared, adopting_agent, annotated, asking, install, outliving, shared_agent, spawn, start,
};
pub(crate) use thousand::{Thousand, thousand};
pub(crate) use waits::{until_may_not, until_said};
pub(crate) use world::{Kind, World, code, uid, version};

use std::time::Duration;

/// The namespaces that each cluster has from the start.
pub(crate) const BUILT_IN: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// Enough on a machine that is busy with other things; usually it takes a second.
pub(crate) const SOON: Duration = Duration::from_secs(60);
