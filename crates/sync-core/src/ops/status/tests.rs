use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use futures::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::contract::strip::StripList;
use crate::ops::http::{bind, serve};

/// Counts how often it is asked, and knows nothing once it is told so.
#[derive(Default)]
struct Asked {
    times: AtomicU32,
    knows_nothing: AtomicBool,
}

impl Shows for Asked {
    fn show(&self) -> BoxFuture<'_, Result<Map<String, Value>, String>> {
        self.times.fetch_add(1, Ordering::Relaxed);
        let known = Map::from_iter([("sources".to_owned(), json!([]))]);
        let nothing = self.knows_nothing.load(Ordering::Relaxed);
        async move { if nothing { Err("cannot connect\n".to_owned()) } else { Ok(known) } }.boxed()
    }
}

async fn port() -> (SocketAddr, Arc<Asked>) {
    let rules = Arc::new(Rules::new(Role::Master, "operator", Some("hub"), StripList::with::<&str>(&[]).unwrap()));
    let leading = crate::leadership::Leadership::alone().leading();
    let asked = Arc::new(Asked::default());
    let head = Head { rules, leading, health: Health::default() };
    let listener = bind("--status-listen", "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, StatusPages::new(head, Arc::clone(&asked) as _)));
    (address, asked)
}

async fn get(address: SocketAddr, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_page_can_load_nothing_and_the_status_is_json() {
    let (address, asked) = port().await;
    let answer = get(address, "localhost:8081", "/").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("<!doctype html>"), "{answer}");
    assert!(answer.contains("content-security-policy: default-src 'none'; script-src 'sha256-"), "{answer}");
    assert!(!PAGE.contains("://"), "something comes from elsewhere");
    assert_eq!(PAGE.matches("<script").count(), 1);
    let began = std::time::Instant::now();
    for n in 0..3 {
        let answer = get(address, "127.0.0.1", "/status").await;
        let status: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!((&status["controller"], &status["cluster"]), (&json!("master"), &json!("hub")), "{n}");
        assert_eq!((&status["leads"], &status["missing"]), (&json!(true), &json!(["everything"])));
        assert_eq!(status["dryRun"], json!(false));
        assert_eq!(status["sources"], json!([]));
    }
    // One in a second; three requests may take longer than that.
    let times = u64::from(asked.times.load(Ordering::Relaxed));
    assert!(times <= 1 + began.elapsed().as_secs(), "those who ask at once are one: {times}");
    asked.knows_nothing.store(true, Ordering::Relaxed);
    tokio::time::sleep(FRESH).await;
    let answer = get(address, "[::1]:8081", "/status").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("cannot connect\n"), "{answer}");
    assert!(get(address, "localhost", "/metrics").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn a_page_of_another_origin_is_told_nothing() {
    let (address, asked) = port().await;
    for host in
        ["evil.example", "evil.example:8081", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "[::2]"]
    {
        assert!(get(address, host, "/status").await.starts_with("HTTP/1.1 421 "), "{host}");
    }
    assert_eq!(asked.times.load(Ordering::Relaxed), 0);
    assert!(!get(address, "localhost", "/").await.contains("access-control-allow-origin"));
}
