//! What an API server answers, as cases that run against the simulated one and against a real one, so that the first
//! cannot drift from the second.
//!
//! `cases.json` holds them: requests in order (`APPLY` is a PATCH by server-side apply), each with the essential parts of
//! what comes back. In what is expected
//! `null` is for what is not there and `"*"` for anything; what is not named may be there. `$ns` is a namespace of the
//! case's own, and other words with `$` stand for what an earlier answer held (`keep`).

use std::collections::BTreeMap;

use http::{Request, header};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::Value;

const CASES: &str = include_str!("cases.json");
/// A watch in a case is ended by the server after so long. What a busy server has not sent by then it is asked for again.
const WATCH_SECONDS: [u64; 2] = [2, 30];

type Words = BTreeMap<String, String>;

/// Runs all cases against a server, in namespaces whose names begin so; says what differs. `forget` has it forget what
/// has happened so far (a step says when).
///
/// # Errors
/// The first difference.
pub(super) async fn run(client: &Client, prefix: &str, forget: impl AsyncFn()) -> Result<(), String> {
    let cases: Vec<Value> = serde_json::from_str(CASES).map_err(|error| error.to_string())?;
    for (n, case) in cases.iter().enumerate() {
        let ns = format!("{prefix}-{n}");
        let namespace = serde_json::json!({ "metadata": { "name": ns } });
        let made = send(client, "POST /api/v1/namespaces", false, &namespace).await?;
        expect(made.0 == 201, || format!("namespace {ns}: {made:?}"))?;
        let mut words = Words::from([("ns".to_owned(), ns)]);
        for step in case["steps"].as_array().into_iter().flatten() {
            if step["forget"] == true {
                forget().await;
                continue;
            }
            let done = take(client, step, &mut words).await;
            done.map_err(|why| format!("{}\n{step}\n{why}", case["case"]))?;
        }
    }
    Ok(())
}

async fn take(client: &Client, step: &Value, words: &mut Words) -> Result<(), String> {
    let step = filled(step, words);
    let metadata = step["metadata"] == true;
    if let Some(path) = step["watch"].as_str() {
        let expected = step["events"].as_array().map_or(0, Vec::len);
        let mut events = Vec::new();
        for seconds in WATCH_SECONDS {
            let what = format!("GET {path}&watch=1&timeoutSeconds={seconds}");
            events = watch(client, &what, metadata).await?;
            if events.len() >= expected {
                break;
            }
        }
        return matches(&step["events"], &Value::Array(events), "");
    }
    let what = step["send"].as_str().ok_or("a step is sent or watched")?;
    let (code, text) = send(client, what, metadata, &step["body"]).await?;
    expect(step["code"] == code, || format!("it is answered {code}: {text}"))?;
    let answer = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    if !step["answer"].is_null() {
        matches(&step["answer"], &answer, "")?;
    }
    for (word, pointer) in step["keep"].as_object().into_iter().flatten() {
        let value = pointer.as_str().and_then(|pointer| answer.pointer(pointer)?.as_str());
        words.insert(word.clone(), value.ok_or_else(|| format!("no {pointer} in {answer}"))?.to_owned());
    }
    Ok(())
}

/// All events of a watch until its end.
async fn watch(client: &Client, what: &str, metadata: bool) -> Result<Vec<Value>, String> {
    let (code, text) = send(client, what, metadata, &Value::Null).await?;
    expect(code == 200, || format!("{code}: {text}"))?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    let mut events = lines.map_err(|error| format!("{error}: {text}"))?;
    // Bookmarks are sent when a server likes, but for the one that ends a list.
    events.retain(|event| event["type"] != "BOOKMARK" || ends_a_list(event));
    Ok(events)
}

fn expect(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

fn ends_a_list(event: &Value) -> bool {
    event["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true"
}

/// Sends a request, method and URI in one, and reads all of the answer.
async fn send(client: &Client, what: &str, metadata: bool, body: &Value) -> Result<(u16, String), String> {
    let (method, uri) = what.split_once(' ').ok_or("a method and a URI")?;
    let accept = if metadata {
        let kind = if uri.contains("Selector=") && !uri.contains("watch=") {
            "PartialObjectMetadataList"
        } else {
            "PartialObjectMetadata"
        };
        format!("application/json;as={kind};g=meta.k8s.io;v=v1,application/json")
    } else {
        "application/json".to_owned()
    };
    let (method, content) = match method {
        "APPLY" => ("PATCH", "application/apply-patch+yaml"),
        "PATCH" => (method, "application/json-patch+json"),
        _ => (method, "application/json"),
    };
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder().method(method).uri(uri).header(header::ACCEPT, accept);
    let request = request.header(header::CONTENT_TYPE, content).body(Body::from(body));
    let response = client.send(request.map_err(|error| error.to_string())?).await.map_err(|error| error.to_string())?;
    let code = response.status().as_u16();
    let text = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok((code, String::from_utf8_lossy(&text).into_owned()))
}

/// The step with its words in place; the longest first, because one may begin with another.
fn filled(step: &Value, words: &Words) -> Value {
    match step {
        Value::String(text) => {
            let mut words: Vec<_> = words.iter().collect();
            words.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
            let fill = |text: String, (word, value): (&String, &String)| text.replace(&format!("${word}"), value);
            Value::String(words.into_iter().fold(text.clone(), fill))
        }
        Value::Array(items) => items.iter().map(|item| filled(item, words)).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), filled(value, words))).collect(),
        other => other.clone(),
    }
}

/// Whether an answer has all that is expected of it.
fn matches(expected: &Value, answer: &Value, path: &str) -> Result<(), String> {
    let differs = || Err(format!("at {path:?} it is {answer}, not {expected}"));
    match (expected, answer) {
        (Value::String(any), answer) if any == "*" => {
            if answer.is_null() {
                differs()
            } else {
                Ok(())
            }
        }
        (Value::Object(fields), _) => fields
            .iter()
            .try_for_each(|(key, expected)| matches(expected, &answer[key.as_str()], &format!("{path}/{key}"))),
        (Value::Array(expected), Value::Array(items)) if expected.len() == items.len() => {
            let pairs = expected.iter().zip(items).enumerate();
            pairs.into_iter().try_for_each(|(n, (expected, item))| matches(expected, item, &format!("{path}/{n}")))
        }
        _ if expected == answer => Ok(()),
        _ => differs(),
    }
}
