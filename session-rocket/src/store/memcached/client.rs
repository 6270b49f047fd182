//! What is said to one Memcached server: one question and its answer at a time, each on a connection of its own.
//!
//! A connection goes back to those at rest only after a whole answer that was understood. Whatever else ends an
//! exchange, an error or a dropped future, closes it: nobody ever reads an answer that was meant for another.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::base::error::Error;

/// No item is larger, whatever `-I` the server has.
const LARGEST: u64 = 1 << 30;
/// No line that Memcached answers is longer: a key has 250 bytes at most.
const LONGEST_LINE: usize = 1024;
/// Firewalls forget connections that are quiet for long, and tell neither end.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Why an exchange came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection could not be made, or broke: whether a write happened is not known.
    Io(io::Error),
    /// What came back is no answer to the question: not a Memcached server, or not one to be spoken to.
    Garbled,
    /// The server has no room for it, or is in trouble.
    Refused,
    /// The value is larger than the server takes.
    TooLarge,
    /// What the store made of it.
    Store(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// What a key holds.
pub(super) struct Item {
    pub(super) value: Bytes,
    /// Changes with every write.
    pub(super) unique: u64,
}

/// What has to be so for a value to be written.
#[derive(Clone, Copy)]
pub(super) enum When {
    Absent,
    Unchanged(u64),
}

/// A server, and the connections to it.
pub(super) struct Server {
    address: String,
    slots: Semaphore,
    resting: Mutex<Vec<(Connection, Instant)>>,
}

impl Server {
    /// The server at `address`, a host and a port, to be reached over so many connections at most.
    pub(super) fn new(address: String, connections: usize) -> Self {
        Self { address, slots: Semaphore::new(connections), resting: Mutex::default() }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Asks for the server's version, which every Memcached server tells.
    pub(super) async fn greet(&self) -> Result<(), Failure> {
        self.look(b"version\r\n", |reply| reply.line.starts_with("VERSION ").then_some(())).await
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Item>, Failure> {
        let question = format!("gets {key}\r\n");
        let read = |reply: Reply| match reply.line.split(' ').collect::<Vec<_>>()[..] {
            ["END"] => Some(None),
            ["VALUE", held, _, _, unique] if held == key => {
                Some(Some(Item { value: reply.value.into(), unique: unique.parse().ok()? }))
            }
            _ => None,
        };
        self.look(question.as_bytes(), read).await
    }

    /// Writes a value, and says whether it did. `lifetime` is what Memcached calls `exptime`.
    pub(super) async fn put(&self, key: &str, when: When, value: &[u8], lifetime: u64) -> Result<bool, Failure> {
        let length = value.len();
        let command = match when {
            When::Absent => format!("add {key} 0 {lifetime} {length}\r\n"),
            When::Unchanged(unique) => format!("cas {key} 0 {lifetime} {length} {unique}\r\n"),
        };
        let question = [command.as_bytes(), value, b"\r\n"].concat();
        let read = |reply: Reply| match reply.line.as_str() {
            "STORED" => Some(true),
            "NOT_STORED" | "EXISTS" | "NOT_FOUND" => Some(false),
            _ => None,
        };
        self.exchange(&question, read).await
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), Failure> {
        let question = format!("delete {key}\r\n");
        let read = |reply: Reply| matches!(reply.line.as_str(), "DELETED" | "NOT_FOUND").then_some(());
        self.exchange(question.as_bytes(), read).await
    }

    /// Asks what changes nothing: once more, where a connection had died at rest.
    async fn look<R>(&self, question: &[u8], read: impl Fn(Reply) -> Option<R>) -> Result<R, Failure> {
        match self.exchange(question, &read).await {
            Err(Failure::Io(_)) => self.exchange(question, &read).await,
            done => done,
        }
    }

    async fn exchange<R>(&self, question: &[u8], read: impl Fn(Reply) -> Option<R>) -> Result<R, Failure> {
        let _slot = self.slots.acquire().await.expect("nobody closes the semaphore");
        let mut connection = match self.rested() {
            Some(connection) => connection,
            None => Connection::open(&self.address).await?,
        };
        match connection.ask(question).await {
            Ok(reply) => {
                let answer = read(reply).ok_or(Failure::Garbled)?;
                self.lock().push((connection, Instant::now()));
                Ok(answer)
            }
            Err(failure) => {
                if let Failure::Io(_) = failure {
                    // A server that went away took them all with it.
                    self.lock().clear();
                }
                Err(failure)
            }
        }
    }

    /// The connection that was used last, if it is still fit for use.
    fn rested(&self) -> Option<Connection> {
        let (connection, since) = self.lock().pop()?;
        if since.elapsed() < LONGEST_REST && connection.is_quiet() {
            return Some(connection);
        }
        // The others are older still.
        self.lock().clear();
        None
    }

    /// Nothing panics with the lock held.
    fn lock(&self) -> MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer's first line, without its end, and the value that came with it.
struct Reply {
    line: String,
    value: Vec<u8>,
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Looks the name up each time: a server that was started anew may have another address.
    async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Whether nothing was said since the last answer, not even that the connection ends.
    fn is_quiet(&self) -> bool {
        let heard = self.0.get_ref().try_read(&mut [0]);
        self.0.buffer().is_empty() && heard.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    async fn ask(&mut self, question: &[u8]) -> Result<Reply, Failure> {
        self.0.write_all(question).await?;
        let line = self.line().await?;
        if let Some(error) = line.strip_prefix("SERVER_ERROR ") {
            return Err(if error.starts_with("object too large") { Failure::TooLarge } else { Failure::Refused });
        }
        let mut value = Vec::new();
        if line.starts_with("VALUE ") {
            let length = line.split(' ').nth(3).and_then(|length| length.parse().ok());
            let length = length.filter(|length| *length <= LARGEST).ok_or(Failure::Garbled)?;
            (&mut self.0).take(length).read_to_end(&mut value).await?;
            if !self.line().await?.is_empty() || self.line().await? != "END" {
                return Err(Failure::Garbled);
            }
        }
        Ok(Reply { line, value })
    }

    async fn line(&mut self) -> Result<String, Failure> {
        let mut line = Vec::new();
        (&mut self.0).take(LONGEST_LINE as u64).read_until(b'\n', &mut line).await?;
        if line.last() != Some(&b'\n') && line.len() < LONGEST_LINE {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let line = line.strip_suffix(b"\r\n").ok_or(Failure::Garbled)?;
        String::from_utf8(line.to_vec()).map_err(|_| Failure::Garbled)
    }
}
