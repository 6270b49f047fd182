//! The session cookie: how a request carries it, and how a response sets it.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;
use rocket::http::{Cookie, Header, Method, SameSite, Status};
use rocket::{Request, Response};

use crate::base::clock::Timestamp;
use crate::base::expiry::MAX_AGE;

/// The most bytes in a `Set-Cookie` line. Browsers accept 4,096 for name and value (RFC 6265bis); RFC 6265 counted the
/// attributes as well, and some proxies still do.
pub(crate) const MAX_LINE: usize = 4096;

/// The last second that an HTTP date can show, whose year has four digits.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// The most domains, from the request's host upwards, for which a removal with `Domain` is sent.
const MOST_PARENTS: usize = 4;

/// What may surround the names and values of a `Cookie` header.
const BLANKS: [char; 2] = [' ', '\t'];

/// The session cookie's name and attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CookieSettings {
    pub name: String,
    pub path: String,
    pub domain: Option<String>,
    pub secure: bool,
    pub http_only: bool,
    pub same_site: SameSite,
}

impl CookieSettings {
    /// The values that a request carries, in the order of its `Cookie` header. A browser has one `__Host-` cookie of a name.
    ///
    /// Rocket's jar decodes `%` in names and trims any white space, so a cookie with another name, set by a neighbouring host,
    /// could pass for the session cookie. So the jar is read only in a local client, whose requests have no such header.
    pub(crate) fn values<'r>(&'r self, request: &'r Request<'_>) -> impl Iterator<Item = &'r str> {
        let mut headers = request.headers().get("cookie").peekable();
        let is_local = headers.peek().is_none();
        let jar = is_local.then(|| request.cookies().get(&self.name).map(Cookie::value)).flatten();
        let pairs = headers.flat_map(|header| header.split(';'));
        let values = pairs.filter_map(|pair| {
            let rest = pair.trim_start_matches(BLANKS).strip_prefix(self.name.as_str())?;
            rest.trim_start_matches(BLANKS).strip_prefix('=').map(|value| value.trim_matches(BLANKS))
        });
        let most = if self.is_host_only_by_name() { 1 } else { usize::MAX };
        jar.into_iter().chain(values).take(most)
    }

    /// The most bytes in a line of [`hold`](Self::hold), without the value.
    pub(crate) fn frame(&self) -> usize {
        self.hold("", Some(MAX_AGE), Timestamp::from_millis(0)).len()
    }

    /// The number of cookies of this name in a request, whatever their values.
    pub(crate) fn presented(&self, request: &Request<'_>) -> usize {
        self.values(request).count()
    }

    /// Whether the browser withholds the cookie from this request because of `SameSite`. The browser withholds a `Strict`
    /// cookie from every request that another site started, and a `Lax` cookie from all of them except plain links to a page.
    pub(crate) fn is_withheld_from(&self, request: &Request<'_>) -> bool {
        let header = |name| request.headers().get_one(name);
        if header("Sec-Fetch-Site") != Some("cross-site") {
            return false;
        }
        // Rocket's `_method` field can turn a posted form into a GET; a body shows that it was a POST.
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

    /// The line that makes the browser hold `value` for `age`, or until the browser is closed.
    ///
    /// `age` counts from `now`. It is rounded up to whole seconds, and is at most 400 days.
    pub(crate) fn hold(&self, value: &str, age: Option<Duration>, now: Timestamp) -> String {
        let mut line = self.without_lifetime(value, self.domain.as_deref());
        if let Some(age) = age {
            // Rounded up, so that the cookie does not end before the session.
            let age = age.min(MAX_AGE);
            let seconds = age.as_secs() + u64::from(age.subsec_nanos() > 0);
            let now = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
            push_lifetime(&mut line, seconds, UNIX_EPOCH + (now + Duration::from_secs(seconds)).min(LAST));
        }
        line
    }

    /// The line that makes the browser forget the cookie. The attributes are those of [`hold`](Self::hold), because they tell
    /// the browser which cookie to remove, and because browsers refuse a `__Host-` cookie without `Secure`, even a removal.
    pub(crate) fn forget(&self) -> String {
        self.forget_in(self.domain.as_deref())
    }

    /// The lines that make the browser forget cookies of the same name in other forms: without `Domain`, or with the domain of
    /// the request's host or a parent. The browser may hold them because the configuration had another `cookie_domain`.
    pub(crate) fn forget_other_forms(&self, request: &Request<'_>) -> Vec<String> {
        if self.is_host_only_by_name() {
            return Vec::new();
        }
        if self.domain.is_some() {
            return vec![self.forget_in(None)];
        }
        let host = request.host().map(|host| host.domain().as_str()).filter(|host| is_domain(host));
        let parents = std::iter::successors(host, |name| name.split_once('.').map(|(_, parent)| parent));
        parents
            .take_while(|name| name.contains('.'))
            .take(MOST_PARENTS)
            .map(|name| self.forget_in(Some(name)))
            .collect()
    }

    fn forget_in(&self, domain: Option<&str>) -> String {
        let mut line = self.without_lifetime("", domain);
        push_lifetime(&mut line, 0, UNIX_EPOCH);
        line
    }

    /// The cookie and its attributes, without its lifetime. No name or attribute needs an escape, because the configuration
    /// refuses such a name or attribute.
    fn without_lifetime(&self, value: &str, domain: Option<&str>) -> String {
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

/// Whether the browser asks for a part of a page: a style sheet, a script, an image, a font, a sound or a film.
pub(crate) fn is_subresource(request: &Request<'_>) -> bool {
    const PARTS: [&str; 7] = ["script", "style", "image", "font", "audio", "video", "track"];
    request.headers().get_one("Sec-Fetch-Dest").is_some_and(|destination| PARTS.contains(&destination))
}

/// Whether the response's headers allow caches to store it.
pub(crate) fn is_cacheable(response: &Response<'_>) -> bool {
    let mut directives = tokens(response, "Cache-Control").peekable();
    directives.peek().is_some() && !directives.any(|token| is_private(token) || token.eq_ignore_ascii_case("no-cache"))
}

/// Adds a lifetime, and for old browsers the date on which it ends.
fn push_lifetime(line: &mut String, seconds: u64, until: SystemTime) {
    // Writing to a string cannot fail.
    let _ = write!(line, "; Max-Age={seconds}; Expires={}", HttpDate::from(until));
}

/// For the launch log.
impl fmt::Display for CookieSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cookie `{}` (Path={}", self.name, self.path)?;
        if let Some(domain) = &self.domain {
            write!(f, ", Domain={domain}")?;
        }
        f.write_str(if self.secure { ", Secure" } else { ", not Secure" })?;
        f.write_str(if self.http_only { ", HttpOnly" } else { ", not HttpOnly" })?;
        write!(f, ", SameSite={})", self.same_site)
    }
}

/// Puts the line of a cookie into a response, in place of lines for the same name, and keeps caches from storing the
/// response. The lines of `removals` follow.
pub(crate) fn set(response: &mut Response<'_>, line: String, removals: Vec<String>) {
    let name = name_of(&line);
    if response.headers().get("Set-Cookie").any(|other| name_of(other) == name) {
        let others = response.headers().get("Set-Cookie").filter(|other| name_of(other) != name);
        let others: Vec<String> = others.map(ToOwned::to_owned).collect();
        response.remove_header("Set-Cookie");
        for other in others {
            response.adjoin_raw_header("Set-Cookie", other);
        }
    }
    for line in std::iter::once(line).chain(removals) {
        response.adjoin_raw_header("Set-Cookie", line);
    }
    if !tokens(response, "Cache-Control").any(is_private) {
        response.set_raw_header("Cache-Control", "no-store");
    }
}

/// The name of the cookie that a line sets.
fn name_of(line: &str) -> &str {
    line.split(['=', ';']).next().unwrap_or_default().trim()
}

/// Whether a directive of `Cache-Control` keeps shared caches from storing the response.
fn is_private(directive: &str) -> bool {
    let name = directive.split('=').next().unwrap_or_default().trim();
    name.eq_ignore_ascii_case("private") || name.eq_ignore_ascii_case("no-store")
}

/// Tells caches that the response depends on the cookies.
pub(crate) fn vary(response: &mut Response<'_>) {
    let mut others = String::new();
    for token in tokens(response, "Vary") {
        if token == "*" || token.eq_ignore_ascii_case("cookie") {
            return;
        }
        others.extend([token, ", "]);
    }
    if others.is_empty() {
        response.set_raw_header("Vary", "Cookie");
    } else {
        response.set_raw_header("Vary", others + "Cookie");
    }
}

/// The elements of a list header.
fn tokens<'h>(response: &'h Response<'_>, name: &'h str) -> impl Iterator<Item = &'h str> {
    let lists = response.headers().get(name).flat_map(|list| list.split(','));
    lists.map(str::trim).filter(|token| !token.is_empty())
}

/// Turns a response into an empty one with `status`, because the save failed and nothing may look like a success.
///
/// Removes every cookie and every header that describes, locates or caches the lost content, and keeps the other headers.
pub(crate) fn fail(response: &mut Response<'_>, status: Status) {
    let kept: Vec<Header<'static>> = response
        .headers()
        .iter()
        .filter(|header| !is_about_content(header.name.as_str()))
        .map(|header| Header::new(header.name.as_str().to_owned(), header.value.into_owned()))
        .collect();
    // A new response, because there is no other way to drop an upgrade handler.
    *response = Response::new();
    for header in kept {
        response.adjoin_header(header);
    }
    response.set_status(status);
    mark_failed(response);
}

/// Adds the headers of an error response: caches must not store it, and a 503 says when to try again.
pub(crate) fn mark_failed(response: &mut Response<'_>) {
    response.set_raw_header("Cache-Control", "no-store");
    if response.status() == Status::ServiceUnavailable {
        response.set_raw_header("Retry-After", "5");
    }
}

/// Whether a header makes sense only with the content that it came with.
fn is_about_content(name: &str) -> bool {
    const NAMES: [&str; 14] = [
        "Location",
        "Refresh",
        "ETag",
        "Last-Modified",
        "Expires",
        "Accept-Ranges",
        "Transfer-Encoding",
        "Connection",
        "Upgrade",
        "Trailer",
        "Set-Cookie",
        "Clear-Site-Data",
        // A proxy would replace the response by a file.
        "X-Accel-Redirect",
        "X-Sendfile",
    ];
    let name = name.to_ascii_lowercase();
    // A content security policy is about the page, not about the content's form.
    (name.starts_with("content-") && !name.starts_with("content-security-policy"))
        || NAMES.iter().any(|other| other.eq_ignore_ascii_case(&name))
}

#[cfg(test)]
mod tests;
