//! The client of one Memcached server. A connection handles one command and its reply at a time.
//!
//! A connection becomes idle again only after a complete, valid reply. An error or a dropped future closes the
//! connection, so that no call can read the reply to another call.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Memcached's largest limit for an item (`-I`).
const MAX_ITEM_SIZE: u64 = 1 << 30;
/// The maximum length of a line in a reply. Valid lines are shorter, because a key has at most 250 bytes.
const MAX_LINE_LEN: usize = 1024;
/// The maximum time for which a connection may be idle. Firewalls drop idle connections without notice.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// Why an exchange failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection could not be opened, or it broke. A write may have happened.
    Io(io::Error),
    /// The reply does not fit the command: the server is not Memcached or requires a password.
    Malformed,
    /// The server has no memory for the value, or has another internal error.
    Refused,
    /// The value is larger than the server's limit.
    TooLarge,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A server and the connections to it.
pub(super) struct Server {
    address: String,
    permits: Semaphore,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Server {
    /// Creates the client of the server at `address`, a host and a port, with at most `connections` connections.
    pub(super) fn new(address: String, connections: usize) -> Self {
        Self { address, permits: Semaphore::new(connections), idle: Mutex::default() }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Checks with the command `version` that a Memcached server replies.
    pub(super) async fn ping(&self) -> Result<(), Failure> {
        self.query(b"version\r\n", |reply| reply.line.starts_with("VERSION ").then_some(())).await
    }

    /// Returns the value of `key`, and a number that identifies the value. Every write changes the number.
    pub(super) async fn get(&self, key: &str) -> Result<Option<(Bytes, u64)>, Failure> {
        let command = format!("gets {key}\r\n");
        let read = |reply: Reply| match reply.line.split(' ').collect::<Vec<_>>()[..] {
            ["END"] => Some(None),
            ["VALUE", name, _, _, unique] if name == key => Some(Some((reply.value.into(), unique.parse().ok()?))),
            _ => None,
        };
        self.query(command.as_bytes(), read).await
    }

    /// Writes `value` if the key still holds the value that `expected` identifies, or still holds no value if `expected`
    /// is `None`. Returns whether it wrote `value`.
    pub(super) async fn put(
        &self,
        key: &str,
        expected: Option<u64>,
        value: &[u8],
        exptime: u64,
    ) -> Result<bool, Failure> {
        let length = value.len();
        let line = match expected {
            None => format!("add {key} 0 {exptime} {length}\r\n"),
            Some(unique) => format!("cas {key} 0 {exptime} {length} {unique}\r\n"),
        };
        let command = [line.as_bytes(), value, b"\r\n"].concat();
        let read = |reply: Reply| match reply.line.as_str() {
            "STORED" => Some(true),
            "NOT_STORED" | "EXISTS" | "NOT_FOUND" => Some(false),
            _ => None,
        };
        self.exchange(&command, read).await
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), Failure> {
        let command = format!("delete {key}\r\n");
        let read = |reply: Reply| matches!(reply.line.as_str(), "DELETED" | "NOT_FOUND").then_some(());
        self.exchange(command.as_bytes(), read).await
    }

    /// Sends a read-only command. If the connection fails, sends the command again, because the connection may have
    /// broken while it was idle.
    async fn query<R>(&self, command: &[u8], read: impl Fn(Reply) -> Option<R>) -> Result<R, Failure> {
        match self.exchange(command, &read).await {
            Err(Failure::Io(_)) => self.exchange(command, &read).await,
            done => done,
        }
    }

    async fn exchange<R>(&self, command: &[u8], read: impl Fn(Reply) -> Option<R>) -> Result<R, Failure> {
        let _permit = self.permits.acquire().await.expect("nobody closes the semaphore");
        let mut connection = match self.take_idle() {
            Some(connection) => connection,
            None => Connection::open(&self.address).await?,
        };
        match connection.send_and_read(command).await {
            Ok(reply) => {
                let result = read(reply).ok_or(Failure::Malformed)?;
                self.lock().push((connection, Instant::now()));
                Ok(result)
            }
            Err(failure) => {
                if let Failure::Io(_) = failure {
                    // If the server has stopped, the other connections are broken too.
                    self.lock().clear();
                }
                Err(failure)
            }
        }
    }

    /// Takes the idle connection that was used last, if it is still usable.
    fn take_idle(&self) -> Option<Connection> {
        let (connection, since) = self.lock().pop()?;
        if since.elapsed() < MAX_IDLE && connection.is_usable() {
            return Some(connection);
        }
        // The other connections have been idle for longer.
        self.lock().clear();
        None
    }

    /// Locks the idle connections. A poisoned lock is usable, because no code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first line of a reply, without its line break, and the value that followed.
struct Reply {
    line: String,
    value: Vec<u8>,
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Resolves the host name each time, because a restarted server may have another address.
    async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Whether the connection is open and has received nothing since the last reply.
    fn is_usable(&self) -> bool {
        let read = self.0.get_ref().try_read(&mut [0]);
        self.0.buffer().is_empty() && read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    async fn send_and_read(&mut self, command: &[u8]) -> Result<Reply, Failure> {
        self.0.write_all(command).await?;
        let line = self.line().await?;
        if let Some(error) = line.strip_prefix("SERVER_ERROR ") {
            return Err(if error.starts_with("object too large") { Failure::TooLarge } else { Failure::Refused });
        }
        let mut value = Vec::new();
        if line.starts_with("VALUE ") {
            let length = line.split(' ').nth(3).and_then(|length| length.parse().ok());
            let length = length.filter(|length| *length <= MAX_ITEM_SIZE).ok_or(Failure::Malformed)?;
            (&mut self.0).take(length).read_to_end(&mut value).await?;
            if !self.line().await?.is_empty() || self.line().await? != "END" {
                return Err(Failure::Malformed);
            }
        }
        Ok(Reply { line, value })
    }

    async fn line(&mut self) -> Result<String, Failure> {
        let mut line = Vec::new();
        (&mut self.0).take(MAX_LINE_LEN as u64).read_until(b'\n', &mut line).await?;
        if line.last() != Some(&b'\n') && line.len() < MAX_LINE_LEN {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let line = line.strip_suffix(b"\r\n").ok_or(Failure::Malformed)?;
        String::from_utf8(line.to_vec()).map_err(|_| Failure::Malformed)
    }
}
