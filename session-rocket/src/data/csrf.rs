//! The token that a session's own pages put into their forms, so that no other site can post them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};
use subtle::ConstantTimeEq;

use crate::base::error::Result;
use crate::base::id::{SessionId, random_bytes};

const BYTES: usize = 16;
/// A mask and what it hides.
const MASKED: usize = 2 * BYTES;

/// What a session keeps: 128 bits that its tokens are made from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct CsrfSecret([u8; BYTES]);

impl CsrfSecret {
    pub(crate) fn random() -> Result<Self> {
        random_bytes().map(Self)
    }

    /// The secret of a session that has an id and no secret yet: two requests at once come to the same one, and the
    /// tokens in both their pages are valid.
    pub(crate) fn of(id: &SessionId) -> Self {
        let mut secret = [0; BYTES];
        secret.copy_from_slice(&id.digest("csrf")[..BYTES]);
        Self(secret)
    }

    /// As it is stored.
    pub(crate) fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// From what [`to_text`](Self::to_text) gave.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        decode(text).map(Self)
    }

    /// A token: another one each time, so that a compressed page does not give it away (BREACH).
    pub(crate) fn token(self) -> Result<CsrfToken> {
        let mask = random_bytes::<BYTES>()?;
        let mut token = [0; MASKED];
        for (n, byte) in self.0.into_iter().enumerate() {
            token[n] = mask[n];
            token[BYTES + n] = mask[n] ^ byte;
        }
        Ok(CsrfToken(URL_SAFE_NO_PAD.encode(token)))
    }

    /// Whether `token` was made from this secret; compared in constant time.
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

/// The bytes of a text that encodes exactly so many.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // Longer texts do not fit, and are refused before anything is decoded.
    let read = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (read == N).then_some(bytes)
}

/// A token to put into a form, as the value of a hidden field named `csrf_token`; made by
/// [`Session::csrf_token`](crate::Session::csrf_token).
///
/// It prints and serializes as its text, base64url, which is safe in HTML and in URLs. `Debug` hides it. Two tokens are not
/// compared: [`Session::verify_csrf_token`](crate::Session::verify_csrf_token) does that, in constant time.
#[derive(Clone)]
pub struct CsrfToken(String);

impl CsrfToken {
    /// A token that no secret verifies.
    pub(crate) fn empty() -> Self {
        Self(String::new())
    }

    /// The token's text.
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
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_its_secret_alone_and_never_twice_the_same() {
        let (one, other) = (CsrfSecret::random().unwrap(), CsrfSecret::random().unwrap());
        let tokens = [one.token().unwrap(), one.token().unwrap()];
        assert_ne!(tokens[0].as_str(), tokens[1].as_str());
        for token in &tokens {
            assert_eq!(token.as_str().len(), 43);
            assert!(one.verifies(token.as_str()) && !other.verifies(token.as_str()));
        }
        assert!(CsrfSecret::from_text(&one.to_text()) == Some(one));
    }

    #[test]
    fn anything_else_is_refused() {
        let secret = CsrfSecret::random().unwrap();
        let token = secret.token().unwrap().to_string();
        for place in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            assert!(!secret.verifies(std::str::from_utf8(&bytes).unwrap()), "letter {place}");
        }
        for bad in ["", " ", "ä", &secret.to_text(), &token[..42], &format!("{token}="), &token.repeat(1000)] {
            assert!(!secret.verifies(bad), "{bad:?}");
        }
        assert!(!secret.verifies(CsrfToken::empty().as_str()));
    }

    #[test]
    fn debug_hides_it() {
        let token = CsrfSecret::random().unwrap().token().unwrap();
        assert!(!format!("{token:?}").contains(token.as_str()));
    }
}
