//! The rules: which requests are judged, and which of them are refused.

use std::borrow::Cow;
use std::fmt;

use rocket::Request;
use rocket::http::Method;

use super::origin::Origin;
use crate::web::plain_http;

/// The maximum number of characters of a header value in the log.
const MAX_SHOWN: usize = 80;

/// The effective settings.
pub(super) struct Rules {
    /// The site's own origin, or `None` to use the host of the request.
    pub own: Option<Origin<String>>,
    pub trusted: Vec<Origin<String>>,
    pub strict: bool,
    pub report_only: bool,
    /// Whether Rocket serves HTTPS.
    pub has_tls: bool,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request has several headers of this name.
    Repeated(&'static str),
    /// `Sec-Fetch-Site` says that the request comes from another origin, which `Origin` names.
    OtherOrigin,
    /// `Sec-Fetch-Site` has a value that the library does not know.
    UnknownSite,
    /// `Sec-Fetch-Site` is missing, and `Origin` is not the site's own.
    NotOwnOrigin,
    /// `Sec-Fetch-Site` is missing, and `Origin` is `null`.
    HiddenOrigin,
    /// `Origin` is malformed, or the request comes from another origin that `Origin` does not name.
    UnnamedOrigin,
    /// The request has neither header, and `strict` is on.
    NoHeaders,
}

/// Whether the fairing judges this request.
///
/// Before a fairing sees a posted form, Rocket replaces POST by the method in the form's field `_method`. So the fairing
/// judges every form.
pub(super) fn is_judged(request: &Request<'_>) -> bool {
    !matches!(request.method(), Method::Get | Method::Head | Method::Options)
        || request.content_type().is_some_and(|kind| kind.is_form())
        || request.headers().iter().any(|header| header.name == "Upgrade")
}

impl Rules {
    /// Returns an error if the rules refuse the request.
    pub(super) fn judge(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let OriginHeaders { origin, site } = OriginHeaders::of(request)?;
        let (origin, site) = (origin.as_deref(), site.as_deref());
        let is_trusted = |origin| self.trusted.iter().any(|trusted| trusted.is_same_as(origin));
        if !self.trusted.is_empty() && origin.and_then(Origin::parse).is_some_and(is_trusted) {
            return Ok(());
        }
        match (site, origin) {
            (Some("same-origin" | "none"), _) => Ok(()),
            (Some("same-site" | "cross-site"), origin) => match origin.and_then(Origin::parse) {
                None => Err(Refusal::UnnamedOrigin),
                Some(_) => Err(Refusal::OtherOrigin),
            },
            (Some(_), _) => Err(Refusal::UnknownSite),
            (None, None) if self.strict => Err(Refusal::NoHeaders),
            (None, None) => Ok(()),
            (None, Some("null")) => Err(Refusal::HiddenOrigin),
            (None, Some(origin)) => match Origin::parse(origin) {
                None => Err(Refusal::UnnamedOrigin),
                Some(origin) if self.is_own(origin, request) => Ok(()),
                Some(_) => Err(Refusal::NotOwnOrigin),
            },
        }
    }

    fn is_own(&self, origin: Origin<&str>, request: &Request<'_>) -> bool {
        if let Some(own) = &self.own {
            return own.is_same_as(origin);
        }
        let needs_https = self.has_tls || plain_http::is_secure(request);
        request.host().is_some_and(|host| origin.is_origin_of(host, needs_https))
    }

    /// Logs a refusal, without the path and the query of the request, which can contain secrets.
    pub(super) fn log(&self, request: &Request<'_>, refusal: Refusal) {
        log::warn!(
            target: "session_rocket",
            "{} a {} request{} ({}, {}): {refusal}",
            if self.report_only { "would refuse" } else { "refused" },
            request.method(),
            if self.report_only { ", but `cross_origin.report_only` is on" } else { "" },
            Shown(request, "Origin"),
            Shown(request, "Sec-Fetch-Site"),
        );
    }
}

/// The headers that say where a request comes from.
#[derive(Default)]
struct OriginHeaders<'r> {
    origin: Option<Cow<'r, str>>,
    site: Option<Cow<'r, str>>,
}

impl<'r> OriginHeaders<'r> {
    /// Reads the headers.
    ///
    /// Compares the names of all headers, because Rocket's lookup hashes a name byte by byte, which takes more
    /// instructions.
    fn of(request: &'r Request<'_>) -> Result<Self, Refusal> {
        let mut headers = Self::default();
        for header in request.headers().iter() {
            let (name, value) = if header.name == "Origin" {
                ("Origin", &mut headers.origin)
            } else if header.name == "Sec-Fetch-Site" {
                ("Sec-Fetch-Site", &mut headers.site)
            } else {
                continue;
            };
            if value.replace(header.value).is_some() {
                return Err(Refusal::Repeated(name));
            }
        }
        Ok(headers)
    }
}

/// The value of a header in the log, escaped and shortened, because an attacker can choose it.
struct Shown<'r>(&'r Request<'r>, &'static str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(request, name) = self;
        let Some(value) = request.headers().get_one(name) else { return write!(f, "no {name}") };
        write!(f, "{name} \"")?;
        value.chars().take(MAX_SHOWN).try_for_each(|c| write!(f, "{}", c.escape_default()))?;
        f.write_str(if value.chars().nth(MAX_SHOWN).is_some() { "…\"" } else { "\"" })
    }
}

/// The reason for the refusal, and what to do to accept the request.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repeated(name) => write!(f, "the request has several `{name}` headers; no setting accepts such requests"),
            Self::OtherOrigin => f.write_str(
                "the request comes from another origin; if the site trusts this origin, add it to \
                 `cross_origin.trusted_origins`",
            ),
            Self::UnknownSite => f.write_str("the value of `Sec-Fetch-Site` is unknown; no setting accepts such requests"),
            Self::NotOwnOrigin => f.write_str(
                "the origin does not match the site's own origin; if this is the site's own page, set `cross_origin.origin`; if \
                 the site trusts this origin, add it to `cross_origin.trusted_origins`",
            ),
            Self::HiddenOrigin => f.write_str(
                "the browser hides the origin; if this is the site's own page, serve HTTPS or change its `Referrer-Policy`",
            ),
            Self::UnnamedOrigin => f.write_str(
                "`Origin` is missing, `null` or malformed, and `Sec-Fetch-Site` does not show that the request is from the \
                 site's own pages; no setting accepts such requests",
            ),
            Self::NoHeaders => f.write_str(
                "the request has neither `Origin` nor `Sec-Fetch-Site`; to accept such requests, set `cross_origin.strict = false`",
            ),
        }
    }
}

/// The effective settings, for the launch log.
impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.own {
            Some(own) => write!(f, "own origin {own}")?,
            None => f.write_str("own origin from the `Host` header")?,
        }
        for (index, trusted) in self.trusted.iter().enumerate() {
            write!(f, "{} {trusted}", if index == 0 { ", trusts" } else { "," })?;
        }
        if self.strict {
            f.write_str(", strict")?;
        }
        f.write_str(if self.report_only { ", report only" } else { "" })
    }
}
