//! The session cookie: reading it from a request, and setting it in a response.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;
use rocket::http::{Cookie, Method, SameSite};
use rocket::{Request, Response};

use super::headers;
use super::public_suffix::is_public_suffix;
use crate::base::clock::Timestamp;
use crate::base::expiry::MAX_AGE;

/// The maximum length of a `Set-Cookie` line in bytes.
///
/// Browsers accept 4,096 bytes for name and value (RFC 6265bis). RFC 6265 also counted the attributes, and some proxies
/// still do.
pub(crate) const MAX_LINE: usize = 4096;

/// The last second that an HTTP date can represent, because its year has four digits.
const LAST_HTTP_DATE: Duration = Duration::from_secs(253_402_300_799);

/// The maximum number of domains from which to remove a cookie: the request's host and its parents.
const MAX_REMOVAL_DOMAINS: usize = 4;

/// The white space that may surround names and values in a `Cookie` header.
const WHITESPACE: [char; 2] = [' ', '\t'];

/// The session cookie's name and attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CookieSettings {
    pub name: String,
    pub path: String,
    pub domain: Option<String>,
    pub secure: bool,
    pub http_only: bool,
    pub same_site: SameSite,
    pub partitioned: bool,
}

impl CookieSettings {
    /// Returns the settings of the cookie for the CSRF secret of a browser without a session.
    ///
    /// Browsers send this cookie with a link from another site even if the session cookie is `Strict`. If browsers
    /// withheld it, a page that the link opens would replace the cookie, and make forms in other tabs invalid.
    pub(crate) fn for_csrf(&self) -> Self {
        let same_site = if self.same_site == SameSite::None { SameSite::None } else { SameSite::Lax };
        Self { name: format!("{}-csrf", self.name), http_only: true, same_site, ..self.clone() }
    }

    /// Returns the session cookie values of a request, in the order of its `Cookie` header.
    ///
    /// Of a `__Host-` cookie, only the first value counts, because a browser has at most one such cookie. With
    /// `partitioned`, two values count, because a browser can also have an unpartitioned cookie from an earlier time.
    ///
    /// Rocket's cookie jar is used only if there is no `Cookie` header, as in requests of a local client. The jar decodes
    /// `%` in names and trims any white space, so the jar could take a cookie of a sibling host for the session cookie.
    pub(crate) fn values<'r>(&'r self, request: &'r Request<'_>) -> impl Iterator<Item = &'r str> {
        let mut headers = request.headers().get("cookie").peekable();
        let is_local = headers.peek().is_none();
        let jar = is_local.then(|| request.cookies().get(&self.name).map(Cookie::value)).flatten();
        let pairs = headers.flat_map(|header| header.split(';'));
        let values = pairs.filter_map(|pair| {
            let rest = pair.trim_start_matches(WHITESPACE).strip_prefix(self.name.as_str())?;
            rest.trim_start_matches(WHITESPACE).strip_prefix('=').map(|value| value.trim_matches(WHITESPACE))
        });
        let max_values = if self.is_host_only_by_name() { 1 + usize::from(self.partitioned) } else { usize::MAX };
        jar.into_iter().chain(values).take(max_values)
    }

    /// Returns the maximum length of a [`set_line`](Self::set_line) without the value, in bytes.
    pub(crate) fn overhead(&self) -> usize {
        self.set_line("", Some(MAX_AGE), Timestamp::from_millis(0)).len()
    }

    /// Returns the number of cookies of this name in a request.
    pub(crate) fn count_in(&self, request: &Request<'_>) -> usize {
        self.values(request).count()
    }

    /// Whether the browser withholds the cookie from this request because of `SameSite`.
    ///
    /// A browser withholds a `Strict` cookie from every request that another site started. It withholds a `Lax` cookie
    /// from such requests unless they open a page with a safe method, as a link does.
    pub(crate) fn is_withheld_from(&self, request: &Request<'_>) -> bool {
        let header = |name| request.headers().get_one(name);
        if header("Sec-Fetch-Site") != Some("cross-site") {
            return false;
        }
        // Rocket's `_method` field can turn a posted form into a GET. `Content-Type` shows that the request was a POST.
        let is_safe = matches!(request.method(), Method::Get | Method::Head | Method::Options)
            && header("Content-Type").is_none();
        let is_page = matches!(header("Sec-Fetch-Dest"), None | Some("document"));
        match self.same_site {
            SameSite::Strict => true,
            SameSite::Lax => !(is_safe && is_page && header("Sec-Fetch-Mode") == Some("navigate")),
            SameSite::None => false,
        }
    }

    /// Whether the prefix of the name makes browsers refuse the cookie from any other host.
    fn is_host_only_by_name(&self) -> bool {
        self.name.get(..7).is_some_and(|prefix| prefix.eq_ignore_ascii_case("__Host-"))
    }

    /// Returns the `Set-Cookie` line that stores `value` in the browser for `age`, or until the browser is closed.
    ///
    /// `age` is counted from `now`. It is rounded up to whole seconds and limited to 400 days.
    pub(crate) fn set_line(&self, value: &str, age: Option<Duration>, now: Timestamp) -> String {
        let mut line = self.without_lifetime(value, self.domain.as_deref(), self.partitioned);
        if let Some(age) = age {
            // Rounded up, because otherwise the cookie could end before the session.
            let age = age.min(MAX_AGE);
            let seconds = age.as_secs() + u64::from(age.subsec_nanos() > 0);
            let now = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
            push_lifetime(&mut line, seconds, UNIX_EPOCH + (now + Duration::from_secs(seconds)).min(LAST_HTTP_DATE));
        }
        line
    }

    /// Returns the `Set-Cookie` line that removes the cookie from the browser.
    ///
    /// The line has the attributes of [`set_line`](Self::set_line), because they identify the cookie, and because browsers
    /// refuse to remove a `__Host-` cookie if `Secure` is missing.
    pub(crate) fn removal_line(&self) -> String {
        self.removal_line_for(self.domain.as_deref(), self.partitioned)
    }

    /// Returns the `Set-Cookie` lines that remove other cookies of the same name: cookies with another `Domain`, and with
    /// `partitioned` the unpartitioned cookie.
    ///
    /// A browser can have these cookies from before a change of `cookie_domain` or `partitioned`.
    pub(crate) fn removal_lines_for_others(&self, request: &Request<'_>) -> Vec<String> {
        let mut lines = self.removal_lines_for_other_domains(request);
        if self.partitioned {
            lines.push(self.removal_line_for(self.domain.as_deref(), false));
        }
        lines
    }

    /// Returns the line that removes the cookie without `Domain`. If the session cookie itself has no `Domain`, returns the
    /// lines that remove the cookies for the request's host and for its parent domains.
    fn removal_lines_for_other_domains(&self, request: &Request<'_>) -> Vec<String> {
        if self.is_host_only_by_name() {
            return Vec::new();
        }
        if self.domain.is_some() {
            return vec![self.removal_line_for(None, self.partitioned)];
        }
        let host = request.host().map(|host| host.domain().as_str()).filter(|host| is_domain(host));
        let parents = std::iter::successors(host, |name| name.split_once('.').map(|(_, parent)| parent));
        parents
            .take_while(|name| name.contains('.') && !is_public_suffix(name))
            .take(MAX_REMOVAL_DOMAINS)
            .map(|name| self.removal_line_for(Some(name), self.partitioned))
            .collect()
    }

    fn removal_line_for(&self, domain: Option<&str>, partitioned: bool) -> String {
        let mut line = self.without_lifetime("", domain, partitioned);
        push_lifetime(&mut line, 0, UNIX_EPOCH);
        line
    }

    /// Returns the cookie and its attributes without its lifetime. The checks of the configuration ensure that no name
    /// or attribute needs escaping.
    fn without_lifetime(&self, value: &str, domain: Option<&str>, partitioned: bool) -> String {
        let mut line = String::with_capacity(self.name.len() + value.len() + self.path.len() + 128);
        line.extend([&self.name, "=", value]);
        if self.http_only {
            line.push_str("; HttpOnly");
        }
        line.push_str(match self.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        if self.secure {
            line.push_str("; Secure");
        }
        if partitioned {
            line.push_str("; Partitioned");
        }
        line.extend(["; Path=", &self.path]);
        if let Some(domain) = domain {
            line.extend(["; Domain=", domain]);
        }
        line
    }
}

/// Whether a request's host is a domain name, not an IP address.
fn is_domain(host: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    host.bytes().all(is_letter)
        && host.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Adds the lifetime and, for old browsers, the date on which the lifetime ends.
fn push_lifetime(line: &mut String, seconds: u64, until: SystemTime) {
    // Writing to a string cannot fail.
    let _ = write!(line, "; Max-Age={seconds}; Expires={}", HttpDate::from(until));
}

/// The text for the launch log.
impl fmt::Display for CookieSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cookie `{}` (Path={}", self.name, self.path)?;
        if let Some(domain) = &self.domain {
            write!(f, ", Domain={domain}")?;
        }
        f.write_str(if self.secure { ", Secure" } else { ", not Secure" })?;
        f.write_str(if self.http_only { ", HttpOnly" } else { ", not HttpOnly" })?;
        write!(f, ", SameSite={}{})", self.same_site, if self.partitioned { ", Partitioned" } else { "" })
    }
}

/// Sets a cookie in a response, and prevents caches from storing the response.
///
/// All `lines` have one cookie name. They replace other `Set-Cookie` lines with this name. Browsers apply them in
/// order.
pub(crate) fn set(response: &mut Response<'_>, lines: Vec<String>) {
    let name = lines.first().map_or("", |line| name_of(line));
    if response.headers().get("Set-Cookie").any(|other| name_of(other) == name) {
        let others = response.headers().get("Set-Cookie").filter(|other| name_of(other) != name);
        let others: Vec<String> = others.map(ToOwned::to_owned).collect();
        response.remove_header("Set-Cookie");
        for other in others {
            response.adjoin_raw_header("Set-Cookie", other);
        }
    }
    for line in lines {
        response.adjoin_raw_header("Set-Cookie", line);
    }
    headers::prevent_storing(response);
}

/// Returns the name of the cookie that a line sets.
fn name_of(line: &str) -> &str {
    line.split(['=', ';']).next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests;
