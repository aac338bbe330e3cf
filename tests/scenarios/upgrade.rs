//! From the programs of another commit to these and back, with copies in place. It builds that commit, which takes minutes
//! the first time: `.ci/run` runs it by `--ignored`, and `MW_SYNC_TESTBED_UPGRADE_FROM` names another one than `HEAD~1`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Binaries, Cluster, ClusterOptions, Process, Requests, eventually};

use crate::master::stage::Stage;
use crate::support::{AGENT, Deployed, Kind, SOON, World, annotated, asking, version};

/// Namespaces of the remote cluster that have copies, besides those that every cluster has.
const NAMESPACES: [&str; 3] = ["one", "two", "three"];
/// Those, but for the source namespace.
const OF_EVERY_CLUSTER: usize = 4;
const MANIFESTS: [&str; 3] = ["master.yaml", "agent.yaml", "agent-service-accounts.yaml"];

struct Clusters<'c> {
    management: &'c Cluster,
    remote: &'c Cluster,
}

impl Clusters<'_> {
    /// Applies what a commit ships, and runs its programs.
    async fn run(&self, binaries: &Binaries, tree: &Path) -> Result<[Process; 2]> {
        for file in MANIFESTS {
            let path = tree.join("deploy").join(file);
            let path = path.to_str().context("a path of letters")?;
            let cluster = if file == "master.yaml" { self.management } else { self.remote };
            cluster.kubectl(&["apply", "-f", path]).await?;
        }
        let master = Deployed::of(self.management, "master").await?.with(&["--allow-addresses=127.0.0.1"]);
        let agent = Deployed::of(self.remote, "agent").await?;
        Ok([master.spawn_of(binaries, self.management).await?, agent.spawn_of(binaries, self.remote).await?])
    }

    /// The versions of everything that the two have written in the remote cluster.
    async fn versions(&self) -> Result<BTreeMap<String, String>> {
        let world = World::of(self.remote);
        let mut versions = BTreeMap::new();
        for uri in [
            "secrets?labelSelector=mw-sync.io/managed-by",
            "configmaps?labelSelector=mw-sync.io/managed-by",
            "serviceaccounts",
        ] {
            for object in world.list(&format!("/api/v1/{uri}")).await? {
                let (namespace, name) = (&object["metadata"]["namespace"], &object["metadata"]["name"]);
                versions.insert(format!("{uri}: {namespace}/{name}"), version(&object).to_owned());
            }
        }
        Ok(versions)
    }

    /// Waits until a source of the master has its copy in each namespace of the remote cluster.
    async fn everywhere(&self, kind: Kind, name: &str) {
        let world = World::of(self.remote);
        eventually(2 * SOON, format!("{name} is everywhere"), async || {
            let places = world.places(kind, name).await?;
            ensure!(places.len() == NAMESPACES.len() + OF_EVERY_CLUSTER, "{places:?}");
            Ok(())
        })
        .await;
    }
}

async fn end(processes: [Process; 2]) -> Result<()> {
    for process in processes {
        process.terminate();
        ensure!(process.wait_exit(SOON).await?.success(), "{}", process.log_tail(30));
    }
    Ok(())
}

/// Writes of what is copied, and where.
fn copied(requests: Requests) -> Requests {
    let kinds = ["secrets", "configmaps", "serviceaccounts"];
    requests.writes().filter(|entry| kinds.contains(&&*entry.resource) && entry.name != "mw-sync-agent")
}

/// Fields that a later version of the definitions might have.
async fn from_the_future(management: &Cluster) -> Result<()> {
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/future";
    let patch = json!([{ "op": "add", "path": path, "value": { "type": "string" } }]).to_string();
    management.kubectl(&["patch", "crd", "remoteclusters.mw-sync.io", "--type=json", "-p", &patch]).await?;
    eventually(SOON, "the field is known", async || {
        let set = ["-n", "operator", "patch", "rcl", "far", "--type=merge", "-p", r#"{"spec":{"future":"is bright"}}"#];
        management.kubectl(&set).await?;
        ensure!(future(management).await? == "is bright");
        Ok(())
    })
    .await;
    Ok(())
}

async fn future(management: &Cluster) -> Result<Value> {
    let world = World::of(management);
    Ok(world.get(Kind::RemoteCluster, "operator", "far").await?["spec"]["future"].take())
}

#[tokio::test]
#[ignore = "builds another commit, which takes minutes"]
async fn an_upgrade_and_the_way_back_write_nothing() -> Result<()> {
    let from = std::env::var("MW_SYNC_TESTBED_UPGRADE_FROM").unwrap_or_else(|_| "HEAD~1".to_owned());
    let (before, before_tree) = Binaries::build_at(&from).await?;
    let (now, tree) = (Binaries::build().await?, Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")));
    let start = || Cluster::start(ClusterOptions::default());
    let (management, remote) = tokio::try_join!(start(), start())?;
    let crds = before_tree.join("deploy/crds.yaml");
    management.kubectl(&["apply", "-f", crds.to_str().context("a path of letters")?]).await?;
    management.until_established().await;
    let stage = Stage::without_crd(&management, "operator").await?;
    let access = stage.prepare(&remote).await?;
    let clusters = Clusters { management: &management, remote: &remote };
    let (home, there) = (World::of(&management), World::of(&remote));
    for name in NAMESPACES {
        there.namespace(name).await?;
    }
    let data = json!({".dockerconfigjson": "e30="});
    let options = json!({
        "mw-sync.io/image-pull-secret": "default", "mw-sync.io/on-delete": "retain", "mw-sync.io/namespaces": "*,!none",
        "mw-sync.io/copy-annotations": "example.com/owner", "example.com/owner": "us"
    });
    let mut asks = asking(Kind::Secret, "asks", &data, &options);
    asks["type"] = "kubernetes.io/dockerconfigjson".into();
    asks["metadata"]["labels"] = json!({"team": "us"});
    home.create(&asks).await?;
    home.create(&annotated(Kind::Secret, "plain", &json!({"a": "MQ=="}))).await?;
    home.create(&annotated(Kind::ConfigMap, "plain", &json!({"a": "1"}))).await?;

    let processes = clusters.run(&before, &before_tree).await?;
    stage.join("far", &access).await?;
    for (kind, name) in [(Kind::Secret, "asks"), (Kind::Secret, "plain"), (Kind::ConfigMap, "plain")] {
        clusters.everywhere(kind, name).await;
    }
    for name in NAMESPACES {
        let account = (Kind::ServiceAccount, name, "default");
        there.until(account, "pulls with the copy", |account| account["imagePullSecrets"][0]["name"] == "asks").await;
    }
    end(processes).await?;
    management.kubectl(&["apply", "-f", "deploy/crds.yaml"]).await?;
    from_the_future(&management).await?;

    for (binaries, tree, next) in [(now, tree, "upgraded"), (&before, &*before_tree, "back")] {
        let versions = clusters.versions().await?;
        let mark = remote.audit().mark().await?;
        let processes = clusters.run(binaries, tree).await?;
        // Whatever an engine finds wrong at its start comes no later than this.
        home.create(&annotated(Kind::Secret, next, &json!({"a": "MQ=="}))).await?;
        clusters.everywhere(Kind::Secret, next).await;
        end(processes).await?;
        let requests = remote.audit().since(mark).await?;
        for (user, expected) in [(&*stage.remote_user(), 1), (AGENT, NAMESPACES.len() + OF_EVERY_CLUSTER)] {
            let writes = copied(requests.clone().user(user));
            assert_eq!(writes.count(), expected, "{next}: {user}: {:#?}", writes.counts());
            assert!(writes.entries().iter().all(|entry| entry.verb == "create"), "{:#?}", writes.counts());
        }
        let after = clusters.versions().await?;
        for (object, version) in versions {
            assert_eq!(after.get(&object), Some(&version), "{next}: {object}");
        }
        assert_eq!(future(&management).await?, "is bright");
    }
    management.stop().await;
    remote.stop().await;
    Ok(())
}
