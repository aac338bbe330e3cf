//! Whatever a remote cluster or AWS answers, nothing is taken away anywhere because of it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Authority, AwsFault, FaultProxy, Mode, Process, SharedCluster, eventually};
use tokio::time::sleep;

use super::stage::{EksStage, Site, Target, management};
use crate::master::api;
use crate::master::stage::SOON;

const SOURCES: [&str; 3] = ["one", "two", "three"];

/// Copies there, sources and RemoteClusters here, with versions: whoever writes shows.
async fn all(stage: &EksStage<'_>, site: &Site, target: &Target) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for name in SOURCES {
        found.push(api::get(&site.server, &api::secret(&target.eks.name, name)).await?.context("no copy")?);
        found.push(api::get(stage.management, &stage.path(name)).await?.context("no source")?);
    }
    let list = api::get(stage.management, &api::remote_cluster(stage.name, "")).await?.context("no list")?;
    let names = list["items"].as_array().into_iter().flatten().map(|item| item["metadata"]["uid"].clone());
    found.extend(names);
    Ok(found)
}

/// Cuts connections until it shows: API servers remember for a moment whom they have let in.
async fn until_cut_off(stage: &EksStage<'_>, proxy: &FaultProxy, reason: &str) {
    eventually(SOON, reason, async || {
        proxy.cut();
        sleep(Duration::from_secs(1)).await;
        let ready = stage.ready("north").await?;
        ensure!(ready["reason"] == reason, "{ready}");
        Ok(())
    })
    .await;
}

/// Waits until the condition is none of these any more, which say that all is well or that nothing is known yet.
async fn until_unwell(stage: &EksStage<'_>, what: &str) -> Result<String> {
    Ok(eventually(SOON, format!("{what}: it is not well"), async || {
        let ready = stage.ready("north").await?;
        let reason = ready["reason"].as_str().unwrap_or_default().to_owned();
        ensure!(!["Connected", "Connecting", ""].contains(&&*reason), "{ready}");
        anyhow::Ok(reason)
    })
    .await)
}

/// A cluster behind a proxy that has its copies.
struct Scene<'c> {
    site: Site,
    stage: EksStage<'c>,
    target: Target,
    proxy: FaultProxy,
    master: Process,
    before: Vec<Value>,
}

impl<'c> Scene<'c> {
    async fn begin(management: &'c SharedCluster, name: &'static str) -> Result<Self> {
        let site = Site::north().await?;
        let stage = EksStage::new(management, name).await?;
        let mut target = stage.target(&site).await?;
        let proxy = FaultProxy::start(site.server.server_addr())?;
        target.eks.endpoint = Some(proxy.url());
        stage.aws.cluster(&target.eks).await?;
        for name in SOURCES {
            stage.source(name, "1").await?;
        }
        let master = stage.master().await?;
        stage.add("north", &target).await?;
        for name in SOURCES {
            stage.copy(&site, &target, name, "1").await;
        }
        stage.is("north", "Connected").await;
        let before = all(&stage, &site, &target).await?;
        Ok(Self { site, stage, target, proxy, master, before })
    }

    /// Waits until all is well again; nothing has been touched meanwhile.
    async fn still(&self, after: &str) -> Result<()> {
        self.stage.is("north", "Connected").await;
        ensure!(all(&self.stage, &self.site, &self.target).await? == self.before, "{after} changed something");
        Ok(())
    }
}

pub(super) async fn no_refusal_of_a_cluster_or_of_aws_takes_anything_away() -> Result<()> {
    let management = management().await?;
    let scene = Scene::begin(&management, "e-safe").await?;
    let Scene { site, stage, target, proxy, .. } = &scene;

    // 401: nobody is let in any more. Watches that are open go on.
    stage.let_nobody_in(target).await?;
    until_cut_off(stage, proxy, "Unauthorised").await;
    stage.let_in(target, 0).await?;
    scene.still("401").await?;

    // 403: the rights have gone.
    let binding = "/apis/rbac.authorization.k8s.io/v1/namespaces/e-safe/rolebindings/mw-sync-remote";
    api::delete(&site.server, binding).await?;
    until_cut_off(stage, proxy, "Forbidden").await;
    crate::master::stage::apply(&site.server, "remote-access.yaml", "e-safe").await?;
    scene.still("403").await?;

    // AWS has never heard of it, and then speaks in tongues.
    proxy.set(Mode::Refuse).await;
    stage.aws.delete_cluster(&target.eks).await?;
    stage.is("north", "ClusterNotFound").await;
    let html = AwsFault { body: Some("<html>it works</html>"), ..AwsFault::new("DescribeCluster", "e-safe", "", 200) };
    let html = stage.aws.fault(&html).await?;
    stage.aws.cluster(&target.eks).await?;
    until_described(stage, 2).await?;
    stage.aws.end_fault(html).await?;
    let json = AwsFault {
        body: Some(r#"{"cluster":{}}"#),
        content_type: "application/json",
        ..AwsFault::new("DescribeCluster", "e-safe", "", 200)
    };
    let json = stage.aws.fault(&json).await?;
    stage.is("north", "WrongCluster").await;
    proxy.set(Mode::Pass).await;
    stage.aws.end_fault(json).await?;
    scene.still("AWS").await?;

    // AWS refuses, and answers with nothing that can be read.
    let role = target.role.arn.clone();
    let garbage = AwsFault {
        body: Some("{\"cluster\": [7"),
        content_type: "application/json",
        ..AwsFault::new("DescribeCluster", "e-safe", "", 200)
    };
    for (fault, reason) in [
        (AwsFault::new("AssumeRole", role, "AccessDenied", 403), Some("AssumeRoleDenied")),
        (AwsFault::new("DescribeCluster", "e-safe", "AccessDeniedException", 403), Some("DescribeDenied")),
        (garbage, None),
    ] {
        proxy.set(Mode::Refuse).await;
        let what = format!("{} {reason:?}", fault.operation);
        let fault = stage.aws.fault(&fault).await?;
        renew(stage).await?;
        match reason {
            Some(reason) => drop(stage.is("north", reason).await),
            None => println!("{what}: {}", until_unwell(stage, &what).await?),
        }
        stage.aws.end_fault(fault).await?;
        proxy.set(Mode::Pass).await;
        renew(stage).await?;
        scene.still(&what).await?;
    }
    stage.end(&scene.master).await
}

/// Waits until AWS has answered with a fault so many times from now on.
async fn until_described(stage: &EksStage<'_>, times: usize) -> Result<()> {
    let mark = stage.aws.mark().await?;
    eventually(SOON, "AWS was asked", async || {
        let calls = stage.calls(mark).await?;
        let count = calls.iter().filter(|call| call.operation == "DescribeCluster" && call.fault).count();
        ensure!(count >= times, "{count} times");
        Ok(())
    })
    .await;
    Ok(())
}

/// Where the API server was, something else answers: 404 and 200, in HTML and in the words of Kubernetes.
pub(super) async fn no_nonsense_takes_anything_away() -> Result<()> {
    let management = management().await?;
    let scene = Scene::begin(&management, "e-nonsense").await?;
    let Scene { stage, target, proxy, .. } = &scene;
    let authority = Authority::new()?;
    let (cert, key) = authority.server(&["127.0.0.1"])?;
    let not_found = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}"#;
    let answers = [(404, not_found), (200, "<html>hello</html>"), (401, "no"), (403, "never"), (200, "{}")];
    for (place, (status, body)) in answers.into_iter().enumerate() {
        let mut moved = target.clone();
        moved.eks.endpoint = Some(stage.aws.nonsense((&cert, &key), status, body).await?);
        moved.eks.authority = Some(authority.pem().to_owned());
        stage.aws.cluster(&moved.eks).await?;
        if place == 0 {
            // An engine that runs loses its cluster, and AWS says that it is there now.
            proxy.set(Mode::Refuse).await;
        } else {
            renew(stage).await?;
        }
        let endpoint = moved.eks.endpoint.clone().unwrap_or_default();
        eventually(SOON, format!("it is at {endpoint}"), async || {
            let object = api::get(stage.management, &api::remote_cluster(stage.name, "north")).await?;
            let server =
                object.context("no RemoteCluster")?["status"]["server"].as_str().unwrap_or_default().to_owned();
            ensure!(server.trim_end_matches('/') == endpoint, "{server}");
            Ok(())
        })
        .await;
        let reason = until_unwell(stage, body).await?;
        println!("{status} {body}: {reason}");
        stage.aws.cluster(&target.eks).await?;
        proxy.set(Mode::Pass).await;
        renew(stage).await?;
        scene.still(body).await?;
    }
    stage.end(&scene.master).await
}

/// AWS is asked again by itself after half a minute at the earliest; a new task asks at once.
async fn renew(stage: &EksStage<'_>) -> Result<()> {
    stage.change("north", json!({ "suspend": true })).await?;
    stage.is("north", "Suspended").await;
    stage.change("north", json!({ "suspend": false })).await
}
