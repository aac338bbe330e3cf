//! The images hold a program and what distroless brings, and nothing else. No container engine is needed to try that:
//! an empty folder as the root of a process, read-only, under the image's uid.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testbed::{Binaries, ClusterOptions, Process};

use crate::support::{Kind, SOON, World, annotated, install};

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

/// Runs a program of ours with `root` as its root, which it cannot write to, as uid and gid 65532. The two namespaces
/// let any user do that: the outer one mounts, the inner one has the uid.
fn confined(root: &Path, program: &str, args: &[&str], env: &[(&str, &str)]) -> Result<Process> {
    const SCRIPT: &str = r#"root=$1; shift
mount --bind "$root" "$root" && mount -o remount,ro,bind "$root" && cd "$root" &&
exec unshare --user --map-user=65532 --map-group=65532 --root="$root" --wd=/ "$@""#;
    let root = root.to_str().context("a path of letters")?;
    let outer = ["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh", root, program];
    Process::spawn("/usr/bin/unshare".as_ref(), outer.iter().chain(args), env.iter().copied())
}

/// The agent does its work there, and says what is wrong with a flag.
#[tokio::test]
async fn the_agent_works_in_an_empty_root_that_it_cannot_write_to() -> Result<()> {
    let cluster = testbed::Cluster::start(ClusterOptions::default()).await?;
    let agent = Binaries::build().await?.agent();
    let root = cluster.dir().join("root");
    let program = "/usr/local/bin/agent";
    for (from, to) in libraries(agent)?
        .iter()
        .map(|library| (library.as_path(), library.as_path()))
        .chain([(agent, program.as_ref()), (install(&cluster).await?.as_path(), "/kubeconfig".as_ref())])
    {
        let to = root.join(to.strip_prefix("/")?);
        std::fs::create_dir_all(to.parent().context("a folder")?)?;
        std::fs::copy(from, &to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    }

    let wrong = confined(&root, program, &["--no-such-flag"], &[])?;
    assert_eq!(wrong.wait_exit(SOON).await?.code(), Some(2), "{}", wrong.stderr());
    let process = confined(&root, program, &["--leader-elect"], &[("KUBECONFIG", "/kubeconfig")])?;
    let world = World::of(&cluster);
    world.create(&annotated(Kind::Secret, "confined", &json!({"a": "MQ=="}))).await?;
    world.until_data(Kind::Secret, "default", "confined", &json!({"a": "MQ=="})).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
    let nothing = status.lines().filter(|line| line.starts_with("CapEff:") && line.ends_with("0000000000000000"));
    assert_eq!(nothing.count(), 1, "it has no capability:\n{status}");
    process.terminate();
    assert!(process.wait_exit(SOON).await?.success(), "{}", process.stderr());
    cluster.stop().await;
    Ok(())
}
