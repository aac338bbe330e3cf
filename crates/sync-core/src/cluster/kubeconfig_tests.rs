use std::sync::LazyLock;

use serde_json::{Value, json};

use super::*;

/// A certificate that is its own authority, and its key; in PEM.
fn pems() -> &'static (String, String) {
    static PEMS: LazyLock<(String, String)> = LazyLock::new(|| {
        let made = rcgen::generate_simple_self_signed(["prod.example".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    });
    &PEMS
}

/// Base64 of the text.
fn encoded(text: &str) -> Value {
    serde_json::to_value(ByteString(text.as_bytes().to_vec())).unwrap()
}

/// A kubeconfig that works, with these changes to its cluster and its user; null takes a key away.
fn kubeconfig(cluster: &Value, user: &Value) -> Vec<u8> {
    let with = |mut base: Value, changes: &Value| {
        let map = base.as_object_mut().unwrap();
        map.extend(changes.as_object().unwrap().clone());
        map.retain(|_, value| !value.is_null());
        base
    };
    let good = json!({ "server": "https://prod.example:6443", "certificate-authority-data": encoded(&pems().0) });
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": "main",
        "clusters": [{ "name": "c", "cluster": with(good, cluster) }],
        "users": [{ "name": "u", "user": with(json!({ "token": "hunter2" }), user) }],
        "contexts": [{ "name": "main", "context": { "cluster": "c", "user": "u", "namespace": "x" } },
                     { "name": "no-cluster", "context": { "cluster": "z", "user": "u" } },
                     { "name": "no-user", "context": { "cluster": "c" } },
                     { "name": "empty" }],
    });
    kubeconfig.to_string().into_bytes()
}

fn open(bytes: &[u8], context: Option<&str>) -> Result<Access, AccessError> {
    Access::from_kubeconfig(bytes, context, &AddressRules::default())
}

fn refused(cluster: &Value, user: &Value) -> String {
    let error = open(&kubeconfig(cluster, user), None).expect_err(&format!("{cluster} {user}")).to_string();
    assert!(!error.contains("hunter2") && !error.contains("prod.example"), "{error}");
    error
}

#[test]
fn what_works() {
    let access = open(&kubeconfig(&json!({}), &json!({})), None).unwrap();
    assert_eq!(access.server().to_string(), "https://prod.example:6443/");
    assert!(access.header().is_some());
    let shown = format!("{access:?} {access:#?}");
    assert!(!shown.contains("hunter2"), "{shown}");

    let certificate = json!({ "client-certificate-data": encoded(&pems().0), "client-key-data": encoded(&pems().1) });
    for (cluster, user) in [
        (json!({}), json!({ "token": "hunter2\n" })),
        (json!({}), json!({ "token": null, "username": "a", "password": "hunter2" })),
        (json!({}), certificate.clone()),
        (json!({ "tls-server-name": "other.example" }), json!({})),
        (json!({ "server": "https://10.1.2.3/k8s/clusters/c-1", "insecure-skip-tls-verify": false }), json!({})),
        (json!({ "certificate-authority": "", "proxy-url": "" }), json!({ "tokenFile": "", "exec": null })),
    ] {
        open(&kubeconfig(&cluster, &user), None).unwrap_or_else(|error| panic!("{cluster} {user}: {error}"));
    }
    let by_proxy = json!({ "proxy-url": "http://user:hunter2@proxy.example:3128" });
    let access = open(&kubeconfig(&by_proxy, &json!({})), None).unwrap();
    assert_eq!(access.proxy.as_ref().unwrap().uri, "http://proxy.example:3128/");
    assert!(!format!("{access:?}").contains("hunter2"));
    let mut only_certificate = certificate;
    only_certificate["token"] = Value::Null;
    let access = open(&kubeconfig(&json!({}), &only_certificate), None).unwrap();
    assert!(access.header().is_none() && matches!(access.login, Login::None));
}

#[test]
fn what_is_refused_by_name() {
    for (key, value) in [
        ("insecure-skip-tls-verify", json!(true)),
        ("certificate-authority", json!("/etc/hunter2")),
        ("certificate-authority-data", Value::Null),
        ("certificate-authority-data", json!("%hunter2%")),
        ("certificate-authority-data", encoded("hunter2")),
        ("certificate-authority-data", encoded("-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----")),
        ("tls-server-name", json!("hunter2 ")),
        ("server", Value::Null),
        ("server", json!("")),
        ("server", json!("http://prod.example")),
        ("server", json!("prod.example")),
        ("server", json!("https://hunter2@prod.example")),
        ("server", json!("https://prod.example?hunter2")),
        ("server", json!("https://")),
        ("server", json!("https://prod example/")),
    ] {
        let error = refused(&json!({ key: value }), &json!({}));
        assert!(error.starts_with("cluster \"c\": ") && error.contains(key), "{key}: {error}");
    }
    for url in ["socks5://hunter2:1080", "https://hunter2", "hunter2 "] {
        assert!(refused(&json!({ "proxy-url": url }), &json!({})).contains("http://HOST:PORT"), "{url}");
    }
    assert!(refused(&json!({ "proxy-url": "http://169.254.169.254" }), &json!({})).contains("link-local"));
    for (key, value) in [
        ("exec", json!({ "apiVersion": "client.authentication.k8s.io/v1", "command": "hunter2", "args": ["hunter2"] })),
        ("auth-provider", json!({ "name": "gcp", "config": { "access-token": "hunter2" } })),
        ("tokenFile", json!("/hunter2")),
        ("client-certificate", json!("/hunter2")),
        ("client-key", json!("/hunter2")),
        ("client-key-data", encoded(&pems().1)),
        ("client-certificate-data", encoded(&pems().0)),
        ("as", json!("hunter2")),
        ("as-groups", json!(["hunter2"])),
        ("token", Value::Null),
        ("token", json!("hunter2\nhunter2")),
    ] {
        let error = refused(&json!({}), &json!({ key: value }));
        assert!(error.starts_with("user \"u\": "), "{key}: {error}");
        let named = if key.starts_with("client") { "client-" } else { key };
        assert!(error.contains(named), "{key}: {error}");
    }
    let both = |certificate: &str, key: &str| json!({ "client-certificate-data": encoded(certificate), "client-key-data": encoded(key) });
    assert!(refused(&json!({}), &both("hunter2", &pems().1)).contains("client-certificate-data"));
    assert!(refused(&json!({}), &both(&pems().0, "hunter2")).contains("client-key-data"));
}

#[test]
fn addresses_that_only_we_can_reach() {
    for (host, entry) in [
        ("127.0.0.1:6443", "127.0.0.1"),
        ("localhost", "localhost"),
        ("[::1]", "::1"),
        ("169.254.169.254", "169.254.169.254"),
        ("[fd00:ec2::254]", "fd00:ec2::254"),
        ("0.0.0.0", "0.0.0.0"),
    ] {
        let bytes = kubeconfig(&json!({ "server": format!("https://{host}") }), &json!({}));
        let error = open(&bytes, None).unwrap_err();
        assert!(matches!(error, AccessError::Address { .. }), "{error}");
        assert!(error.to_string().ends_with(&format!("run master with --allow-addresses={entry}")), "{error}");
        Access::from_kubeconfig(&bytes, None, &entry.parse().unwrap()).unwrap();
    }
}

#[test]
fn contexts() {
    let bytes = kubeconfig(&json!({}), &json!({}));
    assert!(open(&bytes, Some("main")).is_ok());
    let text = |context| open(&bytes, Some(context)).unwrap_err().to_string();
    let unknown = text("nowhere\u{202e}");
    assert!(unknown.contains("main") && unknown.contains("no-user") && !unknown.contains('\u{202e}'), "{unknown}");
    assert!(text("no-cluster").contains("cluster"), "{}", text("no-cluster"));
    assert!(text("no-user").contains("user"), "{}", text("no-user"));
    assert!(text("empty").contains("no context"), "{}", text("empty"));
    let without = open(b"contexts: [{name: a}]", None).unwrap_err();
    assert!(without.to_string().contains("\"a\""), "{without}");
    assert_eq!(open(b"{}", None).unwrap_err().reason(), "UnknownContext");
    let parsed = Kubeconfig::parse(&bytes).unwrap();
    assert_eq!(parsed.contexts().collect::<Vec<_>>(), ["main", "no-cluster", "no-user", "empty"]);
}

#[test]
fn login_commands_are_shown_to_who_knows_better() {
    let exec =
        json!({ "command": "aws", "args": ["eks", "get-token"], "env": [{ "name": "AWS_PROFILE", "value": "p" }] });
    let alone = json!({ "exec": exec, "token": null });
    let parsed = Kubeconfig::parse(&kubeconfig(&json!({ "proxy-url": "http://hunter2" }), &alone)).unwrap();
    let login = parsed.login_command(None).unwrap().unwrap();
    assert_eq!((login.context, login.cluster, login.user), ("main", "c", "u"));
    assert_eq!((login.exec.command.as_str(), login.exec.args.as_ref().unwrap().len()), ("aws", 2));
    assert_eq!(login.proxy_url, Some("http://hunter2"));
    assert!(!format!("{login:?}").contains("hunter2"));
    assert!(Kubeconfig::parse(&kubeconfig(&json!({}), &json!({}))).unwrap().login_command(None).unwrap().is_none());

    for (cluster, user, setting) in [
        (json!({ "insecure-skip-tls-verify": true }), json!({}), "insecure-skip-tls-verify"),
        (json!({ "certificate-authority": "/etc/hunter2" }), json!({}), "certificate-authority"),
        (json!({ "server": "http://hunter2" }), json!({}), "server is not https"),
        (json!({ "tls-server-name": "hunter2" }), json!({}), "tls-server-name"),
        (json!({}), json!({ "token": "hunter2" }), "token stands beside exec"),
        (json!({}), json!({ "username": "hunter2" }), "username stands beside exec"),
        (json!({}), json!({ "client-key-data": "hunter2" }), "client-key-data stands beside exec"),
        (json!({}), json!({ "tokenFile": "/hunter2" }), "tokenFile"),
        (json!({}), json!({ "auth-provider": { "name": "hunter2" } }), "auth-provider"),
        (json!({}), json!({ "as": "hunter2" }), "as is refused"),
    ] {
        let mut both = alone.clone();
        both.as_object_mut().unwrap().extend(user.as_object().unwrap().clone());
        let error =
            Kubeconfig::parse(&kubeconfig(&cluster, &both)).unwrap().login_command(None).unwrap_err().to_string();
        assert!(error.contains(setting) && !error.contains("hunter2"), "{setting}: {error}");
    }
}

#[test]
fn what_cannot_be_read_shows_where_and_nothing_else() {
    for (bad, position) in [
        ("users:\n- name: u\n  user: {token: [hunter2]}\n", Some("line 3, column")),
        ("users:\n- name: u\n  user: {token: hunter2\n", Some("line")),
        ("a: 1\n\thunter2: x", Some("line 2")),
        ("clusters: hunter2", Some("line 1")),
        ("hunter2", None),
        ("a: &a [hunter2]\nb: *c", Some("line 2")),
        ("a: 1\n---\nhunter2: 2", None),
        ("\u{0}hunter2", None),
    ] {
        let error = open(bad.as_bytes(), None).unwrap_err();
        assert!(matches!(error, AccessError::Unreadable(_)), "{bad}: {error}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hunter2"), "{text}");
        if let Some(position) = position {
            assert!(text.contains(position), "{bad}: {text}");
        }
    }
    assert!(open(b"\xff\xfe", None).is_err());
}
