//! One tab, and what a visitor does in it.

use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fs};

use serde_json::{Value, json};
use thirtyfour::error::WebDriverResult;
use thirtyfour::{By, WebElement, WindowHandle};

use super::session::Session;
use super::{Cookie, until};

/// What can be clicked.
const CLICKABLE: &str = "return [...document.querySelectorAll('a[href], button, input')]
    .filter(e => e.matches('a, button') || ['submit', 'button'].includes(e.type))";

/// What submits a form.
const SUBMITTING: &str = "return [...document.querySelectorAll('button, input')].filter(e => e.type === 'submit')";

/// A tab of a browser.
///
/// Everything panics when the browser does not do it, with what it said: a test has failed then.
pub struct Tab {
    session: Arc<Session>,
    window: WindowHandle,
}

impl Tab {
    pub(super) fn new(session: Arc<Session>, window: WindowHandle) -> Self {
        Self { session, window }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Opens an address and waits until the page is there.
    #[track_caller]
    pub fn open(&self, url: impl AsRef<str>) {
        let url = url.as_ref();
        self.run(&format!("open {url}"), self.session.driver().goto(url));
    }

    /// The address of the page.
    #[track_caller]
    pub fn url(&self) -> String {
        self.run("tell the address", self.session.driver().current_url()).to_string()
    }

    /// The status that the server answered with when the page was loaded.
    ///
    /// # Panics
    /// When the page is not from a server.
    #[track_caller]
    pub fn status(&self) -> u64 {
        let status = self.script("return performance.getEntriesByType('navigation')[0]?.responseStatus");
        status.as_u64().expect("the page came from a server")
    }

    /// The title of the page.
    #[track_caller]
    pub fn title(&self) -> String {
        self.run("tell the title", self.session.driver().title())
    }

    /// The text that a visitor sees.
    #[track_caller]
    pub fn text(&self) -> String {
        self.text_of("body")
    }

    /// The text of the first element that a CSS selector finds.
    #[track_caller]
    pub fn text_of(&self, selector: &str) -> String {
        let commands = async { self.session.driver().find(By::Css(selector)).await?.text().await };
        self.run(&format!("read the text of {selector:?}"), commands)
    }

    /// Clicks the link or button that shows this text, and waits for the page it leads to.
    ///
    /// # Panics
    /// When not exactly one shows it, or when it leads nowhere.
    #[track_caller]
    pub fn click(&self, text: &str) {
        let commands = async {
            let mut found = Vec::new();
            for element in self.session.driver().execute(CLICKABLE, []).await?.elements()? {
                let shown = element.text().await?;
                let shown = if shown.is_empty() { element.value().await?.unwrap_or_default() } else { shown };
                found.push((shown.trim().to_owned(), element));
            }
            Ok(found)
        };
        let found = self.run("find links and buttons", commands);
        let all: Vec<String> = found.iter().map(|(shown, _)| shown.clone()).collect();
        let matching = found.into_iter().filter(|(shown, _)| shown == text).map(|(_, element)| element).collect();
        self.leave(self.only(&format!("links and buttons {all:?} say {text:?}"), matching));
    }

    /// Clicks the only button that submits a form, and waits for the page it leads to.
    ///
    /// # Panics
    /// When the page has not exactly one, or when it leads nowhere.
    #[track_caller]
    pub fn submit(&self) {
        let commands = async { self.session.driver().execute(SUBMITTING, []).await?.elements() };
        self.leave(self.only("buttons submit", self.run("find buttons", commands)));
    }

    /// Types a value into the input of that name, in place of what is there.
    #[track_caller]
    pub fn fill(&self, name: &str, value: &str) {
        let commands = async {
            let input = self.session.driver().find(By::Css(format!("[name={name:?}]"))).await?;
            input.clear().await?;
            input.send_keys(value).await
        };
        self.run(&format!("fill {name:?}"), commands);
    }

    /// Goes back by one page, as the button does.
    #[track_caller]
    pub fn back(&self) {
        self.run("go back", self.session.driver().back());
    }

    /// Loads the page again.
    #[track_caller]
    pub fn reload(&self) {
        self.run("reload", self.session.driver().refresh());
    }

    /// The cookies that the browser sends to the page, with those that scripts do not see.
    #[track_caller]
    pub fn cookies(&self) -> Vec<Cookie> {
        let cookies = self.run("tell the cookies", self.session.driver().get_all_cookies());
        cookies.into_iter().map(Cookie::from).collect()
    }

    /// The one of that name.
    #[track_caller]
    pub fn cookie(&self, name: &str) -> Option<Cookie> {
        self.cookies().into_iter().find(|cookie| cookie.name == name)
    }

    /// Deletes all cookies of the browser, those of other hosts too.
    #[track_caller]
    pub fn delete_cookies(&self) {
        let cdp = self.session.driver().cdp();
        self.run("delete the cookies", cdp.send_raw("Network.clearBrowserCookies", json!({})));
    }

    /// Adds a host-only cookie for the host of the page.
    #[track_caller]
    pub fn add_cookie(&self, name: &str, value: &str) {
        let cookie = thirtyfour::Cookie::new(name, value);
        self.run("add a cookie", self.session.driver().add_cookie(cookie));
    }

    /// What a script in the page returns, or what the promise that it returns becomes.
    #[track_caller]
    pub fn script(&self, script: &str) -> Value {
        self.run("run a script", self.session.driver().execute(script, [])).json().clone()
    }

    /// Waits until the page shows a text.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        until(&format!("the page shows {text:?}"), || self.text().contains(text));
    }

    /// Opens another tab, with the same cookie jar.
    #[must_use]
    #[track_caller]
    pub fn new_tab(&self) -> Tab {
        self.another("open a tab", self.session.driver().new_tab())
    }

    /// Opens another window, with the same cookie jar.
    #[must_use]
    #[track_caller]
    pub fn new_window(&self) -> Tab {
        self.another("open a window", self.session.driver().new_window())
    }

    /// Loads the page again in this tab and in others of the same site at once.
    ///
    /// # Panics
    /// When one of them does not load.
    #[track_caller]
    pub fn reload_with(&self, others: &[&Tab]) {
        self.leave_with(others, "location.reload()");
    }

    /// Runs a script that leads to another page in this tab and in others of the same site at once, and waits for all.
    ///
    /// # Panics
    /// When one of them does not get there.
    #[track_caller]
    pub fn leave_with(&self, others: &[&Tab], script: &str) {
        for tab in others {
            tab.script(&format!("window.leaving = true; new BroadcastChannel('go').onmessage = () => {{ {script} }}"));
        }
        self.script(&format!("window.leaving = true; new BroadcastChannel('go').postMessage(0); {script}"));
        others.iter().copied().chain([self]).for_each(Tab::wait_for_the_next_page);
    }

    /// Gives the window a size, in pixels.
    #[track_caller]
    pub fn resize(&self, width: u32, height: u32) {
        self.run("resize the window", self.session.driver().set_window_rect(0, 0, width, height));
    }

    /// Writes a picture of what is to be seen to `target/screenshots/NAME.png`.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn screenshot(&self, name: &str) {
        if let Err(error) = self.try_screenshot(name) {
            panic!("no screenshot {name}: {error}");
        }
    }

    /// Does the same without panicking; tells where it is.
    pub(super) fn try_screenshot(&self, name: &str) -> Result<PathBuf, String> {
        let png = self.session.run(&self.window, self.session.driver().screenshot_as_png());
        let png = png.map_err(|error| error.to_string())?;
        let path = target().join("screenshots").join(format!("{name}.png"));
        let written = fs::create_dir_all(target().join("screenshots")).and_then(|()| fs::write(&path, png));
        written.map(|()| path).map_err(|error| error.to_string())
    }

    /// Closes the tab.
    #[track_caller]
    pub fn close(self) {
        self.run("close the tab", self.session.driver().close_window());
    }

    #[track_caller]
    fn run<T>(&self, what: &str, commands: impl Future<Output = WebDriverResult<T>>) -> T {
        match self.session.run(&self.window, commands) {
            Ok(value) => value,
            Err(error) => panic!("the browser cannot {what}: {error}"),
        }
    }

    #[track_caller]
    fn another(&self, what: &str, command: impl Future<Output = WebDriverResult<WindowHandle>>) -> Tab {
        Self::new(Arc::clone(&self.session), self.run(what, command))
    }

    #[track_caller]
    fn only(&self, what: &str, mut found: Vec<WebElement>) -> WebElement {
        assert!(found.len() == 1, "{} {what} on {}:\n{}", found.len(), self.url(), self.text());
        found.remove(0)
    }

    /// Clicks, and waits for the next page.
    #[track_caller]
    fn leave(&self, element: WebElement) {
        self.script("window.leaving = true");
        self.run("click", element.click());
        self.wait_for_the_next_page();
    }

    /// Waits until the page that was marked as being left has made place for another one.
    #[track_caller]
    fn wait_for_the_next_page(&self) {
        let loaded = "return window.leaving !== true && document.readyState === 'complete'";
        until("the next page is loaded", || {
            // Between two pages there may be nothing that a script can run in.
            let answer = self.session.run(&self.window, self.session.driver().execute(loaded, []));
            answer.is_ok_and(|answer| answer.json() == &Value::Bool(true))
        });
    }
}

/// Cargo's target directory: the one that this program is in.
fn target() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let tagged = program.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file());
    tagged.map_or_else(|| PathBuf::from("target"), PathBuf::from)
}
