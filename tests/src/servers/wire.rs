//! A wire to a server that a test can cut.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

/// Listens on a port of its own, and passes on what comes to and from a server.
pub struct Wire {
    port: u16,
    state: Arc<State>,
}

struct State {
    server: u16,
    /// So many bytes of replies are passed on before connections are cut.
    left: AtomicU64,
    /// Swallows what comes, on the connections there are.
    is_hole: AtomicBool,
    connections: AtomicUsize,
    is_open: AtomicBool,
}

impl Wire {
    /// A wire to a port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is no port for it.
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let state = Arc::new(State {
            server,
            left: AtomicU64::new(u64::MAX),
            is_hole: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            is_open: AtomicBool::new(true),
        });
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if !shared.is_open.load(Ordering::SeqCst) {
                    return;
                }
                shared.connect(client);
            }
        });
        Self { port, state }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the connection that replies go over, once, after so many bytes more.
    pub fn cut_after(&self, bytes: u64) {
        self.state.left.store(bytes, Ordering::SeqCst);
    }

    /// Nothing comes through any more on the connections that there are, and none of them ends. New ones are sound.
    pub fn swallow(&self) {
        self.state.is_hole.store(true, Ordering::SeqCst);
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.is_open.store(false, Ordering::SeqCst);
        // Wakes who listens; if that fails, it has ended already.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn connect(self: &Arc<Self>, client: TcpStream) {
        // Where there is no server, the client is told by the end of its connection.
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.server)) else { return };
        self.connections.fetch_add(1, Ordering::SeqCst);
        self.is_hole.store(false, Ordering::SeqCst);
        let is_hole = Arc::new(AtomicBool::new(false));
        let both = [(client.try_clone(), server.try_clone(), false), (Ok(server), Ok(client), true)];
        for (from, to, is_reply) in both {
            let (Ok(from), Ok(to)) = (from, to) else { return };
            let (state, is_hole) = (self.clone(), is_hole.clone());
            thread::spawn(move || state.pass(from, to, is_reply, &is_hole));
        }
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, is_reply: bool, is_hole: &AtomicBool) {
        let mut buffer = [0; 4096];
        loop {
            let length = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            // Once a hole, it stays one, whatever happens to connections made later.
            if is_hole.load(Ordering::SeqCst) || self.is_hole.load(Ordering::SeqCst) {
                is_hole.store(true, Ordering::SeqCst);
                continue;
            }
            let left = if is_reply { self.left.load(Ordering::SeqCst) } else { u64::MAX };
            let passed = length.min(usize::try_from(left).unwrap_or(usize::MAX));
            if to.write_all(&buffer[..passed]).is_err() {
                break;
            }
            if is_reply && left != u64::MAX {
                self.left.store(left - passed as u64, Ordering::SeqCst);
            }
            if passed < length {
                self.left.store(u64::MAX, Ordering::SeqCst);
                break;
            }
        }
        for stream in [from, to] {
            // The other half may have ended it.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
