//! A tab of the browser, and what a visitor can do in it.

use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fs};

use serde_json::{Value, json};
use thirtyfour::error::WebDriverResult;
use thirtyfour::{By, WebElement, WindowHandle};

use super::session::Session;
use super::{Cookie, wait_until};

/// Returns the elements that can be clicked.
const CLICKABLE: &str = "return [...document.querySelectorAll('a[href], button, input')]
    .filter(e => e.matches('a, button') || ['submit', 'button'].includes(e.type))";

/// Returns the elements that submit a form.
const SUBMITTING: &str = "return [...document.querySelectorAll('button, input')].filter(e => e.type === 'submit')";

/// A tab of a browser.
///
/// The methods panic with the browser's error message if the browser cannot do what they ask for.
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

    /// Opens a URL and waits until the page is loaded.
    #[track_caller]
    pub fn open(&self, url: impl AsRef<str>) {
        let url = url.as_ref();
        self.run(&format!("open {url}"), self.session.driver().goto(url));
    }

    /// The URL of the page.
    #[track_caller]
    pub fn url(&self) -> String {
        self.run("return the URL", self.session.driver().current_url()).to_string()
    }

    /// The HTTP status of the page.
    ///
    /// # Panics
    /// If the page did not come from a server.
    #[track_caller]
    pub fn status(&self) -> u64 {
        let status = self.script("return performance.getEntriesByType('navigation')[0]?.responseStatus");
        status.as_u64().expect("the page came from a server")
    }

    /// The title of the page.
    #[track_caller]
    pub fn title(&self) -> String {
        self.run("return the title", self.session.driver().title())
    }

    /// The text that a visitor sees.
    #[track_caller]
    pub fn text(&self) -> String {
        self.text_of("body")
    }

    /// The text of the first element that matches a CSS selector.
    #[track_caller]
    pub fn text_of(&self, selector: &str) -> String {
        let commands = async { self.session.driver().find(By::Css(selector)).await?.text().await };
        self.run(&format!("read the text of {selector:?}"), commands)
    }

    /// Clicks the link or button with this text and waits for the next page.
    ///
    /// # Panics
    /// If no or several links and buttons have this text, or if no page follows.
    #[track_caller]
    pub fn click(&self, text: &str) {
        let commands = async {
            let mut elements = Vec::new();
            for element in self.session.driver().execute(CLICKABLE, []).await?.elements()? {
                let shown = element.text().await?;
                let shown = if shown.is_empty() { element.value().await?.unwrap_or_default() } else { shown };
                elements.push((shown.trim().to_owned(), element));
            }
            Ok(elements)
        };
        let elements = self.run("find links and buttons", commands);
        let all: Vec<String> = elements.iter().map(|(shown, _)| shown.clone()).collect();
        let matching = elements.into_iter().filter(|(shown, _)| shown == text).map(|(_, element)| element).collect();
        self.click_and_wait(self.single_element(&format!("links and buttons {all:?} say {text:?}"), matching));
    }

    /// Clicks the only button that submits a form and waits for the next page.
    ///
    /// # Panics
    /// If the page has no or several such buttons, or if no page follows.
    #[track_caller]
    pub fn submit(&self) {
        let commands = async { self.session.driver().execute(SUBMITTING, []).await?.elements() };
        self.click_and_wait(self.single_element("buttons submit", self.run("find buttons", commands)));
    }

    /// Replaces the value of the input with this name.
    #[track_caller]
    pub fn fill(&self, name: &str, value: &str) {
        let commands = async {
            let input = self.session.driver().find(By::Css(format!("[name={name:?}]"))).await?;
            input.clear().await?;
            input.send_keys(value).await
        };
        self.run(&format!("fill {name:?}"), commands);
    }

    /// Goes back by one page, as the browser's button does.
    #[track_caller]
    pub fn back(&self) {
        self.run("go back", self.session.driver().back());
    }

    /// Reloads the page.
    #[track_caller]
    pub fn reload(&self) {
        self.run("reload", self.session.driver().refresh());
    }

    /// The cookies that the browser sends to the page, including those that are hidden from scripts.
    #[track_caller]
    pub fn cookies(&self) -> Vec<Cookie> {
        let cookies = self.run("return the cookies", self.session.driver().get_all_cookies());
        cookies.into_iter().map(Cookie::from).collect()
    }

    /// The cookie of this name that the browser sends to the page.
    #[track_caller]
    pub fn cookie(&self, name: &str) -> Option<Cookie> {
        self.cookies().into_iter().find(|cookie| cookie.name == name)
    }

    /// Deletes all cookies of the browser, including those of other hosts.
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

    /// Runs a script in the page and returns its result. If the result is a promise, waits for its value.
    #[track_caller]
    pub fn script(&self, script: &str) -> Value {
        self.run("run a script", self.session.driver().execute(script, [])).json().clone()
    }

    /// Waits until the page shows a text.
    ///
    /// # Panics
    /// If the page does not show it within a minute.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        wait_until(&format!("the page shows {text:?}"), || self.text().contains(text));
    }

    /// Opens another tab with the same cookie jar.
    #[must_use]
    #[track_caller]
    pub fn new_tab(&self) -> Tab {
        self.open_tab("open a tab", self.session.driver().new_tab())
    }

    /// Opens another window with the same cookie jar.
    #[must_use]
    #[track_caller]
    pub fn new_window(&self) -> Tab {
        self.open_tab("open a window", self.session.driver().new_window())
    }

    /// Reloads the page in this tab and in other tabs of the same site, all at the same time.
    ///
    /// # Panics
    /// If a page does not load.
    #[track_caller]
    pub fn reload_with(&self, others: &[&Tab]) {
        self.leave_with(others, "location.reload()");
    }

    /// Runs a script that opens another page, in this tab and in other tabs of the same site at the same time, and
    /// waits for all pages.
    ///
    /// # Panics
    /// If a page does not load.
    #[track_caller]
    pub fn leave_with(&self, others: &[&Tab], script: &str) {
        for tab in others {
            tab.script(&format!("window.leaving = true; new BroadcastChannel('go').onmessage = () => {{ {script} }}"));
        }
        self.script(&format!("window.leaving = true; new BroadcastChannel('go').postMessage(0); {script}"));
        others.iter().copied().chain([self]).for_each(Tab::wait_for_the_next_page);
    }

    /// Resizes the window. The unit is pixels.
    #[track_caller]
    pub fn resize(&self, width: u32, height: u32) {
        self.run("resize the window", self.session.driver().set_window_rect(0, 0, width, height));
    }

    /// Writes a screenshot to `target/screenshots/NAME.png`.
    ///
    /// # Panics
    /// If the file cannot be written.
    #[track_caller]
    pub fn screenshot(&self, name: &str) {
        if let Err(error) = self.try_screenshot(name) {
            panic!("cannot write the screenshot {name}: {error}");
        }
    }

    /// Writes a screenshot and returns its path.
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
    fn open_tab(&self, what: &str, command: impl Future<Output = WebDriverResult<WindowHandle>>) -> Tab {
        Self::new(Arc::clone(&self.session), self.run(what, command))
    }

    /// Returns the only element of the list.
    #[track_caller]
    fn single_element(&self, what: &str, mut elements: Vec<WebElement>) -> WebElement {
        assert!(elements.len() == 1, "{} {what} on {}:\n{}", elements.len(), self.url(), self.text());
        elements.remove(0)
    }

    /// Clicks an element and waits for the next page.
    #[track_caller]
    fn click_and_wait(&self, element: WebElement) {
        self.script("window.leaving = true");
        self.run("click", element.click());
        self.wait_for_the_next_page();
    }

    /// Waits until the page that was marked with `window.leaving` is replaced by another page.
    #[track_caller]
    fn wait_for_the_next_page(&self) {
        let loaded = "return window.leaving !== true && document.readyState === 'complete'";
        wait_until("the next page is loaded", || {
            // Between two pages, a script may have no page to run in.
            let result = self.session.run(&self.window, self.session.driver().execute(loaded, []));
            result.is_ok_and(|result| result.json() == &Value::Bool(true))
        });
    }
}

/// Cargo's target directory, which contains this program.
fn target() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let tagged = program.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file());
    tagged.map_or_else(|| PathBuf::from("target"), PathBuf::from)
}
