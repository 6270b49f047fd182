//! A TCP proxy between a site and a database that can delay data, cut connections, and discard data silently.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A proxy that runs until it is dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

/// The state that all connections of a proxy share. A change of the state wakes the tasks that wait for it.
struct Shared(watch::Sender<State>);

#[derive(Clone, Default)]
struct State {
    /// The number of connections so far.
    connections: usize,
    /// The number of reply bytes that have passed.
    reply_bytes: usize,
    /// The number of replies that are held.
    held_replies: usize,
    /// After this number of reply bytes, further bytes are held.
    hold_at: Option<usize>,
    /// After this number of reply bytes, all connections are cut.
    cut_at: Option<usize>,
    /// The number of cuts. Each cut ends all open connections.
    cuts: usize,
    /// Connections with a lower number pass no data, but stay open.
    silenced: usize,
    /// Whether to hold the next request.
    hold_next: bool,
    /// Whether a request is held.
    request_is_held: bool,
    /// Whether to hold the requests after the held one, on all connections.
    hold_later: bool,
}

impl Proxy {
    /// Starts a proxy to a port of 127.0.0.1.
    ///
    /// # Panics
    /// If the proxy cannot listen.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared(watch::Sender::new(State::default())));
        let acceptor = tokio::spawn(accept(listener, SocketAddr::from(([127, 0, 0, 1], port)), shared.clone()));
        Self { port: address.port(), shared, acceptor }
    }

    /// The port on which the proxy listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.shared.0.borrow().connections
    }

    /// The number of reply bytes that have passed.
    pub fn reply_bytes(&self) -> usize {
        self.shared.0.borrow().reply_bytes
    }

    /// Cuts all connections as soon as there are more than `bytes` further reply bytes, after those bytes have passed.
    pub fn cut_after(&self, bytes: usize) {
        self.shared.0.send_modify(|state| state.cut_at = Some(state.reply_bytes + bytes));
    }

    /// Cuts all connections now.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Holds replies after `bytes` further reply bytes, until [`release_replies`](Self::release_replies). Requests
    /// pass.
    pub fn hold_replies_after(&self, bytes: usize) {
        self.shared.0.send_modify(|state| state.hold_at = Some(state.reply_bytes + bytes));
    }

    /// Waits until a reply is held.
    pub async fn wait_for_held_reply(&self) {
        let mut states = self.shared.0.subscribe();
        // Cannot fail: `self` has the sender.
        let _ = states.wait_for(|state| state.held_replies > 0).await;
    }

    /// Lets replies pass again, beginning with the held ones.
    pub fn release_replies(&self) {
        self.shared.0.send_modify(|state| state.hold_at = None);
    }

    /// Holds the next request, and all later ones on its connection, until [`release_request`](Self::release_request).
    /// Other connections are not affected.
    pub fn hold_next_request(&self) {
        self.shared.0.send_modify(|state| state.hold_next = true);
    }

    /// Holds the next request until [`release_request`](Self::release_request), and all later requests on all
    /// connections until [`release_later_requests`](Self::release_later_requests).
    pub fn hold_next_request_and_later_ones(&self) {
        self.shared.0.send_modify(|state| {
            state.hold_next = true;
            state.hold_later = true;
        });
    }

    /// Lets later requests than the held one pass again.
    pub fn release_later_requests(&self) {
        self.shared.0.send_modify(|state| state.hold_later = false);
    }

    /// Waits until a request is held.
    pub async fn wait_for_held_request(&self) {
        let mut states = self.shared.0.subscribe();
        // Cannot fail: `self` has the sender.
        let _ = states.wait_for(|state| state.request_is_held).await;
    }

    /// Whether a request is held.
    pub fn is_holding_request(&self) -> bool {
        self.shared.0.borrow().request_is_held
    }

    /// Sends the held request to the server, even if its client has disconnected.
    pub fn release_request(&self) {
        self.shared.0.send_modify(|state| state.request_is_held = false);
    }

    /// From now on, the open connections pass no data, but stay open. New connections work.
    pub fn silence_connections(&self) {
        self.shared.0.send_modify(|state| state.silenced = state.connections);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.shared.cut();
    }
}

impl Shared {
    fn cut(&self) {
        self.0.send_modify(|state| {
            state.cut_at = None;
            state.cuts += 1;
        });
    }

    /// Waits if this request is to be held.
    async fn pass_request(&self) {
        let is_held = self.0.send_if_modified(|state| {
            state.request_is_held |= state.hold_next;
            std::mem::take(&mut state.hold_next)
        });
        let may_pass = |state: &State| if is_held { !state.request_is_held } else { !state.hold_later };
        // Cannot fail: `self` has the sender.
        let _ = self.0.subscribe().wait_for(may_pass).await;
    }

    /// Waits until some of `bytes` reply bytes may pass, and returns how many. Returns 0 if all connections are to be
    /// cut.
    async fn admit_reply_bytes(&self, bytes: usize) -> usize {
        let mut states = self.0.subscribe();
        loop {
            let mut admitted = None;
            self.0.send_if_modified(|state| {
                let left =
                    |end: Option<usize>| end.map_or(bytes, |end| bytes.min(end.saturating_sub(state.reply_bytes)));
                let (until_hold, until_cut) = (left(state.hold_at), left(state.cut_at));
                if until_hold == 0 {
                    return false;
                }
                admitted = Some(until_hold.min(until_cut));
                state.reply_bytes += until_hold.min(until_cut);
                true
            });
            if let Some(admitted) = admitted {
                return admitted;
            }
            self.0.send_modify(|state| state.held_replies += 1);
            let released = |state: &State| state.hold_at.is_none_or(|end| state.reply_bytes < end);
            // Cannot fail: `self` has the sender.
            let _ = states.wait_for(released).await;
            self.0.send_modify(|state| state.held_replies -= 1);
        }
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut number = 0;
        shared.0.send_modify(|state| {
            number = state.connections;
            state.connections += 1;
        });
        tokio::spawn(pass(client, server, shared.clone(), number));
    }
}

/// Forwards one connection until it ends or is cut.
async fn pass(client: TcpStream, server: SocketAddr, shared: Arc<Shared>, number: usize) {
    let mut states = shared.0.subscribe();
    let cuts = states.borrow().cuts;
    // If the server is down, the client is disconnected.
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut both = pin!(async {
        select! {
            () = requests(from_client, to_server, &shared) => {}
            () = replies(from_server, to_client, &shared) => {}
        }
    });
    let mut silenced_states = shared.0.subscribe();
    select! {
        () = &mut both => return,
        // Cannot fail: `shared` has the sender.
        _ = silenced_states.wait_for(|state| state.silenced > number) => {}
        _ = states.wait_for(|state| state.cuts > cuts) => return,
    }
    // Both connections stay open, and nobody reads from them.
    let _ = states.wait_for(|state| state.cuts > cuts).await;
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        shared.pass_request().await;
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}

async fn replies(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        let mut rest = &buffer[..bytes];
        while !rest.is_empty() {
            let admitted = shared.admit_reply_bytes(rest.len()).await;
            if admitted == 0 {
                shared.cut();
                return;
            }
            if to.write_all(&rest[..admitted]).await.is_err() {
                return;
            }
            rest = &rest[admitted..];
        }
    }
}
