//! What both controllers begin with: the way to their own cluster, and the sources in it.

use std::sync::Arc;

use http::Uri;

use super::flags::Common;
use super::shutdown::Shutdown;
use crate::cluster::access::{Access, AccessError};
use crate::cluster::connection::Connection;
use crate::cluster::lease::Candidate;
use crate::contract::rules::Rules;
use crate::leadership::Leadership;
use crate::source_feed::{SourceFeed, SourceFeedConfig};

/// A controller that knows its cluster; nothing is sent yet.
#[derive(Debug)]
pub struct Begun {
    /// Who we are.
    pub rules: Arc<Rules>,
    /// Seed of the jitter.
    pub seed: u64,
    /// The cluster's API server.
    pub server: Uri,
    /// The way to it.
    pub connection: Connection,
    /// Whether this process writes, and when it has ended for good.
    pub leadership: Leadership,
}

impl Begun {
    /// By what the flags say.
    ///
    /// # Errors
    /// If there is no way to reach a cluster; one that does not answer is waited for.
    pub async fn new(common: Common) -> Result<Self, AccessError> {
        let Common { rules, context, leader_elect, .. } = common;
        let access = Access::local(context.as_deref()).await?;
        let connection = Connection::new(&access, rules.role.user_agent())?;
        let seed = super::seed();
        let leadership = if leader_elect {
            // The seed tells this process from one of the same pod before it.
            let candidate = Candidate::new(&rules, format!("{}_{seed:016x}", super::instance(rules.role)));
            let shared = Leadership::shared(candidate, connection.clone(), seed, jiff::Timestamp::now);
            shared.map_err(|fault| AccessError::Local(fault.to_string()))?
        } else {
            Leadership::alone()
        };
        Ok(Self { rules: Arc::new(rules), seed, server: access.server().clone(), connection, leadership })
    }

    /// Starts to watch the sources.
    pub fn sources(&self, shutdown: &Shutdown) -> SourceFeed {
        let feed = SourceFeedConfig {
            rules: Arc::clone(&self.rules),
            seed: self.seed,
            wall_clock: jiff::Timestamp::now,
            instance: super::instance(self.rules.role),
            leading: self.leadership.leading(),
        };
        SourceFeed::start(feed, self.connection.clone(), shutdown.clone())
    }
}
