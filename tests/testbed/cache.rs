//! What the testbed builds once and keeps outside the work tree, so that all clones and `cargo clean` share it.
//!
//! A build is named by its content. Processes that want the same one at once wait for one of them to make it.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::{Start, workspace};

const PROGRESS: Duration = Duration::from_secs(10);

/// Something that is built.
pub(crate) struct Build<'a> {
    /// For people: `the control plane`.
    pub(crate) what: &'a str,
    /// First part of the folder's name, e.g. with a version.
    pub(crate) name: &'a str,
    /// All that decides what comes out.
    pub(crate) content: &'a [&'a str],
    /// About how long it takes, for people.
    pub(crate) seconds: u64,
}

impl Build<'_> {
    /// The folder with the result; `make` fills a new one, if there is none yet.
    pub(crate) fn folder(&self, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        self.folder_in(&cache_dir()?, make)
    }

    fn folder_in(&self, cache: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let machine = [std::env::consts::OS, std::env::consts::ARCH];
        let key = hash(self.content.iter().copied().chain(machine));
        let name = format!("{}-{key:016x}", self.name);
        let done = cache.join(&name);
        if done.is_dir() {
            return Ok(done);
        }
        fs::create_dir_all(cache).with_context(|| format!("cannot make the cache folder {}", cache.display()))?;
        let lock = File::create(cache.join(format!("{name}.lock"))).context("cannot write to the cache folder")?;
        self.wait_for(&lock)?;
        if done.is_dir() {
            return Ok(done);
        }
        let unfinished = cache.join(format!("{name}.unfinished"));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).context("cannot remove an unfinished build")?;
        }
        fs::create_dir(&unfinished)?;
        let Self { what, seconds, .. } = self;
        let began = Instant::now();
        say(format_args!("building {what}; the first time it takes about {}", spoken(*seconds)));
        make(&unfinished)?;
        fs::rename(&unfinished, &done).context("cannot put the finished build in its place")?;
        say(format_args!("built {what} in {} s", began.elapsed().as_secs()));
        Ok(done)
    }

    /// Runs a step of the build to its end, with a line of progress now and then. Its output goes to files in its
    /// folder, and away if it succeeds.
    pub(crate) fn run(&self, step: Start<'_>) -> Result<()> {
        let Self { what, seconds, .. } = self;
        let dir = step.dir;
        let began = Instant::now();
        let process = step.spawn()?;
        let mut next = began + PROGRESS;
        while process.is_running() {
            std::thread::sleep(Duration::from_millis(100));
            if Instant::now() >= next {
                next += PROGRESS;
                let passed = began.elapsed().as_secs();
                say(format_args!("building {what}: {passed} s (about {seconds} s the first time)"));
            }
        }
        if !process.exit_status().is_some_and(|status| status.success()) {
            bail!("{what} could not be built:\n{}", process.log_tail(40));
        }
        for output in ["out", "err"] {
            fs::remove_file(dir.join(format!("{}.{output}", process.name())))?;
        }
        Ok(())
    }

    /// Builds the Go program of `source`, a folder below `tests/`, as `binary` in `dir`.
    pub(crate) fn go(&self, source: &str, linker_flags: &str, dir: &Path, binary: &str) -> Result<()> {
        let source = workspace().join("tests").join(source);
        let binary = dir.join(binary);
        let mut start = Start::new("go", Path::new("go"), dir);
        start.working_dir = &source;
        start.inherit = true;
        // A Go setup with other settings must not change what is built. Without cgo no C compiler is needed.
        start.env =
            [("GOFLAGS", "-mod=readonly"), ("GOWORK", "off"), ("CGO_ENABLED", "0"), ("GOOS", ""), ("GOARCH", "")]
                .map(|(key, value)| (key.into(), value.into()))
                .into();
        let args = ["build", "-trimpath", "-buildvcs=false", "-ldflags", linker_flags, "-o"];
        self.run(start.args(args).args([&binary, Path::new(".")]))
    }

    fn wait_for(&self, lock: &File) -> Result<()> {
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
                say(format_args!("another process builds {}: waiting for it, {seconds} s", self.what));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Whether there is a Go; what to do without one depends on what it is for.
pub(crate) fn has_go() -> bool {
    Command::new("go").arg("version").output().is_ok_and(|output| output.status.success())
}

fn spoken(seconds: u64) -> String {
    if seconds < 120 { format!("{seconds} s") } else { format!("{} minutes", seconds / 60) }
}

fn cache_dir() -> Result<PathBuf> {
    let set = |key: &str| std::env::var_os(key).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    if let Some(dir) = set("MW_SYNC_TESTBED_CACHE") {
        return Ok(std::path::absolute(dir)?);
    }
    let user = set("XDG_CACHE_HOME").filter(|dir| dir.is_absolute());
    let user = user.or_else(|| set("HOME").map(|home| home.join(".cache")));
    let user = user.context("neither HOME nor MW_SYNC_TESTBED_CACHE is set: no place to keep what is built")?;
    Ok(user.join("secret-replicator-eks"))
}

/// FNV-1a: names a cache folder, and stays the same in each version of Rust.
fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = parts.into_iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Past the test runner, which would keep `eprintln!` to itself until a test fails.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    drop(writeln!(std::io::stderr(), "testbed: {line}"));
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::scratch::Scratch;

    /// A lock is of whoever has opened the file, so that two threads here are as two processes.
    #[test]
    fn of_two_that_want_it_at_once_one_builds_and_what_somebody_left_unfinished_is_built_anew() -> Result<()> {
        let scratch = Scratch::new()?;
        let build = Build { what: "a thing", name: "thing", content: &["1"], seconds: 1 };
        let failed = build.folder_in(scratch.path(), |dir| {
            fs::write(dir.join("half"), "")?;
            bail!("killed")
        });
        assert!(failed.is_err());
        let (builds, together) = (AtomicU32::new(0), Barrier::new(2));
        let want = || {
            together.wait();
            build.folder_in(scratch.path(), |dir| {
                assert!(!dir.join("half").exists(), "what was left unfinished is used");
                builds.fetch_add(1, Ordering::SeqCst);
                // Long enough that the other one wants it too.
                std::thread::sleep(Duration::from_millis(300));
                Ok(fs::write(dir.join("whole"), "")?)
            })
        };
        let folders = std::thread::scope(|scope| {
            let both = [scope.spawn(want), scope.spawn(want)];
            both.map(|one| one.join().expect("no panic"))
        });
        let [first, second] = folders;
        let (first, second) = (first?, second?);
        assert_eq!((&first, builds.load(Ordering::SeqCst)), (&second, 1));
        assert!(first.join("whole").is_file());
        // Other content is another build.
        let other = Build { content: &["2"], ..build }.folder_in(scratch.path(), |_| Ok(()))?;
        assert!(other != first && !other.join("whole").exists());
        Ok(())
    }
}
