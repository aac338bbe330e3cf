//! What `/metrics` tells. Counts are kept where they arise; everything else is asked for when somebody asks us, so that
//! a fan-out pays for none of it.

pub mod engine;
pub mod families;
pub mod text;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use crate::contract::object::SourceKey;
use crate::core::{Snapshot, Tally};
use crate::engine::Inquiries;
use crate::leadership::Leading;
use engine::EngineStats;
use text::Page;

/// Sources with a label of their own; the others are `other`.
const SOURCES: usize = 500;
/// For an engine's answer. One that plans a hundred thousand copies takes a fraction of that.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whoever has something to tell.
pub trait Tells: Send + Sync {
    /// Writes it down.
    fn tell(&self, page: &mut Page);
}

/// All metrics of a process. Clones are the same.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Inner>);

#[derive(Default)]
struct Inner {
    engines: Mutex<Vec<Weak<EngineStats>>>,
    watches: Mutex<Vec<Watch>>,
    others: Mutex<Vec<Arc<dyn Tells>>>,
    leading: Mutex<Option<Leading>>,
}

struct Watch {
    name: &'static str,
    cluster: String,
    heard: Weak<Pulse>,
}

/// When something was last heard, in milliseconds since `start`.
#[derive(Debug)]
struct Pulse {
    start: Instant,
    at: AtomicU64,
}

/// Where a watch notes that it has heard something; by default nowhere.
#[derive(Clone, Debug, Default)]
pub struct Heard(Option<Arc<Pulse>>);

impl Heard {
    /// Something was heard just now.
    pub fn now(&self) {
        if let Some(pulse) = &self.0 {
            let millis = u64::try_from(pulse.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            pulse.at.store(millis, Ordering::Relaxed);
        }
    }
}

impl Metrics {
    /// Those of an engine that begins, for this remote cluster; an agent's has none.
    pub fn engine(&self, cluster: &str, inquiries: Inquiries) -> Arc<EngineStats> {
        let stats = Arc::new(EngineStats::new(cluster, inquiries));
        let mut engines = lock(&self.0.engines);
        engines.retain(|engine| engine.strong_count() > 0);
        engines.push(Arc::downgrade(&stats));
        stats
    }

    /// Those of a watch that begins.
    pub fn watch(&self, name: &'static str, cluster: &str) -> Heard {
        let pulse = Arc::new(Pulse { start: Instant::now(), at: AtomicU64::new(0) });
        let mut watches = lock(&self.0.watches);
        watches.retain(|watch| watch.heard.strong_count() > 0);
        watches.push(Watch { name, cluster: cluster.to_owned(), heard: Arc::downgrade(&pulse) });
        Heard(Some(pulse))
    }

    /// Asks this one too.
    pub fn add(&self, other: Arc<dyn Tells>) {
        lock(&self.0.others).push(other);
    }

    /// Whether this process leads.
    pub fn set_leading(&self, leading: Leading) {
        *lock(&self.0.leading) = Some(leading);
    }

    /// The page, as of now.
    pub async fn render(&self) -> String {
        let mut page = Page::default();
        let engines: Vec<_> = lock(&self.0.engines).iter().filter_map(Weak::upgrade).collect();
        let snapshots =
            join_all(engines.iter().map(|engine| tokio::time::timeout(PATIENCE, engine.inquiries.snapshot()))).await;
        let mut sources = std::collections::BTreeMap::new();
        for (engine, snapshot) in engines.iter().zip(snapshots) {
            engine.tell(&mut page);
            if let Ok(Some(snapshot)) = snapshot {
                tell(&mut page, engine.cluster(), &snapshot);
                for (key, tally) in snapshot.sources {
                    let sum: &mut Tally = sources.entry(key).or_default();
                    sum.synced += tally.synced;
                    sum.pending += tally.pending;
                    sum.refused += tally.refused;
                }
            }
        }
        for (n, (key, tally)) in sources.iter().enumerate() {
            tell_source(&mut page, key, *tally, n < SOURCES);
        }
        for watch in lock(&self.0.watches).iter() {
            if let Some(pulse) = watch.heard.upgrade() {
                let heard = Duration::from_millis(pulse.at.load(Ordering::Relaxed));
                let age = pulse.start.elapsed().saturating_sub(heard).as_secs_f64();
                page.set(&families::WATCH_AGE, &[("remote_cluster", &watch.cluster), ("watch", watch.name)], age);
            }
        }
        if let Some(leading) = &*lock(&self.0.leading) {
            page.set(&families::LEADER, &[], f64::from(u8::from(leading.leads())));
        }
        page.set(&families::BUILD, &[("version", super::version::version())], 1.0);
        let others: Vec<_> = lock(&self.0.others).clone();
        others.iter().for_each(|other| other.tell(&mut page));
        page.render()
    }
}

fn tell(page: &mut Page, cluster: &str, snapshot: &Snapshot) {
    let here = ("remote_cluster", cluster);
    for (lane, waiting) in &snapshot.queue {
        page.set(&families::QUEUE, &[("lane", lane), here], *waiting as f64);
    }
    page.set(&families::IN_FLIGHT, &[here], snapshot.in_flight as f64);
    page.set(&families::IN_FLIGHT_LIMIT, &[here], snapshot.limit as f64);
    for (family, reasons) in [(&families::REFUSED, &snapshot.refused), (&families::FAILING, &snapshot.failing)] {
        for (reason, count) in reasons {
            page.set(family, &[("reason", reason), here], f64::from(*count));
        }
    }
    if !cluster.is_empty() {
        for (state, count) in states(snapshot.tally) {
            page.set(&families::REMOTE_COPIES, &[here, ("state", state)], f64::from(count));
        }
    }
}

fn tell_source(page: &mut Page, key: &SourceKey, tally: Tally, by_name: bool) {
    let source = if by_name { &*key.name } else { "other" };
    for (state, count) in states(tally) {
        let labels = [("kind", key.kind.as_str()), ("source", source), ("state", state)];
        page.add(&families::COPIES, &labels, f64::from(count));
    }
}

const fn states(tally: Tally) -> [(&'static str, u32); 3] {
    let Tally { synced, pending, refused } = tally;
    [("synced", synced), ("pending", pending), ("refused", refused)]
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::object::Kind;

    #[test]
    fn only_so_many_sources_have_a_label_of_their_own() {
        let mut page = Page::default();
        for n in 0..SOURCES + 20 {
            let key = SourceKey { kind: Kind::Secret, name: format!("s-{n:04}").into() };
            tell_source(&mut page, &key, Tally { synced: 2, pending: 0, refused: 1 }, n < SOURCES);
        }
        let text = page.render();
        assert_eq!(text.matches("state=\"synced\"").count(), SOURCES + 1);
        assert!(text.contains("\nmw_sync_copies{kind=\"Secret\",source=\"other\",state=\"synced\"} 40\n"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_says_nothing_grows_old_and_one_that_has_ended_is_forgotten() {
        let metrics = Metrics::default();
        let heard = metrics.watch("copies/secrets", "far");
        tokio::time::advance(Duration::from_secs(7)).await;
        let line = "mw_sync_watch_age_seconds{remote_cluster=\"far\",watch=\"copies/secrets\"}";
        assert!(metrics.render().await.contains(&format!("{line} 7\n")));
        heard.now();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(metrics.render().await.contains(&format!("{line} 1\n")));
        drop(heard);
        assert!(!metrics.render().await.contains(line));
    }
}
