//! The programs of a control plane: built from Go modules once per version, or found in `KUBEBUILDER_ASSETS`.
//!
//! `tests/controlplane/` is a Go module with two binaries: kubectl, and etcd, kube-apiserver and kube-controller-manager
//! in one. The first build downloads and compiles Kubernetes: about 8 minutes on 2 cores, and one line of progress each
//! 10 seconds. The result is kept per version and content of that folder, see `cache.rs`.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Result, bail};

use crate::cache::{Build, has_go, say};

const GO_MOD: &str = include_str!("../controlplane/go.mod");
const GO_SUM: &str = include_str!("../controlplane/go.sum");
const SERVERS_GO: &str = include_str!("../controlplane/main.go");
const KUBECTL_GO: &str = include_str!("../controlplane/kubectl/main.go");

const SERVERS: [&str; 3] = ["etcd", "kube-apiserver", "kube-controller-manager"];
const KUBECTL: &str = "kubectl";

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    /// The store.
    pub etcd: PathBuf,
    /// The API server.
    pub kube_apiserver: PathBuf,
    /// Ends namespaces, collects garbage, makes ServiceAccounts.
    pub kube_controller_manager: PathBuf,
    /// The command-line client of the same version.
    pub kubectl: PathBuf,
}

impl ControlPlane {
    /// The programs of `KUBEBUILDER_ASSETS` if that is set, else our own build, which this waits for.
    ///
    /// # Errors
    /// If a prerequisite is missing or the build fails; the text says what to do.
    pub async fn get() -> Result<Self> {
        tokio::task::spawn_blocking(Self::get_blocking).await?
    }

    fn get_blocking() -> Result<Self> {
        static FOUND: Mutex<Option<ControlPlane>> = Mutex::new(None);
        // One thread builds, the others wait. A failure is tried again by the next, so a panic has left nothing wrong.
        let mut found = FOUND.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(found) = &*found {
            return Ok(found.clone());
        }
        let new = match std::env::var_os("KUBEBUILDER_ASSETS") {
            Some(dir) if !dir.is_empty() => Self::in_assets(Path::new(&dir))?,
            _ => Self::in_dir(&build()?),
        };
        Ok(found.insert(new).clone())
    }

    fn in_dir(dir: &Path) -> Self {
        Self {
            etcd: dir.join("etcd"),
            kube_apiserver: dir.join("kube-apiserver"),
            kube_controller_manager: dir.join("kube-controller-manager"),
            kubectl: dir.join(KUBECTL),
        }
    }

    fn in_assets(dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir)?;
        let mut new = Self::in_dir(&dir);
        for program in [&new.etcd, &new.kube_apiserver, &new.kubectl] {
            if !program.is_file() {
                bail!("KUBEBUILDER_ASSETS: there is no {}; unset it to build a control plane", program.display());
            }
        }
        if !new.kube_controller_manager.is_file() {
            say(format_args!("no kube-controller-manager in KUBEBUILDER_ASSETS: building one"));
            new.kube_controller_manager = Self::in_dir(&build()?).kube_controller_manager;
        }
        Ok(new)
    }
}

/// Kubernetes' version as go.mod has it, e.g. `v1.36.3`.
#[must_use]
pub fn version() -> &'static str {
    let line = GO_MOD.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "));
    line.expect("go.mod names k8s.io/kubernetes").trim()
}

/// The same without the patch, as EKS describes clusters, e.g. `1.36`.
#[must_use]
pub fn minor() -> Option<&'static str> {
    Some(version().trim_start_matches('v').rsplit_once('.')?.0)
}

/// What `/version` says: set by the linker, as Kubernetes' own build does; clients refuse to parse the default.
fn linker_flags() -> String {
    let mut parts = version().trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut flags = "-s -w".to_owned();
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        for (name, value) in [("gitVersion", version()), ("gitMajor", major), ("gitMinor", minor)] {
            flags.push_str(&format!(" -X {package}.{name}={value}"));
        }
    }
    flags
}

/// Returns the folder with the programs.
fn build() -> Result<PathBuf> {
    let flags = linker_flags();
    let name = format!("controlplane-{}", version());
    let content = [GO_MOD, GO_SUM, SERVERS_GO, KUBECTL_GO, &flags];
    let build = Build { what: "a Kubernetes control plane", name: &name, content: &content, seconds: 480 };
    build.folder(|dir| {
        check_go()?;
        build.go("controlplane", &flags, dir, "controlplane")?;
        for server in SERVERS {
            std::os::unix::fs::symlink("controlplane", dir.join(server))?;
        }
        build.go("controlplane/kubectl", &flags, dir, KUBECTL)
    })
}

fn check_go() -> Result<()> {
    if !has_go() {
        bail!(
            "the testbed builds a Kubernetes control plane and needs Go: install Go 1.21 or newer (newer ones fetch \
             the toolchain that go.mod names), or set KUBEBUILDER_ASSETS to a folder with {}",
            [&SERVERS[..], &[KUBECTL]].concat().join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn assets_are_taken_as_they_are_and_one_that_lacks_is_named() -> Result<()> {
        let scratch = Scratch::new()?;
        for program in ["etcd", "kube-apiserver", "kube-controller-manager"] {
            std::fs::write(scratch.path().join(program), "")?;
        }
        let error = ControlPlane::in_assets(scratch.path()).err().map(|error| error.to_string()).unwrap_or_default();
        let kubectl = scratch.path().join("kubectl");
        assert!(error.contains(&format!("there is no {}", kubectl.display())) && error.contains("unset it"), "{error}");
        std::fs::write(&kubectl, "")?;
        let all = ControlPlane::in_assets(scratch.path())?;
        let programs = [&all.etcd, &all.kube_apiserver, &all.kube_controller_manager, &all.kubectl];
        assert!(programs.iter().all(|program| program.parent() == Some(scratch.path())), "{all:?}");
        Ok(())
    }
}
