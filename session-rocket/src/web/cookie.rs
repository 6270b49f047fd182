//! The session cookie: read from a request, put into a response.

use std::fmt::{self, Write as _};
use std::time::Duration;

use rocket::http::{Cookie, Header, SameSite, Status};
use rocket::{Request, Response};
use time::OffsetDateTime;

/// The longest lifetime that browsers grant a cookie: 400 days (RFC 6265bis).
pub(crate) const MAX_AGE: Duration = Duration::from_hours(400 * 24);

/// How many bytes a whole `Set-Cookie` line may take. Browsers take 4,096 for name and value (RFC 6265bis); RFC 6265
/// counted the attributes as well, and there are proxies that still do.
pub(crate) const MAX_LINE: usize = 4096;

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
    /// The values that a request carries: the jar's, then those of the raw headers.
    ///
    /// There may be several: a cookie set for a parent domain or another path has the same name, and the order is not
    /// reliable.
    pub(crate) fn values<'r>(&'r self, request: &'r Request<'_>) -> impl Iterator<Item = &'r str> {
        let jar = request.cookies().get(&self.name).map(Cookie::value);
        jar.into_iter().chain(self.raw_values(request))
    }

    /// How many bytes a line that [`hold`](Self::hold)s takes at most, but for the value.
    pub(crate) fn frame(&self) -> usize {
        self.hold("", Some(MAX_AGE), OffsetDateTime::UNIX_EPOCH).len()
    }

    /// Whether a request carries a cookie of this name, whatever its value.
    pub(crate) fn presented(&self, request: &Request<'_>) -> bool {
        self.values(request).next().is_some()
    }

    fn raw_values<'r>(&'r self, request: &'r Request<'_>) -> impl Iterator<Item = &'r str> {
        let pairs = request.headers().get("cookie").flat_map(|header| header.split(';'));
        pairs.filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            (name.trim() == self.name).then(|| value.trim())
        })
    }

    /// The line that makes the browser hold `value` for `age`, or until it is closed.
    ///
    /// `age` counts from `now`, and is cut to whole seconds and to 400 days.
    pub(crate) fn hold(&self, value: &str, age: Option<Duration>, now: OffsetDateTime) -> String {
        let mut line = self.bare(value);
        if let Some(age) = age {
            let seconds = i64::try_from(age.min(MAX_AGE).as_secs()).unwrap_or(i64::MAX);
            keep(&mut line, seconds, now.saturating_add(time::Duration::seconds(seconds)));
        }
        line
    }

    /// The line that makes the browser forget what it holds. Its attributes are those of [`hold`](Self::hold): a browser
    /// takes no other for the same cookie, and refuses a `__Host-` cookie without `Secure` even as a removal.
    pub(crate) fn forget(&self) -> String {
        let mut line = self.bare("");
        keep(&mut line, 0, OffsetDateTime::UNIX_EPOCH);
        line
    }

    /// The cookie and its attributes, but for its lifetime. No name or attribute needs an escape: the configuration
    /// refuses those that would.
    fn bare(&self, value: &str) -> String {
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
        if let Some(domain) = &self.domain {
            line.extend(["; Domain=", domain]);
        }
        line
    }
}

/// Adds a lifetime, for browsers of today and, as a date, for those that know no other.
fn keep(line: &mut String, seconds: i64, until: OffsetDateTime) {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let day = DAYS[usize::from(until.weekday().number_days_from_monday())];
    let month = MONTHS[usize::from(u8::from(until.month())) - 1];
    let (year, date) = (until.year(), until.day());
    let (hour, minute, second) = until.to_hms();
    // Writing to a text cannot fail.
    let _ = write!(line, "; Max-Age={seconds}; Expires={day}, ");
    // By hand: with `write!`, these few digits take five times as long.
    push_two(line, u32::from(date));
    line.extend([" ", month, " "]);
    push_two(line, year.unsigned_abs() / 100);
    push_two(line, year.unsigned_abs() % 100);
    for (before, number) in [(' ', hour), (':', minute), (':', second)] {
        line.push(before);
        push_two(line, u32::from(number));
    }
    line.push_str(" GMT");
}

/// Adds a number below a hundred, in two digits.
fn push_two(line: &mut String, number: u32) {
    line.extend([number / 10, number % 10].map(|digit| char::from_digit(digit, 10).unwrap_or('0')));
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

/// Puts the line of a cookie into a response, in the place of any other of its name, and keeps caches from storing the
/// response.
pub(crate) fn set(response: &mut Response<'_>, line: String) {
    let name = name_of(&line);
    if response.headers().get("Set-Cookie").any(|other| name_of(other) == name) {
        let others = response.headers().get("Set-Cookie").filter(|other| name_of(other) != name);
        let others: Vec<String> = others.map(ToOwned::to_owned).collect();
        response.remove_header("Set-Cookie");
        for other in others {
            response.adjoin_raw_header("Set-Cookie", other);
        }
    }
    response.adjoin_raw_header("Set-Cookie", line);
    if !tokens(response, "Cache-Control").any(is_private) {
        response.set_raw_header("Cache-Control", "no-store");
    }
}

/// Which cookie a line sets.
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

/// Turns a response into an empty one of `status`, for a save that failed: nothing in it may look like a success.
///
/// What describes, locates or caches the lost content goes, and so does every cookie; other headers stay.
pub(crate) fn fail(response: &mut Response<'_>, status: Status) {
    let kept: Vec<Header<'static>> = response
        .headers()
        .iter()
        .filter(|header| !goes(header.name.as_str()))
        .map(|header| Header::new(header.name.as_str().to_owned(), header.value.into_owned()))
        .collect();
    // A new response, for there is no other way to drop an upgrade handler.
    *response = Response::new();
    for header in kept {
        response.adjoin_header(header);
    }
    response.set_status(status);
    mark_failed(response);
}

/// Adds what an error response of ours says: that it is not to be stored, and for a 503 when to try again.
pub(crate) fn mark_failed(response: &mut Response<'_>) {
    response.set_raw_header("Cache-Control", "no-store");
    if response.status() == Status::ServiceUnavailable {
        response.set_raw_header("Retry-After", "5");
    }
}

/// Whether a header does not outlive the content it came with.
fn goes(name: &str) -> bool {
    const GO: [&str; 14] = [
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
        // A proxy in front would put a file in the place of the response.
        "X-Accel-Redirect",
        "X-Sendfile",
    ];
    let name = name.to_ascii_lowercase();
    // A content security policy is about the page, not about the content's form.
    (name.starts_with("content-") && !name.starts_with("content-security-policy"))
        || GO.iter().any(|gone| gone.eq_ignore_ascii_case(&name))
}

#[cfg(test)]
mod tests;
