//! Cookies as the browser sees them.

use std::time::{Duration, SystemTime};

/// A cookie in the browser's jar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The path below which it is sent.
    pub path: String,
    /// The host it is sent to; with a dot in front, all hosts below it too.
    pub domain: String,
    /// Whether it is sent over TLS only.
    pub secure: bool,
    /// Whether scripts do not see it.
    pub http_only: bool,
    /// `Strict`, `Lax` or `None`, if it says so.
    pub same_site: Option<String>,
    /// Until when it is kept; none: until the browser is closed.
    pub expires: Option<SystemTime>,
}

impl Cookie {
    /// How long it is still kept.
    pub fn lasts(&self) -> Option<Duration> {
        self.expires.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default())
    }
}

impl From<thirtyfour::Cookie> for Cookie {
    fn from(cookie: thirtyfour::Cookie) -> Self {
        let seconds = cookie.expiry.and_then(|expiry| u64::try_from(expiry).ok());
        Self {
            name: cookie.name,
            value: cookie.value,
            path: cookie.path.unwrap_or_default(),
            domain: cookie.domain.unwrap_or_default(),
            secure: cookie.secure.unwrap_or_default(),
            http_only: cookie.http_only.unwrap_or_default(),
            same_site: cookie.same_site.map(|rule| format!("{rule:?}")),
            expires: seconds.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
        }
    }
}
