//! `agent status`: where each source is in this cluster, by what the agent has last said.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sync_core::cluster::connection::Connection;
use sync_core::cluster::read;
use sync_core::cluster::summary::{self, Stored};
use sync_core::contract::rules::Rules;
use sync_core::contract::source::{Reading, Source};
use sync_core::fault::Fault;
use sync_core::ops::preflight::{self, mend};
use sync_core::ops::report::Format;
use sync_core::ops::table::columns;
use sync_core::summary::{Lack, Summary, Whereabouts, age, is_silent, last_word};

use crate::args::Config;

/// What the agent has last said, beside what is there.
#[derive(Debug)]
pub(crate) struct Look {
    /// Its words.
    pub(crate) summary: Summary,
    /// How old they are; `None` if nobody can tell.
    pub(crate) age: Option<Duration>,
    /// Versions that the sources have, by kind and name.
    versions: BTreeMap<String, String>,
    /// What the present version of a source lacks, by kind and name.
    pub(crate) lacks: BTreeMap<String, Lack>,
}

/// What is found in place of a summary.
#[derive(Debug)]
pub(crate) enum Unheard {
    /// None.
    Absent,
    /// Somebody else's ConfigMap.
    Foreign,
    /// One that this version cannot read.
    Unreadable,
}

impl Look {
    /// Reads it all.
    ///
    /// # Errors
    /// If one of the reads fails.
    pub(crate) async fn at(connection: &Connection, rules: &Rules) -> Result<Result<Self, Unheard>, Fault> {
        // Before the summary: what it says of these versions is not older than they are.
        let sources = read::sources(&connection.watch, rules).await?;
        Ok(match summary::get(&connection.write, rules).await? {
            Stored::Absent => Err(Unheard::Absent),
            Stored::Foreign => Err(Unheard::Foreign),
            Stored::Summary { json, time } => {
                let summary = Summary::read(&json).ok_or(Unheard::Unreadable);
                summary.map(|summary| Self::of(summary, age(&time, Timestamp::now()), &sources))
            }
        })
    }

    fn of(summary: Summary, age: Option<Duration>, sources: &[Source]) -> Self {
        let versions = sources.iter().map(|source| (source.key.to_string(), source.version.rv.to_string())).collect();
        let mut lacks: BTreeMap<_, _> =
            sources.iter().filter_map(|source| Some((source.key.to_string(), lack(&summary, source)?))).collect();
        let ask = |source: &&Source| matches!(source.reading, Reading::On(_) | Reading::Frozen(..));
        let asking: BTreeSet<_> = sources.iter().filter(ask).map(|source| source.key.to_string()).collect();
        for (name, told) in &summary.sources {
            if told.version().is_some() && !asking.contains(name) {
                let why = "it asks for copies no more, and the agent here has not acted on that yet".to_owned();
                lacks.insert(name.clone(), Lack { why, unheard: true });
            }
        }
        Self { summary, age, versions, lacks }
    }

    /// Whether every source is everywhere in its present version, and the agent has said so not long ago.
    fn is_well(&self) -> bool {
        let fine = self.summary.sources.values().all(|source| source.pending == 0 && source.refused == 0);
        fine && self.lacks.is_empty() && !is_silent(self.age)
    }

    /// A source of whose present version the agent has said nothing.
    pub(crate) fn unheard(&self) -> Option<(&str, &Lack)> {
        self.lacks.iter().find(|(_, lack)| lack.unheard).map(|(name, lack)| (name.as_str(), lack))
    }
}

/// What the present version of a source lacks, by what the agent says.
fn lack(summary: &Summary, source: &Source) -> Option<Lack> {
    let never_more = |why: String| Some(Lack { why, unheard: false });
    match &source.reading {
        Reading::On(_) => summary.lacks(&source.key, source.version, Whereabouts::Here),
        Reading::Frozen(_, why) => never_more(why.to_string()),
        Reading::Never(why) => never_more(why.to_string()),
        Reading::Off(_) | Reading::Plain => None,
    }
}

/// Writes it. Status 0 when all is well, 1 when something is missing, 2 when it cannot be told.
///
/// # Errors
/// If it cannot be written.
pub async fn status(config: &Config, format: Format, out: &mut impl Write) -> io::Result<ExitCode> {
    let look = match look(config).await {
        Ok(found) => found,
        Err(why) => {
            writeln!(io::stderr(), "error: {why}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let silent = is_silent(look.age);
    match format {
        Format::Json => {
            let missing = |(name, lack): (&String, &Lack)| json!({ "source": name, "reason": lack.why });
            let document = json!({
                "well": look.is_well(),
                "silent": silent,
                "ageSeconds": look.age.map(|age| age.as_secs()),
                "missing": look.lacks.iter().map(missing).collect::<Vec<_>>(),
                "summary": look.summary,
            });
            writeln!(out, "{document:#}")?;
        }
        Format::Text => {
            table(&look, out)?;
            write!(out, "\nthe agent: {}", last_word(look.age))?;
            if silent {
                write!(out, ", and none of that may be true any more")?;
            }
            match silent || look.unheard().is_some() {
                true => {
                    let run = Whereabouts::Here.look(&config.common.rules.source_namespace);
                    writeln!(out, "; does it run? {run}")?;
                }
                false => writeln!(out)?,
            }
        }
    }
    Ok(ExitCode::from(u8::from(!look.is_well())))
}

async fn look(config: &Config) -> Result<Look, String> {
    let common = &config.common;
    let (_, connection) = preflight::reach(common).await?;
    match Look::at(&connection, &common.rules).await {
        Ok(Ok(look)) => Ok(look),
        Ok(Err(Unheard::Absent | Unheard::Foreign)) => Err("no agent reports in this cluster: agent check".to_owned()),
        Ok(Err(Unheard::Unreadable)) => Err("what the agent reports is of another version".to_owned()),
        Err(fault) => Err(format!("{fault}; {}", mend(&fault))),
    }
}

fn table(look: &Look, out: &mut impl Write) -> io::Result<()> {
    let Look { summary, versions, lacks, .. } = look;
    let heads = ["SOURCE", "VERSION", "SYNCED", "PENDING", "REFUSED", "MISSING"];
    let mut rows = vec![heads.map(str::to_owned)];
    let names: BTreeSet<_> = summary.sources.keys().chain(lacks.keys()).collect();
    for name in names {
        let told = summary.sources.get(name);
        let version = versions.get(name).cloned().unwrap_or_else(|| "-".to_owned());
        let places = told.into_iter().flat_map(|told| &told.places);
        let places: Vec<_> = places.map(|place| format!("{} in {}", place.reason, place.namespace)).collect();
        let missing = match lacks.get(name) {
            Some(lack) if lack.unheard || places.is_empty() => lack.why.clone(),
            _ => places.join(", "),
        };
        let counts = told.map_or([0; 3], |told| [told.synced, told.pending, told.refused]);
        let [synced, pending, refused] = counts.map(|count| count.to_string());
        rows.push([name.clone(), version, synced, pending, refused, missing]);
    }
    columns(&rows, out)?;
    if summary.omitted > 0 {
        writeln!(out, "and {} more", summary.omitted)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sync_core::contract::object::{Kind, Object, Rv, Uid};
    use sync_core::contract::rules::Role;
    use sync_core::contract::strip::StripList;

    use super::*;

    const UID: &str = "11111111-0000-4000-8000-000000000001";

    fn source(switch: &str, version: u64) -> Source {
        let rules = Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).unwrap());
        let mut object = Object {
            kind: Kind::Secret,
            namespace: "operator".into(),
            name: "regcred".into(),
            uid: Uid::parse(UID).unwrap(),
            rv: Rv(version),
            labels: BTreeMap::new(),
            annotations: BTreeMap::from([("mw-sync".to_owned(), switch.to_owned())]),
            content: Default::default(),
            more: false,
        };
        object.content.secret_type = Some("Opaque".into());
        Source::read(&rules, object)
    }

    /// The agent has said this of version 7, so many seconds ago.
    fn look(sources: &[Source], synced: u32, pending: u32, seconds: u64) -> Look {
        let told = json!({
            "uid": UID, "resourceVersion": "7", "replicated": true, "synced": synced, "pending": pending, "refused": 0,
        });
        let json = json!({"form": 1, "agent": "0.1.0", "namespaces": 3, "sources": {"Secret/regcred": told}});
        Look::of(Summary::read(&json.to_string()).unwrap(), Some(Duration::from_secs(seconds)), sources)
    }

    #[test]
    fn all_is_well_while_the_agent_speaks_of_what_there_is() {
        let well = |sources: &[Source], seconds| look(sources, 3, 0, seconds).is_well();
        assert!(well(&[source("yes", 7)], 1200));
        assert!(!well(&[source("yes", 7)], 1300), "it is silent");
        assert!(!look(&[source("yes", 7)], 2, 1, 0).is_well());
    }

    #[test]
    fn what_the_agent_has_not_acted_on_is_named() {
        for (sources, words, unheard) in [
            (vec![source("yes", 8)], "has not acted on this version yet", true),
            (vec![source("no", 8)], "asks for copies no more", true),
            (vec![], "asks for copies no more", true),
            (vec![source("perhaps", 7)], "write yes", false),
        ] {
            let look = look(&sources, 3, 0, 5);
            let why = look.lacks.get("Secret/regcred").map(|lack| lack.why.as_str()).unwrap_or_default();
            assert!(why.contains(words), "{words}: {why}");
            assert_eq!((look.is_well(), look.unheard().is_some()), (false, unheard), "{words}");
        }
    }

    #[test]
    fn the_table_has_the_version_that_there_is() {
        let text = |sources: &[Source]| {
            let mut out = Vec::new();
            table(&look(sources, 3, 0, 5), &mut out).unwrap();
            String::from_utf8(out).unwrap().lines().nth(1).unwrap().to_owned()
        };
        assert_eq!(text(&[source("yes", 7)]), "Secret/regcred  7        3       0        0");
        let told =
            "Secret/regcred  8        3       0        0        the agent here has not acted on this version yet";
        assert_eq!(text(&[source("yes", 8)]), told);
    }
}
