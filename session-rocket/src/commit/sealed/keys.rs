//! Secret keys, and the keys that are derived from them.

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

pub(super) const KEY_ID: usize = 4;

/// The minimum length of a secret key in bytes.
const MIN_KEY: usize = 32;

/// A secret with which cookies are sealed. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretKey(Vec<u8>);

impl SecretKey {
    pub(crate) fn random() -> Result<Self> {
        random_bytes::<MIN_KEY>().map(|bytes| Self(bytes.to_vec()))
    }

    /// Creates a key. Returns `None` if there are too few bytes.
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= MIN_KEY).then_some(Self(bytes))
    }

    /// Parses the forms of Rocket's `secret_key`: hexadecimal digits, or base64 in either alphabet, with or without
    /// padding.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        // A string of hexadecimal digits is never read as base64, because a key that is too short would then seem long
        // enough.
        let is_hex = text.bytes().all(|b| b.is_ascii_hexdigit());
        Self::new(if is_hex { from_hex(text)? } else { from_base64(text)? })
    }

    /// Whether all bytes are zero, which is how Rocket represents a missing key.
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

/// The keys that are derived from one secret key, and their id in a cookie.
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
    source.expand(purpose.as_bytes(), &mut key).expect("`N` is below 8,160 bytes, the limit of HKDF-SHA-256");
    key
}
