//! `master wait secret/NAME`: the rotation receipt. After it says yes, an old credential can be revoked.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use sync_core::fault::Fault;
use sync_core::ops::source_name::SourceName;
use tokio::time::{Instant, sleep, timeout_at};

use super::look::Looker;
use super::verdict::{Missing, Verdict};

/// Between two looks; a status is written at most every second.
const EVERY: Duration = Duration::from_secs(1);

/// How a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everywhere: status 0.
    Everywhere,
    /// Time is over: status 1.
    TimedOut,
    /// There is nothing to wait for, or nobody may look: status 2.
    Nothing,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(match ending {
            Ending::Everywhere => 0,
            Ending::TimedOut => 1,
            Ending::Nothing => 2,
        })
    }
}

/// Waits until every copy of the source's present version stands in every namespace of every cluster that it selects, and
/// tells on `out` what is missing whenever that changes.
///
/// # Errors
/// If `out` cannot be written to.
pub async fn wait(looker: &Looker, name: &SourceName, limit: Duration, out: &mut impl Write) -> io::Result<Ending> {
    let (SourceName(key), end) = (name, Instant::now() + limit);
    // What is the matter, and the same with what changes with the time: that alone is not told again.
    let (mut told, mut last) = (String::new(), "the cluster has not answered".to_owned());
    let mut words = last.clone();
    loop {
        match timeout_at(end, looker.at(key)).await {
            Err(_) => {}
            Ok(Err(fault @ Fault::Forbidden(_))) => {
                writeln!(out, "{}", failed(&fault))?;
                return Ok(Ending::Nothing);
            }
            Ok(Err(fault)) => {
                last = failed(&fault);
                words.clone_from(&last);
            }
            Ok(Ok(None)) => {
                writeln!(out, "there is no {key} in namespace {}", looker.namespace())?;
                return Ok(Ending::Nothing);
            }
            Ok(Ok(Some((source, verdict)))) => match verdict {
                Verdict::NoCopies(why) => {
                    writeln!(out, "{key} is not copied: {why}")?;
                    return Ok(Ending::Nothing);
                }
                Verdict::Nowhere => {
                    writeln!(out, "{key} selects no remote cluster, and no agent reports in this one")?;
                    return Ok(Ending::Nothing);
                }
                Verdict::Of(clusters, missing) if missing.is_empty() => {
                    let version = source.version.rv;
                    writeln!(out, "{key} is everywhere in version {version}: {}", count(clusters))?;
                    return Ok(Ending::Everywhere);
                }
                Verdict::Of(clusters, missing) => {
                    let tell = |words| format!("version {}: {}", source.version.rv, tell(clusters, &missing, words));
                    (last, words) = (tell(|missing| missing.reason.clone()), tell(Missing::text));
                }
            },
        }
        if last != told {
            writeln!(out, "waiting for {key}, {words}")?;
            out.flush()?;
            told.clone_from(&last);
        }
        if Instant::now() + EVERY >= end {
            writeln!(out, "{key} is not everywhere after {} s; {words}", limit.as_secs())?;
            return Ok(Ending::TimedOut);
        }
        sleep(EVERY).await;
    }
}

fn failed(fault: &Fault) -> String {
    format!("cannot look: {fault}; {}", fault.what_to_do())
}

fn tell(clusters: usize, missing: &[Missing], words: fn(&Missing) -> String) -> String {
    let done = clusters - missing.len();
    let each: String = missing.iter().map(|missing| format!("\n  {}: {}", missing.cluster, words(missing))).collect();
    format!("{done} of {}; missing:{each}", count(clusters))
}

/// In words.
pub fn count(clusters: usize) -> String {
    if clusters == 1 { "1 cluster".to_owned() } else { format!("{clusters} clusters") }
}
