//! Our own note that ServiceAccounts list our Secrets, as the watch on ConfigMaps shows it.
//!
//! It is in the source namespace, so nobody need ask for it again and again: see
//! [`service_accounts`](crate::service_accounts).

use super::Input;
use crate::contract::object::Kind;
use crate::index::feed::Feed;
use crate::watches::Told;

#[derive(Debug, Default)]
pub(super) struct Noted {
    /// What the present list has shown so far.
    listed: bool,
    shown: Option<bool>,
    /// It has not been told yet.
    news: bool,
}

impl Noted {
    pub(super) fn hears(&mut self, told: &Told<Input>) {
        let Told::Input(Input::Source(Kind::ConfigMap, feed)) = told else { return };
        match feed {
            Feed::Init => self.listed = false,
            Feed::Listed(map) => self.listed = map.noted.unwrap_or(self.listed),
            // Told again: what has come and gone between two watches was not shown.
            Feed::InitDone(_) => (self.shown, self.news) = (Some(self.listed), true),
            Feed::Applied(map) => self.is(map.noted),
            Feed::Gone(map) => {
                self.listed &= map.noted.is_none();
                self.is(map.noted.map(|_| false));
            }
        }
    }

    fn is(&mut self, noted: Option<bool>) {
        if noted.is_some() && self.shown.is_some() && self.shown != noted {
            (self.shown, self.news) = (noted, true);
        }
    }

    /// Whether it is there; `None` until the first list is complete.
    pub(super) fn shown(&self) -> Option<bool> {
        self.shown
    }

    /// The same, once, if it is news.
    pub(super) fn take_news(&mut self) -> Option<bool> {
        std::mem::take(&mut self.news).then_some(self.shown).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::keys;
    use crate::contract::object::Rv;
    use crate::contract::object::tests_support::object;
    use crate::contract::rules::{Role, Rules};
    use crate::contract::source::Source;
    use crate::contract::strip::StripList;

    #[test]
    fn it_is_told_with_each_list_and_when_it_changes() {
        let rules = Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).unwrap());
        let map = |name: &str, noted: bool| {
            let mut map = object(Kind::ConfigMap, "operator", name, &[], &[]);
            let key = if noted { keys::PULL_SECRETS_LISTED } else { "other" };
            map.content.data.insert(key.to_owned(), "x".into());
            Source::read(&rules, map)
        };
        let ours = |noted| map(keys::AGENT_CONFIG_MAP, noted);
        let other = || map("other", true);
        let mut heard = Noted::default();
        let mut after = |feeds: Vec<Feed<Source>>| {
            feeds.into_iter().for_each(|feed| heard.hears(&Told::Input(Input::Source(Kind::ConfigMap, feed))));
            let news = heard.take_news();
            assert!(news.is_none() || news == heard.shown());
            news
        };
        let done = || Feed::InitDone(Rv(1));
        assert_eq!(after(vec![Feed::Init, Feed::Listed(ours(true)), Feed::Listed(other())]), None, "not complete");
        assert_eq!(after(vec![done()]), Some(true));
        assert_eq!(after(vec![Feed::Applied(ours(true)), Feed::Gone(other()), Feed::Applied(other())]), None);
        assert_eq!(after(vec![Feed::Applied(ours(false))]), Some(false));
        assert_eq!(after(vec![Feed::Applied(ours(true))]), Some(true));
        assert_eq!(after(vec![Feed::Gone(ours(true))]), Some(false));
        assert_eq!(after(vec![Feed::Init, Feed::Listed(other()), done()]), Some(false), "once more");
        assert_eq!(after(vec![Feed::Init, Feed::Listed(ours(true)), Feed::Gone(ours(true)), done()]), Some(false));
    }
}
