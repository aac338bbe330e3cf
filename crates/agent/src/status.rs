//! What the status page shows of this cluster.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sync_core::core::{Asks, Place, Standing, Standings, Tally};
use sync_core::engine::Inquiries;
use sync_core::ops::status::Shows;

/// Namespaces that are named of each source; of the rest there are the counts.
const PLACES: usize = 50;

/// Asks the engine.
#[derive(Debug)]
pub struct Status(pub Inquiries);

impl Shows for Status {
    fn show(&self) -> BoxFuture<'_, Result<Map<String, Value>, String>> {
        async move {
            let standings = self.0.standings_with(PLACES).await.ok_or("the agent is being stopped\n")?;
            Ok(document(&standings, Timestamp::now()))
        }
        .boxed()
    }
}

fn document(standings: &Standings, now: Timestamp) -> Map<String, Value> {
    // What nobody asks for and of which nothing is left is not worth a line.
    let told = standings.sources.iter().filter(|standing| standing.asks != Asks::Unknown || !is_nothing(standing));
    let mut told: Vec<_> = told.filter(|standing| standing.version.is_some() || !is_nothing(standing)).collect();
    told.sort_by_key(|standing| &standing.source);
    Map::from_iter([
        ("well".to_owned(), (standings.ready && told.iter().all(|standing| is_well(standing))).into()),
        ("namespaces".to_owned(), standings.destinations.into()),
        ("sources".to_owned(), told.into_iter().map(|standing| source(standing, now)).collect()),
    ])
}

fn is_nothing(standing: &Standing) -> bool {
    standing.tally == Tally::default()
}

const fn is_well(standing: &Standing) -> bool {
    let tally = standing.tally;
    tally.pending == 0 && tally.refused == 0 && !matches!(standing.asks, Asks::Frozen | Asks::Never)
}

fn source(standing: &Standing, now: Timestamp) -> Value {
    let Tally { synced, pending, refused } = standing.tally;
    let reason = match standing.asks {
        Asks::Frozen => Some(
            "Frozen: it cannot be understood; kubectl describe shows why; until it is corrected its copies follow, and none \
             is created or deleted"
                .to_owned(),
        ),
        Asks::Never => Some("it is of a type or name that is never replicated; remove the annotation".to_owned()),
        Asks::Leaving(reason) => Some(format!("{reason}: {}", reason.what_to_do())),
        Asks::Copies | Asks::Nothing | Asks::Unknown => None,
    };
    let since = standing.unsettled_for.and_then(|age| now.checked_sub(age).ok());
    let place = |place: &Place| {
        json!({
            "namespace": place.namespace, "reason": place.reason, "message": place.message, "todo": place.todo,
        })
    };
    json!({
        "source": standing.source.to_string(),
        "resourceVersion": standing.version.map(|version| version.rv.to_string()),
        "off": standing.asks == Asks::Nothing && is_nothing(standing),
        "frozen": standing.asks == Asks::Frozen,
        "leaving": matches!(standing.asks, Asks::Leaving(_)),
        "reason": reason,
        "synced": synced,
        "pending": pending,
        "refused": refused,
        "since": since.map(|since| since.to_string()),
        "places": standing.places.iter().map(place).collect::<Vec<_>>(),
    })
}
