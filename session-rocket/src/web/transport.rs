//! How a request carries the id of its session: in the session cookie, or in the header `Authorization`.

use rocket::{Request, Response};

use crate::base::error::{Error, ErrorKind, Result};

/// How requests carry the id of their session.
///
/// The [guide](crate::guide::apps) shows a site for browsers and apps.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// In the session cookie. In `Rocket.toml`: `"cookie"`.
    #[default]
    Cookie,
    /// In the header `Authorization: Bearer …` (RFC 6750). Cookies are ignored, and no response sets one. In
    /// `Rocket.toml`: `"bearer"`.
    Bearer,
    /// In the header `Authorization: Bearer …` or in the session cookie. The guards fail with 400 if a request has both.
    /// In `Rocket.toml`: `"cookie or bearer"`.
    CookieOrBearer,
}

impl Transport {
    /// Returns the names of the request headers that decide which session a request has.
    pub(super) fn headers(self) -> &'static str {
        match self {
            Self::Cookie => "Cookie",
            Self::Bearer => "Authorization",
            Self::CookieOrBearer => "Cookie, Authorization",
        }
    }
}

/// How one request carries the id of its session.
#[derive(Clone, Copy)]
pub(super) enum Credential<'r> {
    Cookie,
    /// The token of the header `Authorization: Bearer …`, or `None` without this header.
    Bearer(Option<&'r str>),
}

/// Returns the token of the header `Authorization: Bearer …`. The token can be empty.
///
/// # Errors
/// [`ErrorKind::AmbiguousCredentials`] if the request has several `Authorization` headers.
pub(super) fn token<'r>(request: &'r Request<'_>) -> Result<Option<&'r str>> {
    const WHITESPACE: [char; 2] = [' ', '\t'];
    let mut headers = request.headers().get("Authorization");
    let Some(header) = headers.next() else { return Ok(None) };
    if headers.next().is_some() {
        return Err(ambiguous("the request has several `Authorization` headers: send one"));
    }
    let header = header.trim_matches(WHITESPACE);
    let (scheme, token) = header.split_once(WHITESPACE).unwrap_or((header, ""));
    Ok(scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_matches(WHITESPACE)))
}

/// Returns the error of a request with a bearer token and a session cookie.
pub(super) fn two_credentials() -> Error {
    ambiguous("the request has a bearer token and a session cookie: send one of them")
}

fn ambiguous(context: &str) -> Error {
    Error::new(ErrorKind::AmbiguousCredentials, context)
}

/// Sends a new id to the client in `header`, if it is set, and prevents caches from storing the response.
pub(super) fn send_id(response: &mut Response<'_>, header: Option<&str>, id: String) {
    if let Some(header) = header {
        response.set_raw_header(header.to_owned(), id);
    }
    response.set_raw_header("Cache-Control", "no-store");
}

/// Adds the challenge that a 401 response must have (RFC 6750, section 3), unless the response has one.
pub(super) fn challenge(response: &mut Response<'_>) {
    if !response.headers().contains("WWW-Authenticate") {
        response.set_raw_header("WWW-Authenticate", "Bearer");
    }
}

/// The prefixes of header names that HTTP defines.
const RESERVED_STARTS: [&str; 6] = ["access-control-", "content-", "cross-origin-", "proxy-", "sec-", "x-accel-"];

/// The other header names that HTTP defines.
const RESERVED: &str = "accept-ranges age allow alt-svc authorization cache-control clear-site-data connection cookie date \
                        etag expires host keep-alive last-modified link location permissions-policy pragma \
                        referrer-policy refresh retry-after server set-cookie strict-transport-security te trailer \
                        transfer-encoding upgrade vary via www-authenticate x-content-type-options \
                        x-dns-prefetch-control x-frame-options x-sendfile";

/// Whether a response header of this name can carry an id: the name is valid, and HTTP does not define it.
pub(super) fn is_free_header(name: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let name = name.to_ascii_lowercase();
    let is_reserved = RESERVED_STARTS.iter().any(|start| name.starts_with(start))
        || RESERVED.split_whitespace().any(|other| other == name);
    (1..=64).contains(&name.len()) && name.bytes().all(is_letter) && !is_reserved
}

#[cfg(test)]
mod tests;
