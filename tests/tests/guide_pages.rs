//! Compares the compiler errors, log lines and generated code in the guide with the real ones, and reads its settings.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rocket::error::ErrorKind;
use rocket::figment::providers::{Format, Toml};
use rocket::http::SameSite;
use rocket::local::blocking::Client;
use rocket::{get, routes};
use session_rocket::{Config, CrossOriginProtection, Refresh, Session};
use session_rocket_tests::logs;

const TROUBLESHOOTING: &str = include_str!("../../session-rocket/src/guide/troubleshooting.md");
const GENERATED_CODE: &str = include_str!("../../session-rocket/src/guide/generated_code.md");
const EXPANSION: &str =
    include_str!("../../session-derive/src/expand/snapshots/session_derive__expand__tests__a_plain_struct.snap");

const PAGES: &str = "../session-rocket/src/guide";

/// Returns the `text` blocks of a page.
fn text_blocks(page: &str) -> impl Iterator<Item = &str> {
    blocks(page, "```text\n")
}

/// Returns the code blocks of a page that begin with this line.
fn blocks<'p>(page: &'p str, fence: &'p str) -> impl Iterator<Item = &'p str> {
    page.split(fence).skip(1).filter_map(|rest| rest.split("```").next())
}

/// Reads the table `session` of a `Rocket.toml` as a launch in the profile `release` does.
fn config(toml: &str) -> session_rocket::Result<Config> {
    let figment = rocket::Config::figment().merge(Toml::string(toml).nested()).select("release");
    Config::from_figment(&figment, "session")
}

#[test]
fn each_rocket_toml_in_the_guide_is_valid() {
    let mut read = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGES)).expect("the folder can be read") {
        let path = entry.expect("the entry can be read").path();
        let page = fs::read_to_string(&path).expect("the page is text");
        for toml in blocks(&page, "```toml\n").filter(|toml| toml.contains(".session]")) {
            if let Err(error) = config(toml) {
                panic!("{}: {error:#}", path.display());
            }
            read += 1;
        }
    }
    assert!(read >= 5, "the guide shows {read} files");
}

#[test]
fn the_settings_for_assurance_levels_keep_within_their_limits() {
    let page = include_str!("../../session-rocket/src/guide/production.md");
    let settings: Vec<Config> = blocks(page, "```toml\n").map(|toml| config(toml).expect("it is valid")).collect();
    let [aal1, aal2, high_value] = &settings[..] else { panic!("expected three levels") };
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    assert!(aal1.max_lifetime.is_some_and(|limit| limit <= minutes(30 * 24 * 60)));
    assert!(aal2.max_lifetime.is_some_and(|limit| limit <= minutes(24 * 60)));
    assert!(aal2.expiry <= minutes(60));
    assert!(high_value.max_lifetime.is_some_and(|limit| (minutes(4 * 60)..=minutes(8 * 60)).contains(&limit)));
    assert!((minutes(2)..=minutes(5)).contains(&high_value.expiry));
    for config in settings {
        assert!(config.refresh != Refresh::OnSave, "activity restarts the inactivity timeout");
        assert!(config.max_sessions.is_some() && config.expire_at_browser_close);
        // The defaults.
        assert_eq!((config.secure, config.http_only), (Some(true), true));
        assert!(config.cookie_name.is_some_and(|name| name.starts_with("__Host-")));
        assert!(config.cookie_path == "/" && config.same_site != SameSite::None);
    }
}

/// Returns all lines of the compile errors that the derive's tests expect.
fn compile_errors() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui");
    let paths = fs::read_dir(folder)
        .expect("the folder of the compile-fail tests can be read")
        .map(|entry| entry.expect("the entry can be read").path());
    let errors = paths.filter(|path| path.extension().is_some_and(|extension| extension == "stderr"));
    errors
        .flat_map(|path| {
            fs::read_to_string(path).expect("the file is text").lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn the_compile_errors_in_the_guide_are_real() {
    let errors = compile_errors();
    let shown: Vec<_> = text_blocks(TROUBLESHOOTING).map(str::trim).filter(|text| text.starts_with("error")).collect();
    assert!(shown.len() > 10, "the page shows {} errors", shown.len());
    for text in shown {
        let matches = |line: &String| text.strip_suffix('…').map_or(line == text, |start| line.starts_with(start));
        assert!(errors.iter().any(matches), "no compile-fail test has this error: {text}");
    }
}

#[test]
fn the_generated_code_in_the_guide_is_real() {
    let (input, generated): (Vec<_>, Vec<_>) =
        text_blocks(GENERATED_CODE).partition(|block| block.starts_with("#[derive(Session)]"));
    assert_eq!((input.len(), generated.len()), (1, 3));
    for block in generated {
        assert!(EXPANSION.contains(block), "the derive does not generate this:\n{block}");
    }
}

#[derive(Session)]
struct Visitor {
    num_visits: u32,
}

#[get("/")]
fn index(session: Session<Visitor>) -> String {
    session.num_visits().to_string()
}

#[test]
fn the_log_line_about_a_missing_fairing_in_the_guide_is_real() {
    let figment = rocket::Config::figment().merge(("log_level", "off"));
    let rocket = logs::rocket(figment).mount("/", routes![index]);
    let error = Client::untracked(rocket).expect_err("the launch is aborted");
    // Rocket's error panics when it is dropped, unless its kind was read.
    assert!(matches!(error.kind(), ErrorKind::SentinelAborts(_)));
    let [line] = &logs::containing("its fairing is not attached")[..] else { panic!("expected one log line") };
    let (_, text) = line.split_once("session_rocket ").expect("the line has a target");
    assert!(text_blocks(TROUBLESHOOTING).any(|block| block.trim() == text), "{text}");
}

/// Launches a site that reads this table `cross_origin`, and returns the launch log of the protection, or its error.
fn launched_protection(toml: &str) -> String {
    let figment = rocket::Config::figment().merge(("log_level", "off")).merge(Toml::string(toml).nested());
    if let Err(error) = Client::untracked(logs::rocket(figment).attach(CrossOriginProtection::new())) {
        // Rocket's error panics when it is dropped, unless its kind was read.
        assert!(matches!(error.kind(), ErrorKind::FailedFairings(_)));
    }
    let lines = logs::containing("cross-origin protection");
    let line = lines.into_iter().rfind(|line| line.contains(" session_rocket "));
    line.expect("the launch logs the settings or an error")
}

#[test]
fn the_settings_against_forged_requests_in_the_guide_are_real() {
    let page = include_str!("../../session-rocket/src/guide/forged_requests.md");
    let settings: Vec<&str> = blocks(page, "```toml\n").collect();
    assert!(!settings.is_empty());
    for toml in settings {
        let line = launched_protection(toml);
        assert!(line.starts_with("INFO session_rocket cross-origin protection: own origin https://"), "{line}");
    }
    let line = launched_protection("[default.cross_origin]\nunknown = 0");
    let (_, known) = line.split_once("the keys are ").expect("the message lists the keys");
    let table = page.lines().skip_while(|line| !line.starts_with("| key |")).skip(2);
    let documented = table.map_while(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(documented.collect::<Vec<_>>().join(", "), known);
}
