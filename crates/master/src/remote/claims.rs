//! Whose a destination is where several RemoteClusters lead to it: the oldest one's of those that people have made, and
//! else of those that were discovered. Nothing here talks to a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt as _;
use sync_core::contract::object::Uid;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use super::crd::RemoteCluster;
use crate::discovery;

/// Who comes first: the least.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// A ClusterDiscovery has made it.
    discovered: bool,
    /// `metadata.creationTimestamp` of the RemoteCluster, in whole seconds.
    created: Option<Timestamp>,
    /// Its name.
    pub(crate) name: String,
}

impl Rank {
    pub(crate) fn of(cluster: &RemoteCluster) -> Self {
        let created = cluster.metadata.creation_timestamp.as_ref().map(|time| time.0);
        Self { discovered: discovery::made(cluster), created, name: cluster.name_any() }
    }
}

/// Where a RemoteCluster led when it was last connected.
pub(crate) fn led(cluster: &RemoteCluster) -> Option<Uid> {
    Uid::parse(cluster.status.as_ref()?.identity.as_deref()?)
}

/// All claims of one master.
#[derive(Debug, Default)]
pub(super) struct Claims(watch::Sender<Book>);

#[derive(Debug, Default)]
struct Book {
    by_place: BTreeMap<Uid, Place>,
    next: u64,
}

#[derive(Debug, Default)]
struct Place {
    /// The number tells a RemoteCluster's task from the one before it, which ends at its time.
    claimants: BTreeSet<(Rank, u64)>,
    /// Held while copies are written: whoever is overtaken gives it back when its last request is answered.
    seat: Arc<Mutex<()>>,
}

/// The claim of one RemoteCluster: to one place at most, and to none when this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Arc<Claims>,
    rank: Rank,
    number: u64,
}

/// The right to write to a place.
#[derive(Debug)]
pub(super) struct Seat(#[expect(dead_code, reason = "held, never read")] OwnedMutexGuard<()>);

impl Claims {
    /// A claim to nothing yet.
    pub(super) fn claim(self: &Arc<Self>, rank: Rank) -> Claim {
        let mut number = 0;
        self.0.send_if_modified(|book| {
            (number, book.next) = (book.next, book.next + 1);
            false
        });
        Claim { claims: Arc::clone(self), rank, number }
    }
}

impl Claim {
    /// This is where it leads, and no longer where it led before.
    pub(super) fn put(&self, place: Option<Uid>) {
        let me = (self.rank.clone(), self.number);
        self.claims.0.send_if_modified(|book| {
            let place_now = book.place_of(&me);
            if place_now == place {
                return false;
            }
            if let Some(claimed) = place_now.and_then(|before| book.by_place.get_mut(&before)) {
                claimed.claimants.remove(&me);
            }
            book.by_place.retain(|_, claimed| !claimed.claimants.is_empty());
            if let Some(place) = place {
                book.by_place.entry(place).or_default().claimants.insert(me);
            }
            true
        });
    }

    /// Waits until nobody older leads there, and whoever did has stopped to write. `older` is told who does.
    pub(super) async fn first(&self, older: impl Fn(String)) -> Seat {
        let mut book = self.claims.0.subscribe();
        loop {
            let seat = match book.borrow_and_update().before(self) {
                Ok(seat) => seat,
                Err(name) => {
                    older(name);
                    None
                }
            };
            tokio::select! {
                biased;
                Ok(()) = book.changed() => {}
                Some(guard) = async { Some(seat?.lock_owned().await) } => return Seat(guard),
                // Never: we hold the sender.
                else => std::future::pending().await,
            }
        }
    }

    /// Whether another RemoteCluster leads there too.
    pub(super) fn has_rivals(&self) -> bool {
        let book = self.claims.0.borrow();
        let place = book.by_place.values().find(|place| place.claimants.contains(&(self.rank.clone(), self.number)));
        place.is_some_and(|place| place.claimants.iter().any(|(rank, _)| *rank != self.rank))
    }

    /// Returns when somebody older leads there too.
    pub(super) async fn lost(&self) {
        let mut book = self.claims.0.subscribe();
        if book.wait_for(|book| book.before(self).is_err()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.put(None);
    }
}

impl Book {
    fn place_of(&self, me: &(Rank, u64)) -> Option<Uid> {
        self.by_place.iter().find(|(_, place)| place.claimants.contains(me)).map(|(uid, _)| *uid)
    }

    /// The seat for the first one at its place, if it has claimed one; else the name of the first.
    fn before(&self, claim: &Claim) -> Result<Option<Arc<Mutex<()>>>, String> {
        let me = (claim.rank.clone(), claim.number);
        let place = self.by_place.values().find(|place| place.claimants.contains(&me));
        match place.and_then(|place| place.claimants.first()) {
            Some((first, _)) if *first != me.0 => Err(first.name.clone()),
            _ => Ok(place.map(|place| Arc::clone(&place.seat))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    fn uid(n: u8) -> Uid {
        Uid::parse(&format!("0a1b2c3d-0000-4abc-8def-0000000000{n:02}")).unwrap()
    }

    fn rank(created: i64, name: &str) -> Rank {
        Rank { discovered: false, created: Timestamp::from_second(created).ok(), name: name.to_owned() }
    }

    async fn waits_for(claim: &Claim) -> String {
        let told = Mutex::new(String::new());
        let seat = timeout(SHORT, claim.first(|name| *told.lock().unwrap() = name)).await;
        assert!(seat.is_err());
        told.into_inner().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_older_one_has_it_and_then_the_first_by_name() {
        let claims = Arc::new(Claims::default());
        let [a, b, old] = [rank(2, "a"), rank(2, "b"), rank(1, "z")].map(|rank| claims.claim(rank));
        a.put(Some(uid(1)));
        b.put(Some(uid(1)));
        let seat = a.first(|_| panic!("nobody is before it")).await;
        assert_eq!(waits_for(&b).await, "a");
        assert!(a.has_rivals() && b.has_rivals() && !old.has_rivals());
        // An older one overtakes, and waits until the younger has stopped.
        old.put(Some(uid(1)));
        timeout(SHORT, a.lost()).await.unwrap();
        assert!(timeout(SHORT, old.first(|_| panic!("nobody is before it"))).await.is_err());
        drop(seat);
        let seat = old.first(|_| panic!("nobody is before it")).await;
        assert_eq!((waits_for(&a).await, waits_for(&b).await), ("z".to_owned(), "z".to_owned()));
        // It goes, and the next takes over.
        drop(seat);
        drop(old);
        let _seat = timeout(SHORT, a.first(|_| ())).await.unwrap();
        assert!(timeout(SHORT, a.lost()).await.is_err());
        assert_eq!(waits_for(&b).await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_person_has_made_comes_before_what_was_discovered() {
        let claims = Arc::new(Claims::default());
        let found = claims.claim(Rank { discovered: true, ..rank(1, "a") });
        let by_hand = claims.claim(rank(2, "b"));
        found.put(Some(uid(1)));
        let seat = found.first(|_| panic!("nobody is before it")).await;
        by_hand.put(Some(uid(1)));
        timeout(SHORT, found.lost()).await.unwrap();
        drop(seat);
        let _seat = by_hand.first(|_| panic!("nobody is before it")).await;
        assert_eq!(waits_for(&found).await, "b");
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_apart_and_a_claim_has_one() {
        let claims = Arc::new(Claims::default());
        let [a, b] = [rank(1, "a"), rank(2, "b")].map(|rank| claims.claim(rank));
        // It has led there when it was last connected.
        a.put(Some(uid(1)));
        b.put(Some(uid(1)));
        assert_eq!(waits_for(&b).await, "a");
        // Now it leads elsewhere.
        a.put(Some(uid(2)));
        let (_first, _second) = (a.first(|_| ()).await, b.first(|_| ()).await);
        assert!(timeout(SHORT, b.lost()).await.is_err());
        drop((a, b));
        assert!(claims.0.borrow().by_place.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_task_of_a_remote_cluster_is_no_rival_but_waits_for_the_one_before() {
        let claims = Arc::new(Claims::default());
        let [before, next] = [(); 2].map(|()| claims.claim(rank(1, "a")));
        before.put(Some(uid(1)));
        next.put(Some(uid(1)));
        let seat = before.first(|_| ()).await;
        assert!(timeout(SHORT, before.lost()).await.is_err() && !before.has_rivals());
        assert!(timeout(SHORT, next.first(|_| panic!("itself"))).await.is_err());
        drop(before);
        drop(seat);
        let _seat = timeout(SHORT, next.first(|_| panic!("itself"))).await.unwrap();
    }
}
