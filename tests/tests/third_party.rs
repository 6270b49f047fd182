//! A third-party store: the redb example in `docs/writing-a-store.md`.

#[path = "third_party/redb_store.rs"]
mod redb_store;

use std::sync::Arc;

use session_rocket::ManualClock;
use session_rocket::store::key_value::KeyValue as _;
use session_rocket::store::{Store, conformance};

use redb_store::Redb;

#[rocket::async_test]
async fn the_example_store_fulfils_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    // All checks share one database, because redb opens a file only once.
    let database = Arc::new(redb::Database::create(directory.path().join("sessions.redb")).unwrap());
    let open = async |clock: Arc<ManualClock>| Arc::new(Redb(database.clone()).into_store(clock)) as Arc<dyn Store>;
    conformance::run(open).await;
}

#[rocket::async_test]
async fn a_site_can_keep_its_sessions_in_the_example_store() {
    use rocket::local::asynchronous::Client;
    use session_rocket::{Session, SystemClock};

    #[derive(Session)]
    struct Visitor {
        num_visits: u32,
    }

    #[rocket::get("/")]
    fn count(session: Session<Visitor>) -> String {
        session.update_num_visits(|visits| *visits += 1);
        session.num_visits().to_string()
    }

    let directory = tempfile::tempdir().unwrap();
    let database = Arc::new(redb::Database::create(directory.path().join("sessions.redb")).unwrap());
    let store = Redb(database).into_store(Arc::new(SystemClock));
    let rocket = rocket::custom(rocket::Config::figment().merge(("log_level", "off")))
        .attach(Session::<Visitor>::fairing().store(store))
        .mount("/", rocket::routes![count]);
    let client = Client::tracked(rocket).await.unwrap();
    for visits in ["1", "2", "3"] {
        assert_eq!(client.get("/").dispatch().await.into_string().await.as_deref(), Some(visits));
    }
}

#[test]
fn the_document_shows_the_code_of_the_example_store() {
    let document = include_str!("../../docs/writing-a-store.md");
    let store = include_str!("third_party/redb_store.rs");
    let shown = document.split("```rust\n").nth(1).and_then(|rest| rest.split("```\n").next()).unwrap();
    assert_eq!(shown, store, "the code in docs/writing-a-store.md differs");
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    assert!(store.lines().filter(is_code).count() <= 60);
}
