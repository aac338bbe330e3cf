use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use http::Response;
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::cluster::tests_support::{FakeBody, client, json_response, stream_response};

/// A request: when it came, from the start on, and for what.
type Log = Arc<Mutex<Vec<(Duration, String)>>>;

/// A watch on a server that answers by this function of the request's number (from 0) and URI.
fn begin(answer: impl Fn(usize, &str) -> Response<FakeBody> + Send + 'static) -> (Receiver<String>, Log) {
    let (log, start) = (Log::default(), Instant::now());
    let seen = Arc::clone(&log);
    let client = client(move |request| {
        let uri = request.uri().to_string();
        let mut seen = seen.lock().unwrap();
        let answer = answer(seen.len(), &uri);
        seen.push((start.elapsed(), uri));
        async { answer }
    });
    let (to, news) = mpsc::channel(8);
    let query = Query { labels: Some("a=b".into()), ..Query::all("/api/v1/secrets") };
    tokio::spawn(watch(client, query, 1, name, shown, to));
    (news, log)
}

fn name(json: &RawValue) -> Option<String> {
    serde_json::from_str::<Value>(json.get()).unwrap()["metadata"]["name"].as_str().map(str::to_owned)
}

fn shown(news: News<String>) -> String {
    match news {
        News::Feed(Feed::Init) => "init".into(),
        News::Feed(Feed::Listed(name)) => format!("listed {name}"),
        News::Feed(Feed::InitDone(version)) => format!("done {version}"),
        News::Feed(Feed::Applied(name)) => format!("applied {name}"),
        News::Feed(Feed::Gone(name)) => format!("gone {name}"),
        News::Trouble(fault) => format!("trouble {}", fault.reason()),
        News::Well => "well".into(),
    }
}

/// The next so many.
async fn next(news: &mut Receiver<String>, count: usize) -> Vec<String> {
    let mut got = Vec::new();
    for _ in 0..count {
        let one = tokio::time::timeout(Duration::from_secs(3600), news.recv()).await;
        got.push(one.unwrap_or_else(|_| panic!("only {got:?}")).expect("the watch ended"));
    }
    got
}

/// What comes until so much time has passed.
async fn during(news: &mut Receiver<String>, time: Duration) -> Vec<String> {
    let (mut got, end) = (Vec::new(), Instant::now() + time);
    while let Ok(Some(one)) = tokio::time::timeout_at(end, news.recv()).await {
        got.push(one);
    }
    got
}

fn object(name: &str, version: u64) -> Value {
    json!({ "metadata": { "name": name, "resourceVersion": version.to_string() } })
}

fn page(names: &[&str], version: u64, next: &str) -> Response<FakeBody> {
    let items: Vec<_> = names.iter().map(|name| object(name, 1)).collect();
    json_response(
        200,
        &json!({ "metadata": { "resourceVersion": version.to_string(), "continue": next }, "items": items }),
    )
}

fn line(kind: &str, object: &Value) -> Bytes {
    format!("{}\n", json!({ "type": kind, "object": object })).into()
}

fn bookmark(version: u64, end: bool) -> Bytes {
    let annotations = if end { json!({ "k8s.io/initial-events-end": "true" }) } else { Value::Null };
    line("BOOKMARK", &json!({ "metadata": { "resourceVersion": version.to_string(), "annotations": annotations } }))
}

/// A watch that brings these and ends.
fn ending(lines: Vec<Bytes>) -> Response<FakeBody> {
    stream_response(stream::iter(lines.into_iter().map(Ok)))
}

/// A watch that brings these and stays open.
fn open(lines: Vec<Bytes>) -> Response<FakeBody> {
    stream_response(stream::iter(lines.into_iter().map(Ok)).chain(stream::pending()))
}

/// A watch that ends after this time, having brought nothing.
fn ending_after(time: Duration) -> Response<FakeBody> {
    let end = stream::once(sleep(time)).filter_map(async |()| None);
    stream_response(Box::pin(end))
}

/// What a server without streaming lists says.
fn refused() -> Response<FakeBody> {
    json_response(
        422,
        &json!({ "kind": "Status", "code": 422, "reason": "Invalid", "details": { "kind": "ListOptions" },
        "message": "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled" }),
    )
}

fn is_list(uri: &str) -> bool {
    !uri.contains("watch=1")
}

fn is_streaming(uri: &str) -> bool {
    uri.contains("sendInitialEvents=true")
}

fn uris(log: &Log) -> Vec<String> {
    log.lock().unwrap().iter().map(|(_, uri)| uri.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_becomes_a_watch() {
    let (mut news, log) = begin(|_, _| {
        open(vec![
            line("ADDED", &object("a", 3)),
            bookmark(4, false),
            line("ADDED", &object("b", 5)),
            line("DELETED", &object("a", 7)),
            bookmark(8, true),
            line("MODIFIED", &object("b", 9)),
            line("DELETED", &object("b", 10)),
        ])
    });
    let expected = ["init", "listed a", "listed b", "gone a", "done 8", "applied b", "gone b"];
    assert_eq!(next(&mut news, 7).await, expected);
    let uris = uris(&log);
    assert_eq!(uris.len(), 1);
    for part in ["resourceVersionMatch=NotOlderThan", "allowWatchBookmarks=true", "labelSelector=a%3Db"] {
        assert!(uris[0].contains(part), "{}", uris[0]);
    }
    assert!(!uris[0].contains("resourceVersion="), "a consistent read");
    assert_eq!(during(&mut news, Duration::from_secs(200)).await, [""; 0]);
    drop(news);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_streaming_lists_is_asked_for_pages() {
    let (mut news, log) = begin(|_, uri| match uri {
        uri if is_streaming(uri) => refused(),
        uri if uri.contains("continue=") => page(&["c"], 9, ""),
        uri if is_list(uri) => page(&["a", "b"], 9, "to/ken="),
        uri if uri.contains("resourceVersion=9&") => open(vec![line("ADDED", &object("d", 10)), bookmark(12, false)]),
        _ => open(vec![]),
    });
    assert_eq!(next(&mut news, 6).await, ["init", "listed a", "listed b", "listed c", "done 9", "applied d"]);
    let uris = uris(&log);
    assert!(uris[1].contains("limit=20") && !uris[1].contains("resourceVersion"), "{}", uris[1]);
    assert!(uris[2].contains("limit=40") && uris[2].contains("continue=to%2Fken%3D"), "{}", uris[2]);
    // Silent for as long as the watch may last and more: dropped, and resumed from the bookmark.
    assert_eq!(during(&mut news, Duration::from_secs(280)).await, [""; 0]);
    assert_eq!(next(&mut news, 1).await, ["trouble NoAnswer"]);
    during(&mut news, Duration::from_secs(2)).await;
    let last = self::uris(&log).pop().unwrap();
    assert!(last.contains("resourceVersion=12&"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn an_expired_version_is_a_new_list_that_forgets() {
    let gone = json!({ "kind": "Status", "code": 410, "reason": "Expired" });
    let (mut news, log) = begin(move |n, uri| match n {
        0 => open(vec![line("ADDED", &object("a", 1)), bookmark(2, true), line("ERROR", &gone)]),
        1 => {
            assert!(is_streaming(uri));
            ending(vec![line("ADDED", &object("b", 5)), bookmark(6, true)])
        }
        2 => json_response(410, &gone),
        _ => open(vec![bookmark(9, true), bookmark(10, false)]),
    });
    let expected = ["init", "listed a", "done 2", "trouble Expired", "init", "listed b", "done 6"];
    assert_eq!(next(&mut news, 7).await, expected);
    assert_eq!(next(&mut news, 4).await, ["trouble NoAnswer", "trouble Expired", "init", "done 9"]);
    assert_eq!(next(&mut news, 1).await, ["well"]);
    assert_eq!(uris(&log).iter().filter(|uri| is_streaming(uri)).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_begins_again() {
    let expired = json!({ "kind": "Status", "code": 410, "reason": "Expired" });
    let (mut news, _log) = begin(move |n, uri| match (n, uri) {
        (_, uri) if is_streaming(uri) => refused(),
        (1 | 3, _) => page(&["a"], 5, "more"),
        (2, _) => json_response(410, &expired),
        (4, _) => page(&["b"], 5, ""),
        _ => open(vec![]),
    });
    let expected = ["init", "listed a", "trouble Expired", "init", "listed a", "listed b", "done 5", "well"];
    assert_eq!(next(&mut news, 8).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_that_does_not_end_is_given_up_for_pages() {
    for silent in [true, false] {
        let (mut news, log) = begin(move |_, uri| match uri {
            uri if is_streaming(uri) && silent => open(vec![line("ADDED", &object("a", 1))]),
            uri if is_streaming(uri) => ending(vec![line("ADDED", &object("a", 1))]),
            uri if is_list(uri) => page(&["a"], 5, ""),
            _ => open(vec![]),
        });
        let expected = ["init", "listed a", "trouble NoAnswer", "init", "listed a", "done 5"];
        assert_eq!(next(&mut news, 6).await, expected);
        assert_eq!(uris(&log).iter().filter(|uri| is_streaming(uri)).count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn failing_lists_back_off() {
    let html = || json_response(503, &json!("<html>"));
    let (mut news, log) = begin(move |_, uri| if is_streaming(uri) { refused() } else { html() });
    let got = during(&mut news, Duration::from_secs(600)).await;
    assert!(got.iter().all(|news| news == "trouble ServerUnavailable"), "{got:?}");
    let requests = log.lock().unwrap().len();
    assert!((20..=45).contains(&requests), "{requests}");
    assert_eq!(got.len(), requests - 1, "each failure is told once");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_time_gets_it() {
    let (mut news, log) = begin(|_, _| {
        json_response(429, &json!({ "kind": "Status", "code": 429, "details": { "retryAfterSeconds": 100 } }))
    });
    during(&mut news, Duration::from_secs(601)).await;
    assert_eq!(log.lock().unwrap().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_each_watch_at_once_is_not_hammered() {
    // With nothing: backs off to the limit.
    let (mut news, log) =
        begin(|_, uri| if is_streaming(uri) { ending(vec![bookmark(5, true)]) } else { ending(vec![]) });
    during(&mut news, Duration::from_secs(600)).await;
    let requests = log.lock().unwrap().len();
    assert!((20..=45).contains(&requests), "{requests}");
    assert!(uris(&log)[1..].iter().all(|uri| uri.contains("resourceVersion=5&")), "no second list");

    // With something each time: half a second at least lies between.
    let (mut news, log) = begin(|n, uri| {
        let version = 5 + n as u64;
        if is_streaming(uri) { ending(vec![bookmark(5, true)]) } else { ending(vec![bookmark(version, false)]) }
    });
    let got = during(&mut news, Duration::from_secs(600)).await;
    assert_eq!(got, ["init", "done 5", "trouble NoAnswer", "well"]);
    let requests = log.lock().unwrap().len();
    assert!((600..=1200).contains(&requests), "{requests}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_lasted_is_resumed_without_delay() {
    let (mut news, log) = begin(|_, uri| {
        if is_streaming(uri) {
            open(vec![bookmark(5, true), Bytes::from_static(b"not json\n")])
        } else {
            ending_after(Duration::from_secs(100))
        }
    });
    // A line that cannot be read: a new list, as it would stand there again.
    assert_eq!(next(&mut news, 4).await, ["init", "done 5", "trouble OddAnswer", "init"]);
    drop((news, log));

    let (mut news, log) = begin(|_, uri| match uri {
        uri if is_streaming(uri) => refused(),
        uri if is_list(uri) => page(&[], 5, ""),
        _ => ending_after(Duration::from_secs(100)),
    });
    assert_eq!(during(&mut news, Duration::from_secs(950)).await, ["init", "done 5"]);
    let times: Vec<_> = log.lock().unwrap().iter().skip(2).map(|(at, _)| at.as_secs()).collect();
    assert_eq!(times, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
}

#[tokio::test(start_paused = true)]
async fn versions_that_go_backwards_or_stand_still_are_a_new_list() {
    let (mut news, _log) = begin(|n, _| match n {
        0 => open(vec![bookmark(50, true), line("ADDED", &object("a", 7))]),
        _ => open(vec![bookmark(7, true)]),
    });
    assert_eq!(next(&mut news, 5).await, ["init", "done 50", "trouble Expired", "init", "done 7"]);

    // A restored server says nothing until it has caught up with the version that we ask for.
    let (mut news, log) = begin(|n, uri| match n {
        0 => ending(vec![bookmark(50, true), bookmark(51, false)]),
        1 => ending_after(Duration::from_secs(300)),
        _ => {
            assert!(is_streaming(uri));
            open(vec![bookmark(7, true)])
        }
    });
    assert_eq!(next(&mut news, 4).await, ["init", "done 50", "init", "done 7"]);
    assert_eq!(log.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_to_resume_is_asked_for_a_list_in_the_end() {
    let (mut news, log) = begin(|_, uri| match uri {
        uri if is_streaming(uri) => ending(vec![bookmark(50, true)]),
        _ => json_response(400, &json!({ "kind": "Status", "code": 400, "reason": "BadRequest" })),
    });
    let got = next(&mut news, 10).await;
    assert_eq!(got[..3], ["init", "done 50", "trouble NoAnswer"]);
    assert!(got[3..8].iter().all(|news| news == "trouble Rejected"), "{got:?}");
    assert_eq!(got[8..], ["init", "done 50"]);
    during(&mut news, Duration::from_secs(600)).await;
    assert!(log.lock().unwrap().len() < 60);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_understood_costs_only_itself() {
    let odd = json!({ "metadata": { "resourceVersion": "6" } });
    let lines = vec![
        line("ADDED", &odd),
        line("ADDED", &object("a", 1)),
        bookmark(5, true),
        line("MODIFIED", &odd),
        line("ADDED", &object("b", 7)),
    ];
    let (mut news, _log) = begin(move |_, _| open(lines.clone()));
    assert_eq!(next(&mut news, 4).await, ["init", "listed a", "done 5", "applied b"]);

    let (mut news, _log) = begin(move |_, uri| match uri {
        uri if is_streaming(uri) => refused(),
        uri if is_list(uri) => json_response(
            200,
            &json!({ "metadata": { "resourceVersion": "5" }, "items": [1, odd, object("a", 1), null] }),
        ),
        _ => open(vec![]),
    });
    assert_eq!(next(&mut news, 3).await, ["init", "listed a", "done 5"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_with_its_listener() {
    let client = client(|_| async { open(vec![bookmark(5, true)]) });
    let (to, mut news) = mpsc::channel(8);
    let running = tokio::spawn(watch(client, Query::namespaces(), 1, name, shown, to));
    next(&mut news, 2).await;
    drop(news);
    tokio::time::timeout(Duration::from_secs(1), running).await.unwrap().unwrap();
}
