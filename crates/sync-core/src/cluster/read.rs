//! One object, read, made, patched or deleted, or a few, and questions: rare requests, each for a reason.

use bytes::Bytes;
use http::{Method, Request, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::answer::Refusal;
use super::path;
use super::query::Query;
use super::request::{self, Limits};
use super::wire::{Item, Page};
use super::write::{JSON, request};
use crate::contract::object::{Kind, Object, Rv};
use crate::fault::Fault;
use crate::index::feed::SourceNamespace;
use crate::lease;

/// Objects of a page: of 1 MiB each, a page fits into [`Limits::PAGE`].
const PAGE: u32 = 20;
/// No longer than any write under a Lease.
const WRITE: Limits = Limits { deadline: lease::DEADLINE, ..Limits::METADATA };

/// A whole Secret or ConfigMap; `None` only if the server says that this very object does not exist.
///
/// # Errors
/// Any other answer, one that cannot be understood included.
pub async fn get_object(
    client: &kube::Client,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<Option<Object>, Fault> {
    let answer = get(client, &path::of_object(kind, namespace, name)?).await;
    let item = absent_or(answer, kind.plural(), name)?;
    item.map(|item| item.into_object(kind).ok_or(Fault::Odd(200))).transpose()
}

/// A namespace; `None` only if the server says that this very one does not exist.
///
/// # Errors
/// Any other answer, one that cannot be understood included.
pub async fn get_namespace(client: &kube::Client, name: &str) -> Result<Option<SourceNamespace>, Fault> {
    let answer = get(client, &path::of_namespace(name)?).await;
    let item = absent_or(answer, "namespaces", name)?;
    let seen = |item: Item| Some(SourceNamespace { uid: item.uid()?, terminating: item.is_leaving() });
    item.map(|item| seen(item).ok_or(Fault::Odd(200))).transpose()
}

/// All Secrets or ConfigMaps of a namespace, as of one moment; one that cannot be understood is left out.
///
/// # Errors
/// Any answer but a list.
pub async fn list_objects(client: &kube::Client, kind: Kind, namespace: &str) -> Result<Vec<Object>, Fault> {
    let mut objects = Vec::new();
    each_object(client, &Query::all(path::of_kind(kind, namespace)?), kind, |object| objects.push(object)).await?;
    Ok(objects)
}

/// The same of any Secrets or ConfigMaps, one by one: whoever keeps little of each needs little memory.
///
/// # Errors
/// Any answer but a list.
pub async fn each_object(
    client: &kube::Client,
    query: &Query,
    kind: Kind,
    mut each: impl FnMut(Object),
) -> Result<(), Fault> {
    each_item(client, query, |item| {
        if let Some(object) = Item::read(item.get().as_bytes()).and_then(|item| item.into_object(kind)) {
            each(object);
        }
    })
    .await
    .map(drop)
}

/// The same of anything, as it is on the wire; returns the version that the list is of.
///
/// # Errors
/// Any answer but a list.
pub async fn each_item(client: &kube::Client, query: &Query, mut each: impl FnMut(&RawValue)) -> Result<Rv, Fault> {
    let mut next = None::<String>;
    loop {
        let request = query.list(PAGE, next.as_deref())?;
        let body = request::send(client, request, Limits::PAGE).await?;
        let page: Page<'_> = serde_json::from_slice(&body).map_err(|_| Fault::Odd(200))?;
        page.items.into_iter().flatten().for_each(&mut each);
        next = page.metadata.r#continue.filter(|next| !next.is_empty());
        if next.is_none() {
            return Rv::parse(&page.metadata.resource_version).ok_or(Fault::Odd(200));
        }
    }
}

/// Any object at a path.
///
/// # Errors
/// Any answer but the object.
pub async fn get_json<T: DeserializeOwned>(client: &kube::Client, path: &str) -> Result<T, Fault> {
    parsed(&get(client, path).await?)
}

/// A merge patch on the object at a path, or on a subresource; the reply is the object.
///
/// # Errors
/// Any answer but the object.
pub async fn patch<T: DeserializeOwned>(
    client: &kube::Client,
    path: &str,
    field_manager: &str,
    patch: Bytes,
) -> Result<T, Fault> {
    let uri = format!("{path}?fieldManager={}", path::encode(field_manager));
    let request = Request::builder().method(Method::PATCH).uri(uri);
    let request = request.header(header::CONTENT_TYPE, "application/merge-patch+json");
    let limits = Limits { deadline: lease::DEADLINE, ..Limits::OBJECT };
    parsed(&send(client, request, Body::from(patch), limits).await?)
}

/// Makes an object of those at a path, its namespace's.
///
/// # Errors
/// Any answer but success; [`Fault::AlreadyExists`] if something of its name is there.
pub async fn create(client: &kube::Client, path: &str, field_manager: &str, body: &Bytes) -> Result<(), Fault> {
    let uri = format!("{path}?fieldManager={}", path::encode(field_manager));
    request::send(client, request(Method::POST, &uri, JSON, body)?, WRITE).await.map(drop)
}

/// Deletes the object at a path, in exactly this version.
///
/// # Errors
/// Any answer but success; [`Fault::Conflict`] if it is another object or version by now.
pub async fn delete(client: &kube::Client, path: &str, uid: &str, version: &str) -> Result<(), Fault> {
    let body = json!({
        "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": { "uid": uid, "resourceVersion": version },
    });
    let body = Bytes::from(body.to_string());
    request::send(client, request(Method::DELETE, path, JSON, &body)?, WRITE).await.map(drop)
}

/// A question that is asked by creating an object, such as a SelfSubjectAccessReview or a dry run; the reply is the answer.
///
/// # Errors
/// Any answer but the object.
pub async fn ask<T: DeserializeOwned>(client: &kube::Client, path: &str, question: &Value) -> Result<T, Fault> {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    parsed(&send(client, request, Body::from(question.to_string().into_bytes()), Limits::OBJECT).await?)
}

/// The server's time of day, to the second; `None` if it does not say.
///
/// # Errors
/// Any answer but a success.
pub async fn date(client: &kube::Client) -> Result<Option<Timestamp>, Fault> {
    let request = Request::get("/version").body(Body::empty());
    let request = request.map_err(|_| Fault::Rejected("a path that cannot be one".to_owned()))?;
    let answer = request::start(client, request, Limits::OBJECT.deadline).await?;
    let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
    Ok(date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok()))
}

async fn get(client: &kube::Client, path: &str) -> Result<Bytes, Refusal> {
    send(client, Request::get(path), Body::empty(), Limits::OBJECT).await
}

async fn send(
    client: &kube::Client,
    request: http::request::Builder,
    body: Body,
    limits: Limits,
) -> Result<Bytes, Refusal> {
    let request = request.header(header::ACCEPT, "application/json").body(body);
    let request = request.map_err(|_| Fault::Rejected("a path that cannot be one".to_owned()))?;
    request::ask(client, request, limits).await
}

fn absent_or(answer: Result<Bytes, Refusal>, plural: &str, name: &str) -> Result<Option<Item>, Fault> {
    match answer {
        Ok(body) => Item::read(&body).map(Some).ok_or(Fault::Odd(200)),
        Err(refusal) if refusal.is_missing(plural, name) => Ok(None),
        Err(refusal) => Err(refusal.fault),
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|_| Fault::Odd(200))
}
