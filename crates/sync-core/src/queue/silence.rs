//! Where writes go unanswered: their pairs stand aside, and one is tried now and then, for each such write holds its slot
//! for a whole deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Class, DestId, Lane, Moment, Pair};

/// First and longest pause between two tries at one site.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// What may be silent: writes of one class to one destination.
pub(super) type Site = (DestId, Class);

/// Where a pair stands aside: the most urgent are tried first.
type Turn = (Lane, u64);

#[derive(Debug, Default)]
struct Silence {
    failures: u32,
    /// When the next one may be tried.
    due: Moment,
    is_tried: bool,
    aside: BTreeMap<Turn, Pair>,
}

/// All sites that are silent.
#[derive(Debug, Default)]
pub(super) struct Silences {
    sites: BTreeMap<Site, Silence>,
    /// Those where something stands aside and nothing is tried.
    due: BTreeSet<(Moment, Site)>,
    /// How many are tried at present.
    tried: usize,
}

impl Silences {
    pub(super) fn has(&self, site: Site) -> bool {
        self.sites.contains_key(&site)
    }

    /// How many are tried at present.
    pub(super) const fn tried(&self) -> usize {
        self.tried
    }

    /// Those that stand aside at a site.
    pub(super) fn at(&self, site: Site) -> impl Iterator<Item = Pair> {
        self.sites.get(&site).into_iter().flat_map(|silence| silence.aside.values().copied())
    }

    /// How many pairs stand aside.
    pub(super) fn aside(&self) -> usize {
        self.sites.values().map(|silence| silence.aside.len()).sum()
    }

    /// Whether anything waits to be tried.
    pub(super) fn has_waiting(&self) -> bool {
        !self.due.is_empty()
    }

    /// When something is due next, after that moment.
    pub(super) fn wake_at(&self, after: Moment) -> Option<Moment> {
        let later = after.saturating_add(Duration::from_nanos(1));
        self.due.range((later, (DestId(0), Class::LEAST))..).next().map(|(at, _)| *at)
    }

    /// A pair stands aside from now on. No effect where nothing is silent.
    pub(super) fn set_aside(&mut self, site: Site, turn: Turn, pair: Pair) {
        self.change(site, |silence| {
            silence.aside.insert(turn, pair);
        });
    }

    /// It does not any more.
    pub(super) fn take(&mut self, site: Site, turn: Turn) {
        self.change(site, |silence| {
            silence.aside.remove(&turn);
        });
    }

    /// A pair that is to be tried now, of the site that has waited longest of those whose destination has room.
    pub(super) fn next(&mut self, now: Moment, has_room: impl Fn(DestId) -> bool) -> Option<(Site, Pair)> {
        let mut due = self.due.iter().take_while(|(at, _)| *at <= now);
        let (_, site) = due.find(|(_, (dest, _))| has_room(*dest)).copied()?;
        let mut next = None;
        self.change(site, |silence| {
            next = silence.aside.pop_first();
            silence.is_tried = true;
        });
        self.tried += 1;
        next.map(|(_, pair)| (site, pair))
    }

    /// Whatever has come of it, nothing is tried at the site now.
    pub(super) fn has_tried(&mut self, site: Site) {
        self.tried -= 1;
        self.change(site, |silence| silence.is_tried = false);
    }

    /// A write there has gone unanswered. Those that were under way together are one failure.
    pub(super) fn begin(&mut self, site: Site, now: Moment) {
        self.sites.entry(site).or_default();
        self.change(site, |silence| {
            if now >= silence.due {
                let pause = FIRST.saturating_mul(1 << silence.failures.min(5)).min(LONGEST);
                (silence.due, silence.failures) = (now + pause, silence.failures + 1);
            }
        });
    }

    /// It answers: those that stand aside there, the most urgent first.
    pub(super) fn end(&mut self, site: Site) -> Vec<Pair> {
        let Some(silence) = self.sites.remove(&site) else { return Vec::new() };
        self.due.remove(&(silence.due, site));
        silence.aside.into_values().collect()
    }

    /// The sites of a destination.
    pub(super) fn of(&self, dest: DestId) -> Vec<Site> {
        let sites = self.sites.range((dest, Class::LEAST)..).take_while(|((of, _), _)| *of == dest);
        sites.map(|(site, _)| *site).collect()
    }

    /// Whatever changes at a site, it is due exactly if something stands aside there and nothing is tried.
    fn change(&mut self, site: Site, how: impl FnOnce(&mut Silence)) {
        let Some(silence) = self.sites.get_mut(&site) else { return };
        self.due.remove(&(silence.due, site));
        how(silence);
        if !silence.is_tried && !silence.aside.is_empty() {
            self.due.insert((silence.due, site));
        }
    }
}
