//! A browser's cookie jar on Rocket's local client.

use rocket::http::{ContentType, Header, Method, Status};
use rocket::local::asynchronous::{Client, LocalResponse};

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: Status,
    /// The body.
    pub body: String,
    /// All headers.
    pub headers: Vec<(String, String)>,
}

impl Answer {
    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// The one value of a header that may be there once.
    ///
    /// # Panics
    /// When it is there twice.
    pub fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} twice: {all:?}");
        all.first().copied()
    }

    /// The `Set-Cookie` line of the session. Lines behind it may remove cookies of the same name in other forms.
    ///
    /// # Panics
    /// When another line sets a cookie.
    pub fn set_cookie(&self) -> Option<&str> {
        let all = self.all("set-cookie");
        assert!(all.iter().skip(1).all(|line| line.contains("Max-Age=0;")), "set twice: {all:?}");
        all.first().copied()
    }

    async fn of(response: LocalResponse<'_>) -> Self {
        let status = response.status();
        let headers = response.headers().iter().map(|h| (h.name().to_string(), h.value().to_owned())).collect();
        let body = response.into_string().await.unwrap_or_default();
        Self { status, body, headers }
    }
}

/// A browser with one cookie.
#[derive(Debug, Clone, Default)]
pub struct Browser {
    /// The cookie it holds, as it sends it.
    pub cookie: Option<String>,
}

impl Browser {
    /// Sends a GET and takes the cookie that comes back.
    pub async fn get(&mut self, client: &Client, path: &str) -> Answer {
        let answer = self.send(client, path).await;
        self.take(&answer);
        answer
    }

    /// Sends a GET; what comes back is not taken yet.
    pub async fn send(&self, client: &Client, path: &str) -> Answer {
        self.request(client, Method::Get, path).await
    }

    /// Sends a request; what comes back is not taken yet.
    pub async fn request(&self, client: &Client, method: Method, path: &str) -> Answer {
        let mut request = client.req(method, path.to_owned());
        if let Some(cookie) = &self.cookie {
            request.add_header(Header::new("Cookie", cookie.clone()));
        }
        Answer::of(request.dispatch().await).await
    }

    /// Posts a form of this content type; what comes back is not taken yet.
    pub async fn post(&self, client: &Client, path: &str, kind: ContentType, form: String) -> Answer {
        let mut request = client.post(path.to_owned()).header(kind).body(form);
        if let Some(cookie) = &self.cookie {
            request.add_header(Header::new("Cookie", cookie.clone()));
        }
        Answer::of(request.dispatch().await).await
    }

    /// Does what a `Set-Cookie` line says.
    ///
    /// # Panics
    /// When the line is none.
    pub fn take(&mut self, answer: &Answer) {
        if let Some(line) = answer.set_cookie() {
            let pair = line.split(';').next().expect("a line has a first part").to_owned();
            self.cookie = (!line.contains("Max-Age=0;") && !line.ends_with("Max-Age=0")).then_some(pair);
        }
    }
}
