use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rocket::form::Form;
use rocket::response::{Redirect, content::RawHtml};
use rocket::{Build, FromForm, Rocket, State, get, post, routes, uri};

use super::*;
use crate::processes;
use crate::served::Served;

const ENTRY: &str = "<!doctype html><title>Entry</title><h1>Entry</h1><a href='/?again'>Again</a>
    <form method=post><input name=name value=nobody><textarea name=about></textarea><button>Send</button></form>
    <button type=button>Nothing</button>";

#[derive(FromForm)]
struct Entry {
    name: String,
    about: String,
}

#[get("/")]
fn entry() -> RawHtml<&'static str> {
    RawHtml(ENTRY)
}

#[post("/", data = "<entry>")]
fn enter(entry: Form<Entry>, entered: &State<Mutex<String>>) -> Redirect {
    *entered.lock().unwrap() = format!("{}: {}", entry.name, entry.about);
    Redirect::to(uri!(entered))
}

#[get("/entered")]
fn entered(entered: &State<Mutex<String>>) -> String {
    entered.lock().unwrap().clone()
}

fn guestbook() -> Rocket<Build> {
    rocket::build().manage(Mutex::<String>::default()).mount("/", routes![entry, enter, entered])
}

#[test]
fn a_tab_fills_forms_follows_links_and_opens_windows() {
    let site = Served::start(guestbook());
    let browser = Chromium::start();
    browser.open(site.url("/"));
    assert_eq!((browser.title(), browser.text_of("h1")), ("Entry".into(), "Entry".into()));
    browser.click("Again");
    assert_eq!(browser.url(), site.url("/?again"));
    browser.fill("name", "rajat");
    browser.fill("about", "a student");
    browser.submit();
    assert_eq!((browser.url(), browser.text()), (site.url("/entered"), "rajat: a student".into()));
    let window = browser.new_window();
    window.open(site.url("/"));
    window.click("Send");
    window.wait_for("nobody: ");
    assert_eq!(browser.text(), "rajat: a student", "the first window still shows its page");
    window.close();
    browser.reload();
    assert_eq!(browser.text(), "nobody: ");
}

#[test]
fn the_panic_about_a_missing_link_lists_the_links_of_the_page() {
    let site = Served::start(guestbook());
    let browser = Chromium::start();
    browser.open(site.url("/"));
    let failure = catch_unwind(AssertUnwindSafe(|| browser.click("Pay"))).unwrap_err();
    let message = failure.downcast::<String>().unwrap();
    assert!(message.contains(r#"0 links and buttons ["Again", "Send", "Nothing"] say "Pay""#), "{message}");
}

#[test]
fn a_failed_test_leaves_a_screenshot_and_no_process() {
    let mark = Mutex::default();
    let failure = catch_unwind(|| {
        let browser = Chromium::start();
        browser.open("data:text/html,<h1>This is what a failed test leaves behind</h1>");
        *mark.lock().unwrap() = browser.driver.directory().to_owned();
        assert!(!processes::family(u32::MAX, browser.driver.directory()).is_empty());
        panic_silently();
    });
    assert_eq!(*failure.unwrap_err().downcast::<&str>().unwrap(), "as a failed test does");
    let mark = mark.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert!(mark.is_absolute() && !mark.exists());
    let remaining: Vec<u32> = processes::family(u32::MAX, &mark).into_iter().collect();
    assert_eq!(remaining, [0; 0], "processes of the browser still run");
}

/// Panics without a message on the console.
fn panic_silently() {
    std::panic::resume_unwind(Box::new("as a failed test does"));
}

fn search(value: Option<&OsStr>, path: &[&Path]) -> Result<PathBuf, String> {
    let path = env::join_paths(path).unwrap();
    programs::find_in("CHROMIUM", value.map(Into::into), &["chromium", "google-chrome"], &path)
}

/// The first directory has a file that is not executable, the second a program.
#[test]
fn the_environment_variable_has_priority_over_the_search_path() {
    let [first, second] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let path = [first.path(), second.path()];
    std::fs::write(first.path().join("chromium"), "a text").unwrap();
    let chrome = second.path().join("google-chrome");
    std::fs::write(&chrome, "a program").unwrap();
    assert!(search(None, &path).is_err());
    std::fs::set_permissions(&chrome, PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(search(None, &path), Ok(chrome.clone()));
    assert_eq!(search(Some(OsStr::new("")), &path), Ok(chrome.clone()));
    assert_eq!(search(Some(chrome.as_os_str()), &[]), Ok(chrome));
    let wrong = search(Some(first.path().join("chromium").as_os_str()), &path).unwrap_err();
    assert!(wrong.starts_with("CHROMIUM is set to /") && wrong.ends_with("which is not a program"), "{wrong}");
}

#[test]
fn the_message_about_a_missing_browser_says_what_to_install() {
    let empty = tempfile::tempdir().unwrap();
    let message = search(None, &[empty.path()]).unwrap_err();
    for part in ["chromium or google-chrome", "apt-get install chromium chromium-driver", "set CHROMIUM"] {
        assert!(message.contains(part), "{message}");
    }
}
