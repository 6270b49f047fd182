use std::process::Command;

use rocket::fairing::AdHoc;
use rocket::http::{ContentType, Header, Status};
use rocket::local::blocking::Client;
use serde_json::{Value, json};
use session_rocket::{SystemClock, testing};
use session_rocket_tests::served::Served;

use crate::users::Users;

const PASSWORD: &str = "correct horse";

/// The site with the user Ada.
fn site() -> rocket::Rocket<rocket::Build> {
    let register = AdHoc::on_liftoff("register", |rocket| {
        Box::pin(async move {
            rocket.state::<Users>().unwrap().register("ada", PASSWORD.to_owned()).await.unwrap();
        })
    });
    let figment = rocket::Config::figment().merge(("log_level", "off"));
    testing::isolated(crate::site(SystemClock).configure(figment)).attach(register)
}

#[test]
fn the_script_logs_an_app_in_and_out() {
    if Command::new("curl").arg("--version").output().is_err() {
        return;
    }
    let site = Served::start(site());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/account/api.sh");
    let output = Command::new("sh").args([script, &site.url(""), "ada", PASSWORD]).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    let [me, devices, after] = lines[..] else { panic!("{printed} {:?}", String::from_utf8(output.stderr)) };
    assert_eq!(serde_json::from_str::<Value>(me).unwrap(), json!({ "id": 1, "name": "ada", "device": "curl" }));
    let devices: Value = serde_json::from_str(devices).unwrap();
    assert_eq!(
        (&devices[0]["name"], &devices[0]["current"], &devices[1]),
        (&json!("curl"), &json!(true), &Value::Null)
    );
    assert_eq!(after, "after the logout: 401");
}

#[test]
fn the_api_accepts_json_only_and_gives_no_browser_its_id() {
    let client = Client::untracked(site()).unwrap();
    let credentials = json!({ "username": "ada", "password": PASSWORD }).to_string();
    let post = |kind: ContentType, body: &str, token: Option<&str>| {
        let request = client.post("/api/login").header(kind).body(body);
        let token = token.map(|token| Header::new("Authorization", token.to_owned()));
        let response = match token {
            Some(token) => request.header(token).dispatch(),
            None => request.dispatch(),
        };
        let has = |name: &str| response.headers().contains(name);
        (response.status(), has("X-Session-Id"), has("Set-Cookie"))
    };
    let app = Some("Bearer none");
    assert_eq!(post(ContentType::JSON, &credentials, app), (Status::Ok, true, false));
    assert_eq!(post(ContentType::JSON, &credentials, None), (Status::Ok, false, true));
    assert_eq!(post(ContentType::Plain, &credentials, None).0, Status::NotFound);
    assert_eq!(post(ContentType::Form, "username=ada", None).0, Status::NotFound);
    assert_eq!(post(ContentType::JSON, "{}", app), (Status::UnprocessableEntity, false, false));
    let wrong = json!({ "username": "ada", "password": "wrong" }).to_string();
    assert_eq!(post(ContentType::JSON, &wrong, app), (Status::Unauthorized, false, false));
}
