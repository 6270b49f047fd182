use std::process::Command;

use rocket::fairing::AdHoc;
use rocket::http::{ContentType, Cookie, Header, Status};
use rocket::local::blocking::{Client, LocalRequest};
use serde_json::{Value, json};
use session_rocket::{SystemClock, testing};
use session_rocket_tests::served::Served;

use crate::users::Users;

const PASSWORD: &str = "correct horse";

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
    let site = Served::start(site());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/account/api.sh");
    let output = Command::new("sh").args([script, &site.url(""), "ada", PASSWORD]).output().expect("`sh` can be run");
    let printed = String::from_utf8(output.stdout).expect("the output is text");
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

/// What a browser or an app sends with each request.
#[derive(Clone)]
enum Credential {
    Cookie(Cookie<'static>),
    BearerToken(String),
}

impl Credential {
    /// Logs a browser in.
    fn of_a_browser(client: &Client) -> Self {
        let response = login(client).dispatch();
        Self::Cookie(response.cookies().get("sessionid").unwrap().clone())
    }

    /// Logs an app in.
    fn of_an_app(client: &Client) -> Self {
        let response = login(client).header(Header::new("Authorization", "Bearer none")).dispatch();
        Self::BearerToken(response.headers().get_one("X-Session-Id").unwrap().to_owned())
    }

    fn add_to<'c>(&self, request: LocalRequest<'c>) -> LocalRequest<'c> {
        match self.clone() {
            Self::Cookie(cookie) => request.cookie(cookie),
            Self::BearerToken(token) => request.header(Header::new("Authorization", format!("Bearer {token}"))),
        }
    }

    fn devices(&self, client: &Client) -> Vec<Value> {
        let response = self.add_to(client.get("/api/devices")).dispatch();
        serde_json::from_str(&response.into_string().unwrap()).unwrap()
    }

    /// Returns the API path of the other of two devices.
    fn other_device(&self, client: &Client) -> String {
        let devices = self.devices(client);
        assert_eq!(devices.len(), 2);
        let other = devices.iter().find(|device| device["current"] == false).unwrap();
        format!("/api/devices/{}", other["handle"].as_str().unwrap())
    }
}

fn login(client: &Client) -> LocalRequest<'_> {
    let credentials = json!({ "username": "ada", "password": PASSWORD }).to_string();
    client.post("/api/login").header(ContentType::JSON).body(credentials)
}

#[test]
fn a_script_logs_a_device_out_with_the_csrf_token_of_its_page() {
    let client = Client::untracked(site()).unwrap();
    let (app, browser) = (Credential::of_an_app(&client), Credential::of_a_browser(&client));
    let page = browser.add_to(client.get("/app")).dispatch().into_string().unwrap();
    let (_, rest) = page.split_once("name=\"csrf-token\" content=\"").unwrap();
    let token = rest.split('"').next().unwrap();
    let device = browser.other_device(&client);
    let delete = |token: Option<&str>| {
        let header = token.map(|token| Header::new("X-CSRF-Token", token.to_owned()));
        let request = browser.add_to(client.delete(device.clone()));
        let response = match header {
            Some(header) => request.header(header).dispatch(),
            None => request.dispatch(),
        };
        response.status()
    };
    for invalid in [None, Some(""), Some("wrong")] {
        assert_eq!(delete(invalid), Status::Forbidden, "{invalid:?}");
    }
    assert_eq!(app.devices(&client).len(), 2);
    assert_eq!((delete(Some(token)), delete(Some(token))), (Status::NoContent, Status::NotFound));
    assert_eq!(app.add_to(client.get("/api/me")).dispatch().status(), Status::Unauthorized);
    assert_eq!(client.delete(device).dispatch().status(), Status::Unauthorized);
}

#[test]
fn an_app_logs_a_device_out_without_a_csrf_token() {
    let client = Client::untracked(site()).unwrap();
    let (app, browser) = (Credential::of_an_app(&client), Credential::of_a_browser(&client));
    let delete = app.add_to(client.delete(app.other_device(&client)));
    assert_eq!(delete.dispatch().status(), Status::NoContent);
    assert_eq!(browser.add_to(client.get("/api/me")).dispatch().status(), Status::Unauthorized);
}
