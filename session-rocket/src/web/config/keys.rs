//! The secret keys of sealed cookies, from the configuration.

use std::fmt;

use rocket::figment::value::Value;
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::Config;
use super::settings::Check;
use crate::base::error::Result;
use crate::commit::sealed::{Kind, SecretKey};
use crate::store::scheme::Scheme;

/// Keys as they are given: a list of strings, or one string. Errors do not show what was given instead.
#[derive(Default)]
pub(super) struct KeyTexts(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for KeyTexts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As a value first: the text of an error about what it is not would hold it.
        let keys = match <Value as Deserialize>::deserialize(deserializer)? {
            Value::String(_, key) => Some(vec![key]),
            Value::Array(_, keys) => keys.into_iter().map(Value::into_string).collect(),
            _ => None,
        };
        keys.map(Self).ok_or_else(|| de::Error::custom("expected a list of keys, each of them a string"))
    }
}

/// How sessions are sealed in their own cookies.
#[derive(Clone)]
pub(crate) struct SealSettings {
    pub kind: Kind,
    /// Seals, and opens.
    pub first: SecretKey,
    /// Open only.
    pub former: Vec<SecretKey>,
    /// The key was drawn at this launch.
    pub random: bool,
}

/// For the launch log.
impl fmt::Display for SealSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.kind {
            Kind::Signed => "signed",
            Kind::Encrypted => "encrypted",
        };
        match self.former.len() {
            0 => write!(f, "{how}, one key"),
            former => write!(f, "{how}, {} keys", former + 1),
        }
    }
}

const FORM: &str = "at least 32 random bytes in base64 or hexadecimal digits, such as `openssl rand -base64 32` prints";

/// How `config` asks for sessions to be sealed, if it does.
///
/// # Errors
/// When a key is none, or none is set where there has to be one: names it, and does not show it.
pub(super) fn seal(check: &Check<'_>, config: &Config, debug: bool) -> Result<Option<SealSettings>> {
    let mut keys = own_keys(check, config)?;
    let kind = match Scheme::of(&config.store) {
        Some(Scheme::SignedCookie) => Kind::Signed,
        Some(Scheme::EncryptedCookie) => Kind::Encrypted,
        _ => return Ok(None),
    };
    if config.store.split_once(':').is_none_or(|(_, rest)| !rest.is_empty()) {
        let fix = "remove everything after the colon: write \"cookie+signed:\" or \"cookie+encrypted:\"";
        return check.refuse("store", fix);
    }
    if config.cache.is_some() {
        let fix =
            "sealed cookies need no cache, because they are not in a store: remove `cache`, or set another `store`";
        return check.refuse("cache", fix);
    }
    if keys.is_empty()
        && let Ok(value) = check.figment.find_value("secret_key")
    {
        match rockets(&value) {
            Some(key) => keys.push(key),
            None => return check.refuse_path("secret_key", &format!("invalid key: write {FORM}")),
        }
    }
    let mut keys = keys.into_iter().filter(|key| !key.is_zero());
    match keys.next() {
        Some(first) => Ok(Some(SealSettings { kind, first, former: keys.collect(), random: false })),
        None if debug => {
            let first = SecretKey::random()?;
            Ok(Some(SealSettings { kind, first, former: Vec::new(), random: true }))
        }
        None => {
            let fix =
                format!("a sealed cookie needs a key: set `secret_keys`, or Rocket's own `secret_key`, to {FORM}");
            check.refuse("secret_keys", &fix)
        }
    }
}

fn own_keys(check: &Check<'_>, config: &Config) -> Result<Vec<SecretKey>> {
    let keys = config.secret_keys.iter().enumerate().map(|(place, text)| match SecretKey::from_text(text) {
        Some(key) => Ok(key),
        None => check.refuse("secret_keys", &format!("key {} is invalid: write {FORM}", place + 1)),
    });
    keys.collect()
}

/// Rocket's key: text, or 32 numbers.
fn rockets(value: &Value) -> Option<SecretKey> {
    match value {
        Value::String(_, text) => SecretKey::from_text(text),
        Value::Array(_, bytes) => {
            SecretKey::new(bytes.iter().map(|byte| byte.deserialize().ok()).collect::<Option<_>>()?)
        }
        _ => None,
    }
}
