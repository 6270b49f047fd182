//! Sessions that are written in one format and read in the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use rocket::local::asynchronous::Client;
use rocket::{get, routes};
use serde::{Deserialize, Serialize};
use session_rocket::{Config, Format, ManualClock, Session};
use session_rocket_tests::browser::Browser;
use session_rocket_tests::spy::Spy;

/// The two formats encode these variants differently.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Theme {
    Plain,
    Tinted(u8, u8, u8),
    Named { name: String },
}

#[derive(Session)]
struct Visitor {
    name: Option<String>,
    count: u32,
    huge: Option<u128>,
    ratio: f64,
    theme: Option<Theme>,
    by_number: BTreeMap<u32, String>,
    bytes: Vec<u8>,
    address: Option<std::net::IpAddr>,
    #[session(identity)]
    user_id: Option<u64>,
}

/// An older release of the session type: `count` is a string, and some fields do not exist yet.
#[derive(Session)]
#[session(scope = "session-rocket-tests::Visitor")]
struct Older {
    name: Option<String>,
    #[session(rename = "count")]
    number: Option<String>,
    #[session(extra)]
    rest: serde_json::Map<String, serde_json::Value>,
}

#[get("/fill")]
fn fill(session: Session<Visitor>) {
    session.set_name("rajat \u{1f680} \"\n");
    session.set_count(7);
    session.set_huge(u128::MAX);
    session.set_ratio(0.1 + 0.2);
    session.set_theme(Theme::Named { name: "dark".into() });
    session.set_by_number(BTreeMap::from([(1, "one".into()), (20, "twenty".into())]));
    session.set_bytes(vec![0, 127, 255]);
    session.set_address(std::net::IpAddr::from([127, 0, 0, 1]));
    session.set_user_id(u64::MAX);
}

#[get("/show")]
fn show(session: Session<Visitor>) -> String {
    let Visitor { name, count, huge, ratio, theme, by_number, bytes, address, user_id } = session.get();
    format!("{name:?} {count} {huge:?} {ratio} {theme:?} {by_number:?} {bytes:?} {address:?} {user_id:?}")
}

#[get("/count")]
fn count(session: Session<Visitor>) -> String {
    session.update_count(|count| *count += 1);
    session.count().to_string()
}

#[get("/theme/<red>")]
fn theme(session: Session<Visitor>, red: u8) {
    session.set_theme(if red == 0 { Theme::Plain } else { Theme::Tinted(red, 0, 0) });
}

#[get("/items")]
fn items(session: Session<Visitor>) -> String {
    serde_json::Value::Object(session.items()).to_string()
}

#[get("/rename/<name>")]
fn rename(session: Session<Older>, name: &str) -> String {
    session.set_name(name);
    format!("{:?} {}", session.number(), session.rest().len())
}

#[get("/more/<key>")]
fn more(session: Session<Older>, key: &str) -> String {
    let key = key.to_owned();
    session.update_rest(move |rest| {
        rest.insert(key, serde_json::json!({ "deep": [1, null, "x"] }));
    });
    serde_json::Value::Object(session.rest()).to_string()
}

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Launches one site per format, with the same store.
async fn sites(store: &str) -> [Client; 2] {
    let clock = Arc::new(ManualClock::default());
    let spy = Spy::new(clock.clone());
    let launch = async |format| {
        let config = Config::new().store(store).secret_keys([KEY]).format(format);
        let mut fairing = Session::<Visitor>::fairing().config(config).clock(clock.clone());
        if store == "memory:" {
            fairing = fairing.store(spy.clone());
        }
        let figment = rocket::Config::figment().merge(("log_level", "off"));
        let rocket = rocket::custom(figment).attach(fairing).mount("/", routes![fill, show, count, theme, items]);
        Client::untracked(rocket).await.unwrap()
    };
    [launch(Format::Json).await, launch(Format::MessagePack).await]
}

const FILLED: &str = "Some(\"rajat 🚀 \\\"\\n\") 7 Some(340282366920938463463374607431768211455) 0.30000000000000004 \
     Some(Named { name: \"dark\" }) {1: \"one\", 20: \"twenty\"} [0, 127, 255] Some(127.0.0.1) \
     Some(18446744073709551615)";

#[rocket::async_test]
async fn sessions_survive_a_switch_of_the_format_and_back() {
    for store in ["memory:", "cookie+signed:", "cookie+encrypted:"] {
        let sites = sites(store).await;
        for (first, second) in [(0, 1), (1, 0), (0, 0), (1, 1)] {
            let mut browser = Browser::default();
            browser.get(&sites[first], "/fill").await;
            assert_eq!(browser.get(&sites[second], "/show").await.body, FILLED, "{store}");
            // Each site changes one field and leaves the other fields as they are.
            for (site, count) in [(second, "8"), (first, "9"), (second, "10"), (first, "11")] {
                assert_eq!(browser.get(&sites[site], "/count").await.body, count);
            }
            let expected = FILLED.replace(" 7 ", " 11 ");
            for site in [first, second] {
                assert_eq!(browser.get(&sites[site], "/show").await.body, expected, "{store}");
            }
            for (red, shown) in [(0, "Some(Plain)"), (9, "Some(Tinted(9, 0, 0))")] {
                browser.get(&sites[second], &format!("/theme/{red}")).await;
                assert!(browser.get(&sites[first], "/show").await.body.contains(shown));
            }
        }
    }
}

#[rocket::async_test]
async fn items_are_the_same_in_both_formats() {
    let sites = sites("memory:").await;
    let mut shown = Vec::new();
    for (first, second) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut browser = Browser::default();
        browser.get(&sites[first], "/fill").await;
        browser.get(&sites[second], "/count").await;
        shown.push(browser.get(&sites[second], "/items").await.body);
    }
    assert!(shown[0].contains("\"theme\":{\"Named\":{\"name\":\"dark\"}}"), "{}", shown[0]);
    shown.dedup();
    assert_eq!(shown.len(), 1, "{shown:#?}");
}

#[rocket::async_test]
async fn releases_with_different_fields_and_formats_serve_side_by_side() {
    let clock = Arc::new(ManualClock::default());
    let spy = Spy::new(clock.clone());
    for (new, old) in [
        (Format::Json, Format::MessagePack),
        (Format::MessagePack, Format::Json),
        (Format::MessagePack, Format::MessagePack),
    ] {
        let figment = rocket::Config::figment().merge(("log_level", "off"));
        let newer = Session::<Visitor>::fairing().config(Config::new().format(new)).store(spy.clone());
        let older = Session::<Older>::fairing().config(Config::new().format(old)).store(spy.clone());
        let newer = rocket::custom(&figment).attach(newer.clock(clock.clone())).mount("/", routes![fill, show, count]);
        let older = rocket::custom(&figment).attach(older.clock(clock.clone())).mount("/", routes![rename, more]);
        let (newer, older) = (Client::untracked(newer).await.unwrap(), Client::untracked(older).await.unwrap());
        let mut browser = Browser::default();
        browser.get(&newer, "/fill").await;
        // The older release cannot read `count` and does not know seven fields, but keeps them all.
        assert_eq!(browser.get(&older, "/rename/ada").await.body, "None 7");
        let extra = browser.get(&older, "/more/colour").await.body;
        assert!(extra.contains("\"colour\":{\"deep\":[1,null,\"x\"]}") && extra.contains("\"ratio\""), "{extra}");
        let shown = browser.get(&newer, "/show").await.body;
        let expected = FILLED.replace("rajat 🚀 \\\"\\n", "ada");
        // Unchanged fields keep their bytes, even a number that JSON values cannot represent.
        assert_eq!(shown, expected, "{new:?} {old:?}");
        assert_eq!(browser.get(&newer, "/count").await.body, "8");
        assert!(browser.get(&older, "/more/size").await.body.contains("\"colour\":{\"deep\":[1,null,\"x\"]}"));
    }
}
