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
use super::pace::PageSize;
use super::path;
use super::query::Query;
use super::request::{self, Limits};
use super::wire::{Item, Page};
use super::write::{JSON, request};
use crate::contract::object::{Kind, Object, Rv};
use crate::contract::rules::Rules;
use crate::contract::source::{Reading, Source};
use crate::fault::Fault;
use crate::index::feed::SourceNamespace;
use crate::lease;

/// A list that takes longer than the server keeps versions, five minutes by default, is begun anew so often.
const LISTS_ANEW: u32 = 3;
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
    let item = absent_or(answer, (kind.plural(), name), Item::answered)?;
    item.map(|item| item.into_object(kind).ok_or(Fault::Odd(200))).transpose()
}

/// A namespace; `None` only if the server says that this very one does not exist.
///
/// # Errors
/// Any other answer, one that cannot be understood included.
pub async fn get_namespace(client: &kube::Client, name: &str) -> Result<Option<SourceNamespace>, Fault> {
    let answer = get(client, &path::of_namespace(name)?).await;
    let item = absent_or(answer, ("namespaces", name), Item::answered)?;
    let seen = |item: Item| Some(SourceNamespace { uid: item.uid()?, terminating: item.is_leaving() });
    item.map(|item| seen(item).ok_or(Fault::Odd(200))).transpose()
}

/// All Secrets or ConfigMaps of a namespace, as of one moment; one that cannot be understood is left out.
///
/// # Errors
/// Any answer but a list.
pub async fn list_objects(client: &kube::Client, kind: Kind, namespace: &str) -> Result<Vec<Object>, Fault> {
    list_kept(client, &Query::all(path::of_kind(kind, namespace)?), kind, Some).await
}

/// All objects of the source namespace that are annotated, those that are switched off included.
///
/// # Errors
/// Any answer but a list.
pub async fn sources(client: &kube::Client, rules: &Rules) -> Result<Vec<Source>, Fault> {
    let mut sources = Vec::new();
    for kind in Kind::ALL {
        let objects = list_objects(client, kind, &rules.source_namespace).await?;
        let read = objects.into_iter().map(|object| Source::read(rules, object));
        sources.extend(read.filter(|source| !matches!(source.reading, Reading::Plain)));
    }
    Ok(sources)
}

/// [`list_objects`] of any Secrets or ConfigMaps: whoever keeps little of each needs little memory.
///
/// # Errors
/// Any answer but a list.
pub async fn list_kept<T>(
    client: &kube::Client,
    query: &Query,
    kind: Kind,
    keep: impl Fn(Object) -> Option<T>,
) -> Result<Vec<T>, Fault> {
    let read = |item: &RawValue| Item::read(item.get().as_bytes())?.into_object(kind).and_then(&keep);
    Ok(list(client, query, read).await?.0)
}

/// The same of anything, from what is on the wire, and the version that the list is of. In pages of about 4 MiB; if the
/// server forgets the version in between, which a long list may live to see, it begins anew.
///
/// # Errors
/// Any answer but a list.
pub async fn list<T>(
    client: &kube::Client,
    query: &Query,
    keep: impl Fn(&RawValue) -> Option<T>,
) -> Result<(Vec<T>, Rv), Fault> {
    let (mut size, mut again) = (PageSize::default(), LISTS_ANEW);
    let (mut kept, mut next) = (Vec::new(), None::<String>);
    loop {
        let request = query.list(size.limit(), next.as_deref())?;
        let body = match request::send(client, request, Limits::PAGE).await {
            Err(Fault::Expired) if next.is_some() && again > 0 => {
                again -= 1;
                (kept, next) = (Vec::new(), None);
                continue;
            }
            // Perhaps it was too large.
            Err(Fault::Odd(200)) if size.limit() > 1 => {
                size.learn(usize::MAX);
                continue;
            }
            answer => answer?,
        };
        size.learn(body.len());
        let page: Page<'_> = serde_json::from_slice(&body).map_err(|_| Fault::Odd(200))?;
        kept.extend(page.items.into_iter().flatten().filter_map(&keep));
        next = page.metadata.r#continue.filter(|next| !next.is_empty());
        if next.is_none() {
            return Ok((kept, Rv::parse(&page.metadata.resource_version).ok_or(Fault::Odd(200))?));
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

/// The same, or `None` if the server says that this very object does not exist.
///
/// # Errors
/// Any other answer.
pub async fn find_json<T: DeserializeOwned>(
    client: &kube::Client,
    path: &str,
    (plural, name): (&str, &str),
) -> Result<Option<T>, Fault> {
    absent_or(get(client, path).await, (plural, name), parsed)
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

/// What is read of an answer, or nothing if the server says that this very object does not exist.
pub(super) fn absent_or<T>(
    answer: Result<Bytes, Refusal>,
    (plural, name): (&str, &str),
    read: impl FnOnce(&[u8]) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    match answer {
        Ok(body) => read(&body).map(Some),
        Err(refusal) if refusal.is_missing(plural, name) => Ok(None),
        Err(refusal) => Err(refusal.fault),
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|_| Fault::Odd(200))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::cluster::tests_support::{client, json_response};

    /// 1,000 objects in pages as asked for, and what was asked. The first so many requests to continue come too late; a
    /// page of more than `most` is larger than we take.
    async fn listed(late: usize, most: usize) -> (Result<(Vec<usize>, Rv), Fault>, Vec<(usize, usize)>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let client = client(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let number = |key: &str| query.split('&').find_map(|part| part.strip_prefix(key)?.parse::<usize>().ok());
            let (limit, from) = (number("limit=").unwrap_or(usize::MAX), number("continue=").unwrap_or(0));
            let mut log = log.lock().unwrap();
            log.push((limit, from));
            let expired = from > 0 && log.iter().filter(|(_, from)| *from > 0).count() <= late;
            let items: Vec<_> = (from..1000.min(from + limit)).map(|n| json!({ "n": n })).collect();
            let next = from + items.len();
            let next = if next < 1000 { next.to_string() } else { String::new() };
            let page = json!({ "metadata": { "resourceVersion": "7", "continue": next }, "items": items });
            let gone = json!({ "kind": "Status", "code": 410, "reason": "Expired" });
            std::future::ready(match limit <= most {
                true if expired => json_response(410, &gone),
                true => json_response(200, &page),
                false => json_response(200, &json!("x".repeat(Limits::PAGE.body + 1))),
            })
        });
        let keep = |item: &RawValue| {
            let item: Value = serde_json::from_str(item.get()).ok()?;
            usize::try_from(item["n"].as_u64()?).ok()
        };
        let result = list(&client, &Query::all("/api/v1/secrets".to_owned()), keep).await;
        let asked = asked.lock().unwrap().clone();
        (result, asked)
    }

    #[tokio::test]
    async fn pages_grow_while_they_are_small() {
        let (result, asked) = listed(0, 500).await;
        assert_eq!(result, Ok(((0..1000).collect(), Rv(7))));
        assert_eq!(asked, [(20, 0), (40, 20), (80, 60), (160, 140), (320, 300), (500, 620)]);
    }

    #[tokio::test]
    async fn a_page_that_is_too_large_is_asked_for_again_in_parts() {
        let (result, asked) = listed(0, 200).await;
        assert_eq!(result, Ok(((0..1000).collect(), Rv(7))));
        assert_eq!(asked[4..7], [(320, 300), (160, 300), (320, 460)]);
    }

    #[tokio::test]
    async fn a_list_that_the_server_forgets_begins_anew_and_has_nothing_twice() {
        let (result, asked) = listed(2, 500).await;
        assert_eq!(result, Ok(((0..1000).collect(), Rv(7))));
        assert_eq!(asked.iter().filter(|(_, from)| *from == 0).count(), 3);
        // Not for ever.
        assert_eq!(listed(100, 500).await.0, Err(Fault::Expired));
    }
}
