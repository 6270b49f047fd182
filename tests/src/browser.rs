//! A browser that keeps one cookie, on top of Rocket's local client.

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
        let headers = self.header_values("set-cookie");
        let is_removal = |header: &&str| header.contains("Max-Age=0;");
        assert!(headers.iter().skip(1).all(is_removal), "several cookies are set: {headers:?}");
        headers.first().copied()
    }

    async fn read(response: LocalResponse<'_>) -> Self {
        let status = response.status();
        let headers = response.headers().iter().map(|h| (h.name().to_string(), h.value().to_owned())).collect();
        let body = response.into_string().await.unwrap_or_default();
        Self { status, body, headers }
    }
}

/// A browser that keeps one cookie.
#[derive(Debug, Clone, Default)]
pub struct Browser {
    /// The cookie as `name=value`.
    pub cookie: Option<String>,
}

impl Browser {
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
        if let Some(cookie) = &self.cookie {
            request.add_header(Header::new("Cookie", cookie.clone()));
        }
        Response::read(request.dispatch().await).await
    }

    /// Posts a form of the content type and ignores the cookie of the response.
    pub async fn post(&self, client: &Client, path: &str, kind: ContentType, form: String) -> Response {
        let mut request = client.post(path.to_owned()).header(kind).body(form);
        if let Some(cookie) = &self.cookie {
            request.add_header(Header::new("Cookie", cookie.clone()));
        }
        Response::read(request.dispatch().await).await
    }

    /// Stores or removes the cookie, as the `Set-Cookie` header of the response says.
    ///
    /// # Panics
    /// If the header is malformed, or if several headers set a cookie.
    pub fn store_cookie(&mut self, response: &Response) {
        if let Some(line) = response.set_cookie() {
            let pair = line.split(';').next().expect("`split` returns at least one part").to_owned();
            self.cookie = (!line.contains("Max-Age=0;") && !line.ends_with("Max-Age=0")).then_some(pair);
        }
    }
}
