//! CSRF secrets and tokens, which prevent other sites from submitting a site's forms.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};
use subtle::ConstantTimeEq;

use crate::base::error::Result;
use crate::base::id::{Key, random_bytes};

const BYTES: usize = 16;
/// The length of a token in bytes: a random mask, followed by the exclusive or of the mask and the secret.
const MASKED: usize = 2 * BYTES;

/// The 128-bit secret for the tokens of a session, or of a browser without a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct CsrfSecret([u8; BYTES]);

impl CsrfSecret {
    pub(crate) fn random() -> Result<Self> {
        random_bytes().map(Self)
    }

    /// Derives the secret of a session from the session's key in the store. The secret changes when the session gets a new
    /// id.
    pub(crate) fn of(key: &Key) -> Self {
        let mut secret = [0; BYTES];
        secret.copy_from_slice(&key.digest("csrf")[..BYTES]);
        Self(secret)
    }

    /// Returns the form in which a session or a cookie stores the secret.
    pub(crate) fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        decode(text).map(Self)
    }

    /// Makes a token. Each token is masked differently, so that a compressed page does not reveal the secret (BREACH).
    pub(crate) fn token(self) -> Result<CsrfToken> {
        let mask = random_bytes::<BYTES>()?;
        let mut token = [0; MASKED];
        for (n, byte) in self.0.into_iter().enumerate() {
            token[n] = mask[n];
            token[BYTES + n] = mask[n] ^ byte;
        }
        Ok(CsrfToken(URL_SAFE_NO_PAD.encode(token)))
    }

    /// Whether `token` was made from this secret. Compares in constant time.
    pub(crate) fn verifies(self, token: &str) -> bool {
        let Some(token) = decode::<MASKED>(token) else { return false };
        let (mask, masked) = token.split_at(BYTES);
        let mut secret = [0; BYTES];
        for (byte, (a, b)) in secret.iter_mut().zip(mask.iter().zip(masked)) {
            *byte = a ^ b;
        }
        secret.ct_eq(&self.0).into()
    }
}

/// Decodes exactly `N` bytes. Returns `None` for a string of any other length.
pub(super) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // A string that is too long for `bytes` is refused before it is decoded.
    let read = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (read == N).then_some(bytes)
}

/// A CSRF token, the value of the hidden form field `csrf_token`.
///
/// [`Session::csrf_token`](crate::Session::csrf_token) makes it, and [`CsrfForm`](crate::CsrfForm) or
/// [`Session::verify_csrf_token`](crate::Session::verify_csrf_token) verifies it. `Display` and `Serialize` write it as
/// base64url, which is safe in HTML and URLs, and `Debug` hides it.
#[derive(Clone)]
pub struct CsrfToken(String);

impl CsrfToken {
    /// Returns a token that is never valid.
    pub(crate) fn empty() -> Self {
        Self(String::new())
    }

    /// Returns the token as a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CsrfToken(…)")
    }
}

impl Serialize for CsrfToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
