//! Server-side apply of the data of a ConfigMap, always with `force`: all that the controllers apply.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// What a manager has applied, as `managedFields` say.
fn owned(object: &Value, manager: &str) -> BTreeSet<String> {
    let all = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let own = all.filter(|fields| fields["manager"] == manager && fields["operation"] == "Apply");
    let keys = own.filter_map(|fields| fields["fieldsV1"]["f:data"].as_object()).flatten();
    keys.filter_map(|(key, _)| key.strip_prefix("f:").map(str::to_owned)).collect()
}

/// The object after that: a key that its manager names no more is gone, if nobody else has applied it.
pub(super) fn apply(old: &Value, applied: &Value, manager: &str) -> Value {
    let mut new = old.clone();
    let named: BTreeSet<String> =
        applied["data"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
    let mut others = old["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    others.retain(|fields| fields["manager"] != manager || fields["operation"] != "Apply");
    let has = |fields: &Value, key: &str| !fields["fieldsV1"]["f:data"][format!("f:{key}")].is_null();
    for fields in &mut others {
        // Whoever says the same shares it; from whoever says otherwise it is taken.
        let theirs: Vec<_> =
            named.iter().filter(|key| has(fields, key) && old["data"][*key] != applied["data"][*key]).collect();
        if let Some(keys) = fields["fieldsV1"]["f:data"].as_object_mut() {
            theirs.iter().for_each(|key| drop(keys.remove(&format!("f:{key}"))));
        }
    }
    let is_theirs = |key: &String| others.iter().any(|fields| has(fields, key));
    let over: Vec<_> = owned(old, manager).into_iter().filter(|key| !named.contains(key) && !is_theirs(key)).collect();
    if !new["data"].is_object() {
        new["data"] = json!({});
    }
    if let Some(data) = new["data"].as_object_mut() {
        over.iter().for_each(|key| drop(data.remove(key)));
        data.extend(named.iter().map(|key| (key.clone(), applied["data"][key].clone())));
    }
    if !named.is_empty() {
        let keys: serde_json::Map<_, _> = named.into_iter().map(|key| (format!("f:{key}"), json!({}))).collect();
        others.push(json!({ "manager": manager, "operation": "Apply", "fieldsV1": { "f:data": keys } }));
    }
    others.sort_by_key(|fields| fields["manager"].to_string());
    new["metadata"]["managedFields"] = others.into();
    new
}
