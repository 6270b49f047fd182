//! Every key of the configuration: its meaning, its type, its default and its method.

use std::fmt;
use std::time::Duration;

use rocket::data::ByteUnit;
use rocket::http::SameSite;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::word;
use crate::base::expiry::Refresh;
use crate::data::codec::Format;
use crate::store::scheme::{Scheme, is_in_memory};
use crate::store::{Migrate, Options, mask_url};

/// The configuration of one session type: a key of the table `[default.session]` per field.
///
/// Given in code to [`SessionFairing::config`](crate::SessionFairing::config); `Rocket.toml` and the environment win over
/// it. In `Rocket.toml`, durations are strings (`"14 days"`, `"30 minutes"`) or a whole number of seconds, and sizes are
/// strings (`"256 KiB"`) or a number of bytes. An unknown key or an invalid value aborts the launch.
///
/// ```
/// use std::time::Duration;
/// use session_rocket::{Config, Refresh};
///
/// let config = Config::new()
///     .cookie_name("school")
///     .expiry(Duration::from_secs(30 * 60))
///     .refresh(Refresh::Share(0.1));
/// assert_eq!(config.cookie_path, "/");
/// ```
///
/// # Reading it back
/// [`Config::from_figment`] reads what a launch reads, and checks it. A figment can also extract a `Config`
/// (`figment.extract_inner::<Config>("session")`), unchecked, if all of it is in the figment.
///
/// # Secrets
/// `Debug` and `Serialize` show no secret: passwords in URLs are masked, and so are `secret_keys`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
#[must_use]
pub struct Config {
    /// The URL of the store; its scheme picks the back-end. `"cookie+signed:"` and `"cookie+encrypted:"` keep each session
    /// in its own cookie, sealed: see the [guide](crate::guide::sealed_cookies). Default: `"sqlite://sessions.db"`, created
    /// if missing. Django: `SESSION_ENGINE` and `SESSION_FILE_PATH`.
    #[serde(serialize_with = "masked")]
    pub store: String,

    /// The session cookie's name, sent unchanged. Default: `"sessionid"`, or `"__Host-sessionid"` if `secure` is on,
    /// `cookie_path` is `/` and there is no `cookie_domain`. With the prefix `__Host-Http-`, new browsers also refuse a cookie
    /// of this name that a script sets. Django: `SESSION_COOKIE_NAME`.
    pub cookie_name: Option<String>,

    /// The path that the browser sends the cookie to, and to all below it. Default: `"/"`. Django:
    /// `SESSION_COOKIE_PATH`.
    pub cookie_path: String,

    /// The domain that the browser sends the cookie to, with all its subdomains. Default: none (a host-only cookie).
    /// Django: `SESSION_COOKIE_DOMAIN`.
    pub cookie_domain: Option<String>,

    /// Whether the browser sends the cookie over HTTPS only. Default: `None`, `"auto"` in `Rocket.toml`, which is on if
    /// Rocket's TLS is on or the profile is not `debug`. Django: `SESSION_COOKIE_SECURE`.
    #[serde(with = "word")]
    pub secure: Option<bool>,

    /// Whether the cookie is hidden from scripts. Default: `true`. Django: `SESSION_COOKIE_HTTPONLY`.
    pub http_only: bool,

    /// Whether the browser sends the cookie with requests that other sites start; `None` needs `secure`. Default:
    /// `Lax`. Django: `SESSION_COOKIE_SAMESITE`.
    ///
    /// The attribute cannot be left out, as Django's `False` does: browsers treat a cookie without it as `Lax`, with
    /// exceptions that differ between browsers (Chromium sends a new cookie with cross-site `POST` requests for two
    /// minutes; Safari sends it with every request). Use `Lax`.
    #[serde(with = "word")]
    pub same_site: SameSite,

    /// How long a session lives after its last save: 1 second to 400 days. Default: 14 days. Django:
    /// `SESSION_COOKIE_AGE`.
    #[serde(with = "word")]
    pub expiry: Duration,

    /// How long a session lives after its last save while nobody is logged in, in a session type with an identity: 1
    /// second to 400 days. Default: `None`, `"off"` in `Rocket.toml`: as long as `expiry`. Django has none.
    ///
    /// A short value also ends the forms that these visitors have open, the login form included, because the session holds
    /// the secret of their tokens.
    #[serde(with = "word")]
    pub anonymous_expiry: Option<Duration>,

    /// Whether the cookie ends with the browser; the record still lives for `expiry`. Default: `false`. Django:
    /// `SESSION_EXPIRE_AT_BROWSER_CLOSE`.
    pub expire_at_browser_close: bool,

    /// How long a session lives after its creation or the last login, whatever happens in it: at least `expiry`, at most 400
    /// days. Default: `None`, `"off"` in `Rocket.toml`: no limit. Django has none.
    #[serde(with = "word")]
    pub max_lifetime: Option<Duration>,

    /// When a session that is used, but not changed, is renewed. In `Rocket.toml`: `"on save"`, `"always"`, or a share
    /// between 0 and 1. Requests for parts of a page, and responses that caches may store, renew nothing. A share also sets
    /// after which part of its life the cookie is sent again; otherwise this is a tenth. Default: [`Refresh::OnSave`].
    /// Django: `SESSION_SAVE_EVERY_REQUEST`.
    #[serde(with = "word")]
    pub refresh: Refresh,

    /// The encoding of sessions that are saved from now on: `"json"`, or `"messagepack"` with the cargo feature of that
    /// name. Default: [`Format::Json`]. Django: `SESSION_SERIALIZER`.
    ///
    /// Sessions in the other format are still read, and are converted when they are saved. So a change of the format logs
    /// nobody out. Keep the feature while sessions live that were written with it.
    #[serde(with = "word")]
    pub format: Format,

    /// The keys of sealed cookies: the first one seals, all open, so that a key can be replaced without logging anybody
    /// out. Each is at least 32 random bytes in base64 or in hexadecimal digits, such as `openssl rand -base64 32` prints.
    /// A key of zeros is ignored. A single key needs no list. Default: Rocket's `secret_key`; a site that replaces it with
    /// keys of its own lists it too, behind the new one. Django: `SECRET_KEY` and `SECRET_KEY_FALLBACKS`.
    ///
    /// Without a key, the launch aborts; in the profile `debug`, the launch uses a random key until the process ends. A
    /// cookie that a former key sealed is sealed anew when it is read: see the [guide](crate::guide::sealed_cookies) for
    /// what a read can then undo. Put keys into the environment, not into code. In a shell:
    /// `ROCKET_SESSION='{secret_keys=["…", "…"]}'`.
    #[serde(deserialize_with = "keys", serialize_with = "hidden", skip_serializing_if = "Vec::is_empty")]
    pub secret_keys: Vec<String>,

    /// The table of a SQL store. Default: `"rocket_session"`. Django's is `django_session`.
    pub table: String,

    /// What a SQL store does about its table at launch: `"auto"`, `"check"` or `"off"` in `Rocket.toml`. With `"check"` and
    /// `"off"`, no SQLite file is created either. Default: [`Migrate::Auto`]. Django: the command `migrate`.
    #[serde(with = "word")]
    pub migrate: Migrate,

    /// How often expired records are removed; `None`, or `"off"` in `Rocket.toml`: never. Default: every 10 minutes.
    /// Django: the command `clearsessions`.
    #[serde(with = "word")]
    pub sweep_interval: Option<Duration>,

    /// How long a load, or a save with all its retries, may take before the request fails with 503: at most 1 hour.
    /// Default: 5 seconds. Django has none.
    #[serde(with = "word")]
    pub timeout: Duration,

    /// How many connections to open at most: those that read from SQLite, those to PostgreSQL or MySQL, those to each
    /// server of Memcached; Redis has one. Default: 4, 10 and 16. Django has none.
    pub max_connections: Option<u32>,

    /// How many bytes one encoded session may take; a larger one is not saved, and the response is 422. Default:
    /// 262,144 (256 KiB). A sealed cookie has room for less: 4,096 bytes, the whole line counted, compressed. Django has none.
    #[serde(deserialize_with = "bytes")]
    pub max_size: u64,

    /// How many sessions the memory store holds; the least recently used goes first. Default: 100,000. Django:
    /// `MAX_ENTRIES`.
    pub capacity: usize,

    /// The URL of a cache in front of the store. Every change goes to the store first; see [`store`](crate::store) for
    /// what a cache that cannot be reached may show. A cache that is down does not stop a launch: the launch logs a
    /// warning, and the site uses the cache when it answers. Default: none. Django: `cached_db` and `SESSION_CACHE_ALIAS`.
    #[serde(serialize_with = "masked_option")]
    pub cache: Option<String>,

    /// How long the cache serves an entry at most: 1 second to 1 hour. Default: 60 seconds. Django keeps it as long as
    /// the session.
    #[serde(with = "word")]
    pub cache_ttl: Duration,

    /// What the keys begin with, in Redis and Memcached: at most 100 printable ASCII characters, and no space. Sites that
    /// share a server differ in it. Default: `"session:"`. Django: `KEY_PREFIX`.
    pub key_prefix: String,
}

impl Default for Config {
    fn default() -> Self {
        // The store's own settings have their defaults there.
        let store = Options::default();
        Self {
            store: store.url,
            cookie_name: None,
            cookie_path: "/".into(),
            cookie_domain: None,
            secure: None,
            http_only: true,
            same_site: SameSite::Lax,
            expiry: Duration::from_hours(14 * 24),
            anonymous_expiry: None,
            expire_at_browser_close: false,
            max_lifetime: None,
            refresh: Refresh::OnSave,
            format: Format::Json,
            secret_keys: Vec::new(),
            table: store.table,
            migrate: store.migrate,
            sweep_interval: Some(Duration::from_mins(10)),
            timeout: store.timeout,
            max_connections: store.max_connections,
            max_size: 256 * 1024,
            capacity: store.capacity,
            cache: store.cache,
            cache_ttl: store.cache_ttl,
            key_prefix: store.key_prefix,
        }
    }
}

/// Makes the method that sets each key.
macro_rules! setters {
    ($($key:ident($given:ident: $type:ty) = $value:expr;)*) => {
        impl Config {
            $(
                #[doc = concat!("Sets [`", stringify!($key), "`](field@Self::", stringify!($key), ").")]
                pub fn $key(mut self, $given: $type) -> Self {
                    self.$key = $value;
                    self
                }
            )*
        }
    };
}

setters! {
    store(url: impl Into<String>) = url.into();
    cookie_name(name: impl Into<String>) = Some(name.into());
    cookie_path(path: impl Into<String>) = path.into();
    cookie_domain(domain: impl Into<String>) = Some(domain.into());
    secure(on: bool) = Some(on);
    http_only(on: bool) = on;
    same_site(same_site: SameSite) = same_site;
    expiry(duration: Duration) = duration;
    anonymous_expiry(duration: Duration) = Some(duration);
    expire_at_browser_close(on: bool) = on;
    max_lifetime(duration: Duration) = Some(duration);
    refresh(refresh: Refresh) = refresh;
    format(format: Format) = format;
    secret_keys(keys: impl IntoIterator<Item = impl Into<String>>) = keys.into_iter().map(Into::into).collect();
    table(name: impl Into<String>) = name.into();
    migrate(migrate: Migrate) = migrate;
    sweep_interval(interval: impl Into<Option<Duration>>) = interval.into();
    timeout(duration: Duration) = duration;
    max_connections(number: u32) = Some(number);
    max_size(bytes: u64) = bytes;
    capacity(sessions: usize) = sessions;
    cache(url: impl Into<String>) = Some(url.into());
    cache_ttl(duration: Duration) = duration;
    key_prefix(prefix: impl Into<String>) = prefix.into();
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether each session is in its own cookie, so that there is no store to open.
    pub fn is_sealed(&self) -> bool {
        matches!(Scheme::of(&self.store), Some(Scheme::SignedCookie | Scheme::EncryptedCookie))
    }

    /// Whether sessions are in the memory of the site's process, and lost when the process ends.
    pub fn is_in_memory(&self) -> bool {
        is_in_memory(&self.store)
    }

    /// Whether sessions are in a table of a database, which [`migrate`](field@Self::migrate) is about.
    pub fn has_table(&self) -> bool {
        Scheme::of(&self.store).is_some_and(Scheme::has_table)
    }
}

/// How to open the configured store: with [`store::open`](crate::store::open), unless it [is sealed](Config::is_sealed).
impl From<&Config> for Options {
    fn from(config: &Config) -> Self {
        let config = config.clone();
        Self {
            url: config.store,
            table: config.table,
            migrate: config.migrate,
            timeout: config.timeout,
            max_connections: config.max_connections,
            capacity: config.capacity,
            cache: config.cache,
            cache_ttl: config.cache_ttl,
            key_prefix: config.key_prefix,
            ..Self::default()
        }
    }
}

/// As JSON, because that form masks every secret.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config {}", serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

fn masked<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&mask_url(url))
}

#[expect(clippy::ref_option, reason = "serde calls it so")]
fn masked_option<S: Serializer>(url: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_deref().map(mask_url).serialize(serializer)
}

/// One `***` for each key.
fn hidden<S: Serializer>(keys: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(keys.iter().map(|_| "***"))
}

/// A list of keys, or one key. The error does not show what was given instead.
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a list of keys, each of them a string")]
    enum Keys {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Keys::deserialize(deserializer)? {
        Keys::One(key) => vec![key],
        Keys::Many(keys) => keys,
    })
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    ByteUnit::deserialize(deserializer).map(ByteUnit::as_u64)
}
