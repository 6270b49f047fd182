//! The protection against requests that other sites forge.

mod origin;
mod rules;
mod settings;

use rocket::fairing::{self, Fairing, Info, Kind};
use rocket::http::{Method, Status};
use rocket::route::{self, Handler};
use rocket::{Build, Data, Request, Response, Rocket, Route};

use self::rules::{Rules, is_judged};
use self::settings::Settings;
use super::headers;
use crate::base::error::Chain;

/// The fairing that refuses requests that other sites forge (CSRF, cross-site WebSocket hijacking).
///
/// It needs no session type and no token. The [guide](crate::guide::forged_requests) compares it with the other
/// defences.
///
/// ```no_run
/// use rocket::{get, launch, post, routes};
/// use session_rocket::CrossOriginProtection;
///
/// #[get("/")]
/// fn index() -> &'static str {
///     "the number of orders"
/// }
///
/// /// Reached only by requests of the site's own pages, of trusted origins, and of programs other than browsers.
/// #[post("/order")]
/// fn order() -> &'static str {
///     "ordered"
/// }
///
/// #[launch]
/// fn rocket() -> _ {
///     rocket::build()
///         .attach(CrossOriginProtection::new().trusted_origin("https://pay.example"))
///         .mount("/", routes![index, order])
/// }
/// ```
///
/// # Rules
/// The fairing judges three kinds of requests:
/// - requests whose method is not GET, HEAD or OPTIONS;
/// - requests with an `Upgrade` header, such as a WebSocket handshake;
/// - URL-encoded forms, even if the form's field `_method` names a safe method.
///
/// The rules are the same for all paths. The first matching row applies:
///
/// | the request | result |
/// |---|---|
/// | several `Origin` or several `Sec-Fetch-Site` headers | refused |
/// | `Origin` is one of the [trusted origins](Self::trusted_origin) | passes |
/// | `Sec-Fetch-Site: same-origin` or `none` | passes |
/// | `Sec-Fetch-Site` with any other value, such as `same-site` | refused |
/// | no `Sec-Fetch-Site`, `Origin` is the [site's own](Self::origin) | passes |
/// | no `Sec-Fetch-Site`, any other `Origin`, such as `null` | refused |
/// | neither header | passes, unless [`strict`](Self::strict) is on |
///
/// The page of a sibling host has another origin than the site: `forum.shop.example` is not `shop.example`. If such a page
/// may post to the site, add the page's origin to the trusted origins.
///
/// # A refused request
/// A refused request reaches no handler. The site's catcher for 403 responds, and a warning in the log shows the
/// method, the two headers and, if a setting can accept the request, this setting. Catchers, fairings that are attached
/// later, and Rocket's log see the method TRACE instead of the original method, because a Rocket fairing has no other way
/// to keep a request from its handler. The URI stays the same. The response gets `Cache-Control: no-store` and
/// `Vary: Sec-Fetch-Site, Origin`, so that no cache serves the response to another visitor.
///
/// Attach the fairing after fairings that change the method of a request, and before all others. If a later fairing
/// replaces TRACE by another method, a refused request reaches its handler.
///
/// # Configuration
/// The table `[default.cross_origin]` in `Rocket.toml` and the environment variable `ROCKET_CROSS_ORIGIN` override
/// settings in code. The keys are `origin`, `trusted_origins`, `strict` and `report_only`. An unknown key or an invalid
/// value aborts the launch.
///
/// ```toml
/// [default.cross_origin]
/// trusted_origins = ["https://pay.example", "capacitor://localhost"]
/// ```
///
/// # Browsers
/// All major browsers have sent `Sec-Fetch-Site` since March 2023: Chrome since version 76, Edge since 79, Firefox
/// since 90, Safari since 16.4. They send it only to HTTPS sites and to `localhost`. For all other sites, and for older
/// browsers, the fairing compares `Origin` with `Host`. If a proxy changes `Host`, set [`origin`](Self::origin).
///
/// # Limits
/// - Handlers of GET, HEAD and OPTIONS must change nothing, because the fairing lets links of other sites pass.
/// - Browsers from before 2020 send neither header in some requests, such as forms in Firefox before 70. These requests
///   pass unless [`strict`](Self::strict) is on. For these browsers, also use [`CsrfForm`](crate::CsrfForm).
/// - The fairing does not help if the attacker controls a page of a trusted origin or of the site's own origin, for
///   example by cross-site scripting (XSS).
///
/// # Sources
/// [Fetch Metadata Request Headers](https://www.w3.org/TR/fetch-metadata/) (W3C), the [_Cross-Site Request Forgery
/// Prevention Cheat Sheet_](https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html)
/// (OWASP), and Go's [`http.CrossOriginProtection`](https://pkg.go.dev/net/http#CrossOriginProtection).
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct CrossOriginProtection {
    settings: Settings,
}

impl CrossOriginProtection {
    /// Creates the fairing to attach to Rocket, with the default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the site's own origin, such as `"https://shop.example"`. Default: the host in the `Host` header.
    ///
    /// The fairing uses this setting only for requests without `Sec-Fetch-Site`. If a site has several origins, add the
    /// others as [trusted origins](Self::trusted_origin).
    ///
    /// By default, the host and port in `Origin` must equal those in `Host`. If Rocket serves HTTPS, or a proxy sends
    /// `X-Forwarded-Proto: https` or `Forwarded: proto=https`, the scheme in `Origin` must be `https`.
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.settings.origin = Some(origin.into());
        self
    }

    /// Adds an origin whose pages may send any request, such as `"https://pay.example"`. Default: none.
    ///
    /// An origin is a scheme, a host and an optional port, without wildcards. Any scheme is allowed, as in
    /// `"capacitor://localhost"` for an app or `"chrome-extension://…"`. In `Rocket.toml`, the list `trusted_origins`
    /// replaces the origins that are set in code.
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Self {
        self.settings.trusted_origins.push(origin.into());
        self
    }

    /// Sets whether to refuse judged requests with neither `Origin` nor `Sec-Fetch-Site`. Default: `false`.
    ///
    /// Programs and old browsers send such requests. No path is exempt. To accept a webhook, let the sender or your
    /// reverse proxy add `Sec-Fetch-Site: same-origin` to the request. If neither can do this, leave `strict` off.
    pub fn strict(mut self, on: bool) -> Self {
        self.settings.strict = on;
        self
    }

    /// Sets whether to log each request that would be refused, and to let it pass. Default: `false`.
    ///
    /// Use this setting for a trial on an existing site.
    pub fn report_only(mut self, on: bool) -> Self {
        self.settings.report_only = on;
        self
    }
}

#[rocket::async_trait]
impl Fairing for CrossOriginProtection {
    fn info(&self) -> Info {
        Info { name: "Cross-origin protection", kind: Kind::Ignite | Kind::Request | Kind::Response | Kind::Singleton }
    }

    async fn on_ignite(&self, rocket: Rocket<Build>) -> fairing::Result {
        match self.settings.resolve(rocket.figment()) {
            Ok(rules) => {
                log::info!(target: "session_rocket", "cross-origin protection: {rules}");
                Ok(rocket.manage(rules).mount("/", [Refuse::route()]))
            }
            Err(error) => {
                log::error!(target: "session_rocket", "the cross-origin protection cannot be attached: {}", Chain(&error));
                Err(rocket)
            }
        }
    }

    async fn on_request(&self, request: &mut Request<'_>, _: &mut Data<'_>) {
        if !is_judged(request) {
            return;
        }
        let Some(rules) = request.rocket().state::<Rules>() else { return };
        let Err(refusal) = rules.judge(request) else { return };
        rules.log(request, refusal);
        if !rules.report_only {
            request.local_cache(|| Refused(true));
            request.set_method(Method::Trace);
        }
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        if is_refused(request) {
            response.set_raw_header("Cache-Control", "no-store");
            // A cache that ignores `no-store` must not serve the refusal to the site's own pages.
            headers::vary(response, "Sec-Fetch-Site, Origin");
        }
    }
}

/// Whether the fairing refused a request. The request's local cache keeps this value.
struct Refused(bool);

/// Whether the fairing refused the request. The method alone does not tell, because a site can have TRACE routes.
fn is_refused(request: &Request<'_>) -> bool {
    request.method() == Method::Trace && request.local_cache(|| Refused(false)).0
}

/// The handler of refused requests.
#[derive(Clone)]
struct Refuse;

impl Refuse {
    /// Returns the route that refused requests reach before any route of the site.
    fn route() -> Route {
        let mut route = Route::ranked(isize::MIN, Method::Trace, "/<path..>", Self);
        route.name = Some("cross-origin protection".into());
        route
    }
}

#[rocket::async_trait]
impl Handler for Refuse {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> route::Outcome<'r> {
        if is_refused(request) {
            route::Outcome::Error(Status::Forbidden)
        } else {
            route::Outcome::forward(data, Status::NotFound)
        }
    }
}
