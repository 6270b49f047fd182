//! A wire between a site and a database that can be held, cut, and turned into a hole.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A wire that stands until it is dropped.
pub struct Proxy {
    port: u16,
    wire: Arc<Wire>,
    acceptor: JoinHandle<()>,
}

/// What the connections of a wire share. Whoever waits is woken when it changes.
struct Wire(watch::Sender<State>);

#[derive(Clone, Default)]
struct State {
    /// How many connections were made.
    connections: usize,
    /// Bytes of answers that passed.
    passed: usize,
    /// Answers that are held back.
    waiting: usize,
    /// When so many have passed, the others wait.
    hold_at: Option<usize>,
    /// When so many have passed, everything is cut.
    cut_at: Option<usize>,
    /// Counts the cuts: each ends all connections there are.
    cuts: usize,
    /// Of the connections made so far, so many are holes.
    holes: usize,
    /// The next request is to be held back.
    holds_next: bool,
    /// A request is held back.
    has_request: bool,
}

impl Proxy {
    /// A wire to a port of 127.0.0.1.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let wire = Arc::new(Wire(watch::Sender::new(State::default())));
        let acceptor = tokio::spawn(accept(listener, SocketAddr::from(([127, 0, 0, 1], port)), wire.clone()));
        Self { port: address.port(), wire, acceptor }
    }

    /// Where the wire begins.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.wire.0.borrow().connections
    }

    /// How many bytes of answers passed.
    pub fn passed(&self) -> usize {
        self.wire.0.borrow().passed
    }

    /// Cuts all connections when so many more bytes of answers have passed, and there are others.
    pub fn cut_after(&self, bytes: usize) {
        self.wire.0.send_modify(|state| state.cut_at = Some(state.passed + bytes));
    }

    /// Cuts all connections now.
    pub fn cut(&self) {
        self.wire.cut();
    }

    /// Keeps answers back when so many more bytes of them have passed, until [`release`](Self::release); requests pass.
    pub fn hold_after(&self, bytes: usize) {
        self.wire.0.send_modify(|state| state.hold_at = Some(state.passed + bytes));
    }

    /// Waits until an answer is held back.
    pub async fn holds(&self) {
        let mut states = self.wire.0.subscribe();
        // The wire has the other end for as long as it stands.
        let _ = states.wait_for(|state| state.waiting > 0).await;
    }

    /// Lets answers pass again, those that were kept back first.
    pub fn release(&self) {
        self.wire.0.send_modify(|state| state.hold_at = None);
    }

    /// Keeps the next request back, and what follows it on its connection, until
    /// [`deliver`](Self::deliver). Other connections pass.
    pub fn hold_request(&self) {
        self.wire.0.send_modify(|state| state.holds_next = true);
    }

    /// Whether a request is held back.
    pub fn has_request(&self) -> bool {
        self.wire.0.borrow().has_request
    }

    /// Sends the request on that was held back, also if its client is gone.
    pub fn deliver(&self) {
        self.wire.0.send_modify(|state| state.has_request = false);
    }

    /// Nothing comes through any more on the connections that there are, and none of them ends. New ones are sound.
    pub fn swallow(&self) {
        self.wire.0.send_modify(|state| state.holes = state.connections);
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
        self.0.send_modify(|state| {
            state.cut_at = None;
            state.cuts += 1;
        });
    }

    /// Waits if this is the request that is to be held back.
    async fn pass_request(&self) {
        let is_held = self.0.send_if_modified(|state| {
            state.has_request |= state.holds_next;
            std::mem::take(&mut state.holds_next)
        });
        if is_held {
            // Woken in any case: `self` has the other end.
            let _ = self.0.subscribe().wait_for(|state| !state.has_request).await;
        }
    }

    /// Waits until some of `bytes` bytes may pass, and says how many; none if everything is to be cut.
    async fn take(&self, bytes: usize) -> usize {
        let mut states = self.0.subscribe();
        loop {
            let mut taken = None;
            self.0.send_if_modified(|state| {
                let left = |end: Option<usize>| end.map_or(bytes, |end| bytes.min(end.saturating_sub(state.passed)));
                let (until_hold, until_cut) = (left(state.hold_at), left(state.cut_at));
                if until_hold == 0 {
                    return false;
                }
                taken = Some(until_hold.min(until_cut));
                state.passed += until_hold.min(until_cut);
                true
            });
            if let Some(taken) = taken {
                return taken;
            }
            self.0.send_modify(|state| state.waiting += 1);
            let released = |state: &State| state.hold_at.is_none_or(|end| state.passed < end);
            // Woken in any case: `self` has the other end.
            let _ = states.wait_for(released).await;
            self.0.send_modify(|state| state.waiting -= 1);
        }
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, wire: Arc<Wire>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut number = 0;
        wire.0.send_modify(|state| {
            number = state.connections;
            state.connections += 1;
        });
        tokio::spawn(pass(client, server, wire.clone(), number));
    }
}

/// Passes on what comes on one connection, until it ends or is cut.
async fn pass(client: TcpStream, server: SocketAddr, wire: Arc<Wire>, number: usize) {
    let mut states = wire.0.subscribe();
    let cuts = states.borrow().cuts;
    // A server that is down: the client is hung up on.
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut both = pin!(async {
        select! {
            () = requests(from_client, to_server, &wire) => {}
            () = answers(from_server, to_client, &wire) => {}
        }
    });
    let mut holes = wire.0.subscribe();
    select! {
        () = &mut both => return,
        // Woken in any case: the wire has the other end.
        _ = holes.wait_for(|state| state.holes > number) => {}
        _ = states.wait_for(|state| state.cuts > cuts) => return,
    }
    // Both ends stay open, and nothing is read of either.
    let _ = states.wait_for(|state| state.cuts > cuts).await;
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, wire: &Wire) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        wire.pass_request().await;
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, wire: &Wire) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        let mut rest = &buffer[..bytes];
        while !rest.is_empty() {
            let taken = wire.take(rest.len()).await;
            if taken == 0 {
                wire.cut();
                return;
            }
            if to.write_all(&rest[..taken]).await.is_err() {
                return;
            }
            rest = &rest[taken..];
        }
    }
}
