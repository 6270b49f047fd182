//! A wire between a site and a database that can be held and cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// No cut is due.
const WHOLE: usize = usize::MAX;

/// A wire that stands until it is dropped.
pub struct Proxy {
    port: u16,
    wire: Arc<Wire>,
    acceptor: JoinHandle<()>,
}

struct Wire {
    /// So many bytes of answers still pass before everything is cut.
    left: AtomicUsize,
    /// Answers wait while it is true.
    held: watch::Sender<bool>,
    /// Counts the cuts: each ends all connections there are.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    /// A wire to a port of 127.0.0.1.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let wire = Arc::new(Wire {
            left: AtomicUsize::new(WHOLE),
            held: watch::Sender::new(false),
            cuts: watch::Sender::new(0),
        });
        let acceptor = tokio::spawn(accept(listener, SocketAddr::from(([127, 0, 0, 1], port)), wire.clone()));
        Self { port: address.port(), wire, acceptor }
    }

    /// Where the wire begins.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all connections when so many more bytes of answers have passed.
    pub fn cut_after(&self, bytes: usize) {
        self.wire.left.store(bytes, Ordering::SeqCst);
    }

    /// Cuts all connections now.
    pub fn cut(&self) {
        self.wire.cut();
    }

    /// Keeps answers back until [`release`](Self::release): requests still pass.
    pub fn hold(&self) {
        self.wire.held.send_replace(true);
    }

    /// Lets answers pass again, those that were kept back first.
    pub fn release(&self) {
        self.wire.held.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.wire.cut();
    }
}

impl Wire {
    fn cut(&self) {
        self.left.store(WHOLE, Ordering::SeqCst);
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How many of `bytes` bytes may pass; fewer if the cut comes then.
    fn take(&self, bytes: usize) -> usize {
        let take = |left| if left == WHOLE { Some(left) } else { Some(left - bytes.min(left)) };
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).unwrap_or(WHOLE);
        if left == WHOLE { bytes } else { bytes.min(left) }
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, wire: Arc<Wire>) {
    while let Ok((client, _)) = listener.accept().await {
        let wire = wire.clone();
        tokio::spawn(async move {
            let mut cuts = wire.cuts.subscribe();
            // A server that is down: the client is hung up on.
            let Ok(server) = TcpStream::connect(server).await else { return };
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            select! {
                () = requests(from_client, to_server) => {}
                () = answers(from_server, to_client, &wire) => {}
                _ = cuts.changed() => {}
            }
        });
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // However it ends, the connection does.
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, wire: &Wire) {
    let mut held = wire.held.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        if held.wait_for(|held| !held).await.is_err() {
            return;
        }
        let passes = wire.take(bytes);
        if to.write_all(&buffer[..passes]).await.is_err() {
            return;
        }
        if passes < bytes {
            wire.cut();
            return;
        }
    }
}
