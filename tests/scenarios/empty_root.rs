//! The images hold a program and what distroless brings, and nothing else. No container engine is needed to try that:
//! an empty folder as the root of a process, read-only, under the image's uid.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testbed::{Binaries, ClusterOptions, Process, eventually, shared};

use crate::master::stage::{Stage, end};
use crate::support::{Kind, SOON, World, annotated, install};

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

/// A folder with a program of ours, the libraries that it asks for and a kubeconfig, and nothing else.
struct Root {
    path: PathBuf,
    /// Where the program is in there.
    program: &'static str,
}

impl Root {
    fn new(path: PathBuf, from: &Path, program: &'static str, kubeconfig: &Path) -> Result<Self> {
        let libraries = libraries(from)?;
        let libraries = libraries.iter().map(|library| (library.as_path(), library.as_path()));
        for (from, to) in libraries.chain([(from, program.as_ref()), (kubeconfig, KUBECONFIG.as_ref())]) {
            let to = path.join(to.strip_prefix("/")?);
            std::fs::create_dir_all(to.parent().context("a folder")?)?;
            std::fs::copy(from, &to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
        }
        Ok(Self { path, program })
    }

    /// Runs the program with this folder as its root, which it cannot write to, as uid and gid 65532. The two namespaces
    /// let any user do that: the outer one mounts, the inner one has the uid.
    fn run(&self, args: &[&str]) -> Result<Process> {
        const SCRIPT: &str = r#"root=$1; shift
mount --bind "$root" "$root" && mount -o remount,ro,bind "$root" && cd "$root" &&
exec unshare --user --map-user=65532 --map-group=65532 --root="$root" --wd=/ "$@""#;
        let root = self.path.to_str().context("a path of letters")?;
        let outer = ["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh", root, self.program];
        Process::spawn("/usr/bin/unshare".as_ref(), outer.iter().chain(args), [("KUBECONFIG", KUBECONFIG)])
    }

    /// The controller, which says what is wrong with a flag, and has no capability.
    async fn controller(&self, args: &[&str]) -> Result<Process> {
        let wrong = self.run(&["--no-such-flag"])?;
        assert_eq!(wrong.wait_exit(SOON).await?.code(), Some(2), "{}", wrong.stderr());
        let process = self.run(args)?;
        eventually(SOON, "it has started, without any capability", async || {
            ensure!(process.stderr().contains(": started"), "{}", process.stderr());
            let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
            let none = status.lines().any(|line| line.starts_with("CapEff:") && line.ends_with("0000000000000000"));
            ensure!(none, "{status}");
            anyhow::Ok(())
        })
        .await;
        Ok(process)
    }
}

/// The agent does its work there, and says what is wrong with a flag.
#[tokio::test]
async fn the_agent_works_in_an_empty_root_that_it_cannot_write_to() -> Result<()> {
    let cluster = testbed::Cluster::start(ClusterOptions::default()).await?;
    let kubeconfig = install(&cluster).await?;
    let root = Root::new(cluster.dir().join("agent-root"), Binaries::build().await?.agent(), AGENT, &kubeconfig)?;
    let process = root.controller(&["--leader-elect"]).await?;
    let world = World::of(&cluster);
    world.create(&annotated(Kind::Secret, "confined", &json!({"a": "MQ=="}))).await?;
    world.until_data(Kind::Secret, "default", "confined", &json!({"a": "MQ=="})).await;
    // As `kubectl exec` runs it; what the agent has done it tells within 10 s.
    eventually(SOON, "the command says that it is everywhere", async || {
        let status = root.run(&["status"])?;
        ensure!(status.wait_exit(SOON).await?.code() == Some(0), "{}{}", status.stdout(), status.stderr());
        anyhow::Ok(())
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
    let root = Root::new(root, Binaries::build().await?.master(), MASTER, stage.kubeconfig_file())?;
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
