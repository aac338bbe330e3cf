//! Remote clusters by kubeconfig, with all that can be wrong with them, at once.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testbed::{Attack, Binaries, FaultProxy, HostileServer, Kubeconfig, Mode, Terminal, eventually, shared};

use super::{Told, mend, no_writes};
use crate::master::api;
use crate::master::stage::{SOON, Stage};

const NAME: &str = "c-remotes";

async fn told(stage: &Stage<'_>) -> Result<Told> {
    let (code, text) = stage.ask(&["--allow-addresses=127.0.0.1", "check", "--output=json"]).await?;
    let mut document: serde_json::Value = serde_json::from_str(&text)?;
    let findings = document["findings"].as_array_mut().map(std::mem::take).context("no findings")?;
    Ok(Told { code, findings })
}

#[tokio::test]
async fn each_remote_cluster_says_what_is_wrong_with_it_and_a_black_hole_delays_no_other() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, NAME).await?;
    let access = stage.prepare(&remote).await?;
    let (refusing, hole) = (FaultProxy::start(remote.server_addr())?, FaultProxy::start(remote.server_addr())?);
    refusing.set(Mode::Refuse).await;
    hole.set(Mode::BlackHole).await;
    let at = async |name: &str, access: &Kubeconfig, namespace: &str| {
        stage.kubeconfig(name, &access.to_yaml()).await?;
        stage.remote_cluster_in(name, namespace).await
    };
    // One cluster: those that come so far have a destination of their own.
    for namespace in ["c-remotes-silent", "c-remotes-foreign"] {
        stage.prepare_also(&remote, namespace).await?;
    }
    at("a-hole", &access.clone().by_server(hole.url()), NAME).await?;
    at("down", &access.clone().by_server(refusing.url()), NAME).await?;
    at("good", &access, NAME).await?;
    at("other-ca", &Kubeconfig { ca_pem: management.ca_pem().to_owned(), ..access.clone() }, NAME).await?;
    at("old-token", &Kubeconfig { token: "nobodys".to_owned(), ..access.clone() }, NAME).await?;
    remote.kubectl(&["-n", NAME, "create", "serviceaccount", "powerless"]).await?;
    at("powerless", &remote.service_account(NAME, "powerless").await?, NAME).await?;
    at("no-namespace", &remote.admin(), "c-remotes-none").await?;
    at("itself", &management.admin(), NAME).await?;
    let hostile = HostileServer::start().await?;
    at("yesterday", &hostile.kubeconfig(Attack::EndlessLine), NAME).await?;
    at("silent", &access, "c-remotes-silent").await?;
    at("foreign", &access, "c-remotes-foreign").await?;
    at("off", &access, NAME).await?;
    stage.change("off", json!({ "suspend": true })).await?;
    stage.remote_cluster("no-secret").await?;
    api::create(&management, &api::secret(NAME, ""), &api::opaque("wrong-type", "x")).await?;
    stage.remote_cluster("wrong-type").await?;
    stage.kubeconfig("no-yaml", "clusters: [").await?;
    stage.remote_cluster("no-yaml").await?;
    // A summary of last year, and copies of another cluster that is called management too.
    let summary = json!({ "form": 1, "agent": "0.1.0", "namespaces": 3, "sources": {} }).to_string();
    let summary = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "mw-sync-agent" },
        "data": { "summary.json": summary, "time": "2025-12-31T00:00:00Z" },
    });
    api::create(&remote, &api::config_map("c-remotes-silent", ""), &summary).await?;
    let mut copy = api::opaque("regcred", "x");
    copy["metadata"]["labels"] = json!({ "mw-sync.io/managed-by": "master", "mw-sync.io/source": "regcred" });
    let origin_uid = "0a1b2c3d-0000-4abc-8def-00000000000f";
    copy["metadata"]["annotations"] =
        json!({ "mw-sync.io/origin": "management/c-remotes/regcred", "mw-sync.io/origin-uid": origin_uid });
    api::create(&remote, &api::secret("c-remotes-foreign", ""), &copy).await?;

    let (here, there) = (management.audit().mark().await?, remote.audit().mark().await?);
    let told = told(&stage).await?;
    ensure!(told.code == Some(1), "{:?}", told.code);
    let recipe = "kubectl apply -f deploy/namespace.yaml -f deploy/remote-access.yaml";
    for (name, line, state, words) in [
        ("good", "API server", "ok", &[][..]),
        ("good", "rights", "ok", &["the master has them all"]),
        ("good", "cluster name", "ok", &["no copies of another cluster called management"]),
        (
            "good",
            "agent",
            "warning",
            &["none reports in namespace c-remotes", "deploy/agent.yaml | kubectl apply -f -"],
        ),
        ("a-hole", "API server", "failed", &["cannot connect", "network"]),
        ("down", "API server", "failed", &["cannot connect", "check the server's address"]),
        ("other-ca", "API server", "failed", &["no TLS connection", "certificate-authority-data"]),
        (
            "old-token",
            "API server",
            "failed",
            &["does not accept our credentials", "renew the token", "create secret generic old-token --type="],
        ),
        (
            "powerless",
            "rights",
            "failed",
            &[
                "powerless may not get, list, watch, create, update, patch, delete secrets",
                "create rolebinding mw-sync-master-user --role=mw-sync-remote --user='system:serviceaccount:c-remotes:powerless'",
                "with c-remotes for operator",
                recipe,
            ],
        ),
        ("no-namespace", "namespace", "failed", &["namespace c-remotes-none does not exist there", recipe]),
        ("itself", "namespace", "failed", &["this is the management cluster itself", "delete this"]),
        ("yesterday", "clock", "warning", &["s ahead of the API server's", "timedatectl"]),
        ("silent", "agent", "warning", &["its last word is ", " days ago", "does it run?", "get deployment,pods"]),
        (
            "foreign",
            "cluster name",
            "failed",
            &["1 copies are of another cluster that is called management", origin_uid],
        ),
        ("foreign", "cluster name", "failed", &["a second master", "--take-over="]),
        ("off", "RemoteCluster", "warning", &["set spec.suspend to false"]),
        (
            "no-secret",
            "kubeconfig",
            "failed",
            &["Secret c-remotes/no-secret does not exist", "--type=mw-sync.io/kubeconfig"],
        ),
        ("wrong-type", "kubeconfig", "failed", &["is of type Opaque"]),
        ("no-yaml", "kubeconfig", "failed", &["cannot be read at line"]),
    ] {
        told.find(&format!("remote cluster {name}"), line, state, words)?;
    }
    let powerless = told.find("remote cluster powerless", "rights", "failed", &[])?.clone();
    // Groups are told as they end.
    let place =
        |name: &str| told.findings.iter().position(|finding| finding["group"] == format!("remote cluster {name}"));
    assert!(place("good") < place("a-hole"), "the black hole was waited for");
    no_writes(&management.audit().since(here).await?.user(&stage.user()));
    no_writes(&remote.audit().since(there).await?.user(&stage.remote_user()));

    // Two that lead to one place: the master passes over the younger one, whichever answers first.
    let slow = FaultProxy::start(remote.server_addr())?;
    slow.set(Mode::Delay(Duration::from_millis(200))).await;
    stage.kubeconfig("good", &access.clone().by_server(slow.url()).to_yaml()).await?;
    stage.change("off", json!({ "suspend": false })).await?;
    let told = self::told(&stage).await?;
    let words =
        ["RemoteCluster good is older", "leads to namespace c-remotes of the same cluster", "delete one of the two"];
    told.find("remote cluster off", "duplicate", "failed", &words)?;
    let duplicates = told.findings.iter().filter(|finding| finding["name"] == "duplicate");
    assert_eq!(duplicates.count(), 1, "{:#?}", told.findings);

    // Whoever sits there sees what takes so long; a file does not.
    let terminal = Terminal::open()?;
    let flags = [&*format!("--source-namespace={NAME}"), "--allow-addresses=127.0.0.1", "check"];
    let env = [("KUBECONFIG", stage.kubeconfig_file())];
    let process = terminal.spawn(&[2], Binaries::build().await?.master(), flags, env)?;
    terminal.shows("\r\u{1b}[2K\u{2026} asking the management cluster\r\u{1b}[2K", SOON).await;
    terminal.shows("\r\u{1b}[2K\u{2026} waiting for remote cluster a-hole\r\u{1b}[2K", SOON * 2).await;
    let code = process.wait_exit(SOON).await?.code();
    let (screen, text) = (terminal.screen(), process.stdout());
    ensure!(screen.ends_with("\r\u{1b}[2K") && !screen.contains('\n'), "it stays: {screen:?}");
    // For people: a line each, and no colours in a file.
    ensure!(code == Some(1) && text.contains("\n× API server: cannot connect") && !text.contains('\u{1b}'), "{text}");
    ensure!(!text.contains('\u{2026}') && text.contains("remote cluster a-hole"), "{text}");
    ensure!(!text.contains(&access.token), "a token was shown");

    // What was said of the rights is all it takes.
    mend(&remote, &powerless).await?;
    eventually(SOON, "it may write", async || {
        self::told(&stage).await?.find("remote cluster powerless", "rights", "ok", &["has them all"]).map(drop)
    })
    .await;
    Ok(())
}
