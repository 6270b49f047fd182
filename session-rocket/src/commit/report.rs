//! Reports the events of sessions.

use super::records::{Records, Stored};
use crate::base::event::{EndReason, Event, EventKind};
use crate::base::id::Key;
use crate::data::values::Values;

impl Records {
    /// Reports a session that is stored under a new id. `from` is its former key.
    pub(super) fn report_new(&self, stored: &Stored, from: Option<&Key>, is_login: bool) {
        let kind = match from.map(Key::handle) {
            from if is_login => EventKind::LoggedIn { from },
            Some(from) => EventKind::Rotated { from },
            None => EventKind::Started,
        };
        self.report(&stored.live.key, || self.identity_of(&stored.values), kind);
        from.into_iter().for_each(|from| self.events.wake(from));
    }

    /// Reports the end of a session whose values are known.
    pub(super) fn report_end(&self, ended: &Stored, reason: EndReason) {
        self.report(&ended.live.key, || self.identity_of(&ended.values), EventKind::Ended { reason });
        self.events.wake(&ended.live.key);
    }

    /// Reports the end of the session of a user.
    pub(super) fn report_end_of(&self, key: &Key, identity: Option<&str>, reason: EndReason) {
        self.report(key, || identity.map(str::to_owned), EventKind::Ended { reason });
        self.events.wake(key);
    }

    fn report(&self, key: &Key, identity: impl FnOnce() -> Option<String>, kind: EventKind) {
        let event = || Event { kind, handle: key.handle(), identity: identity(), at: self.rules.now() };
        self.events.send(event, self.rules.schema.type_name());
    }

    fn identity_of(&self, values: &Values) -> Option<String> {
        self.rules.identity(values).unwrap_or_default()
    }
}
