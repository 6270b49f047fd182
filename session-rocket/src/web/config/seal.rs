//! The settings of sealed cookies.

use std::fmt;

use super::definition::Config;
use crate::base::error::Result;
use crate::commit::sealed::{Kind, SecretKey};
use crate::store::scheme::Scheme;

/// The kind of the seal, and its keys.
#[derive(Clone)]
pub(crate) struct SealSettings {
    pub kind: Kind,
    /// The key that seals and opens cookies.
    pub current_key: SecretKey,
    /// The keys that only open cookies.
    pub former_keys: Vec<SecretKey>,
    /// Whether the current key is random, and so is lost when the process ends.
    pub is_random: bool,
}

impl SealSettings {
    /// Returns the settings of a checked configuration, or `None` if sessions are in a store.
    ///
    /// # Errors
    /// [`ErrorKind::Random`](crate::ErrorKind::Random) if a random key is needed and the operating system returns no
    /// random bytes.
    pub(super) fn of(config: &Config) -> Result<Option<Self>> {
        let kind = match Scheme::of(&config.store) {
            Some(Scheme::SignedCookie) => Kind::Signed,
            Some(Scheme::EncryptedCookie) => Kind::Encrypted,
            _ => return Ok(None),
        };
        let mut keys = config.secret_keys.iter().filter_map(|text| SecretKey::from_text(text));
        let (current_key, is_random) = match keys.next() {
            Some(key) => (key, false),
            None => (SecretKey::random()?, true),
        };
        Ok(Some(Self { kind, current_key, former_keys: keys.collect(), is_random }))
    }
}

/// The text for the launch log.
impl fmt::Display for SealSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.kind {
            Kind::Signed => "signed",
            Kind::Encrypted => "encrypted",
        };
        match self.former_keys.len() {
            0 => write!(f, "{how}, one key"),
            former => write!(f, "{how}, {} keys", former + 1),
        }
    }
}
