//! Sessions in Memcached.
//!
//! This module implements five commands of Memcached's classic text protocol: `gets`, `add`, `cas`, `delete` and
//! `version`. It does not use the newer meta protocol, because the protocol's only write command, `ms`, is unsafe. If the
//! new value is too large or there is no memory for it, Memcached 1.6 removes the old value, even if the condition of the
//! command is false.
//!
//! No published client is suitable. The experimental client of `memcache` 0.21 writes only with `ms`, resolves a host
//! name only once, distributes keys with a hash that may differ between builds, and shows keys in its errors.
//! `async-memcached` 0.9 has only one connection and no compare-and-swap.

use std::io;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use self::client::{Failure, Server};
use super::Options;
use super::key_value::{KeyValue, KeyValueStore};
use crate::base::clock::{Clock, SystemClock, Timestamp};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;

mod client;

const PORT: u16 = 11211;
/// The default maximum number of connections to each server.
const CONNECTIONS: u32 = 16;
/// The maximum `exptime` that Memcached reads as seconds from now. It reads a greater number as seconds since 1970.
const MAX_RELATIVE_EXPTIME: u64 = 30 * 24 * 60 * 60;
/// The maximum `exptime` in seconds since 1970. A server that counts with 32 bits reads a greater number as a past time.
const MAX_ABSOLUTE_EXPTIME: u64 = i32::MAX as u64;

/// A store in Memcached: `memcached://host:port`, or `memcached://host:port,host2:port2` for several servers. The
/// default port is 11211.
///
/// Memcached is a cache. If its memory is full, sessions end early. If it restarts, all users are logged out. Memcached
/// has no index of identities, so the store cannot list or revoke the sessions of one user. The store sends no password
/// and does not encrypt the connections. Everyone who can reach the server can read and change every session, so let
/// only the site reach the server.
///
/// The session's key and the addresses in the URL decide which server keeps a session. The order of the addresses does
/// not matter, but all processes of a site must list the same addresses. If you add or remove a server, the sessions that
/// then belong to another server are lost. While a server is down, the calls for its sessions fail.
///
/// If a session is larger than the server's largest item (1 MiB by default, `-I`), a save fails with
/// [`ErrorKind::TooLarge`], and the stored session does not change. The store opens at most `max_connections` connections
/// to each server (16 by default).
pub type MemcachedStore = KeyValueStore<Memcached>;

/// The servers behind a [`MemcachedStore`].
pub struct Memcached {
    servers: Vec<Server>,
    prefix: String,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl MemcachedStore {
    /// Connects to the servers in `options.url`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the URL or `key_prefix` is invalid, or if a host is not a Memcached server.
    /// [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`] if a server cannot be reached within `options.timeout`.
    pub async fn open(options: &Options) -> Result<Self> {
        let back_end = Memcached::new(options)?;
        let started = Instant::now();
        for server in &back_end.servers {
            let left = options.timeout.saturating_sub(started.elapsed());
            bounded(left, server.ping()).await.map_err(|failure| cannot_open(server.address(), failure))?;
        }
        Ok(back_end.into_store(options.clock.clone()))
    }
}

impl Memcached {
    fn new(options: &Options) -> Result<Self> {
        let prefix = options.key_prefix.clone();
        // `Config` allows 100 characters, and a cache appends `cache:` to them.
        if prefix.len() > 120 || !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            let context =
                "invalid value for `key_prefix`: expected at most 120 printable ASCII characters, without spaces";
            return Err(Error::new(ErrorKind::Config, context));
        }
        let connections = options.max_connections.unwrap_or(CONNECTIONS).clamp(1, 1024);
        let connections = usize::try_from(connections).unwrap_or(1);
        let servers = addresses(&options.url)?.into_iter().map(|address| Server::new(address, connections)).collect();
        Ok(Self { servers, prefix, timeout: options.timeout, clock: options.clock.clone() })
    }

    /// Returns the server that keeps `key`, and the key's name on that server.
    ///
    /// This is rendezvous hashing: the server with the greatest hash of key and address keeps the key. So if a server is
    /// added or removed, no key moves between the other servers.
    fn server_of(&self, key: &Key) -> (&Server, String) {
        let rank =
            |server: &&Server| Sha256::new().chain_update(key.as_bytes()).chain_update(server.address()).finalize();
        let server = self.servers.iter().max_by_key(rank).expect("`addresses` returns at least one server");
        (server, format!("{}{}", self.prefix, key.to_hex()))
    }

    async fn within<R>(&self, verb: &str, call: impl Future<Output = Result<R, Failure>>) -> Result<R> {
        bounded(self.timeout, call).await.map_err(|failure| explain(verb, failure))
    }
}

impl KeyValue for Memcached {
    type Tag = u64;

    async fn load(&self, key: &Key) -> Result<Option<(Bytes, u64)>> {
        let (server, name) = self.server_of(key);
        self.within("load", server.get(&name)).await
    }

    async fn swap(&self, key: &Key, expected: Option<u64>, value: Bytes, expires_at: Timestamp) -> Result<bool> {
        let (server, name) = self.server_of(key);
        let exptime = exptime(self.clock.now().until(expires_at), SystemClock.now());
        self.within("save", server.put(&name, expected, &value, exptime)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let (server, name) = self.server_of(key);
        self.within("delete", server.delete(&name)).await
    }

    /// Only checks that the servers reply, because Memcached removes expired entries by itself.
    async fn delete_expired(&self, _limit: u32, _now: Timestamp) -> Result<u64> {
        for server in &self.servers {
            self.within("sweep", server.ping()).await?;
        }
        Ok(0)
    }
}

fn addresses(url: &str) -> Result<Vec<String>> {
    let (_, servers) = url.split_once("://").unwrap_or_default();
    let problem = if servers.contains('@') {
        "user and password are not supported"
    } else {
        match servers.split(',').map(address).collect() {
            Some(addresses) => return Ok(addresses),
            None => "expected at least one host",
        }
    };
    let context = format!(
        "invalid Memcached URL: {problem}: write `memcached://host:port`, or `memcached://host:port,host2:port2`"
    );
    Err(Error::new(ErrorKind::Config, context))
}

fn address(text: &str) -> Option<String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|port| *port != 0)?),
        _ => (text, PORT),
    };
    let name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let valid = v6.map_or_else(|| name(host), |ip| ip.parse::<Ipv6Addr>().is_ok());
    valid.then(|| format!("{host}:{port}"))
}

/// Returns the `exptime` of an entry that expires after `left`. `now` is the machine's time, not that of `options.clock`.
fn exptime(left: Duration, now: Timestamp) -> u64 {
    /// Prevents an early removal, because Memcached's clock counts whole seconds and may be late.
    const MARGIN: u128 = 5;
    let whole = |millis: u128| u64::try_from(millis.div_ceil(1000) + MARGIN).unwrap_or(u64::MAX);
    let seconds = whole(left.as_millis());
    if seconds <= MAX_RELATIVE_EXPTIME {
        return seconds;
    }
    let absolute = whole(left.as_millis() + Timestamp::from_millis(0).until(now).as_millis());
    // Zero means that the entry does not expire: Memcached keeps it until it needs the memory.
    if absolute <= MAX_ABSOLUTE_EXPTIME { absolute } else { 0 }
}

async fn bounded<R>(limit: Duration, call: impl Future<Output = Result<R, Failure>>) -> Result<R, Failure> {
    let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
    tokio::time::timeout(limit, call).await.unwrap_or_else(late)
}

fn cannot_open(address: &str, failure: Failure) -> Error {
    if let Failure::Malformed = failure {
        let context = format!(
            "`{address}` is not a Memcached server, or requires a password, which is not supported: change the URL, or \
             disable the password"
        );
        return Error::new(ErrorKind::Config, context);
    }
    let cause = explain("open", failure);
    let context = format!("the Memcached server `{address}` cannot be reached: start it, or change the URL");
    Error::with_source(cause.kind(), context, cause)
}

fn explain(verb: &str, failure: Failure) -> Error {
    let (kind, reason) = match &failure {
        Failure::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            (ErrorKind::Timeout, "Memcached did not reply within `timeout`")
        }
        Failure::Io(_) => (ErrorKind::Unavailable, "the connection to Memcached failed"),
        Failure::Malformed => (
            ErrorKind::Unavailable,
            "Memcached sent an unexpected reply: check that the URL leads to a Memcached server",
        ),
        Failure::Refused => (
            ErrorKind::Unavailable,
            "Memcached refused the command: raise its memory limit (`-m`) if its memory is full, or read its log",
        ),
        Failure::TooLarge => (
            ErrorKind::TooLarge,
            "the session is larger than Memcached's limit: lower `max_size`, or start the server with a higher `-I`",
        ),
    };
    let context = format!("cannot {verb} a session: {reason}");
    match failure {
        Failure::Io(error) => Error::with_source(kind, context, error),
        Failure::Malformed | Failure::Refused | Failure::TooLarge => Error::new(kind, context),
    }
}

#[cfg(test)]
mod tests;
