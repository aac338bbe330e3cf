//! The client of one cluster against a real API server: what it sends is understood, and what comes back is what the
//! unit tests believe.

mod lists;
mod orders;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use sync_core::cluster::access::Access;
use sync_core::cluster::addresses::AddressRules;
use sync_core::cluster::connection::{Connection, Patience};
use sync_core::cluster::{read, request};
use sync_core::contract::desired::Desired;
use sync_core::contract::object::{Content, Kind, Object, Rv, Uid};
use sync_core::contract::rules::{Role, Rules};
use sync_core::contract::source::{Reading, Source};
use sync_core::contract::strip::StripList;
use sync_core::contract::{body, keys};
use sync_core::fault::Fault;
use sync_core::order::{Order, Step};
use testbed::{Cluster, FaultProxy, Kubeconfig, Mode, shared};

use crate::support::SOON;

const MANAGER: &str = "mw-sync-agent";

fn rules() -> Rules {
    Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).expect("the default list"))
}

fn uid(text: &str) -> Uid {
    Uid::parse(text).expect("a uid")
}

/// What replicas of a source with this name and payload look like.
fn desired(name: &str, payload: &str, immutable: bool) -> Desired {
    let object = Object {
        kind: Kind::Secret,
        namespace: "operator".into(),
        name: name.into(),
        uid: uid("11111111-0000-4000-8000-000000000001"),
        rv: Rv(1),
        labels: [("team".to_owned(), "a".to_owned())].into(),
        annotations: [(keys::SYNC.to_owned(), "yes".to_owned())].into(),
        content: Content {
            secret_type: Some("Opaque".into()),
            immutable,
            data: [("k".to_owned(), payload.to_owned())].into(),
            ..Content::default()
        },
        more: false,
    };
    let Reading::On(template) = Source::read(&rules(), object).reading else { panic!("a source") };
    template.desired(uid("22222222-0000-4000-8000-000000000002"))
}

fn order(namespace: &str, name: &str, step: Step) -> Order {
    Order { id: 0, kind: Kind::Secret, namespace: namespace.into(), name: name.into(), step }
}

fn create(namespace: &str, desired: &Desired) -> Order {
    order(namespace, &desired.key.name, Step::Create(Bytes::from(body::create(desired))))
}

/// The access that a kubeconfig in a Secret would give.
fn access(kubeconfig: &Kubeconfig) -> Result<Access> {
    let allow: AddressRules = "127.0.0.1".parse()?;
    Ok(Access::from_kubeconfig(kubeconfig.to_yaml().as_bytes(), None, &allow)?)
}

/// Who connects once is as patient as a person: a busy server may take longer than a controller waits before it tries again.
fn connect(access: &Access) -> Result<Connection> {
    Ok(Connection::with(access, "mw-sync-agent/0.1.0", Patience::PERSON)?)
}

fn connection(cluster: &Cluster) -> Result<Connection> {
    connect(&access(&cluster.admin())?)
}

/// The ServiceAccount that each namespace has, as soon as there is one.
async fn powerless(cluster: &Cluster, namespace: &str) -> Kubeconfig {
    let token = async || cluster.service_account(namespace, "default").await;
    testbed::eventually(SOON, format!("{namespace} has a ServiceAccount"), token).await
}

async fn namespaces(cluster: &Cluster, names: &[&str]) -> Result<()> {
    for name in names {
        cluster.kubectl(&["create", "namespace", name]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn cluster_client_uses_one_connection_for_64_writes_at_once() -> Result<()> {
    let cluster = shared("client").await?;
    namespaces(&cluster, &["client-burst"]).await?;
    let proxy = FaultProxy::start(cluster.server_addr())?;
    let access = access(&cluster.admin().by_server(proxy.url()))?;
    let connection = connect(&access)?;
    let version = connection.warm().await?;
    assert_eq!(version.git, testbed::control_plane::version());
    assert_eq!(proxy.accepted(), 2, "one for watches, one for writes");

    let mark = cluster.audit().mark().await?;
    let mut running = tokio::task::JoinSet::new();
    for n in 0..64 {
        let (client, order) =
            (connection.write.clone(), create("client-burst", &desired(&format!("s-{n}"), "dg==", false)));
        running.spawn(async move { sync_core::cluster::write::execute(&client, MANAGER, &order).await });
    }
    for reply in running.join_all().await {
        reply?;
    }
    assert_eq!(proxy.accepted(), 2);
    let requests = cluster.audit().since(mark).await?.namespace("client-burst").user_agent("mw-sync-agent/0.1.0");
    assert_eq!(requests.writes().count(), 64);

    // Cold, it is still one dial for all of them.
    proxy.cut();
    testbed::eventually(SOON, "the connections are gone", async || match proxy.open() {
        0 => Ok(()),
        open => Err(format!("{open} open")),
    })
    .await;
    let mut running = tokio::task::JoinSet::new();
    for n in 0..64 {
        let (client, order) = (connection.write.clone(), order("client-burst", &format!("s-{n}"), Step::Look));
        running.spawn(async move { sync_core::cluster::write::execute(&client, MANAGER, &order).await });
    }
    for reply in running.join_all().await {
        // Those that were sent before the cut was noticed.
        assert!(matches!(reply, Ok(_) | Err(Fault::NoAnswer(_))), "{reply:?}");
    }
    assert_eq!(proxy.accepted(), 3);

    // The credential is swapped on the open connection. (After a 401 the server closes it.)
    let header = access.header().context("a token")?;
    let get = async || read::get_namespace(&connection.write, "client-burst").await;
    header.set_bearer(&powerless(&cluster, "client-burst").await.token)?;
    assert!(matches!(get().await, Err(Fault::Forbidden(_))));
    header.set_bearer(&cluster.admin().token)?;
    assert!(get().await?.is_some_and(|namespace| !namespace.terminating));
    assert_eq!(proxy.accepted(), 3);
    Ok(())
}

#[tokio::test]
async fn cluster_client_tells_failures_apart() -> Result<()> {
    let cluster = shared("client").await?;
    namespaces(&cluster, &["client-faults"]).await?;
    let get = async |access: &Access| {
        let connection = connect(access).expect("a connection");
        read::get_object(&connection.watch, Kind::Secret, "client-faults", "nowhere").await
    };
    let admin = cluster.admin();
    assert!(matches!(get(&access(&admin)?).await, Ok(None)));
    let mut other = admin.clone();
    other.token = "wrong".into();
    assert_eq!(get(&access(&other)?).await.unwrap_err(), Fault::Unauthorised);
    let powerless = powerless(&cluster, "client-faults").await;
    let Err(Fault::Forbidden(text)) = get(&access(&powerless)?).await else { panic!("forbidden") };
    assert!(text.contains("system:serviceaccount:client-faults:default"), "{text}");
    let elsewhere = Cluster::start(testbed::ClusterOptions::default().without_controller_manager()).await?;
    let mut stranger = admin.clone();
    elsewhere.ca_pem().clone_into(&mut stranger.ca_pem);
    elsewhere.stop().await;
    let error = get(&access(&stranger)?).await.unwrap_err();
    assert!(matches!(error, Fault::Tls(_)), "{error:?}");

    let proxy = FaultProxy::start(cluster.server_addr())?;
    let by_proxy = access(&admin.by_server(proxy.url()))?;
    let connection = connect(&by_proxy)?;
    connection.warm().await?;
    let limits = request::Limits { deadline: Duration::from_millis(300), ..request::Limits::METADATA };
    let ask = async || {
        let request = http::Request::get("/version").body(kube::client::Body::empty()).expect("a request");
        request::send(&connection.watch, request, limits).await
    };
    proxy.set(Mode::BlackHole).await;
    assert!(matches!(ask().await, Err(Fault::NoAnswer(_))));
    proxy.set(Mode::Refuse).await;
    let error = testbed::eventually(SOON, "refused", async || match ask().await {
        Err(Fault::Connect(text)) => Ok(text),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(error.contains("refused"), "{error}");
    proxy.set(Mode::Pass).await;
    // With a deadline so short, a busy machine may need more than one try.
    testbed::eventually(SOON, "answered again", ask).await;

    let missing =
        read::get_json::<serde_json::Value>(&connection.watch, "/apis/mw-sync.io/v1alpha1/remoteclusters").await;
    assert_eq!(missing.unwrap_err(), Fault::NotFound, "a CRD that is not installed");
    assert_eq!(read::get_namespace(&connection.watch, "nowhere").await, Ok(None));
    Ok(())
}

#[tokio::test]
async fn cluster_client_takes_the_usual_kubeconfigs() -> Result<()> {
    let cluster = shared("client").await?;
    let (admin, token) = (cluster.admin(), cluster.admin().token);
    std::fs::write(cluster.dir().join("token"), &token)?;
    let credential = serde_json::json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": { "token": token } });
    std::fs::write(cluster.dir().join("credential"), credential.to_string())?;
    let dir = cluster.dir().display();
    let exec = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, interactiveMode: Never, args: [-c, \
         'echo >> {dir}/runs; cat {dir}/credential']}}"
    );
    let failing = "exec: {apiVersion: client.authentication.k8s.io/v1, command: 'false', interactiveMode: Never}";
    let (token_line, text) = (format!("token: {token}"), admin.to_yaml());
    let open = async |text: String| {
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&text).expect("a kubeconfig");
        Access::trusted(kubeconfig, Some("admin")).await
    };
    // As kind and kubeadm have it.
    let (certificate, key) = cluster.authority().person("admin", "system:masters")?;
    let base64 = |pem: String| serde_json::to_string(&k8s_openapi::ByteString(pem.into_bytes()));
    let certificate =
        format!("{{client-certificate-data: {}, client-key-data: {}}}", base64(certificate)?, base64(key)?);
    let by_certificate = text.replace(&format!("user:\n    {token_line}"), &format!("user: {certificate}"));
    let by_remote = Access::from_kubeconfig(by_certificate.as_bytes(), None, &"127.0.0.1".parse()?)?;
    for access in [open(by_certificate).await?, by_remote] {
        assert!(!format!("{access:?}").contains("PRIVATE"));
        let connection = connect(&access)?;
        let version = connection.warm().await.context("by a certificate")?;
        assert_eq!(version.git, testbed::control_plane::version());
        // Nobody reads Secrets without a login.
        read::get_object(&connection.write, Kind::Secret, "default", "none").await.map_err(anyhow::Error::msg)?;
    }
    for user in [token_line.clone(), format!("tokenFile: {dir}/token"), exec.clone()] {
        let access = open(text.replace(&token_line, &user)).await?;
        assert!(!format!("{access:?}").contains(&token));
        let version = connect(&access)?.warm().await.with_context(|| user.clone())?;
        assert_eq!(version.git, testbed::control_plane::version());
    }
    // kube would run it three times for each client, and there are two.
    let runs = std::fs::read_to_string(cluster.dir().join("runs"))?.lines().count();
    assert!(runs <= 3, "the login command has run {runs} times");
    let error = open(text.replace(&token_line, failing)).await.unwrap_err().to_string();
    assert!(error.contains("login command failed"), "{error}");
    let strict = |text: String, allow: &str| {
        Access::from_kubeconfig(text.as_bytes(), None, &allow.parse().expect("addresses"))
            .map_err(|error| error.reason())
    };
    assert_eq!(strict(text.replace(&token_line, &exec), "127.0.0.1").unwrap_err(), "InvalidKubeconfig");
    assert_eq!(strict(text.clone(), "").unwrap_err(), "AddressNotAllowed");
    strict(text, "127.0.0.0/8").map_err(anyhow::Error::msg)?;
    Ok(())
}

#[tokio::test]
async fn cluster_client_goes_by_a_proxy() -> Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let cluster = shared("client").await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let (addr, target) = (listener.local_addr()?, cluster.server_addr());
    let proxy = tokio::spawn(async move {
        let (mut asked, mut passing) = (Vec::new(), tokio::task::JoinSet::new());
        while asked.len() < 2 {
            let (mut client, _) = listener.accept().await?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await?);
            }
            asked.push(String::from_utf8_lossy(&head).into_owned());
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            let mut server = tokio::net::TcpStream::connect(target).await?;
            passing.spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
        // Both clients have what they asked for when this is aborted.
        passing.join_all().await;
        anyhow::Ok(asked)
    });
    // A name that only the proxy knows.
    let admin = cluster.admin().by_server("https://behind.example:6443");
    let text = admin
        .to_yaml()
        .replace("    certificate-authority-data", "    tls-server-name: localhost\n    certificate-authority-data");
    let allow: AddressRules = "127.0.0.1".parse()?;
    let access = Access::from_kubeconfig(text.as_bytes(), None, &allow)?.by_proxy(&format!("http://u:p@{addr}"))?;
    let connection = connect(&access)?;
    assert_eq!(connection.warm().await?.git, testbed::control_plane::version());
    drop(connection);
    for asked in proxy.await?? {
        assert!(asked.starts_with("CONNECT behind.example:6443 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.to_lowercase().contains("proxy-authorization: basic dtpw"), "{asked}");
        assert!(!asked.to_lowercase().contains("\r\nauthorization:"), "{asked}");
    }
    Ok(())
}

/// A client that changes what another one sends and gets.
fn through<F>(answer: impl Fn(http::Request<kube::client::Body>) -> F + Send + 'static) -> kube::Client
where
    F: Future<Output = Result<http::Response<kube::client::Body>, kube::Error>> + Send + 'static,
{
    kube::Client::new(tower::service_fn(answer), "default")
}

type Bodies = Arc<std::sync::Mutex<Vec<Bytes>>>;

/// The same client, and the bodies of all its answers.
fn recorded(client: kube::Client) -> (kube::Client, Bodies) {
    let bodies = Bodies::default();
    let seen = Arc::clone(&bodies);
    let client = through(move |request| {
        let (client, seen) = (client.clone(), Arc::clone(&seen));
        async move {
            let (head, body) = client.send(request).await?.into_parts();
            let body = body.collect_bytes().await?;
            seen.lock().expect("bodies").push(body.clone());
            Ok(http::Response::from_parts(head, kube::client::Body::from(body)))
        }
    });
    (client, bodies)
}
