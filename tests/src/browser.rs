//! A browser that keeps the cookies of one session type, or an app that keeps one bearer token, on top of Rocket's local
//! client.

use rocket::http::{ContentType, Header, Method, Status};
use rocket::local::asynchronous::{Client, LocalRequest, LocalResponse};
use session_rocket::{Config, Transport};

/// The response header that has new ids, for [`new_id_header`](field@session_rocket::Config::new_id_header).
pub const ID_HEADER: &str = "X-Session-Id";

/// A response of the site.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: Status,
    /// The body.
    pub body: String,
    /// All headers.
    pub headers: Vec<(String, String)>,
}

impl Response {
    /// Returns all values of a header.
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the value of a header that occurs at most once.
    ///
    /// # Panics
    /// If the header occurs several times.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.header_values(name);
        assert!(values.len() <= 1, "several {name} headers: {values:?}");
        values.first().copied()
    }

    /// Returns the `Set-Cookie` header that sets the session cookie, or else the first one, which removes it. The others
    /// may remove cookies of the same name with another `Domain`.
    ///
    /// # Panics
    /// If several headers set a cookie.
    pub fn set_cookie(&self) -> Option<&str> {
        let mut headers = self.header_values("set-cookie");
        headers.retain(|line| !is_csrf_cookie(line));
        let mut set = headers.iter().filter(|header| !header.contains("Max-Age=0;"));
        let line = set.next().or(headers.first()).copied();
        assert_eq!(set.next(), None, "several cookies are set: {headers:?}");
        line
    }

    /// Returns the `Set-Cookie` header of the CSRF secret of a browser without a session.
    pub fn csrf_cookie(&self) -> Option<&str> {
        self.header_values("set-cookie").into_iter().find(|line| is_csrf_cookie(line))
    }

    /// Returns the new id in [`ID_HEADER`], or the first `Set-Cookie` header, as [`set_cookie`](Self::set_cookie) does.
    ///
    /// # Panics
    /// If the response has both.
    pub fn new_id(&self) -> Option<&str> {
        match (self.header(ID_HEADER), self.set_cookie()) {
            (Some(_), Some(_)) => panic!("a response with a cookie and an id in a header: {self:?}"),
            (id, cookie) => id.or(cookie),
        }
    }

    /// Reads a response of a local client.
    pub async fn read(response: LocalResponse<'_>) -> Self {
        let status = response.status();
        let headers = response.headers().iter().map(|h| (h.name().to_string(), h.value().to_owned())).collect();
        let body = response.into_string().await.unwrap_or_default();
        Self { status, body, headers }
    }
}

fn is_csrf_cookie(line: &str) -> bool {
    pair(line).split('=').next().is_some_and(|name| name.ends_with("-csrf"))
}

/// Returns the `name=value` of a `Set-Cookie` line.
fn pair(line: &str) -> &str {
    line.split(';').next().expect("`split` returns at least one part")
}

/// Returns the `name=value` of a `Set-Cookie` line, or `None` if the line removes the cookie.
fn stored(line: &str) -> Option<String> {
    let is_removal = line.contains("Max-Age=0;") || line.ends_with("Max-Age=0");
    (!is_removal).then(|| pair(line).to_owned())
}

/// A browser that keeps the cookies of one session type, or an app that keeps one bearer token.
#[derive(Debug, Clone, Default)]
pub struct Browser {
    /// The session cookie as `name=value`. An app sends the value as its bearer token.
    pub cookie: Option<String>,
    /// The cookie with the CSRF secret of a browser without a session.
    pub csrf: Option<String>,
    /// [`Transport::Bearer`] for an app. An app never forgets its token.
    pub transport: Transport,
}

impl Browser {
    /// Returns a browser or an app without a session.
    pub fn new(transport: Transport) -> Self {
        Self { transport, ..Self::default() }
    }

    /// Returns a browser that sends this session cookie, or several cookies.
    pub fn with(cookie: impl Into<String>) -> Self {
        Self { cookie: Some(cookie.into()), ..Self::default() }
    }

    /// Whether the browser has no cookie. An app keeps its token after a logout.
    pub fn has_no_cookie(&self) -> bool {
        self.transport == Transport::Bearer || self.cookie.is_none()
    }

    /// Sends a GET request and stores the cookie or token of the response.
    pub async fn get(&mut self, client: &Client, path: &str) -> Response {
        let response = self.send(client, path).await;
        self.store_cookie(&response);
        response
    }

    /// Sends a GET request and ignores the cookie of the response.
    pub async fn send(&self, client: &Client, path: &str) -> Response {
        self.request(client, Method::Get, path).await
    }

    /// Sends a request and ignores the cookie of the response.
    pub async fn request(&self, client: &Client, method: Method, path: &str) -> Response {
        let mut request = client.req(method, path.to_owned());
        self.add_id(&mut request);
        self.checked(Response::read(request.dispatch().await).await)
    }

    /// Returns the value of the `Cookie` header.
    pub fn cookies(&self) -> Option<String> {
        let cookies: Vec<&str> = [&self.cookie, &self.csrf].into_iter().flatten().map(String::as_str).collect();
        (!cookies.is_empty()).then(|| cookies.join("; "))
    }

    /// Posts a form of the content type and ignores the cookie of the response.
    pub async fn post(&self, client: &Client, path: &str, kind: ContentType, form: String) -> Response {
        let mut request = client.post(path.to_owned()).header(kind).body(form);
        self.add_id(&mut request);
        self.checked(Response::read(request.dispatch().await).await)
    }

    fn add_id(&self, request: &mut LocalRequest<'_>) {
        let id = self.cookie.as_ref().and_then(|cookie| Some(cookie.split_once('=')?.1));
        match (self.transport, id, self.cookies()) {
            (Transport::Bearer, Some(id), _) => {
                request.add_header(Header::new("Authorization", format!("Bearer {id}")));
            }
            (_, _, Some(cookies)) => request.add_header(Header::new("Cookie", cookies)),
            _ => {}
        }
    }

    /// Asserts that an app gets no cookie.
    fn checked(&self, response: Response) -> Response {
        assert!(self.transport != Transport::Bearer || response.set_cookie().is_none(), "an app got a cookie");
        response
    }

    /// Stores or removes the cookies, as the `Set-Cookie` headers of the response say, or stores the token of an app.
    ///
    /// # Panics
    /// If the header is malformed, or if several headers set a cookie.
    pub fn store_cookie(&mut self, response: &Response) {
        if let Some(id) = response.header(ID_HEADER) {
            self.cookie = Some(format!("sessionid={id}"));
        } else if let Some(line) = response.set_cookie() {
            self.cookie = stored(line);
        }
        if let Some(line) = response.csrf_cookie() {
            self.csrf = stored(line);
        }
    }
}

/// Returns a configuration with this transport. New bearer tokens are in [`ID_HEADER`].
pub fn over(transport: Transport, config: Config) -> Config {
    match transport {
        Transport::Cookie => config,
        _ => config.transport(transport).new_id_header(ID_HEADER),
    }
}

/// Defines two tests for each function that takes a [`Transport`]: one for a browser with a cookie, and one for an app with
/// a bearer token.
#[macro_export]
macro_rules! over_both_transports {
    ($($test:ident)*) => {
        $crate::over_both_transports! { @in cookie Cookie $($test)* }
        $crate::over_both_transports! { @in bearer Bearer $($test)* }
    };
    (@in $module:ident $transport:ident $($test:ident)*) => {
        mod $module {
            $(#[rocket::async_test]
            async fn $test() {
                super::$test(session_rocket::Transport::$transport).await;
            })*
        }
    };
}
