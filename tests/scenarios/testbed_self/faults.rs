//! The fault proxy, before an API server and before a plain echo.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use testbed::{FaultProxy, Mode, eventually, shared};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::SOON;

const A_WHILE: Duration = Duration::from_millis(300);

async fn echo() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    Ok(addr)
}

async fn ask(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"x").await?;
    stream.read_u8().await.context("no answer")?;
    Ok(())
}

#[tokio::test]
async fn a_proxy_passes_refuses_swallows_cuts_and_delays() -> Result<()> {
    let proxy = FaultProxy::start(echo().await?)?;
    let mut first = TcpStream::connect(proxy.addr()).await?;
    timeout(SOON, ask(&mut first)).await??;

    proxy.set(Mode::BlackHole).await;
    let mut second = TcpStream::connect(proxy.addr()).await.context("a black hole accepts")?;
    for stream in [&mut first, &mut second] {
        timeout(A_WHILE, ask(stream)).await.expect_err("a black hole does not answer");
    }
    proxy.set(Mode::Pass).await;
    for stream in [&mut first, &mut second] {
        timeout(SOON, stream.read_u8()).await?.context("what was held back arrives")?;
    }

    proxy.cut();
    for stream in [&mut first, &mut second] {
        timeout(SOON, stream.read_u8()).await?.expect_err("cut");
    }
    eventually(SOON, "the connections are gone", async || match proxy.open() {
        0 => Ok(()),
        open => Err(format!("{open} open")),
    })
    .await;
    let mut third = TcpStream::connect(proxy.addr()).await?;
    timeout(SOON, ask(&mut third)).await??;

    proxy.set(Mode::Refuse).await;
    timeout(SOON, third.read_u8()).await?.expect_err("cut");
    let error = TcpStream::connect(proxy.addr()).await.expect_err("refused");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    proxy.set(Mode::Pass).await;
    let mut fourth = TcpStream::connect(proxy.addr()).await?;
    timeout(SOON, ask(&mut fourth)).await??;
    assert_eq!(proxy.accepted(), 4);

    proxy.set(Mode::Delay(A_WHILE)).await;
    let began = Instant::now();
    timeout(SOON, ask(&mut fourth)).await??;
    assert!(began.elapsed() >= 2 * A_WHILE, "there and back took {:?}", began.elapsed());

    let addr = proxy.addr();
    drop(proxy);
    timeout(SOON, fourth.read_u8()).await?.expect_err("gone with the proxy");
    eventually(SOON, "nothing listens any more", async || match TcpStream::connect(addr).await {
        Ok(_) => Err("connected"),
        Err(_) => Ok(()),
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_client_goes_through_a_proxy() -> Result<()> {
    let cluster = shared("self").await?;
    let proxy = FaultProxy::start(cluster.server_addr())?;
    let through = cluster.write_kubeconfig(&cluster.admin().by_server(proxy.url()))?;
    cluster.kubectl_as(&through, &["get", "namespace", "default"]).await?;
    assert!(proxy.accepted() > 0);
    proxy.set(Mode::Refuse).await;
    let error = cluster.kubectl_as(&through, &["get", "namespace", "default"]).await.expect_err("refused").to_string();
    assert!(error.contains("refused"), "{error}");
    proxy.set(Mode::BlackHole).await;
    let args = ["get", "namespace", "default", "--request-timeout=1s"];
    cluster.kubectl_as(&through, &args).await.expect_err("no answer");
    Ok(())
}
