//! A browser that keeps the cookies of one session type, on top of Rocket's local client.

use rocket::http::{ContentType, Header, Method, Status};
use rocket::local::asynchronous::{Client, LocalResponse};

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

    /// Returns the first `Set-Cookie` header, which sets or removes the session cookie. The headers after it may remove
    /// cookies of the same name with another `Domain`.
    ///
    /// # Panics
    /// If one of the headers after the first sets a cookie.
    pub fn set_cookie(&self) -> Option<&str> {
        let mut headers = self.header_values("set-cookie");
        headers.retain(|line| !is_csrf_cookie(line));
        let is_removal = |header: &&str| header.contains("Max-Age=0;");
        assert!(headers.iter().skip(1).all(is_removal), "several cookies are set: {headers:?}");
        headers.first().copied()
    }

    /// Returns the `Set-Cookie` header of the CSRF secret of a browser without a session.
    pub fn csrf_cookie(&self) -> Option<&str> {
        self.header_values("set-cookie").into_iter().find(|line| is_csrf_cookie(line))
    }

    async fn read(response: LocalResponse<'_>) -> Self {
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

/// A browser that keeps the cookies of one session type.
#[derive(Debug, Clone, Default)]
pub struct Browser {
    /// The session cookie as `name=value`.
    pub cookie: Option<String>,
    /// The cookie with the CSRF secret of a browser without a session.
    pub csrf: Option<String>,
}

impl Browser {
    /// Creates a browser that sends this session cookie, or several cookies.
    pub fn with_cookie(cookie: impl Into<String>) -> Self {
        Self { cookie: Some(cookie.into()), csrf: None }
    }

    /// Sends a GET request and stores the cookie of the response.
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
        if let Some(cookies) = self.cookies() {
            request.add_header(Header::new("Cookie", cookies));
        }
        Response::read(request.dispatch().await).await
    }

    /// Returns the value of the `Cookie` header.
    pub fn cookies(&self) -> Option<String> {
        let cookies: Vec<&str> = [&self.cookie, &self.csrf].into_iter().flatten().map(String::as_str).collect();
        (!cookies.is_empty()).then(|| cookies.join("; "))
    }

    /// Posts a form of the content type and ignores the cookie of the response.
    pub async fn post(&self, client: &Client, path: &str, kind: ContentType, form: String) -> Response {
        let mut request = client.post(path.to_owned()).header(kind).body(form);
        if let Some(cookies) = self.cookies() {
            request.add_header(Header::new("Cookie", cookies));
        }
        Response::read(request.dispatch().await).await
    }

    /// Stores or removes the cookies, as the `Set-Cookie` headers of the response say.
    ///
    /// # Panics
    /// If the header is malformed, or if several headers set a cookie.
    pub fn store_cookie(&mut self, response: &Response) {
        if let Some(line) = response.set_cookie() {
            let is_removal = line.contains("Max-Age=0;") || line.ends_with("Max-Age=0");
            self.cookie = (!is_removal).then(|| pair(line).to_owned());
        }
        if let Some(line) = response.csrf_cookie() {
            self.csrf = Some(pair(line).to_owned());
        }
    }
}
