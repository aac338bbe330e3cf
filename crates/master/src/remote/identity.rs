//! Which destination a connection leads to: by what name it is reached says nothing of that.

use std::pin::pin;

use sync_core::cluster::connection::Connection;
use sync_core::cluster::read;
use sync_core::contract::object::{Kind, Uid};
use sync_core::fault::Fault;
use sync_core::ops::shutdown::Shutdown;
use tracing::{info, warn};

use super::reach::Reach;
use super::removal::Freed;
use super::serve::{self, Work};
use super::status::{Outcome, Report};

/// Every namespace of every cluster has this ConfigMap, made by the cluster itself, and each its own.
const IN_EVERY_NAMESPACE: &str = "kube-root-ca.crt";

/// Why nobody knows yet where a connection leads.
pub(crate) enum Unknown {
    /// The remote cluster does not say.
    There(Fault),
    /// It says that there is no such ConfigMap.
    Missing,
    /// Our own cluster does not say.
    Here(Fault),
}

/// What a connection leads to.
pub(crate) struct Identity {
    /// Of the destination.
    pub(crate) uid: Uid,
    /// The management cluster.
    pub(crate) is_self: bool,
}

/// Asks the remote cluster, and our own whether it is the same.
pub(crate) async fn ask(home: &Connection, there: &Connection, destination: &str) -> Result<Identity, Unknown> {
    let there = uid(there, destination).await.map_err(Unknown::There)?.ok_or(Unknown::Missing)?;
    let here = match uid(home, destination).await {
        Ok(here) => here,
        // What is no place that we may look at is none that we could write to by our own rights either.
        Err(Fault::Forbidden(_)) => None,
        Err(fault) => return Err(Unknown::Here(fault)),
    };
    Ok(Identity { uid: there, is_self: here == Some(there) })
}

async fn uid(connection: &Connection, namespace: &str) -> Result<Option<Uid>, Fault> {
    let found = read::get_object(&connection.write, Kind::ConfigMap, namespace, IN_EVERY_NAMESPACE).await?;
    Ok(found.map(|found| found.uid))
}

impl Unknown {
    /// What to tell of it, if that is for the RemoteCluster.
    pub(super) fn outcome(self, reach: &Reach) -> Option<Outcome> {
        match self {
            Self::There(fault) => Some(reach.outcome(fault)),
            Self::Missing => Some(Outcome::Unidentified),
            Self::Here(fault) => {
                warn!(reason = fault.reason(), %fault, "cannot tell whether this is the management cluster itself");
                None
            }
        }
    }
}

/// Copies while no older RemoteCluster leads to the same place, until told to stop.
pub(super) async fn copy(
    work: &Work<'_>,
    connection: &Connection,
    reach: &Reach,
    identity: &Identity,
    stop: &Shutdown,
) {
    work.report.send_modify(|report| report.identity = Some(identity.uid.to_string()));
    if identity.is_self {
        if let Some(removal) = &work.removal {
            removal.free(Freed::SelfReference);
        }
        return work.say_until(Outcome::SelfReference, stop).await;
    }
    work.claim.put(Some(identity.uid));
    loop {
        if let Some(removal) = work.removal.as_ref().filter(|_| work.claim.has_rivals()) {
            removal.free(Freed::Shared);
            return stop.begun().await;
        }
        let seat = tokio::select! {
            biased;
            () = stop.begun() => return,
            seat = work.claim.first(|older| {
                if work.say(Outcome::Duplicate(older.clone())) {
                    info!(older, "another RemoteCluster leads there; nothing is copied by this one");
                }
            }) => seat,
        };
        let leave = Shutdown::default();
        let mut copying = pin!(serve::copy(work, connection.clone(), reach, &leave));
        let overtaken = tokio::select! {
            biased;
            () = stop.begun() => false,
            () = work.claim.lost() => true,
            // It ends by itself only if the engine has failed.
            () = &mut copying => return,
        };
        leave.begin();
        copying.as_mut().await;
        drop(seat);
        if !overtaken {
            return;
        }
        work.report.send_modify(Report::forget_engine);
    }
}
