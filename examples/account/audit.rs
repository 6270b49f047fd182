//! The audit log and the event counters, in memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rocket::{Route, State, get, routes};
use rocket_dyn_templates::{Template, context};
use session_rocket::{CurrentUser, EndReason, Event, EventKind};

use crate::pages::{Result, minute, user_page};
use crate::users::User;

/// The log keeps this many events for each user.
const MAX_EVENTS: usize = 50;

pub fn routes() -> Vec<Route> {
    routes![activity, metrics]
}

#[derive(Default)]
pub struct Audit(Mutex<Log>);

#[derive(Default)]
struct Log {
    /// The last events of each user and their descriptions, newest first.
    users: HashMap<String, VecDeque<(Event, &'static str)>>,
    counters: BTreeMap<&'static str, u64>,
}

impl Audit {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn record(&self, event: &Event) {
        let mut log = self.log();
        let (counter, text) = describe(event.kind);
        *log.counters.entry(counter).or_default() += 1;
        let Some(user) = &event.identity else { return };
        let events = log.users.entry(user.clone()).or_default();
        events.push_front((event.clone(), text));
        events.truncate(MAX_EVENTS);
    }

    fn events_of(&self, user: &User) -> VecDeque<(Event, &'static str)> {
        self.log().users.get(&user.id.to_string()).cloned().unwrap_or_default()
    }
}

/// Returns the counter of an event and its description in the log.
fn describe(kind: EventKind) -> (&'static str, &'static str) {
    let EventKind::Ended { reason } = kind else {
        return match kind {
            EventKind::Started => ("started", "Visited the site"),
            EventKind::LoggedIn { .. } => ("logged_in", "Logged in"),
            EventKind::Reauthenticated { .. } => ("reauthenticated", "Entered the password again"),
            EventKind::Rotated { .. } => ("rotated", "Got a new session id"),
            _ => ("other", "Other event"),
        };
    };
    match reason {
        EndReason::Logout => ("ended_logout", "Logged out"),
        EndReason::Revoked => ("ended_revoked", "Logged out by another device"),
        EndReason::Replaced => ("ended_replaced", "Logged out by a login on a fourth device"),
        EndReason::UserGone => ("ended_user_gone", "Logged out, because the account is deleted"),
        EndReason::AuthHashChanged => ("ended_auth_hash_changed", "Logged out, because the password was changed"),
        _ => ("ended_other", "Logged out"),
    }
}

#[get("/activity")]
async fn activity(user: CurrentUser<User>, audit: &State<Arc<Audit>>) -> Result<Template> {
    let current = user.session().handle();
    let events = audit.events_of(&user).into_iter().map(|(event, text)| {
        context! { at: minute(event.at), text, handle: event.handle, is_current: Some(event.handle) == current }
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
