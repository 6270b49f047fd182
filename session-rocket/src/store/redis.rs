//! Sessions in Redis, Valkey or a compatible server: one server, or a cluster.
//!
//! A URL is `redis://user:password@host:6379/0`, or `redis+cluster://user:password@one:6379,two:6379` for a cluster. The
//! store finds the other nodes of a cluster through the nodes in the URL. User and password apply to all nodes. `rediss`
//! and `rediss+cluster` encrypt the connections with TLS, and this machine must trust the server's certificate. rustls
//! uses the crypto provider `ring`, unless the application installs another one before it opens the store. For a proxy
//! that does not support RESP3, append `?protocol=2`. The store needs Redis 6.0 or later.
//!
//! Each session is one string in Redis. Its name is `key_prefix` and the session's key in hexadecimal digits. Each call
//! reads or changes the string with one command or script, which the server runs atomically. The site's clock decides
//! whether a session has expired. The server removes an expired session a minute later.
//!
//! Redis acknowledges a change before it sends the change to its replicas. Redis's settings `appendonly` and
//! `appendfsync` decide when it writes the change to the disk. If a server fails, its last changes may be lost.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;

use super::bounded::bounded;
use super::{Create, Lookup, Options, Retire, Stats, Store, Touch, Update};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::id::{Key, random_bytes};
use crate::store::record::{Fate, Record, Tombstone, Version};
use node::command;
use script::ScriptReply;
use server::Server;

mod cluster;
mod connection;
mod count;
mod fault;
mod identity;
mod index;
mod node;
mod records;
mod script;
mod server;
mod url;

/// A store in Redis.
pub struct RedisStore(Server);

impl RedisStore {
    /// Connects to the server or cluster in `options.url`. Creates and deletes a session, to check the rights of the URL's
    /// user. Logs a warning if a server may evict sessions.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if the URL or the password is wrong, the user lacks a right, or the
    /// server is a replica. [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) or
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if the server cannot be reached within `options.timeout`.
    pub async fn open(options: &Options) -> Result<Self> {
        let store = Self(Server::new(options)?);
        store.within(pin!(store.check())).await.map_err(fault::at_launch)?;
        Ok(store)
    }

    /// Makes every call that a request may make, on a session with a random key, to check the user's rights.
    async fn check(&self) -> Result<()> {
        const LIFETIME: Duration = Duration::from_secs(60);
        self.0.check_nodes().await?;
        let (key, now) = (Key::from_bytes(random_bytes()?), self.0.now());
        let (scope, identity) = ("", key.to_hex());
        let record = Record::new(Version::random()?, now.plus(LIFETIME))
            .with_scope(scope)
            .with_times(now, now)
            .with_identity(&identity);
        self.create(&key, &record).await?;
        self.update(&key, record.version, &record).await?;
        self.touch(&key, record.version, now.plus(LIFETIME * 2)).await?;
        self.list(scope, &identity).await?;
        self.retire(&key, None, Tombstone::ended(now.plus(LIFETIME))).await?;
        self.delete(&key).await?;
        let index = self.0.index(scope, &identity);
        self.0.run(&self.0.scripts.remove_from_index, &index, &(key.as_bytes(), 0)).await?;
        self.0.call(&index, command(("DEL", &index))).await?;
        Ok(())
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T>> + Send + Unpin) -> Result<T> {
        bounded(&*self.0.clock, self.0.timeout, "Redis", call).await
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        self.within(pin!(self.0.load(key))).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        Ok(match self.within(pin!(self.0.write(key, None, record))).await? {
            ScriptReply::Changed(_) => Create::Created,
            ScriptReply::Unchanged(_) => Create::Taken,
        })
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        Ok(match self.within(pin!(self.0.write(key, Some(expected), record))).await? {
            ScriptReply::Changed(_) => Update::Updated,
            ScriptReply::Unchanged(Lookup::Found(fresh)) => Update::Conflict(fresh),
            ScriptReply::Unchanged(Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. })) => Update::Moved(to),
            ScriptReply::Unchanged(Lookup::Tombstone(_) | Lookup::Absent) => Update::Gone,
        })
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        Ok(match self.within(pin!(self.0.touch(key, expected, expires_at))).await? {
            ScriptReply::Changed(_) => Touch::Touched,
            ScriptReply::Unchanged(Lookup::Found(_)) => Touch::Conflict,
            ScriptReply::Unchanged(Lookup::Tombstone(_) | Lookup::Absent) => Touch::Gone,
        })
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        Ok(match self.within(pin!(self.0.retire(key, expected, tombstone))).await? {
            ScriptReply::Changed(owner) => {
                // A session that moved stays in the index, because its tombstone leads to the new key.
                if let (Some((scope, identity)), Fate::Ended) = (owner, tombstone.fate) {
                    // Even if this fails, the session has ended, and readers of the index skip its key.
                    let _ = self.within(pin!(self.0.remove_from_index(&scope, &identity, key))).await;
                }
                Retire::Retired
            }
            ScriptReply::Unchanged(Lookup::Found(fresh)) => Retire::Conflict(fresh),
            ScriptReply::Unchanged(Lookup::Tombstone(_) | Lookup::Absent) => Retire::Gone,
        })
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.within(pin!(self.0.delete(key))).await
    }

    /// Only checks that the server replies, because Redis removes expired sessions by itself.
    async fn delete_expired(&self, _limit: u32) -> Result<u64> {
        self.within(pin!(async { Ok(self.0.call(&self.0.prefix, command("PING")).await?) })).await.map(|_| 0)
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        self.within(pin!(self.0.list(scope, identity))).await
    }

    fn has_identity_index(&self) -> bool {
        true
    }

    async fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        for node in self.within(pin!(async { Ok(self.0.primaries().await?) })).await? {
            let mut cursor = "0".to_owned();
            loop {
                let batch = count::count_batch(&node, &self.0.prefix, self.0.now(), cursor, &mut stats);
                cursor = self.within(pin!(batch)).await?;
                if cursor == "0" {
                    break;
                }
            }
        }
        Ok(stats)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RedisStore");
        debug.field("prefix", &self.0.prefix).field("cluster", &self.0.is_cluster()).finish_non_exhaustive()
    }
}
