//! Lists and watches.

use std::collections::BTreeMap;

use super::*;
use sync_core::cluster::query::Query;
use sync_core::cluster::watch::{News, watch};
use sync_core::cluster::{wire, write};
use sync_core::contract::fingerprint::Fingerprint;
use sync_core::contract::marks::Sighting;
use sync_core::index::feed::{Feed, NamespaceSeen};
use sync_core::order::Reply;
use sync_core::plan::Guard;
use testbed::ClusterOptions;
use tokio::sync::mpsc;
use tokio::time::timeout;

type News1 = News<Sighting>;
type Content1 = BTreeMap<(String, String), (Uid, Rv, Option<Fingerprint>)>;

fn replicas(client: kube::Client, query: Query) -> mpsc::Receiver<News1> {
    let (to, news) = mpsc::channel(4);
    tokio::spawn(watch(client, query, 1, wire::replica(rules(), Kind::Secret), |news| news, to));
    news
}

async fn next<T>(news: &mut mpsc::Receiver<News<T>>) -> Result<News<T>> {
    timeout(SOON, news.recv()).await.context("no news")?.context("the watch ended")
}

/// What a list holds, and its version.
async fn list(news: &mut mpsc::Receiver<News1>) -> Result<(Content1, Rv)> {
    let mut content = Content1::new();
    loop {
        match next(news).await? {
            News::Feed(Feed::Init) => content.clear(),
            News::Feed(Feed::Listed(seen)) => {
                let key = (seen.namespace, seen.source.name.to_string());
                content.insert(key, (seen.uid, seen.rv, seen.ours.map(|ours| ours.fingerprint)));
            }
            News::Feed(Feed::InitDone(version)) => return Ok((content, version)),
            other => panic!("{other:?}"),
        }
    }
}

/// A client of a server without streaming lists.
fn paged(client: kube::Client) -> kube::Client {
    through(move |request| {
        let client = client.clone();
        async move {
            if request.uri().query().is_some_and(|query| query.contains("sendInitialEvents")) {
                let mut refused = http::Response::new(kube::client::Body::from(b"{}".to_vec()));
                *refused.status_mut() = http::StatusCode::UNPROCESSABLE_ENTITY;
                return Ok(refused);
            }
            client.send(request).await
        }
    })
}

#[tokio::test]
async fn cluster_client_lists_agree_and_become_watches() -> Result<()> {
    let cluster = shared("client").await?;
    let names = ["client-list-a", "client-list-b", "client-list-c"];
    namespaces(&cluster, &names).await?;
    let connection = connection(&cluster)?;
    let run = async |order: Order| write::execute(&connection.write, MANAGER, &order).await;
    let mut last = None;
    for n in 0..90 {
        let reply = run(create(names[n % 3], &desired(&format!("s-{n}"), "dg==", false))).await?;
        let Reply::Written { uid, rv } = reply else { panic!("{reply:?}") };
        last = Some((uid, rv));
    }
    let (uid, rv) = last.context("the last one")?;
    let query = Query::replicas(&rules(), Kind::Secret, None)?;
    let mark = cluster.audit().mark().await?;
    let (mut streamed, mut pages) =
        (replicas(connection.watch.clone(), query.clone()), replicas(paged(connection.watch.clone()), query));
    let ((one, version_one), (two, version_two)) = (list(&mut streamed).await?, list(&mut pages).await?);
    let ours = |content: Content1| -> Content1 {
        content.into_iter().filter(|((namespace, _), _)| namespace.starts_with("client-list-")).collect()
    };
    let (one, two) = (ours(one), ours(two));
    assert_eq!(one.len(), 90);
    assert_eq!(one, two);
    assert!(version_one >= rv && version_two >= rv, "consistent reads");
    let wanted = desired("s-5", "dg==", false).fingerprint;
    assert_eq!(one[&(names[2].to_owned(), "s-5".to_owned())].2, Some(wanted), "a replica reads as it was wanted");

    let order = order(names[2], "s-89", Step::Delete(Bytes::from(body::delete(Guard { uid, rv }))));
    assert!(matches!(run(order).await?, Reply::Deleted));
    for news in [&mut streamed, &mut pages] {
        let gone = loop {
            // Other tests write replicas too.
            match next(news).await? {
                News::Feed(Feed::Gone(seen)) if seen.namespace == names[2] => break seen,
                News::Feed(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((&*gone.source.name, gone.uid), ("s-89", uid));
        assert!(gone.rv > rv, "the version of the deletion");
    }
    let requests = cluster.audit().since(mark).await?.user_agent("mw-sync-agent/0.1.0").resource("secrets");
    assert!(requests.clone().verb("list").count() >= 3, "20, 40, 80 objects a page: {:#?}", requests.counts());
    Ok(())
}

#[tokio::test]
async fn cluster_client_watches_survive_cuts_and_lost_history() -> Result<()> {
    // Neither streaming lists nor HTTP/2.
    let options = ClusterOptions::default().without_controller_manager().api_server_arg("--disable-http2-serving");
    let cluster = Cluster::start(options.api_server_arg("--feature-gates=WatchList=false")).await?;
    let proxy = FaultProxy::start(cluster.server_addr())?;
    let connection = connect(&access(&cluster.admin().by_server(proxy.url()))?)?;
    connection.warm().await?;
    let (to, mut news) = mpsc::channel::<News<NamespaceSeen>>(4);
    tokio::spawn(watch(connection.watch.clone(), Query::namespaces(), 1, wire::namespace, |news| news, to));
    let mut seen = BTreeMap::new();
    let mut until = async |name: &str| -> Result<Vec<&'static str>> {
        let mut steps = Vec::new();
        loop {
            let step = match next(&mut news).await? {
                News::Feed(Feed::Init) => {
                    seen.clear();
                    "init"
                }
                News::Feed(Feed::InitDone(_)) => "done",
                News::Feed(Feed::Listed(namespace) | Feed::Applied(namespace)) => {
                    seen.insert(namespace.name.clone(), namespace.uid);
                    "seen"
                }
                News::Feed(Feed::Gone(namespace)) => {
                    seen.remove(&namespace.name);
                    "gone"
                }
                News::Trouble(_) => "trouble",
                News::Well => "well",
            };
            steps.push(step);
            if seen.contains_key(name) {
                return Ok(steps);
            }
        }
    };
    assert!(until("default").await?.contains(&"init"));
    namespaces(&cluster, &["one"]).await?;
    until("one").await?;

    proxy.cut();
    namespaces(&cluster, &["two"]).await?;
    let steps = until("two").await?;
    assert!(!steps.contains(&"init"), "resumed, not listed: {steps:?}");

    cluster.expire_watches().await?;
    namespaces(&cluster, &["zero"]).await?;
    until("zero").await?;
    let expected: Vec<_> = ["default", "one", "two", "zero"].map(str::to_owned).into();
    let all: Vec<_> = seen.into_keys().filter(|name| !name.starts_with("kube-")).collect();
    assert_eq!(all, expected);
    cluster.stop().await;
    Ok(())
}
