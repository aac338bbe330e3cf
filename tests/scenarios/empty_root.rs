//! The images hold a program and what distroless brings, and nothing else. No container engine is needed to try that:
//! an empty folder as the root of a process, read-only, under the image's uid.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use serde_json::json;
use testbed::{Binaries, Cluster, ClusterOptions, Process, eventually, shared};

use crate::master::stage::{Stage, end};
use crate::support::{Kind, SOON, World, annotated, code, install, uid};

/// Where the images have them.
const AGENT: &str = "/usr/local/bin/agent";
const MASTER: &str = "/usr/local/bin/master";
const KUBECONFIG: &str = "/kubeconfig";

/// Libraries that gcr.io/distroless/cc-debian12 has, less those that nobody should need: its OpenSSL, C++, OpenMP.
const BASE: [&str; 4] = ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux"];

/// The shared libraries that a program asks for, as paths on this machine.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let listed = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    ensure!(listed.status.success(), "ldd {}: {}", program.display(), String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout)?;
    Ok(listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

#[tokio::test]
async fn programs_need_no_library_that_the_base_image_lacks() -> Result<()> {
    let binaries = Binaries::build().await?;
    for program in [binaries.agent(), binaries.master()] {
        let libraries = libraries(program)?;
        assert!(!libraries.is_empty(), "this test reads ldd wrongly");
        for library in libraries {
            let name = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
            assert!(BASE.iter().any(|base| name.starts_with(base)), "{} needs {name}", program.display());
        }
    }
    Ok(())
}

/// A folder with a program of ours, the libraries that it asks for and its access to a cluster, and nothing else.
struct Root {
    path: PathBuf,
    /// Where the program is in there.
    program: &'static str,
    env: Vec<(&'static str, String)>,
}

impl Root {
    fn new(path: PathBuf, from: &Path, program: &'static str) -> Result<Self> {
        let root = Self { path, program, env: Vec::new() };
        for library in libraries(from)? {
            root.bring(&library, &library)?;
        }
        root.bring(from, program.as_ref())?;
        Ok(root)
    }

    /// Where a file of it is on this machine.
    fn at(&self, path: &Path) -> Result<PathBuf> {
        let path = self.path.join(path.strip_prefix("/")?);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        Ok(path)
    }

    fn bring(&self, from: &Path, to: &Path) -> Result<()> {
        let to = self.at(to)?;
        std::fs::copy(from, &to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
        Ok(())
    }

    fn with_kubeconfig(mut self, kubeconfig: &Path) -> Result<Self> {
        self.bring(kubeconfig, KUBECONFIG.as_ref())?;
        self.env = vec![("KUBECONFIG", KUBECONFIG.to_owned())];
        Ok(self)
    }

    /// What the kubelet gives to a pod.
    fn with_account(mut self, cluster: &Cluster, token: &str) -> Result<Self> {
        self.account("ca.crt", cluster.ca_pem())?;
        self.account("namespace", "operator")?;
        self.account("token", token)?;
        let port = cluster.server_addr().port().to_string();
        self.env = vec![("KUBERNETES_SERVICE_HOST", "127.0.0.1".to_owned()), ("KUBERNETES_SERVICE_PORT", port)];
        Ok(self)
    }

    fn account(&self, file: &str, text: &str) -> Result<()> {
        let path = format!("/var/run/secrets/kubernetes.io/serviceaccount/{file}");
        std::fs::write(self.at(path.as_ref())?, text).with_context(|| path)
    }

    /// Runs the program with this folder as its root, which it cannot write to, as uid and gid 65532. The two namespaces
    /// let any user do that: the outer one mounts, the inner one has the uid.
    fn run(&self, args: &[&str]) -> Result<Process> {
        const SCRIPT: &str = r#"root=$1; shift
mount --bind "$root" "$root" && mount -o remount,ro,bind "$root" && cd "$root" &&
exec unshare --user --map-user=65532 --map-group=65532 --root="$root" --wd=/ "$@""#;
        let root = self.path.to_str().context("a path of letters")?;
        let outer = ["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh", root, self.program];
        Process::spawn("/usr/bin/unshare".as_ref(), outer.iter().chain(args), self.env.iter().cloned())
    }

    /// The controller, which says what is wrong with a flag, and has no capability.
    async fn controller(&self, args: &[&str]) -> Result<Process> {
        let wrong = self.run(&["--no-such-flag"])?;
        assert_eq!(wrong.wait_exit(SOON).await?.code(), Some(2), "{}", wrong.stderr());
        let process = self.run(args)?;
        eventually(SOON, "it has started, without any capability", async || {
            ensure!(process.stderr().contains("started"), "{}", process.stderr());
            let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
            let none = status.lines().any(|line| line.starts_with("CapEff:") && line.ends_with("0000000000000000"));
            ensure!(none, "{status}");
            anyhow::Ok(())
        })
        .await;
        Ok(process)
    }
}

/// A token of the agent's account that is good for as long as this Secret is there.
async fn token_bound_to(world: &World, secret: &str) -> Result<String> {
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret, "namespace": "operator"}});
    let made = world.create(&object).await?;
    let bound = json!({"apiVersion": "v1", "kind": "Secret", "name": secret, "uid": uid(&made)});
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": [], "boundObjectRef": bound},
    });
    let path = "/api/v1/namespaces/operator/serviceaccounts/mw-sync-agent/token";
    let answer = world.send(Method::POST, path, "application/json", &request).await?;
    answer["status"]["token"].as_str().map(str::to_owned).context("no token")
}

/// The agent does its work there with what a pod is given, whose token the kubelet changes, and says what is wrong with a
/// flag.
#[tokio::test]
async fn the_agent_works_as_a_pod_in_an_empty_root_that_it_cannot_write_to() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let world = World::of(&cluster);
    install(&cluster).await?;
    let token = token_bound_to(&world, "first").await?;
    let root = Root::new(cluster.dir().join("agent-root"), Binaries::build().await?.agent(), AGENT)?;
    let root = root.with_account(&cluster, &token)?;
    let process = root.controller(&["--leader-elect"]).await?;
    world.create(&annotated(Kind::Secret, "confined", &json!({"a": "MQ=="}))).await?;
    world.until_data(Kind::Secret, "default", "confined", &json!({"a": "MQ=="})).await;
    // As `kubectl exec` runs it; what the agent has done it tells within 10 s.
    eventually(SOON, "the command says that it is everywhere", async || {
        let status = root.run(&["status"])?;
        ensure!(status.wait_exit(SOON).await?.code() == Some(0), "{}{}", status.stdout(), status.stderr());
        anyhow::Ok(())
    })
    .await;

    // The kubelet changes the token before it has expired.
    root.account("token", &token_bound_to(&world, "second").await?)?;
    world.delete(Kind::Secret, "operator", "first").await?;
    let old = World::with(&cluster, &cluster.access_with_token("old", &token));
    eventually(SOON, "the old token is good for nothing", async || match old.all(Kind::Secret).await {
        Err(error) if code(&error) == Some(401) => Ok(()),
        other => bail!("{other:?}"),
    })
    .await;
    world.merge(Kind::Secret, "operator", "confined", &json!({"data": {"a": "Mg=="}})).await?;
    eventually(2 * SOON, "the agent goes on with the new one, which is read every minute", async || {
        let copy = world.get(Kind::Secret, "default", "confined").await?;
        ensure!(copy["data"]["a"] == "Mg==", "{copy:#}");
        Ok(())
    })
    .await;
    process.terminate();
    assert!(process.wait_exit(SOON).await?.success(), "{}", process.stderr());
    cluster.stop().await;
    Ok(())
}

/// The master connects from there, and writes what it finds: that the cluster is its own.
#[tokio::test]
async fn the_master_works_in_an_empty_root_that_it_cannot_write_to() -> Result<()> {
    let cluster = shared("management").await?;
    let stage = Stage::new(&cluster, "m-root").await?;
    let root = cluster.dir().join("master-root");
    let root = Root::new(root, Binaries::build().await?.master(), MASTER)?.with_kubeconfig(stage.kubeconfig_file())?;
    let source = ["--source-namespace=m-root", "--allow-addresses=127.0.0.1"];
    let master = root.controller(&[&source[..], &["--leader-elect", "--cluster-name=root"]].concat()).await?;
    stage.kubeconfig("self", &stage.prepare(&cluster).await?.to_yaml()).await?;
    stage.remote_cluster("self").await?;
    stage.is("self", "SelfReference").await;
    let status = root.run(&[source[0], "status"])?;
    assert_eq!(status.wait_exit(SOON).await?.code(), Some(1), "{}{}", status.stdout(), status.stderr());
    assert!(status.stdout().contains("SelfReference"), "{}", status.stdout());
    end(&master).await
}
