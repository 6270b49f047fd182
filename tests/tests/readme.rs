//! Compares the log lines in the README with those that the library writes.

use rocket::local::asynchronous::Client;
use rocket::response::stream::TextStream;
use rocket::{State, get, routes};
use session_rocket::{Config, Session};
use session_rocket_tests::gate::Gate;
use session_rocket_tests::logs;

const README: &str = include_str!("../../README.md");

#[derive(Session)]
struct Student {
    num_visits: u32,
}

#[get("/count")]
fn count(session: Session<Student>) {
    session.update_num_visits(|visits| *visits += 1);
}

#[get("/read-then-set")]
async fn read_then_set(session: Session<Student>, gate: &State<Gate>) {
    let visits = session.num_visits();
    gate.pass().await;
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
async fn the_log_lines_in_the_readme_are_real() {
    let figment = rocket::Config::figment().merge(("log_level", "off"));
    let sessions = Session::<Student>::fairing().config(Config::new().store("memory:"));
    let rocket = logs::rocket(figment)
        .manage(Gate::default())
        .attach(sessions)
        .mount("/", routes![count, read_then_set, stream]);
    let client = Client::tracked(rocket).await.expect("the site launches");
    let gate = client.rocket().state::<Gate>().expect("the site has a gate");
    client.get("/count").dispatch().await;
    rocket::tokio::join!(client.get("/read-then-set").dispatch(), async {
        gate.wait_for_arrival().await;
        client.get("/count").dispatch().await;
        gate.open(1);
    });
    client.get("/stream").dispatch().await.into_string().await;

    let [overwritten] = &logs::containing("was read and then set")[..] else { panic!("expected one log line") };
    let [unsaved] = &logs::containing("never saved")[..] else { panic!("expected one log line") };
    let text = |line: &str| line.split_once("session_rocket ").expect("the line has a target").1.to_owned();
    // Rocket prints levels in this form.
    let (warning, error) = (format!("Warning: {}", text(overwritten)), format!("Error: {}", text(unsaved)));
    assert!(README.contains(&warning), "{warning}");
    // The source location differs.
    let (start, end) =
        (error.split(" at ").next().unwrap_or_default(), error.split(" and ").last().unwrap_or_default());
    assert!(README.lines().any(|line| line.starts_with(start) && line.ends_with(end)), "{error}");
}
