use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::ops::probes::Probes;

async fn port() -> (SocketAddr, Health) {
    let listener = bind("--listen", "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let health = Health::default();
    let pages = Probes { health: health.clone(), metrics: Metrics::default() };
    tokio::spawn(serve(listener, pages));
    (address, health)
}

/// Sends this, and reads until the other end closes.
async fn talk_raw(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is cut may end with a reset.
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8(answer).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> String {
    talk_raw(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn three_pages_and_nothing_else() {
    let (address, health) = port().await;
    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200 "));
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503 "));
    health.needs("sources", || false);
    assert!(get(address, "/readyz?verbose").await.ends_with("still to come: sources\n"));
    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    for path in ["/", "/status", "/livez/", "/../livez", "//livez"] {
        assert!(get(address, path).await.starts_with("HTTP/1.1 404 "), "{path}");
    }
    let post = "POST /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n";
    assert!(talk_raw(address, post).await.starts_with("HTTP/1.1 405 "), "and the body is not waited for");
    let head = talk_raw(address, "HEAD /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn what_is_too_large_or_no_http_is_not_served() {
    let (address, _) = port().await;
    let large = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(100));
    for text in [&large, &many, "\u{16}\u{3}\u{1} hello TLS\r\n\r\n", "nonsense\r\n\r\n"] {
        let answer = talk_raw(address, text).await;
        assert!(!answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn whoever_says_nothing_keeps_nobody_out() {
    let (address, _) = port().await;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS * 2 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200 "));
    // The oldest have been sent away.
    let mut byte = [0];
    let closed = timeout(Duration::from_secs(30), idle[0].read(&mut byte)).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let (address, _) = port().await;
    let error = bind("--listen", address).await.unwrap_err().to_string();
    assert!(error.contains(&format!("--listen {address}: another program listens there")), "{error}");
    let elsewhere = bind("--listen", "192.0.2.1:0".parse().unwrap()).await.unwrap_err().to_string();
    assert!(elsewhere.starts_with("--listen 192.0.2.1:0: "), "{elsewhere}");
}
