//! The browser's view of a cookie.

use std::time::{Duration, SystemTime};

/// A cookie in the browser's cookie jar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// The browser sends the cookie with requests below this path.
    pub path: String,
    /// The browser sends the cookie to this host, and to its subdomains if there is a leading dot.
    pub domain: String,
    /// Whether the browser sends the cookie over TLS only.
    pub secure: bool,
    /// Whether the cookie is hidden from scripts.
    pub http_only: bool,
    /// `Strict`, `Lax` or `None`, if the attribute is set.
    pub same_site: Option<String>,
    /// When the cookie expires. `None`: when the browser is closed.
    pub expires: Option<SystemTime>,
}

impl Cookie {
    /// How long until the cookie expires.
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
