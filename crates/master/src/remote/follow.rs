//! An EKS cluster, wherever AWS says that it is: a connection and an engine for as long as it stays in one place.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sync_core::cluster::access::{Access, AccessError};
use sync_core::cluster::addresses::AddressRules;
use sync_core::fault::message;
use sync_core::ops::shutdown::Shutdown;
use sync_core::rng::Rng;
use tokio::sync::watch as state;
use tokio::time::sleep;
use tracing::info;

use super::reach::{EksReach, Reach};
use super::removal::Freed;
use super::serve::{self, Work, set};
use super::status::{Outcome, Report};
use crate::eks::error::EksError;
use crate::eks::facts::Place;
use crate::eks::login::Login;
use crate::eks::scout::{Seen, scout};
use crate::eks::session::Session;
use crate::eks::target::Target;

/// First and longest pause between attempts to sign a first token; the session asks AWS less often.
const BACKOFF_FIRST: Duration = Duration::from_secs(2);
const BACKOFF_MOST: Duration = Duration::from_secs(60);

/// What is known of one cluster while it is followed.
struct Trail<'a> {
    target: &'a Target,
    session: Arc<Session>,
    seen: state::Receiver<Seen>,
    lost: Arc<state::Sender<bool>>,
}

/// Serves the cluster until told to stop.
pub(super) async fn follow(work: &Work<'_>, target: &Target, stop: &Shutdown) {
    let eks = &work.shared.eks;
    let session = eks.session(&target.session_key());
    let (sender, seen) = state::channel(Seen::default());
    let lost = Arc::new(state::Sender::new(false));
    let trail = Trail { target, session: Arc::clone(&session), seen, lost };
    let rng = Rng::new(eks.seed_of(&target.arn.to_string()));
    tokio::select! {
        biased;
        () = along(work, &trail, stop) => {}
        () = scout(eks, &session, &target.arn, &sender, trail.lost.subscribe(), rng) => {}
        () = gone(work, &trail) => {}
        () = described(work, trail.seen.clone()) => {}
    }
}

/// A cluster that is gone has no copies to take away. Only the account that the ARN names can say so.
async fn gone(work: &Work<'_>, trail: &Trail<'_>) {
    if let Some(removal) = &work.removal {
        let mut seen = trail.seen.clone();
        let account = trail.target.arn.account();
        let is_gone = |seen: &Seen| seen.error.as_ref().is_some_and(|error| error.says_gone_in(account));
        if seen.wait_for(is_gone).await.is_ok() {
            removal.free(Freed::ClusterGone);
        }
    }
    std::future::pending::<()>().await;
}

/// Tells the version that AWS says the cluster has: one that cannot be reached does not say it, and one that is upgraded is
/// not asked again.
async fn described(work: &Work<'_>, mut seen: state::Receiver<Seen>) {
    loop {
        let version = seen.borrow_and_update().place.as_ref().and_then(|place| place.version.clone());
        if version.is_some() {
            work.report.send_if_modified(|report| set(&mut report.described, version));
        }
        if seen.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// From place to place. One engine ends before the next one begins: both would write the same copies.
async fn along(work: &Work<'_>, trail: &Trail<'_>, stop: &Shutdown) {
    let mut seen = trail.seen.clone();
    loop {
        let place = tokio::select! {
            biased;
            () = stop.begun() => return,
            place = next_place(work, &mut seen) => place,
        };
        let leave = Shutdown::default();
        let mut serving = pin!(serve(work, trail, &place, &leave));
        let moved = tokio::select! {
            biased;
            () = stop.begun() => false,
            () = moved(&mut seen, &place) => true,
            // It ends by itself only if the engine has failed.
            () = &mut serving => return,
        };
        leave.begin();
        serving.as_mut().await;
        if !moved {
            return;
        }
        info!("the cluster has moved, been made anew, or got another certificate authority");
        work.report.send_modify(Report::forget_engine);
    }
}

/// Where to go; tells why there is nowhere, as long as that is so.
async fn next_place(work: &Work<'_>, seen: &mut state::Receiver<Seen>) -> Arc<Place> {
    loop {
        let Seen { place, error } = seen.borrow_and_update().clone();
        if let Some(place) = place {
            return place;
        }
        if let Some(error) = error {
            work.say(Outcome::Eks(error));
        }
        if seen.changed().await.is_err() {
            // Not while somebody scouts.
            std::future::pending::<()>().await;
        }
    }
}

/// Returns when the cluster is no longer there.
async fn moved(seen: &mut state::Receiver<Seen>, from: &Place) {
    let elsewhere = |seen: &Seen| !seen.place.as_ref().is_some_and(|place| place.is_same(from));
    if seen.wait_for(elsewhere).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Serves the cluster at one place, until told to leave.
async fn serve(work: &Work<'_>, trail: &Trail<'_>, place: &Arc<Place>, leave: &Shutdown) {
    let login = tokio::select! {
        biased;
        () = leave.begun() => return,
        login = log_in(work, trail, place) => Arc::new(login),
    };
    work.shared.gauges.logged_in(work.name, &login);
    let access = access(trail.target, place, &login, &work.shared.addresses);
    let connection = match access.and_then(|access| work.connection(access)) {
        Ok(connection) => connection,
        Err(outcome) => return work.say_until(*outcome, leave).await,
    };
    let (place, seen, lost) = (Arc::clone(place), trail.seen.clone(), Arc::clone(&trail.lost));
    let reach = Reach::Eks(EksReach { place, no_token: login.trouble(), login: Arc::clone(&login), seen, lost });
    tokio::select! {
        biased;
        () = login.keep() => {}
        () = serve::run(work, connection, &reach, leave) => {}
    }
}

/// How a cluster is reached at a place, by a login that renews itself.
pub(super) fn access(
    target: &Target,
    place: &Place,
    login: &Arc<Login>,
    allow: &AddressRules,
) -> Result<Access, Box<Outcome>> {
    let access = Access::with_header(&place.endpoint, &place.authority, login.header(), allow);
    let access = access.map_err(|error| Box::new(Outcome::Eks(unusable(&error))))?;
    let access = access.renewed_by(Arc::clone(login) as _);
    match target.proxy.as_deref() {
        Some(url) => access.by_proxy(url).map_err(|error| Box::new(Outcome::KubeconfigInvalid(error.to_string()))),
        None => Ok(access),
    }
}

async fn log_in(work: &Work<'_>, trail: &Trail<'_>, place: &Place) -> Login {
    let eks = &work.shared.eks;
    let mut rng = Rng::new(eks.seed_of(work.name));
    let mut failures = 0_u8;
    loop {
        match eks.login(Arc::clone(&trail.session), &trail.target.arn, place).await {
            Ok(login) => return login,
            Err(error) => drop(work.say(Outcome::Eks(error))),
        }
        failures = failures.saturating_add(1);
        sleep(rng.backoff(BACKOFF_FIRST, failures, BACKOFF_MOST)).await;
    }
}

fn unusable(error: &AccessError) -> EksError {
    let words = message(&error.to_string());
    match error {
        AccessError::Address { entry, why, .. } => EksError::AddressNotAllowed { entry: entry.clone(), why: *why },
        _ => EksError::BadDescription(words),
    }
}
