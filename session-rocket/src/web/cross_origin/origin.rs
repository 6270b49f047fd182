//! Origins: the scheme, host and port of a site.

use std::fmt;

use rocket::http::uri::Host;

use crate::store::mask_url;

/// The scheme, host and port of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin<T> {
    scheme: T,
    host: T,
    /// The port. `None` if the origin has no port, and the scheme has no known default port.
    port: Option<u16>,
}

impl<'t> Origin<&'t str> {
    /// Parses the value of an `Origin` header. Returns `None` if it is `null` or malformed.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let (host, port) = match authority.rsplit_once(':') {
            // The last colon of `[::1]` is a part of the host.
            Some((host, port)) if !port.ends_with(']') => (host, Some(parse_port(port)?)),
            _ => (authority, None),
        };
        let port = port.or_else(|| default_port(scheme));
        (is_scheme(scheme) && is_host(host)).then_some(Self { scheme, host, port })
    }

    /// Whether this is the origin of a site that browsers reach at `host`.
    pub(super) fn is_origin_of(self, host: &Host<'_>, needs_https: bool) -> bool {
        let is_web = self.scheme.eq_ignore_ascii_case("https") || (!needs_https && is_http(self.scheme));
        let port = host.port().or_else(|| default_port(self.scheme));
        is_web && host.domain() == self.host && port == self.port
    }
}

impl Origin<String> {
    /// Parses an origin of the configuration.
    ///
    /// # Errors
    /// If the origin is invalid. The error says what to write.
    pub(super) fn from_config(text: &str) -> Result<Self, String> {
        let Some(Origin { scheme, host, port }) = Origin::parse(text) else {
            return Err(format!("invalid origin \"{}\": {}", mask_url(text).escape_debug(), fix(text)));
        };
        Ok(Self { scheme: scheme.to_ascii_lowercase(), host: host.to_ascii_lowercase(), port })
    }

    /// Whether the scheme is `http` or `https`.
    pub(super) fn is_web(&self) -> bool {
        is_http(&self.scheme) || self.scheme == "https"
    }

    /// Whether both origins are equal.
    pub(super) fn is_same_as(&self, other: Origin<&str>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
    }
}

/// The origin as browsers write it.
impl fmt::Display for Origin<String> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.port {
            Some(port) if self.port != default_port(&self.scheme) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http")
}

fn default_port(scheme: &str) -> Option<u16> {
    if is_http(scheme) { Some(80) } else { scheme.eq_ignore_ascii_case("https").then_some(443) }
}

/// Parses a port. Unlike [`str::parse`], accepts only digits.
fn parse_port(digits: &str) -> Option<u16> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Whether this is a domain name in ASCII or an IP address.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => {
            !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
        }
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')),
    }
}

/// Returns what to write instead of an invalid origin.
fn fix(text: &str) -> String {
    let with_scheme = format!("https://{text}");
    let after_scheme = text.find("://").map_or(0, |index| index + 3);
    let end = text[after_scheme..].find(['/', '?', '#']).map_or(text.len(), |index| after_scheme + index);
    if text == "null" {
        "pages of every site can have the origin `null`, so it cannot be trusted: remove it".into()
    } else if text.contains('*') {
        "wildcards are not supported: list each origin".into()
    } else if Origin::parse(&text[..end]).is_some() {
        format!("expected no path: write \"{}\"", &text[..end])
    } else if Origin::parse(&with_scheme).is_some() {
        format!("expected a scheme: write \"{with_scheme}\"")
    } else if !text.is_ascii() {
        "write the host in ASCII, as browsers send it (`xn--…`)".into()
    } else {
        "expected a scheme, a host and an optional port, such as \"https://shop.example\"".into()
    }
}

#[cfg(test)]
mod tests;
