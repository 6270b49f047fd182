//! How settings whose values are words, durations, numbers or booleans are read and written.

use std::fmt;
use std::time::Duration;

use rocket::figment::value::Value;
use rocket::http::SameSite;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use crate::base::expiry::Refresh;
use crate::base::limit::WhenFull;
use crate::data::codec::Format;
use crate::store::Migrate;
use crate::web::transport::Transport;

const DAY: Duration = Duration::from_hours(24);

/// A setting whose value is one of a few words, or another value such as a number.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// The accepted values, for error messages.
    const EXPECTED: &'static str;

    /// The values that have a word, each with its word. Words are read case-insensitively.
    const WORDS: &'static [(&'static str, Self)];

    /// Reads a value that has no word. Returns `None` if it is invalid.
    fn read(_value: &Value) -> Option<Self> {
        None
    }

    /// Writes a value that has no word.
    fn write<S: Serializer>(self, _serializer: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("the value has no word"))
    }
}

/// Returns the word of a value, if it has one.
pub(super) fn of<T: Word>(value: &T) -> Option<&'static str> {
    T::WORDS.iter().find(|(_, known)| known == value).map(|(word, _)| *word)
}

pub(super) fn serialize<T: Word, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    match of(value) {
        Some(word) => serializer.serialize_str(word),
        None => value.write(serializer),
    }
}

pub(super) fn deserialize<'de, T: Word, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let configured = <Value as Deserialize>::deserialize(deserializer)?;
    let text = configured.as_str().unwrap_or_default().trim();
    let word = T::WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value);
    word.or_else(|| T::read(&configured)).ok_or_else(|| {
        let found = configured.to_actual();
        D::Error::custom(format_args!("invalid value: found {found}, expected {}", T::EXPECTED))
    })
}

/// A setting that is on, off, or decided by the library.
impl Word for Option<bool> {
    const EXPECTED: &'static str = "\"auto\", true or false";
    const WORDS: &'static [(&'static str, Self)] = &[("auto", None)];

    fn read(value: &Value) -> Option<Self> {
        value.to_bool().map(Some)
    }

    fn write<S: Serializer>(self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_some(&self.unwrap_or_default())
    }
}

impl Word for SameSite {
    const EXPECTED: &'static str = "\"Strict\", \"Lax\" or \"None\"; the attribute cannot be omitted, because browsers then use \
                                    a weaker form of \"Lax\": write \"Lax\"";
    const WORDS: &'static [(&'static str, Self)] =
        &[("Strict", SameSite::Strict), ("Lax", SameSite::Lax), ("None", SameSite::None)];
}

impl Word for Transport {
    const EXPECTED: &'static str = "\"cookie\", \"bearer\" or \"cookie or bearer\"";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("cookie", Transport::Cookie),
        ("bearer", Transport::Bearer),
        ("cookie or bearer", Transport::CookieOrBearer),
    ];
}

impl Word for Duration {
    const EXPECTED: &'static str = "a duration, such as \"14 days\" or \"30 minutes\", or a whole number of seconds";
    const WORDS: &'static [(&'static str, Self)] = &[];

    fn read(value: &Value) -> Option<Self> {
        match value {
            // Durations are case-sensitive, because humantime reads `M` as month and `m` as minute.
            Value::String(_, text) => humantime::parse_duration(text.trim()).ok(),
            Value::Num(_, seconds) => u64::try_from(seconds.to_u128_lossy()?).ok().map(Duration::from_secs),
            _ => None,
        }
    }

    fn write<S: Serializer>(self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&DurationText(self))
    }
}

impl Word for Option<Duration> {
    const EXPECTED: &'static str =
        "a duration, such as \"14 days\" or \"30 minutes\", a whole number of seconds, or \"off\"";
    const WORDS: &'static [(&'static str, Self)] = &[("off", None)];

    fn read(value: &Value) -> Option<Self> {
        Duration::read(value).map(Some)
    }

    fn write<S: Serializer>(self, serializer: S) -> Result<S::Ok, S::Error> {
        self.unwrap_or_default().write(serializer)
    }
}

impl Word for Option<u32> {
    const EXPECTED: &'static str = "a whole number, at most 4294967295, or \"off\"";
    const WORDS: &'static [(&'static str, Self)] = &[("off", None)];

    fn read(value: &Value) -> Option<Self> {
        let Value::Num(_, number) = value else { return None };
        u32::try_from(number.to_u128_lossy()?).ok().map(Some)
    }

    fn write<S: Serializer>(self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.unwrap_or_default())
    }
}

impl Word for WhenFull {
    const EXPECTED: &'static str = "\"end oldest\" or \"refuse login\"";
    const WORDS: &'static [(&'static str, Self)] =
        &[("end oldest", WhenFull::EndOldest), ("refuse login", WhenFull::RefuseLogin)];
}

impl Word for Refresh {
    const EXPECTED: &'static str =
        "\"on save\", \"always\", or a share of the idle timeout above 0 and below 1, such as 0.1";
    const WORDS: &'static [(&'static str, Self)] = &[("on save", Refresh::OnSave), ("always", Refresh::Always)];

    fn read(value: &Value) -> Option<Self> {
        value.to_f64().map(Refresh::Share)
    }

    fn write<S: Serializer>(self, serializer: S) -> Result<S::Ok, S::Error> {
        let Refresh::Share(share) = self else { return Err(S::Error::custom("the value has no word")) };
        serializer.serialize_f64(share)
    }
}

impl Word for Migrate {
    const EXPECTED: &'static str = "\"auto\", \"check\" or \"off\"";
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Migrate::Auto), ("check", Migrate::Check), ("off", Migrate::Off)];
}

impl Word for Format {
    const EXPECTED: &'static str = if cfg!(feature = "messagepack") {
        "\"json\" or \"messagepack\""
    } else {
        "\"json\", or \"messagepack\" with the cargo feature of that name"
    };
    const WORDS: &'static [(&'static str, Self)] = &[
        ("json", Format::Json),
        #[cfg(feature = "messagepack")]
        ("messagepack", Format::MessagePack),
    ];
}

/// A duration in the syntax of `Rocket.toml`.
pub(super) struct DurationText(pub(super) Duration);

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0.as_secs() / DAY.as_secs();
        // Humantime would write months and years, which have no exact length.
        if days > 0 && self.0 == DAY * u32::try_from(days).unwrap_or(u32::MAX) {
            return write!(f, "{days} day{}", if days == 1 { "" } else { "s" });
        }
        humantime::format_duration(self.0).fmt(f)
    }
}
