//! The programs of a control plane: built from Go modules once per version, or found in `KUBEBUILDER_ASSETS`.
//!
//! `tests/controlplane/` is a Go module whose one binary is etcd, kube-apiserver, kube-controller-manager and kubectl.
//! The first build downloads and compiles Kubernetes: about 8 minutes on 2 cores, and one line of progress each 10
//! seconds. The result is kept per version and content of that folder, outside the work tree, so that all clones and
//! `cargo clean` share it. Processes that want it at once wait for one build.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::{Start, workspace};

const GO_MOD: &str = include_str!("../controlplane/go.mod");
const GO_SUM: &str = include_str!("../controlplane/go.sum");
const MAIN_GO: &str = include_str!("../controlplane/main.go");

const PROGRAMS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"];
const PROGRESS: Duration = Duration::from_secs(10);

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
            kubectl: dir.join("kubectl"),
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
    let key = hash([GO_MOD, GO_SUM, MAIN_GO, &flags, std::env::consts::OS, std::env::consts::ARCH]);
    let name = format!("controlplane-{}-{key:016x}", version());
    let cache = cache_dir()?;
    let done = cache.join(&name);
    if done.is_dir() {
        return Ok(done);
    }
    fs::create_dir_all(&cache).with_context(|| format!("cannot make the cache folder {}", cache.display()))?;
    let lock = File::create(cache.join(format!("{name}.lock"))).context("cannot write to the cache folder")?;
    wait_for(&lock)?;
    if done.is_dir() {
        return Ok(done);
    }

    check_go()?;
    let unfinished = cache.join(format!("{name}.unfinished"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).context("cannot remove an unfinished build")?;
    }
    fs::create_dir(&unfinished)?;
    compile(&unfinished, &flags)?;
    for program in PROGRAMS {
        std::os::unix::fs::symlink("controlplane", unfinished.join(program))?;
    }
    fs::rename(&unfinished, &done).context("cannot put the finished build in its place")?;
    Ok(done)
}

fn compile(dir: &Path, flags: &str) -> Result<()> {
    let source = workspace().join("tests/controlplane");
    let binary = dir.join("controlplane");
    let mut start = Start::new("go", Path::new("go"), dir);
    start.working_dir = &source;
    start.inherit = true;
    // A Go setup with other settings must not change what is built. Without cgo no C compiler is needed.
    start.env = [("GOFLAGS", "-mod=readonly"), ("GOWORK", "off"), ("CGO_ENABLED", "0"), ("GOOS", ""), ("GOARCH", "")]
        .map(|(key, value)| (key.into(), value.into()))
        .into();
    let start =
        start.args(["build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o"]).args([&binary, Path::new(".")]);

    let version = version();
    let began = Instant::now();
    say(format_args!("building a Kubernetes {version} control plane; the first build takes about 8 minutes"));
    let go = start.spawn()?;
    let mut next = began + PROGRESS;
    while go.is_running() {
        std::thread::sleep(Duration::from_millis(100));
        if Instant::now() >= next {
            next += PROGRESS;
            let seconds = began.elapsed().as_secs();
            say(format_args!("building the control plane: {seconds} s (about 480 s the first time)"));
        }
    }
    if !go.exit_status().is_some_and(|status| status.success()) {
        bail!("the control plane could not be built:\n{}", go.log_tail(40));
    }
    say(format_args!("built the control plane in {} s", began.elapsed().as_secs()));
    drop(go);
    for output in ["go.out", "go.err"] {
        fs::remove_file(dir.join(output))?;
    }
    Ok(())
}

fn check_go() -> Result<()> {
    let found = Command::new("go").arg("version").output().is_ok_and(|output| output.status.success());
    if !found {
        bail!(
            "the testbed builds a Kubernetes control plane and needs Go: install Go 1.21 or newer (newer ones fetch \
             the toolchain that go.mod names), or set KUBEBUILDER_ASSETS to a folder with {}",
            PROGRAMS.join(", ")
        );
    }
    Ok(())
}

fn wait_for(lock: &File) -> Result<()> {
    let began = Instant::now();
    let mut next = began;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                return Err(error).context("cannot lock the cache folder");
            }
        }
        if Instant::now() >= next {
            next += PROGRESS;
            let seconds = began.elapsed().as_secs();
            say(format_args!("another process builds the control plane: waiting for it, {seconds} s"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn cache_dir() -> Result<PathBuf> {
    let set = |key: &str| std::env::var_os(key).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    if let Some(dir) = set("MW_SYNC_TESTBED_CACHE") {
        return Ok(std::path::absolute(dir)?);
    }
    let user = set("XDG_CACHE_HOME").filter(|dir| dir.is_absolute());
    let user = user.or_else(|| set("HOME").map(|home| home.join(".cache")));
    let user = user.context("neither HOME nor MW_SYNC_TESTBED_CACHE is set: no place to keep the control plane")?;
    Ok(user.join("secret-replicator-eks"))
}

/// FNV-1a: names a cache folder, and stays the same in each version of Rust.
fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = parts.into_iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Past the test runner, which would keep `eprintln!` to itself until a test fails.
fn say(line: std::fmt::Arguments<'_>) {
    drop(writeln!(std::io::stderr(), "testbed: {line}"));
}
