//! Sessions in Memcached.
//!
//! It is spoken to in its classic text protocol (`gets`, `add`, `cas`, `delete`), by a small client of this crate's
//! own. A refused write must leave what was there: `ms`, the newer protocol's one command for every write, removes the
//! item whenever the new value is too large or finds no memory, even where its condition does not hold, as Memcached
//! 1.6 does it. The experimental client of `memcache` 0.21 pools its connections, bounds every exchange and drops a
//! connection whose caller goes away; but it writes with `ms` only, looks a host's name up once and for all, spreads
//! keys by a hash that may differ from one build to the next, and names keys in its errors. `async-memcached` 0.9
//! closes a connection that was cut off as well, but is that one connection, and has no compare-and-swap.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use self::client::{Failure, Server, When};
use super::{Create, Lookup, Options, Retire, Store, Touch, Update, envelope};
use crate::base::clock::{Clock, SystemClock, Timestamp};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone, Version};

mod client;

const PORT: u16 = 11211;
/// How many connections to one server there are at most, unless the options say.
const CONNECTIONS: u32 = 16;
/// A longer lifetime is taken for a moment: seconds since 1970.
const LONGEST_LIFETIME: u64 = 30 * 24 * 60 * 60;
/// Later moments have passed, to a server that counts with 32 bits.
const LAST_MOMENT: u64 = i32::MAX as u64;

/// A store in Memcached: `memcached://host:port`, or `memcached://host:port,host2:port2` for several servers. The
/// port may be left out: it is 11211 then.
///
/// Memcached is a cache. Sessions end early when its memory is full and others need the room, and all of them when it
/// is started anew: whoever was logged in is logged out. It keeps no index of identities, so that all sessions of one
/// user cannot be listed or revoked. Whoever reaches the server reads and changes every session in it: this store
/// gives no password and does not encrypt, so the server must be reachable for the site alone.
///
/// Each session is on one of the servers, which its key and the servers' names as written here decide; their order
/// does not matter. All processes of a site have to name the same ones. Naming one more, or one less, loses the
/// sessions that are then looked for elsewhere; the sessions on a server that is down cannot be reached until it is up.
///
/// A session that is larger than the server's items may be, 1 MiB unless it was started with `-I`, is
/// [`ErrorKind::TooLarge`], and what was stored before stays. Up to 16 connections are opened to each server, or
/// `max_connections`.
pub struct MemcachedStore {
    servers: Vec<Server>,
    prefix: String,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl MemcachedStore {
    /// Connects to the servers that `options.url` names.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the URL or the prefix of the keys is wrong, or what answers is no Memcached server;
    /// [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`] when a server cannot be reached within `options.timeout`.
    pub async fn open(options: &Options) -> Result<Self> {
        let prefix = options.key_prefix.clone();
        // A cache's own prefix is a little longer than the site's.
        if prefix.len() > 120 || !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            let context = "`key_prefix` must be at most 120 printable ASCII characters, and no space";
            return Err(Error::new(ErrorKind::Config, context));
        }
        let connections = options.max_connections.unwrap_or(CONNECTIONS).clamp(1, 1024);
        let connections = usize::try_from(connections).unwrap_or(1);
        let server = |address| Server::new(address, connections);
        let servers = addresses(&options.url)?.into_iter().map(server).collect();
        let store = Self { servers, prefix, timeout: options.timeout, clock: options.clock.clone() };
        let started = Instant::now();
        for server in &store.servers {
            let left = options.timeout.saturating_sub(started.elapsed());
            bounded(left, server.greet()).await.map_err(|failure| cannot_open(server.address(), failure))?;
        }
        Ok(store)
    }

    /// The server that keeps `key`, and the key's name there. Of all servers the one whose name, hashed with the key,
    /// comes last: one that is added or left out moves no keys but its own.
    fn place(&self, key: &Key) -> (&Server, String) {
        let rank =
            |server: &&Server| Sha256::new().chain_update(key.as_bytes()).chain_update(server.address()).finalize();
        let server = self.servers.iter().max_by_key(rank).expect("a store without servers is not opened");
        (server, format!("{}{}", self.prefix, key.to_hex()))
    }

    /// Runs a call, within the timeout.
    async fn within<R>(&self, what: &str, call: impl Future<Output = Result<R, Failure>>) -> Result<R> {
        bounded(self.timeout, call).await.map_err(|failure| explain(what, failure))
    }

    /// Replaces what `key` holds by what `decide` makes of it, or answers as it says. It is asked again as long as
    /// others were faster, and told so: each time, one of them got its work done.
    async fn swap<R>(&self, key: &Key, decide: impl Fn(Lookup, bool) -> Result<Step<R>>) -> Result<R, Failure> {
        let (server, name) = self.place(key);
        let mut lost = false;
        loop {
            let item = server.get(&name).await?;
            let when = item.as_ref().map_or(When::Absent, |item| When::Unchanged(item.unique));
            let held = item.map_or(Ok(Lookup::Absent), |item| self.read(item.value))?;
            match decide(held, lost)? {
                Step::Answer(answer) => return Ok(answer),
                Step::Put(value, expires_at, answer) => {
                    if server.put(&name, when, &value, self.lifetime(expires_at)).await? {
                        return Ok(answer);
                    }
                }
            }
            lost = true;
        }
    }

    fn read(&self, value: Bytes) -> Result<Lookup> {
        envelope::open(value, self.clock.now())
    }

    /// How long Memcached has to keep what expires at `expires_at`, as it wants to be told.
    fn lifetime(&self, expires_at: Timestamp) -> u64 {
        lifetime(self.clock.now().until(expires_at), SystemClock.now())
    }
}

/// What to do about what a key holds.
enum Step<R> {
    /// To put these bytes there, which expire at that moment, and then to answer.
    Put(Vec<u8>, Timestamp, R),
    Answer(R),
}

#[async_trait]
impl Store for MemcachedStore {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        let (server, name) = self.place(key);
        let item = self.within("load", server.get(&name)).await?;
        item.map_or(Ok(Lookup::Absent), |item| self.read(item.value))
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        let value = envelope::seal_record(record)?;
        let (server, name) = self.place(key);
        self.within("create", async {
            if server.put(&name, When::Absent, &value, self.lifetime(record.expires_at)).await? {
                return Ok(Create::Created);
            }
            // What is in the way may have expired by the clock that counts.
            self.swap(key, |held, _| {
                Ok(match held {
                    Lookup::Absent => Step::Put(value.clone(), record.expires_at, Create::Created),
                    Lookup::Found(_) | Lookup::Tombstone(_) => Step::Answer(Create::Taken),
                })
            })
            .await
        })
        .await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let update = self.swap(key, |held, lost| {
            Ok(match held {
                Lookup::Found(found) if found.version == expected => {
                    Step::Put(envelope::seal_record(record)?, record.expires_at, Update::Updated)
                }
                // It was this very change that was faster, sent by a call that was cut off.
                Lookup::Found(found) if lost && found.version == record.version => Step::Answer(Update::Updated),
                Lookup::Found(found) => Step::Answer(Update::Conflict(found)),
                Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => Step::Answer(Update::Moved(to)),
                Lookup::Tombstone(_) | Lookup::Absent => Step::Answer(Update::Gone),
            })
        });
        self.within("save", update).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        let touch = self.swap(key, |held, _| {
            Ok(match held {
                Lookup::Found(found) if found.version != expected => Step::Answer(Touch::Conflict),
                Lookup::Found(found) if found.expires_at >= expires_at => Step::Answer(Touch::Touched),
                Lookup::Found(found) => {
                    let value = envelope::seal_record(&Record { expires_at, ..found })?;
                    Step::Put(value, expires_at, Touch::Touched)
                }
                Lookup::Tombstone(_) | Lookup::Absent => Step::Answer(Touch::Gone),
            })
        });
        self.within("refresh", touch).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        let retire = self.swap(key, |held, _| {
            Ok(match held {
                Lookup::Found(found) if expected.is_some_and(|version| version != found.version) => {
                    Step::Answer(Retire::Conflict(found))
                }
                Lookup::Found(_) => {
                    Step::Put(envelope::seal_tombstone(tombstone), tombstone.expires_at, Retire::Retired)
                }
                Lookup::Tombstone(_) | Lookup::Absent => Step::Answer(Retire::Gone),
            })
        });
        self.within("end", retire).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let (server, name) = self.place(key);
        self.within("delete", server.delete(&name)).await
    }

    /// Memcached removes what expired by itself. Only asks whether the servers are there.
    async fn delete_expired(&self, _limit: u32) -> Result<u64> {
        self.within("sweep", async {
            for server in &self.servers {
                server.greet().await?;
            }
            Ok(0)
        })
        .await
    }
}

impl fmt::Debug for MemcachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemcachedStore").field("servers", &self.servers.len()).finish_non_exhaustive()
    }
}

/// The hosts and ports in a URL.
fn addresses(url: &str) -> Result<Vec<String>> {
    let (_, servers) = url.split_once("://").unwrap_or_default();
    let problem = if servers.contains('@') {
        "takes no user and no password: write"
    } else {
        match servers.split(',').map(address).collect() {
            Some(addresses) => return Ok(addresses),
            None => "names no servers: write",
        }
    };
    let context = format!("the Memcached URL {problem} `memcached://host:port`, or several hosts separated by commas");
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

/// `exptime` of what lives so much longer, where it is `now` by the machine's clock.
fn lifetime(left: Duration, now: Timestamp) -> u64 {
    /// Memcached counts whole seconds by a clock that lags, and must not be the first to drop anything.
    const MARGIN: u128 = 5;
    let whole = |millis: u128| u64::try_from(millis.div_ceil(1000) + MARGIN).unwrap_or(u64::MAX);
    let seconds = whole(left.as_millis());
    if seconds <= LONGEST_LIFETIME {
        return seconds;
    }
    let moment = whole(left.as_millis() + Timestamp::from_millis(0).until(now).as_millis());
    // Zero is for ever: until the room is needed.
    if moment <= LAST_MOMENT { moment } else { 0 }
}

async fn bounded<R>(limit: Duration, call: impl Future<Output = Result<R, Failure>>) -> Result<R, Failure> {
    let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
    tokio::time::timeout(limit, call).await.unwrap_or_else(late)
}

fn cannot_open(address: &str, failure: Failure) -> Error {
    if let Failure::Garbled = failure {
        let context = format!(
            "`{address}` is not a Memcached server, or requires a password, which this client cannot send: change the \
             URL"
        );
        return Error::new(ErrorKind::Config, context);
    }
    let cause = explain("open", failure);
    let context = format!("no Memcached server answers at `{address}`: start it, or change the URL");
    Error::with_source(cause.kind(), context, cause)
}

fn explain(what: &str, failure: Failure) -> Error {
    let cannot = |why: &str| format!("cannot {what} a session: {why}");
    match failure {
        Failure::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            Error::with_source(ErrorKind::Timeout, cannot("Memcached did not answer in time"), error)
        }
        Failure::Io(error) => {
            Error::with_source(ErrorKind::Unavailable, cannot("the connection to Memcached failed"), error)
        }
        Failure::Garbled => Error::new(
            ErrorKind::Unavailable,
            cannot("what answers does not speak Memcached's protocol, or refuses to"),
        ),
        Failure::Refused => {
            let why = "Memcached refused it: give it more memory with `-m` if it has none left, or look into its log";
            Error::new(ErrorKind::Unavailable, cannot(why))
        }
        Failure::TooLarge => {
            let why = "it is larger than this Memcached server takes: lower `max_size`, or start the server with a \
                       higher `-I`";
            Error::new(ErrorKind::TooLarge, cannot(why))
        }
        Failure::Store(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_servers() {
        let names = |url: &str| addresses(url).unwrap();
        assert_eq!(names("memcached://cache.example:1"), ["cache.example:1"]);
        assert_eq!(
            names("Memcached://a,[::1]:2,[::1],127.0.0.1"),
            ["a:11211", "[::1]:2", "[::1]:11211", "127.0.0.1:11211"]
        );
        for wrong in ["", "//", "a", "//a,", "//a:0", "//a:x", "//a:1/", "//a b", "//a\r\n", "//[a]:1", "//u:secret@a"]
        {
            let error = addresses(&format!("memcached:{wrong}")).expect_err(wrong);
            assert_eq!(error.kind(), ErrorKind::Config);
            let text = error.to_string();
            assert!(text.contains("`memcached://host:port`") && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn memcached_is_told_a_lifetime_or_a_moment() {
        const DAY: u64 = 24 * 60 * 60;
        let now = Timestamp::from_millis(1_000_000_000_500);
        let told = |millis| lifetime(Duration::from_millis(millis), now);
        assert_eq!([told(0), told(1), told(1000), told(1001)], [5, 6, 6, 7]);
        assert_eq!(told(1000 * (30 * DAY - 5)), 30 * DAY);
        assert_eq!(told(1000 * (30 * DAY - 5) + 1), 1_000_000_001 + 30 * DAY);
        assert_eq!(told(1000 * 40 * DAY), 1_000_000_006 + 40 * DAY);
        let last = 1000 * (LAST_MOMENT - 1_000_000_006);
        assert_eq!([told(last), told(last + 1000), told(i64::MAX.cast_unsigned())], [LAST_MOMENT, 0, 0]);
    }

    #[test]
    fn a_server_more_takes_keys_and_moves_no_others() {
        let store = |names: &[&str]| MemcachedStore {
            servers: names.iter().map(|name| Server::new((*name).to_owned(), 1)).collect(),
            prefix: String::new(),
            timeout: Duration::ZERO,
            clock: Arc::new(SystemClock),
        };
        let (three, turned, four) =
            (store(&["a:1", "b:1", "c:1"]), store(&["c:1", "a:1", "b:1"]), store(&["d:1", "a:1", "b:1", "c:1"]));
        let mut counts = std::collections::BTreeMap::new();
        for number in 0..=u8::MAX {
            let key = Key::from_bytes([number; 32]);
            let [before, same, after] = [&three, &turned, &four].map(|store| store.place(&key).0.address());
            assert_eq!(before, same);
            assert!(after == before || after == "d:1", "{before} {after}");
            *counts.entry(after.to_owned()).or_insert(0_u32) += 1;
        }
        // A quarter is 64.
        assert!(counts.len() == 4 && counts.values().all(|count| (32..128).contains(count)), "{counts:?}");
        // For ever: else sessions are lost with an update of this crate.
        let first = (0..12).map(|number| &three.place(&Key::from_bytes([number; 32])).0.address()[..1]);
        assert_eq!(first.collect::<String>(), "baaccacbcccc");
    }

    #[tokio::test]
    async fn a_prefix_that_would_be_commands_is_refused() {
        for prefix in ["a b", "a\r\nflush_all\r\n", "ü", &"x".repeat(121)] {
            let options = Options::new("memcached://127.0.0.1:1").key_prefix(prefix);
            assert_eq!(MemcachedStore::open(&options).await.unwrap_err().kind(), ErrorKind::Config);
        }
    }
}
