//! All metrics there are. README.md has a table of them; a test compares.

use super::text::{Family, Type};

const fn family(name: &'static str, of: Type, help: &'static str) -> Family {
    Family { name, of, help }
}

/// `action`, `kind`, `outcome`, `remote_cluster`
pub static WRITES: Family =
    family("mw_sync_writes", Type::Counter, "Writes of copies; outcome is done, or why it was not.");
/// `kind`, `outcome`, `remote_cluster`
pub static LOOKS: Family = family(
    "mw_sync_looks",
    Type::Counter,
    "Reads of what stands where a copy belongs, after a write that met something else.",
);
/// `kind`, `source`, `state`
pub static COPIES: Family =
    family("mw_sync_copies", Type::Gauge, "Copies of each source, everywhere, by state: synced, pending or refused.");
/// `remote_cluster`, `state`
pub static REMOTE_COPIES: Family =
    family("mw_sync_remote_cluster_copies", Type::Gauge, "Copies in each remote cluster, by state.");
/// `reason`, `remote_cluster`
pub static REFUSED: Family =
    family("mw_sync_refused", Type::Gauge, "Copies that are not made until something changes, by reason.");
/// `reason`, `remote_cluster`
pub static FAILING: Family =
    family("mw_sync_failing", Type::Gauge, "Copies whose last write failed and is tried again, by reason.");
/// `remote_cluster`
pub static FANOUT: Family =
    family("mw_sync_fanout_seconds", Type::Histogram, "From a change of a source to its last copy.");
/// None.
pub static NEW_NAMESPACE: Family =
    family("mw_sync_new_namespace_seconds", Type::Histogram, "From a new namespace to the first copy in it.");
/// `lane`, `remote_cluster`
pub static QUEUE: Family = family(
    "mw_sync_queue",
    Type::Gauge,
    "Copies that wait, by lane; parked ones for their namespace, those aside for writes to be answered there, delayed ones \
     for their time.",
);
/// `remote_cluster`
pub static IN_FLIGHT: Family = family("mw_sync_in_flight", Type::Gauge, "Requests under way.");
/// `remote_cluster`
pub static IN_FLIGHT_LIMIT: Family =
    family("mw_sync_in_flight_limit", Type::Gauge, "Most requests under way at once at present.");
/// `remote_cluster`, `watch`
pub static WATCH_AGE: Family = family(
    "mw_sync_watch_age_seconds",
    Type::Gauge,
    "Since a watch last heard of its server, which speaks every minute.",
);
/// None.
pub static LEADER: Family = family("mw_sync_leader", Type::Gauge, "1 if this process writes, 0 if it stands by.");
/// `version`
pub static BUILD: Family = family("mw_sync_build", Type::Info, "What runs.");
/// `action`, `outcome`, `service`
pub static AWS_CALLS: Family =
    family("mw_sync_aws_calls", Type::Counter, "Calls of AWS; outcome is done, or why it was not.");
/// `remote_cluster`
pub static TOKEN_AGE: Family = family(
    "mw_sync_token_age_seconds",
    Type::Gauge,
    "Since the token for an EKS cluster was signed; it is renewed after 600.",
);
/// `reason`, `remote_cluster`
pub static REMOTE_READY: Family =
    family("mw_sync_remote_cluster_ready", Type::Gauge, "1 if the remote cluster is Ready, else 0 and why.");
/// `remote_cluster`, `state`
pub static AGENT_REPORTING: Family = family(
    "mw_sync_agent_reporting",
    Type::Gauge,
    "1 if the agent of the remote cluster says how it fares, else 0 and how it does not.",
);
/// `remote_cluster`, `state`
pub static AGENT_COPIES: Family = family(
    "mw_sync_agent_copies",
    Type::Gauge,
    "Copies that the agent of a remote cluster has not made, as it said last, by state.",
);

/// Those of both controllers, and those of the master.
pub static ALL: [&Family; 19] = [
    &WRITES,
    &LOOKS,
    &COPIES,
    &REFUSED,
    &FAILING,
    &FANOUT,
    &NEW_NAMESPACE,
    &QUEUE,
    &IN_FLIGHT,
    &IN_FLIGHT_LIMIT,
    &WATCH_AGE,
    &LEADER,
    &BUILD,
    &REMOTE_COPIES,
    &REMOTE_READY,
    &AGENT_REPORTING,
    &AGENT_COPIES,
    &AWS_CALLS,
    &TOKEN_AGE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_each_metric_and_no_other() {
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
        let readme = std::fs::read_to_string(readme).unwrap();
        let shown = |family: &Family| match family.of {
            Type::Counter => format!("{}_total", family.name),
            Type::Info => format!("{}_info", family.name),
            Type::Gauge | Type::Histogram => family.name.to_owned(),
        };
        for family in ALL {
            assert!(readme.contains(&format!("| `{}` |", shown(family))), "no row for {}", shown(family));
        }
        let rows = readme.lines().filter(|line| line.starts_with("| `mw_sync_")).count();
        assert_eq!(rows, ALL.len());
    }
}
