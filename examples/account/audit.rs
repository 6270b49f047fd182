//! The audit log and the counters, in the memory of the process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rocket::{Route, State, get, routes};
use rocket_dyn_templates::{Template, context};
use session_rocket::{CurrentUser, EndReason, Error, Event, EventKind};

use crate::pages::{minute, user_page};
use crate::users::User;

/// The number of events that the log keeps for each user.
const MAX_EVENTS: usize = 50;

pub fn routes() -> Vec<Route> {
    routes![activity, metrics]
}

/// Receives the events of the sessions.
#[derive(Default)]
pub struct Audit(Mutex<Log>);

#[derive(Default)]
struct Log {
    /// The last events of each user, the latest first.
    events: HashMap<String, VecDeque<Event>>,
    counters: BTreeMap<&'static str, u64>,
}

impl Audit {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn record(&self, event: &Event) {
        let mut log = self.log();
        *log.counters.entry(describe(event.kind).0).or_default() += 1;
        if let Some(user) = &event.identity {
            let events = log.events.entry(user.clone()).or_default();
            events.push_front(event.clone());
            events.truncate(MAX_EVENTS);
        }
    }

    fn events_of(&self, user: &User) -> VecDeque<Event> {
        self.log().events.get(&user.id.to_string()).cloned().unwrap_or_default()
    }
}

/// The counter of an event, and its text in the log.
fn describe(kind: EventKind) -> (&'static str, &'static str) {
    match kind {
        EventKind::Started => ("started", "A visitor came"),
        EventKind::LoggedIn { .. } => ("logged_in", "Logged in, or confirmed the password"),
        EventKind::Rotated { .. } => ("rotated", "Got a new session id"),
        EventKind::Ended { reason: EndReason::Logout } => ("ended_logout", "Logged out"),
        EventKind::Ended { reason: EndReason::Revoked } => ("ended_revoked", "Logged out from another device"),
        EventKind::Ended { reason: EndReason::Replaced } => ("ended_replaced", "Ended: too many devices"),
        EventKind::Ended { reason: EndReason::UserGone } => ("ended_user_gone", "Ended: no such user"),
        EventKind::Ended { reason: EndReason::AuthHashChanged } => {
            ("ended_auth_hash_changed", "Ended: the password was changed")
        }
        _ => ("other", "Other event"),
    }
}

#[get("/activity")]
async fn activity(user: CurrentUser<User>, audit: &State<Arc<Audit>>) -> Result<Template, Error> {
    let current = user.session().handle();
    let events = audit.events_of(&user).into_iter().map(|event| {
        let is_current = Some(event.handle) == current;
        context! { at: minute(event.at), text: describe(event.kind).1, handle: event.handle, is_current }
    });
    user_page(&user, "activity", context! { events: events.collect::<Vec<_>>() }).await
}

/// The counters in the text format of Prometheus.
#[get("/metrics")]
fn metrics(audit: &State<Arc<Audit>>) -> String {
    let mut text = String::from("# TYPE session_events_total counter\n");
    for (event, number) in &audit.log().counters {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "session_events_total{{event=\"{event}\"}} {number}");
    }
    text
}
