//! The attributes, the size and the value of the session cookie.

use rocket::http::SameSite;
use session_rocket::{Config, Refresh};
use session_rocket_tests::browser::{Browser, Response};

use super::site::{DAY, STRANGER, Site, sealed, value};

/// A parsed `Set-Cookie` header.
#[derive(Debug)]
struct SetCookie {
    name: String,
    value: String,
    attributes: Vec<(String, String)>,
    length: usize,
}

impl SetCookie {
    fn from_response(response: &Response) -> Self {
        Self::parse(response.set_cookie().expect("the response sets a cookie"))
    }

    fn parse(line: &str) -> Self {
        let mut parts = line.split("; ").map(|part| part.split_once('=').unwrap_or((part, "")));
        let (name, value) = parts.next().unwrap();
        let attributes = parts.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { name: name.into(), value: value.into(), attributes, length: line.len() }
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        let mut of_name = self.attributes.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let first = of_name.next();
        assert_eq!(of_name.next(), None, "the attribute {name} occurs twice");
        first
    }

    fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// Whether a browser accepts the cookie over HTTPS or, if `https` is false, over HTTP (RFC 6265bis, section 5.7).
    fn is_accepted_by_browser(&self, https: bool) -> bool {
        let name = self.name.to_ascii_lowercase();
        let secure = self.has("secure");
        let host = name.starts_with("__host-");
        let prefix = !(host || name.starts_with("__secure-")) || secure;
        let bound = !host || (self.attribute("path") == Some("/") && !self.has("domain"));
        let site = !self.attribute("samesite").is_some_and(|site| site.eq_ignore_ascii_case("none")) || secure;
        prefix && bound && site && (https || !secure) && self.name.len() + self.value.len() <= 4096
    }
}

/// Returns digits that do not compress well.
fn noise(letters: usize) -> String {
    let digits = (0_u64..).flat_map(|n| format!("{:x}", n * n * n * 7919).into_bytes());
    digits.map(char::from).take(letters).collect()
}

/// Returns the `Set-Cookie` headers that set the session cookie and remove it.
async fn set_and_remove(site: &Site) -> [SetCookie; 2] {
    let mut browser = Browser::default();
    let set = SetCookie::from_response(&site.get(&mut browser, "/count").await);
    let logout = browser.send(&site.client, "/logout").await;
    // The headers after the first remove cookies with another `Domain`.
    [set, SetCookie::parse(logout.header_values("set-cookie").first().expect("the cookie is removed"))]
}

#[rocket::async_test]
async fn a_3_3_1_the_cookie_and_its_removal_have_the_secure_attribute() {
    for config in [Config::new(), sealed("cookie+encrypted:")] {
        let site = Site::configured(config.store("memory:").secure(true)).await;
        for line in set_and_remove(&site).await {
            assert_eq!(line.name, "__Host-sessionid");
            assert!(
                line.has("secure") && line.is_accepted_by_browser(true) && !line.is_accepted_by_browser(false),
                "{line:?}"
            );
        }
    }
}

#[rocket::async_test]
async fn a_3_3_2_same_site_none_requires_secure() {
    for (same_site, expected) in [(None, "Lax"), (Some(SameSite::Strict), "Strict"), (Some(SameSite::None), "None")] {
        let config = Config::new().store("memory:").secure(true);
        let config = same_site.map_or(config.clone(), |same_site| config.same_site(same_site));
        for line in set_and_remove(&Site::configured(config).await).await {
            assert_eq!(line.attribute("samesite"), Some(expected));
            assert!(line.is_accepted_by_browser(true));
        }
    }
    let insecure = Config::new().same_site(SameSite::None).secure(false);
    let clock = std::sync::Arc::default();
    let error = super::site::site(insecure, clock, None::<session_rocket_tests::spy::Spy>).ignite().await.unwrap_err();
    assert!(matches!(error.kind(), rocket::error::ErrorKind::FailedFairings(_)));
}

#[rocket::async_test]
async fn a_3_3_3_the_default_name_has_the_host_prefix_if_path_and_domain_allow_it() {
    for line in set_and_remove(&Site::configured(Config::new().store("memory:").secure(true)).await).await {
        assert!(line.name.starts_with("__Host-") && line.attribute("path") == Some("/") && !line.has("domain"));
    }
    // With another path or a domain, browsers would reject the prefix.
    for config in [Config::new().cookie_path("/shop"), Config::new().cookie_domain("example.com")] {
        for line in set_and_remove(&Site::configured(config.store("memory:").secure(true)).await).await {
            assert_eq!(line.name, "sessionid");
        }
    }
}

#[rocket::async_test]
async fn a_3_3_4_the_id_occurs_only_in_the_set_cookie_header() {
    let site = Site::new(Config::new()).await;
    let mut browser = Browser::default();
    for path in ["/count", "/login/7", "/debug", "/show", "/nowhere"] {
        let response = site.get(&mut browser, path).await;
        let id = value(&browser);
        assert!(!response.body.contains(&id), "{path}: {}", response.body);
        let elsewhere = response.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("set-cookie"));
        assert!(elsewhere.into_iter().all(|(_, value)| !value.contains(&id)), "{path}");
        if response.set_cookie().is_some() {
            assert!(SetCookie::from_response(&response).has("httponly"));
        }
    }
}

#[rocket::async_test]
async fn a_3_3_5_a_cookie_has_at_most_4096_bytes() {
    let site = Site::new(Config::new()).await;
    for line in set_and_remove(&site).await {
        assert!(line.length < 256, "the cookie of a stored session is too long: {line:?}");
    }
    for kind in ["cookie+signed:", "cookie+encrypted:"] {
        let site = Site::configured(sealed(kind)).await;
        for letters in (2500..3500).step_by(7) {
            let name = noise(letters);
            let response = site.get(&mut Browser::default(), &format!("/name/{name}")).await;
            match response.set_cookie() {
                Some(line) => assert!(line.len() <= 4096, "{}", line.len()),
                None => assert_eq!(response.status.code, 422),
            }
        }
    }
}

#[rocket::async_test]
async fn a_c1_the_size_limit_includes_the_attributes() {
    // A long path leaves less room for the session.
    let longest_name = async |path: String| {
        let site = Site::configured(sealed("cookie+signed:").cookie_path(path)).await;
        let mut longest = 0;
        for letters in (1500..3000).step_by(10) {
            let name = noise(letters);
            if let Some(line) = site.get(&mut Browser::default(), &format!("/name/{name}")).await.set_cookie() {
                assert!(line.len() <= 4096);
                longest = letters;
            }
        }
        longest
    };
    let with_short_path = longest_name("/".into()).await;
    let with_long_path = longest_name(format!("/{}", "a".repeat(1000))).await;
    assert!(with_long_path > 0 && with_long_path + 500 < with_short_path, "{with_long_path} {with_short_path}");
}

#[rocket::async_test]
async fn a_c2_the_max_age_of_a_cookie_is_at_most_400_days() {
    const MAX: u64 = 34_560_000;
    let site = Site::configured(Config::new().store("memory:").expiry(DAY * 400)).await;
    let [set, _] = set_and_remove(&site).await;
    assert_eq!(set.attribute("max-age"), Some(MAX.to_string().as_str()));
}

#[rocket::async_test]
async fn a_c3_name_prefixes_are_recognized_case_insensitively() {
    for name in ["__Host-id", "__hOsT-id", "__Secure-id", "__SECURE-id", "__Http-id", "__Host-Http-id"] {
        let site = Site::configured(Config::new().store("memory:").cookie_name(name).secure(true));
        // Both session types use the other settings.
        let [set, removal] = set_and_remove(&site.await).await;
        assert!(set.name == name && set.is_accepted_by_browser(true) && removal.is_accepted_by_browser(true));
        let configs = [
            Config::new().cookie_name(name).secure(false),
            Config::new().cookie_name(name).secure(true).http_only(!name.to_lowercase().contains("http-")),
            Config::new().cookie_name(name).secure(true).cookie_domain("example.com"),
        ];
        let is_refused = [true, name.to_lowercase().contains("http-"), name.to_lowercase().starts_with("__host-")];
        for (config, is_refused) in configs.into_iter().zip(is_refused) {
            let clock = std::sync::Arc::default();
            let site = super::site::site(config.store("memory:"), clock, None::<session_rocket_tests::spy::Spy>);
            match site.ignite().await {
                Ok(_) => assert!(!is_refused, "{name}"),
                Err(error) => {
                    // Rocket's error panics when it is dropped, unless its kind was read.
                    let _ = error.kind();
                    assert!(is_refused, "{name}");
                }
            }
        }
    }
}

#[rocket::async_test]
async fn a_c4_a_response_sets_the_cookie_at_most_once() {
    for site in
        [Site::new(Config::new().refresh(Refresh::Always)).await, Site::configured(sealed("cookie+signed:")).await]
    {
        let mut browser = Browser::default();
        site.get(&mut browser, "/count").await;
        site.clock.advance(DAY);
        let response = site.get(&mut browser, "/churn").await;
        assert_eq!(response.header_values("set-cookie").len(), 1);
        assert_eq!(site.get(&mut browser, "/show").await.body, "2 0 ");
    }
}

#[rocket::async_test]
async fn a_c5_a_truncated_cookie_gives_an_empty_session() {
    for site in [Site::new(Config::new()).await, Site::configured(sealed("cookie+encrypted:")).await] {
        let user = site.user(7).await.cookie.unwrap();
        for cut in [0, 1, 10, user.len() / 2, user.len() - 1] {
            let response = site.send(&user[..cut], "/show").await;
            assert_eq!((response.status.code, response.body.as_str()), (200, STRANGER));
        }
    }
}

#[rocket::async_test]
async fn a_c6_requests_sent_before_a_login_do_not_replace_its_cookie() {
    let site = Site::new(Config::new()).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/count").await;
    let late = browser.clone();
    site.get(&mut browser, "/login/7").await;
    // The browser sent these requests before it received the response to the login.
    for path in ["/show", "/count", "/name/eve", "/token", "/logout"] {
        assert_eq!(late.send(&site.client, path).await.set_cookie(), None, "{path}");
    }
    assert!(site.get(&mut browser, "/show").await.body.starts_with("7 1"));
}

#[rocket::async_test]
async fn a_c7_the_first_cookie_with_a_live_session_is_used() {
    let site = Site::new(Config::new()).await;
    let user = value(&site.user(7).await);
    let junk = "A".repeat(43);
    for header in [
        format!("sessionid={junk}; sessionid={user}"),
        format!("sessionid={user}; sessionid={junk}"),
        format!("sessionid=; sessionid=\"; sessionid={user}; sessionid"),
    ] {
        assert_eq!(site.show(header).await, "7 0 ");
    }
    // If both sessions are live, the first one is used, and they are never mixed.
    let mut other = site.user(8).await;
    site.get(&mut other, "/count").await;
    let other = value(&other);
    assert_eq!(site.show(format!("sessionid={user}; sessionid={other}")).await, "7 0 ");
    assert_eq!(site.show(format!("sessionid={other}; sessionid={user}")).await, "8 1 ");
    assert_eq!(site.show(format!("sessionid={junk}; sessionid={junk}")).await, STRANGER);
}

#[rocket::async_test]
async fn a_c8_the_value_is_base64url() {
    for site in [Site::new(Config::new()).await, Site::configured(sealed("cookie+signed:")).await] {
        let mut browser = Browser::default();
        site.get(&mut browser, "/name/%22%3B%2C%5C%20%C3%A4").await;
        let value = value(&browser);
        assert!(value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{value}");
        assert_eq!(site.get(&mut browser, "/show").await.body, "nobody 0 \";,\\ ä");
    }
}

#[rocket::async_test]
async fn b_5_a_response_that_depends_on_the_session_has_vary_cookie() {
    let site = Site::new(Config::new().refresh(Refresh::Share(0.1))).await;
    let mut browser = Browser::default();
    for (path, varies) in [("/plain", false), ("/show", true), ("/count", true), ("/logout", true), ("/nowhere", false)]
    {
        let response = site.get(&mut browser, path).await;
        assert_eq!(response.header("vary") == Some("Cookie"), varies, "{path}");
    }
    // A response that renews the cookie must not be cached.
    site.get(&mut browser, "/count").await;
    site.clock.advance(DAY * 7);
    let renewed = site.get(&mut browser, "/show").await;
    assert!(renewed.set_cookie().is_some());
    assert_eq!((renewed.header("vary"), renewed.header("cache-control")), (Some("Cookie"), Some("no-store")));
}

#[rocket::async_test]
async fn b_6_no_cache_stores_a_response_that_sets_the_cookie() {
    for site in [Site::new(Config::new()).await, Site::configured(sealed("cookie+signed:")).await] {
        let mut browser = Browser::default();
        for path in ["/count", "/login/7", "/name/ada", "/token", "/logout"] {
            let response = site.get(&mut browser, path).await;
            if response.set_cookie().is_some() {
                assert_eq!(response.header("cache-control"), Some("no-store"), "{path}");
            }
        }
    }
}

#[rocket::async_test]
async fn b_31_the_cookie_is_removed_with_the_attributes_it_was_set_with() {
    for config in [
        Config::new().secure(true),
        Config::new().cookie_path("/").cookie_domain("example.com"),
        Config::new().cookie_name("school").same_site(SameSite::Strict),
    ] {
        let [set, removal] = set_and_remove(&Site::configured(config.store("memory:")).await).await;
        assert_eq!((&set.name, removal.value.as_str(), removal.attribute("max-age")), (&removal.name, "", Some("0")));
        assert!(removal.attribute("expires").is_some_and(|date| date.contains("1970")));
        for attribute in ["path", "domain", "secure", "httponly", "samesite"] {
            assert_eq!(set.attribute(attribute), removal.attribute(attribute), "{attribute}");
        }
    }
}
