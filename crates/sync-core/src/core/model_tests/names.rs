//! The watches on one name each.

use std::collections::VecDeque;

use super::{Change, Feed, Input, NameNews, Object, Rv, Sim, SourceKey, keys};
use crate::core::NameWatch;
use crate::index::feed::ForeignSeen;
use crate::order::Metadata;

fn seen(object: &Object, rv: Rv) -> ForeignSeen {
    let Object { uid, labels, annotations, .. } = object.clone();
    ForeignSeen { namespace: object.namespace.clone(), metadata: Metadata { uid, rv, labels, annotations } }
}

impl Sim {
    fn shows(&self, key: &SourceKey, object: &Object) -> bool {
        object.kind == key.kind
            && object.name == *key.name
            && object.labels.get(keys::MANAGED_BY).is_none_or(|by| by != self.rules.role.as_str())
    }

    pub(super) fn order_name_watch(&mut self, watch: NameWatch) {
        self.note(format_args!("{watch:?}"));
        match watch {
            NameWatch::Start(id, key) => {
                self.name_watches.insert(id, (key, VecDeque::new()));
                self.relist_name(id);
            }
            NameWatch::Stop(id) => drop(self.name_watches.remove(&id)),
        }
    }

    /// It is cut: it misses nothing, or reads its list again.
    pub(in super::super) fn cut_name(&mut self, n: usize) {
        let Some(id) = self.name_watches.keys().nth(n).copied() else { return };
        self.note(format_args!("name watch {id} is cut"));
        if self.chance(0.5) {
            self.relist_name(id);
            if self.chance(0.5) {
                self.name_watches.get_mut(&id).unwrap().1.push_front(NameNews::Lost);
            }
        } else {
            let events = &mut self.name_watches.get_mut(&id).unwrap().1;
            events.push_front(NameNews::Well);
            events.push_front(NameNews::Lost);
        }
    }

    fn relist_name(&mut self, id: u64) {
        self.spread();
        let world = self.worlds.last().unwrap();
        let key = self.name_watches[&id].0.clone();
        let mut events = VecDeque::from([NameNews::Feed(Feed::Init)]);
        let listed = world.objects.values().filter(|object| self.shows(&key, object));
        events.extend(listed.map(|object| NameNews::Feed(Feed::Listed(seen(object, object.rv)))));
        events.push_back(NameNews::Feed(Feed::InitDone(Rv(world.rv))));
        self.name_watches.get_mut(&id).unwrap().1 = events;
    }

    pub(super) fn spread_names(&mut self, changes: &[Change]) {
        let mut watches = std::mem::take(&mut self.name_watches);
        for change in changes {
            let Change::Object { before, after, rv } = change else { continue };
            for (key, events) in watches.values_mut() {
                let shown = |object: &Option<Box<Object>>| object.clone().filter(|object| self.shows(key, object));
                match (shown(before), shown(after)) {
                    (_, Some(after)) => events.push_back(NameNews::Feed(Feed::Applied(seen(&after, *rv)))),
                    (Some(before), None) => events.push_back(NameNews::Feed(Feed::Gone(seen(&before, *rv)))),
                    (None, None) => {}
                }
            }
        }
        self.name_watches = watches;
    }

    /// One event of one of them arrives; `false` if there is none.
    pub(in super::super) fn deliver_name(&mut self) -> bool {
        let busy = self.name_watches.iter().filter(|(_, (_, events))| !events.is_empty());
        let busy: Vec<_> = busy.map(|(id, _)| *id).collect();
        if busy.is_empty() {
            return false;
        }
        let id = busy[self.below(busy.len())];
        let event = self.name_watches.get_mut(&id).unwrap().1.pop_front().unwrap();
        self.note(format_args!("name watch {id}: {event:?}"));
        self.core.on(self.now, Input::Name(id, event));
        self.pump();
        true
    }
}
