//! Whether the sources are known as they were when this process had begun to lead.
//!
//! A standby's watches may have been silent for minutes without its knowledge. So whoever begins to lead reads the
//! sources anew, of which there are few, and nothing is written before. Views of replicas need no such thing: every
//! write is guarded by what stands there.

use std::collections::BTreeSet;

use super::Input;
use crate::contract::object::Kind;
use crate::index::feed::Feed;
use crate::lease::Term;
use crate::watches::Told;

#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// The lists that are awaited are for this one.
    term: Option<Term>,
    /// Of these the list has come; without a kind, of the source namespace.
    listed: BTreeSet<Option<Kind>>,
    current: Option<Term>,
    /// That it is current has not been told yet.
    news: bool,
}

impl Fresh {
    /// Whether this is a term for which the sources are to be read anew.
    pub(super) fn begins(&mut self, term: Option<Term>) -> bool {
        let begins = term.is_some() && term != self.term;
        if begins {
            (self.term, self.listed) = (term, BTreeSet::new());
        }
        begins
    }

    /// Takes note of lists that are complete.
    pub(super) fn hears(&mut self, told: &Told<Input>) {
        let what = match told {
            Told::Input(Input::Namespace(Feed::InitDone(_))) => None,
            Told::Input(Input::Source(kind, Feed::InitDone(_))) => Some(*kind),
            Told::Input(_) | Told::Watch(..) => return,
        };
        self.listed.insert(what);
        if self.listed.len() > Kind::ALL.len() && self.term != self.current {
            (self.current, self.news) = (self.term, true);
        }
    }

    /// The term that the sources are known as of.
    pub(super) fn current(&self) -> Option<Term> {
        self.current
    }

    /// The same, once, when all that has been heard has been told.
    pub(super) fn take_news(&mut self) -> Option<Term> {
        std::mem::take(&mut self.news).then_some(self.current).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::object::Rv;

    fn namespace(feed: Feed<crate::index::feed::NamespaceSeen>) -> Told<Input> {
        Told::Input(Input::Namespace(feed))
    }

    #[test]
    fn sources_are_current_when_each_list_that_began_after_the_lease_has_come() {
        let mut fresh = Fresh::default();
        let kinds = || Kind::ALL.map(|kind| Told::Input(Input::Source(kind, Feed::InitDone(Rv(1)))));
        let lists = |fresh: &mut Fresh| {
            assert_eq!(fresh.take_news(), None);
            kinds().iter().for_each(|told| fresh.hears(told));
            assert_eq!(fresh.take_news(), None);
            fresh.hears(&namespace(Feed::InitDone(Rv(1))));
            fresh.take_news()
        };
        // Nobody leads.
        assert!(!fresh.begins(None));
        assert_eq!((lists(&mut fresh), fresh.current()), (None, None));
        assert!(fresh.begins(Some(1)) && !fresh.begins(Some(1)));
        assert_eq!((lists(&mut fresh), fresh.current()), (Some(1), Some(1)));
        // Those of a later recovery change nothing; nor does it that the lease is lost.
        assert_eq!((lists(&mut fresh), fresh.begins(None), fresh.current()), (None, false, Some(1)));
        assert!(fresh.begins(Some(2)));
        assert_eq!((lists(&mut fresh), fresh.current()), (Some(2), Some(2)));
    }
}
