//! `deploy/monitoring/` asks for metrics that there are.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde::Deserialize as _;
use serde_json::Value;

const README: &str = include_str!("../../README.md");
const RULES: &str = include_str!("../../deploy/monitoring/rules.yaml");
const DASHBOARD: &str = include_str!("../../deploy/monitoring/dashboard.json");
/// What a histogram has beside its name, and what is asked about it.
const SUFFIX: &str = "_bucket";

/// The metrics of ours that an expression names.
fn metrics(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("mw_sync_")).map(|word| word.strip_suffix(SUFFIX).unwrap_or(word)).collect()
}

fn are_documented(expression: &str) {
    let named = metrics(expression);
    assert!(!named.is_empty(), "{expression}: no metric of ours");
    for metric in named {
        assert!(README.contains(&format!("| `{metric}` |")), "README.md has no row for {metric}, in {expression}");
    }
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() -> Result<()> {
    let rules = Value::deserialize(serde_yaml::Deserializer::from_str(RULES))?;
    let mut alerts = BTreeSet::new();
    for rule in rules["spec"]["groups"][0]["rules"].as_array().context("no rules")? {
        are_documented(rule["expr"].as_str().context("no expression")?);
        assert!(rule["for"].is_string() && rule["annotations"]["summary"].is_string(), "{rule:#}");
        alerts.insert(rule["alert"].as_str().context("no name")?);
    }
    let expected = [
        "MwSyncAgentSilent",
        "MwSyncClusterNotReady",
        "MwSyncNoLeader",
        "MwSyncNotEverywhere",
        "MwSyncRefused",
        "MwSyncRemoteNotEverywhere",
        "MwSyncRemoteRefused",
        "MwSyncWatchStale",
    ];
    assert!(alerts.iter().eq(&expected), "{alerts:?}");

    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions: Vec<_> = targets.filter_map(|target| target["expr"].as_str()).collect();
    assert!(expressions.len() >= panels.len());
    expressions.into_iter().for_each(are_documented);
    Ok(())
}
