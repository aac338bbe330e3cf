//! A TCP proxy that breaks on demand.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::ports;

/// What a [`FaultProxy`] does with connections, those that are open already included.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// Forwards.
    #[default]
    Pass,
    /// Nothing listens: open connections are reset, new ones refused.
    Refuse,
    /// Connections are accepted and stay open, and no byte comes through. What is held back arrives after the next
    /// change to [`Mode::Pass`] or [`Mode::Delay`].
    BlackHole,
    /// Forwards each byte so much later, in both directions, in order and without limiting the throughput much.
    Delay(Duration),
}

/// A TCP proxy before an address. It has a thread of its own, and ends when the value is dropped.
///
/// It does not look into what passes. A client is sent through it by
/// [`Kubeconfig::by_server`](crate::Kubeconfig::by_server) with [`FaultProxy::url`].
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Counts the cuts: a change ends the connections that are open.
    cuts: watch::Sender<u64>,
    commands: mpsc::UnboundedSender<oneshot::Sender<()>>,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Connection {
    mode: watch::Receiver<Mode>,
    cuts: watch::Receiver<u64>,
}

impl FaultProxy {
    /// Starts one that forwards to `target` from a port of its own on 127.0.0.1.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn start(target: SocketAddr) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            let attempts = (0..10).map(|_| listen((Ipv4Addr::LOCALHOST, ports::free()?).into()));
            attempts.reduce(Result::or).context("no attempt")??
        };
        let addr = listener.local_addr()?;
        let (mode, modes) = watch::channel(Mode::Pass);
        let (cuts, cut) = watch::channel(0);
        let (commands, incoming) = mpsc::unbounded_channel();
        let (accepted, open) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let connection = Connection { mode: modes, cuts: cut };
        let counters = (Arc::clone(&accepted), Arc::clone(&open));
        let serve = serve(addr, target, listener, connection, incoming, counters);
        std::thread::Builder::new().name("fault-proxy".to_owned()).spawn(move || runtime.block_on(serve))?;
        Ok(Self { addr, mode, cuts, commands, accepted, open })
    }

    /// Where it listens; stays the same in all modes.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `https://` and the address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.addr)
    }

    /// Changes the mode, and returns when it holds.
    pub async fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
        let (done, wait) = oneshot::channel();
        let sent = self.commands.send(done);
        drop(sent);
        wait.await.expect("the proxy's thread has panicked");
    }

    /// Ends all open connections at once; new ones are possible right after.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How many connections there have been.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

fn listen(addr: SocketAddr) -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // The port is free again at once although connections of before linger.
    socket.set_reuseaddr(true)?;
    socket.bind(addr).with_context(|| format!("{addr} is taken"))?;
    Ok(socket.listen(1024)?)
}

/// Until the [`FaultProxy`] is dropped; all connections end with it, being tasks of this runtime.
async fn serve(
    addr: SocketAddr,
    target: SocketAddr,
    listener: TcpListener,
    connection: Connection,
    mut commands: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    (accepted, open): (Arc<AtomicUsize>, Arc<AtomicUsize>),
) {
    let mut listener = Some(listener);
    loop {
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = commands.recv() => {
                let Some(done) = done else { return };
                if *connection.mode.borrow() == Mode::Refuse {
                    // A program that is being started has a copy of it until it runs: closing ours alone refuses nobody.
                    if let Some(listener) = listener.take() {
                        rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).expect("it listens");
                    }
                } else {
                    while listener.is_none() {
                        listener = listen(addr).ok();
                        if listener.is_none() {
                            sleep(Duration::from_millis(10)).await;
                        }
                    }
                }
                // Whoever set it may be gone.
                let _ = done.send(());
            }
            client = accept => {
                // Out of file descriptors, or the client has left again.
                let Ok((client, _)) = client else { continue };
                accepted.fetch_add(1, Ordering::Relaxed);
                let (connection, open) = (connection.clone(), Arc::clone(&open));
                tokio::spawn(async move {
                    open.fetch_add(1, Ordering::Relaxed);
                    forward(client, target, connection).await;
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        }
    }
}

async fn forward(client: TcpStream, target: SocketAddr, mut connection: Connection) {
    // Dropped sockets are reset rather than closed in order, as by a broken link.
    drop(client.set_zero_linger());
    let Connection { mode, .. } = connection.clone();
    let pass = async {
        let mut allowed = mode.clone();
        // The proxy is gone if this fails, and then everything ends.
        drop(allowed.wait_for(|mode| *mode != Mode::BlackHole).await);
        let Ok(server) = TcpStream::connect(target).await else {
            return;
        };
        drop((client.set_nodelay(true), server.set_nodelay(true)));
        let (client_reader, client_writer) = client.into_split();
        let (server_reader, server_writer) = server.into_split();
        tokio::join!(pump(client_reader, server_writer, mode.clone()), pump(server_reader, client_writer, mode));
    };
    let mut refused = connection.mode.clone();
    connection.cuts.mark_unchanged();
    tokio::select! {
        biased;
        _ = connection.cuts.changed() => {}
        _ = refused.wait_for(|mode| *mode == Mode::Refuse) => {}
        () = pass => {}
    }
}

/// One direction. Two halves, so that a delay holds bytes back without stopping those behind them.
async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut mode: watch::Receiver<Mode>) {
    // A bound, so that a black hole fills up like a real one: 256 x 16 KiB.
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    let read = async move {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let Some(bytes) = buffer.get(..read) else {
                break;
            };
            if queue.send((Instant::now(), bytes.to_vec())).await.is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = queued.recv().await {
            let Ok(now) = mode.wait_for(|mode| *mode != Mode::BlackHole).await.map(|mode| *mode) else {
                return;
            };
            if let Mode::Delay(delay) = now {
                sleep_until(at + delay).await;
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // The other side reads the end, and may still send.
        drop(to.shutdown().await);
    };
    tokio::join!(read, write);
}
