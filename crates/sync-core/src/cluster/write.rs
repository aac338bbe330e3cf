//! Orders, each exactly one request.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use kube::client::Body;

use super::path;
use super::query::METADATA;
use super::request::{self, Limits};
use super::wire::Item;
use crate::contract::object::Kind;
use crate::fault::Fault;
use crate::order::{Metadata, Order, Reply, Step};

/// From sending an order to the end of its reply. Writes take milliseconds; a webhook may take up to its own timeout,
/// which is 10 s by default, and the write is in doubt then.
pub const DEADLINE: Duration = Duration::from_secs(10);

const LIMITS: Limits = Limits { deadline: DEADLINE, ..Limits::METADATA };
const JSON: &str = "application/json";
const JSON_PATCH: &str = "application/json-patch+json";

/// Carries out an order. The body is sent as it is, without a copy; replies carry no payload.
///
/// # Errors
/// Any other answer. After [`Fault::NoAnswer`] and [`Fault::Odd`] it is in doubt whether the write was done.
pub async fn execute(client: &kube::Client, field_manager: &str, order: &Order) -> Result<Reply, Fault> {
    let Order { kind, namespace, name, step, .. } = order;
    let object = path::of_object(*kind, namespace, name)?;
    let managed = |path: &str| format!("{path}?fieldManager={}", path::encode(field_manager));
    match step {
        Step::Create(body) => {
            let path = managed(&path::of_kind(*kind, namespace)?);
            written(client, request(Method::POST, &path, JSON, body)?).await
        }
        Step::Update(body) | Step::SwitchOff(body) => {
            written(client, request(Method::PATCH, &managed(&object), JSON_PATCH, body)?).await
        }
        Step::Delete(body) => delete(client, request(Method::DELETE, &object, JSON, body)?, *kind, name).await,
        Step::Look => look(client, request(Method::GET, &object, JSON, &Bytes::new())?, *kind, name).await,
    }
}

async fn written(client: &kube::Client, request: Request<Body>) -> Result<Reply, Fault> {
    let Metadata { uid, rv, .. } = metadata(&request::send(client, request, LIMITS).await?)?;
    Ok(Reply::Written { uid, rv })
}

async fn delete(client: &kube::Client, request: Request<Body>, kind: Kind, name: &str) -> Result<Reply, Fault> {
    match request::ask(client, request, LIMITS).await {
        Ok(_) => Ok(Reply::Deleted),
        Err(refusal) if refusal.is_missing(kind.plural(), name) => Ok(Reply::Deleted),
        Err(refusal) => Err(refusal.fault),
    }
}

async fn look(client: &kube::Client, request: Request<Body>, kind: Kind, name: &str) -> Result<Reply, Fault> {
    match request::ask(client, request, LIMITS).await {
        Ok(body) => Ok(Reply::Looked(Some(metadata(&body)?))),
        Err(refusal) if refusal.is_missing(kind.plural(), name) => Ok(Reply::Looked(None)),
        Err(refusal) => Err(refusal.fault),
    }
}

fn request(method: Method, path: &str, content: &str, body: &Bytes) -> Result<Request<Body>, Fault> {
    let request = Request::builder().method(method).uri(path).header(header::ACCEPT, METADATA);
    let request = request.header(header::CONTENT_TYPE, content).body(Body::from(body.clone()));
    request.map_err(|_| Fault::Rejected("a path that cannot be one".to_owned()))
}

fn metadata(body: &[u8]) -> Result<Metadata, Fault> {
    Item::read(body).and_then(Item::into_metadata).ok_or(Fault::Odd(200))
}
