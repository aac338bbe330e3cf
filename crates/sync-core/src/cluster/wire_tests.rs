use super::*;
use serde_json::{Value, json};

const UID: &str = "11111111-0000-4000-8000-000000000001";

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

fn item(value: &Value) -> Item {
    Item::read(value.to_string().as_bytes()).unwrap()
}

#[test]
fn nulls_are_absent_and_other_fields_do_not_matter() {
    let json = json!({
        "metadata": { "name": "a", "namespace": "b", "uid": UID, "resourceVersion": "7", "labels": null,
                      "annotations": null, "managedFields": [{ "manager": "x" }] },
        "type": "Opaque", "immutable": null, "data": { "k": null, "l": "dg==" }, "binaryData": null,
        "stringData": {}, "status": null,
    });
    let object = item(&json).into_object(Kind::Secret).unwrap();
    assert_eq!((object.name.as_str(), object.rv, object.content.immutable), ("a", Rv(7), false));
    assert_eq!(object.content.data, [("k".into(), String::new()), ("l".into(), "dg==".into())].into());
    assert!(object.labels.is_empty() && object.content.binary_data.is_empty());
}

/// Promise 1: what a PUT would take away is noticed, and what every object has is not.
#[test]
fn fields_that_we_do_not_write_are_noticed() {
    let more = |more: Value, metadata: Value| {
        let mut json = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": { "k": "v" }, "binaryData": {}, "immutable": true,
            "metadata": { "name": "a", "namespace": "b", "uid": UID, "resourceVersion": "7", "labels": { "l": "" },
                          "annotations": {}, "creationTimestamp": "2026-01-01T00:00:00Z",
                          "managedFields": [{ "manager": "x" }] },
        });
        json["metadata"].as_object_mut().unwrap().append(&mut metadata.as_object().unwrap().clone());
        json.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        item(&json).into_object(Kind::ConfigMap).unwrap().more
    };
    assert!(!more(json!({}), json!({})));
    for added in [
        json!({ "finalizers": ["example.com/hold"] }),
        json!({ "ownerReferences": [{ "kind": "Deployment" }] }),
        json!({ "generateName": "a-" }),
        json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }),
        json!({ "ofAServerToCome": 1 }),
    ] {
        assert!(more(json!({}), added.clone()), "{added}");
    }
    assert!(more(json!({ "ofAServerToCome": { "a": [1] } }), json!({})));
}

#[test]
fn what_lacks_its_identity_is_no_object() {
    let good = json!({ "name": "a", "namespace": "b", "uid": UID, "resourceVersion": "7" });
    assert!(item(&json!({ "metadata": good })).into_object(Kind::ConfigMap).is_some());
    assert!(item(&json!({ "metadata": good })).into_object(Kind::Secret).is_none(), "a Secret without a type");
    for key in ["name", "namespace", "uid", "resourceVersion"] {
        for bad in [Value::Null, json!(""), json!("x\ny"), json!("\u{202e}x"), json!("x".repeat(300))] {
            let mut metadata = good.clone();
            metadata[key] = bad;
            let item = || item(&json!({ "metadata": metadata }));
            assert!(item().into_object(Kind::ConfigMap).is_none() && item().into_account().is_none(), "{key}");
            assert!(key == "namespace" || namespace(&raw(&json!({ "metadata": metadata }))).is_none(), "{key}");
        }
    }
    for bad in ["x", "-1", "1.5", "99999999999999999999999"] {
        let mut metadata = good.clone();
        metadata["resourceVersion"] = bad.into();
        assert!(item(&json!({ "metadata": metadata })).into_metadata().is_none(), "{bad}");
    }
    assert!(namespace(&raw(&json!([1]))).is_none());
    assert!(namespace(&raw(&json!({ "metadata": { "name": 1 } }))).is_none());
}

#[test]
fn who_touched_a_replica_last() {
    let managed = |manager: Value, time: &str| {
        json!({ "manager": manager, "operation": "Update", "time": format!("2026-01-01T00:00:{time}Z"),
            "fieldsType": "FieldsV1", "fieldsV1": { "f:data": {} } })
    };
    let last = |fields: Value| {
        let json = json!({ "metadata": { "managedFields": fields } });
        item(&json).last_manager_but("mw-sync-agent")
    };
    let (us, a, b) = (json!("mw-sync-agent"), json!("kubectl-edit"), json!("fluxcd"));
    assert_eq!(last(json!([managed(a.clone(), "07"), managed(us.clone(), "09"), managed(b, "05")])).unwrap(), a);
    for none in [json!([managed(us, "09")]), json!([]), Value::Null, json!([managed(Value::Null, "01")])] {
        assert_eq!(last(none), None);
    }
    assert_eq!(last(json!([managed(json!("ä".repeat(128)), "07")])).unwrap(), "ä".repeat(32));
}

#[test]
fn a_service_account_is_reduced_to_its_entries_and_our_record() {
    let account = |annotations: Value, entries: Value| {
        let metadata = json!({ "name": "default", "namespace": "app", "uid": UID, "resourceVersion": "7",
                               "annotations": annotations });
        service_account(&raw(&json!({ "metadata": metadata, "imagePullSecrets": entries, "secrets": [{}] })))
    };
    let bare = account(Value::Null, Value::Null).unwrap();
    assert_eq!((bare.pull_secrets.len(), bare.other_annotations, bare.added), (0, false, None));
    let ours = json!({ "mw-sync.io/added-pull-secrets": "x" });
    let full = account(ours, json!([{ "name": "a" }, null, {}, { "name": null }, { "name": "b" }])).unwrap();
    assert_eq!(full.pull_secrets, ["a", "", "", "", "b"]);
    assert_eq!((full.other_annotations, full.added.as_deref()), (false, Some("x")));
    assert!(account(json!({ "other": "x" }), json!([])).unwrap().other_annotations);
    assert!(account(json!({}), json!(["a"])).is_none());
}

#[test]
fn the_state_of_a_namespace() {
    let state = |more: Value, status: Value| {
        let mut metadata = json!({ "name": "a", "uid": UID, "resourceVersion": "7" });
        metadata.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        namespace(&raw(&json!({ "metadata": metadata, "status": status }))).unwrap().state
    };
    let annotated = |key: &str, value: &str| json!({ "annotations": { key: value } });
    let active = || json!({ "phase": "Active" });
    assert_eq!(state(json!({}), active()), Destination::Open);
    assert_eq!(state(json!({}), Value::Null), Destination::Open, "metadata only");
    assert_eq!(state(json!({}), json!({ "phase": "Terminating" })), Destination::Leaving);
    let leaving = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "annotations": { "mw-sync": "no" } });
    assert_eq!(state(leaving, Value::Null), Destination::Leaving);
    for no in ["no", "Off", "0", "false"] {
        assert_eq!(state(annotated("mw-sync.io/sync", no), active()), Destination::Excluded);
        assert_eq!(state(annotated("mw-sync", no), active()), Destination::Excluded);
    }
    for open in ["yes", "", "maybe"] {
        assert_eq!(state(annotated("mw-sync", open), active()), Destination::Open, "{open}");
    }
}
