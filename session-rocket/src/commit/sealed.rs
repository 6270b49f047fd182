//! Sealed cookies: sessions that the browser stores, signed or encrypted. This module has no I/O and no clock.
//!
//! A cookie value is base64url without padding. It encodes these bytes:
//!
//! | bytes | signed | encrypted |
//! |---|---|---|
//! | 1 | `0x01` | `0x02` |
//! | 4 | the key's id | the key's id |
//! | 24 | – | the nonce, random |
//! | 8 + 8 + 8 | the times issued, created, expires: milliseconds since the epoch, big endian | the same, encrypted |
//! | 1 + n | `0` and the payload; or `1`, the payload's size in 4 bytes, and the payload as an LZ4 block | the same, encrypted |
//! | 32 or 16 | HMAC-SHA-256 | the tag of XChaCha20-Poly1305 |
//!
//! The HMAC or tag also authenticates the purpose, the scope and the cookie's name, which are not part of these bytes, so
//! that one cookie cannot replace another. HKDF-SHA-256 derives the signing key, the encryption key and the key's id from a
//! secret key.

mod keys;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{Tag, XNonce};
use hmac::Mac;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::random_bytes;

pub(crate) use self::keys::SecretKey;
use self::keys::{DerivedKeys, KEY_ID};

const NONCE: usize = 24;
/// The length of the three times in bytes.
const MOMENTS: usize = 3 * size_of::<u64>();
/// The length of the kind and the key's id.
const HEADER: usize = 1 + KEY_ID;
/// Payloads of at most this length are not compressed, because that would not make them smaller.
const COMPRESSIBLE: usize = 64;
/// The maximum number of bytes that each byte of an LZ4 block expands to.
const EXPANSION: usize = 255;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The browser can read the cookie, but only the server can change it.
    Signed = 1,
    /// Only the server can read or change the cookie.
    Encrypted = 2,
}

impl Kind {
    fn tag_len(self) -> usize {
        match self {
            Self::Signed => 32,
            Self::Encrypted => 16,
        }
    }

    fn nonce_len(self) -> usize {
        match self {
            Self::Signed => 0,
            Self::Encrypted => NONCE,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub issued_at: Timestamp,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub payload: Bytes,
}

/// Seals and opens the cookies of one session type.
pub(crate) struct Sealer {
    kind: Kind,
    /// The keys that seal and open.
    current: DerivedKeys,
    /// The keys that only open.
    former: Vec<DerivedKeys>,
    /// The purpose, the scope and the cookie's name, which each tag authenticates. Each `mac` has already processed them.
    context: Vec<u8>,
}

impl Sealer {
    /// Creates a sealer for the cookie `name` and the scope of a session type.
    pub(crate) fn new(kind: Kind, current: &SecretKey, former: &[SecretKey], scope: &str, name: &str) -> Self {
        let mut context = b"session-rocket sealed cookie".to_vec();
        for part in [scope, name] {
            context.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.extend_from_slice(part.as_bytes());
        }
        let derive = |secret| {
            let mut keys = DerivedKeys::derive(secret);
            keys.mac.update(&context);
            keys
        };
        Self { kind, current: derive(current), former: former.iter().map(derive).collect(), context }
    }

    pub(crate) fn has_former_keys(&self) -> bool {
        !self.former.is_empty()
    }

    /// Seals `content` into a cookie value.
    ///
    /// # Errors
    /// [`ErrorKind::Random`] if the operating system returns no random bytes for the nonce.
    pub(crate) fn seal(&self, content: &Content) -> Result<String> {
        let nonce = match self.kind {
            Kind::Signed => [0; NONCE],
            Kind::Encrypted => random_bytes()?,
        };
        self.seal_with(nonce, content)
    }

    fn seal_with(&self, nonce: [u8; NONCE], content: &Content) -> Result<String> {
        let keys = &self.current;
        let body = HEADER + self.kind.nonce_len();
        let mut bytes = Vec::with_capacity(body + MOMENTS + 1 + content.payload.len() + self.kind.tag_len());
        bytes.push(self.kind as u8);
        bytes.extend_from_slice(&keys.id);
        bytes.extend_from_slice(&nonce[..self.kind.nonce_len()]);
        write(content, &mut bytes);
        match self.kind {
            Kind::Signed => {
                let tag = keys.mac.clone().chain_update(&bytes).finalize();
                bytes.extend_from_slice(&tag.into_bytes());
            }
            Kind::Encrypted => {
                let aad = self.associated(&bytes[..HEADER]);
                let text = &mut bytes[body..];
                let tag = keys.cipher.encrypt_inout_detached(&XNonce::from(nonce), &aad, text.into());
                let tag = tag.map_err(|_| Error::new(ErrorKind::Encode, "the session is too long to be encrypted"))?;
                bytes.extend_from_slice(&tag);
            }
        }
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Opens a cookie value. Returns its content and whether a former key sealed it.
    ///
    /// Returns `None` for a value that [`seal`](Self::seal) did not return. The tag is verified in constant time before
    /// the content is read.
    pub(crate) fn open(&self, cookie: &str) -> Option<(Content, bool)> {
        let mut bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let body = HEADER + self.kind.nonce_len();
        let end = bytes.len().checked_sub(self.kind.tag_len()).filter(|end| *end >= body)?;
        if bytes[0] != self.kind as u8 {
            return None;
        }
        let keys = std::iter::once(&self.current).chain(&self.former).find(|keys| keys.id == bytes[1..HEADER])?;
        match self.kind {
            Kind::Signed => {
                let mac = keys.mac.clone().chain_update(&bytes[..end]);
                mac.verify_slice(&bytes[end..]).ok()?;
            }
            Kind::Encrypted => {
                let aad = self.associated(&bytes[..HEADER]);
                let nonce = XNonce::try_from(&bytes[HEADER..body]).ok()?;
                let (sealed, tag) = bytes.split_at_mut(end);
                let tag = Tag::try_from(&*tag).ok()?;
                keys.cipher.decrypt_inout_detached(&nonce, &aad, (&mut sealed[body..]).into(), &tag).ok()?;
            }
        }
        bytes.truncate(end);
        let by_former_key = keys.id != self.current.id;
        Some((read(Bytes::from(bytes).slice(body..))?, by_former_key))
    }

    fn associated(&self, header: &[u8]) -> Vec<u8> {
        [self.context.as_slice(), header].concat()
    }
}

/// Appends the times and the payload. Compresses the payload if that makes it smaller.
fn write(content: &Content, bytes: &mut Vec<u8>) {
    let Content { issued_at, created_at, expires_at, payload } = content;
    for time in [issued_at, created_at, expires_at] {
        bytes.extend_from_slice(&time.as_millis().to_be_bytes());
    }
    let block = (payload.len() > COMPRESSIBLE).then(|| lz4_flex::block::compress(payload));
    let size = u32::try_from(payload.len()).ok();
    match (block, size) {
        (Some(block), Some(size)) if block.len() + size_of::<u32>() < payload.len() => {
            bytes.push(LZ4);
            bytes.extend_from_slice(&size.to_be_bytes());
            bytes.extend_from_slice(&block);
        }
        _ => {
            bytes.push(PLAIN);
            bytes.extend_from_slice(payload);
        }
    }
}

fn read(mut bytes: Bytes) -> Option<Content> {
    let mut time = || {
        let (eight, _) = bytes.split_first_chunk::<8>()?;
        let time = Timestamp::from_millis(i64::from_be_bytes(*eight));
        bytes = bytes.slice(8..);
        Some(time)
    };
    let (issued_at, created_at, expires_at) = (time()?, time()?, time()?);
    let payload = match *bytes.first()? {
        PLAIN => bytes.slice(1..),
        LZ4 => expand(&bytes[1..])?,
        _ => return None,
    };
    Some(Content { issued_at, created_at, expires_at, payload })
}

/// Decompresses a payload. Refuses a claimed size to which the bytes cannot expand, so that the allocation is bounded.
fn expand(bytes: &[u8]) -> Option<Bytes> {
    let (size, block) = bytes.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_be_bytes(*size)).ok().filter(|size| size / EXPANSION <= block.len())?;
    let mut payload = vec![0; size];
    let written = lz4_flex::block::decompress_into(block, &mut payload).ok()?;
    (written == size).then(|| payload.into())
}
