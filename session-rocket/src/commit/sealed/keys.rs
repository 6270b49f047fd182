//! Secret keys, and what is derived from them.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chacha20poly1305::XChaCha20Poly1305;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit};
use sha2::Sha256;

use crate::base::error::Result;
use crate::base::id::random_bytes;

/// How many bytes a key's id has.
pub(super) const KEY_ID: usize = 4;

/// How many bytes a secret key has at least.
const SHORTEST: usize = 32;

/// A secret that cookies are sealed with. It has no form to be read in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretKey(Vec<u8>);

impl SecretKey {
    /// A key for as long as this process runs.
    pub(crate) fn random() -> Result<Self> {
        random_bytes::<SHORTEST>().map(|bytes| Self(bytes.to_vec()))
    }

    /// `None` when it is too short.
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= SHORTEST).then_some(Self(bytes))
    }

    /// From hexadecimal digits, or from base64 in either alphabet, padded or not: the forms of Rocket's `secret_key`.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        // By its letters alone: a shorter key in hexadecimal digits is not to pass for a longer one in base64.
        let is_hex = text.bytes().all(|b| b.is_ascii_hexdigit());
        Self::new(if is_hex { from_hex(text)? } else { from_base64(text)? })
    }

    /// Rocket's way to say that there is none.
    pub(crate) fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let padding = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { alphabet::URL_SAFE } else { alphabet::STANDARD };
    GeneralPurpose::new(&alphabet, padding).decode(text).ok()
}

/// What one secret key gives: a key for each purpose, and the name that a cookie calls it by.
pub(super) struct DerivedKeys {
    pub(super) id: [u8; KEY_ID],
    pub(super) mac: Hmac<Sha256>,
    pub(super) cipher: XChaCha20Poly1305,
}

impl DerivedKeys {
    pub(super) fn derive(secret: &SecretKey) -> Self {
        let source = Hkdf::<Sha256>::new(Some(b"session-rocket"), &secret.0);
        let signing = expand::<64>(&source, "sealed cookie: signing");
        let encryption = expand::<32>(&source, "sealed cookie: encryption");
        Self {
            id: expand(&source, "sealed cookie: key id"),
            mac: KeyInit::new(&signing.into()),
            cipher: KeyInit::new(&encryption.into()),
        }
    }
}

fn expand<const N: usize>(source: &Hkdf<Sha256>, purpose: &str) -> [u8; N] {
    let mut key = [0; N];
    source.expand(purpose.as_bytes(), &mut key).expect("HKDF-SHA-256 gives up to 8,160 bytes");
    key
}
