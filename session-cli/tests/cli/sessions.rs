//! Lists and ends the sessions of a user.

use std::sync::Arc;

use rocket::http::Status;
use rocket::local::asynchronous::Client;
use session_rocket::testing::AsyncClientExt;
use session_rocket::{Config, LoggedIn, Session};

use super::*;

const USER: [&str; 4] = ["--identity", "7", "--scope", "shop::Account"];

/// Runs a command for the user 7 in the scope `shop::Account`.
fn run_for_user(site: &TempDir, command: &str, arguments: &[&str]) -> Run {
    run(site.path(), "", &[&[command], &USER[..], arguments].concat())
}

/// Opens the store of a site, with three sessions of the user 7. Returns them with their keys, the latest login first.
async fn site_with_sessions() -> (TempDir, Arc<dyn Store>, [(Key, Record); 3]) {
    let site = site();
    let url = format!("sqlite://{}", site.path().join("site.db").display());
    let store = open(&Options::new(url).table("school")).await.expect("a store");
    let record = |hours: u32| {
        let (began, expires_at) = (before(hours * HOUR), SystemClock.now().plus(24 * HOUR));
        let record = Record::new(Version::from_bits(1), expires_at).with_times(began, before(HOUR / 2));
        record.with_scope("shop::Account").with_identity("7").with_payload("0123456789")
    };
    let sessions = [3, 2, 1].map(|number| (key(number), record(4 - number)));
    for (key, record) in &sessions {
        assert_eq!(store.create(key, record).await.expect("a create"), Create::Created);
    }
    let (key_of_other, other) = (key(4), record(1).with_identity("8"));
    assert_eq!(store.create(&key_of_other, &other).await.expect("a create"), Create::Created);
    (site, store, sessions)
}

/// The handles that `list` prints.
fn handles(site: &TempDir) -> Vec<String> {
    let listed = run_for_user(site, "list", &["--json"]).json();
    let sessions = listed["sessions"].as_array().expect("a list");
    sessions.iter().map(|session| session["handle"].as_str().expect("a handle").to_owned()).collect()
}

#[tokio::test]
async fn list_shows_the_sessions_of_a_user_and_nothing_secret() {
    let (site, _, sessions) = site_with_sessions().await;
    let (key, record) = &sessions[0];
    let listed = run_for_user(&site, "list", &["--json"]);
    let first = json!({
        "handle": key.handle(),
        "authenticated_at": record.created_at,
        "last_saved": record.updated_at,
        "expires_at": record.expires_at,
        "bytes": 10,
    });
    assert_eq!((&listed.json()["sessions"][0], &listed.json()["scope"]), (&first, &json!("shop::Account")));
    assert_eq!(handles(&site), sessions.each_ref().map(|(key, _)| key.handle().to_string()));
    let shown = run_for_user(&site, "list", &[]);
    shown.expect(0, &format!("handle         {}\nauthenticated  {} (1h", key.handle(), record.created_at));
    shown.expect(0, "\nsize           10 B\n\nhandle         ");
    for output in [listed.out, shown.out] {
        assert!(!output.contains("0123456789") && !output.contains(&key.to_hex()), "{output}");
    }
    let other_scope = ["list", "--identity", "7", "--scope", "shop::Visitor"];
    run(site.path(), "", &other_scope).expect(0, "no live session in the scope `shop::Visitor`");
}

#[tokio::test]
async fn revoke_ends_the_selected_sessions_of_the_user() {
    let (site, store, sessions) = site_with_sessions().await;
    let [newest, kept, oldest] = sessions.each_ref().map(|(key, _)| key.handle().to_string());
    run_for_user(&site, "revoke", &["--handle", &newest]).expect(0, "ended 1 session\n");
    assert_eq!(handles(&site), [kept.clone(), oldest]);
    let revoked = run_for_user(&site, "revoke", &["--others-than", &kept, "--json"]).json();
    assert_eq!(revoked, json!({ "store": "sqlite://site.db", "scope": "shop::Account", "revoked": 1 }));
    assert_eq!(handles(&site), [kept]);
    run_for_user(&site, "revoke", &["--all"]).expect(0, "ended 1 session\n");
    run_for_user(&site, "revoke", &["--all"]).expect(0, "no live session in the scope");
    for (key, _) in &sessions {
        assert!(matches!(store.load(key).await.expect("a load"), Lookup::Tombstone(_)));
    }
    assert!(matches!(store.load(&key(4)).await.expect("a load"), Lookup::Found(_)), "another user's session ended");
}

#[tokio::test]
async fn a_handle_that_no_session_of_the_user_has_ends_no_session() {
    let (site, _, _) = site_with_sessions().await;
    let of_other_user = key(4).handle().to_string();
    for option in ["--handle", "--others-than"] {
        run_for_user(&site, "revoke", &[option, &of_other_user]).expect(4, "so no session was ended");
        let result = run_for_user(&site, "revoke", &[option, &of_other_user, "--json"]);
        assert_eq!((result.code, &result.json()["error"]["kind"]), (Some(4), &json!("not_found")));
    }
    assert_eq!(handles(&site).len(), 3);
}

#[test]
fn a_handle_can_begin_with_a_hyphen() {
    let site = site();
    run(site.path(), "", &["migrate"]).expect(0, "");
    let handles = (0..).map(|number| key(number).handle().to_string());
    let handle = handles.into_iter().find(|handle| handle.starts_with('-')).expect("a handle");
    run_for_user(&site, "revoke", &["--handle", &handle]).expect(4, &handle);
}

#[test]
fn an_incomplete_command_line_says_what_is_missing() {
    let site = site();
    run(site.path(), "", &["list"]).expect(2, "--identity <ID>");
    for command in [&["list"][..], &["revoke", "--all"]] {
        run(site.path(), "", &[command, &["--identity", "7"]].concat()).expect(2, "such as `--scope shop::Account`");
    }
    run_for_user(&site, "revoke", &[]).expect(2, "<--handle <HANDLE>|--others-than <HANDLE>|--all>");
    run_for_user(&site, "revoke", &["--all", "--handle", "x"]).expect(2, "invalid session handle");
    let handle = key(1).handle().to_string();
    run_for_user(&site, "revoke", &["--all", "--handle", &handle]).expect(2, "cannot be used with");
}

#[test]
fn sealed_cookies_and_a_store_in_memory_support_neither_list_nor_revoke() {
    let site = site();
    for (url, message) in
        [("cookie+encrypted:", "replace the secret keys"), ("memory:", "memory of the site's process")]
    {
        let session = "{secret_keys=[\"NDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU=\"]}";
        for command in [&["list"][..], &["revoke", "--all"]] {
            let arguments = [command, &["--identity", "7", "--store", url]].concat();
            run(site.path(), if url == "memory:" { "" } else { session }, &arguments).expect(3, message);
        }
    }
}

#[derive(Session)]
#[session(scope = "shop::Account")]
struct Account {
    #[session(identity)]
    user_id: Option<u32>,
}

#[rocket::get("/")]
fn home(user: LoggedIn<Account>) -> String {
    user.identity().to_string()
}

/// The site has a cache, so it would serve an ended session that the program did not remove from the cache.
#[tokio::test]
async fn a_site_refuses_a_session_that_the_program_has_ended() {
    let site = site();
    let url = |name: &str| format!("sqlite://{}", site.path().join(name).display());
    let config = Config::new().store(url("site.db")).table("school").cache(url("cache.db"));
    let rocket = rocket::build().attach(Session::<Account>::fairing().config(config)).mount("/", rocket::routes![home]);
    let client = Client::tracked(rocket).await.expect("a site");
    client.set_session::<Account>(|session| session.set_user_id(7)).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").dispatch().await.status(), Status::Ok);
    }
    let toml = std::fs::read_to_string(site.path().join("Rocket.toml")).expect("a file");
    std::fs::write(site.path().join("Rocket.toml"), toml + "cache = \"sqlite://cache.db\"\n").expect("a file");
    let [handle] = &handles(&site)[..] else { panic!("the user has one session") };
    run_for_user(&site, "revoke", &["--handle", handle]).expect(0, "ended 1 session");
    assert_eq!(client.get("/").dispatch().await.status(), Status::Unauthorized);
}
