//! The data that the library itself stores in a session, under reserved names, which start with `_`.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::expiry::{Expiry, StoredExpiry};
use crate::data::auth::AuthMac;
use crate::data::codec::Raw;
use crate::data::csrf::CsrfSecret;

pub(super) const EXPIRY: &str = "_expiry";
pub(super) const MAX_LIFETIME: &str = "_max_lifetime";
pub(super) const CSRF: &str = "_csrf";
pub(super) const AUTH: &str = "_auth";
pub(super) const BEGAN: &str = "_began";
const TEST_COOKIE: &str = "_test_cookie";

/// The maximum size of all [`LibraryData`] in a payload, in bytes.
pub(super) const AT_MOST: usize = 352;

#[derive(Clone, Default, PartialEq)]
pub(super) struct LibraryData {
    pub expiry: Expiry,
    pub max_lifetime: Option<Duration>,
    pub test_cookie: bool,
    pub csrf: Option<CsrfSecret>,
    pub login: Option<Login>,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(super) struct Login {
    pub auth: Option<AuthMac>,
    /// When the user logged in, or `None` if the user has not authenticated again since. Then the record's `created_at` is
    /// the time of the login.
    pub began_at: Option<Timestamp>,
}

impl LibraryData {
    /// Sets the field that is stored under `name`. Returns false if there is no such field, or `raw` does not decode.
    ///
    /// A value that does not decode was written by another release. The caller keeps the value until this release sets the
    /// field.
    pub(super) fn take(&mut self, name: &str, raw: &Raw) -> bool {
        match name {
            EXPIRY => match raw.decode::<StoredExpiry>() {
                Some(expiry) => self.expiry = expiry.into(),
                None => {
                    log::warn!(target: "session_rocket", "the expiry that `set_expiry` stored in a session cannot be decoded; using the configured expiry");
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
            AUTH => match raw.decode::<String>().and_then(|text| AuthMac::from_text(&text)) {
                Some(auth) => self.login_mut().auth = Some(auth),
                None => return false,
            },
            BEGAN => match raw.decode::<i64>() {
                Some(millis) => self.login_mut().began_at = Some(Timestamp::from_millis(millis)),
                None => return false,
            },
            _ => return false,
        }
        true
    }

    pub(super) fn login_mut(&mut self) -> &mut Login {
        self.login.get_or_insert_default()
    }

    pub(super) fn fields(&self) -> Vec<(&'static str, Raw)> {
        let mut fields = Vec::new();
        // Encoding cannot fail, because the values are numbers and ASCII strings.
        let mut put = |name, raw: Result<Raw, _>| fields.extend(raw.ok().map(|raw| (name, raw)));
        if let Some(expiry) = StoredExpiry::of(self.expiry) {
            put(EXPIRY, Raw::encode(&expiry));
        }
        if let Some(limit) = self.max_lifetime {
            put(MAX_LIFETIME, Raw::encode(&u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)));
        }
        if self.test_cookie {
            put(TEST_COOKIE, Raw::encode("worked"));
        }
        if let Some(secret) = self.csrf {
            put(CSRF, Raw::encode(&secret.to_text()));
        }
        if let Some(login) = &self.login {
            if let Some(auth) = login.auth {
                put(AUTH, Raw::encode(&auth.to_text()));
            }
            if let Some(began_at) = login.began_at {
                put(BEGAN, Raw::encode(&began_at.as_millis()));
            }
        }
        fields
    }
}
