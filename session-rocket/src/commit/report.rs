//! Reports the events of sessions.

use super::records::{Records, Stored};
use crate::base::event::{EndReason, Event, EventKind};
use crate::base::id::Key;
use crate::data::values::Values;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RotationReason {
    /// Somebody logged in on the session.
    Login,
    /// The user of the session authenticated again.
    Reauthentication,
    Cycle,
}

impl Records {
    pub(super) fn report_start(&self, new: &Stored, is_login: bool) {
        let kind = if is_login { EventKind::LoggedIn { from: None } } else { EventKind::Started };
        self.report(&new.live.key, || self.identity_of(&new.values), kind);
    }

    /// Reports a session that got a new id. `from` is its former key.
    pub(super) fn report_rotation(&self, new: &Stored, from: &Key, reason: RotationReason) {
        let handle = from.handle();
        let kind = match reason {
            RotationReason::Login => EventKind::LoggedIn { from: Some(handle) },
            RotationReason::Reauthentication => EventKind::Reauthenticated { from: handle },
            RotationReason::Cycle => EventKind::Rotated { from: handle },
        };
        self.report(&new.live.key, || self.identity_of(&new.values), kind);
        self.events.wake(from);
    }

    pub(super) fn report_end(&self, ended: &Stored, reason: EndReason) {
        self.report(&ended.live.key, || self.identity_of(&ended.values), EventKind::Ended { reason });
        self.events.wake(&ended.live.key);
    }

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
