use super::*;
use crate::remote::secret::SecretRef;

fn at(second: i64) -> Timestamp {
    Timestamp::new(second, 500_000_000).unwrap()
}

fn report(outcome: Outcome) -> Report {
    Report { outcome, ..Report::new(Some(1), "operator".to_owned()) }
}

fn ready(status: &RemoteClusterStatus) -> &Condition {
    status.ready().unwrap()
}

#[test]
fn every_outcome_has_its_reason_and_says_what_to_do() {
    let place = || SecretRef { namespace: "operator".into(), name: "prod".into(), key: "kubeconfig".into() };
    for (outcome, reason, text) in [
        (Outcome::Ready, "Connected", "namespace operator"),
        (Outcome::Connecting, "Connecting", "first time"),
        (Outcome::Suspended, "Suspended", "set spec.suspend to false"),
        (Outcome::Secret(SecretError::Missing(place())), "SecretMissing", "create secret generic prod"),
        (
            Outcome::Secret(SecretError::WrongType(place(), "Opaque".into())),
            "SecretWrongType",
            "--type=mw-sync.io/kubeconfig",
        ),
        (Outcome::Secret(SecretError::KeyMissing(place())), "SecretKeyMissing", "spec.kubeconfig.key"),
        (Outcome::KubeconfigInvalid("no \u{1b}context".into()), "KubeconfigInvalid", "no \\u{1b}context"),
        (Outcome::ProxyInvalid("a loopback".into()), "ProxyInvalid", "spec.proxyURL cannot be used: a loopback"),
        (Outcome::Eks(EksError::ClusterNotActive("CREATING".into())), "ClusterNotActive", "is CREATING; wait until"),
        (Outcome::Fault(Fault::Connect("refused".into())), "Unreachable", "cannot connect: refused; check"),
        (Outcome::Fault(Fault::Unauthorised), "Unauthorised", "renew the token"),
        (Outcome::Fault(Fault::NamespaceMissing), "NamespaceMissing", "deploy/remote-access.yaml"),
        (Outcome::Fault(Fault::NamespaceTerminating), "NamespaceTerminating", "wait until it is gone"),
        (Outcome::SourceNamespaceMissing("ops".into()), "SourceNamespaceMissing", "namespace ops of this cluster"),
        (Outcome::Unidentified, "NamespaceMissing", "deploy/remote-access.yaml"),
        (Outcome::SelfReference, "SelfReference", "delete this RemoteCluster"),
        (Outcome::Duplicate("old".into()), "Duplicate", "RemoteCluster old is older"),
        (Outcome::NotKept(Fault::Forbidden("patch".into())), "Forbidden", "deploy/master.yaml"),
        (Outcome::Removing(None), "Removing", "being deleted"),
        (Outcome::Removing(Some("1 are left".into())), "Removing", "1 are left"),
    ] {
        let is_ready = outcome == Outcome::Ready;
        let status = next(None, &report(outcome), at(0)).unwrap();
        let condition = ready(&status);
        assert_eq!((condition.reason.as_str(), condition.status == "True"), (reason, is_ready));
        assert!(condition.message.contains(text), "{reason}: {}", condition.message);
    }
}

#[test]
fn one_that_waits_for_its_end_says_how_to_end_that() {
    for (outcome, says) in [
        (Outcome::Fault(Fault::Connect("refused".into())), true),
        (Outcome::Suspended, true),
        (Outcome::Removing(Some("1 are left".into())), true),
        (Outcome::Removing(None), false),
        (Outcome::Connecting, false),
    ] {
        let status = next(None, &Report { going: true, ..report(outcome) }, at(0)).unwrap();
        let message = &ready(&status).message;
        assert_eq!(message.contains("mw-sync.io/abandon=yes"), says, "{message}");
    }
}

#[test]
fn nothing_new_is_no_write_whatever_the_time() {
    let report = Report { server: Some("https://a".into()), version: Some("v1".into()), ..report(Outcome::Ready) };
    let status = next(None, &report, at(10)).unwrap();
    assert_eq!(next(Some(&status), &report, at(99)), None);
    // As it comes back from an API server.
    let read: RemoteClusterStatus = serde_json::from_value(serde_json::to_value(&status).unwrap()).unwrap();
    assert_eq!(next(Some(&read), &report, at(99)), None);
}

#[test]
fn how_long_a_copy_is_missing_is_told_whatever_the_version_and_reason() {
    let mut status = None;
    for (second, version, reason, since) in [
        (10, "1", Some("pending"), Some("1970-01-01T00:00:10Z")),
        (20, "1", Some("Forbidden"), Some("1970-01-01T00:00:10Z")),
        (30, "2", Some("pending"), Some("1970-01-01T00:00:10Z")),
        (40, "2", None, None),
        (50, "3", Some("pending"), Some("1970-01-01T00:00:50Z")),
    ] {
        let copy = CopyStatus {
            source: "Secret/a".to_owned(),
            uid: "u".to_owned(),
            resource_version: version.to_owned(),
            everywhere: reason.is_none(),
            reason: reason.map(str::to_owned),
            since: None,
            last_report_time: None,
        };
        let receipt = Some(Receipt { copies: vec![copy], ..Receipt::default() });
        let report = Report { receipt, ..report(Outcome::Ready) };
        status = next(status.as_ref(), &report, at(second));
        assert_eq!(status.as_ref().unwrap().copies[0].since.as_deref(), since, "{second}");
        assert_eq!(next(status.as_ref(), &report, at(second + 5)), None, "no news");
    }
}

#[test]
fn the_transition_time_moves_only_with_the_status() {
    let mut status = next(None, &report(Outcome::Connecting), at(10)).unwrap();
    for (outcome, second, since) in [
        (Outcome::Suspended, 20, 10),
        (Outcome::Ready, 30, 30),
        (Outcome::Fault(Fault::Unauthorised), 40, 40),
        (Outcome::Fault(Fault::NamespaceMissing), 50, 40),
        (Outcome::Ready, 60, 60),
    ] {
        status = next(Some(&status), &report(outcome), at(second)).unwrap();
        assert_eq!(ready(&status).last_transition_time.0, Timestamp::from_second(since).unwrap());
    }
}

#[test]
fn server_and_version_stay_while_unknown_and_counts_do_not() {
    let sources = Some(Sources { synced: 2, pending: 0, refused: 1 });
    let [server, version, identity] = ["https://a", "v1.33.1", "0a1b"].map(|text| Some(text.to_owned()));
    let first = Report { server: server.clone(), version: version.clone(), ..report(Outcome::Ready) };
    let first = Report { identity: identity.clone(), sources, ..first };
    let first = next(None, &first, at(0)).unwrap();
    assert_eq!(first.sources, sources);
    let second = next(Some(&first), &report(Outcome::Suspended), at(0)).unwrap();
    assert_eq!((&second.server, &second.version, second.sources), (&server, &version, None));
    assert_eq!(second.identity, identity);
    let moved = Report { server: Some("https://b".into()), ..report(Outcome::Connecting) };
    let moved = next(Some(&second), &moved, at(0)).unwrap();
    assert_eq!((moved.version, moved.identity), (None, None));
}

#[test]
fn the_server_knows_its_version_better_than_aws() {
    let [at, version, described] = ["https://a", "v1.33.1-eks-1", "1.33"].map(|text| Some(text.to_owned()));
    let unreachable = Outcome::Fault(Fault::Connect(String::new()));
    let unreachable = Report { server: at.clone(), described: described.clone(), ..report(unreachable) };
    let first = next(None, &unreachable, self::at(0)).unwrap();
    assert_eq!(first.version, described);
    let ready = Report { server: at, version: version.clone(), described, ..report(Outcome::Ready) };
    let second = next(Some(&first), &ready, self::at(1)).unwrap();
    assert_eq!(second.version, version);
    assert_eq!(next(Some(&second), &unreachable, self::at(2)).unwrap().version, version);
    let upgraded = Report { described: Some("1.34".to_owned()), ..ready };
    assert_eq!(next(Some(&second), &upgraded, self::at(3)).unwrap().version.as_deref(), Some("1.34"));
    let mut moved = Report { identity: Some("0a1b".to_owned()), ..upgraded };
    moved.goes_to("https://b".to_owned());
    assert_eq!((moved.version, moved.identity), (None, None));
}

/// Else `wait` would say yes of a cluster that nobody has seen.
#[test]
fn what_was_said_of_another_server_is_not_said_of_this_one() {
    let copy = CopyStatus {
        source: "Secret/a".to_owned(),
        uid: "u".to_owned(),
        resource_version: "1".to_owned(),
        everywhere: true,
        reason: None,
        since: None,
        last_report_time: None,
    };
    let at_server = |server: &str, outcome| Report { server: Some(server.to_owned()), ..report(outcome) };
    let sources = Some(Sources { synced: 1, pending: 0, refused: 0 });
    let receipt = Some(Receipt { copies: vec![copy], ..Receipt::default() });
    let identity = |uid: &str| Some(uid.to_owned());
    let before = Report { sources, receipt, identity: identity("1"), ..at_server("https://a", Outcome::Ready) };
    let before = next(None, &before, at(0)).unwrap();
    assert_eq!(next(Some(&before), &at_server("https://a", Outcome::Connecting), at(1)), None);
    let moved = next(Some(&before), &at_server("https://b", Outcome::Connecting), at(1)).unwrap();
    assert_eq!((ready(&moved).reason.as_str(), moved.copies.len()), ("Connecting", 0));
    // Also if it is there before anything was written.
    // An address may lead to another cluster.
    for (server, cluster, copies) in [("https://a", "1", 1), ("https://b", "1", 0), ("https://a", "2", 0)] {
        let begun = Report { sources, identity: identity(cluster), ..at_server(server, Outcome::Ready) };
        let next = next(Some(&before), &begun, at(1)).unwrap_or_else(|| before.clone());
        assert_eq!(next.copies.len(), copies, "{cluster} at {server}");
    }
}

#[test]
fn a_restart_of_the_master_takes_ready_away_from_nobody() {
    let before = next(None, &report(Outcome::Ready), at(10)).unwrap();
    assert_eq!(next(Some(&before), &report(Outcome::Connecting), at(20)), None);
    let failed = next(Some(&before), &report(Outcome::Fault(Fault::Unauthorised)), at(30)).unwrap();
    assert_eq!(next(Some(&failed), &report(Outcome::Connecting), at(40)).unwrap().conditions.len(), 1);
    // Another spec may be another cluster.
    let changed = Report { generation: Some(2), ..report(Outcome::Connecting) };
    let changed = next(Some(&before), &changed, at(50)).unwrap();
    assert_eq!(ready(&changed).reason, "Connecting");
}

#[test]
fn conditions_of_others_stay() {
    let mut status = next(None, &report(Outcome::Connecting), at(0)).unwrap();
    let other = Condition { type_: "Audited".to_owned(), ..ready(&status).clone() };
    status.conditions.insert(0, other.clone());
    let status = next(Some(&status), &Report { generation: Some(2), ..report(Outcome::Ready) }, at(1)).unwrap();
    assert_eq!((status.conditions.len(), &status.conditions[0]), (2, &other));
    assert_eq!((status.observed_generation, ready(&status).observed_generation), (Some(2), Some(2)));
}

#[test]
fn a_merge_patch_takes_out_what_is_not_known() {
    let status = next(None, &report(Outcome::Suspended), at(0)).unwrap();
    let patch = serde_json::to_value(status).unwrap();
    assert!(patch["sources"].is_null() && patch.as_object().unwrap().contains_key("sources"), "{patch}");
}
