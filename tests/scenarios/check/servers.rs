//! Clusters that do not answer, and others than they should be.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Binaries, FaultProxy, Kubeconfig, Mode, Terminal, shared};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{Who, check};
use crate::support::SOON;

const WHO: [(Who, &str); 2] = [(Who::Agent, "cluster"), (Who::Master, "management cluster")];

#[tokio::test]
async fn a_cluster_that_cannot_be_asked_is_status_2_and_the_reason() -> Result<()> {
    let cluster = shared("remote-a").await?;
    let good = cluster.admin();
    let (refusing, silent) = (FaultProxy::start(cluster.server_addr())?, FaultProxy::start(cluster.server_addr())?);
    refusing.set(Mode::Refuse).await;
    silent.set(Mode::BlackHole).await;
    let other = testbed::Authority::new()?;
    let named = |name: &str| Kubeconfig { name: name.to_owned(), ..good.clone() };
    let cases = [
        (named("refused").by_server(refusing.url()), "cannot connect", "check the server's address"),
        (named("silent").by_server(silent.url()), "cannot connect", "check the server's address"),
        (
            Kubeconfig { ca_pem: other.pem().to_owned(), ..named("ca") },
            "no TLS connection",
            "certificate-authority-data",
        ),
        (
            Kubeconfig { token: "nobodys".to_owned(), ..named("token") },
            "does not accept our credentials",
            "log in anew",
        ),
    ];
    for (who, group) in WHO {
        for (access, why, todo) in &cases {
            let told = check(who, &cluster.write_kubeconfig(access)?, &[], &[]).await?;
            ensure!(told.code == Some(2), "{}: {:?}", access.name, told.code);
            told.find(group, "API server", "failed", &[why, todo])?;
        }
        let told = check(who, std::path::Path::new("/no/such/file"), &[], &[]).await?;
        told.find(group, "kubeconfig", "failed", &["/no/such/file", "KUBECONFIG=FILE"])?;
        ensure!(told.code == Some(2), "{:?}", told.code);
        let told = check(who, &cluster.admin_kubeconfig(), &["--context=nowhere"], &[]).await?;
        told.find(group, "kubeconfig", "failed", &["nowhere", "kubectl config get-contexts"])?;
        ensure!(told.code == Some(2), "{:?}", told.code);
    }
    Ok(())
}

/// An API server of another time, as far as it is asked for version and namespace.
struct Past {
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Past {
    async fn start(version: &'static str, date: &'static str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever hangs up early is not waited for.
                tokio::spawn(async move { drop(answer(stream, version, date).await) });
            }
        });
        Ok(Self { url, task })
    }
}

impl Drop for Past {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(stream: TcpStream, version: &str, date: &str) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line == "\r\n" {
            break;
        }
        if let Some(of) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = of.trim().parse()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let path = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let (code, body): (&str, Value) = match path.as_str() {
        "/version" => ("200 OK", json!({ "gitVersion": version })),
        "/api/v1/namespaces/operator" => {
            let uid = "0a1b2c3d-0000-4abc-8def-00000000000f";
            ("200 OK", json!({ "metadata": { "name": "operator", "uid": uid, "resourceVersion": "1" } }))
        }
        _ => ("404 Not Found", json!({ "kind": "Status", "code": 404, "reason": "NotFound", "details": {} })),
    };
    let body = body.to_string();
    let mut reply =
        format!("HTTP/1.1 {code}\r\nDate: {date}\r\nContent-Type: application/json\r\nConnection: close\r\n");
    write!(reply, "Content-Length: {}\r\n\r\n{body}", body.len())?;
    stream.get_mut().write_all(reply.as_bytes()).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_too_old_and_a_clock_that_is_off_are_named() -> Result<()> {
    let cluster = shared("remote-a").await?;
    let flags = &[][..];
    for (who, group) in WHO {
        let past = Past::start("v1.30.4", "Thu, 01 Jan 2026 00:00:00 GMT").await?;
        let access = Kubeconfig { name: "past".to_owned(), ..cluster.admin() }.by_server(&past.url);
        let told = check(who, &cluster.write_kubeconfig(&access)?, flags, &[]).await?;
        told.find(group, "Kubernetes version", "failed", &["v1.30.4 is too old: 1.31 or newer"])?;
        told.find(group, "clock", "warning", &["s ahead of the API server's", "timedatectl"])?;
        ensure!(told.code == Some(1), "{:?}", told.code);
        let past = Past::start("v1.33.1", "Thu, 01 Jan 2026 00:00:00 GMT").await?;
        let access = Kubeconfig { name: "past".to_owned(), ..cluster.admin() }.by_server(&past.url);
        let told = check(who, &cluster.write_kubeconfig(&access)?, flags, &[]).await?;
        told.find(group, "Kubernetes version", "ok", &["v1.33.1"])?;
        let words = ["too old for it (1.36 and newer)", "write mw-sync=yes instead"];
        told.find(group, "annotation policy", "warning", &words)?;
    }
    Ok(())
}

#[tokio::test]
async fn colours_are_for_terminals_and_for_those_who_like_them() -> Result<()> {
    let cluster = shared("remote-a").await?;
    let config = ("KUBECONFIG".to_owned(), cluster.admin_kubeconfig().display().to_string());
    for (further, coloured) in [(None, true), (Some(("NO_COLOR".to_owned(), "1".to_owned())), false)] {
        let terminal = Terminal::open()?;
        let env = [config.clone()].into_iter().chain(further);
        let process = terminal.spawn(&[1, 2], Binaries::build().await?.agent(), ["check"], env)?;
        process.wait_exit(SOON).await?;
        terminal.shows("Kubernetes version", SOON).await;
        let screen = terminal.screen();
        assert_eq!(screen.contains("\u{1b}[32m"), coloured, "{screen:?}");
    }
    Ok(())
}
