//! What people do where copies stand or should: they edit them, delete them, take their marks, get in their way.

use anyhow::Result;
use serde_json::{Value, json};

use super::dice::Dice;
use super::objects::{self, Manager, Place};
use super::options::{KEPT, STEADY, is_lent};
use super::people::{CALM, FICKLE, People, SHORT};

impl People {
    pub(super) async fn at_a_copy(&mut self, dice: &mut Dice) -> Result<()> {
        let namespaces = [&CALM[..], &FICKLE, &SHORT].concat();
        let (namespace, elsewhere) = (dice.one_of(&namespaces), dice.one_of(&namespaces));
        let (kind, what) = (dice.kind(), dice.below(16));
        let (manager, place) = if dice.chance(30) && !self.pushed.is_empty() {
            (Manager::Master, Place::new(kind, "operator", dice.one_of(self.pushed)))
        } else {
            (Manager::Agent, Place::new(kind, namespace, dice.one_of(self.copies)))
        };
        // In one that is going nothing stays as anybody has left it.
        if !self.hands.is_open(&place.namespace).await? {
            return Ok(());
        }
        if self.hands.owned(&place).is_some() {
            return self.at_their_own(dice, manager, &place, what).await;
        }
        match self.hands.seen(&place).await? {
            Some(copy) if manager.owns(&place.name, &copy["metadata"]) => {
                if [STEADY, KEPT].contains(&&*place.name) {
                    return self.at_a_steady_copy(dice, &place, &copy, what).await;
                }
                self.at_a_replica(dice, manager, (&place, elsewhere), &copy, what).await
            }
            // It was retained, or may be taken over.
            Some(theirs) => match what {
                0..4 => self.hands.remove(&place, &theirs).await,
                4..8 => self.hands.edit(&place, &theirs, objects::payload(dice, kind)).await.map(drop),
                _ => Ok(()),
            },
            None if place.name == STEADY => Ok(()),
            None => self.hands.put(&place, &objects::foreign(dice, &place)).await,
        }
    }

    async fn at_their_own(&mut self, dice: &mut Dice, manager: Manager, place: &Place, what: u64) -> Result<()> {
        match what {
            0..3 => self.hands.change(place, objects::payload(dice, place.kind)).await,
            3..6 if place.name != KEPT => {
                let marks = json!({"metadata": {
                    "labels": {"mw-sync.io/managed-by": manager.label()},
                    "annotations": {"mw-sync.io/origin": manager.origin(&place.name)}
                }});
                self.hands.give(place, marks).await
            }
            _ => self.hands.take(place).await,
        }
    }

    async fn at_a_steady_copy(&mut self, dice: &mut Dice, place: &Place, copy: &Value, what: u64) -> Result<()> {
        if !self.hands.may_touch(place) {
            return Ok(());
        }
        match what {
            0..4 => self.hands.remove(place, copy).await,
            4..12 => self.hands.edit(place, copy, objects::payload(dice, place.kind)).await.map(drop),
            _ => self.hands.edit(place, copy, added()).await.map(drop),
        }
    }

    async fn at_a_replica(
        &mut self,
        dice: &mut Dice,
        manager: Manager,
        (place, elsewhere): (&Place, &str),
        copy: &Value,
        what: u64,
    ) -> Result<()> {
        if !self.hands.may_touch(place) {
            return Ok(());
        }
        let edit = match what {
            0..3 => objects::payload(dice, place.kind),
            3 => json!({"immutable": true}),
            4 => added(),
            // A label that came from the source; one that did not is theirs, and stays.
            5 if copy["metadata"]["labels"]["team"].is_string() && copied(copy, "label:team") => {
                json!({"metadata": {"labels": {"team": dice.one_of(&[Some("theirs"), None])}}})
            }
            6 => json!({"metadata": {"labels": {"mw-sync.io/source": dice.one_of(&[Some("other"), None])}}}),
            7 => {
                // Another incarnation's is not a master's to restore.
                let another = (manager == Manager::Agent).then_some("11111111-0000-4000-8000-000000000001");
                json!({"metadata": {"annotations": {"mw-sync.io/origin-uid": dice.one_of(&[another, None])}}})
            }
            8..11 => return self.hands.remove(place, copy).await,
            11 => {
                // Whoever is faster.
                self.hands.remove(place, copy).await?;
                return self.hands.put(place, &objects::foreign(dice, place)).await;
            }
            12 if manager == Manager::Master => {
                // Somebody there does not want it in the namespaces of that cluster.
                json!({"metadata": {"annotations": {"mw-sync": dice.one_of(&[Some("no"), None, None])}}})
            }
            12 if is_lent(&place.name) => return Ok(()),
            12 => return self.by_hand(copy, place, elsewhere).await,
            _ => {
                let marks = [
                    json!({"labels": {"mw-sync.io/managed-by": null}}),
                    json!({"labels": {"mw-sync.io/managed-by": "somebody"}}),
                    json!({"annotations": {"mw-sync.io/origin": null}}),
                    json!({"annotations": {"mw-sync.io/origin": "elsewhere/s0"}}),
                ];
                let mut edit = json!({"metadata": marks[dice.index(marks.len())]});
                if dice.chance(50) {
                    edit["data"] = objects::payload(dice, place.kind)["data"].take();
                }
                return self.hands.seize(place, copy, edit).await;
            }
        };
        self.hands.edit(place, copy, edit).await.map(drop)
    }

    /// A copy is copied by hand to another namespace, marks and all: it is the agent's there, too.
    async fn by_hand(&mut self, copy: &Value, place: &Place, namespace: &str) -> Result<()> {
        let there = Place::new(place.kind, namespace, &place.name);
        if !self.hands.may_touch(&there) {
            return Ok(());
        }
        let (metadata, mut object) = (&copy["metadata"], copy.clone());
        object["kind"] = place.kind.name().into();
        object["apiVersion"] = "v1".into();
        object["metadata"] = json!({
            "name": place.name, "namespace": namespace,
            "labels": metadata["labels"], "annotations": metadata["annotations"]
        });
        super::hands::harmless(self.hands.world.create(&object).await, &[403, 404, 409]).map(drop)
    }
}

/// What somebody adds to a copy stays.
fn added() -> Value {
    json!({"metadata": {"labels": {"theirs": "l"}, "annotations": {"theirs": "a"}}})
}

/// Whether a replica says that it has this from its source.
fn copied(copy: &Value, entry: &str) -> bool {
    copy["metadata"]["annotations"]["mw-sync.io/copied"].as_str().unwrap_or_default().split(',').any(|e| e == entry)
}
