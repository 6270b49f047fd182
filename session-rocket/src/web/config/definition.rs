//! The keys of the configuration, with their types, defaults and methods.

use std::fmt;
use std::time::Duration;

use rocket::http::SameSite;
use serde::{Deserialize, Serialize};

use super::{encoding, word};
use crate::base::expiry::Refresh;
use crate::base::limit::WhenFull;
use crate::data::codec::Format;
use crate::store::scheme::{Scheme, is_in_memory};
use crate::store::{Migrate, Options};
use crate::web::transport::Transport;

/// The configuration of one session type.
///
/// Each field is a key of the table `[default.session]` in `Rocket.toml`. In code, pass a `Config` to
/// [`SessionFairing::config`](crate::SessionFairing::config). `Rocket.toml` and the environment override code.
/// "Django:" names the corresponding part of Django, if there is one.
///
/// In `Rocket.toml`, a duration is a string (`"14 days"`, `"30 minutes"`) or a whole number of seconds, and a size is a
/// string (`"256 KiB"`) or a number of bytes. An unknown key or an invalid value aborts the launch with a message that
/// shows the fix.
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
/// # Reading the configuration of a site
/// [`Config::from_figment`] returns the checked configuration that a launch uses.
/// `figment.extract_inner::<Config>("session")` returns the table of the figment without checks.
///
/// # Secrets
/// `Debug` and `Serialize` mask passwords in URLs and the `secret_keys`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
#[must_use]
pub struct Config {
    /// The URL of the store. Default: `"sqlite://sessions.db"`, which the launch creates if it is missing.
    ///
    /// `"cookie+signed:"` and `"cookie+encrypted:"` store each session in a [sealed
    /// cookie](crate::guide::sealed_cookies). Django: `SESSION_ENGINE` and `SESSION_FILE_PATH`.
    #[serde(serialize_with = "encoding::masked")]
    pub store: String,

    /// The name of the session cookie. Default: `"__Host-sessionid"` if `secure` is on, `cookie_path` is `/` and there
    /// is no `cookie_domain`; otherwise `"sessionid"`.
    ///
    /// If the name starts with `__Host-Http-`, new browsers also refuse a cookie of this name that a script sets.
    /// Django: `SESSION_COOKIE_NAME`.
    pub cookie_name: Option<String>,

    /// The path below which the browser sends the cookie. Default: `"/"`.
    ///
    /// Django: `SESSION_COOKIE_PATH`.
    pub cookie_path: String,

    /// The domain to which the browser sends the cookie, including its subdomains. Default: none (a host-only cookie).
    ///
    /// A [public suffix](https://publicsuffix.org), such as `co.uk` or `github.io`, aborts the launch, because browsers
    /// drop such cookies. Django: `SESSION_COOKIE_DOMAIN`.
    pub cookie_domain: Option<String>,

    /// Whether the browser sends the cookie only over HTTPS. Default: `None` (`"auto"` in `Rocket.toml`).
    ///
    /// With `None`, the setting is on if Rocket serves HTTPS or the profile is not `debug`. Django:
    /// `SESSION_COOKIE_SECURE`.
    #[serde(with = "word")]
    pub secure: Option<bool>,

    /// Whether the browser hides the cookie from scripts. Default: `true`.
    ///
    /// Django: `SESSION_COOKIE_HTTPONLY`.
    pub http_only: bool,

    /// Whether the browser sends the cookie with requests that other sites start. Default: `Lax`.
    ///
    /// [`SameSite::None`] requires `secure`. Django: `SESSION_COOKIE_SAMESITE`.
    ///
    /// The attribute cannot be omitted, unlike with Django's `False`. Browsers treat a cookie without the attribute as
    /// `Lax`, with exceptions: Chromium sends a new cookie with cross-site `POST` requests for two minutes, and Safari
    /// sends the cookie with every request.
    #[serde(with = "word")]
    pub same_site: SameSite,

    /// Whether the browser keeps a separate cookie for each site that embeds this site in a frame (CHIPS). Default:
    /// `false`.
    ///
    /// Use this setting for a site that other sites show in frames, because browsers block unpartitioned cookies in such
    /// frames. `partitioned` requires `secure` and `same_site = "None"`. If you change `partitioned` on a live site, also
    /// change `cookie_name`, because a browser sends both the old and the new cookie.
    pub partitioned: bool,

    /// Whether a logout response tells the browser to delete the data that the site's scripts stored. Default: `false`.
    ///
    /// If [`flush`](crate::Session::flush) ended a session, or if [`clear`](crate::Session::clear) or the deletion of the
    /// identity logged a user out, the response has the header `Clear-Site-Data: "storage"`. Over HTTPS, the browser then
    /// deletes the local storage, the databases and the service workers of the site's host, but no cookies and no cache.
    pub clear_site_data: bool,

    /// How requests carry the id of their session. Default: [`Transport::Cookie`].
    ///
    /// In `Rocket.toml`: `"cookie"`, `"bearer"` or `"cookie or bearer"`. Sealed cookies require `"cookie"`. The
    /// [guide](crate::guide::apps) describes bearer tokens.
    #[serde(with = "word")]
    pub transport: Transport,

    /// The response header that gives a new id to a client that sends bearer tokens. Default: none.
    ///
    /// Without this header, a route must return [`Session::id`](crate::Session::id) to the client. The setting requires a
    /// `transport` with bearer tokens. The header must be one that HTTP does not define, such as `X-Session-Id`.
    pub new_id_header: Option<String>,

    /// The idle timeout: how long a session lives after its last save. Default: 14 days.
    ///
    /// It must be between 1 second and 400 days. Django: `SESSION_COOKIE_AGE`.
    #[serde(with = "word")]
    pub expiry: Duration,

    /// The idle timeout while nobody is logged in. Default: `None` (`"off"` in `Rocket.toml`), which means the same as
    /// `expiry`.
    ///
    /// It requires a session type with an identity, and must be between 1 second and 400 days. With a short timeout, a
    /// visitor's open forms become invalid early, because their CSRF tokens end with the session.
    #[serde(with = "word")]
    pub anonymous_expiry: Option<Duration>,

    /// Whether the cookie lasts only until the browser is closed. Default: `false`.
    ///
    /// The record in the store still lives for `expiry`. Django: `SESSION_EXPIRE_AT_BROWSER_CLOSE`.
    pub expire_at_browser_close: bool,

    /// The absolute timeout: how long a session lives after its creation or the last login. Default: `None` (`"off"` in
    /// `Rocket.toml`), which means no limit.
    ///
    /// Saves do not postpone this timeout. It must be at least `expiry` and `anonymous_expiry`, and at most 400 days.
    #[serde(with = "word")]
    pub max_lifetime: Option<Duration>,

    /// The maximum number of sessions of one user. Default: `None` (`"off"` in `Rocket.toml`), which means no limit.
    ///
    /// Concurrent logins do not exceed the limit, even in several processes. `when_full` says what a login does at the
    /// limit. `max_sessions` requires a session type with an identity, and a store that lists the sessions of a user.
    #[serde(with = "word")]
    pub max_sessions: Option<u32>,

    /// What a login does if the user already has `max_sessions` sessions. Default: [`WhenFull::EndOldest`].
    ///
    /// In `Rocket.toml`: `"end oldest"` or `"refuse login"`.
    #[serde(with = "word")]
    pub when_full: WhenFull,

    /// How often [`Session::ended`](crate::Session::ended) asks the store whether the session still exists. Default: 2
    /// seconds.
    ///
    /// It must be between 100 milliseconds and 30 seconds.
    #[serde(with = "word")]
    pub poll_interval: Duration,

    /// Which requests renew a session that they do not change. Default: [`Refresh::OnSave`].
    ///
    /// In `Rocket.toml`: `"on save"`, `"always"`, or a share of the idle timeout, such as `0.1`. [`Refresh`] lists requests
    /// that never renew a session. A save or a renewal sends the cookie again after the same share of the idle timeout,
    /// or after a tenth if `refresh` is not a share. Django: `SESSION_SAVE_EVERY_REQUEST`.
    #[serde(with = "word")]
    pub refresh: Refresh,

    /// The encoding in which sessions are saved. Default: [`Format::Json`].
    ///
    /// In `Rocket.toml`: `"json"`, or `"messagepack"`, which requires the cargo feature `messagepack`. Django:
    /// `SESSION_SERIALIZER`.
    ///
    /// Sessions in the other format are still read, and the next save converts them. So changing the format logs nobody
    /// out. Do not disable the cargo feature while sessions are stored as `"messagepack"`.
    #[serde(with = "word")]
    pub format: Format,

    /// The secret keys of sealed cookies. Default: Rocket's `secret_key`.
    ///
    /// The first key seals cookies, and all keys open cookies. To replace a key without logging anybody out, put the new
    /// key first. If the site used Rocket's `secret_key`, list that key after the new key. Each key has at least 32
    /// random bytes, in base64 or hexadecimal digits; `openssl rand -base64 32` prints such a key. A single key can be a
    /// string instead of a list. A key of zeros is ignored. Django: `SECRET_KEY` and `SECRET_KEY_FALLBACKS`.
    ///
    /// Put keys into the environment, not into code. In a shell: `ROCKET_SESSION='{secret_keys=["…", "…"]}'`. Without a
    /// key, a launch with sealed cookies aborts. In the profile `debug`, the launch instead draws a random key, which is
    /// lost when the process ends.
    ///
    /// If a request reads a session that another key sealed, the response seals the session with the first key. The
    /// [guide](crate::guide::sealed_cookies) describes which changes of other requests this can undo.
    #[serde(
        deserialize_with = "encoding::keys",
        serialize_with = "encoding::hidden",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub secret_keys: Vec<String>,

    /// The name of the session table in a SQL database. Default: `"rocket_session"`.
    ///
    /// Django: `django_session`.
    pub table: String,

    /// Whether a SQL store creates and migrates its table at launch. Default: [`Migrate::Auto`].
    ///
    /// In `Rocket.toml`: `"auto"`, `"check"` or `"off"`. Only `"auto"` also creates a missing SQLite file. Django: the
    /// command `migrate`.
    #[serde(with = "word")]
    pub migrate: Migrate,

    /// The interval at which a background task removes expired records. Default: 10 minutes.
    ///
    /// `None` (`"off"` in `Rocket.toml`) disables the task. Django: the command `clearsessions`.
    #[serde(with = "word")]
    pub sweep_interval: Option<Duration>,

    /// The maximum duration of a load, or of a save with all its retries. Default: 5 seconds.
    ///
    /// If a load or a save takes longer, the request fails with 503. The timeout must be at most 1 hour.
    #[serde(with = "word")]
    pub timeout: Duration,

    /// The maximum number of connections of the store. Default: 4 for SQLite, 10 for PostgreSQL and MySQL, 16 for
    /// Memcached.
    ///
    /// With SQLite, the limit applies only to connections that read. With PostgreSQL and MySQL, a quarter of the
    /// connections, but at most two, is only for reads. With Memcached, the limit applies to each server. Redis always
    /// uses one connection for each server.
    pub max_connections: Option<u32>,

    /// The maximum size of an encoded session, in bytes. Default: 262,144 (256 KiB).
    ///
    /// A larger session is not saved, and the response is 422. The limit of a sealed cookie is lower: the whole
    /// `Set-Cookie` line, with the compressed session, has at most 4,096 bytes.
    #[serde(deserialize_with = "encoding::bytes")]
    pub max_size: u64,

    /// The maximum number of sessions in the memory store. Default: 100,000.
    ///
    /// Sessions that ended in the last minute count too. A full store removes the least recently used session. Django:
    /// `MAX_ENTRIES`.
    pub capacity: usize,

    /// The URL of a cache in front of the store. Default: none.
    ///
    /// Every change is written to the store first. [`store::cached`](crate::store::cached) describes when a cache can
    /// return an old session. If the cache is down at launch, the launch logs a warning, and the site uses the cache as
    /// soon as the cache is reachable. Django: `cached_db` and `SESSION_CACHE_ALIAS`.
    #[serde(serialize_with = "encoding::masked_option")]
    pub cache: Option<String>,

    /// The maximum age of a cache entry. Default: 60 seconds.
    ///
    /// It must be between 1 second and 1 hour. Django keeps an entry as long as the session.
    #[serde(with = "word")]
    pub cache_ttl: Duration,

    /// The prefix of the keys in Redis and Memcached. Default: `"session:"`.
    ///
    /// Sites that share a server need different prefixes. A prefix has at most 100 printable ASCII characters, without
    /// spaces. Django: `KEY_PREFIX`.
    pub key_prefix: String,
}

impl Default for Config {
    fn default() -> Self {
        // `Options` defines the defaults of the settings of a store.
        let store = Options::default();
        Self {
            store: store.url,
            cookie_name: None,
            cookie_path: "/".into(),
            cookie_domain: None,
            secure: None,
            http_only: true,
            same_site: SameSite::Lax,
            partitioned: false,
            clear_site_data: false,
            transport: Transport::Cookie,
            new_id_header: None,
            expiry: Duration::from_hours(14 * 24),
            anonymous_expiry: None,
            expire_at_browser_close: false,
            max_lifetime: None,
            max_sessions: None,
            when_full: WhenFull::EndOldest,
            poll_interval: Duration::from_secs(2),
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

/// Generates a setter for each key.
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
    partitioned(on: bool) = on;
    clear_site_data(on: bool) = on;
    transport(transport: Transport) = transport;
    new_id_header(name: impl Into<String>) = Some(name.into());
    expiry(duration: Duration) = duration;
    anonymous_expiry(duration: Duration) = Some(duration);
    expire_at_browser_close(on: bool) = on;
    max_lifetime(duration: Duration) = Some(duration);
    max_sessions(number: u32) = Some(number);
    when_full(when_full: WhenFull) = when_full;
    poll_interval(interval: Duration) = interval;
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
    /// Returns the default configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns whether sessions are stored in sealed cookies, without a store.
    pub fn is_sealed(&self) -> bool {
        matches!(Scheme::of(&self.store), Some(Scheme::SignedCookie | Scheme::EncryptedCookie))
    }

    /// Returns whether sessions are stored in the memory of the process, and are lost when the process ends.
    pub fn is_in_memory(&self) -> bool {
        is_in_memory(&self.store)
    }

    /// Returns whether sessions are stored in a SQL table, to which [`migrate`](field@Self::migrate) applies.
    pub fn has_table(&self) -> bool {
        Scheme::of(&self.store).is_some_and(Scheme::has_table)
    }
}

/// The configuration as JSON, because `Serialize` masks every secret.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config {}", serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}
