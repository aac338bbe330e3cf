//! Child processes whose output is kept and which never outlive the test process.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};

use crate::reaper;
use crate::scratch::Scratch;

/// Pause between two looks at whether a process has ended.
const PAUSE: Duration = Duration::from_millis(10);
/// How much of a log is shown when a test fails.
const TAIL: usize = 60;

/// What the child sees of our environment. Everything else would make a test depend on who runs it: a proxy, a
/// kubeconfig, AWS credentials. `LLVM_PROFILE_FILE` lets coverage be measured.
const INHERITED: [&str; 3] = ["PATH", "TMPDIR", "LLVM_PROFILE_FILE"];

/// A running program.
///
/// Its output goes to files, shown if the test that owns the value fails. It is killed when the value is dropped; and
/// when the test process ends without that, by whatever, a small shell that outlives it kills the process and removes
/// its files.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    child: Mutex<Child>,
    stdout: PathBuf,
    stderr: PathBuf,
    shown_on_failure: bool,
    forgotten: AtomicBool,
    /// Present if the output files are nobody else's.
    scratch: Option<Scratch>,
}

/// How to start a [`Process`], with all that only the testbed itself sets.
pub(crate) struct Start<'a> {
    pub(crate) name: &'a str,
    pub(crate) program: &'a Path,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Inherit the whole environment.
    pub(crate) inherit: bool,
    /// Where the output files are.
    pub(crate) dir: &'a Path,
    pub(crate) working_dir: &'a Path,
    pub(crate) stdin: Option<Vec<u8>>,
    pub(crate) shown_on_failure: bool,
}

impl<'a> Start<'a> {
    /// Output goes to `<name>.out` and `<name>.err` in `dir`, which is also `HOME`.
    pub(crate) fn new(name: &'a str, program: &'a Path, dir: &'a Path) -> Self {
        let (args, env) = (Vec::new(), vec![("HOME".into(), dir.into())]);
        let working_dir = workspace();
        Self { name, program, args, env, inherit: false, dir, working_dir, stdin: None, shown_on_failure: false }
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn spawn(self) -> Result<Process> {
        let stdout = self.dir.join(format!("{}.out", self.name));
        let stderr = self.dir.join(format!("{}.err", self.name));
        let append = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            file.with_context(|| format!("cannot write {}", path.display()))
        };
        let mut command = Command::new("sh");
        command.args(["-c", reaper::GATE]).arg(self.program).args(&self.args);
        if !self.inherit {
            command.env_clear().envs(INHERITED.iter().filter_map(|key| Some((key, std::env::var_os(key)?))));
        }
        command.envs(self.env).current_dir(self.working_dir).process_group(0);
        command.stdin(Stdio::piped()).stdout(append(&stdout)?).stderr(append(&stderr)?);
        let mut child = command.spawn().with_context(|| format!("cannot run sh to start {}", self.name))?;
        let pid = child.id();
        let gate = child.stdin.take();
        let process = Process {
            name: self.name.to_owned(),
            pid,
            child: Mutex::new(child),
            stdout,
            stderr,
            shown_on_failure: self.shown_on_failure,
            forgotten: AtomicBool::new(false),
            scratch: None,
        };
        reaper::watch(pid)?;
        let mut gate = gate.context("no pipe to the child")?;
        gate.write_all(b"go\n").with_context(|| format!("{} ended at once", self.name))?;
        if let Some(input) = self.stdin {
            // On a thread, because a pipe takes 64 KiB and the child may want an answer from us first. A child that
            // does not read to the end is its own affair.
            std::thread::spawn(move || drop(gate.write_all(&input)));
        }
        Ok(process)
    }
}

impl Process {
    /// Starts `program` with `args` and `env`; of our own environment it sees `PATH` and `TMPDIR`, and `HOME` is an
    /// empty folder. Its working folder is the workspace's root, so paths such as `deploy/agent.yaml` work.
    ///
    /// # Errors
    /// If the program cannot be started. A program that is missing or ends at once shows as exit status 126 or 127.
    pub fn spawn(
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        env: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> Result<Self> {
        let scratch = Scratch::new()?;
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
        let mut start = Start::new(&name, program, scratch.path()).args(args);
        start.env.push(("RUST_BACKTRACE".into(), "1".into()));
        // Many of ours run at once, and each would have port 8080: one that is free, as its log says.
        start.env.push(("MW_SYNC_LISTEN".into(), "127.0.0.1:0".into()));
        start.env.push(("MW_SYNC_STATUS_LISTEN".into(), "127.0.0.1:0".into()));
        start.env.extend(env.into_iter().map(|(key, value)| (key.as_ref().to_owned(), value.as_ref().to_owned())));
        start.shown_on_failure = true;
        let mut process = start.spawn()?;
        process.scratch = Some(scratch);
        Ok(process)
    }

    /// The program's pid, which is also its process group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The program's file name, or what the component is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends SIGTERM, unless it has ended.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGINT, as Ctrl-C does, unless it has ended.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends SIGKILL, unless it has ended.
    pub fn kill9(&self) {
        self.signal(Signal::KILL);
    }

    /// Sends SIGSTOP: the process and its connections stay, and nothing answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Sends SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let mut child = self.lock();
        // Until it is waited for, a pid is nobody else's.
        if matches!(child.try_wait(), Ok(None))
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        let status = self.lock().try_wait().ok().flatten()?;
        // From now on the pid may be another process's.
        if !self.forgotten.swap(true, Ordering::Relaxed) {
            reaper::forget(self.pid);
        }
        Some(status)
    }

    /// Waits for it to end.
    ///
    /// # Errors
    /// If it still runs after `deadline`.
    pub async fn wait_exit(&self, deadline: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + deadline;
        loop {
            match self.exit_status() {
                Some(status) => return Ok(status),
                None if Instant::now() >= end => {
                    bail!("{} still runs after {deadline:?}", self.name)
                }
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// The same for places that cannot await; says whether it ended.
    pub(crate) fn wait_exit_blocking(&self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        while self.is_running() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
        true
    }

    /// SIGTERM, and SIGKILL after `grace`.
    pub(crate) fn stop_blocking(&self, grace: Duration) {
        self.terminate();
        if !self.wait_exit_blocking(grace) {
            self.kill9();
            self.wait_exit_blocking(grace);
        }
    }

    /// What it has written to its standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read_from(&self.stdout, 0)
    }

    /// What it has written to its standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read_from(&self.stderr, 0)
    }

    pub(crate) fn remove_output(&self) {
        drop(std::fs::remove_file(&self.stdout));
        drop(std::fs::remove_file(&self.stderr));
    }

    /// The last lines of both outputs, under a heading that names the process and its state.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let state =
            self.exit_status().map_or_else(|| format!("running, pid {}", self.pid), |status| status.to_string());
        let mut text = format!("---- {} ({state})\n", self.name);
        for path in [&self.stdout, &self.stderr] {
            text.push_str(&tail(path, lines));
        }
        text
    }

    /// Resident memory, in bytes.
    ///
    /// # Errors
    /// If the process is gone, or the system has no `/proc`.
    pub fn rss(&self) -> Result<u64> {
        self.status_field("VmRSS:")
    }

    /// The most memory that was ever resident, in bytes.
    ///
    /// # Errors
    /// If the process is gone, or the system has no `/proc`.
    pub fn peak_rss(&self) -> Result<u64> {
        self.status_field("VmHWM:")
    }

    /// Processor time it has used, user and system, of all threads.
    ///
    /// # Errors
    /// If the process is gone, or the system has no `/proc`.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.pid);
        let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        // proc_pid_stat(5): fields 14 and 15, utime and stime; the second field may hold anything, in parentheses.
        let after_name = stat.rsplit_once(')').context("unexpected text in /proc")?.1;
        let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        let per_second = u32::try_from(rustix::param::clock_ticks_per_second())?;
        Ok(f64::from(ticks) / f64::from(per_second))
    }

    fn status_field(&self, field: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid);
        let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let line = line.with_context(|| format!("{} has ended", self.name))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    fn lock(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.shown_on_failure && std::thread::panicking() {
            eprintln!("{}", self.log_tail(TAIL));
        }
        self.kill9();
        self.wait_exit_blocking(Duration::from_secs(10));
    }
}

/// The workspace's root, the working folder of all processes.
pub(crate) fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// The last `lines` lines of a file, of its last 64 KiB.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let length = std::fs::metadata(path).map_or(0, |meta| meta.len());
    let text = read_from(path, length.saturating_sub(64 << 10));
    let skipped = text.lines().count().saturating_sub(lines);
    text.lines().skip(skipped).fold(String::new(), |mut tail, line| {
        tail.push_str(line);
        tail.push('\n');
        tail
    })
}

fn read_from(path: &Path, offset: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| std::io::copy(&mut file, &mut bytes));
        // What could be read is better than nothing.
        drop(read);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
