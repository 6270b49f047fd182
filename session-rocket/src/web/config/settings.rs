//! What the configuration comes to: checked, and in the form the other modules take it in.

use std::fmt;
use std::time::Duration;

use humantime::format_duration;
use rocket::data::ByteUnit;
use rocket::figment::Figment;
use rocket::http::SameSite;

use super::given::{origin, read};
use super::keys::{self, SealSettings};
use super::{Config, DAY};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::expiry::{MAX_AGE, Policy, Refresh};
use crate::data::codec::Format;
use crate::store::scheme::Scheme;
use crate::store::{self, Migrate};
use crate::web::cookie::CookieSettings;

/// A request that waits for longer has lost its client.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);
/// How long what a partition hides may show at most.
const LONGEST_CACHE_TTL: Duration = Duration::from_hours(1);

/// The effective settings of one session type.
#[derive(Clone)]
pub(crate) struct Settings {
    pub cookie: CookieSettings,
    pub policy: Policy,
    pub format: Format,
    pub store: store::Options,
    /// Where sessions live in their own cookies: how, and the keys.
    pub seal: Option<SealSettings>,
    /// How often to sweep; `None`: never.
    pub sweep_interval: Option<Duration>,
    /// In bytes.
    pub max_size: usize,
}

/// Reads the configuration of `table`: Rocket's `figment` over `code`. `by_url` says that `store` counts, for no object is
/// given in code.
///
/// # Errors
/// [`ErrorKind::Config`] when a key or value is wrong, or two values do not go together: names the key and the fix.
pub(crate) fn resolve(figment: &Figment, table: &str, code: &Config, debug: bool, by_url: bool) -> Result<Settings> {
    // Rocket has read the same figment before: were it wrong, the launch would have ended there.
    let tls = rocket::Config::try_from(figment).is_ok_and(|config| config.tls_enabled());
    let config = read(figment, table, code)?;
    let secure = config.secure.unwrap_or(tls || !debug);
    let check = Check { figment, table };
    check.lifetimes(&config)?;
    check.limits(&config)?;
    let cookie = cookie(&config, secure);
    check.attributes(&cookie)?;
    check.name(&cookie)?;
    let seal = if by_url { keys::seal(&check, &config, debug)? } else { None };
    Ok(Settings {
        cookie,
        seal,
        format: config.format,
        policy: Policy {
            lifetime: config.expiry,
            anonymous_lifetime: config.anonymous_expiry.unwrap_or(config.expiry),
            browser_close: config.expire_at_browser_close,
            max_lifetime: config.max_lifetime,
            refresh: config.refresh,
        },
        store: store::Options {
            url: config.store,
            table: config.table,
            migrate: config.migrate,
            timeout: config.timeout,
            max_connections: config.max_connections,
            capacity: config.capacity,
            cache: config.cache,
            cache_ttl: config.cache_ttl,
            key_prefix: config.key_prefix,
            ..store::Options::default()
        },
        sweep_interval: config.sweep_interval,
        max_size: usize::try_from(config.max_size).unwrap_or(usize::MAX),
    })
}

fn cookie(config: &Config, secure: bool) -> CookieSettings {
    let host_only = secure && config.cookie_path == "/" && config.cookie_domain.is_none();
    let default = if host_only { "__Host-sessionid" } else { "sessionid" };
    CookieSettings {
        name: config.cookie_name.clone().unwrap_or_else(|| default.into()),
        path: config.cookie_path.clone(),
        // Browsers ignore a leading dot.
        domain: config.cookie_domain.as_ref().map(|domain| domain.strip_prefix('.').unwrap_or(domain).into()),
        secure,
        http_only: config.http_only,
        same_site: config.same_site,
    }
}

pub(super) struct Check<'a> {
    pub(super) figment: &'a Figment,
    table: &'a str,
}

impl Check<'_> {
    /// `key` cannot be as it is; `fix` says why and what to write.
    pub(super) fn refuse<T>(&self, key: &str, fix: &str) -> Result<T> {
        self.refuse_path(&format!("{}.{key}", self.table), fix)
    }

    /// As [`refuse`](Self::refuse), for a key that may stand outside the table.
    pub(super) fn refuse_path<T>(&self, path: &str, fix: &str) -> Result<T> {
        let source = self.figment.find_metadata(path).map(origin).unwrap_or_default();
        Err(Error::new(ErrorKind::Config, format!("`{path}`{source}: {fix}")))
    }

    fn lifetimes(&self, config: &Config) -> Result<()> {
        let expiry = config.expiry;
        let durations = [
            ("expiry", Some(expiry)),
            ("anonymous_expiry", config.anonymous_expiry),
            ("max_lifetime", config.max_lifetime),
        ];
        for (key, duration) in durations {
            let Some(duration) = duration else { continue };
            if duration < SECOND {
                return self.refuse(key, "must be at least 1 second, because cookies count in seconds");
            }
            if duration > MAX_AGE {
                return self.refuse(key, "browsers keep no cookie longer than 400 days: write \"400 days\" or less");
            }
        }
        match config.max_lifetime {
            Some(limit) if limit < expiry => {
                let (limit, expiry) = (Text(limit), Text(expiry));
                let fix = format!("{limit} is below `expiry`, which is {expiry}: raise it, or lower `expiry`");
                self.refuse("max_lifetime", &fix)
            }
            _ => Ok(()),
        }
    }

    fn limits(&self, config: &Config) -> Result<()> {
        if let Refresh::Share(share) = config.refresh
            && !(share > 0.0 && share < 1.0)
        {
            return self.refuse("refresh", "a share of the lifetime lies between 0 and 1, such as 0.1");
        }
        if config.sweep_interval.is_some_and(|interval| interval.is_zero()) {
            return self.refuse("sweep_interval", "must not be zero: write \"off\" to never sweep");
        }
        if config.cache_ttl < SECOND || config.cache_ttl > LONGEST_CACHE_TTL {
            return self.refuse("cache_ttl", "must lie between 1 second and 1 hour");
        }
        if config.key_prefix.len() > 100 || !config.key_prefix.bytes().all(|b| b.is_ascii_graphic()) {
            return self.refuse("key_prefix", "at most 100 printable ASCII characters, and no space");
        }
        // A longer one is a slip, and clocks and timers have their ends.
        for (key, duration, longest) in
            [("timeout", Some(config.timeout), LONGEST_TIMEOUT), ("sweep_interval", config.sweep_interval, MAX_AGE)]
        {
            if duration.is_some_and(|duration| duration > longest) {
                return self.refuse(key, &format!("must be at most {}", Text(longest)));
            }
        }
        let zeros = [
            ("timeout", config.timeout.is_zero()),
            ("max_size", config.max_size == 0),
            ("max_connections", config.max_connections == Some(0)),
            ("capacity", config.capacity == 0),
        ];
        match zeros.into_iter().find(|(_, zero)| *zero) {
            Some((key, _)) => self.refuse(key, "must not be zero: leave it out for the default"),
            None => Ok(()),
        }
    }

    fn attributes(&self, cookie: &CookieSettings) -> Result<()> {
        let CookieSettings { path, domain, secure, same_site, .. } = cookie;
        if !path.starts_with('/') {
            return self.refuse("cookie_path", "must start with `/`");
        }
        if path.len() > 1024 || !path.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b';') {
            return self.refuse("cookie_path", "at most 1024 characters, all of them ASCII, and no `;`");
        }
        let is_host = |domain: &str| {
            let label = |label: &str| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            };
            domain.len() <= 253 && domain.split('.').all(label)
        };
        if domain.as_deref().is_some_and(|domain| !is_host(domain)) {
            let fix = "must be a host name such as \"example.com\", without scheme and port; leave it out for a \
                       host-only cookie";
            return self.refuse("cookie_domain", fix);
        }
        if *same_site == SameSite::None && !secure {
            let fix = "browsers refuse a `SameSite=None` cookie that is not secure: set `secure = true`, or write \
                       \"Lax\"";
            return self.refuse("same_site", fix);
        }
        Ok(())
    }

    /// The name, and what browsers ask of the prefixes, which they match in any case of letters (RFC 6265bis).
    fn name(&self, cookie: &CookieSettings) -> Result<()> {
        // `%` is a letter of names, but Rocket decodes it.
        let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&b);
        if cookie.name.is_empty() || cookie.name.len() > 256 || !cookie.name.bytes().all(is_letter) {
            let fix = "must be 1 to 256 characters, each an ASCII letter, a digit or one of !#$&'*+-.^_`|~";
            return self.refuse("cookie_name", fix);
        }
        let name = cookie.name.to_ascii_lowercase();
        let host = name.starts_with("__host-");
        if (host || name.starts_with("__secure-") || name.starts_with("__http-")) && !cookie.secure {
            let fix = "browsers refuse a cookie with this prefix that is not secure: set `secure = true`, or choose \
                       another name";
            return self.refuse("cookie_name", fix);
        }
        if host && (cookie.domain.is_some() || cookie.path != "/") {
            let fix = "browsers refuse a `__Host-` cookie with a domain, or with a path other than `/`: leave out \
                       `cookie_domain` and `cookie_path`, or choose another name";
            return self.refuse("cookie_name", fix);
        }
        if (name.starts_with("__http-") || name.starts_with("__host-http-")) && !cookie.http_only {
            let fix = "browsers refuse a cookie with this prefix that scripts can read: set `http_only = true`, or \
                       choose another name";
            return self.refuse("cookie_name", fix);
        }
        Ok(())
    }
}

/// The effective policy in one line, for the launch log: no password, no key.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, expires {} after the last save", self.cookie, Text(self.policy.lifetime))?;
        if self.policy.anonymous_lifetime != self.policy.lifetime {
            write!(f, " ({} while nobody is logged in)", Text(self.policy.anonymous_lifetime))?;
        }
        if self.policy.browser_close {
            f.write_str(" and when the browser is closed")?;
        }
        if let Some(limit) = self.policy.max_lifetime {
            write!(f, ", and {} after its creation or login", Text(limit))?;
        }
        match self.policy.refresh {
            Refresh::OnSave => f.write_str("; renewed on save")?,
            Refresh::Always => f.write_str("; renewed by every request")?,
            Refresh::Share(share) => write!(f, "; renewed when read after {share} of the lifetime")?,
        }
        match &self.seal {
            Some(seal) => write!(f, "; each in its own cookie, {seal}"),
            None => self.write_store(f),
        }
    }
}

impl Settings {
    /// Whether sessions are in a table, which has to be made.
    pub(crate) fn has_table(&self) -> bool {
        Scheme::of(&self.store.url).is_some_and(Scheme::has_table)
    }

    fn write_store(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "; store {}", masked(&self.store.url))?;
        if self.has_table() {
            let migrate = match self.store.migrate {
                Migrate::Auto => "auto",
                Migrate::Check => "check",
                Migrate::Off => "off",
            };
            write!(f, " (table `{}`, migrate {migrate})", self.store.table)?;
        }
        if let Some(cache) = &self.store.cache {
            write!(f, ", cached in {} for up to {}", masked(cache), Text(self.store.cache_ttl))?;
        }
        match self.sweep_interval {
            Some(interval) => write!(f, ", swept every {}", Text(interval))?,
            None => f.write_str(", never swept")?,
        }
        write!(f, ", at most {} a call and {} a session", Text(self.store.timeout), ByteUnit::from(self.max_size))
    }
}

/// A duration as it can be written in `Rocket.toml`.
pub(crate) struct Text(pub Duration);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0.as_secs() / DAY.as_secs();
        // Humantime counts in months and years of its own.
        if days > 0 && self.0 == DAY * u32::try_from(days).unwrap_or(u32::MAX) {
            return write!(f, "{days} day{}", if days == 1 { "" } else { "s" });
        }
        format_duration(self.0).fmt(f)
    }
}

/// A store's URL without its secrets: the password, and every parameter that is not known to be harmless.
///
/// A password may hold any character, written as it should be or not: all from the first `:` behind the scheme to the
/// last `@` is hidden, and everything where an `@` may as well be one of the parameters'.
pub(crate) fn masked(url: &str) -> String {
    const HARMLESS: [&str; 8] = ["mode", "cache", "synchronous", "sslmode", "ssl-mode", "charset", "db", "protocol"];
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, _)) if user.contains('?') => return format!("{scheme}***"),
        Some((user, place)) => {
            let name = user.split_once(':').map_or(user, |(name, _)| name);
            (if name.len() < user.len() { format!("{name}:***@") } else { format!("{user}@") }, place)
        }
        None => (String::new(), rest),
    };
    let Some((place, query)) = place.split_once('?') else { return format!("{scheme}{user}{place}") };
    let query = query.split('&').map(|pair| match pair.split_once('=') {
        Some((key, _)) if !HARMLESS.contains(&key) => format!("{key}=***"),
        _ => pair.to_owned(),
    });
    format!("{scheme}{user}{place}?{}", query.collect::<Vec<_>>().join("&"))
}
