//! The secret keys of sealed cookies, from the configuration.

use std::fmt;

use rocket::figment::Figment;
use rocket::figment::value::Value;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::Config;
use crate::error::Result;
use crate::sealed::{Kind, SecretKey};

/// Keys as they are given: a list of texts, or one. Errors do not show what was given instead.
#[derive(Default)]
pub(super) struct Keys(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of keys, each in base64 or hexadecimal digits")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Keys, E> {
        Ok(Keys(vec![key.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Keys, A::Error> {
        let mut keys = Vec::new();
        while let Some(value) = seq.next_element::<Value>()? {
            // The text of figment's own error would hold the value.
            let Value::String(_, key) = value else { return Err(de::Error::custom("every key is a text")) };
            keys.push(key);
        }
        Ok(Keys(keys))
    }
}

/// How sessions are sealed in their own cookies.
#[derive(Clone)]
pub(crate) struct Seal {
    pub kind: Kind,
    /// The first seals, all open.
    pub keys: Vec<SecretKey>,
    /// The key was drawn at this launch.
    pub random: bool,
}

/// For the launch log.
impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.kind {
            Kind::Signed => "signed",
            Kind::Encrypted => "encrypted",
        };
        let keys = self.keys.len();
        write!(f, "{how}, {keys} key{}", if keys == 1 { "" } else { "s" })
    }
}

/// A key that cannot be as it is, and what to write.
type Wrong = (&'static str, String);

const FORM: &str = "at least 32 random bytes in base64 or hexadecimal digits, such as `openssl rand -base64 32` prints";

/// How `config` asks for sessions to be sealed, if it does.
///
/// # Errors
/// [`ErrorKind::Random`](crate::ErrorKind::Random) when there is no key and none can be drawn.
pub(super) fn seal(figment: &Figment, config: &Config, debug: bool) -> Result<Result<Option<Seal>, Wrong>> {
    let mut keys = Vec::new();
    for (place, text) in config.secret_keys.iter().enumerate() {
        match SecretKey::from_text(text) {
            Some(key) => keys.push(key),
            None => return Ok(Err(("secret_keys", format!("key {} is none: write {FORM}", place + 1)))),
        }
    }
    let url = config.store.to_ascii_lowercase();
    let (kind, rest) = match url.split_once(':') {
        Some(("cookie+signed", rest)) => (Kind::Signed, rest),
        Some(("cookie+encrypted", rest)) => (Kind::Encrypted, rest),
        _ => return Ok(Ok(None)),
    };
    if !rest.is_empty() {
        let fix = "nothing stands behind the colon: write \"cookie+signed:\" or \"cookie+encrypted:\"";
        return Ok(Err(("store", fix.to_owned())));
    }
    if keys.is_empty()
        && let Ok(value) = figment.find_value("secret_key")
    {
        match rockets(&value) {
            Some(key) => keys.push(key),
            None => return Ok(Err(("secret_keys", format!("Rocket's own `secret_key` is no key: write {FORM}")))),
        }
    }
    keys.retain(|key| !key.is_zero());
    let random = keys.is_empty();
    if random && !debug {
        let fix = format!("a sealed cookie needs a key: set this, or Rocket's own `secret_key`, to {FORM}");
        return Ok(Err(("secret_keys", fix)));
    }
    if random {
        keys.push(SecretKey::random()?);
    }
    Ok(Ok(Some(Seal { kind, keys, random })))
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
