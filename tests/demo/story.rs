//! What the demo shows, step by step, each of them checked.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::{join_all, try_join_all};
use testbed::{Aws, Binaries, control_plane};
use tokio::time::sleep;

use crate::accounts::Accounts;
use crate::observed::{Observed, Seen};
use crate::screen::{Screen, output};
use crate::site::{DEADLINE, SECRET, SOURCES, Site, shown};

/// The clusters, and what is done with them.
#[derive(Debug)]
pub(crate) struct Story {
    screen: Screen,
    began: Instant,
    management: Site,
    remotes: Vec<Site>,
    /// Last: the remote clusters ask it who comes in.
    accounts: Accounts,
}

const REGISTRY: [&str; 4] = ["create", "secret", "docker-registry", SECRET];
const USER: &str = "--docker-username=ci";

impl Story {
    /// Builds, and starts three clusters.
    pub(crate) async fn begin(screen: Screen) -> Result<Self> {
        screen.heading("Build")?;
        let since = Instant::now();
        tokio::task::spawn_blocking(show_build).await??;
        let binaries = Binaries::build_alone().await?;
        control_plane::ControlPlane::get().await?;
        Aws::build().await?;
        screen
            .verified(since.elapsed(), "master, agent, a Kubernetes control plane and a stand-in for AWS are built")?;

        let began = Instant::now();
        let accounts = Accounts::start().await?;
        let sites =
            ["management", "north", "south"].map(async |name| Site::start(name, accounts.options(name)?, screen).await);
        let mut sites = try_join_all(sites).await?.into_iter();
        let management = sites.next().context("three clusters")?;
        let version = control_plane::version();
        screen.verified(began.elapsed(), format_args!("3 clusters ({version}), 20 namespaces of our own in each"))?;
        let mut story = Self { screen, began, management, remotes: sites.collect(), accounts };
        if let Err(error) = story.install(binaries).await {
            return Err(story.failed(error).await);
        }
        Ok(story)
    }

    /// Everything else; the story stays, so that it can be looked at.
    pub(crate) async fn tell(&self) -> Result<()> {
        self.annotate().await?;
        self.new_namespace().await?;
        self.rotate().await?;
        self.delete_by_hand().await?;
        self.switch_off().await
    }

    /// Shows the ends of all logs, and stops everything; what went wrong is for the caller to say, below them.
    pub(crate) async fn failed(self, error: anyhow::Error) -> anyhow::Error {
        let logs: String = self.sites().map(Site::logs).collect();
        let _gone = std::io::stderr().write_all(logs.as_bytes());
        self.end().await;
        error
    }

    /// Stops everything.
    pub(crate) async fn end(self) {
        let Self { management, remotes, accounts, .. } = self;
        join_all(remotes.into_iter().chain([management]).map(Site::stop)).await;
        drop(accounts);
    }

    /// Since the clusters were started.
    pub(crate) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    /// All clusters.
    pub(crate) fn sites(&self) -> impl Iterator<Item = &Site> {
        [&self.management].into_iter().chain(&self.remotes)
    }

    async fn install(&mut self, binaries: &Binaries) -> Result<()> {
        let screen = self.screen;
        screen.heading("Install: kubectl apply, nothing else")?;
        let files = "-f deploy/namespace.yaml -f deploy/crds.yaml -f deploy/annotation-policy.yaml -f \
                     deploy/master.yaml -f deploy/agent.yaml";
        let apply = |files: &'static str| ["apply"].into_iter().chain(files.split(' ')).collect::<Vec<_>>();
        self.management.kubectl(&apply("-f deploy/namespace.yaml")).await?;
        self.management.kubectl(&apply(files.trim_start_matches("-f deploy/namespace.yaml "))).await?;
        try_join_all(self.remotes.iter().map(async |site| {
            site.kubectl(&apply("-f deploy/namespace.yaml -f deploy/agent.yaml -f deploy/remote-access.yaml")).await
        }))
        .await?;

        screen.heading("Two EKS clusters in two AWS accounts: nothing but their ARN and a role")?;
        screen.note("AWS is played by moto here, tokens are judged by aws-iam-authenticator's own verifier.")?;
        for site in &self.remotes {
            self.introduce(site).await?;
        }

        screen.heading("Start: a master, and an agent in each cluster")?;
        screen.note("There are no nodes here: the binaries run as processes, as the ServiceAccounts of deploy/.")?;
        let since = Instant::now();
        // The API servers of the demo are on loopback, which the master does not take otherwise.
        let loopback = ["--allow-addresses", "127.0.0.1"];
        let environment = self.accounts.environment()?;
        self.management.run_with(binaries.master(), "mw-sync-master", &loopback, environment).await?;
        for site in [&mut self.management].into_iter().chain(&mut self.remotes) {
            site.run(binaries.agent(), "mw-sync-agent").await?;
        }
        try_join_all(self.sites().map(Site::controllers_are_ready)).await?;
        let wait = ["-n", SOURCES, "wait", "--for=condition=Ready", "remoteclusters", "--all", "--timeout=20s"];
        self.management.cluster.kubectl(&wait).await?;
        screen.verified(since.elapsed(), "all run, and the master has logged in to both accounts and both clusters")?;
        let table = self.management.kubectl(&["-n", SOURCES, "get", "remoteclusters"]).await?;
        Ok(output(&table)?)
    }

    /// The RemoteCluster of a remote cluster.
    async fn introduce(&self, site: &Site) -> Result<()> {
        let (arn, role) = self.accounts.eks(site).await?;
        let name = site.name;
        let remote_cluster = format!(
            "apiVersion: mw-sync.io/v1alpha1\nkind: RemoteCluster\nmetadata:\n  name: {name}\n  namespace: {SOURCES}\n\
             spec:\n  eks:\n    arn: {arn}\n    roleArn: {role}\n"
        );
        let what = format!("RemoteCluster {name}: {{spec: {{eks: {{arn: {arn}, roleArn: {role}}}}}}}");
        self.management.apply(&what, remote_cluster).await
    }

    async fn annotate(&self) -> Result<()> {
        self.screen.heading("1. Annotate one Secret: a copy in every namespace of every cluster")?;
        let create = [&["-n", SOURCES], &REGISTRY[..], &[USER, "--docker-password=first"]];
        self.management.kubectl(&create.concat()).await?;
        let on = ["-n", SOURCES, "annotate", "secret", SECRET, "mw_sec/sync=true"];
        self.policy_acts(&on).await?;
        self.management.kubectl(&on).await?;
        self.copies_everywhere(None).await
    }

    /// The API server takes a moment to put a new admission policy into force.
    async fn policy_acts(&self, command: &[&str]) -> Result<()> {
        let end = Instant::now() + DEADLINE;
        let trial = [command, &["--dry-run=server"]].concat();
        while let Err(error) = self.management.cluster.kubectl(&trial).await {
            ensure!(Instant::now() < end, "the annotation policy does not act: {error:#}");
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Waits until each namespace of each cluster has what the source has, other than `before`.
    async fn copies_everywhere(&self, before: Option<&Seen>) -> Result<()> {
        let what = "the source is there";
        let is_new = |seen: Option<&Seen>| seen.is_some_and(|seen| Some(seen) != before);
        let seen = self.management.until(what, |observed| is_new(observed.secret(SOURCES))).await?;
        let source = seen.secret(SOURCES).context("no source")?.clone();
        for site in self.sites() {
            let what = "a copy in every namespace";
            let observed = site.until(what, |observed| missing(site, observed, &source).is_none()).await?;
            let since = self.management.observed.borrow().changed(SOURCES).context("no source")?;
            let last = observed.secrets.values().map(|entry| entry.at).max().context("no copies")?;
            let copies =
                observed.secrets.values().filter(|entry| entry.secret.as_ref().is_some_and(|seen| seen.is_copy));
            let text = format!("{}: {} copies, one in every namespace", site.name, copies.count());
            self.screen.verified(last.saturating_duration_since(since), text)?;
        }
        Ok(())
    }

    async fn new_namespace(&self) -> Result<()> {
        self.screen.heading("2. A new namespace has its copy at once")?;
        let site = self.remotes.first().context("a remote cluster")?;
        site.kubectl(&["create", "namespace", "team-21"]).await?;
        let source = self.source()?;
        let is_so = |observed: &Observed| missing(site, observed, &source).is_none();
        let observed =
            site.until("a copy in team-21", |seen| seen.namespaces.contains_key("team-21") && is_so(seen)).await?;
        let since = observed.namespaces.get("team-21").context("no namespace")?;
        let copied = observed.changed("team-21").context("no copy")?;
        Ok(self.screen.verified(copied.saturating_duration_since(*since), "team-21 has it")?)
    }

    async fn rotate(&self) -> Result<()> {
        self.screen.heading("3. The credential is rotated: every copy follows")?;
        let before = self.source()?;
        let create = [&["-n", SOURCES], &REGISTRY[..], &[USER, "--docker-password=second"]];
        let create = [&create.concat()[..], &["--dry-run=client", "-o", "yaml"]].concat();
        let site = &self.management;
        self.screen.command(site.name, format_args!("{} \\\n               | kubectl apply -f -", shown(&create)))?;
        let manifest = site.cluster.kubectl(&create).await?;
        site.cluster.kubectl_stdin(&["apply", "-f", "-"], manifest).await?;
        self.copies_everywhere(Some(&before)).await
    }

    async fn delete_by_hand(&self) -> Result<()> {
        self.screen.heading("4. A copy deleted by hand comes back")?;
        let site = self.remotes.last().context("a remote cluster")?;
        site.kubectl(&["-n", "team-07", "delete", "secret", SECRET]).await?;
        let source = self.source()?;
        let deleted = |observed: &Observed| observed.secrets.get("team-07").and_then(|entry| entry.deleted);
        let is_so = |observed: &Observed| deleted(observed).is_some() && missing(site, observed, &source).is_none();
        let observed = site.until("the copy in team-07 is back", is_so).await?;
        let since = deleted(&observed).context("not deleted")?;
        let back = observed.changed("team-07").context("no copy")?;
        Ok(self.screen.verified(back.saturating_duration_since(since), "team-07 has it again")?)
    }

    async fn switch_off(&self) -> Result<()> {
        self.screen.heading("5. Switch off: every copy goes, the source stays")?;
        let off = ["-n", SOURCES, "annotate", "secret", SECRET, "mw_sec/sync=false", "--overwrite"];
        let before = self.management.observed.borrow().changed(SOURCES).context("no source")?;
        self.management.kubectl(&off).await?;
        let changed = |observed: &Observed| observed.changed(SOURCES).filter(|at| *at > before);
        let since = self.management.until("the source is switched off", |seen| changed(seen).is_some()).await?;
        let since = changed(&since).context("no source")?;
        for site in self.sites() {
            let copies = |observed: &Observed| {
                observed.secrets.values().filter_map(|entry| entry.secret.as_ref()).any(|seen| seen.is_copy)
            };
            let observed = site.until("no copy is left", |observed| !copies(observed)).await?;
            let last = observed.secrets.values().map(|entry| entry.at).max().context("no copies")?;
            self.screen
                .verified(last.saturating_duration_since(since), format_args!("{}: no copy is left", site.name))?;
        }
        self.source().map(drop)
    }

    fn source(&self) -> Result<Seen> {
        self.management.observed.borrow().secret(SOURCES).cloned().context("the source is gone")
    }
}

/// The build that [`Binaries`] makes, with cargo's own progress on the standard error; theirs has nothing left to do.
fn show_build() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "-p", "master", "-p", "agent", "--bins"]);
    build.args(std::env::var("MW_SYNC_TESTBED_PROFILE").ok().filter(|of| of == "release").map(|_| "--release"));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let status = build.current_dir(root).stdin(Stdio::null()).stdout(Stdio::null()).status();
    ensure!(status.context("cannot run cargo")?.success(), "master and agent do not build");
    Ok(())
}

/// A namespace that does not have what the source has.
fn missing<'o>(site: &Site, observed: &'o Observed, source: &Seen) -> Option<&'o str> {
    let is_source = |namespace: &str| site.name == "management" && namespace == SOURCES;
    let has_it = |namespace: &str| {
        observed
            .secret(namespace)
            .is_some_and(|seen| seen.content == source.content && (seen.is_copy || is_source(namespace)))
    };
    observed.namespaces.keys().map(String::as_str).find(|namespace| !has_it(namespace))
}
