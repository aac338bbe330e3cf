use super::*;
use serde_json::{Value, json};

fn of(code: u16, body: &Value) -> Fault {
    refusal(StatusCode::from_u16(code).unwrap(), &HeaderMap::new(), body.to_string().as_bytes()).fault
}

fn status(code: u16, reason: &str, text: &str, details: &Value) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": text, "reason": reason, "details": details, "code": code })
}

#[test]
fn answers_of_an_api_server() {
    let secret = json!({ "name": "a", "kind": "secrets" });
    let terminating = json!({ "name": "a", "kind": "secrets", "causes": [
        { "reason": "NamespaceTerminating", "message": "namespace x is being terminated", "field": "metadata.namespace" } ] });
    let rbac =
        r#"secrets is forbidden: User "u" cannot create resource "secrets" in API group "" in the namespace "x""#;
    let quota =
        r#"secrets "a" is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=1, limited: secrets=1"#;
    let webhook = r#"admission webhook "w.example" denied the request: hunter2"#;
    let policy = "secrets \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: hunter2";
    let broken = "Internal error occurred: failed calling webhook \"w.example\": failed to call webhook: \
                  an error on the server (\"hunter2\") has prevented the request from succeeding";
    let slow = "Internal error occurred: failed calling webhook \"w.example\": failed to call webhook: \
                Post \"https://w.x.svc:443/?timeout=5s\": context deadline exceeded";
    let rejected = |text: &str| Fault::Rejected(text.to_owned());
    for (code, reason, text, details, fault) in [
        (400, "BadRequest", "json: cannot unmarshal hunter2", json!({}), rejected("the request was malformed (400)")),
        (400, "", webhook, json!({}), rejected(r#"admission webhook "w.example" denied the request"#)),
        (401, "Unauthorized", "Unauthorized", Value::Null, Fault::Unauthorised),
        (403, "Forbidden", rbac, json!({ "kind": "secrets" }), Fault::Forbidden(rbac.into())),
        (403, "Forbidden", quota, secret.clone(), rejected(quota)),
        (403, "Forbidden", "being terminated", terminating, Fault::NamespaceTerminating),
        (403, "", webhook, Value::Null, rejected(r#"admission webhook "w.example" denied the request"#)),
        (422, "Invalid", webhook, Value::Null, rejected(r#"admission webhook "w.example" denied the request"#)),
        (422, "Invalid", policy, secret.clone(), rejected(r#"ValidatingAdmissionPolicy "p" denied the request"#)),
        (500, "", webhook, Value::Null, rejected(r#"admission webhook "w.example" denied the request"#)),
        (
            500,
            "InternalError",
            broken,
            Value::Null,
            Fault::Unavailable { code: 500, message: r#"failed calling webhook "w.example": no review"#.into() },
        ),
        (
            500,
            "InternalError",
            slow,
            Value::Null,
            Fault::Unavailable {
                code: 500,
                message: r#"failed calling webhook "w.example": context deadline exceeded"#.into(),
            },
        ),
        (404, "NotFound", "", json!({ "name": "x", "kind": "namespaces" }), Fault::NamespaceMissing),
        (404, "NotFound", "", secret.clone(), Fault::NotFound),
        (409, "AlreadyExists", "", secret.clone(), Fault::AlreadyExists),
        (409, "Conflict", "", secret.clone(), Fault::Conflict),
        (410, "Expired", "too old resource version", Value::Null, Fault::Expired),
        (500, "Expired", "", Value::Null, Fault::Expired),
        (413, "RequestEntityTooLarge", "Request entity too large", json!({}), rejected("Request entity too large")),
        (422, "Invalid", "the server rejected our request", json!({}), Fault::LostRace),
        (422, "Invalid", "the server rejected our request", json!({ "name": "" }), Fault::LostRace),
        (422, "Invalid", "invalid", secret, rejected("invalid")),
        (429, "TooManyRequests", "", json!({ "retryAfterSeconds": 7 }), Fault::Throttled(Some(Duration::from_secs(7)))),
        (503, "ServiceUnavailable", "no", Value::Null, Fault::Unavailable { code: 503, message: "no".into() }),
        (301, "", "", Value::Null, Fault::Odd(301)),
    ] {
        assert_eq!(of(code, &status(code, reason, text, &details)), fault, "{code} {reason} {text}");
    }
}

#[test]
fn answers_that_are_no_status_show_nothing_of_their_body() {
    let html = json!("<html>hunter2</html>");
    for (code, fault) in [
        (302, Fault::Odd(302)),
        (401, Fault::Unauthorised),
        (403, Fault::Odd(403)),
        (404, Fault::Odd(404)),
        (409, Fault::Odd(409)),
        (422, Fault::Odd(422)),
        (429, Fault::Throttled(None)),
        (502, Fault::Unavailable { code: 502, message: "no details".into() }),
    ] {
        assert_eq!(of(code, &html), fault);
        assert_eq!(of(code, &json!({ "kind": "Secret", "message": "hunter2" })), fault);
    }
    let absent = refusal(StatusCode::NOT_FOUND, &HeaderMap::new(), b"404 page not found\n");
    assert_eq!((absent.fault, absent.missing), (Fault::NotFound, None), "a kind that is not installed");
}

#[test]
fn retry_after_is_believed_up_to_a_point() {
    let of = |value: &str| {
        let headers = [(header::RETRY_AFTER, value.parse().unwrap())].into_iter().collect();
        refusal(StatusCode::TOO_MANY_REQUESTS, &headers, b"Too many requests").fault
    };
    assert_eq!(of("3"), Fault::Throttled(Some(Duration::from_secs(3))));
    assert_eq!(of("99999999999"), Fault::Throttled(Some(RETRY_AFTER_LIMIT)));
    assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), Fault::Throttled(None));
}

#[test]
fn only_a_status_that_names_the_object_says_that_it_is_missing() {
    let of = |details: &Value| {
        let body = status(404, "NotFound", "", details).to_string();
        refusal(StatusCode::NOT_FOUND, &HeaderMap::new(), body.as_bytes())
    };
    assert!(of(&json!({ "name": "a", "kind": "secrets" })).is_missing("secrets", "a"));
    assert!(!of(&json!({ "name": "b", "kind": "secrets" })).is_missing("secrets", "a"));
    assert!(!of(&json!({ "name": "a", "kind": "namespaces" })).is_missing("secrets", "a"));
    assert!(!of(&json!({})).is_missing("secrets", ""));
}

#[test]
fn error_events() {
    assert_eq!(of_error_event(status(410, "Expired", "", &Value::Null).to_string().as_bytes()), Fault::Expired);
    let unavailable = Fault::Unavailable { code: 500, message: "x".into() };
    assert_eq!(of_error_event(status(500, "", "x", &Value::Null).to_string().as_bytes()), unavailable);
    assert_eq!(of_error_event(b"{}"), Fault::Odd(0));
}

#[test]
fn errors_of_the_transport() {
    let service = |error: io::Error| transport(&kube::Error::Service(Box::new(error)));
    let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    assert!(matches!(service(io::Error::other(io::Error::other(tls))), Fault::Tls(_)));
    assert!(matches!(service(io::ErrorKind::ConnectionRefused.into()), Fault::Connect(_)));
    assert!(matches!(service(io::ErrorKind::ConnectionReset.into()), Fault::NoAnswer(_)));
    let login = kube::Error::Auth(kube::client::AuthError::ExecPluginFailed);
    assert_eq!(transport(&login), Fault::Unauthorised);
}
