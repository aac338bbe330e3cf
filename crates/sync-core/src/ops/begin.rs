//! What both controllers begin with: the way to their own cluster, and the sources in it.

use std::net::SocketAddr;
use std::sync::Arc;

use ::http::Uri;
use tokio::net::TcpListener;

use super::flags::Common;
use super::health::Health;
use super::http::{self, ListenError};
use super::metrics::Metrics;
use super::probes::Probes;
use super::shutdown::Shutdown;
use super::status::{Head, Shows, StatusPages};
use crate::cluster::access::AccessError;
use crate::cluster::connection::{Connection, Patience};
use crate::cluster::lease::Candidate;
use crate::contract::rules::Rules;
use crate::leadership::{Leadership, Leading};
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
    /// What `/readyz` waits for.
    pub health: Health,
    /// What `/metrics` tells.
    pub metrics: Metrics,
    /// Where people look.
    pub status: StatusPort,
}

/// The port of the status, if there is one.
#[derive(Debug)]
pub struct StatusPort(Option<TcpListener>);

impl StatusPort {
    async fn open(address: Option<SocketAddr>) -> Result<Self, ListenError> {
        let Some(address) = address else { return Ok(Self(None)) };
        Ok(Self(Some(http::bind("--status-listen", address).await?)))
    }

    /// From now on whoever looks is shown this.
    pub fn show(self, rules: &Arc<Rules>, leading: Leading, health: &Health, shows: Arc<dyn Shows>) {
        if let Some(listener) = self.0 {
            let address = listener.local_addr().ok().map(tracing::field::display);
            tracing::info!(address, "listening for kubectl port-forward: / and /status");
            let head = Head { rules: Arc::clone(rules), leading, health: health.clone() };
            tokio::spawn(http::serve(listener, StatusPages::new(head, shows)));
        }
    }
}

/// Why a controller cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// There is no way to reach a cluster.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no port.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl Begun {
    /// By what the flags say.
    ///
    /// # Errors
    /// If there is no way to reach a cluster, or the port is taken; a cluster that does not answer is waited for.
    pub async fn new(common: Common) -> Result<Self, BeginError> {
        let Common { rules, context, leader_elect, dry_run, listen, status_listen, .. } = common;
        // First of all: whoever cannot be asked how it does is not to begin.
        let listener = http::bind("--listen", listen).await?;
        let status = StatusPort::open(status_listen).await?;
        let (health, metrics) = (Health::default(), Metrics::default());
        let way = Connection::local(context.as_deref(), rules.role.user_agent(), Patience::CONTROLLER);
        let (server, connection) = way.await?;
        let seed = super::seed();
        let leadership = if dry_run {
            tracing::warn!("a dry run: NOTHING is written, here or elsewhere; what would be is only tried");
            Leadership::dry()
        } else if leader_elect {
            // The seed tells this process from one of the same pod before it.
            let candidate = Candidate::new(&rules, format!("{}_{seed:016x}", super::instance(rules.role)));
            let heard = metrics.watch("lease", "");
            let shared = Leadership::shared(candidate, connection.clone(), seed, heard, jiff::Timestamp::now);
            shared.map_err(|fault| AccessError::Local(fault.to_string()))?
        } else {
            Leadership::alone()
        };
        metrics.set_leading(leadership.leading());
        let address = listener.local_addr().unwrap_or(listen);
        tracing::info!(%address, "listening: /livez, /readyz, /metrics");
        tokio::spawn(http::serve(listener, Probes { health: health.clone(), metrics: metrics.clone() }));
        let rules = Arc::new(rules);
        Ok(Self { rules, seed, server, connection, leadership, health, metrics, status })
    }

    /// Starts to watch the sources.
    pub fn sources(&self, shutdown: &Shutdown) -> SourceFeed {
        let feed = SourceFeedConfig {
            rules: Arc::clone(&self.rules),
            seed: self.seed,
            wall_clock: jiff::Timestamp::now,
            instance: super::instance(self.rules.role),
            leading: self.leadership.leading(),
            metrics: self.metrics.clone(),
        };
        let feed = SourceFeed::start(feed, self.connection.clone(), shutdown.clone());
        let state = feed.state();
        self.health.needs("sources", move || state.borrow().complete);
        feed
    }
}
