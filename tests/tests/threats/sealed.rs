//! Forged, replayed and oversized sealed cookies.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rocket::http::Status;
use session_rocket::Config;
use session_rocket_tests::browser::Browser;

use super::site::{DAY, KEY, STRANGER, Site, launch, sealed, value};

const KINDS: [&str; 2] = ["cookie+signed:", "cookie+encrypted:"];
const OTHER_KEY: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

/// Logs in and returns the bytes of the cookie.
async fn cookie_of_user(site: &Site) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(value(&site.user(7).await)).unwrap()
}

async fn show(site: &Site, bytes: &[u8]) -> String {
    site.show(format!("sessionid={}", URL_SAFE_NO_PAD.encode(bytes))).await
}

#[rocket::async_test]
async fn a_9_a_cookie_with_another_key_kind_type_or_time_gives_an_empty_session() {
    for kind in KINDS {
        let site = Site::configured(sealed(kind).expiry(DAY)).await;
        let good = cookie_of_user(&site).await;
        assert_eq!(show(&site, &good).await, "7 0 ");
        // Truncated cookies.
        for length in [0, 1, 4, 5, 29, good.len() - 1] {
            assert_eq!(show(&site, &good[..length]).await, STRANGER);
        }
        // Another kind, and then an unknown key id.
        for kind in [0, 3, 1 + (good[0] % 2)] {
            assert_eq!(show(&site, &[&[kind], &good[1..]].concat()).await, STRANGER);
        }
        assert_eq!(show(&site, &[&good[..1], &[0; 4], &good[5..]].concat()).await, STRANGER);
        // Cookies that are sealed with another key, or for another session type.
        let foreign = Site::configured(Config::new().store(kind).secret_keys([OTHER_KEY])).await;
        assert_eq!(show(&site, &cookie_of_user(&foreign).await).await, STRANGER);
        let mut admin = Browser::default();
        site.get(&mut admin, "/admin/root").await;
        assert_eq!(site.show(format!("sessionid={}", value(&admin))).await, STRANGER);
        // An expired cookie.
        site.clock.advance(DAY);
        assert_eq!(show(&site, &good).await, STRANGER);
    }
}

#[rocket::async_test]
async fn a_11_every_invalid_cookie_gives_the_same_response_and_keys_are_replaced_in_three_steps() {
    for kind in KINDS {
        let site = Site::configured(sealed(kind)).await;
        let good = cookie_of_user(&site).await;
        let last = good.len() - 1;
        let mut responses = Vec::new();
        for index in [0, 1, 5, 6, good.len() / 2, last] {
            let mut bad = good.clone();
            bad[index] ^= 1;
            let response = site.send(format!("sessionid={}", URL_SAFE_NO_PAD.encode(bad)), "/show").await;
            responses.push((response.status, response.body, response.headers));
        }
        responses.dedup();
        assert_eq!(responses.len(), 1);
        assert_eq!((responses[0].0, responses[0].1.as_str()), (Status::Ok, STRANGER));
        // First the old key, then the new key before the old one, then only the new key.
        let site_of = async |keys: &[&str]| {
            let config = Config::new().store(kind).secret_keys(keys.iter().copied());
            launch(config, site.clock.clone(), None::<session_rocket_tests::spy::Spy>).await
        };
        let mut browser = site.user(7).await;
        for keys in [[OTHER_KEY, KEY].as_slice(), &[OTHER_KEY]] {
            assert_eq!(browser.get(&site_of(keys).await, "/show").await.body, "7 0 ");
        }
        assert_eq!(browser.get(&site.client, "/show").await.body, STRANGER);
    }
}

/// Tags must be compared in constant time. The test reads the source code, because time measurements on a shared
/// machine are too imprecise.
#[test]
fn b_2_tags_are_compared_in_constant_time() {
    let sealed = include_str!("../../../session-rocket/src/commit/sealed.rs");
    assert!(sealed.contains(".verify_slice(&bytes[end..])") && sealed.contains(".decrypt_inout_detached("));
    let csrf = include_str!("../../../session-rocket/src/data/csrf.rs");
    assert!(csrf.contains("secret.ct_eq(&self.0)"));
    for (name, source) in [("sealed", sealed), ("csrf", csrf)] {
        let comparisons = source
            .lines()
            .filter(|line| line.contains("tag ==") || line.contains("tag !=") || line.contains("== self.0"));
        assert_eq!(comparisons.count(), 0, "{name}");
    }
}

#[rocket::async_test]
async fn b_4_a_cookie_without_a_seal_gives_an_empty_session() {
    let json = r#"j{"user_id":7}"#;
    for kind in KINDS {
        let site = Site::configured(sealed(kind)).await;
        for forged in [
            json.to_owned(),
            json[1..].to_owned(),
            URL_SAFE_NO_PAD.encode(json),
            URL_SAFE_NO_PAD.encode(&json[1..]),
            format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(&json[1..])),
            URL_SAFE_NO_PAD.encode([&[1_u8, 0, 0, 0, 0], [0; 24].as_slice(), &[0], json.as_bytes(), &[0; 32]].concat()),
        ] {
            let response = site.send(format!("sessionid={forged}"), "/show").await;
            assert_eq!((response.status, response.body.as_str()), (Status::Ok, STRANGER), "{forged}");
        }
    }
}

#[rocket::async_test]
async fn b_12_an_old_copy_of_a_cookie_expires_at_its_own_time() {
    for kind in KINDS {
        let site = Site::configured(sealed(kind).expiry(DAY).max_lifetime(DAY * 2)).await;
        let mut browser = site.user(7).await;
        let copy = browser.cookie.clone().unwrap();
        for _ in 0..3 {
            site.clock.advance(DAY / 2);
            site.get(&mut browser, "/count").await;
        }
        assert_eq!(site.show(copy).await, STRANGER, "the copy is valid after its expiry");
        assert!(site.get(&mut browser, "/show").await.body.starts_with("7 "));
    }
}

#[rocket::async_test]
async fn b_17_each_kind_and_cookie_name_has_its_own_key() {
    // A cookie of one kind is invalid for the other kind, and under another cookie name, although the secret is the
    // same.
    let [signed, encrypted] = [Site::configured(sealed(KINDS[0])).await, Site::configured(sealed(KINDS[1])).await];
    for (sealed_by, opened_by) in [(&signed, &encrypted), (&encrypted, &signed)] {
        let mut cookie = cookie_of_user(sealed_by).await;
        assert_eq!(show(opened_by, &cookie).await, STRANGER);
        cookie[0] = 3 - cookie[0];
        assert_eq!(show(opened_by, &cookie).await, STRANGER);
    }
    let renamed = Site::configured(sealed(KINDS[0]).cookie_name("flash")).await.user(7).await;
    assert_eq!(signed.show(format!("sessionid={}", value(&renamed))).await, STRANGER);
}

#[rocket::async_test]
async fn b_18_cookies_of_equal_sessions_differ_and_spliced_cookies_are_invalid() {
    let site = Site::configured(sealed("cookie+encrypted:")).await;
    let (one, two) = (cookie_of_user(&site).await, cookie_of_user(&site).await);
    // After the kind and the key id, two cookies with equal content have only as many equal bytes as random data.
    let shared = one[5..].iter().zip(&two[5..]).filter(|(a, b)| a == b).count();
    assert!(shared < 12, "{shared} of {} bytes", one.len() - 5);
    for index in (5..one.len() - 16).step_by(3) {
        // A block of one cookie in the other.
        let mut spliced = one.clone();
        spliced[index..index + 16].copy_from_slice(&two[index..index + 16]);
        assert_eq!(show(&site, &spliced).await, STRANGER);
    }
}

#[rocket::async_test]
async fn b_27_an_unauthenticated_cookie_allocates_no_memory_for_its_claimed_size() {
    for kind in KINDS {
        let site = Site::configured(sealed(kind)).await;
        let good = value(&site.user(7).await);
        // A claimed size of four gigabytes, at the offset of the size of a compressed payload.
        let mut claim = URL_SAFE_NO_PAD.decode(&good).unwrap();
        let offset = if good.starts_with("AQ") { 29 } else { 53 };
        claim.splice(offset.., [1, 0xff, 0xff, 0xff, 0xff].into_iter().chain([0; 64]));
        assert_eq!(show(&site, &claim).await, STRANGER);
        // Only a limited number of cookies is checked, and a long cookie is rejected.
        let many = vec![format!("sessionid={}", "A".repeat(4000)); 200].join("; ");
        let start = Instant::now();
        assert_eq!(site.show(many).await, STRANGER);
        assert_eq!(site.show(format!("sessionid={}", "A".repeat(500_000))).await, STRANGER);
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
