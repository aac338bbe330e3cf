//! What an agent tells the master: ConfigMap [`AGENT_CONFIG_MAP`](crate::contract::keys::AGENT_CONFIG_MAP) in the source namespace of its cluster, small and bounded.
//!
//! The agent writes it when something has changed, and now and then so that its silence shows. Whoever reads it trusts
//! it no more than anything else that a remote cluster sends.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::contract::object::{Rv, SourceKey, Uid, Version};
use crate::contract::rules::Role;
use crate::core::{Asks, Standing, Standings, Tally};
use crate::fault::message;

/// Key of its data: the summary as JSON.
pub const KEY: &str = "summary.json";
/// Key of its data: when it was last written, RFC 3339.
pub const TIME: &str = "time";
/// A summary that says nothing new is written again after so long.
pub const HEARTBEAT: Duration = Duration::from_secs(600);
/// An agent of which nothing was heard for longer is silent: two of its signs of life, and the time that one may take.
pub const SILENCE: Duration = HEARTBEAT.saturating_mul(2).saturating_add(Duration::from_secs(60));
/// Sources that it names; those that are not in place come first. One takes up to about 900 bytes, all of them less
/// than half of the 1 MiB that a ConfigMap holds.
const SOURCES: usize = 500;
/// This form. A reader takes no other for an answer.
const FORM: u32 = 1;

/// How an agent fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    form: u32,
    /// Version of the agent.
    pub agent: String,
    /// Namespaces that copies may be in.
    pub namespaces: usize,
    /// How the sources stand, by kind and name.
    pub sources: BTreeMap<String, SourceSummary>,
    /// How many sources there was no room for.
    #[serde(default)]
    pub omitted: usize,
}

/// How the copies of one source stand in all namespaces of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceSummary {
    /// `metadata.uid` of the source there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    /// `metadata.resourceVersion` of the version that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource_version: Option<String>,
    /// Whether it asks for copies, and can be understood.
    pub replicated: bool,
    /// Copies that are as they should be.
    pub synced: u32,
    /// Copies still to be written or deleted.
    pub pending: u32,
    /// Copies that are not made.
    pub refused: u32,
    /// The first few that are not as they should be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<PlaceSummary>,
}

/// Where an agent is, for whoever is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// In the cluster that was asked.
    Here,
    /// In a remote cluster.
    There,
}

impl fmt::Display for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here => "here",
            Self::There => "there",
        })
    }
}

impl Whereabouts {
    /// The command that shows whether an agent runs there; `namespace` is its own.
    pub fn look(self, namespace: &str) -> String {
        let place = if self == Self::There { "in that cluster: " } else { "" };
        format!("{place}{}", Role::Agent.look(namespace))
    }
}

/// Why a version of a source is not known to be everywhere in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// In words.
    pub why: String,
    /// The agent has said nothing of this version: perhaps it does not run.
    pub unheard: bool,
}

/// How long ago a summary was written, by its [`TIME`]; `None` if nobody can tell.
pub fn age(time: &str, now: Timestamp) -> Option<Duration> {
    Some(since(time.parse().ok()?, now))
}

/// How long ago that was.
pub fn since(then: Timestamp, now: Timestamp) -> Duration {
    // Clocks differ: it may be yet to come.
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// Whether that is [`SILENCE`].
pub fn is_silent(age: Option<Duration>) -> bool {
    age.is_none_or(|age| age > SILENCE)
}

/// How old an agent's summary is, in words.
pub fn last_word(age: Option<Duration>) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match age.map(|age| age.as_secs()) {
        None => "nobody can tell how old its last word is".to_owned(),
        Some(seconds @ ..MINUTE) => format!("its last word is {seconds} s ago"),
        Some(seconds @ MINUTE..HOUR) => format!("its last word is {} min ago", seconds / MINUTE),
        Some(seconds @ HOUR..DAY) => format!("its last word is {} h ago", seconds / HOUR),
        Some(seconds @ DAY..) => format!("its last word is {} days ago", seconds / DAY),
    }
}

/// One namespace that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceSummary {
    /// The namespace.
    pub namespace: String,
    /// The reason, a word.
    pub reason: String,
}

impl SourceSummary {
    /// The version that was acted on, if the source asks for copies.
    pub fn version(&self) -> Option<Version> {
        Some(Version { uid: Uid::parse(self.uid.as_ref()?)?, rv: Rv::parse(self.resource_version.as_ref()?)? })
    }

    /// Whether every copy is as this version wants it.
    pub fn is_everywhere(&self, version: Version) -> bool {
        self.version() == Some(version) && self.replicated && self.pending == 0 && self.refused == 0
    }

    fn of(standing: &Standing) -> Self {
        let Tally { synced, pending, refused } = standing.tally;
        let place = |place: &crate::core::Place| PlaceSummary {
            namespace: place.namespace.clone(),
            reason: place.reason.to_owned(),
        };
        Self {
            uid: standing.version.map(|version| version.uid.to_string()),
            resource_version: standing.version.map(|version| version.rv.to_string()),
            replicated: standing.asks == Asks::Copies,
            synced,
            pending,
            refused,
            places: standing.places.iter().map(place).collect(),
        }
    }
}

impl Summary {
    /// The same as [`lacks`](Self::lacks), of an agent that may be silent: then it is not known to be everywhere still. A
    /// namespace that came later has no copy perhaps, and whoever took copies away was not noticed.
    pub fn lacks_by_now(&self, source: &SourceKey, version: Version, at: Whereabouts, silent: bool) -> Option<Lack> {
        let was_everywhere =
            || Lack { why: "all copies were in place when the agent last reported".into(), unheard: false };
        self.lacks(source, version, at).or_else(|| silent.then(was_everywhere))
    }

    /// Why this version of a source is not known to be everywhere in the agent's cluster; `None` only if the agent says that
    /// it is.
    pub fn lacks(&self, source: &SourceKey, version: Version, at: Whereabouts) -> Option<Lack> {
        let unheard = |why| Some(Lack { why, unheard: true });
        let Some(source) = self.sources.get(&source.to_string()) else {
            let many = if self.omitted > 0 { ", which has more sources than its summary holds" } else { "" };
            return unheard(format!("the agent {at}{many} has not told of it"));
        };
        if source.is_everywhere(version) {
            return None;
        }
        if source.version() != Some(version) {
            return unheard(format!("the agent {at} has not acted on this version yet"));
        }
        let first = source.places.first();
        let first =
            first.map_or_else(String::new, |place| format!(": {} in namespace {}", place.reason, place.namespace));
        let why = format!("{} pending and {} refused {at}{first}", source.pending, source.refused);
        Some(Lack { why, unheard: false })
    }

    /// Of what an engine says; `None` before its lists have come.
    pub fn of(agent: &str, standings: &Standings) -> Option<Self> {
        if !standings.ready {
            return None;
        }
        let told = |standing: &&Standing| standing.version.is_some() || standing.tally != Tally::default();
        let mut sources: Vec<_> = standings.sources.iter().filter(told).collect();
        sources.sort_by_key(|standing| {
            let in_place = standing.tally.pending + standing.tally.refused == 0 && standing.asks == Asks::Copies;
            (in_place, &standing.source)
        });
        let omitted = sources.len().saturating_sub(SOURCES);
        sources.truncate(SOURCES);
        let sources =
            sources.iter().map(|standing| (standing.source.to_string(), SourceSummary::of(standing))).collect();
        Some(Self { form: FORM, agent: agent.to_owned(), namespaces: standings.destinations, sources, omitted })
    }

    /// As it is written.
    ///
    /// # Errors
    /// None in practice: it has no keys but texts.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Reads what a cluster sends; `None` if it is nothing of this form. Texts are cut and escaped.
    pub fn read(json: &str) -> Option<Self> {
        let mut read: Self = serde_json::from_str(json).ok().filter(|read: &Self| read.form == FORM)?;
        if read.sources.len() > SOURCES {
            return None;
        }
        read.agent = message(&read.agent);
        for source in read.sources.values_mut() {
            source.places.truncate(crate::core::PLACES);
            for place in &mut source.places {
                (place.namespace, place.reason) = (message(&place.namespace), message(&place.reason));
            }
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::object::Kind;
    use crate::core::Place;

    fn version(rv: u64) -> Version {
        Version { uid: Uid::parse("11111111-0000-4000-8000-000000000001").unwrap(), rv: Rv(rv) }
    }

    fn standing(name: &str, [synced, pending, refused]: [u32; 3]) -> Standing {
        let place = Place { namespace: "n1".into(), reason: "Foreign", message: "hunter2".into(), todo: "" };
        Standing {
            source: SourceKey { kind: Kind::Secret, name: name.into() },
            version: Some(version(7)),
            asks: Asks::Copies,
            tally: Tally { synced, pending, refused },
            unsettled_for: None,
            replica: None,
            places: if refused > 0 { vec![place] } else { Vec::new() },
        }
    }

    fn summary(sources: Vec<Standing>) -> Summary {
        Summary::of("0.1.0", &Standings { ready: true, destinations: 3, sources }).unwrap()
    }

    #[test]
    fn it_reads_back_as_it_was_written_and_says_no_more_than_reasons() {
        let written = summary(vec![standing("a", [3, 0, 0]), standing("b", [2, 0, 1])]);
        let json = written.to_json().unwrap();
        assert_eq!(Summary::read(&json).unwrap(), written);
        assert!(!json.contains("hunter2") && json.contains("Foreign"), "{json}");
    }

    #[test]
    fn everywhere_is_this_version_and_nothing_that_waits() {
        let everywhere = |standing| summary(vec![standing]).sources["Secret/a"].is_everywhere(version(7));
        assert!(everywhere(standing("a", [3, 0, 0])));
        assert!(!everywhere(standing("a", [2, 1, 0])) && !everywhere(standing("a", [2, 0, 1])));
        assert!(!everywhere(Standing { version: Some(version(6)), ..standing("a", [3, 0, 0]) }));
        assert!(!everywhere(Standing { version: None, ..standing("a", [3, 0, 0]) }));
        assert!(!everywhere(Standing { asks: Asks::Frozen, ..standing("a", [3, 0, 0]) }), "it may lack in a new one");
    }

    #[test]
    fn what_was_not_heard_is_told_from_what_was_heard_and_is_not_in_place() {
        let told = summary(vec![standing("a", [2, 1, 0])]);
        let lack = |name: &str, rv, at| {
            let lack = told.lacks(&SourceKey { kind: Kind::Secret, name: name.into() }, version(rv), at).unwrap();
            (lack.why, lack.unheard)
        };
        let here = Whereabouts::Here;
        assert_eq!(lack("a", 7, here), ("1 pending and 0 refused here".to_owned(), false));
        assert_eq!(lack("a", 8, here), ("the agent here has not acted on this version yet".to_owned(), true));
        assert_eq!(lack("b", 7, Whereabouts::There), ("the agent there has not told of it".to_owned(), true));
    }

    #[test]
    fn how_old_a_word_is() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        for (time, words, silent) in [
            ("2026-01-02T00:00:05Z", "its last word is 0 s ago", false),
            ("2026-01-01T23:59:01Z", "its last word is 59 s ago", false),
            ("2026-01-01T23:39:00Z", "its last word is 21 min ago", false),
            ("2026-01-01T23:38:59Z", "its last word is 21 min ago", true),
            ("2026-01-01T21:00:01Z", "its last word is 2 h ago", true),
            ("2025-12-30T00:00:00Z", "its last word is 3 days ago", true),
            ("yesterday", "nobody can tell how old its last word is", true),
        ] {
            let age = age(time, now);
            assert_eq!((last_word(age).as_str(), is_silent(age)), (words, silent), "{time}");
        }
    }

    #[test]
    fn before_the_lists_there_is_nothing_to_say() {
        assert_eq!(Summary::of("0.1.0", &Standings::default()), None);
    }

    #[test]
    fn it_is_bounded_and_what_is_wrong_comes_first() {
        let name = |n: usize| format!("{n:0>253}");
        let mut many: Vec<_> = (0..600).map(|n| standing(&name(n), [1, 0, 0])).collect();
        many[599] = standing(&name(599), [0, 0, 1]);
        let summary = summary(many);
        assert_eq!((summary.sources.len(), summary.omitted), (SOURCES, 100));
        assert!(summary.sources.contains_key(&format!("Secret/{}", name(599))));
        assert!(summary.to_json().unwrap().len() < 512 << 10);
    }

    #[test]
    fn what_is_of_another_form_says_nothing() {
        let json = summary(vec![standing("a", [1, 0, 0])]).to_json().unwrap();
        for other in ["", "[]", "null", &json.replace("\"form\":1", "\"form\":2"), &json[1..]] {
            assert_eq!(Summary::read(other), None, "{other}");
        }
        let rude = summary(vec![standing("a", [1, 0, 1])]).to_json().unwrap().replace("Foreign", "\\u001b[2J");
        let place = &Summary::read(&rude).unwrap().sources["Secret/a"].places[0];
        assert!(!place.reason.contains('\u{1b}'), "{place:?}");
    }
}
