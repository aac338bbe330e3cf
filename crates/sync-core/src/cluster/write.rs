//! Orders, each exactly one request.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use kube::client::Body;

use super::path;
use super::query::METADATA;
use super::read::absent_or;
use super::request::{self, Limits};
use super::wire::Item;
use crate::contract::fingerprint::{payload_digest, type_digest};
use crate::contract::keys;
use crate::contract::object::{Kind, Object};
use crate::contract::rules::Role;
use crate::fault::Fault;
use crate::order::{Looked, Metadata, Order, Reply, Step};
use crate::plan::Inside;

/// From sending an order to the end of its reply. Writes take milliseconds; a webhook may take up to its own timeout,
/// which is 10 s by default, and the write is in doubt then. Under a Lease it is [`crate::lease::DEADLINE`].
pub const DEADLINE: Duration = Duration::from_secs(10);

pub(super) const JSON: &str = "application/json";
pub(super) const JSON_PATCH: &str = "application/json-patch+json";
/// Server-side apply: makes the object if there is none, and takes away what its field manager says no more.
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// [`execute_within`] the usual [`DEADLINE`].
///
/// # Errors
/// As [`execute_within`].
pub async fn execute(client: &kube::Client, field_manager: &str, order: &Order) -> Result<Reply, Fault> {
    execute_within(client, field_manager, order, DEADLINE).await
}

/// Carries out an order. The body is sent as it is, without a copy; replies carry no payload.
///
/// # Errors
/// Any other answer. After [`Fault::NoAnswer`] and [`Fault::Odd`] it is in doubt whether the write was done.
pub async fn execute_within(
    client: &kube::Client,
    field_manager: &str,
    order: &Order,
    deadline: Duration,
) -> Result<Reply, Fault> {
    carry_out(client, field_manager, order, deadline, Trace::Left).await
}

/// The same as a dry run: of a write the server does all but store it, admission and quotas included. Looks are looks.
///
/// # Errors
/// What the write would have failed with.
pub async fn try_out(
    client: &kube::Client,
    field_manager: &str,
    order: &Order,
    deadline: Duration,
) -> Result<Reply, Fault> {
    carry_out(client, field_manager, order, deadline, Trace::None).await
}

async fn carry_out(
    client: &kube::Client,
    field_manager: &str,
    order: &Order,
    deadline: Duration,
    trace: Trace,
) -> Result<Reply, Fault> {
    let limits = Limits { deadline, ..Limits::METADATA };
    let Order { kind, name, step, .. } = order;
    let request = build(order, field_manager, trace)?;
    let done = |item: Item| match trace {
        Trace::Left => written(item),
        // Of what is not stored there is no version.
        Trace::None => Ok(Reply::Tried),
    };
    match step {
        Step::Create(_) | Step::Update(_) | Step::Adopt(_) | Step::Replace(_) => {
            kept(Item::answered(&request::send(client, request, limits).await?)?, field_manager, done)
        }
        // The write before a delete, or instead of one: what is gone needs neither.
        Step::SwitchOff(_) | Step::Release(_) => {
            unless_gone(client, request, limits, (*kind, name), Reply::Deleted, |body| done(Item::answered(body)?))
                .await
        }
        Step::Delete(_) => {
            let reply = if trace == Trace::None { Reply::Tried } else { Reply::Deleted };
            unless_gone(client, request, limits, (*kind, name), Reply::Deleted, |_| Ok(reply)).await
        }
        Step::Look => {
            let read = |body: &[u8]| Some(Looked { metadata: Item::read(body)?.into_metadata()?, inside: None });
            unless_gone(client, request, limits, (*kind, name), Reply::Looked(None), |body| looked(read(body))).await
        }
        Step::LookInside => {
            let limits = Limits { deadline, ..Limits::OBJECT };
            let read = |body: &[u8]| looked_inside(Item::read(body)?.into_object(*kind)?);
            unless_gone(client, request, limits, (*kind, name), Reply::Looked(None), |body| looked(read(body))).await
        }
    }
}

/// Whether a write is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trace {
    Left,
    None,
}

fn build(order: &Order, field_manager: &str, trace: Trace) -> Result<Request<Body>, Fault> {
    let Order { kind, namespace, name, step, .. } = order;
    let object = path::of_object(*kind, namespace, name)?;
    let dry = if trace == Trace::None { "&dryRun=All" } else { "" };
    let managed = |path: &str| format!("{path}?fieldManager={}{dry}", path::encode(field_manager));
    match step {
        Step::Create(body) => request(Method::POST, &managed(&path::of_kind(*kind, namespace)?), JSON, body),
        Step::Replace(body) => request(Method::PUT, &managed(&object), JSON, body),
        Step::Update(body) | Step::Adopt(body) | Step::SwitchOff(body) | Step::Release(body) => {
            request(Method::PATCH, &managed(&object), JSON_PATCH, body)
        }
        // With a body the server does not look at the query. It is there for whoever reads the audit log.
        Step::Delete(body) if trace == Trace::None => {
            request(Method::DELETE, &format!("{object}?dryRun=All"), JSON, &without_trace(body)?)
        }
        Step::Delete(body) => request(Method::DELETE, &object, JSON, body),
        Step::Look => request(Method::GET, &object, JSON, &Bytes::new()),
        Step::LookInside => with_accept(Method::GET, &object, JSON, JSON, &Bytes::new()),
    }
}

/// These DeleteOptions for a dry run.
fn without_trace(options: &Bytes) -> Result<Bytes, Fault> {
    let bad = |_| Fault::Rejected("DeleteOptions that cannot be read".to_owned());
    let mut options: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(options).map_err(bad)?;
    options.insert("dryRun".to_owned(), serde_json::json!(["All"]));
    Ok(Bytes::from(serde_json::Value::from(options).to_string()))
}

fn written(item: Item) -> Result<Reply, Fault> {
    let Metadata { uid, rv, .. } = item.into_metadata().ok_or(Fault::Odd(200))?;
    Ok(Reply::Written { uid, rv })
}

/// What was written as ours and has come to be so. Where admission takes our label off, or makes it another's, no watch of
/// ours shows it: it would pass for a copy in place, while it is none.
fn kept(item: Item, field_manager: &str, reply: impl FnOnce(Item) -> Result<Reply, Fault>) -> Result<Reply, Fault> {
    let role = Role::by_field_manager(field_manager).map(Role::as_str);
    let ours = item.label(keys::MANAGED_BY) == role;
    let reply = reply(item)?;
    if ours {
        return Ok(reply);
    }
    let (label, why) = (keys::MANAGED_BY, "a webhook or policy there changes it");
    Err(Fault::Rejected(format!("what was written has not our label {label}: {why}; exempt our field manager from it")))
}

fn looked(found: Option<Looked>) -> Result<Reply, Fault> {
    found.map(|found| Reply::Looked(Some(found))).ok_or(Fault::Odd(200))
}

/// Sends a request, and reads the answer; `gone` if the server says that this very object does not exist.
async fn unless_gone(
    client: &kube::Client,
    request: Request<Body>,
    limits: Limits,
    (kind, name): (Kind, &str),
    gone: Reply,
    read: impl FnOnce(&[u8]) -> Result<Reply, Fault>,
) -> Result<Reply, Fault> {
    let answer = request::ask(client, request, limits).await;
    Ok(absent_or(answer, (kind.plural(), name), read)?.unwrap_or(gone))
}

/// The bytes are dropped here.
fn looked_inside(object: Object) -> Option<Looked> {
    let Object { uid, rv, labels, annotations, content, .. } = object;
    let inside =
        Inside { payload: payload_digest(&content), secret_type: type_digest(&content), immutable: content.immutable };
    Some(Looked { metadata: Metadata { uid, rv, labels, annotations }, inside: Some(inside) })
}

/// A request whose answer is metadata.
pub(super) fn request(method: Method, path: &str, content: &str, body: &Bytes) -> Result<Request<Body>, Fault> {
    with_accept(method, path, content, METADATA, body)
}

/// A request with a body.
pub(super) fn with_accept(
    method: Method,
    path: &str,
    content: &str,
    accept: &str,
    body: &Bytes,
) -> Result<Request<Body>, Fault> {
    let request = Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
    let request = request.header(header::CONTENT_TYPE, content).body(Body::from(body.clone()));
    request.map_err(|_| Fault::Rejected("a path that cannot be one".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::cluster::tests_support::{client, json_response, text_response};
    use crate::contract::object::{Rv, Uid};
    use http_body_util::BodyExt as _;
    use serde_json::{Value, json};

    const UID: &str = "11111111-0000-4000-8000-000000000001";

    fn order(name: &str, step: Step) -> Order {
        Order { id: 1, kind: Kind::Secret, namespace: "app".into(), name: name.into(), step }
    }

    async fn answered(code: u16, body: Value, order: &Order) -> Result<Reply, Fault> {
        execute(&client(move |_| std::future::ready(json_response(code, &body))), "mw-sync-agent", order).await
    }

    #[tokio::test]
    async fn one_request_per_order() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let client = client(move |request: Request<Body>| {
            let kept = |name| request.headers().get(name).unwrap().to_str().unwrap().to_owned();
            assert!(kept(header::ACCEPT).starts_with("application/json;as=PartialObjectMetadata;"));
            let (method, uri, content) = (request.method().clone(), request.uri().clone(), kept(header::CONTENT_TYPE));
            log.lock().unwrap().push(format!("{method} {uri} {content}"));
            let labels = json!({ "mw-sync.io/managed-by": "agent" });
            let reply = json!({ "metadata": { "name": "a", "uid": UID, "resourceVersion": "7", "labels": labels } });
            std::future::ready(json_response(200, &reply))
        });
        let body = || Bytes::from_static(b"{}");
        for step in [
            Step::Create(body()),
            Step::Update(body()),
            Step::Replace(body()),
            Step::SwitchOff(body()),
            Step::Delete(body()),
            Step::Look,
        ] {
            let reply = execute(&client, "mw-sync-agent", &order("a", step.clone())).await.unwrap();
            match (step, reply) {
                (
                    Step::Create(_) | Step::Update(_) | Step::Replace(_) | Step::SwitchOff(_),
                    Reply::Written { uid, rv },
                ) => {
                    assert_eq!((uid, rv), (Uid::parse(UID).unwrap(), Rv(7)));
                }
                (Step::Delete(_), Reply::Deleted) => {}
                (Step::Look, Reply::Looked(Some(found))) => assert_eq!(found.metadata.rv, Rv(7)),
                other => panic!("{other:?}"),
            }
        }
        let (object, patch) = ("/api/v1/namespaces/app/secrets/a", "application/json-patch+json");
        assert_eq!(
            *seen.lock().unwrap(),
            [
                "POST /api/v1/namespaces/app/secrets?fieldManager=mw-sync-agent application/json".to_owned(),
                format!("PATCH {object}?fieldManager=mw-sync-agent {patch}"),
                format!("PUT {object}?fieldManager=mw-sync-agent application/json"),
                format!("PATCH {object}?fieldManager=mw-sync-agent {patch}"),
                format!("DELETE {object} application/json"),
                format!("GET {object} application/json"),
            ]
        );
    }

    #[tokio::test]
    async fn what_has_lost_our_label_on_the_way_is_no_copy() {
        let body = || Bytes::from_static(b"{}");
        for labels in [json!(null), json!({ "app": "a" }), json!({ "mw-sync.io/managed-by": "x" })] {
            let reply = json!({ "metadata": { "name": "a", "uid": UID, "resourceVersion": "7", "labels": labels } });
            for step in [Step::Create(body()), Step::Update(body()), Step::Replace(body()), Step::Adopt(body())] {
                let fault = answered(200, reply.clone(), &order("a", step.clone())).await.unwrap_err();
                assert!(
                    matches!(&fault, Fault::Rejected(why) if why.contains("has not our label")),
                    "{step:?}: {fault:?}"
                );
                let (order, reply) = (order("a", step), reply.clone());
                let client = client(move |_| std::future::ready(json_response(200, &reply)));
                let tried = try_out(&client, "mw-sync-agent", &order, DEADLINE).await;
                assert_eq!(tried.unwrap_err(), fault, "a dry run tells no better");
            }
            // It is taken off here.
            assert!(answered(200, reply, &order("a", Step::Release(body()))).await.is_ok());
        }
    }

    #[tokio::test]
    async fn every_write_can_be_tried_without_a_trace() {
        let client = client(|request: Request<Body>| {
            assert!(request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "dryRun=All")));
            async move {
                // A server that finds options in the body passes over those of the query.
                if request.method() == Method::DELETE {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let options: Value = serde_json::from_slice(&body).unwrap();
                    assert_eq!(options, json!({ "dryRun": ["All"] }));
                }
                // Of a create that is not kept there is no version.
                let labels = json!({ "mw-sync.io/managed-by": "agent" });
                json_response(200, &json!({ "metadata": { "name": "a", "uid": UID, "labels": labels } }))
            }
        });
        let body = || Bytes::from_static(b"{}");
        for step in [
            Step::Create(body()),
            Step::Update(body()),
            Step::Replace(body()),
            Step::SwitchOff(body()),
            Step::Release(body()),
            Step::Adopt(body()),
            Step::Delete(body()),
        ] {
            let reply = try_out(&client, "mw-sync-agent", &order("a", step), DEADLINE).await.unwrap();
            assert!(matches!(reply, Reply::Tried), "{reply:?}");
        }
    }

    #[tokio::test]
    async fn only_the_missing_object_itself_counts_as_deleted() {
        let body = || Bytes::from_static(b"{}");
        let look = order("a", Step::Look);
        let ends = [Step::Delete(body()), Step::SwitchOff(body()), Step::Release(body())].map(|step| order("a", step));
        let status =
            |details: Value| json!({ "kind": "Status", "code": 404, "reason": "NotFound", "details": details });
        let gone = status(json!({ "kind": "secrets", "name": "a" }));
        for end in &ends {
            assert!(matches!(answered(404, gone.clone(), end).await, Ok(Reply::Deleted)), "{end:?}");
        }
        assert!(matches!(answered(404, gone, &look).await, Ok(Reply::Looked(None))));
        for (details, fault) in [
            (json!({ "kind": "secrets", "name": "b" }), Fault::NotFound),
            (json!({ "kind": "namespaces", "name": "app" }), Fault::NamespaceMissing),
            (json!({}), Fault::NotFound),
        ] {
            for order in ends.iter().chain([&look]) {
                assert_eq!(answered(404, status(details.clone()), order).await.unwrap_err(), fault);
            }
        }
        let page = client(|_| std::future::ready(text_response(404, "<html>404 Not Found</html>")));
        assert_eq!(execute(&page, "m", &ends[0]).await.unwrap_err(), Fault::Odd(404));
    }

    #[tokio::test]
    async fn odd_replies_and_hostile_names() {
        let create = order("a", Step::Create(Bytes::from_static(b"{}")));
        for odd in [json!({}), json!([]), json!({ "metadata": { "uid": "x", "resourceVersion": "1" } })] {
            assert_eq!(answered(201, odd, &create).await.unwrap_err(), Fault::Odd(200));
        }
        let never = client(|_| async { panic!("nothing is sent") });
        for name in ["../configmaps/x", "a?b", "a/b", "..", ""] {
            for step in [Step::Delete(Bytes::new()), Step::Create(Bytes::new()), Step::Look] {
                assert!(matches!(execute(&never, "m", &order(name, step)).await, Err(Fault::Rejected(_))), "{name}");
            }
        }
    }
}
