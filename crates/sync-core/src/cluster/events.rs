//! Events (`events.k8s.io/v1`) on objects of the source namespace.

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use serde_json::json;

use super::path;
use super::request::{self, Limits};
use super::wire::micro_time;
use super::write::{JSON, with_accept};
use crate::contract::rules::Rules;
use crate::fault::Fault;
use crate::lease;

/// Characters of an object's name that an Event's name begins with: with what tells it from others it stays below 253.
const NAME: usize = 200;
/// Longest note in bytes; an API server takes 1,024.
const NOTE: usize = 1000;
/// No longer than any write under a Lease.
const LIMITS: Limits = Limits { deadline: lease::DEADLINE, ..Limits::METADATA };

/// What is said of an object.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Tells it from all others of the same object. Whoever does not know whether it was written tries the same again.
    pub id: &'a str,
    /// Of the object: `v1`.
    pub api_version: &'a str,
    /// Of the object: `Secret`.
    pub kind: &'a str,
    /// Of the object.
    pub name: &'a str,
    /// Of the object.
    pub uid: &'a str,
    /// What we were about: `Replicate`.
    pub action: &'a str,
    /// In one word.
    pub reason: &'a str,
    /// For people; what is beyond 1,000 bytes is cut off.
    pub note: &'a str,
    /// `Warning` or `Normal`.
    pub warning: bool,
}

/// Writes an Event; `instance` names this process.
///
/// # Errors
/// Any answer but success. Whoever asks tries again, or not: what it would say is in status and logs too.
pub async fn write(
    client: &kube::Client,
    rules: &Rules,
    event: Event<'_>,
    time: Timestamp,
    instance: &str,
) -> Result<(), Fault> {
    let Event { id, api_version, kind, name, uid, action, reason, note, warning } = event;
    let namespace = &rules.source_namespace;
    let start: String = name.chars().take(NAME).collect();
    let event = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "name": format!("{}.{id}", start.trim_end_matches(['-', '.'])), "namespace": namespace },
        "eventTime": micro_time(time),
        "reportingController": rules.role.field_manager(),
        "reportingInstance": instance,
        "action": action,
        "reason": reason,
        "note": cut(note),
        "type": if warning { "Warning" } else { "Normal" },
        "regarding": { "apiVersion": api_version, "kind": kind, "namespace": namespace, "name": name, "uid": uid },
    });
    let manager = path::encode(rules.role.field_manager());
    let uri = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events?fieldManager={manager}");
    let request = with_accept(Method::POST, &uri, JSON, JSON, &Bytes::from(event.to_string()))?;
    match request::send(client, request, LIMITS).await {
        // It was written, and the answer was lost.
        Ok(_) | Err(Fault::AlreadyExists) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// The [id](Event::id) of what is not tried again, said at this time.
pub fn id_at(time: Timestamp) -> String {
    format!("{:x}", time.as_nanosecond())
}

fn cut(note: &str) -> String {
    if note.len() <= NOTE {
        return note.to_owned();
    }
    format!("{}…", note.get(..note.floor_char_boundary(NOTE)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests_support::{client, json_response};
    use crate::contract::rules::Role;
    use crate::contract::strip::StripList;

    /// Its answer had been lost.
    #[tokio::test]
    async fn an_event_that_is_there_already_is_written() {
        let rules = Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).unwrap());
        let (api_version, kind, action, reason, note) = ("v1", "Secret", "Replicate", "Rejected", "no");
        let (uid, name, warning) = ("u", "a".repeat(253), true);
        let event = Event { id: "1f.0", api_version, kind, name: &name, uid, action, reason, note, warning };
        for (reason, written) in [("AlreadyExists", Ok(())), ("Conflict", Err(Fault::Conflict))] {
            let status = json!({ "kind": "Status", "code": 409, "reason": reason });
            let there = client(move |_| std::future::ready(json_response(409, &status)));
            assert_eq!(write(&there, &rules, event, Timestamp::UNIX_EPOCH, "pod").await, written);
        }
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let note = cut(&"ä".repeat(2000));
        assert!(note.len() <= 1024 && note.ends_with("ä…"), "{}", note.len());
        assert_eq!(cut("short"), "short");
    }
}
