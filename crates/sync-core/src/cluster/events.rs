//! Events (`events.k8s.io/v1`) on sources.

use bytes::Bytes;
use http::{Method, Request, header};
use kube::client::Body;
use serde_json::json;

use super::path;
use super::request::{self, Limits};
use crate::announce::Announcement;
use crate::contract::rules::Rules;
use crate::fault::Fault;
use crate::lease;

/// Characters of a source's name that an Event's name begins with: with the server's five it stays below 253.
const NAME: usize = 200;
/// No longer than any write under a Lease.
const LIMITS: Limits = Limits { deadline: lease::DEADLINE, ..Limits::METADATA };

/// Writes an Event. `time` is the wall clock's, as RFC 3339 with microseconds; `instance` names this process.
///
/// # Errors
/// Any answer but success. It is not tried again: what it would say is in status and logs too.
pub async fn write(
    client: &kube::Client,
    rules: &Rules,
    announcement: &Announcement,
    time: &str,
    instance: &str,
) -> Result<(), Fault> {
    let Announcement { source, uid, reason, note, warning } = announcement;
    let namespace = &rules.source_namespace;
    let start: String = source.name.chars().take(NAME).collect();
    let event = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "generateName": format!("{}-", start.trim_end_matches(['-', '.'])), "namespace": namespace },
        "eventTime": time,
        "reportingController": rules.role.field_manager(),
        "reportingInstance": instance,
        "action": "Replicate",
        "reason": reason,
        "note": note,
        "type": if *warning { "Warning" } else { "Normal" },
        "regarding": {
            "apiVersion": "v1",
            "kind": source.kind.as_str(),
            "namespace": namespace,
            "name": &*source.name,
            "uid": uid.to_string(),
        },
    });
    let manager = path::encode(rules.role.field_manager());
    let uri = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events?fieldManager={manager}");
    let request = Request::builder().method(Method::POST).uri(uri);
    let request = request.header(header::CONTENT_TYPE, "application/json").header(header::ACCEPT, "application/json");
    let request = request.body(Body::from(Bytes::from(event.to_string())));
    let request = request.map_err(|_| Fault::Rejected("a path that cannot be one".to_owned()))?;
    request::send(client, request, LIMITS).await.map(drop)
}
