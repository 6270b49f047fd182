//! The configuration in the form that the other modules use.

use std::fmt;
use std::time::Duration;

use rocket::data::ByteUnit;
use rocket::figment::Figment;

use super::definition::Config;
use super::read::read;
use super::seal::SealSettings;
use super::word::{self, DurationText};
use crate::base::error::Result;
use crate::base::expiry::{Policy, Refresh};
use crate::base::limit::SessionLimit;
use crate::data::codec::Format;
use crate::store::scheme::Scheme;
use crate::store::{self, mask_url};
use crate::web::cookie::CookieSettings;
use crate::web::transport::Transport;

/// The effective settings of one session type.
#[derive(Clone)]
pub(crate) struct Settings {
    pub cookie: CookieSettings,
    pub policy: Policy,
    pub format: Format,
    pub store: store::Options,
    /// The settings of sealed cookies, or `None` if sessions are in a store.
    pub seal: Option<SealSettings>,
    /// The interval of the sweep task, or `None` to run no sweep task.
    pub sweep_interval: Option<Duration>,
    /// The maximum size of an encoded session, in bytes.
    pub max_size: usize,
    pub limit: Option<SessionLimit>,
    pub poll_interval: Duration,
    pub clear_site_data: bool,
    pub transport: Transport,
    pub new_id_header: Option<String>,
}

/// Reads the configuration of `table`. Rocket's `figment` overrides `code`. `by_url` is false if the application passes a
/// store object or a pool, which replaces the setting `store`.
///
/// # Errors
/// [`ErrorKind::Config`](crate::ErrorKind::Config) if a key is unknown, or values are invalid or contradict each other.
pub(crate) fn resolve(figment: &Figment, table: &str, code: &Config, by_url: bool) -> Result<Settings> {
    let config = read(figment, table, code, if by_url { None } else { Some("given in code") })?;
    Settings::of(config)
}

impl Settings {
    fn of(config: Config) -> Result<Self> {
        Ok(Self {
            seal: SealSettings::of(&config)?,
            store: (&config).into(),
            format: config.format,
            policy: Policy {
                idle_timeout: config.expiry,
                anonymous_idle_timeout: config.anonymous_expiry.unwrap_or(config.expiry),
                browser_close: config.expire_at_browser_close,
                max_lifetime: config.max_lifetime,
                refresh: config.refresh,
            },
            sweep_interval: config.sweep_interval,
            max_size: usize::try_from(config.max_size).unwrap_or(usize::MAX),
            limit: config.max_sessions.map(|max| SessionLimit {
                max: usize::try_from(max).unwrap_or(usize::MAX),
                when_full: config.when_full,
            }),
            poll_interval: config.poll_interval,
            cookie: CookieSettings {
                name: config.cookie_name.unwrap_or_default(),
                path: config.cookie_path,
                domain: config.cookie_domain,
                secure: config.secure.unwrap_or(true),
                http_only: config.http_only,
                same_site: config.same_site,
                partitioned: config.partitioned,
            },
            clear_site_data: config.clear_site_data,
            transport: config.transport,
            new_id_header: config.new_id_header,
        })
    }
}

/// The options for [`store::open`]. Before the call, check [`Config::is_sealed`], because sealed cookies have no store.
impl From<&Config> for store::Options {
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

/// The effective settings in one line, for the launch log, without passwords and keys.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transport {
            Transport::Cookie => write!(f, "{}", self.cookie)?,
            Transport::Bearer => f.write_str("bearer token")?,
            Transport::CookieOrBearer => write!(f, "{}, or bearer token", self.cookie)?,
        }
        if let Some(header) = &self.new_id_header {
            write!(f, " (new ids in `{header}`)")?;
        }
        write!(f, ", expires {} after the last save", DurationText(self.policy.idle_timeout))?;
        if self.policy.anonymous_idle_timeout != self.policy.idle_timeout {
            write!(f, " ({} while nobody is logged in)", DurationText(self.policy.anonymous_idle_timeout))?;
        }
        if self.policy.browser_close {
            f.write_str(" and when the browser is closed")?;
        }
        if let Some(limit) = self.policy.max_lifetime {
            write!(f, ", and {} after its creation or login", DurationText(limit))?;
        }
        if let Some(SessionLimit { max, when_full }) = self.limit {
            let when_full = word::of(&when_full).unwrap_or_default();
            write!(f, "; at most {max} for each user, when full {when_full}")?;
        }
        if self.clear_site_data {
            f.write_str("; a logout sends `Clear-Site-Data`")?;
        }
        match self.policy.refresh {
            Refresh::OnSave => f.write_str("; renewed on save")?,
            Refresh::Always => f.write_str("; renewed by every request")?,
            Refresh::Share(share) => write!(f, "; renewed by a read after {share} of the idle timeout")?,
        }
        match &self.seal {
            Some(seal) => write!(f, "; each in its own cookie, {seal}"),
            None => self.write_store(f),
        }
    }
}

impl Settings {
    fn write_store(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "; store {}", mask_url(&self.store.url))?;
        if Scheme::of(&self.store.url).is_some_and(Scheme::has_table) {
            let migrate = word::of(&self.store.migrate).unwrap_or_default();
            write!(f, " (table `{}`, migrate {migrate})", self.store.table)?;
        }
        if let Some(cache) = &self.store.cache {
            write!(f, ", cached in {} for up to {}", mask_url(cache), DurationText(self.store.cache_ttl))?;
        }
        match self.sweep_interval {
            Some(interval) => write!(f, ", swept every {}", DurationText(interval))?,
            None => f.write_str(", never swept")?,
        }
        write!(f, ", timeout {}, at most {} a session", DurationText(self.store.timeout), ByteUnit::from(self.max_size))
    }
}
