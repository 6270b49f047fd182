//! A session stores a MAC of the user's `LoadUser::auth_hash`, so that a change of the password ends the session.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::csrf::decode;
use crate::base::error::Result;
use crate::base::id::random_bytes;

const SALT: usize = 16;
const TAG: usize = 16;

/// A salted HMAC-SHA256 of an auth hash.
///
/// The salt is the key of the HMAC. Auth hashes are often derived from password hashes, so a stored session or a signed
/// cookie must not reveal them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct AuthMac([u8; SALT + TAG]);

impl AuthMac {
    pub(crate) fn of(auth_hash: &str) -> Result<Self> {
        let salt = random_bytes::<SALT>()?;
        let mut bytes = [0; SALT + TAG];
        bytes[..SALT].copy_from_slice(&salt);
        bytes[SALT..].copy_from_slice(&hmac(&salt, auth_hash).finalize().into_bytes()[..TAG]);
        Ok(Self(bytes))
    }

    /// Whether this is a MAC of `auth_hash`. Compares in constant time.
    pub(crate) fn verifies(&self, auth_hash: &str) -> bool {
        hmac(&self.0[..SALT], auth_hash).verify_truncated_left(&self.0[SALT..]).is_ok()
    }

    /// Returns the stored form.
    pub(crate) fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        decode(text).map(Self)
    }
}

fn hmac(salt: &[u8], auth_hash: &str) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(salt).expect("HMAC accepts keys of any length");
    mac.chain_update(b"session-rocket auth\0").chain_update(auth_hash)
}

#[cfg(test)]
mod tests;
