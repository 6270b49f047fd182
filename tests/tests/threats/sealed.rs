//! Forging, replaying and inflating sealed cookies.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rocket::http::Status;
use session_rocket::Config;
use session_rocket_tests::browser::Browser;

use super::site::{DAY, KEY, STRANGER, Site, launch, sealed, value};

const KINDS: [&str; 2] = ["cookie+signed:", "cookie+encrypted:"];
const OTHER_KEY: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

/// The bytes of a user's cookie.
async fn bytes(site: &Site) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(value(&site.user(7).await)).unwrap()
}

async fn show(site: &Site, bytes: &[u8]) -> String {
    site.show(format!("sessionid={}", URL_SAFE_NO_PAD.encode(bytes))).await
}

#[rocket::async_test]
async fn a_9_a_token_is_of_its_key_its_kind_its_purpose_and_its_time() {
    for kind in KINDS {
        let site = Site::configured(sealed(kind).expiry(DAY)).await;
        let good = bytes(&site).await;
        assert_eq!(show(&site, &good).await, "7 0 ");
        // Truncated; another kind said; an unknown key named; nothing but the header.
        for length in [0, 1, 4, 5, 29, good.len() - 1] {
            assert_eq!(show(&site, &good[..length]).await, STRANGER);
        }
        for kind in [0, 3, 1 + (good[0] % 2)] {
            assert_eq!(show(&site, &[&[kind], &good[1..]].concat()).await, STRANGER);
        }
        assert_eq!(show(&site, &[&good[..1], &[0; 4], &good[5..]].concat()).await, STRANGER);
        // Sealed with another key; for another session type.
        let foreign = Site::configured(Config::new().store(kind).secret_keys([OTHER_KEY])).await;
        assert_eq!(show(&site, &bytes(&foreign).await).await, STRANGER);
        let mut admin = Browser::default();
        site.get(&mut admin, "/admin/root").await;
        assert_eq!(site.show(format!("sessionid={}", value(&admin))).await, STRANGER);
        // Out of date.
        site.clock.advance(DAY);
        assert_eq!(show(&site, &good).await, STRANGER);
    }
}

#[rocket::async_test]
async fn a_11_every_failure_looks_alike_and_keys_are_replaced_in_three_steps() {
    for kind in KINDS {
        let site = Site::configured(sealed(kind)).await;
        let good = bytes(&site).await;
        let last = good.len() - 1;
        let mut answers = Vec::new();
        for place in [0, 1, 5, 6, good.len() / 2, last] {
            let mut bad = good.clone();
            bad[place] ^= 1;
            let answer = site.send(format!("sessionid={}", URL_SAFE_NO_PAD.encode(bad)), "/show").await;
            answers.push((answer.status, answer.body, answer.headers));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1);
        assert_eq!((answers[0].0, answers[0].1.as_str()), (Status::Ok, STRANGER));
        // The old key; the new one before it; the new one alone.
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

/// Tags are compared by code that takes the same time whatever they are. That is read from the source: no time that a
/// shared machine measures tells one byte from the next.
#[test]
fn b_2_no_tag_is_compared_by_its_bytes() {
    let sealed = include_str!("../../../session-rocket/src/commit/sealed.rs");
    assert!(sealed.contains(".verify_slice(&bytes[end..])") && sealed.contains(".decrypt_inout_detached("));
    let csrf = include_str!("../../../session-rocket/src/data/csrf.rs");
    assert!(csrf.contains("secret.ct_eq(&self.0)"));
    for (name, source) in [("sealed", sealed), ("csrf", csrf)] {
        let compared = source
            .lines()
            .filter(|line| line.contains("tag ==") || line.contains("tag !=") || line.contains("== self.0"));
        assert_eq!(compared.count(), 0, "{name}");
    }
}

#[rocket::async_test]
async fn b_4_there_is_no_decoder_for_what_is_not_sealed() {
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
            let answer = site.send(format!("sessionid={forged}"), "/show").await;
            assert_eq!((answer.status, answer.body.as_str()), (Status::Ok, STRANGER), "{forged}");
        }
    }
}

#[rocket::async_test]
async fn b_12_an_old_copy_ends_when_its_session_would_have() {
    for kind in KINDS {
        let site = Site::configured(sealed(kind).expiry(DAY).max_lifetime(DAY * 2)).await;
        let mut browser = site.user(7).await;
        let copy = browser.cookie.clone().unwrap();
        for _ in 0..3 {
            site.clock.advance(DAY / 2);
            site.get(&mut browser, "/count").await;
        }
        assert_eq!(site.show(copy).await, STRANGER, "the visitor's own cookie lives on, the copy does not");
        assert!(site.get(&mut browser, "/show").await.body.starts_with("7 "));
    }
}

#[rocket::async_test]
async fn b_17_each_purpose_has_a_key_of_its_own() {
    // What one kind sealed, the other does not open, though both have the same secret; nor does another cookie's name.
    let [signed, encrypted] = [Site::configured(sealed(KINDS[0])).await, Site::configured(sealed(KINDS[1])).await];
    for (of, at) in [(&signed, &encrypted), (&encrypted, &signed)] {
        let mut cookie = bytes(of).await;
        assert_eq!(show(at, &cookie).await, STRANGER);
        cookie[0] = 3 - cookie[0];
        assert_eq!(show(at, &cookie).await, STRANGER);
    }
    let renamed = Site::configured(sealed(KINDS[0]).cookie_name("flash")).await.user(7).await;
    assert_eq!(signed.show(format!("sessionid={}", value(&renamed))).await, STRANGER);
}

#[rocket::async_test]
async fn b_18_equal_sessions_do_not_look_alike_and_changed_ones_do_not_open() {
    let site = Site::configured(sealed("cookie+encrypted:")).await;
    let (one, two) = (bytes(&site).await, bytes(&site).await);
    // After the kind and the key's id, two cookies of equal content share no more than chance gives.
    let shared = one[5..].iter().zip(&two[5..]).filter(|(a, b)| a == b).count();
    assert!(shared < 12, "{shared} of {} bytes", one.len() - 5);
    for place in (5..one.len() - 16).step_by(3) {
        // Blocks of one in the other.
        let mut spliced = one.clone();
        spliced[place..place + 16].copy_from_slice(&two[place..place + 16]);
        assert_eq!(show(&site, &spliced).await, STRANGER);
    }
}

#[rocket::async_test]
async fn b_27_what_is_not_authenticated_makes_no_room() {
    for kind in KINDS {
        let site = Site::configured(sealed(kind)).await;
        let good = value(&site.user(7).await);
        // Claims of four gigabytes, in the place where a compressed payload says its size.
        let mut claim = URL_SAFE_NO_PAD.decode(&good).unwrap();
        let at = if good.starts_with("AQ") { 29 } else { 53 };
        claim.splice(at.., [1, 0xff, 0xff, 0xff, 0xff].into_iter().chain([0; 64]));
        assert_eq!(show(&site, &claim).await, STRANGER);
        // Many cookies, and long ones: a bounded number is looked at.
        let many = vec![format!("sessionid={}", "A".repeat(4000)); 200].join("; ");
        let start = Instant::now();
        assert_eq!(site.show(many).await, STRANGER);
        assert_eq!(site.show(format!("sessionid={}", "A".repeat(500_000))).await, STRANGER);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
