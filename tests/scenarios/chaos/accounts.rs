//! ServiceAccounts: what people do with them, and what must be listed there in the end.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{Entry, Requests};

use super::dice::Dice;
use super::hands::{Hands, harmless};
use super::objects::Place;
use super::options::{PULL, asks};
use super::people::{CALM, FICKLE, SHORT};
use crate::support::{Kind, uid};

const NAMES: [&str; 2] = ["default", "pull-a"];
const RECORD: &str = "mw-sync.io/added-pull-secrets";

/// Those that people have written to, and which entries are theirs, in order.
#[derive(Default)]
pub(super) struct Accounts(BTreeMap<Place, (String, Vec<String>)>);

fn listed(account: &Value) -> Vec<&str> {
    let entries = account["imagePullSecrets"].as_array().into_iter().flatten();
    entries.filter_map(|entry| entry["name"].as_str()).collect()
}

/// The sources whose entries are ours there, each with the uid of the source namespace.
fn recorded(account: &Value) -> BTreeMap<&str, &str> {
    let record = account["metadata"]["annotations"][RECORD].as_str().unwrap_or_default();
    let marks = record.split(',').filter_map(|mark| mark.strip_prefix("operator/"));
    marks.filter_map(|mark| Some((mark.split(':').next()?, mark.split(':').nth(1).unwrap_or_default()))).collect()
}

impl Accounts {
    pub(super) async fn act(&mut self, hands: &mut Hands, dice: &mut Dice) -> Result<()> {
        let namespace = dice.one_of(&[&CALM[..1], &FICKLE, &SHORT].concat());
        let (place, what) = (Place::new(Kind::ServiceAccount, namespace, dice.one_of(&NAMES)), dice.below(12));
        let name = dice.one_of(&["x", "y", PULL]);
        let Some(seen) = hands.seen(&place).await? else {
            let object = json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "imagePullSecrets": [{"name": "x"}, {"name": "y"}],
                "metadata": {"name": place.name, "namespace": place.namespace}
            });
            let made = harmless(hands.world.create(&object).await, &[403, 404, 409])?;
            self.note(&place, None, made.as_ref());
            return Ok(());
        };
        if !self.is_known(&place, &seen) {
            self.note(&place, None, Some(&seen));
        }
        let mut names = listed(&seen);
        match what {
            0 if place.name != NAMES[0] => return hands.remove(&place, &seen).await,
            0..5 if !names.contains(&name) => names.insert(dice.index(names.len() + 1), name),
            5..9 => names.retain(|listed| *listed != name),
            9 => names.reverse(),
            _ => {}
        }
        // Our entry comes back, but not again and again at once.
        if listed(&seen).contains(&PULL) && !names.contains(&PULL) && !hands.may_touch(&place) {
            return Ok(());
        }
        let entries: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
        let note = dice.one_of(&["a", "b", "c"]);
        let patch = json!({"imagePullSecrets": entries, "metadata": {"annotations": {"example.com/note": note}}});
        if let Some(edited) = hands.edit(&place, &seen, patch).await? {
            self.note(&place, Some(&seen), Some(&edited));
        }
        Ok(())
    }

    fn is_known(&self, place: &Place, account: &Value) -> bool {
        self.0.get(place).is_some_and(|(known, _)| known == uid(account))
    }

    /// What is theirs from now on: all that they list, but for what was recorded as ours.
    fn note(&mut self, place: &Place, before: Option<&Value>, after: Option<&Value>) {
        let Some(after) = after else { return };
        let known = before.and_then(|_| self.0.get(place)).map(|(_, theirs)| theirs.clone()).unwrap_or_default();
        let ours = recorded(after);
        let is_theirs = |name: &&str| known.iter().any(|known| known == name) || !ours.contains_key(name);
        let theirs = listed(after).into_iter().filter(is_theirs).map(str::to_owned).collect();
        self.0.insert(place.clone(), (uid(after).to_owned(), theirs));
    }

    /// What is not as it must be. `source` is what asks for entries, if it asks for copies; `selects` tells where.
    pub(super) fn differences(
        &self,
        accounts: &[Value],
        operator: &str,
        wants: impl Fn(&Place) -> Option<bool>,
    ) -> Vec<String> {
        let wrong = |account: &Value| {
            let place = Place::of(Kind::ServiceAccount, account);
            let (names, ours) = (listed(account), recorded(account));
            let theirs = self.0.get(&place).filter(|(known, _)| known == uid(account));
            let theirs: Vec<_> = theirs.into_iter().flat_map(|(_, theirs)| theirs.iter().map(String::as_str)).collect();
            let kept: Vec<_> = names.iter().copied().filter(|name| theirs.contains(name)).collect();
            let is_ours = ours.get(PULL) == Some(&operator);
            let why = match wants(&place) {
                _ if kept != theirs => format!("people have listed {theirs:?}"),
                Some(true) if !names.contains(&PULL) => "the entry is missing".to_owned(),
                Some(true) if !is_ours && !theirs.contains(&PULL) => "the entry is not recorded".to_owned(),
                Some(false) if is_ours => "an entry is left".to_owned(),
                _ => return None,
            };
            Some(format!("{place}: {why}; it lists {names:?}, of which ours are {ours:?}"))
        };
        accounts.iter().filter_map(wrong).collect()
    }
}

/// Whether a source asks for an entry there.
pub(super) fn is_asked(source: &Value, place: &Place) -> bool {
    asks(&source["metadata"]["annotations"]["mw-sync.io/image-pull-secret"], &place.name)
}

/// Promise 7: what the agent writes to ServiceAccounts is entries and its record, for exactly one version each.
pub(super) fn judge(requests: &Requests) -> Vec<String> {
    let bad = |entry: &Entry| {
        let steps: Vec<_> = entry.request.as_array().into_iter().flatten().collect();
        let path = |step: &&Value| step["path"].as_str().unwrap_or_default().to_owned();
        let tests = |path: &str| steps.iter().any(|step| step["op"] == "test" && step["path"] == path);
        let record = format!("/metadata/annotations/{}", RECORD.replace('/', "~1"));
        let own = |step: &&&Value| {
            let path = path(step);
            let makes_map = path == "/metadata/annotations" && step["value"] == json!({});
            step["op"] == "test" || path.starts_with("/imagePullSecrets") || path == record || makes_map
        };
        // Of one whose link was cut before all of it had arrived.
        let unread = entry.request.is_null() && !(200..300).contains(&entry.code);
        let exact = tests("/metadata/uid") && tests("/metadata/resourceVersion");
        let fine = unread || (entry.verb == "patch" && exact && steps.iter().all(|step| own(&step)));
        (!fine).then(|| format!("a write to a ServiceAccount: {} {}: {}", entry.verb, entry.request_uri, entry.request))
    };
    requests.each().filter_map(bad).collect()
}
