//! A trial against a server that does not always answer.

use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::{pending, ready};
use http::{Method, Request};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::cluster::tests_support::{client, json_response};
use crate::contract::rules::Role;
use crate::contract::strip::StripList;

fn object(kind: &str, namespace: &str, name: &str) -> Value {
    let uid = "11111111-0000-4000-8000-000000000001";
    let annotations = json!({ "mw-sync": "yes" });
    let metadata = json!({
        "name": name, "namespace": namespace, "uid": uid, "resourceVersion": "5", "annotations": annotations,
    });
    match kind {
        "namespaces" => json!({
            "metadata": { "name": name, "uid": uid, "resourceVersion": "5" }, "status": { "phase": "Active" },
        }),
        _ => json!({ "metadata": metadata, "type": "Opaque", "data": { "a": "MQ==" } }),
    }
}

/// One source, two namespaces; the answers to creates are by `code`, which is told where and how many there were.
async fn tried(code: fn(&str, usize) -> u16) -> (Result<Vec<Tried>, Fault>, usize) {
    tried_of(&["a"], code).await
}

/// The same of these sources. With the code 0 there is no answer.
async fn tried_of(sources: &'static [&str], code: fn(&str, usize) -> u16) -> (Result<Vec<Tried>, Fault>, usize) {
    let creates = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&creates);
    let answer = move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        if request.method() == Method::POST {
            assert!(query.contains("dryRun=All"), "{query}");
            let place = path.split('/').nth(4).unwrap_or_default().to_owned();
            let mut log = log.lock().unwrap();
            log.push(place.clone());
            let code = code(&place, log.iter().filter(|before| **before == place).count());
            let status = json!({ "kind": "Status", "code": code, "reason": "x", "message": "no" });
            let reply = json!({ "metadata": { "name": "a", "labels": { "mw-sync.io/managed-by": "agent" } } });
            return match code {
                0 => pending().boxed(),
                201 => ready(json_response(code, &reply)).boxed(),
                code => ready(json_response(code, &status)).boxed(),
            };
        }
        let items = match path.as_str() {
            "/api/v1/namespaces" if query.contains("metadata.name") => vec![object("namespaces", "", "operator")],
            "/api/v1/namespaces" => ["operator", "n0", "n1"].map(|name| object("namespaces", "", name)).into(),
            "/api/v1/namespaces/operator/secrets" => {
                sources.iter().map(|name| object("secrets", "operator", name)).collect()
            }
            "/api/v1/namespaces/operator" => {
                return ready(json_response(200, &object("namespaces", "", "operator"))).boxed();
            }
            _ => Vec::new(),
        };
        let list = json!({ "metadata": { "resourceVersion": "7" }, "items": items });
        ready(json_response(200, &list)).boxed()
    };
    let client = client(answer);
    let connection = Connection { watch: client.clone(), write: client };
    let rules = Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).unwrap());
    let listed = Listed::read(&connection, &rules).await.unwrap();
    let trial = Trial { rules, scope: Scope::Namespaces, labels: Labels::new(), max_in_flight: 8 };
    let result = trial.run(&listed, &connection, &connection).await;
    let count = creates.lock().unwrap().len();
    (result, count)
}

fn told(result: Result<Vec<Tried>, Fault>) -> Vec<String> {
    let line = |tried: Tried| match tried.what {
        What::Does(action) => format!("{}: {action}", tried.namespace),
        What::Fails(action, fault) => format!("{}: {action} fails, {}", tried.namespace, fault.reason()),
        What::Untried(action, fault) => format!("{}: {action} untried, {}", tried.namespace, fault.reason()),
        What::Refused(reason, _) => format!("{}: {reason}", tried.namespace),
    };
    result.unwrap().into_iter().map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn what_the_server_does_not_answer_is_tried_again() {
    let (result, creates) = tried(|_, _| 201).await;
    assert_eq!((told(result), creates), (vec!["n0: create".to_owned(), "n1: create".to_owned()], 2));
    for code in [|_: &str, n| if n == 1 { 429 } else { 201 }, |_: &str, n| if n < 3 { 503 } else { 201 }] {
        assert_eq!(told(tried(code).await.0), ["n0: create", "n1: create"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_never_answered_is_not_refused() {
    let (result, creates) = tried(|place, _| if place == "n0" { 503 } else { 201 }).await;
    assert_eq!(told(result), ["n0: create untried, ServerUnavailable", "n1: create"]);
    assert!(creates <= 7, "{creates}");
    // A server that wants less of all is the cluster's affair.
    let (result, _) = tried(|_, _| 429).await;
    assert!(matches!(result, Err(Fault::Throttled(_))), "{result:?}");
    // What is rejected is, and is not tried until it is taken.
    let (result, creates) = tried(|place, _| if place == "n0" { 422 } else { 201 }).await;
    assert!(creates <= 4, "{result:?} {creates}");
}

/// Promise 5: one namespace where writes hang is no reason to say nothing of the others.
#[tokio::test(start_paused = true)]
async fn where_writes_hang_nothing_is_refused_and_all_is_told() {
    let (result, creates) = tried_of(&["a", "b", "c"], |place, _| if place == "n0" { 0 } else { 201 }).await;
    let mut told = told(result);
    told.sort();
    let untried = "n0: create untried, WriteHangs";
    assert_eq!(told, [untried, untried, untried, "n1: create", "n1: create", "n1: create"]);
    assert!(creates <= 9, "{creates}");
}
