//! What people do in one cluster: to sources, to namespaces, to copies.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::accounts::Accounts;
use super::controller::REMOTE;
use super::dice::Dice;
use super::hands::{Hands, harmless};
use super::objects::{self, Place};
use super::options::{KEPT, PULL, STEADY, options, place_labels};
use crate::support::{Kind, World};

/// A namespace that stays and does not opt out. Those that every cluster has are like that, too.
pub(super) const CALM: [&str; 5] = ["calm", "default", "kube-node-lease", "kube-public", "kube-system"];
/// Namespaces that stay, and opt out and in.
pub(super) const FICKLE: [&str; 3] = ["fickle-0", "fickle-1", "fickle-2"];
/// Namespaces that live for less than 10 s, again and again.
pub(super) const SHORT: [&str; 6] = ["short-0", "short-1", "short-2", "short-3", "short-4", "short-5"];

enum Due {
    /// The namespace is deleted; if told so, something holds it while it is Terminating, for as long.
    Delete(&'static str, Option<Duration>),
    Release(&'static str),
}

/// People at one cluster.
pub(super) struct People {
    pub(super) hands: Hands,
    /// Names of the sources that they make here.
    pub(super) sources: &'static [&'static str],
    /// Names that copies in namespaces have; none where there is no agent.
    pub(super) copies: &'static [&'static str],
    /// Names of what a master copies to here.
    pub(super) pushed: &'static [&'static str],
    pub(super) accounts: Accounts,
    due: Vec<(Instant, Due)>,
}

impl People {
    pub(super) fn new(
        world: World,
        sources: &'static [&'static str],
        copies: &'static [&'static str],
        pushed: &'static [&'static str],
    ) -> Self {
        Self {
            hands: Hands::new(world, sources),
            sources,
            copies,
            pushed,
            accounts: Accounts::default(),
            due: Vec::new(),
        }
    }

    /// What is there from the beginning.
    pub(super) async fn begin(&mut self) -> Result<()> {
        if !self.copies.is_empty() {
            for namespace in [CALM[0]].into_iter().chain(FICKLE) {
                self.hands.world.namespace(namespace).await?;
            }
        }
        if self.sources.contains(&STEADY) {
            for kind in [Kind::Secret, Kind::ConfigMap] {
                self.make(kind, STEADY).await?;
            }
        }
        Ok(())
    }

    /// Makes a source that is plainly on.
    pub(super) async fn make(&mut self, kind: Kind, name: &str) -> Result<()> {
        let source =
            crate::support::annotated(kind, name, &json!({"k": if kind == Kind::Secret { "b25l" } else { "" }}));
        self.hands.put(&Place::new(kind, "operator", name), &source).await
    }

    /// Does something.
    pub(super) async fn act(&mut self, dice: &mut Dice) -> Result<()> {
        self.what_is_due().await?;
        match dice.below(100) {
            0..45 if !self.sources.is_empty() => self.at_a_source(dice).await,
            0..60 if !self.copies.is_empty() => self.at_a_namespace(dice).await,
            60..70 if !self.copies.is_empty() => self.accounts.act(&mut self.hands, dice).await,
            _ if !self.copies.is_empty() => self.at_a_copy(dice).await,
            95.. => {
                let labels = json!({"metadata": {"labels": place_labels(dice)}});
                self.hands.world.merge(Kind::RemoteCluster, "operator", REMOTE, &labels).await.map(drop)
            }
            _ => self.at_a_source(dice).await,
        }
    }

    async fn at_a_source(&mut self, dice: &mut Dice) -> Result<()> {
        let mut place = Place::new(dice.kind(), "operator", dice.one_of(self.sources));
        // Few others have anything to do with ServiceAccounts.
        if dice.chance(15) && self.sources.contains(&PULL) {
            place = Place::new(Kind::Secret, "operator", PULL);
        }
        let what = match &*place.name {
            STEADY => 5 + dice.below(8),
            KEPT => dice.below(13),
            _ => dice.below(14),
        };
        if self.hands.owned(&place).is_none() {
            // Some stay away for a while.
            if dice.chance(50) {
                return Ok(());
            }
            return self.hands.put(&place, &objects::source(dice, &place)).await;
        }
        match what {
            0 => self.hands.take(&place).await,
            1 => {
                // What an update cannot change.
                self.hands.take(&place).await?;
                self.hands.put(&place, &objects::source(dice, &place)).await
            }
            2..5 => self.hands.change(&place, json!({"metadata": {"annotations": objects::switch(dice)}})).await,
            5..9 => self.hands.change(&place, objects::payload(dice, place.kind)).await,
            9..11 => self.hands.change(&place, json!({"metadata": {"labels": objects::labels(dice)}})).await,
            11 => {
                self.hands
                    .change(&place, json!({"metadata": {"annotations": options(dice, place.kind, &place.name)}}))
                    .await
            }
            // What no copy carries.
            12 => {
                let note = dice.one_of(&["a", "b", "c"]);
                self.hands.change(&place, json!({"metadata": {"annotations": {"note": note}}})).await
            }
            _ => self.hands.change(&place, json!({"immutable": true})).await,
        }
    }

    async fn at_a_namespace(&mut self, dice: &mut Dice) -> Result<()> {
        let (fickle, short) = (dice.one_of(&FICKLE), dice.one_of(&SHORT));
        let (one, other) =
            dice.one_of(&[(Some("no"), None), (None, Some("off")), (Some("perhaps"), None), (None, None)]);
        let (lives, held) = (dice.millis(50, 9000), dice.chance(25).then(|| dice.millis(100, 6000)));
        let labels = place_labels(dice);
        match dice.below(12) {
            0..2 => {
                let patch = json!({"metadata": {"labels": labels}});
                self.hands.world.merge(Kind::Namespace, "", fickle, &patch).await.map(drop)
            }
            2..5 => {
                let patch = json!({"metadata": {"annotations": {"mw-sync": one, "mw-sync.io/sync": other}}});
                self.hands.world.merge(Kind::Namespace, "", fickle, &patch).await.map(drop)
            }
            5 => self.bounce(short).await,
            _ => {
                let mut object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": short}});
                if labels["env"].is_string() {
                    object["metadata"]["labels"] = json!({"env": labels["env"]});
                }
                if dice.chance(15) {
                    object["metadata"]["annotations"] = json!({"mw-sync": "no"});
                }
                if harmless(self.hands.world.create(&object).await, &[409])?.is_some() {
                    self.due.push((Instant::now() + lives, Due::Delete(short, held)));
                }
                Ok(())
            }
        }
    }

    /// A namespace is deleted, and made anew the moment that is possible.
    async fn bounce(&mut self, name: &'static str) -> Result<()> {
        if self.hands.world.find(Kind::Namespace, "", name).await?.is_none() {
            return Ok(());
        }
        self.hands.forget(name);
        harmless(self.hands.world.delete(Kind::Namespace, "", name).await, &[404, 409])?;
        for _ in 0..300 {
            if harmless(self.hands.world.namespace(name).await, &[409])?.is_some() {
                return Ok(());
            }
            sleep(Duration::from_millis(3)).await;
        }
        // Something holds it.
        Ok(())
    }

    async fn what_is_due(&mut self) -> Result<()> {
        let now = Instant::now();
        while let Some(next) = self.due.iter().position(|(at, _)| *at <= now) {
            match self.due.swap_remove(next).1 {
                Due::Delete(name, held) => self.delete_namespace(name, held).await?,
                Due::Release(name) => self.release(name).await?,
            }
        }
        Ok(())
    }

    async fn delete_namespace(&mut self, name: &'static str, held: Option<Duration>) -> Result<()> {
        if let Some(held) = held {
            let hold = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "held", "namespace": name, "finalizers": ["example.com/hold"]}
            });
            harmless(self.hands.world.create(&hold).await, &[403, 404, 409])?;
            self.due.push((Instant::now() + held, Due::Release(name)));
        }
        self.hands.forget(name);
        harmless(self.hands.world.delete(Kind::Namespace, "", name).await, &[404, 409]).map(drop)
    }

    async fn release(&self, name: &str) -> Result<()> {
        let free = json!({"metadata": {"finalizers": null}});
        harmless(self.hands.world.merge(Kind::ConfigMap, name, "held", &free).await, &[404, 409]).map(drop)
    }

    /// Nothing is held any more. Namespaces that were to go stay.
    pub(super) async fn end(&mut self) -> Result<()> {
        for (_, due) in std::mem::take(&mut self.due) {
            if let Due::Release(name) = due {
                self.release(name).await?;
            }
        }
        Ok(())
    }
}
