//! ClusterDiscovery over accounts of EKS.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{AwsCall, AwsFault, EksCluster, Process, Role, SharedCluster, eventually};

use super::stage::{EksStage, Site, entry, management};
use crate::master::api;
use crate::master::stage::{SOON, apply, value};

const SINCE: &str = "mw-sync.io/not-listed-since";
const AT: &str = "mw-sync.io/not-listed-at";
const SHRUNK: &str = "mw-sync.io/list-shrunk";

/// An account that no other scenario has, and a role in it that the master may assume.
struct Account<'c> {
    stage: EksStage<'c>,
    id: &'static str,
    role: Role,
    master: Process,
}

fn tags(tags: &[(&str, &str)]) -> BTreeMap<String, String> {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

impl<'c> Account<'c> {
    async fn new(management: &'c SharedCluster, name: &'static str, id: &'static str) -> Result<Self> {
        let stage = EksStage::new(management, name).await?;
        let mut role = Role::new(format!("arn:aws:iam::{id}:role/team/{name}"));
        role.trusts = vec![stage.own.arn.clone()];
        role.external_id = Some(format!("id/of:{name}"));
        stage.role(&role).await?;
        let master = stage.master().await?;
        Ok(Self { stage, id, role, master })
    }

    /// An EKS cluster that an API server is from now on, which lets the role in.
    async fn serving(&self, site: &Site, cluster: &str, of: &[(&str, &str)]) -> Result<EksCluster> {
        let name = self.stage.name;
        for file in ["namespace.yaml", "remote-access.yaml"] {
            apply(&site.server, file, name).await?;
        }
        let mut eks = EksCluster::of(self.id, site.region, cluster, &site.server);
        eks.tags = Some(tags(of));
        self.stage.aws.let_in(site.name, &eks, &[entry(self.id, name, name)], 0).await?;
        self.stage.aws.cluster(&eks).await?;
        Ok(eks)
    }

    /// One that is in AWS only.
    async fn listed(&self, region: &str, name: &str, of: &[(&str, &str)]) -> Result<EksCluster> {
        let (account, region, name) = (self.id.to_owned(), region.to_owned(), name.to_owned());
        let eks = EksCluster { account, region, name, tags: Some(tags(of)), ..EksCluster::default() };
        self.stage.aws.cluster(&eks).await?;
        Ok(eks)
    }

    /// A ClusterDiscovery of the account, with something more in it.
    async fn discover(&self, regions: &[&str], eks: Value, more: Value) -> Result<()> {
        let mut spec = self.stage.account_of(&self.role, regions);
        for (place, said) in [("/eks", eks), ("", more)] {
            for (key, value) in said.as_object().into_iter().flatten() {
                spec.pointer_mut(place).context("a place")?[key] = value.clone();
            }
        }
        self.stage.discovery("fleet", &spec).await
    }

    /// The same; waits until it has found so many clusters, and returns what AWS was asked for meanwhile. A request that
    /// a busy machine leaves unanswered is sent again, so if there were not so many requests for lists it is made anew,
    /// a few times.
    async fn asks(&self, regions: &[&str], eks: Value, more: Value, found: i64, lists: usize) -> Result<Vec<AwsCall>> {
        let mut tries = 0;
        loop {
            let mark = self.stage.aws.mark().await?;
            self.discover(regions, eks.clone(), more.clone()).await?;
            self.stage.discovers("fleet", "Listed", found).await;
            let calls = self.stage.calls(mark).await?;
            tries += 1;
            if tries == 3 || calls.iter().filter(|call| call.operation == "ListClusters").count() == lists {
                return Ok(calls);
            }
            api::delete(self.stage.management, &api::discovery(self.stage.name, "fleet")).await?;
        }
    }

    /// Of its RemoteCluster.
    fn name(&self, eks: &EksCluster) -> String {
        format!("{}-{}-{}", eks.name, eks.region, self.id)
    }

    async fn cluster(&self, name: &str) -> Result<Value> {
        let object = api::get(self.stage.management, &api::remote_cluster(self.stage.name, name)).await?;
        object.with_context(|| format!("there is no RemoteCluster {name}"))
    }

    /// Waits until a RemoteCluster is like this.
    async fn until(&self, name: &str, what: &str, like: impl Fn(&Value) -> bool) -> Value {
        eventually(SOON, format!("{name}: {what}"), async || {
            let object = self.cluster(name).await?;
            ensure!(like(&object), "{object}");
            anyhow::Ok(object)
        })
        .await
    }

    /// Names, uids and marks of all RemoteClusters: what must not change when nothing is known.
    async fn all(&self) -> Result<Vec<Value>> {
        let all = self.stage.all_clusters().await?;
        let of = |item: &Value| json!([item["metadata"]["uid"], item["metadata"]["annotations"], item["spec"]]);
        Ok(all.values().map(of).collect())
    }
}

/// Found by their tags, served, and selected by the labels that their tags make.
pub(super) async fn clusters_with_a_tag_are_served_and_selected_by_their_tags() -> Result<()> {
    let management = management().await?;
    let (north, south) = (Site::north().await?, Site::south().await?);
    let account = Account::new(&management, "e-found", "222200000001").await?;
    let stage = &account.stage;
    let first = account.serving(&north, "prod", &[("mw-sync", "yes"), ("env", "prod")]).await?;
    let mut second = account.serving(&south, "Test_1", &[("mw-sync", "yes"), ("env", "test")]).await?;
    account.listed("eu-west-1", "other", &[("mw-sync", "no")]).await?;
    account.listed("eu-west-1", "bare", &[]).await?;
    account.listed("eu-west-3", "elsewhere", &[("mw-sync", "yes")]).await?;
    stage.source("all", "1").await?;
    stage.asking("prod", "1", json!({ "mw-sync.io/cluster-selector": "env=prod" })).await?;
    let eks = json!({ "tags": { "mw-sync": "yes" }, "labelsFromTags": ["env"] });
    let calls = account.asks(&["eu-west-1", "us-east-1"], eks, json!({}), 2, 2).await?;
    let count = |operation: &str, target: &str| {
        calls.iter().filter(|call| call.operation == operation && call.target == target).count()
    };
    // Each region once, and each cluster of them; whoever serves one asks for it again.
    assert_eq!((count("ListClusters", ""), count("DescribeCluster", "bare")), (2, 1));
    assert_eq!(count("DescribeCluster", "elsewhere"), 0);

    let names: Vec<_> = stage.all_clusters().await?.into_keys().collect();
    let [one, two] = &names[..] else { panic!("{names:?}") };
    assert!(*one == account.name(&first) && two.starts_with("test-1-us-east-1-222200000001-"), "{names:?}");
    for (name, env) in [(one, "prod"), (two, "test")] {
        stage.is(name, "Connected").await;
        let labels = json!({ "env": env, "mw-sync.io/discovered-by": "fleet" });
        assert_eq!(account.cluster(name).await?["metadata"]["labels"], labels);
    }
    for site in [&north, &south] {
        stage.copy_is(&site.server, "all", |_| true).await;
    }
    stage.copy_is(&north.server, "prod", |_| true).await;
    ensure!(api::get(&south.server, &stage.path("prod")).await?.is_none(), "env=test is not selected");

    // A tag is changed, and the label follows; so does what is selected by it.
    second.tags = Some(tags(&[("mw-sync", "yes"), ("env", "prod")]));
    stage.aws.cluster(&second).await?;
    stage.look("fleet").await?;
    stage.copy_is(&south.server, "prod", |_| true).await;

    // What is made is made again, and what a person sets on it stays.
    let uid = account.cluster(one).await?["metadata"]["uid"].clone();
    api::delete(&management, &api::remote_cluster(stage.name, one)).await?;
    account.until(one, "it is there again", |object| object["metadata"]["uid"] != uid).await;
    stage.change(two, json!({ "suspend": true })).await?;
    stage.relabel(two, json!({ "theirs": "x" })).await?;
    stage.is(two, "Suspended").await;
    stage.look("fleet").await?;
    let message = eventually(SOON, "it says that one is suspended", async || {
        let message = stage.discovers("fleet", "Listed", 2).await;
        ensure!(message.contains("1 are suspended"), "{message}");
        anyhow::Ok(message)
    })
    .await;
    println!("{message}");
    assert_eq!(account.cluster(two).await?["metadata"]["labels"]["theirs"], "x");
    stage.end(&account.master).await
}

/// More clusters than a page of ListClusters has; each waits for a person.
pub(super) async fn all_pages_of_a_list_are_read_and_new_ones_wait_for_approval() -> Result<()> {
    let management = management().await?;
    let north = Site::north().await?;
    let account = Account::new(&management, "e-pages", "222200000002").await?;
    let stage = &account.stage;
    for n in 0..230 {
        account.listed("eu-west-1", &format!("c-{n:03}"), &[]).await?;
    }
    let real = account.serving(&north, "z-real", &[]).await?;
    stage.source("one", "1").await?;
    let mark = stage.aws.mark().await?;
    let calls = account.asks(&["eu-west-1"], json!({}), json!({ "approval": "Manual" }), 231, 3).await?;
    assert_eq!(calls.iter().filter(|call| call.operation == "ListClusters").count(), 3);
    let message = eventually(SOON, "it says that all are suspended", async || {
        let message = stage.discovers("fleet", "Listed", 231).await;
        ensure!(message.contains("231 are suspended: set spec.suspend"), "{message}");
        anyhow::Ok(message)
    })
    .await;
    println!("{message}");
    let all = stage.all_clusters().await?;
    assert_eq!(all.len(), 231);
    assert!(all.values().all(|cluster| cluster["spec"]["suspend"] == true));
    // Names are all that was needed, and of a suspended one nothing is asked.
    assert!(stage.calls(mark).await?.iter().all(|call| call.operation != "DescribeCluster"));
    let name = account.name(&real);
    stage.is(&name, "Suspended").await;
    ensure!(api::get(&north.server, &stage.path("one")).await?.is_none(), "nobody has approved it");
    stage.change(&name, json!({ "suspend": false })).await?;
    stage.copy_is(&north.server, "one", |_| true).await;
    stage.end(&account.master).await
}

/// A listing that fails, in all or in part, is garbage, is empty or has lost many says of no cluster that it is gone.
pub(super) async fn what_is_not_listed_goes_after_a_day_and_never_by_a_list_that_fails() -> Result<()> {
    let management = management().await?;
    let account = Account::new(&management, "e-lost", "222200000003").await?;
    let stage = &account.stage;
    let mut clusters = Vec::new();
    for n in 0..5 {
        clusters.push(account.listed("eu-west-1", &format!("c-{n}"), &[("mw-sync", "yes")]).await?);
    }
    let regions = ["eu-west-1", "us-east-1"];
    account.discover(&regions, json!({ "tags": { "mw-sync": "yes" } }), json!({ "approval": "Manual" })).await?;
    stage.discovers("fleet", "Listed", 5).await;
    let before = account.all().await?;
    assert_eq!(before.len(), 5);

    let role = || account.role.arn.clone();
    let html = AwsFault { body: Some("<html>it works</html>"), ..AwsFault::new("ListClusters", role(), "", 200) };
    let odd = AwsFault {
        body: Some(r#"{"cluster":{}}"#),
        content_type: "application/json",
        ..AwsFault::new("DescribeCluster", "c-2", "", 200)
    };
    for (fault, reason) in [
        (AwsFault::new("ListClusters", role(), "AccessDeniedException", 403), "ListDenied"),
        (html, "AwsUnreachable"),
        (AwsFault::new("DescribeCluster", "c-1", "AccessDeniedException", 403), "DescribeDenied"),
        (odd, "WrongCluster"),
    ] {
        let fault = stage.aws.fault(&fault).await?;
        stage.look("fleet").await?;
        let message = stage.discovers("fleet", reason, 5).await;
        println!("{reason}: {message}");
        assert!(message.contains("no RemoteCluster is taken away"), "{message}");
        assert_eq!(account.all().await?, before, "{reason}");
        stage.aws.end_fault(fault).await?;
        stage.look("fleet").await?;
        stage.discovers("fleet", "Listed", 5).await;
    }
    // The list is empty, and then has lost two of five.
    for cluster in &clusters {
        stage.aws.delete_cluster(cluster).await?;
    }
    stage.look("fleet").await?;
    let message = stage.discovers("fleet", "ListShrunk", 0).await;
    assert!(message.contains("lacks 5 of 5 clusters"), "{message}");
    for cluster in &clusters[..3] {
        stage.aws.cluster(cluster).await?;
    }
    stage.look("fleet").await?;
    let message = stage.discovers("fleet", "ListShrunk", 3).await;
    assert!(message.contains("delete remotecluster c-3-eu-west-1-222200000003 c-4-"), "{message}");
    // But for the mark they are as they were.
    let bare = |all: Vec<Value>| all.into_iter().map(|one| json!([one[0], one[2]])).collect::<Vec<_>>();
    assert_eq!(bare(account.all().await?), bare(before));

    // With one more only one of five is lost, and still it does not go by itself: so many were lost at once.
    stage.aws.cluster(&clusters[3]).await?;
    stage.look("fleet").await?;
    let message = stage.discovers("fleet", "ListShrunk", 4).await;
    assert!(message.contains("lacks 1 of 5 clusters"), "{message}");
    let last = account.name(&clusters[4]);
    let is_held = |object: &Value| object["metadata"]["annotations"][SHRUNK].is_string();
    account.until(&last, "it is held", is_held).await;
    // Listed again it is as any other: one that goes alone.
    stage.aws.cluster(&clusters[4]).await?;
    stage.look("fleet").await?;
    stage.discovers("fleet", "Listed", 5).await;
    account.until(&last, "it is not held", |object| !is_held(object)).await;
    stage.aws.delete_cluster(&clusters[4]).await?;
    stage.look("fleet").await?;
    stage.discovers("fleet", "Listed", 4).await;
    let marked = |object: &Value| object["metadata"]["annotations"][SINCE].is_string();
    account.until(&last, "it is marked", marked).await;
    let events = ["-n", stage.name, "get", "events.events.k8s.io", "-o", "json"];
    eventually(SOON, "an Event says so", async || {
        let events = management.kubectl(&events).await?;
        ensure!(events.contains(r#""reason": "NotListed""#) && events.contains("deleted in 24 h"), "{events}");
        Ok(())
    })
    .await;
    // It is back, and gone again, for more than a day.
    stage.aws.cluster(&clusters[4]).await?;
    stage.look("fleet").await?;
    account.until(&last, "it is not marked", |object| object["metadata"]["annotations"][SINCE].is_null()).await;
    stage.aws.delete_cluster(&clusters[4]).await?;
    stage.look("fleet").await?;
    account.until(&last, "it is marked", marked).await;
    // Nobody has looked since: the day begins anew.
    let long_ago = "2026-01-01T00:00:00Z";
    let patch = json!({ "metadata": { "annotations": { SINCE: long_ago, AT: long_ago } } });
    api::merge(&management, &api::remote_cluster(stage.name, &last), &patch).await?;
    stage.look("fleet").await?;
    account.until(&last, "it is marked anew", |object| marked(object) && !object.to_string().contains(long_ago)).await;
    let message = stage.discovers("fleet", "Listed", 4).await;
    assert!(message.ends_with(&format!("; NotListed, and deleted 24 h after that began: {last}")), "{message}");
    let patch = json!({ "metadata": { "annotations": { SINCE: long_ago } } });
    api::merge(&management, &api::remote_cluster(stage.name, &last), &patch).await?;
    stage.look("fleet").await?;
    let left: Vec<_> = clusters[..4].iter().map(|cluster| account.name(cluster)).collect();
    stage.clusters_are(&left.iter().map(String::as_str).collect::<Vec<_>>()).await;
    stage.end(&account.master).await
}

/// What a person has made is left alone and comes first; what the discovery has made outlives it.
pub(super) async fn a_hand_made_remote_cluster_wins_and_a_discovery_that_goes_takes_nothing_along() -> Result<()> {
    let management = management().await?;
    let (north, south) = (Site::north().await?, Site::south().await?);
    let account = Account::new(&management, "e-hand", "222200000004").await?;
    let stage = &account.stage;
    let first = account.serving(&north, "one", &[]).await?;
    let second = account.serving(&south, "two", &[]).await?;
    stage.source("one", "1").await?;
    let spec = |eks: &EksCluster| json!({ "arn": eks.arn(), "roleArn": account.role.arn, "externalId": account.role.external_id });
    stage.add_eks("mine", stage.name, spec(&first)).await?;
    stage.is("mine", "Connected").await;
    account.discover(&["eu-west-1", "us-east-1"], json!({}), json!({})).await?;
    stage.discovers("fleet", "Listed", 2).await;
    let made = account.name(&second);
    stage.clusters_are(&["mine", &made]).await;
    stage.is(&made, "Connected").await;
    stage.copy_is(&north.server, "one", |_| true).await;
    let copy = stage.copy_is(&south.server, "one", |_| true).await;

    // Made by hand later: the discovered one goes, and its copies are taken on as they are.
    stage.add_eks("mine-too", stage.name, spec(&second)).await?;
    stage.clusters_are(&["mine", "mine-too"]).await;
    stage.is("mine-too", "Connected").await;
    stage.set("one", "2").await?;
    let after = stage.copy_is(&south.server, "one", |copy| value(copy) == "2").await;
    assert_eq!(after["metadata"]["uid"], copy["metadata"]["uid"]);

    // It goes again, and so does the discovery: what it had made stays, and is served.
    api::delete(&management, &api::remote_cluster(stage.name, "mine-too")).await?;
    stage.clusters_are(&["mine", &made]).await;
    stage.is(&made, "Connected").await;
    let uid = account.cluster(&made).await?["metadata"]["uid"].clone();
    api::delete(&management, &api::discovery(stage.name, "fleet")).await?;
    stage.set("one", "3").await?;
    let after = stage.copy_is(&south.server, "one", |copy| value(copy) == "3").await;
    assert_eq!(after["metadata"]["uid"], copy["metadata"]["uid"]);
    // One of its name goes on with them.
    account.discover(&["eu-west-1", "us-east-1"], json!({}), json!({})).await?;
    stage.discovers("fleet", "Listed", 2).await;
    assert_eq!(account.cluster(&made).await?["metadata"]["uid"], uid);
    stage.end(&account.master).await
}
