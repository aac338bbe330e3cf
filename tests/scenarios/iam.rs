//! The policies that README.md tells people to make: what the master asks of AWS, and nothing else.

use std::collections::BTreeSet;

use serde_json::{Value, json};

const README: &str = include_str!("../../README.md");
/// Calls are counted by their names there.
const CALLS: &str = include_str!("../../crates/master/src/eks/counted.rs");

/// Each document in the README, with the name of the file that it goes into.
fn policies() -> Vec<(&'static str, Value)> {
    let mut found = Vec::new();
    for rest in README.split("cat >").skip(1) {
        let document = rest.split_once(" <<EOF\n").filter(|(file, _)| file.ends_with(".json"));
        let Some((file, rest)) = document else { continue };
        let (text, _) = rest.split_once("\nEOF\n").unwrap();
        found.push((file, serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))));
    }
    found
}

/// One text, or a list of them.
fn list(value: &Value) -> Vec<&str> {
    match value.as_str() {
        Some(one) => vec![one],
        None => value.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect(),
    }
}

fn statements(policy: &Value) -> impl Iterator<Item = &Value> {
    assert_eq!(policy["Version"], "2012-10-17");
    let statements = policy["Statement"].as_array().unwrap();
    assert!(!statements.is_empty() && statements.iter().all(|statement| statement["Effect"] == "Allow"));
    statements.iter()
}

#[test]
fn the_policies_allow_what_the_master_calls_and_nothing_else() {
    let policies = policies();
    let files: Vec<_> = policies.iter().map(|(file, _)| *file).collect();
    assert_eq!(files, ["trust.json", "trust.json", "policy.json", "trust.json", "policy.json"]);
    let mut allowed = BTreeSet::new();
    let permissions = policies.iter().filter(|(file, _)| *file == "policy.json");
    for statement in permissions.flat_map(|(_, policy)| statements(policy)) {
        for action in list(&statement["Action"]) {
            allowed.insert(action);
            let bound = list(&statement["Resource"]).iter().all(|resource| resource.contains(":111122223333:"));
            assert!(bound || action == "eks:ListClusters", "{action} is allowed everywhere");
        }
    }
    // What it calls it counts; who one is may be asked by all, and tags go with a session.
    let words = CALLS.split('"').filter(|word| word.chars().all(char::is_alphanumeric));
    let calls: BTreeSet<_> = words.filter(|word| word.starts_with(char::is_uppercase)).collect();
    assert_eq!(calls, BTreeSet::from(["AssumeRole", "DescribeCluster", "GetCallerIdentity", "ListClusters"]));
    let names: BTreeSet<_> = allowed.iter().filter_map(|action| action.split(':').nth(1)).collect();
    let free = BTreeSet::from(["GetCallerIdentity"]);
    assert_eq!(names, calls.difference(&free).copied().chain(["TagSession"]).collect());
}

#[test]
fn each_role_trusts_one_principal() {
    let policies = policies();
    let trusts: Vec<_> = policies.iter().filter(|(file, _)| *file == "trust.json").map(|(_, policy)| policy).collect();
    let [pod_identity, irsa, target] = trusts[..] else { panic!("three are expected") };
    for (policy, kind, principal) in [
        (pod_identity, "Service", "pods.eks.amazonaws.com"),
        (irsa, "Federated", "arn:aws:iam::999900001111:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE"),
        (target, "AWS", "arn:aws:iam::999900001111:role/mw-sync-master"),
    ] {
        for statement in statements(policy) {
            assert_eq!(statement["Principal"], json!({ kind: principal }));
            // A session's tags are no way in.
            let conditioned = statement["Condition"]["StringEquals"].is_object();
            assert!(conditioned || statement["Action"] == "sts:TagSession", "{statement}");
        }
    }
    let text = irsa.to_string();
    assert!(text.contains("system:serviceaccount:operator:mw-sync-master") && text.contains(":aud"), "{text}");
    assert!(target.to_string().contains("sts:ExternalId"));
}
