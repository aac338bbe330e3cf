use sync_core::contract::object::{Kind, Rv, SourceKey, Uid, Version};
use sync_core::core::{Place, Tally};

use super::*;

fn version(n: u64) -> Version {
    Version { uid: Uid::parse("11111111-0000-4000-8000-000000000001").unwrap(), rv: Rv(n) }
}

fn key() -> SourceKey {
    SourceKey { kind: Kind::Secret, name: "regcred".into() }
}

/// As an engine says of one source.
fn standing(version_of_source: u64, version_of_copy: u64, [synced, pending, refused]: [u32; 3]) -> Standing {
    Standing {
        source: key(),
        version: Some(version(version_of_source)),
        asks: Asks::Copies,
        tally: Tally { synced, pending, refused },
        unsettled_for: None,
        replica: Some(version(version_of_copy)),
        places: Vec::new(),
    }
}

/// As the agent there says of the copy.
fn heard(version_of_copy: u64, counts: [u32; 3]) -> Heard {
    let place = Place { namespace: "n1".into(), reason: "Foreign", message: String::new(), todo: "" };
    let places = if counts[2] > 0 { vec![place] } else { Vec::new() };
    let sources = vec![Standing { places, ..standing(version_of_copy, 0, counts) }];
    let summary = Summary::of("0.1.0", &Standings { ready: true, destinations: 9, sources }).unwrap();
    Heard::Summary(summary, Some("2026-01-01T00:00:00Z".parse().unwrap()))
}

fn of(standing: Standing, heard: &Heard, silent: bool) -> CopyStatus {
    let standings = Standings { ready: true, destinations: 1, sources: vec![standing] };
    receipt(&standings, heard, silent).copies.remove(0)
}

#[test]
fn everywhere_is_said_of_the_very_version_that_both_have_acted_on() {
    let said = of(standing(7, 40, [1, 0, 0]), &heard(40, [9, 0, 0]), false);
    assert_eq!((said.everywhere, said.resource_version.as_str(), said.reason), (true, "7", None));
    // It was true when it was said; namespaces that have come since then nobody has told of.
    let said = of(standing(7, 40, [1, 0, 0]), &heard(40, [9, 0, 0]), true);
    assert_eq!(said.reason.as_deref(), Some("AgentSilent: all copies were in place when the agent last reported"));
    assert!(!said.everywhere);
}

#[test]
fn whatever_is_behind_is_named() {
    let well = || standing(7, 40, [1, 0, 0]);
    for (standing, heard, silent, text) in [
        (standing(7, 39, [0, 1, 0]), heard(39, [9, 0, 0]), false, "still to be written"),
        (standing(7, 39, [0, 0, 1]), heard(39, [9, 0, 0]), false, "there is no copy"),
        (Standing { replica: None, ..well() }, heard(40, [9, 0, 0]), false, "there is no copy"),
        (Standing { asks: Asks::Frozen, ..well() }, heard(40, [9, 0, 0]), false, "Frozen"),
        (well(), heard(39, [9, 0, 0]), false, "not acted on this version yet"),
        (well(), heard(41, [9, 0, 0]), false, "not acted on this version yet"),
        (well(), heard(40, [8, 1, 0]), false, "1 pending and 0 refused there"),
        (well(), heard(40, [8, 0, 1]), false, "0 pending and 1 refused there: Foreign in namespace n1"),
        (well(), heard(39, [9, 0, 0]), true, "AgentSilent"),
        (well(), Heard::Absent, false, "no agent reports there"),
        (well(), Heard::Nothing, false, "not been heard yet"),
        (well(), Heard::Unreadable, false, "does not understand"),
    ] {
        let said = of(standing, &heard, silent);
        let reason = said.reason.unwrap();
        assert!(!said.everywhere && reason.contains(text), "{text}: {reason}");
    }
}

#[test]
fn when_the_agent_last_reported_is_told_where_it_may_not_run() {
    let time = |version_of_copy, counts, silent| {
        of(standing(7, 40, [1, 0, 0]), &heard(version_of_copy, counts), silent).last_report_time
    };
    let told = Some("2026-01-01T00:00:00Z".to_owned());
    assert_eq!(time(39, [9, 0, 0], false), told);
    assert_eq!(time(40, [8, 1, 0], true), told);
    // It would be written with every sign of life.
    assert_eq!((time(40, [8, 1, 0], false), time(40, [9, 0, 0], false)), (None, None));
    assert_eq!(time(40, [9, 0, 0], true), told);
}

/// A master that has just begun does not take what has stood there for a day for news.
#[test]
fn a_summary_is_as_old_as_it_says() {
    for (now, left) in [
        ("2026-01-01T00:00:30Z", SILENCE.saturating_sub(Duration::from_secs(30))),
        ("2026-01-02T00:00:00Z", Duration::ZERO),
        // By another clock.
        ("2025-12-31T23:00:00Z", SILENCE),
    ] {
        assert_eq!(heard(40, [9, 0, 0]).speaks_for(now.parse().unwrap()), left, "{now}");
    }
    let Heard::Summary(summary, _) = heard(40, [9, 0, 0]) else { panic!() };
    assert_eq!(Heard::Summary(summary, None).speaks_for(Timestamp::now()), Duration::ZERO);
    assert_eq!(Heard::Absent.speaks_for(Timestamp::now()), SILENCE);
}

/// No status that says it would be taken by the API server: its times have four digits of a year.
#[test]
fn a_time_of_no_age_is_none() {
    let Heard::Summary(summary, _) = heard(40, [9, 0, 0]) else { panic!() };
    let json = summary.to_json().unwrap();
    for (time, known) in [("2026-01-01T00:00:30Z", true), ("-000001-01-01T00:00:00Z", false), ("x", false)] {
        let stored = Stored::Summary { json: json.clone(), time: time.to_owned() };
        let Heard::Summary(_, found) = Heard::of(stored) else { panic!() };
        assert_eq!(found.is_some(), known, "{time}");
    }
}

#[test]
fn the_agents_counts_are_told_too() {
    let standings = Standings { ready: true, destinations: 1, sources: vec![standing(7, 40, [1, 0, 0])] };
    let agent = receipt(&standings, &heard(40, [6, 2, 1]), false).agent;
    assert_eq!((agent.state, agent.namespaces, agent.pending, agent.refused), (AgentState::Reporting, 9, 2, 1));
    assert_eq!(receipt(&standings, &Heard::Absent, false).agent.state, AgentState::Absent);
}

#[test]
fn a_source_that_does_not_select_the_cluster_is_not_named() {
    let standings = Standings { ready: true, destinations: 1, sources: vec![standing(7, 40, [0, 0, 0])] };
    assert_eq!(receipt(&standings, &Heard::Absent, false).copies, []);
}
