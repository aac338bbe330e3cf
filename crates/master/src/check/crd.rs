//! Whether the definition of RemoteClusters is there, and the one that this master has been built with.

use std::collections::BTreeSet;

use kube::CustomResourceExt as _;
use serde_json::Value;
use sync_core::cluster::connection::Connection;
use sync_core::cluster::read;
use sync_core::fault::Fault;
use sync_core::ops::preflight::mend;
use sync_core::ops::report::Notes;

use crate::remote::crd::RemoteCluster;
use crate::remote::removal::DEFINITION;

const NAME: &str = "CustomResourceDefinition";
const APPLY: &str = "kubectl apply -f deploy/crds.yaml";

pub(super) async fn check(notes: &mut Notes, home: &Connection) {
    match read::get_json::<Value>(&home.write, DEFINITION).await {
        Ok(there) => told(notes, &there, &ours()),
        Err(Fault::NotFound) => notes.failed(NAME, "remoteclusters.mw-sync.io is missing", APPLY),
        Err(fault) => notes.failed(NAME, fault.to_string(), mend(&fault)),
    }
}

fn ours() -> Value {
    serde_json::to_value(RemoteCluster::crd()).unwrap_or_default()
}

fn told(notes: &mut Notes, there: &Value, ours: &Value) {
    let deleted = there.pointer("/metadata/deletionTimestamp").is_some();
    if deleted {
        let todo = "wait until it and all RemoteClusters are gone; their copies stay where they are";
        return notes.failed(NAME, "it is being deleted", todo);
    }
    let (there, ours) = (fields(there), fields(ours));
    let lacks: Vec<_> = ours.difference(&there).map(String::as_str).collect();
    if !lacks.is_empty() {
        let shown = lacks.get(..3).unwrap_or(&lacks).join(", ");
        return notes.failed(NAME, format!("it is of an older version: it lacks {shown}"), APPLY);
    }
    if there.difference(&ours).next().is_some() {
        return notes.ok(NAME, "of a newer version than this program");
    }
    notes.ok(NAME, "remoteclusters.mw-sync.io, of this version");
}

/// The fields of our version that a definition knows, as paths: `spec.eks.arn`.
fn fields(definition: &Value) -> BTreeSet<String> {
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
    let ours = versions.into_iter().flatten().find(|version| version["name"] == "v1alpha1");
    let mut fields = BTreeSet::new();
    if let Some(schema) = ours.and_then(|version| version.pointer("/schema/openAPIV3Schema")) {
        walk(schema, "", &mut fields);
    }
    fields
}

fn walk(schema: &Value, path: &str, fields: &mut BTreeSet<String>) {
    for (name, of) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        walk(of, &path, fields);
        walk(&of["items"], &path, fields);
        fields.insert(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_core::ops::report::{Format, Report};

    fn text(there: &Value) -> String {
        let mut notes = Notes::of("g");
        told(&mut notes, there, &ours());
        let mut out = Vec::new();
        Report::new(&mut out, Format::Text, false).tell(notes).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_older_one_lacks_fields_and_a_newer_one_has_more() {
        assert!(text(&ours()).contains("√ CustomResourceDefinition: remoteclusters.mw-sync.io, of this version"));
        let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        let mut older = ours();
        older.pointer_mut(properties).unwrap().as_object_mut().unwrap().remove("proxyURL");
        let told = text(&older);
        assert!(
            told.contains("× CustomResourceDefinition: it is of an older version: it lacks spec.proxyURL"),
            "{told}"
        );
        assert!(told.contains("\n    kubectl apply -f deploy/crds.yaml"), "{told}");
        let mut newer = ours();
        newer.pointer_mut(properties).unwrap()["more"] = serde_json::json!({ "type": "string" });
        assert!(text(&newer).contains("√ CustomResourceDefinition: of a newer version"));
    }
}
