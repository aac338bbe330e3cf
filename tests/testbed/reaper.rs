//! Nothing outlives the test process.
//!
//! Destructors do not run for statics, on SIGKILL, on Ctrl-C or on `abort`. So each test process has one shell as a
//! reaper: it reads from a pipe what is running and which folders are in use, and when the pipe closes, by whatever
//! ended the test process, it kills the former and removes the latter. A shell, because it has to work from
//! `cargo test`, `cargo bench` and the demo alike, with whichever control plane.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Result, ensure};

/// `+ PID` and `- PID`: a process group started, ended. `d PATH`: a folder to remove in the end.
///
/// The reaper has a process group of its own, so Ctrl-C does not reach it; the traps are for whoever signals it.
/// A folder may get files while its processes die, hence the repetitions.
const SCRIPT: &str = r#"
trap '' INT TERM HUP QUIT
set -f
pids= dirs=
while read -r what which; do
  case $what in
  +) pids="$pids $which" ;;
  -) kept=
     for pid in $pids; do [ "$pid" = "$which" ] || kept="$kept $pid"; done
     pids=$kept ;;
  d) dirs="$dirs$which
" ;;
  esac
done
for pid in $pids; do kill -s KILL -- "-$pid" 2>/dev/null; done
IFS='
'
for dir in $dirs; do
  tries=0
  while [ -e "$dir" ] && [ "$tries" -lt 100 ]; do
    rm -rf -- "$dir" 2>/dev/null || sleep 0.1
    tries=$((tries + 1))
  done
done
"#;

/// What each started program is first: a shell that waits for a line, which is sent once the reaper knows its pid, and
/// then becomes the program (same pid). If the test process dies before, the shell reads the end of the pipe and goes.
pub(crate) const GATE: &str = r#"read -r go && exec "$0" "$@""#;

/// Tells the reaper of a process group.
pub(crate) fn watch(pid: u32) -> Result<()> {
    tell(&format!("+ {pid}\n"))
}

/// Tells the reaper that a process group is gone.
pub(crate) fn forget(pid: u32) {
    // A reaper that is gone has nothing to forget.
    drop(tell(&format!("- {pid}\n")));
}

/// Tells the reaper of a folder that must go with the test process.
pub(crate) fn remove_at_exit(dir: &Path) -> Result<()> {
    let dir = dir.to_str().context("the temporary folder's path is not UTF-8")?;
    ensure!(!dir.contains('\n'), "the temporary folder's path has a line break in it");
    tell(&format!("d {dir}\n"))
}

fn tell(line: &str) -> Result<()> {
    static REAPER: OnceLock<Mutex<Option<ChildStdin>>> = OnceLock::new();
    let mut pipe = REAPER.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let pipe = match &mut *pipe {
        Some(pipe) => pipe,
        none => none.insert(start()?),
    };
    pipe.write_all(line.as_bytes()).context("the testbed's reaper process is gone")
}

fn start() -> Result<ChildStdin> {
    let mut reaper = Command::new("sh")
        .args(["-c", SCRIPT, "testbed-reaper"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot run sh, which the testbed cleans up with")?;
    reaper.stdin.take().context("the reaper has no pipe")
}
