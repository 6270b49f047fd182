//! The configuration: from `Rocket.toml` and the environment, over code, over defaults.

#[cfg(feature = "cli")]
mod beside;
mod given;
mod keys;
mod names;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use rocket::http::SameSite;

#[cfg(feature = "cli")]
pub(crate) use self::beside::Beside;
pub(crate) use self::keys::SealSettings;
pub(crate) use self::settings::{Settings, resolve};
#[cfg(feature = "cli")]
pub(crate) use self::settings::{Text, masked};
use crate::base::expiry::Refresh;
use crate::data::codec::Format;
use crate::store::Migrate;

const DAY: Duration = Duration::from_hours(24);

/// Configuration given in code: what `Rocket.toml` and the environment say wins over it.
///
/// Each method sets one key of the table `[default.session]`, and says its default and Django's name for it. In
/// `Rocket.toml` durations are strings (`"14 days"`, `"30 minutes"`) or a whole number of seconds, and sizes are strings
/// (`"256 KiB"`) or a number of bytes. An unknown key or an invalid value aborts the launch.
///
/// ```
/// use std::time::Duration;
/// use session_rocket::{Config, Refresh};
///
/// let config = Config::new()
///     .cookie_name("school")
///     .expiry(Duration::from_secs(30 * 60))
///     .refresh(Refresh::Share(0.1));
/// ```
#[derive(Clone)]
#[must_use]
pub struct Config {
    store: String,
    cookie_name: Option<String>,
    cookie_path: String,
    cookie_domain: Option<String>,
    secure: Option<bool>,
    http_only: bool,
    same_site: SameSite,
    expiry: Duration,
    anonymous_expiry: Option<Duration>,
    expire_at_browser_close: bool,
    max_lifetime: Option<Duration>,
    refresh: Refresh,
    format: Format,
    secret_keys: Vec<String>,
    table: String,
    migrate: Migrate,
    sweep_interval: Option<Duration>,
    timeout: Duration,
    max_connections: Option<u32>,
    max_size: u64,
    capacity: usize,
    cache: Option<String>,
    cache_ttl: Duration,
    key_prefix: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: "sqlite://sessions.db".into(),
            cookie_name: None,
            cookie_path: "/".into(),
            cookie_domain: None,
            secure: None,
            http_only: true,
            same_site: SameSite::Lax,
            expiry: 14 * DAY,
            anonymous_expiry: None,
            expire_at_browser_close: false,
            max_lifetime: None,
            refresh: Refresh::OnSave,
            format: Format::Json,
            secret_keys: Vec::new(),
            table: "rocket_session".into(),
            migrate: Migrate::Auto,
            sweep_interval: Some(Duration::from_mins(10)),
            timeout: Duration::from_secs(5),
            max_connections: None,
            max_size: 256 * 1024,
            capacity: 100_000,
            cache: None,
            cache_ttl: Duration::from_mins(1),
            key_prefix: "session:".into(),
        }
    }
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The URL of the store; its scheme picks the back-end. `"cookie+signed:"` and `"cookie+encrypted:"` keep each session
    /// in its own cookie, sealed: see the [guide](crate::guide#sealed-cookies). Default: `"sqlite://sessions.db"`, created if missing.
    /// Django: `SESSION_ENGINE` and `SESSION_FILE_PATH`.
    pub fn store(mut self, url: impl Into<String>) -> Self {
        self.store = url.into();
        self
    }

    /// The session cookie's name, used as it stands. Default: `"sessionid"`, or `"__Host-sessionid"` if `secure` is on,
    /// `cookie_path` is `/` and there is no `cookie_domain`. With the prefix `__Host-Http-`, new browsers also refuse a cookie
    /// of this name that a script sets. Django: `SESSION_COOKIE_NAME`.
    pub fn cookie_name(mut self, name: impl Into<String>) -> Self {
        self.cookie_name = Some(name.into());
        self
    }

    /// The path that the browser sends the cookie to, and to all below it. Default: `"/"`. Django:
    /// `SESSION_COOKIE_PATH`.
    pub fn cookie_path(mut self, path: impl Into<String>) -> Self {
        self.cookie_path = path.into();
        self
    }

    /// The domain that the browser sends the cookie to, with all its subdomains. Default: none (a host-only cookie).
    /// Django: `SESSION_COOKIE_DOMAIN`.
    pub fn cookie_domain(mut self, domain: impl Into<String>) -> Self {
        self.cookie_domain = Some(domain.into());
        self
    }

    /// Whether the browser sends the cookie over HTTPS only. Default: auto, which is on when Rocket's TLS is on or the
    /// profile is not `debug`. Django: `SESSION_COOKIE_SECURE`.
    pub fn secure(mut self, on: bool) -> Self {
        self.secure = Some(on);
        self
    }

    /// Whether the cookie is hidden from scripts. Default: `true`. Django: `SESSION_COOKIE_HTTPONLY`.
    pub fn http_only(mut self, on: bool) -> Self {
        self.http_only = on;
        self
    }

    /// Whether the browser sends the cookie with requests that other sites start; `None` needs `secure`. Default:
    /// `Lax`. Django: `SESSION_COOKIE_SAMESITE`.
    ///
    /// The attribute cannot be left out, as Django's `False` does: browsers treat a cookie without it as `Lax`, with
    /// exceptions that differ between browsers (Chromium sends a new cookie with cross-site `POST` requests for two
    /// minutes; Safari sends it with every request). Use `Lax`.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// How long a session lives after its last save: 1 second to 400 days. Default: 14 days. Django:
    /// `SESSION_COOKIE_AGE`.
    pub fn expiry(mut self, duration: Duration) -> Self {
        self.expiry = duration;
        self
    }

    /// How long a session lives after its last save while nobody is logged in, in a session type with an identity: 1
    /// second to 400 days. Default: `expiry`. Django has none.
    ///
    /// A short value also ends the forms that these visitors have open, the login form included, because the session holds
    /// the secret of their tokens.
    pub fn anonymous_expiry(mut self, duration: Duration) -> Self {
        self.anonymous_expiry = Some(duration);
        self
    }

    /// Whether the cookie ends with the browser; the record still lives for `expiry`. Default: `false`. Django:
    /// `SESSION_EXPIRE_AT_BROWSER_CLOSE`.
    pub fn expire_at_browser_close(mut self, on: bool) -> Self {
        self.expire_at_browser_close = on;
        self
    }

    /// How long a session lives after its creation or the last login, whatever happens in it: at least `expiry`, at most 400
    /// days. Default: no limit. Django has none.
    pub fn max_lifetime(mut self, duration: Duration) -> Self {
        self.max_lifetime = Some(duration);
        self
    }

    /// When a session that is used, but not changed, is renewed. In `Rocket.toml`: `"on save"`, `"always"`, or a share
    /// between 0 and 1. Requests for parts of a page, and responses that caches may store, renew nothing. A share also sets
    /// after which part of its life the cookie is sent again; otherwise this is a tenth. Default: [`Refresh::OnSave`].
    /// Django: `SESSION_SAVE_EVERY_REQUEST`.
    pub fn refresh(mut self, refresh: Refresh) -> Self {
        self.refresh = refresh;
        self
    }

    /// What sessions are encoded in from now on: `"json"`, or `"messagepack"` with the cargo feature of that name.
    /// Default: [`Format::Json`]. Django: `SESSION_SERIALIZER`.
    ///
    /// What was written in the other format is read all the same, and a value that no request changes stays in it: to
    /// switch, and to switch back, logs nobody out. So keep the feature while sessions live that were written with it.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// The keys of sealed cookies: the first one seals, all open, so that a key can be replaced without logging anybody
    /// out. Each is at least 32 random bytes in base64 or in hexadecimal digits, such as `openssl rand -base64 32` prints;
    /// one that is all zeros counts as none, and a single one may stand without a list. Default: Rocket's `secret_key`; a
    /// site that goes from that to keys of its own lists it too, behind the new one. Django: `SECRET_KEY` and
    /// `SECRET_KEY_FALLBACKS`.
    ///
    /// Without a key, the launch ends; in the profile `debug` it goes on with a random one, for as long as the process
    /// runs. What a former key sealed is sealed anew when it is read: see the [guide](crate::guide#sealed-cookies) for what a
    /// read can then undo. Put keys into the environment, not into code. In a shell:
    /// `ROCKET_SESSION='{secret_keys=["…", "…"]}'`.
    pub fn secret_keys<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.secret_keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// The table of a SQL store. Default: `"rocket_session"`. Django's is `django_session`.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// What a SQL store does about its table at launch: `"auto"`, `"check"` or `"off"` in `Rocket.toml`. With `"check"` and
    /// `"off"`, no SQLite file is created either. Default: [`Migrate::Auto`]. Django: the command `migrate`.
    pub fn migrate(mut self, migrate: Migrate) -> Self {
        self.migrate = migrate;
        self
    }

    /// How often expired records are removed; `None`, or `"off"` in `Rocket.toml`: never. Default: every 10 minutes.
    /// Django: the command `clearsessions`.
    pub fn sweep_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.sweep_interval = interval.into();
        self
    }

    /// How long a load, or a save with all its retries, may take before the request fails with 503. Default: 5 seconds.
    /// Django has none.
    pub fn timeout(mut self, duration: Duration) -> Self {
        self.timeout = duration;
        self
    }

    /// How many connections to open at most: those that read from SQLite, those to PostgreSQL or MySQL, those to each
    /// server of Memcached; Redis has one. Default: 4, 10 and 16. Django has none.
    pub fn max_connections(mut self, number: u32) -> Self {
        self.max_connections = Some(number);
        self
    }

    /// How many bytes one encoded session may take; a larger one is not saved, and the response is 422. Default:
    /// 262,144 (256 KiB). A sealed cookie has room for less: 4,096 bytes, the whole line counted, compressed. Django has none.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes;
        self
    }

    /// How many sessions the memory store holds; the least recently used goes first. Default: 100,000. Django:
    /// `MAX_ENTRIES`.
    pub fn capacity(mut self, sessions: usize) -> Self {
        self.capacity = sessions;
        self
    }

    /// The URL of a cache in front of the store. Every change goes to the store first; see [`store`](crate::store) for
    /// what a cache that cannot be reached may show. A cache that is down does not stop a launch: the launch logs a
    /// warning, and the site uses the cache when it answers. Default: none. Django: `cached_db` and `SESSION_CACHE_ALIAS`.
    pub fn cache(mut self, url: impl Into<String>) -> Self {
        self.cache = Some(url.into());
        self
    }

    /// How long the cache serves an entry at most: 1 second to 1 hour. Default: 60 seconds. Django keeps it as long as
    /// the session.
    pub fn cache_ttl(mut self, duration: Duration) -> Self {
        self.cache_ttl = duration;
        self
    }

    /// What the keys begin with, in Redis and Memcached: at most 100 printable ASCII characters, and no space. Sites that
    /// share a server differ in it. Default: `"session:"`. Django: `KEY_PREFIX`.
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }
}

/// Leaves out `store`, whose URL may hold a password, and the secret keys.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("cookie_name", &self.cookie_name)
            .field("cookie_path", &self.cookie_path)
            .field("cookie_domain", &self.cookie_domain)
            .field("secure", &self.secure)
            .field("expiry", &self.expiry)
            .field("max_lifetime", &self.max_lifetime)
            .field("refresh", &self.refresh)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}
