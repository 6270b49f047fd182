//! Sessions in Redis, Valkey or what speaks their protocol: one server, or a cluster.
//!
//! A URL is `redis://user:password@host:6379/0`, or `redis+cluster://user:password@one:6379,two:6379` for a cluster,
//! whose other nodes are found through those named; user and password hold for all. With `rediss` the connection is
//! encrypted, and the server's certificate has to be trusted by this machine; an application that chooses rustls' provider
//! for the process does so before it opens the store, or `ring` is taken. `?protocol=2` is for proxies that do not
//! know RESP3. It takes Redis 6.0 or later.
//!
//! Each session is one string, under the prefix and its key in hexadecimal digits; every call for one key is one script
//! that runs by itself in the server. What expired is removed by Redis. The server's own clock only does that, a minute
//! late: whether something has expired is told by this machine's.
//!
//! Redis tells its replicas of a change after it has acknowledged it, and writes it to the disk as it is configured to
//! (`appendonly yes`): what was saved in the last moments before a server dies may be lost.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::{Cmd, ErrorKind as Kind, ServerErrorKind, Value, cmd, from_redis_value};

use super::{Create, Lookup, Options, Retire, Stats, Store, Touch, Update, envelope};
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{Key, random_bytes};
use crate::store::record::{Fate, Record, Tombstone, Version};
use cluster::Cluster;
use fault::Trouble;
use node::Node;
use script::{Answer, Script, Scripts, senseless};

mod cluster;
mod count;
mod fault;
mod identity;
mod index;
mod node;
mod script;
mod url;

const MINUTE: Duration = Duration::from_secs(60);
/// So long after it expired, Redis removes what nobody can see any more: clocks differ.
const LATE: Duration = MINUTE;
/// Longer than any session, and short enough for any server to count.
const LONGEST: Duration = Duration::from_hours(24 * 365 * 100);
/// What Redis takes as one string.
const LARGEST: usize = 512 * 1024 * 1024;

/// A store in Redis.
pub struct RedisStore {
    place: Place,
    scripts: Scripts,
    prefix: String,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// Where the sessions are.
enum Place {
    One(Arc<Node>),
    Many(Box<Cluster>),
}

impl RedisStore {
    /// Opens the server or cluster that `options.url` names, and tries with a session of its own that all a store does
    /// is allowed. Warns in the log if the server may evict sessions.
    ///
    /// # Errors
    /// Within `options.timeout`: [`ErrorKind::Config`] for a wrong URL or password, a user who may not do what a store
    /// does, and a replica; [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`] when it cannot be reached.
    pub async fn open(options: &Options) -> Result<Self> {
        let target = url::read(&options.url, options.timeout)?;
        if target.is_tls {
            // The application may have chosen another; then that is the one to use.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let wrong = || Error::new(ErrorKind::Config, "the URL names no Redis server");
        let place = if target.is_cluster {
            Place::Many(Box::new(Cluster::new(&target.nodes, options.timeout).ok_or_else(wrong)?))
        } else {
            let one = target.nodes.into_iter().next().ok_or_else(wrong)?;
            Place::One(Arc::new(Node::new(one, options.timeout, options.timeout).map_err(|_| wrong())?))
        };
        let store = Self {
            place,
            scripts: Scripts::new(),
            prefix: options.key_prefix.clone(),
            timeout: options.timeout,
            clock: options.clock.clone(),
        };
        store.within(store.prove()).await.map_err(fault::at_launch)?;
        Ok(store)
    }

    /// Does all that a store does, to a session that nobody knows.
    async fn prove(&self) -> Result<()> {
        self.look_around().await?;
        let (key, now) = (Key::from_bytes(random_bytes()?), self.clock.now());
        let (scope, identity) = ("", key.to_hex());
        let record = Record::new(Version::random()?, now.plus(MINUTE))
            .with_scope(scope)
            .with_times(now, now)
            .with_identity(&identity);
        self.create(&key, &record).await?;
        self.update(&key, record.version, &record).await?;
        self.touch(&key, record.version, now.plus(MINUTE * 2)).await?;
        self.list(scope, &identity).await?;
        self.retire_all(scope, &identity, None, now.plus(MINUTE)).await?;
        self.delete(&key).await?;
        let index = self.index(scope, &identity);
        self.run(&self.scripts.forget, &index, &[]).await?;
        self.call(&index, cmd("DEL").arg(&index)).await.map(|_| ())
    }

    /// Asks each server what it is. One that makes room by forgetting sessions logs users out.
    async fn look_around(&self) -> Result<()> {
        for node in self.place.primaries().await? {
            node.call(&cmd("PING")).await?;
            // Where it is not allowed, nothing is known.
            let Ok(answer) = node.call(&cmd("INFO")).await else { continue };
            let info: String = from_redis_value(answer).unwrap_or_default();
            let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            if value("cluster_enabled") == Some("1") && matches!(self.place, Place::One(_)) {
                return Err(Error::new(ErrorKind::Config, fault::PART_OF_CLUSTER));
            }
            let policy = value("maxmemory_policy").unwrap_or("noeviction");
            if policy != "noeviction" && value("maxmemory").is_some_and(|limit| limit != "0") {
                log::warn!(
                    target: "session_rocket",
                    "this Redis makes room by forgetting keys (`maxmemory-policy {policy}`), which logs users out: \
                     keep sessions in one with `maxmemory-policy noeviction`"
                );
            }
        }
        Ok(())
    }

    /// Runs `call` for no longer than the timeout.
    async fn within<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        tokio::time::timeout(self.timeout, call).await.unwrap_or_else(|_| {
            let timeout = humantime::format_duration(self.timeout);
            Err(Error::new(ErrorKind::Timeout, format!("Redis did not answer within {timeout}")))
        })
    }

    fn name(&self, key: &Key) -> String {
        format!("{}{}", self.prefix, key.to_hex())
    }

    /// Runs a command for the key `name`.
    async fn call(&self, name: &str, command: &Cmd) -> Result<Value> {
        Ok(self.place.call(name, command).await?)
    }

    /// Runs a script on the key `name`.
    async fn run(&self, script: &Script, name: &str, arguments: &[&[u8]]) -> Result<Value> {
        match self.place.call(name, &script.by_hash(name, arguments)).await {
            Err(Trouble::Refused(error)) if error.kind() == Kind::Server(ServerErrorKind::NoScript) => {
                self.call(name, &script.in_full(name, arguments)).await
            }
            answer => Ok(answer?),
        }
    }

    /// Runs a script on what `key` holds now.
    async fn run_on(&self, key: &Key, script: &Script, arguments: &[&[u8]], now: Timestamp) -> Result<Answer> {
        let moment = moment(now);
        let arguments = [&[moment.as_slice()], arguments].concat();
        Answer::read(self.run(script, &self.name(key), &arguments).await?, now)
    }

    async fn look(&self, key: &Key) -> Result<Lookup> {
        let name = self.name(key);
        match self.call(&name, cmd("GET").arg(&name)).await? {
            Value::Nil => Ok(Lookup::Absent),
            Value::BulkString(held) => envelope::open(Bytes::from(held), self.clock.now()),
            _ => Err(senseless()),
        }
    }

    /// Writes a record by `script`. Its identity's index has to know it before: else one that is there might not be
    /// listed.
    async fn write(&self, script: &Script, key: &Key, record: &Record, expected: Option<Version>) -> Result<Answer> {
        let sealed = envelope::seal_record(record)?;
        if sealed.len() > LARGEST {
            return Err(Error::new(ErrorKind::TooLarge, "a session is larger than the 512 MiB that Redis takes"));
        }
        if let Some(identity) = &record.identity {
            self.enlist(&record.scope, identity, key, record.expires_at).await?;
        }
        let now = self.clock.now();
        let expected = bits(expected);
        self.run_on(key, script, &[&sealed, keep(now, record.expires_at).as_bytes(), &expected], now).await
    }

    /// Ends a session if it has the version and the owner wanted; those are empty where any will do.
    async fn end(&self, key: &Key, version: &[u8], owner: &[u8], tombstone: Tombstone) -> Result<Answer> {
        let now = self.clock.now();
        let (sealed, keep) = (envelope::seal_tombstone(tombstone), keep(now, tombstone.expires_at));
        self.run_on(key, &self.scripts.retire, &[&sealed, keep.as_bytes(), version, owner], now).await
    }

    async fn touch_and_enlist(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        let now = self.clock.now();
        let (moment, keep, expected) = (moment(expires_at), keep(now, expires_at), bits(Some(expected)));
        match self.run_on(key, &self.scripts.touch, &[&moment, keep.as_bytes(), &expected], now).await? {
            Answer::Done => Ok(Touch::Touched),
            Answer::DoneFor(scope, identity) => {
                self.enlist(&scope, &identity, key, expires_at).await.map(|()| Touch::Touched)
            }
            Answer::Held(Lookup::Found(_)) => Ok(Touch::Conflict),
            Answer::Held(_) => Ok(Touch::Gone),
        }
    }
}

/// A moment as scripts compare it.
fn moment(moment: Timestamp) -> [u8; 8] {
    moment.as_millis().to_be_bytes()
}

/// A version as scripts compare it; nothing for any.
fn bits(version: Option<Version>) -> Vec<u8> {
    version.map(|version| version.bits().to_be_bytes().to_vec()).unwrap_or_default()
}

/// For how many milliseconds Redis is to keep what expires at `until`.
fn keep(now: Timestamp, until: Timestamp) -> String {
    now.until(until).saturating_add(LATE).min(LONGEST).as_millis().to_string()
}

impl Place {
    async fn call(&self, name: &str, command: &Cmd) -> Result<Value, Trouble> {
        match self {
            Self::One(node) => node.call(command).await,
            Self::Many(cluster) => cluster.call(name.as_bytes(), command).await,
        }
    }

    /// The servers that keep sessions.
    async fn primaries(&self) -> Result<Vec<Arc<Node>>, Trouble> {
        match self {
            Self::One(node) => Ok(vec![node.clone()]),
            Self::Many(cluster) => cluster.primaries().await,
        }
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        self.within(self.look(key)).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        Ok(match self.within(self.write(&self.scripts.create, key, record, None)).await? {
            Answer::Held(_) => Create::Taken,
            Answer::Done | Answer::DoneFor(..) => Create::Created,
        })
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        Ok(match self.within(self.write(&self.scripts.update, key, record, Some(expected))).await? {
            Answer::Done | Answer::DoneFor(..) => Update::Updated,
            Answer::Held(Lookup::Found(fresh)) => Update::Conflict(fresh),
            Answer::Held(Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. })) => Update::Moved(to),
            Answer::Held(Lookup::Tombstone(_) | Lookup::Absent) => Update::Gone,
        })
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        self.within(self.touch_and_enlist(key, expected, expires_at)).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        Ok(match self.within(self.end(key, &bits(expected), &[], tombstone)).await? {
            Answer::Done => Retire::Retired,
            // One that moved stays in the index: it leads to where it is.
            Answer::DoneFor(scope, identity) if tombstone.fate == Fate::Ended => {
                // It has ended, whatever comes of this.
                let _ = self.within(self.delist(&scope, &identity, key)).await;
                Retire::Retired
            }
            Answer::DoneFor(..) => Retire::Retired,
            Answer::Held(Lookup::Found(fresh)) => Retire::Conflict(fresh),
            Answer::Held(Lookup::Tombstone(_) | Lookup::Absent) => Retire::Gone,
        })
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let name = self.name(key);
        self.within(self.call(&name, cmd("DEL").arg(&name))).await.map(|_| ())
    }

    /// Redis removes what expired by itself: there is nothing to do, but to find out whether it is there.
    async fn delete_expired(&self, _limit: u32) -> Result<u64> {
        self.within(self.call(&self.prefix, &cmd("PING"))).await.map(|_| 0)
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        self.within(self.list_all(scope, identity)).await
    }

    async fn retire_all(&self, scope: &str, identity: &str, except: Option<&Key>, until: Timestamp) -> Result<u64> {
        self.within(self.end_all(scope, identity, except, until)).await
    }

    async fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        for node in self.place.primaries().await? {
            count::count(&node, &self.prefix, self.clock.now(), &mut stats).await?;
        }
        Ok(stats)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_cluster = matches!(self.place, Place::Many(_));
        f.debug_struct("RedisStore").field("prefix", &self.prefix).field("cluster", &is_cluster).finish_non_exhaustive()
    }
}
