//! The events that `on_event` receives.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use session_rocket::{Config, EndReason, Event, EventKind, Session, SessionHandle};
use session_rocket_tests::browser::Browser;
use session_rocket_tests::logs;
use session_rocket_tests::spy::Spy;

use super::site::{Account, Site, memory};

/// Records events.
#[derive(Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Recorder {
    /// The function for `on_event`.
    pub(super) fn receiver(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let recorder = self.clone();
        move |event| recorder.0.lock().expect("the lock is not poisoned").push(event.clone())
    }

    /// Returns the events since the last call of this method.
    pub(super) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().expect("the lock is not poisoned"))
    }

    /// The last event, with its identity.
    pub(super) fn last(&self) -> (EventKind, Option<String>) {
        let events = self.0.lock().expect("the lock is not poisoned");
        let last = events.last().expect("there was an event");
        (last.kind, last.identity.clone())
    }

    /// The reasons of all ended sessions, with their identities.
    pub(super) fn ends(&self) -> Vec<(EndReason, Option<String>)> {
        let events = self.0.lock().expect("the lock is not poisoned");
        let end = |event: &Event| match event.kind {
            EventKind::Ended { reason } => Some((reason, event.identity.clone())),
            _ => None,
        };
        events.iter().filter_map(end).collect()
    }

    /// Asserts that exactly one event happened since the last call, of this kind, session and identity.
    #[track_caller]
    fn assert_one(&self, kind: EventKind, handle: SessionHandle, identity: Option<&str>) {
        let events = self.take();
        let [event] = events.as_slice() else { panic!("expected one event: {events:?}") };
        assert_eq!((event.kind, event.handle, event.identity.as_deref()), (kind, handle, identity));
    }
}

struct Recorded {
    site: Site,
    recorder: Recorder,
}

impl Recorded {
    async fn new(config: Config) -> Self {
        let recorder = Recorder::default();
        let fairing = Session::<Account>::fairing().config(config).on_event(recorder.receiver());
        let site = Site::with(|clock| fairing.store(Spy::new(clock.clone())).clock(clock)).await;
        Self { site, recorder }
    }

    async fn text(&self, browser: &mut Browser, path: &str) -> String {
        self.site.text(browser, path).await
    }
}

const fn ended(reason: EndReason) -> EventKind {
    EventKind::Ended { reason }
}

#[rocket::async_test]
async fn each_step_of_a_session_from_start_to_logout_has_one_event() {
    let Recorded { site, recorder } = Recorded::new(memory()).await;
    let mut browser = Browser::default();
    site.text(&mut browser, "/show").await;
    assert_eq!(recorder.take(), [], "a visitor without a session has an event");
    site.text(&mut browser, "/device/phone").await;
    let first = site.handle(&mut browser).await;
    recorder.assert_one(EventKind::Started, first, None);
    site.text(&mut browser, "/count").await;
    assert_eq!(recorder.take(), [], "a save has an event");
    site.text(&mut browser, "/rotate").await;
    let second = site.handle(&mut browser).await;
    recorder.assert_one(EventKind::Rotated { from: first }, second, None);
    site.text(&mut browser, "/login/7").await;
    let third = site.handle(&mut browser).await;
    recorder.assert_one(EventKind::LoggedIn { from: Some(second) }, third, Some("7"));
    site.text(&mut browser, "/login/7").await;
    let fourth = site.handle(&mut browser).await;
    recorder.assert_one(EventKind::Reauthenticated { from: third }, fourth, Some("7"));
    site.text(&mut browser, "/rotate").await;
    let fifth = site.handle(&mut browser).await;
    recorder.assert_one(EventKind::Rotated { from: fourth }, fifth, Some("7"));
    site.text(&mut browser, "/logout").await;
    recorder.assert_one(ended(EndReason::Logout), fifth, Some("7"));
    site.text(&mut browser, "/login/8").await;
    recorder.assert_one(EventKind::LoggedIn { from: None }, site.handle(&mut browser).await, Some("8"));
}

#[rocket::async_test]
async fn an_event_has_the_time_of_the_sites_clock() {
    let Recorded { site, recorder } = Recorded::new(memory()).await;
    site.clock.advance(Duration::from_secs(1000));
    site.browser("/login/7").await;
    assert_eq!(recorder.take()[0].at.as_millis(), site.clock_millis());
}

#[rocket::async_test]
async fn a_switch_of_the_user_ends_the_session_of_the_old_user() {
    let Recorded { site, recorder } = Recorded::new(memory()).await;
    let mut browser = site.browser("/login/7").await;
    let old = site.handle(&mut browser).await;
    recorder.take();
    site.text(&mut browser, "/login/8").await;
    let new = site.handle(&mut browser).await;
    let seen: Vec<_> = recorder.take().into_iter().map(|event| (event.kind, event.handle, event.identity)).collect();
    let expected = [
        (ended(EndReason::Logout), old, Some("7".to_owned())),
        (EventKind::LoggedIn { from: None }, new, Some("8".to_owned())),
    ];
    assert_eq!(seen, expected);
}

#[rocket::async_test]
async fn each_revoked_session_has_one_event_with_its_handle_and_user() {
    let recorded = Recorded::new(memory()).await;
    let Recorded { site, recorder } = &recorded;
    let mut browsers = [site.user(7, "a").await, site.user(7, "b").await, site.user(7, "c").await];
    let mut handles = Vec::new();
    for browser in &mut browsers {
        handles.push(site.handle(browser).await);
    }
    recorder.take();
    let sessions = site.sessions();
    assert_eq!(sessions.revoke(&7, &handles[0]).await.expect("the store works"), 1);
    recorder.assert_one(ended(EndReason::Revoked), handles[0], Some("7"));
    assert_eq!(sessions.revoke(&7, &handles[0]).await.expect("the store works"), 0);
    assert_eq!(recorder.take(), []);
    assert_eq!(recorded.text(&mut browsers[1], "/end-others").await, "1");
    recorder.assert_one(ended(EndReason::Revoked), handles[2], Some("7"));
    assert_eq!(sessions.revoke_all(&7).await.expect("the store works"), 1);
    recorder.assert_one(ended(EndReason::Revoked), handles[1], Some("7"));
}

#[rocket::async_test]
async fn a_session_that_a_newer_login_replaced_has_an_event() {
    let Recorded { site, recorder } = Recorded::new(memory().max_sessions(1)).await;
    let mut first = site.user(7, "first").await;
    let handle = site.handle(&mut first).await;
    site.clock.advance(Duration::from_secs(1));
    recorder.take();
    let mut second = site.browser("/login/7").await;
    let seen: Vec<_> = recorder.take().into_iter().map(|event| (event.kind, event.handle)).collect();
    let logged_in = (EventKind::LoggedIn { from: None }, site.handle(&mut second).await);
    assert_eq!(seen, [(ended(EndReason::Replaced), handle), logged_in]);
}

#[rocket::async_test]
async fn a_login_that_the_store_does_not_confirm_has_no_event() {
    let clock_and_store = Site::spied(memory()).await.1;
    let recorder = Recorder::default();
    let store = clock_and_store.clone();
    let site =
        Site::with(|clock| Session::<Account>::fairing().store(store).clock(clock).on_event(recorder.receiver())).await;
    clock_and_store.fail_writes(true);
    let response = site.get(&mut Browser::default(), "/login/7").await;
    assert_eq!(response.status.code, 503);
    assert_eq!(recorder.take(), []);
}

#[rocket::async_test]
async fn a_panic_in_on_event_fails_no_request_and_is_logged() {
    let panics = |_: &Event| panic!("an `on_event` function that panics");
    let site = Site::with(|clock| Session::<Account>::fairing().config(memory()).clock(clock).on_event(panics)).await;
    let mut browser = site.user(7, "phone").await;
    site.text(&mut browser, "/rotate").await;
    assert_eq!(site.text(&mut browser, "/show").await, "7|phone|0");
    assert_eq!(site.text(&mut browser, "/end-all/7").await, "1");
    assert_eq!(site.text(&mut browser, "/show").await, "nobody||0");
    assert!(!logs::containing("the `on_event` function of session type `").is_empty());
}

#[test]
fn debug_of_an_event_hides_the_user() {
    let recorder = Recorder::default();
    let runtime = rocket::tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        let receiver = recorder.receiver();
        let site =
            Site::with(|clock| Session::<Account>::fairing().config(memory()).clock(clock).on_event(receiver)).await;
        site.browser("/login/424242").await;
    });
    let shown = format!("{:?}", recorder.take());
    assert!(shown.contains("LoggedIn") && !shown.contains("424242"), "{shown}");
}

#[test]
fn kinds_and_reasons_have_names_for_logs_and_metrics() {
    let ended = EventKind::Ended { reason: EndReason::Logout };
    let names = [EventKind::Started, EventKind::LoggedIn { from: None }, ended].map(|kind| kind.to_string());
    assert_eq!(names, ["started", "logged in", "ended"]);
    let reasons =
        [EndReason::Logout, EndReason::Revoked, EndReason::Replaced, EndReason::UserGone, EndReason::AuthHashChanged];
    let names = reasons.map(|reason| reason.to_string());
    assert_eq!(names, ["logout", "revoked", "replaced", "user gone", "auth hash changed"]);
}
