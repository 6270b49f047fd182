//! The log lines that the README shows, as the library logs them.

use rocket::local::asynchronous::Client;
use rocket::response::stream::TextStream;
use rocket::tokio::sync::Semaphore;
use rocket::{State, get, routes};
use session_rocket::{Config, Session};
use session_rocket_tests::logs;

const README: &str = include_str!("../../README.md");

#[derive(Session)]
struct Student {
    num_visits: u32,
}

/// Holds the requests that have read the session.
struct Gate {
    read: Semaphore,
    open: Semaphore,
}

#[get("/count")]
fn count(session: Session<Student>) {
    session.update_num_visits(|visits| *visits += 1);
}

#[get("/read-then-set")]
async fn read_then_set(session: Session<Student>, gate: &State<Gate>) {
    let visits = session.num_visits();
    gate.read.add_permits(1);
    gate.open.acquire().await.expect("the semaphore stays open").forget();
    session.set_num_visits(visits + 1);
}

#[get("/stream")]
fn stream(session: Session<Student>) -> TextStream![&'static str] {
    TextStream! {
        session.set_num_visits(7);
        yield "changed";
    }
}

#[rocket::async_test]
async fn the_readme_shows_log_lines_as_they_are() {
    logs::keep();
    let gate = Gate { read: Semaphore::new(0), open: Semaphore::new(0) };
    let figment = rocket::Config::figment().merge(("log_level", "off"));
    let sessions = Session::<Student>::fairing().config(Config::new().store("memory:"));
    let rocket =
        rocket::custom(figment).manage(gate).attach(sessions).mount("/", routes![count, read_then_set, stream]);
    let client = Client::tracked(rocket).await.expect("the site launches");
    let gate = client.rocket().state::<Gate>().expect("the site has a gate");
    client.get("/count").dispatch().await;
    rocket::tokio::join!(client.get("/read-then-set").dispatch(), async {
        gate.read.acquire().await.expect("the semaphore stays open").forget();
        client.get("/count").dispatch().await;
        gate.open.add_permits(1);
    });
    client.get("/stream").dispatch().await.into_string().await;

    let [overwritten] = &logs::with("was read, then set")[..] else { panic!("one line") };
    let [forgotten] = &logs::with("never saved")[..] else { panic!("one line") };
    let text = |line: &str| line.split_once("session_rocket ").expect("a target").1.to_owned();
    // Rocket prints the level like this.
    let (warning, error) = (format!("Warning: {}", text(overwritten)), format!("Error: {}", text(forgotten)));
    assert!(README.contains(&warning), "{warning}");
    // The place in the program differs.
    let (start, end) =
        (error.split(" at ").next().unwrap_or_default(), error.split(" and ").last().unwrap_or_default());
    assert!(README.lines().any(|line| line.starts_with(start) && line.ends_with(end)), "{error}");
}
