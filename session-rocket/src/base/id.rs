//! Session ids, which browsers hold, and keys, which stores hold.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hex;

const ID_BYTES: usize = 32;
const ID_CHARS: usize = 43;
const HANDLE_BYTES: usize = 16;

/// A session id, the secret that the session cookie carries.
///
/// A session id has 256 bits from the operating system's random number generator (OWASP ASVS 5.0, 7.2.3 requires at
/// least 128 bits). Only [`expose`](Self::expose) reveals the id; `Debug` hides it. Use the [`SessionHandle`] to name a
/// session in logs and URLs. `==` compares ids in constant time.
#[derive(Clone)]
pub struct SessionId([u8; ID_BYTES]);

impl SessionId {
    /// Draws a random id.
    ///
    /// # Errors
    /// [`ErrorKind::Random`] if the operating system returns no random bytes. There is no fallback to a weaker
    /// generator.
    pub(crate) fn random() -> Result<Self> {
        random_bytes().map(Self)
    }

    /// Parses the value of a cookie. Returns `None` for a string that [`expose`](Self::expose) never returns.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != ID_CHARS {
            return None;
        }
        let mut bytes = [0; ID_BYTES];
        let read = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (read == ID_BYTES).then_some(Self(bytes))
    }

    /// Returns the secret id as the cookie carries it: 43 characters of base64url.
    ///
    /// Anybody who knows the id can use the session, so do not log it or put it into a URL.
    pub fn expose(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

/// Computes the store keys of one scope: the SHA-256 hash of the scope and the id.
///
/// The scope is padded to whole blocks of SHA-256, so that it is hashed once for all keys.
#[derive(Clone)]
pub(crate) struct ScopeHash(Sha256);

impl ScopeHash {
    pub(crate) fn new(scope: &str) -> Self {
        const BLOCK: usize = 64;
        let length = u64::try_from(scope.len()).unwrap_or(u64::MAX).to_be_bytes();
        let mut bytes = [length.as_slice(), scope.as_bytes()].concat();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        Self(Sha256::new_with_prefix(bytes))
    }

    pub(crate) fn key(&self, id: &SessionId) -> Key {
        Key(self.0.clone().chain_update(id.0).finalize().into())
    }
}

#[cfg(test)]
impl SessionId {
    pub(crate) fn key(&self, scope: &str) -> Key {
        ScopeHash::new(scope).key(self)
    }
}

impl PartialEq for SessionId {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SessionId {}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

/// The key of a record in a store: a hash of the session id and its scope.
///
/// The scope separates the session types in a store. The session id cannot be computed from the key, so a leaked session
/// table gives nobody access to a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// Creates a key from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Creates a key from a slice of bytes. Returns `None` unless the slice has 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the 32 bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the public name of the session that has this key.
    pub fn handle(&self) -> SessionHandle {
        let mut handle = [0; HANDLE_BYTES];
        handle.copy_from_slice(&self.digest("handle")[..HANDLE_BYTES]);
        SessionHandle(handle)
    }

    /// Derives a digest for `purpose`, from which neither the key nor the digest for another purpose can be computed.
    pub(crate) fn digest(&self, purpose: &str) -> [u8; 32] {
        Sha256::new()
            .chain_update(b"session-rocket ")
            .chain_update(purpose)
            .chain_update([0])
            .chain_update(self.0)
            .finalize()
            .into()
    }

    /// Returns the key as 64 lower-case hexadecimal digits, for stores whose keys are strings. Do not log it.
    ///
    /// ```
    /// use session_rocket::Key;
    ///
    /// let key = Key::from_bytes([0xaf; 32]);
    /// assert_eq!(Key::from_hex(&key.to_hex()), Some(key));
    /// ```
    pub fn to_hex(&self) -> String {
        hex::encode(&self.0)
    }

    /// Parses a string that [`to_hex`](Self::to_hex) returned.
    ///
    /// Returns `None` for any other string, including a string with upper-case digits, so that each key has exactly one
    /// string.
    pub fn from_hex(text: &str) -> Option<Self> {
        let key = Self::from_slice(&hex::decode(text)?)?;
        (key.to_hex() == text).then_some(key)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The public name of a session, which is safe in URLs, pages and logs.
///
/// Neither the session id nor the store key can be computed from a handle. `Display` writes 22 characters of base64url,
/// and `FromStr` parses them. A handle can be a parameter of a route, a field of a form, and a value in a template. The
/// handle changes whenever the session gets a new id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionHandle([u8; HANDLE_BYTES]);

impl fmt::Display for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// Parses the string that `Display` writes.
impl FromStr for SessionHandle {
    type Err = InvalidHandle;

    fn from_str(text: &str) -> std::result::Result<Self, InvalidHandle> {
        let mut handle = [0; HANDLE_BYTES];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut handle) {
            Ok(HANDLE_BYTES) => Ok(Self(handle)),
            _ => Err(InvalidHandle),
        }
    }
}

/// The error of parsing a string that is not a [`SessionHandle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidHandle;

impl fmt::Display for InvalidHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid session handle: expected 22 characters of base64url")
    }
}

impl std::error::Error for InvalidHandle {}

/// Serializes the string that `Display` writes, for JSON and templates.
impl Serialize for SessionHandle {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionHandle({self})")
    }
}

pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| {
        Error::with_source(ErrorKind::Random, "the operating system returned no random bytes", e.to_string())
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
