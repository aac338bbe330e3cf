//! `agent status`: where each source is in this cluster, by what the agent has last said.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sync_core::cluster::connection::Connection;
use sync_core::cluster::summary::{self, Stored};
use sync_core::ops::preflight::mend;
use sync_core::ops::report::Format;
use sync_core::ops::table::columns;
use sync_core::summary::{HEARTBEAT, SourceSummary, Summary};

use crate::args::Config;

/// Two signs of life, and the time that one may take.
pub(crate) const SILENCE: Duration = HEARTBEAT.saturating_mul(2).saturating_add(Duration::from_secs(60));

/// How long ago a summary was written; `None` if nobody can tell.
pub(crate) fn age(time: &str) -> Option<Duration> {
    let then = time.parse::<Timestamp>().ok()?;
    Some(Duration::try_from(Timestamp::now().duration_since(then)).unwrap_or_default())
}

/// Writes it. Status 0 when all is well, 1 when something is missing, 2 when it cannot be told.
///
/// # Errors
/// If it cannot be written.
pub async fn status(config: &Config, format: Format, out: &mut impl Write) -> io::Result<ExitCode> {
    let (summary, age) = match look(config).await {
        Ok(found) => found,
        Err(why) => {
            writeln!(io::stderr(), "error: {why}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let silent = age.is_none_or(|age| age > SILENCE);
    match format {
        Format::Json => {
            let document = json!({ "silent": silent, "ageSeconds": age.map(|age| age.as_secs()), "summary": summary });
            writeln!(out, "{document:#}")?;
        }
        Format::Text => {
            table(&summary, out)?;
            let minutes = age.map_or_else(|| "ever".to_owned(), |age| format!("{} min", age.as_secs() / 60));
            if silent {
                writeln!(out, "\nthe agent has not reported for {minutes}: none of that may be true any more")?;
            }
        }
    }
    let well = |source: &SourceSummary| source.pending == 0 && source.refused == 0;
    Ok(ExitCode::from(u8::from(silent || !summary.sources.values().all(well))))
}

async fn look(config: &Config) -> Result<(Summary, Option<Duration>), String> {
    let common = &config.common;
    let connection = Connection::local(common.context.as_deref(), common.rules.role.user_agent()).await;
    let (_, connection) = connection.map_err(|error| error.to_string())?;
    match summary::get(&connection.write, &common.rules).await {
        Ok(Stored::Summary { json, time }) => {
            let summary = Summary::read(&json).ok_or("what the agent reports is of another version")?;
            Ok((summary, age(&time)))
        }
        Ok(Stored::Absent | Stored::Foreign) => Err("no agent reports in this cluster: agent check".to_owned()),
        Err(fault) => Err(format!("{fault}; {}", mend(&fault))),
    }
}

fn table(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    let heads = ["SOURCE", "VERSION", "SYNCED", "PENDING", "REFUSED", "FIRST"];
    let mut rows = vec![heads.map(str::to_owned)];
    for (name, source) in &summary.sources {
        let version = source.version().map_or_else(|| "-".to_owned(), |version| version.rv.to_string());
        let places = source.places.iter().map(|place| format!("{} in {}", place.reason, place.namespace));
        let places = places.collect::<Vec<_>>().join(", ");
        let [synced, pending, refused] = [source.synced, source.pending, source.refused].map(|n| n.to_string());
        rows.push([name.clone(), version, synced, pending, refused, places]);
    }
    columns(&rows, out)?;
    if summary.omitted > 0 {
        writeln!(out, "and {} more", summary.omitted)?;
    }
    Ok(())
}
