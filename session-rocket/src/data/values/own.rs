//! What the library itself keeps in a session, under names that no field can have.

use std::time::Duration;

use super::Values;
use crate::base::expiry::{Expiry, Lifetime, StoredExpiry};
use crate::data::codec::{Format, Raw};
use crate::data::csrf::CsrfSecret;

const EXPIRY: &str = "_expiry";
const MAX_LIFETIME: &str = "_max_lifetime";
const TEST_COOKIE: &str = "_test_cookie";
const CSRF: &str = "_csrf";

/// As many bytes as these fields take together, at most.
pub(super) const AT_MOST: usize = 256;

/// The library's own fields.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Own {
    expiry: Expiry,
    max_lifetime: Option<Duration>,
    test_cookie: bool,
    csrf: Option<CsrfSecret>,
}

impl Own {
    /// Takes what is stored under `name`, if it is one of these fields and readable. What is not, another release wrote:
    /// it stays as it is until this one has something to put in its place.
    pub(super) fn take(&mut self, name: &str, raw: &Raw) -> bool {
        match name {
            EXPIRY => match raw.decode::<StoredExpiry>() {
                Some(expiry) => self.expiry = expiry.into(),
                None => {
                    log::warn!(target: "session_rocket", "a session's own expiry does not decode: the default holds");
                    return false;
                }
            },
            MAX_LIFETIME => match raw.decode::<u64>() {
                Some(millis) => self.max_lifetime = Some(Duration::from_millis(millis)),
                None => return false,
            },
            TEST_COOKIE => self.test_cookie = true,
            CSRF => match raw.decode::<String>().and_then(|text| CsrfSecret::from_text(&text)) {
                Some(secret) => self.csrf = Some(secret),
                None => return false,
            },
            _ => return false,
        }
        true
    }

    /// As they are stored.
    pub(super) fn fields(&self, format: Format) -> Vec<(&'static str, Raw)> {
        let mut fields = Vec::new();
        // None of these values fails to encode: they are numbers and ASCII.
        let mut put = |name, raw: Result<Raw, _>| fields.extend(raw.ok().map(|raw| (name, raw)));
        if let Some(expiry) = StoredExpiry::of(self.expiry) {
            put(EXPIRY, Raw::encode(&expiry, format));
        }
        if let Some(limit) = self.max_lifetime {
            put(MAX_LIFETIME, Raw::encode(&u64::try_from(limit.as_millis()).unwrap_or(u64::MAX), format));
        }
        if self.test_cookie {
            put(TEST_COOKIE, Raw::encode("worked", format));
        }
        if let Some(secret) = self.csrf {
            put(CSRF, Raw::encode(&secret.to_text(), format));
        }
        fields
    }
}

impl Values {
    /// What the session says about its lifetime.
    pub(crate) fn lifetime(&self) -> Lifetime {
        let is_anonymous = self.schema.identity().is_some_and(|field| !self.is_stored(field));
        Lifetime { expiry: self.own.expiry, max: self.own.max_lifetime, is_anonymous }
    }

    pub(crate) fn set_max_lifetime(&mut self, limit: Option<Duration>) {
        self.rest.retain(|(name, _)| name != MAX_LIFETIME);
        self.own.max_lifetime = limit;
    }

    pub(crate) fn set_expiry(&mut self, expiry: Expiry) {
        self.rest.retain(|(name, _)| name != EXPIRY);
        self.own.expiry = expiry;
    }

    pub(crate) fn test_cookie(&self) -> bool {
        self.own.test_cookie
    }

    pub(crate) fn set_test_cookie(&mut self, set: bool) {
        self.own.test_cookie = set;
    }

    pub(crate) fn csrf(&self) -> Option<CsrfSecret> {
        self.own.csrf
    }

    pub(crate) fn set_csrf(&mut self, secret: Option<CsrfSecret>) {
        self.rest.retain(|(name, _)| name != CSRF);
        self.own.csrf = secret;
    }
}
