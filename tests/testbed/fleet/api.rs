//! How one cluster of a [`Fleet`](super::Fleet) answers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::store::Refused;
use super::{Health, Member, lock};

/// A watch that has nothing to say says so, as a server does every minute.
const BOOKMARK: Duration = Duration::from_secs(60);

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

pub(super) async fn answer(
    member: Arc<Member>,
    request: Request<Incoming>,
    odd: Arc<Mutex<Vec<String>>>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    sleep(member.latency).await;
    member.is_awake().await;
    if member.health() == Health::Failing {
        return Ok(status(503, "ServiceUnavailable"));
    }
    let path = head.uri.path();
    let query: BTreeMap<_, _> =
        head.uri.query().unwrap_or_default().split('&').filter_map(|p| p.split_once('=')).collect();
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    let found = match (&head.method, parts.as_slice()) {
        (&Method::GET, ["version"]) => Some(Ok(json!({ "gitVersion": "v1.33.1" }))),
        (&Method::GET, ["api", "v1", "namespaces", "operator", kind @ ("secrets" | "configmaps")]) => {
            if query.contains_key("watch") {
                return Ok(watch(member, kind, &query));
            }
            Some(Ok(list(&member, kind, &query)))
        }
        (&Method::GET, ["api", "v1", "namespaces", "operator", kind, name]) => {
            Some(lock(&member.store).get(kind, name).cloned().ok_or((404, "NotFound")))
        }
        (&Method::POST, ["api", "v1", "namespaces", "operator", kind @ ("secrets" | "configmaps")]) => {
            Some(written(&member, &body, |store, object| store.create(kind, object)))
        }
        (&Method::PUT, ["api", "v1", "namespaces", "operator", kind, name]) => {
            Some(written(&member, &body, |store, object| store.replace(kind, name, object)))
        }
        (&Method::PATCH, ["api", "v1", "namespaces", "operator", kind, name]) => {
            Some(written(&member, &body, |store, patch| store.patch(kind, name, &patch)))
        }
        _ => None,
    };
    Ok(match found {
        Some(Ok(object)) => whole(StatusCode::OK, &object),
        Some(Err((code, reason))) => status(code, reason),
        None => {
            lock(&odd).push(format!("{} {}", head.method, head.uri));
            status(501, "NotImplemented")
        }
    })
}

fn written(
    member: &Member,
    body: &[u8],
    write: impl FnOnce(&mut super::Store, Value) -> Result<Value, Refused>,
) -> Result<Value, Refused> {
    let object = serde_json::from_slice(body).map_err(|_| (400, "BadRequest"))?;
    let written = write(&mut lock(&member.store), object)?;
    member.news.notify_waiters();
    Ok(written)
}

/// Whether a query is about an object. All that is written here is the master's, so of the selectors of labels only
/// that which asks for what is not its own leaves anything out.
fn selects(query: &BTreeMap<&str, &str>, object: &Value) -> bool {
    let named =
        query.get("fieldSelector").and_then(|selector| selector.rsplit_once("%3D").or(selector.rsplit_once('=')));
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    let labelled = object.pointer("/metadata/labels/mw-sync.io~1managed-by").is_some();
    let label = query.get("labelSelector").is_none_or(|selector| {
        let not = selector.contains('!') || selector.contains("%21");
        labelled != not
    });
    label && named.is_none_or(|(_, wanted)| name == Some(wanted))
}

fn list(member: &Member, kind: &str, query: &BTreeMap<&str, &str>) -> Value {
    let store = lock(&member.store);
    let items: Vec<_> = store.list(kind).filter(|object| selects(query, object)).cloned().collect();
    let kind = if kind == "secrets" { "SecretList" } else { "ConfigMapList" };
    json!({
        "kind": kind, "apiVersion": "v1", "metadata": { "resourceVersion": store.version().to_string() }, "items": items,
    })
}

/// From a version on; it never ends by itself. A list in a watch is refused, as by servers that know none.
fn watch(member: Arc<Member>, kind: &str, query: &BTreeMap<&str, &str>) -> Response<Body> {
    let Some(from) = query.get("resourceVersion").and_then(|version| version.parse::<u64>().ok()) else {
        return status(422, "Invalid");
    };
    let (kind, query) = (kind.to_owned(), query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
    let query: BTreeMap<String, String> = query;
    let events = stream::unfold(from, move |mut from| {
        let (member, kind, query) = (Arc::clone(&member), kind.clone(), query.clone());
        async move {
            loop {
                let news = member.news.notified();
                let events = match member.health() {
                    Health::Well => lock(&member.store).since(&kind, from),
                    Health::Failing => return None,
                    Health::BlackHole => Vec::new(),
                };
                if let Some(last) = events.last() {
                    from = last.version;
                    let query = query.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                    let is_meant = |json: &str| {
                        let event: Value = serde_json::from_str(json).unwrap_or_default();
                        event.get("object").is_some_and(|object| selects(&query, object))
                    };
                    let text: String =
                        events.into_iter().map(|event| event.json).filter(|json| is_meant(json)).collect();
                    if !text.is_empty() {
                        sleep(member.latency).await;
                        return Some((Ok(Frame::data(Bytes::from(text))), from));
                    }
                } else if timeout(BOOKMARK, news).await.is_err() && member.health() == Health::Well {
                    return Some((Ok(Frame::data(bookmark(from))), from));
                }
            }
        }
    });
    answered(StatusCode::OK, events.boxed())
}

fn bookmark(version: u64) -> Bytes {
    let object = json!({ "metadata": { "resourceVersion": version.to_string() } });
    Bytes::from(format!("{}\n", json!({ "type": "BOOKMARK", "object": object })))
}

fn whole(code: StatusCode, object: &Value) -> Response<Body> {
    let body = Bytes::from(object.to_string());
    answered(code, stream::once(async { Ok(Frame::data(body)) }).boxed())
}

fn status(code: u16, reason: &str) -> Response<Body> {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let object = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code.as_u16(),
        "message": "as a fleet of the testbed says",
    });
    whole(code, &object)
}

fn answered(code: StatusCode, body: BoxStream<'static, Result<Frame<Bytes>, Infallible>>) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(body));
    *response.status_mut() = code;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}
