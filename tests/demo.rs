//! `cargo demo`: three clusters, one annotation, and what follows, with times.

// With the whole path: this file is a crate's root, and its modules have a folder of their own.
#[path = "demo/accounts.rs"]
mod accounts;
#[path = "demo/args.rs"]
mod args;
#[path = "demo/observed.rs"]
mod observed;
#[path = "demo/screen.rs"]
mod screen;
#[path = "demo/site.rs"]
mod site;
#[path = "demo/story.rs"]
mod story;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use args::Args;
use screen::{Screen, plain};
use story::Story;
use testbed::control_plane::ControlPlane;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// As a shell shows a process that SIGINT has ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let keep = match Args::parse(std::env::args().skip(1)) {
        Ok(Args::Run { keep }) => keep,
        Ok(Args::Help) => {
            let _gone = std::io::stdout().write_all(args::HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => return ends_with(2, &error),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return ends_with(1, &format!("no runtime: {error}")),
    };
    let result = runtime.block_on(async {
        let interrupted = interrupted()?;
        tokio::select! {
            biased;
            () = interrupted => {
                ends_with(INTERRUPTED, "stopping everything; once more ends it at once");
                Ok(ExitCode::from(INTERRUPTED))
            }
            result = run(keep) => result.map(|()| ExitCode::SUCCESS),
        }
    });
    // A build may still be under way on a thread of its own: nobody waits for it.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| ends_with(1, &format!("{error:#}")))
}

fn ends_with(code: u8, message: &str) -> ExitCode {
    let _gone = writeln!(std::io::stderr(), "demo: {message}");
    ExitCode::from(code)
}

async fn run(keep: bool) -> Result<()> {
    let screen = Screen::new();
    plain("secret-replicator-eks: annotate one object in one place, have it in every namespace of every cluster")?;
    let story = Story::begin(screen).await?;
    if let Err(error) = story.tell().await {
        return Err(story.failed(error).await);
    }
    screen.heading(format_args!("All of it was verified, in {:.0} s.", story.took().as_secs_f64()))?;
    if keep {
        stay(screen, &story).await?;
    }
    story.end().await;
    Ok(())
}

/// Says how to talk to the clusters, and stays until a signal, which ends all of this.
async fn stay(screen: Screen, story: &Story) -> Result<()> {
    let kubectl = ControlPlane::get().await?.kubectl;
    screen.heading("It is all still there, until you press Ctrl-C. In another terminal:")?;
    plain(format_args!("  alias kubectl={}", quoted(&kubectl.display().to_string())))?;
    for site in story.sites() {
        let file = site.cluster.admin_kubeconfig();
        plain(format_args!("  export KUBECONFIG={}    # {}", quoted(&file.display().to_string()), site.name))?;
    }
    plain("For example:")?;
    for example in [
        "kubectl -n operator annotate secret regcred mw_sec/sync=true --overwrite    # management",
        "kubectl get secrets -A -l mw-sync.io/source=regcred",
        "kubectl -n operator get remoteclusters                                      # management",
    ] {
        plain(format_args!("  {example}"))?;
    }
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Some((site, name)) = story.sites().find_map(|site| Some((site, site.ended()?))) {
            anyhow::bail!("the {name} of {} has ended\n{}", site.name, site.logs());
        }
    }
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_/.+".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Returns at the first signal that asks for an end. At the second the process ends: what still runs then, the testbed
/// cleans up all the same.
fn interrupted() -> Result<impl Future<Output = ()>> {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let signals: Result<Vec<Signal>, _> = kinds.into_iter().map(signal).collect();
    let mut signals = signals.context("cannot listen for signals")?;
    let (first, seen) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        any(&mut signals).await;
        let _ended = first.send(());
        any(&mut signals).await;
        end_now();
    });
    Ok(async move {
        let _sent = seen.await;
    })
}

async fn any(signals: &mut [Signal]) {
    futures::future::select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
}

// Whoever asks twice does not want to wait.
#[allow(clippy::exit)]
fn end_now() {
    std::process::exit(INTERRUPTED.into())
}
