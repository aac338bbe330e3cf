//! Every command that README.md gives is typed here, as it stands there, on two clusters that begin empty; or it says
//! itself what it needs that no test has. `cargo` commands are what `.ci/run` and the benchmarks are.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Binaries, Cluster, ClusterOptions, Process, eventually};

use crate::support::{Deployed, Kind, SOON, World, uid};

const README: &str = include_str!("../../README.md");
const CI: &str = include_str!("../../.ci/run");
/// The first line of a block that no test runs.
const NEEDS: [&str; 3] = ["# needs AWS", "# needs a container engine", "# needs pods on a node"];

/// Commands of README.md that have not been run yet: each block of `sh`, and each line that is set off by itself.
struct Commands(Vec<String>);

impl Commands {
    fn read() -> Self {
        let (mut found, mut block) = (Vec::new(), None::<(bool, String)>);
        for line in README.lines() {
            match (&mut block, line.strip_prefix("```")) {
                (None, Some(language)) => block = Some((language == "sh", String::new())),
                (Some(_), Some(_)) => {
                    found.extend(block.take().filter(|(is_shell, _)| *is_shell).map(|(_, text)| text));
                }
                (Some((_, text)), None) => *text += &format!("{line}\n"),
                (None, None) => {
                    let typed = line.strip_prefix("    ").filter(|line| is_command(line) || line.starts_with("cargo "));
                    found.extend(typed.map(str::to_owned));
                }
            }
        }
        Self(found)
    }

    /// The first that has these words and is left, and needs nothing that no test has.
    fn take(&mut self, words: &str) -> String {
        let index = self.0.iter().position(|command| command.contains(words) && !is_marked(command));
        self.0.remove(index.unwrap_or_else(|| panic!("README.md has no command with {words}")))
    }
}

/// Whether it says itself what it needs that no test has.
fn is_marked(command: &str) -> bool {
    NEEDS.iter().any(|need| command.starts_with(&format!("{need}\n")))
}

fn is_command(text: &str) -> bool {
    ["kubectl ", "master ", "agent "].iter().any(|program| text.starts_with(program))
}

/// Commands within a sentence or a table, once each.
fn inline() -> BTreeSet<&'static str> {
    let lines = README.lines().filter(|line| !line.starts_with("    "));
    lines.flat_map(|line| line.split('`').skip(1).step_by(2)).filter(|text| is_command(text)).collect()
}

/// A folder with `deploy/`, and contexts `management`, which is current, and `north`.
struct Shell {
    dir: PathBuf,
    path: String,
    kubeconfigs: [PathBuf; 2],
}

impl Shell {
    async fn new(management: &Cluster, north: &Cluster) -> Result<Self> {
        let dir = management.dir().join("shell");
        std::fs::create_dir(&dir)?;
        let root = std::path::absolute(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
        std::os::unix::fs::symlink(root.join("deploy"), dir.join("deploy"))?;
        let context = |cluster: &Cluster, name: &str| {
            let mut access = cluster.admin();
            name.clone_into(&mut access.name);
            cluster.write_kubeconfig(&access)
        };
        let kubeconfigs = [context(management, "management")?, context(north, "north")?];
        let programs = Binaries::build().await?;
        let folders = [management.kubectl_program(), programs.master()].map(|program| program.parent());
        let folders = folders.into_iter().flatten().map(|folder| folder.display().to_string());
        let path = folders.chain(std::env::var("PATH")).collect::<Vec<_>>().join(":");
        Ok(Self { dir, path, kubeconfigs })
    }

    /// The same where the other context is the current one.
    fn in_north(&self) -> Self {
        let [management, north] = self.kubeconfigs.clone();
        Self { dir: self.dir.clone(), path: self.path.clone(), kubeconfigs: [north, management] }
    }

    fn spawn(&self, command: &str) -> Result<Process> {
        let script = format!("cd '{}'\n{command}", self.dir.display());
        let kubeconfig = self.kubeconfigs.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":");
        let env = [
            ("PATH", &*self.path),
            ("KUBECONFIG", &kubeconfig),
            ("registry", "registry.example.com"),
            ("password", "hunter2"),
            // Where the clusters of a test are.
            ("MW_SYNC_ALLOW_ADDRESSES", "127.0.0.1"),
        ];
        Process::spawn("bash".as_ref(), ["-euo", "pipefail", "-c", &script], env)
    }

    /// Exit status, and all that it said.
    async fn ask(&self, command: &str) -> Result<(Option<i32>, String)> {
        let process = self.spawn(command)?;
        let status = process.wait_exit(2 * SOON).await.with_context(|| command.to_owned())?;
        Ok((status.code(), process.stdout() + &process.stderr()))
    }

    async fn run(&self, command: impl AsRef<str>) -> Result<String> {
        let command = command.as_ref();
        let (code, said) = self.ask(command).await?;
        ensure!(code == Some(0), "{command}: {code:?}: {said}");
        Ok(said)
    }
}

/// The controller of a Deployment that has been applied, with a grace that a test can wait for.
async fn start(cluster: &Cluster, name: &'static str, flags: &[&str]) -> Result<Process> {
    let flags = [&["--delete-grace=2s"], flags].concat();
    Deployed::of(cluster, name).await?.with(&flags).spawn(cluster).await
}

async fn end(process: Process) -> Result<()> {
    process.terminate();
    ensure!(process.wait_exit(SOON).await?.success(), "{}", process.log_tail(30));
    Ok(())
}

/// Waits until exactly these of the two namespaces of the test have the copy.
async fn copies(world: &World, expected: &[&str]) {
    eventually(SOON, format!("copies in {expected:?}"), async || {
        let places = world.places(Kind::Secret, "regcred").await?;
        let places: Vec<_> = places.iter().filter(|place| ["app", "sandbox"].contains(&place.as_str())).collect();
        ensure!(places == expected, "{places:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn every_command_of_the_readme_does_what_it_says() -> Result<()> {
    let start_cluster = || Cluster::start(ClusterOptions::default());
    let (management, north) = tokio::try_join!(start_cluster(), start_cluster())?;
    let shell = Shell::new(&management, &north).await?;
    let (here, there) = (World::of(&management), World::of(&north));
    for world in [&here, &there] {
        world.namespace("app").await?;
        world.namespace("sandbox").await?;
    }
    let mut commands = Commands::read();

    // One cluster.
    shell.run(commands.take("-f deploy/namespace.yaml -f deploy/annotation-policy.yaml\u{20}")).await?;
    let agent = start(&management, "agent", &[]).await?;
    let trial = "kubectl -n operator annotate configmap kube-root-ca.crt mw_sec/sync=no --dry-run=server";
    eventually(SOON, "the policy acts", async || shell.run(trial).await).await;
    let annotate = commands.take("annotate secret regcred mw_sec/sync=true");
    shell.run(commands.take("create secret docker-registry regcred")).await?;
    shell.run(annotate).await?;
    copies(&here, &["app", "sandbox"]).await;

    // Many clusters.
    shell.run(commands.take("-f deploy/crds.yaml")).await?;
    let master = start(&management, "master", &["--allow-addresses=127.0.0.1"]).await?;
    shell.run(commands.take("--context north apply -f deploy/namespace.yaml")).await?;
    let agent_there = start(&north, "agent", &[]).await?;
    shell.run(commands.take("north.kubeconfig <<EOF")).await?;
    let said = shell.run(commands.take("create secret generic north --type=mw-sync.io/kubeconfig")).await?;
    ensure!(said.contains("north"), "{said}");
    copies(&there, &["app", "sandbox"]).await;

    // A credential is rotated.
    let before = there.get(Kind::Secret, "app", "regcred").await?;
    let rotate = commands.take("master wait secret/regcred");
    let said = shell.run(rotate.replace("$password", "hunter3")).await?;
    ensure!(said.contains("now revoke the old one") && !said.contains("Warning"), "{said}");
    let after = there.get(Kind::Secret, "app", "regcred").await?;
    ensure!(after["data"] != before["data"], "it is the old one");

    // The same without images: the programs run in the shell.
    for process in [agent, master, agent_there] {
        end(process).await?;
    }
    // They have no Lease, and so say nothing of one.
    shell.run("kubectl -n operator delete lease mw-sync-master").await?;
    // The benchmarks build them so.
    assert!(commands.take("cargo build --release --bins").ends_with("PATH=$PWD/target/release:$PATH"));
    let outside = commands.take("agent --context north &");
    let outside = shell.spawn(&format!("trap 'wait; exit 0' TERM\n{outside}\nwait"))?;
    let rotate = rotate.replace("$password", "hunter4");
    // An agent tells once in ten seconds, and `wait` is a part of the commands.
    eventually(3 * SOON, "it is rotated by those outside", async || shell.run(&rotate).await).await;
    let later = there.get(Kind::Secret, "app", "regcred").await?;
    ensure!(later["data"] != after["data"], "it is the old one");
    end(outside).await?;
    let agent = start(&management, "agent", &[]).await?;
    let master = start(&management, "master", &["--allow-addresses=127.0.0.1"]).await?;
    let agent_there = start(&north, "agent", &[]).await?;

    let hardening = commands.take("deploy/hardening.yaml");
    shell.run(&hardening).await?;
    shell.in_north().run(&hardening).await?;
    shell.run(commands.take("annotate namespace sandbox")).await?;
    copies(&here, &["app"]).await;
    shell.run(commands.take("deploy/agent-service-accounts.yaml")).await?;
    shell.run(commands.take("mw-sync.io/image-pull-secret=default")).await?;
    let account = (Kind::ServiceAccount, "app", "default");
    here.until(account, "pulls with the copy", |account| account["imagePullSecrets"] == json!([{"name": "regcred"}]))
        .await;
    sentences(&shell, &here).await?;
    shell.run(commands.take("mw-sync.io/namespaces='team-*,!team-x'")).await?;
    copies(&here, &[]).await;
    copies(&there, &[]).await;
    let all = json!({"mw-sync.io/namespaces": null, "mw-sync.io/clusters": null});
    here.annotate(Kind::Secret, "regcred", &all).await?;
    copies(&there, &["app", "sandbox"]).await;

    let incarnation = shell.run(commands.take("mw-sync\\.io/origin-uid")).await?;
    assert_eq!(incarnation, uid(&here.get(Kind::Namespace, "", "operator").await?));
    shell.run(commands.take("patch remotecluster north")).await?;

    remove(&shell, &mut commands, &incarnation, (master, agent), agent_there, [&here, &there]).await?;
    for command in commands.0 {
        let cargo = command.starts_with("cargo ") && (command == "cargo bench" || CI.contains(&command[..10]));
        assert!(cargo || is_marked(&command), "no test runs this: {command}");
    }
    management.stop().await;
    north.stop().await;
    Ok(())
}

/// A controller, which is a command without an end.
async fn runs(shell: &Shell, command: &str) -> Result<()> {
    let controller = shell.spawn(&format!("exec {command}"))?;
    eventually(SOON, command, async || {
        ensure!(controller.stderr().contains("started") && controller.is_running(), "{}", controller.log_tail(30));
        Ok(())
    })
    .await;
    end(controller).await
}

/// Those within sentences and tables.
async fn sentences(shell: &Shell, here: &World) -> Result<()> {
    let discovery = include_str!("../../deploy/examples/cluster-discovery.yaml");
    ensure!(discovery.contains("name: account-a"), "the one that README.md speaks of");
    shell.run("kubectl apply -f deploy/examples/cluster-discovery.yaml").await?;
    let commands = inline();
    ensure!(commands.len() > 20, "this test reads README.md wrongly: {commands:?}");
    for command in commands {
        // A node or AWS is needed, or it is no whole command, or asks, and is run in its place.
        let elsewhere =
            [" exec deploy/", "--context prod", "kubectl -l", "purge"].iter().any(|part| command.contains(part));
        if elsewhere || ["kubectl apply", "master wait"].contains(&command) {
            continue;
        }
        if command.starts_with("master --") || command.starts_with("agent --") {
            runs(shell, command).await?;
            continue;
        }
        let typed = command.replace("rcl NAME", "rcl north").replace("NAME", "regcred").replace("SHELL", "bash");
        let (code, said) = shell.ask(&typed).await?;
        // `plan`, `status` and `check` say by it what they have found.
        let finds = ["plan", "status", "check"].iter().any(|word| command.split(' ').nth(1) == Some(word));
        ensure!(code == Some(0) || finds && code == Some(1), "{command}: {code:?}: {said}");
    }
    let none: Vec<Value> = here.list("/apis/mw-sync.io/v1alpha1/namespaces/operator/clusterdiscoveries").await?;
    ensure!(none.len() == 1, "{none:#?}");
    shell.run("kubectl delete -f deploy/examples/cluster-discovery.yaml").await.map(drop)
}

/// There is no node to run it on; the namespace takes such a Pod.
async fn purge_in_a_pod(shell: &Shell, commands: &Commands) -> Result<()> {
    let in_a_pod =
        commands.0.iter().find(|command| command.contains(" run mw-sync-purge ")).context("purge in a Pod")?;
    let run =
        in_a_pod.split("kubectl ").nth(1).map(|run| run.replace(" --restart", " --dry-run=server -o json --restart"));
    let pod: Value = serde_json::from_str(&shell.run(format!("kubectl {}", run.unwrap_or_default())).await?)?;
    let (spec, labels) = (&pod["spec"], &pod["metadata"]["labels"]);
    let container = &spec["containers"][0];
    assert_eq!(
        (spec["containers"].as_array().map(Vec::len), &container["args"]),
        (Some(1), &json!(["purge", "--dry-run"]))
    );
    assert_eq!(spec["serviceAccountName"], "mw-sync-master");
    assert_eq!(labels["app.kubernetes.io/name"], "mw-sync-master");
    let image = format!("registry.example.com/secret-replicator-eks/master:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(container["image"], image.as_str());
    Ok(())
}

/// The last resort for a management cluster that was rebuilt, and the removal of everything.
async fn remove(
    shell: &Shell,
    commands: &mut Commands,
    incarnation: &str,
    (master, agent): (Process, Process),
    agent_there: Process,
    [here, there]: [&World; 2],
) -> Result<()> {
    let block = commands.take("master purge");
    let lines: Vec<_> = block.lines().map(|line| line.replace(" purge ", " purge --yes ")).collect();
    let [stop_master, purge_master, in_north @ .., stop_agent, purge_agent, delete] = &lines[..] else {
        panic!("{lines:?}")
    };
    let [stop_agent_there, purge_agent_there, delete_there] = in_north else { panic!("{lines:?}") };
    shell.run(stop_master).await?;
    end(master).await?;
    purge_in_a_pod(shell, commands).await?;

    runs(shell, &commands.take("master --take-over=UID").replace("UID", incarnation)).await?;

    shell.run(purge_master).await?;
    copies(there, &[]).await;
    shell.run(stop_agent_there).await?;
    end(agent_there).await?;
    shell.run(purge_agent_there).await?;
    shell.run(delete_there).await?;
    shell.run(stop_agent).await?;
    end(agent).await?;
    shell.run(purge_agent).await?;
    copies(here, &[]).await;
    shell.run(delete).await?;
    shell.run(commands.take("rolebinding/mw-sync-remote-token")).await?;
    for world in [here, there] {
        let left = world.list("/api/v1/secrets?labelSelector=mw-sync.io/managed-by").await?;
        ensure!(left.is_empty(), "{left:#?}");
    }
    here.get(Kind::Secret, "operator", "regcred").await.map(drop)
}
