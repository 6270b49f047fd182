//! The session cookie on its way to the browser and back.

use rocket::http::SameSite;
use session_rocket::{Config, Refresh};
use session_rocket_tests::browser::{Answer, Browser};

use super::site::{DAY, STRANGER, Site, sealed, value};

/// A `Set-Cookie` line as a browser reads it.
#[derive(Debug)]
struct Line {
    name: String,
    value: String,
    attributes: Vec<(String, String)>,
    length: usize,
}

impl Line {
    fn of(answer: &Answer) -> Self {
        Self::read(answer.set_cookie().expect("a cookie is set"))
    }

    fn read(line: &str) -> Self {
        let mut parts = line.split("; ").map(|part| part.split_once('=').unwrap_or((part, "")));
        let (name, value) = parts.next().unwrap();
        let attributes = parts.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { name: name.into(), value: value.into(), attributes, length: line.len() }
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        let mut of_name = self.attributes.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let first = of_name.next();
        assert_eq!(of_name.next(), None, "{name} twice");
        first
    }

    fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// Whether a browser takes it from a page at `https`, or else `http` (RFC 6265bis, section 5.7).
    fn is_taken(&self, https: bool) -> bool {
        let name = self.name.to_ascii_lowercase();
        let secure = self.has("secure");
        let host = name.starts_with("__host-");
        let prefix = !(host || name.starts_with("__secure-")) || secure;
        let bound = !host || (self.attribute("path") == Some("/") && !self.has("domain"));
        let site = !self.attribute("samesite").is_some_and(|site| site.eq_ignore_ascii_case("none")) || secure;
        prefix && bound && site && (https || !secure) && self.name.len() + self.value.len() <= 4096
    }
}

/// Digits that do not compress well.
fn noise(letters: usize) -> String {
    let digits = (0_u64..).flat_map(|n| format!("{:x}", n * n * n * 7919).into_bytes());
    digits.map(char::from).take(letters).collect()
}

/// The lines that make a browser hold a session and forget it.
async fn lines(site: &Site) -> [Line; 2] {
    let mut browser = Browser::default();
    let hold = Line::of(&site.get(&mut browser, "/count").await);
    let logout = browser.send(&site.client, "/logout").await;
    // The lines that follow remove the cookie in other forms.
    [hold, Line::read(logout.all("set-cookie").first().expect("the cookie is removed"))]
}

#[rocket::async_test]
async fn a_3_3_1_the_cookie_is_secure_and_so_is_its_removal() {
    for config in [Config::new(), sealed("cookie+encrypted:")] {
        let site = Site::configured(config.store("memory:").secure(true)).await;
        for line in lines(&site).await {
            assert_eq!(line.name, "__Host-sessionid");
            assert!(line.has("secure") && line.is_taken(true) && !line.is_taken(false), "{line:?}");
        }
    }
}

#[rocket::async_test]
async fn a_3_3_2_same_site_is_lax_strict_or_none_with_secure() {
    for (same_site, expected) in [(None, "Lax"), (Some(SameSite::Strict), "Strict"), (Some(SameSite::None), "None")] {
        let config = Config::new().store("memory:").secure(true);
        let config = same_site.map_or(config.clone(), |same_site| config.same_site(same_site));
        for line in lines(&Site::configured(config).await).await {
            assert_eq!(line.attribute("samesite"), Some(expected));
            assert!(line.is_taken(true));
        }
    }
    let loose = Config::new().same_site(SameSite::None).secure(false);
    let clock = std::sync::Arc::default();
    let error = super::site::site(loose, clock, None::<session_rocket_tests::spy::Spy>).ignite().await.unwrap_err();
    assert!(matches!(error.kind(), rocket::error::ErrorKind::FailedFairings(_)));
}

#[rocket::async_test]
async fn a_3_3_3_the_default_name_is_bound_to_the_host() {
    for line in lines(&Site::configured(Config::new().store("memory:").secure(true)).await).await {
        assert!(line.name.starts_with("__Host-") && line.attribute("path") == Some("/") && !line.has("domain"));
    }
    // A name that cannot keep what its prefix says is no default.
    for config in [Config::new().cookie_path("/shop"), Config::new().cookie_domain("example.com")] {
        for line in lines(&Site::configured(config.store("memory:").secure(true)).await).await {
            assert_eq!(line.name, "sessionid");
        }
    }
}

#[rocket::async_test]
async fn a_3_3_4_the_id_is_in_set_cookie_and_nowhere_else() {
    let site = Site::new(Config::new()).await;
    let mut browser = Browser::default();
    for path in ["/count", "/login/7", "/debug", "/show", "/nowhere"] {
        let answer = site.get(&mut browser, path).await;
        let id = value(&browser);
        assert!(!answer.body.contains(&id), "{path}: {}", answer.body);
        let elsewhere = answer.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("set-cookie"));
        assert!(elsewhere.into_iter().all(|(_, value)| !value.contains(&id)), "{path}");
        if answer.set_cookie().is_some() {
            assert!(Line::of(&answer).has("httponly"));
        }
    }
}

#[rocket::async_test]
async fn a_3_3_5_name_and_value_have_4096_bytes_at_most() {
    let site = Site::new(Config::new()).await;
    for line in lines(&site).await {
        assert!(line.length < 256, "an id does not grow with the session: {line:?}");
    }
    for kind in ["cookie+signed:", "cookie+encrypted:"] {
        let site = Site::configured(sealed(kind)).await;
        for letters in (2500..3500).step_by(7) {
            let name = noise(letters);
            let answer = site.get(&mut Browser::default(), &format!("/name/{name}")).await;
            match answer.set_cookie() {
                Some(line) => assert!(line.len() <= 4096, "{}", line.len()),
                None => assert_eq!(answer.status.code, 422),
            }
        }
    }
}

#[rocket::async_test]
async fn a_c1_attributes_count_as_well() {
    // The long path takes from the room that a sealed session has.
    let room = async |path: String| {
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
    let (short, long) = (room("/".into()).await, room(format!("/{}", "a".repeat(1000))).await);
    assert!(long > 0 && long + 500 < short, "{long} {short}");
}

#[rocket::async_test]
async fn a_c2_no_cookie_lives_longer_than_400_days() {
    const MAX: u64 = 34_560_000;
    let site = Site::configured(Config::new().store("memory:").expiry(DAY * 400)).await;
    let [hold, _] = lines(&site).await;
    assert_eq!(hold.attribute("max-age"), Some(MAX.to_string().as_str()));
}

#[rocket::async_test]
async fn a_c3_prefixes_are_known_in_any_case_of_letters() {
    for name in ["__Host-id", "__hOsT-id", "__Secure-id", "__SECURE-id", "__Http-id", "__Host-Http-id"] {
        let site = Site::configured(Config::new().store("memory:").cookie_name(name).secure(true));
        // Both types of session use the configuration's other keys.
        let [hold, forget] = lines(&site.await).await;
        assert!(hold.name == name && hold.is_taken(true) && forget.is_taken(true));
        let refused = [
            Config::new().cookie_name(name).secure(false),
            Config::new().cookie_name(name).secure(true).http_only(!name.to_lowercase().contains("http-")),
            Config::new().cookie_name(name).secure(true).cookie_domain("example.com"),
        ];
        let expected = [true, name.to_lowercase().contains("http-"), name.to_lowercase().starts_with("__host-")];
        for (config, refused) in refused.into_iter().zip(expected) {
            let clock = std::sync::Arc::default();
            let site = super::site::site(config.store("memory:"), clock, None::<session_rocket_tests::spy::Spy>);
            match site.ignite().await {
                Ok(_) => assert!(!refused, "{name}"),
                Err(error) => {
                    // Rocket's error panics when it is dropped unseen.
                    let _seen = error.kind();
                    assert!(refused, "{name}");
                }
            }
        }
    }
}

#[rocket::async_test]
async fn a_c4_one_response_sets_the_cookie_once() {
    for site in
        [Site::new(Config::new().refresh(Refresh::Always)).await, Site::configured(sealed("cookie+signed:")).await]
    {
        let mut browser = Browser::default();
        site.get(&mut browser, "/count").await;
        site.clock.advance(DAY);
        let answer = site.get(&mut browser, "/churn").await;
        assert_eq!(answer.all("set-cookie").len(), 1);
        assert_eq!(site.get(&mut browser, "/show").await.body, "2 0 ");
    }
}

#[rocket::async_test]
async fn a_c5_a_cookie_that_the_browser_dropped_is_a_stranger_not_an_error() {
    for site in [Site::new(Config::new()).await, Site::configured(sealed("cookie+encrypted:")).await] {
        let user = site.user(7).await.cookie.unwrap();
        for cut in [0, 1, 10, user.len() / 2, user.len() - 1] {
            let answer = site.send(&user[..cut], "/show").await;
            assert_eq!((answer.status.code, answer.body.as_str()), (200, STRANGER));
        }
    }
}

#[rocket::async_test]
async fn a_c6_a_read_sets_no_cookie_and_a_late_one_finds_what_the_login_left() {
    let site = Site::new(Config::new()).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/count").await;
    let late = browser.clone();
    site.get(&mut browser, "/login/7").await;
    // Requests that were sent before the login's answer came: none of them touches the browser's new cookie.
    for path in ["/show", "/count", "/name/eve", "/token", "/logout"] {
        assert_eq!(late.send(&site.client, path).await.set_cookie(), None, "{path}");
    }
    assert!(site.get(&mut browser, "/show").await.body.starts_with("7 1"));
}

#[rocket::async_test]
async fn a_c7_of_two_cookies_of_one_name_one_counts_at_most() {
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
    // Of two live sessions, the first counts, and they are never mixed.
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
async fn b_5_whatever_depends_on_the_cookie_says_so() {
    let site = Site::new(Config::new().refresh(Refresh::Share(0.1))).await;
    let mut browser = Browser::default();
    for (path, varies) in [("/plain", false), ("/show", true), ("/count", true), ("/logout", true), ("/nowhere", false)]
    {
        let answer = site.get(&mut browser, path).await;
        assert_eq!(answer.one("vary") == Some("Cookie"), varies, "{path}");
    }
    // A read that renews the cookie is no page to share.
    site.get(&mut browser, "/count").await;
    site.clock.advance(DAY * 7);
    let renewed = site.get(&mut browser, "/show").await;
    assert!(renewed.set_cookie().is_some());
    assert_eq!((renewed.one("vary"), renewed.one("cache-control")), (Some("Cookie"), Some("no-store")));
}

#[rocket::async_test]
async fn b_6_no_cache_stores_a_response_that_sets_the_cookie() {
    for site in [Site::new(Config::new()).await, Site::configured(sealed("cookie+signed:")).await] {
        let mut browser = Browser::default();
        for path in ["/count", "/login/7", "/name/ada", "/token", "/logout"] {
            let answer = site.get(&mut browser, path).await;
            if answer.set_cookie().is_some() {
                assert_eq!(answer.one("cache-control"), Some("no-store"), "{path}");
            }
        }
    }
}

#[rocket::async_test]
async fn b_31_an_ended_session_leaves_with_the_attributes_it_came_with() {
    for config in [
        Config::new().secure(true),
        Config::new().cookie_path("/").cookie_domain("example.com"),
        Config::new().cookie_name("school").same_site(SameSite::Strict),
    ] {
        let [hold, forget] = lines(&Site::configured(config.store("memory:")).await).await;
        assert_eq!((&hold.name, forget.value.as_str(), forget.attribute("max-age")), (&forget.name, "", Some("0")));
        assert!(forget.attribute("expires").is_some_and(|date| date.contains("1970")));
        for attribute in ["path", "domain", "secure", "httponly", "samesite"] {
            assert_eq!(hold.attribute(attribute), forget.attribute(attribute), "{attribute}");
        }
    }
}
