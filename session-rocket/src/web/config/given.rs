//! What `Rocket.toml` and the environment say.

use std::fmt;
use std::time::Duration;

use rocket::data::ByteUnit;
use rocket::figment::{self, Figment};
use rocket::http::SameSite;
use serde::Deserialize;
use serde::de::{self, Deserializer, Unexpected, Visitor};

use super::Config;
use super::keys::KeyTexts;
use super::names::meant;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::expiry::Refresh;
use crate::data::codec::Format;
use crate::store::Migrate;

/// Every key, as it may be given; what is not given stays as it is in code.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Given {
    store: Option<String>,
    cookie_name: Option<String>,
    cookie_path: Option<String>,
    cookie_domain: Option<String>,
    #[serde(deserialize_with = "given")]
    secure: Option<Secure>,
    http_only: Option<bool>,
    #[serde(deserialize_with = "given")]
    same_site: Option<Site>,
    #[serde(deserialize_with = "given")]
    expiry: Option<Span>,
    #[serde(deserialize_with = "given")]
    anonymous_expiry: Option<Span>,
    expire_at_browser_close: Option<bool>,
    #[serde(deserialize_with = "given")]
    max_lifetime: Option<Span>,
    #[serde(deserialize_with = "given")]
    refresh: Option<When>,
    #[serde(deserialize_with = "given")]
    format: Option<Encoding>,
    #[serde(deserialize_with = "given")]
    secret_keys: Option<KeyTexts>,
    table: Option<String>,
    #[serde(deserialize_with = "given")]
    migrate: Option<Mode>,
    #[serde(deserialize_with = "given")]
    sweep_interval: Option<Interval>,
    #[serde(deserialize_with = "given")]
    timeout: Option<Span>,
    max_connections: Option<u32>,
    max_size: Option<ByteUnit>,
    capacity: Option<usize>,
    cache: Option<String>,
    #[serde(deserialize_with = "given")]
    cache_ttl: Option<Span>,
    key_prefix: Option<String>,
}

/// Reads `table` over what code says.
///
/// # Errors
/// [`ErrorKind::Config`], naming the key, where it was given and what to write, for all keys that are wrong.
pub(super) fn read(figment: &Figment, table: &str, code: &Config) -> Result<Config> {
    let Ok(value) = figment.find_value(table) else { return Ok(code.clone()) };
    if value.as_dict().is_none() {
        let source = figment.get_metadata(value.tag()).map(origin).unwrap_or_default();
        // A string may be a malformed table that contains secrets: it is not shown.
        let found = value.as_str().map_or("another value", |_| "a string");
        let variable = table.to_uppercase();
        let fix = format!(
            "found {found}, expected a table: write `[default.{table}]`, or in a shell \
             `ROCKET_{variable}='{{expiry=\"1 hour\",max_size=65536}}'`, with strings in double quotes"
        );
        return Err(Error::new(ErrorKind::Config, format!("`{table}`{source}: {fix}")));
    }
    match figment.focus(table).extract::<Given>() {
        Ok(given) => Ok(given.over(code.clone())),
        Err(error) => Err(Error::new(ErrorKind::Config, explain(error, table))),
    }
}

impl Given {
    fn over(self, code: Config) -> Config {
        Config {
            store: self.store.unwrap_or(code.store),
            cookie_name: self.cookie_name.or(code.cookie_name),
            cookie_path: self.cookie_path.unwrap_or(code.cookie_path),
            cookie_domain: self.cookie_domain.or(code.cookie_domain),
            secure: self.secure.map_or(code.secure, |Secure(secure)| secure),
            http_only: self.http_only.unwrap_or(code.http_only),
            same_site: self.same_site.map_or(code.same_site, |Site(site)| site),
            expiry: self.expiry.map_or(code.expiry, |Span(span)| span),
            anonymous_expiry: self.anonymous_expiry.map(|Span(span)| span).or(code.anonymous_expiry),
            expire_at_browser_close: self.expire_at_browser_close.unwrap_or(code.expire_at_browser_close),
            max_lifetime: self.max_lifetime.map(|Span(span)| span).or(code.max_lifetime),
            refresh: self.refresh.map_or(code.refresh, |When(refresh)| refresh),
            format: self.format.map_or(code.format, |Encoding(format)| format),
            secret_keys: self.secret_keys.map_or(code.secret_keys, |KeyTexts(keys)| keys),
            table: self.table.unwrap_or(code.table),
            migrate: self.migrate.map_or(code.migrate, |Mode(migrate)| migrate),
            sweep_interval: self.sweep_interval.map_or(code.sweep_interval, |Interval(interval)| interval),
            timeout: self.timeout.map_or(code.timeout, |Span(span)| span),
            max_connections: self.max_connections.or(code.max_connections),
            max_size: self.max_size.map_or(code.max_size, ByteUnit::as_u64),
            capacity: self.capacity.unwrap_or(code.capacity),
            cache: self.cache.or(code.cache),
            cache_ttl: self.cache_ttl.map_or(code.cache_ttl, |Span(span)| span),
            key_prefix: self.key_prefix.unwrap_or(code.key_prefix),
        }
    }
}

/// Which key is wrong, where it was given, and what to write.
fn explain(error: figment::Error, table: &str) -> String {
    let lines = error.into_iter().map(|error| {
        let source = error.metadata.as_ref().map(origin).unwrap_or_default();
        if let figment::error::Kind::UnknownField(name, known) = &error.kind {
            let hint = meant(name, known)
                .map_or_else(|| format!("the keys are {}", known.join(", ")), |key| format!("did you mean `{key}`?"));
            return format!("`{table}.{name}`{source}: unknown key; {hint}");
        }
        format!("`{table}.{}`{source}: {}", error.path.join("."), error.kind)
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// Where a value was given, to be put behind its key.
pub(super) fn origin(metadata: &figment::Metadata) -> String {
    match &metadata.source {
        Some(source) => format!(" (in {source})"),
        None => format!(" (in {})", metadata.name),
    }
}

/// A value that is given at all.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// What a key's text, number or switch stands for: `None` for what it cannot be.
trait Word: Sized {
    const EXPECTED: &'static str;

    fn from_text(_: &str) -> Option<Self> {
        None
    }

    fn from_int(_: u64) -> Option<Self> {
        None
    }

    fn from_float(_: f64) -> Option<Self> {
        None
    }

    fn from_bool(_: bool) -> Option<Self> {
        None
    }
}

struct WordVisitor<T>(std::marker::PhantomData<T>);

impl<T: Word> Visitor<'_> for WordVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text.trim()).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &T::EXPECTED))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        T::from_int(number).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &T::EXPECTED))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        let word = u64::try_from(number).ok().and_then(T::from_int);
        word.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &T::EXPECTED))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        T::from_float(number).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &T::EXPECTED))
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<T, E> {
        T::from_bool(on).ok_or_else(|| E::invalid_value(Unexpected::Bool(on), &T::EXPECTED))
    }
}

macro_rules! words {
    ($($name:ident($type:ty)),* $(,)?) => {
        $(struct $name($type);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(WordVisitor(std::marker::PhantomData))
            }
        })*
    };
}

words! {
    Secure(Option<bool>),
    Site(SameSite),
    Span(Duration),
    Interval(Option<Duration>),
    When(Refresh),
    Mode(Migrate),
    Encoding(Format),
}

impl Word for Secure {
    const EXPECTED: &'static str = "\"auto\", true or false";

    fn from_text(text: &str) -> Option<Self> {
        text.eq_ignore_ascii_case("auto").then_some(Self(None))
    }

    fn from_bool(on: bool) -> Option<Self> {
        Some(Self(Some(on)))
    }
}

impl Word for Site {
    const EXPECTED: &'static str = "\"Strict\", \"Lax\" or \"None\"; the attribute cannot be left out, because browsers treat \
                                    a missing one as `Lax` with exceptions: write \"Lax\"";

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(match text.to_ascii_lowercase().as_str() {
            "strict" => SameSite::Strict,
            "lax" => SameSite::Lax,
            "none" => SameSite::None,
            _ => return None,
        }))
    }
}

impl Word for Span {
    const EXPECTED: &'static str = "a duration, such as \"14 days\" or \"30 minutes\", or a whole number of seconds";

    // In humantime's words `M` is a month and `m` a minute: the case counts.
    fn from_text(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok().map(Self)
    }

    fn from_int(seconds: u64) -> Option<Self> {
        Some(Self(Duration::from_secs(seconds)))
    }
}

impl Word for Interval {
    const EXPECTED: &'static str = "a duration, such as \"10 minutes\", a whole number of seconds, or \"off\"";

    fn from_text(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("off") {
            return Some(Self(None));
        }
        Span::from_text(text).map(|Span(span)| Self(Some(span)))
    }

    fn from_int(seconds: u64) -> Option<Self> {
        Some(Self(Some(Duration::from_secs(seconds))))
    }
}

impl Word for When {
    const EXPECTED: &'static str = "\"on save\", \"always\", or a share of the lifetime between 0 and 1, such as 0.1";

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(match text.to_ascii_lowercase().as_str() {
            "on save" => Refresh::OnSave,
            "always" => Refresh::Always,
            _ => return None,
        }))
    }

    fn from_float(share: f64) -> Option<Self> {
        (share > 0.0 && share < 1.0).then_some(Self(Refresh::Share(share)))
    }
}

impl Word for Mode {
    const EXPECTED: &'static str = "\"auto\", \"check\" or \"off\"";

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(match text.to_ascii_lowercase().as_str() {
            "auto" => Migrate::Auto,
            "check" => Migrate::Check,
            "off" => Migrate::Off,
            _ => return None,
        }))
    }
}

impl Word for Encoding {
    const EXPECTED: &'static str = if cfg!(feature = "messagepack") {
        "\"json\" or \"messagepack\""
    } else {
        "\"json\", or \"messagepack\" with the cargo feature of that name"
    };

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(match text.to_ascii_lowercase().as_str() {
            "json" => Format::Json,
            #[cfg(feature = "messagepack")]
            "messagepack" => Format::MessagePack,
            _ => return None,
        }))
    }
}
