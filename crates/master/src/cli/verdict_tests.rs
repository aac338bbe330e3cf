use serde_json::json;
use sync_core::contract::object::{Kind, Object, Rv, Uid};
use sync_core::contract::rules::{Role, Rules};
use sync_core::contract::strip::StripList;

use super::*;

const UID: &str = "11111111-0000-4000-8000-000000000001";

fn source(annotations: &[(&str, &str)]) -> Source {
    let rules = Rules::new(Role::Master, "operator", Some("management"), StripList::with::<&str>(&[]).unwrap());
    let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let mut object = Object {
        kind: Kind::Secret,
        namespace: "operator".into(),
        name: "regcred".into(),
        uid: Uid::parse(UID).unwrap(),
        rv: Rv(7),
        labels: Default::default(),
        annotations,
        content: Default::default(),
        more: false,
    };
    object.content.secret_type = Some("Opaque".into());
    Source::read(&rules, object)
}

/// A RemoteCluster whose status says that everything is well, but for this.
fn cluster(name: &str, change: serde_json::Value) -> RemoteCluster {
    let mut object = json!({
        "apiVersion": "mw-sync.io/v1alpha1", "kind": "RemoteCluster",
        "metadata": {"name": name, "generation": 2, "labels": {"env": name}},
        "spec": {"kubeconfig": {"secretName": "x"}},
        "status": {
            "observedGeneration": 2,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Connected", "message": "",
                            "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "copies": [{"source": "Secret/regcred", "uid": UID, "resourceVersion": "7", "everywhere": true}],
        },
    });
    merge(&mut object, change);
    serde_json::from_value(object).unwrap()
}

fn merge(into: &mut serde_json::Value, change: serde_json::Value) {
    match (into.as_object_mut(), change) {
        (Some(into), serde_json::Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (_, change) => *into = change,
    }
}

/// At five past midnight.
fn view(clusters: &[RemoteCluster], here: Stored) -> View {
    let now = "2026-01-01T00:05:00Z".parse().unwrap();
    View { clusters: clusters.to_vec(), here, watching: Watching::Yes, namespace: "operator".to_owned(), now }
}

/// As an agent of this cluster says.
fn summary(version: &str, pending: u32, time: &str) -> Stored {
    let source = json!({
        "uid": UID, "resourceVersion": version, "replicated": true, "synced": 3, "pending": pending, "refused": 0,
    });
    let json = json!({"form": 1, "agent": "0.1.0", "namespaces": 3, "sources": {"Secret/regcred": source}});
    Stored::Summary { json: json.to_string(), time: time.to_owned() }
}

fn missing(source: &Source, clusters: &[RemoteCluster]) -> Vec<String> {
    match verdict(source, &view(clusters, Stored::Absent)) {
        Verdict::Of(_, missing) => missing.iter().map(Missing::text).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn yes_is_said_of_this_version_alone() {
    let on = source(&[("mw-sync", "yes")]);
    assert!(missing(&on, &[cluster("a", json!({})), cluster("b", json!({}))]).is_empty());
    let copy = |change| {
        let mut copy = json!({"source": "Secret/regcred", "uid": UID, "resourceVersion": "7", "everywhere": true});
        merge(&mut copy, change);
        json!({"status": {"copies": [copy]}})
    };
    for (change, text) in [
        (copy(json!({"resourceVersion": "6"})), "not brought this version"),
        (copy(json!({"resourceVersion": "8"})), "not brought this version"),
        (copy(json!({"uid": "11111111-0000-4000-8000-000000000002"})), "not brought this version"),
        (copy(json!({"source": "ConfigMap/regcred"})), "not brought this version"),
        (copy(json!({"everywhere": false, "reason": "AgentSilent"})), "AgentSilent"),
        (json!({"status": {"copies": []}}), "not brought this version"),
        (json!({"status": null}), "does one run?"),
        (json!({"metadata": {"generation": 3}}), "not acted on its last change"),
        (json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), "being removed"),
    ] {
        let reasons = missing(&on, &[cluster("a", change)]);
        assert!(reasons.len() == 1 && reasons[0].contains(text), "{text}: {reasons:?}");
    }
}

#[test]
fn a_cluster_that_cannot_be_reached_says_why() {
    let down = json!({"status": {"copies": [], "conditions": [
        {"type": "Ready", "status": "False", "reason": "Unreachable", "message": "check the network",
         "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let reasons = missing(&source(&[("mw-sync", "yes")]), &[cluster("a", down)]);
    assert_eq!(reasons, ["Unreachable: check the network"]);
}

/// Whoever took copies away meanwhile, or made a namespace that an agent which died too has not seen, was not noticed.
#[test]
fn a_master_that_has_gone_is_not_taken_at_its_word() {
    let (on, clusters) = (source(&[("mw-sync", "yes")]), [cluster("a", json!({}))]);
    let gone = || Watching::No("its last word is 3 min ago".to_owned());
    for (watching, words) in [
        (Watching::Yes, None),
        (Watching::Begins, Some("a master that has just begun to lead looks again")),
        (gone(), Some("its last word is 3 min ago; does one run? kubectl -n operator get deployment,pods")),
    ] {
        let view = View { watching, ..view(&clusters, Stored::Absent) };
        let Verdict::Of(1, missing) = verdict(&on, &view) else { panic!() };
        match words {
            Some(words) => assert!(missing[0].text().contains(words), "{missing:?}"),
            None => assert_eq!(missing, []),
        }
    }
    // Of many the first says what to do.
    let many: Vec<_> = ["a", "b", "c"].map(|name| cluster(name, json!({}))).into();
    let view_of = View { watching: gone(), ..view(&many, Stored::Absent) };
    let Verdict::Of(3, missing) = verdict(&on, &view_of) else { panic!() };
    assert_eq!(missing.iter().filter(|missing| missing.silence.is_some()).count(), 1);
    // What is the matter there is told all the same.
    let view = View { watching: gone(), ..view(&[cluster("a", json!({"status": null}))], Stored::Absent) };
    assert!(
        matches!(verdict(&on, &view), Verdict::Of(1, missing) if missing[0].reason.contains("no master has looked"))
    );
}

#[test]
fn clusters_that_are_not_selected_do_not_count() {
    let some = source(&[("mw-sync", "yes"), ("mw-sync.io/cluster-selector", "env=a")]);
    let clusters = [cluster("a", json!({})), cluster("b", json!({"status": null}))];
    assert_eq!(verdict(&some, &view(&clusters, Stored::Absent)), Verdict::Of(1, Vec::new()));
    assert_eq!(verdict(&some, &view(&clusters[1..], Stored::Absent)), Verdict::Nowhere);
}

#[test]
fn what_asks_for_no_copies_is_never_everywhere() {
    for (annotations, text) in [
        (vec![], "kubectl annotate secret/regcred mw-sync=yes"),
        (vec![("mw-sync", "no")], "switched off"),
        (vec![("mw-sync", "perhaps")], "write yes"),
    ] {
        let view = view(&[cluster("a", json!({}))], Stored::Absent);
        let Verdict::NoCopies(why) = verdict(&source(&annotations), &view) else {
            panic!("{annotations:?}");
        };
        assert!(why.contains(text), "{why}");
    }
}

#[test]
fn an_agent_beside_the_master_counts_too() {
    let on = source(&[("mw-sync", "yes")]);
    let summary = |version, pending| summary(version, pending, "2026-01-01T00:04:00Z");
    assert_eq!(verdict(&on, &view(&[], summary("7", 0))), Verdict::Of(1, Vec::new()));
    for (summary, text) in [(summary("6", 0), "not acted on this version"), (summary("7", 1), "1 pending")] {
        let Verdict::Of(1, missing) = verdict(&on, &view(&[], summary)) else { panic!() };
        assert!(missing[0].cluster == HERE && missing[0].reason.contains(text), "{missing:?}");
        // It is this cluster's own.
        assert!(!missing[0].text().contains("there"), "{missing:?}");
    }
}

#[test]
fn how_old_the_last_word_is_is_told_of_an_agent_that_may_not_run() {
    let on = source(&[("mw-sync", "yes")]);
    let silent = json!({"source": "Secret/regcred", "uid": UID, "resourceVersion": "7", "everywhere": false,
                        "reason": "AgentSilent", "lastReportTime": "2026-01-01T00:02:00Z"});
    let there = missing(&on, &[cluster("a", json!({"spec": {"namespace": "sys"}, "status": {"copies": [silent]}}))]);
    let look = "kubectl -n sys get deployment,pods -l app.kubernetes.io/name=mw-sync-agent";
    let words = "its last word is 3 min ago; does it run? in that cluster";
    assert_eq!(there, [format!("AgentSilent; {words}: {look}")]);

    for (here, told) in [
        (summary("6", 0, "2026-01-01T00:04:00Z"), true),
        (summary("7", 1, "2026-01-01T00:04:00Z"), false),
        (summary("7", 1, "2025-12-31T00:04:00Z"), true),
        // It was everywhere, a day ago.
        (summary("7", 0, "2025-12-31T00:04:00Z"), true),
    ] {
        let Verdict::Of(1, missing) = verdict(&on, &view(&[], here)) else { panic!() };
        let text = missing[0].text();
        assert_eq!(text.contains(" ago; does it run? kubectl -n operator get deployment,pods "), told, "{text}");
    }
}
