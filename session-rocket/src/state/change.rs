//! Changes of a session as they are kept for replay, and what snapshots are read from and written back to.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::expiry::Expiry;
use crate::data::codec::Format;
use crate::data::csrf::CsrfSecret;
use crate::data::field::{AnyField, Value};
use crate::data::values::Values;

/// A change as it is kept for replay on a fresher record.
pub(crate) enum Change {
    /// Store this.
    Set {
        /// Where.
        field: &'static dyn AnyField,
        /// What.
        value: Value,
        /// Whether this request had read the field before it set it.
        after_read: bool,
    },
    /// Store this if nothing is stored.
    SetDefault {
        /// Where.
        field: &'static dyn AnyField,
        /// What.
        value: Value,
    },
    /// Remove what is stored.
    Delete {
        /// Where.
        field: &'static dyn AnyField,
    },
    /// Compute the new value from the stored one.
    Update {
        /// Where.
        field: &'static dyn AnyField,
        /// How.
        op: Operation<Step>,
    },
    /// Compute new values from all of them.
    Struct(Operation<dyn Fn(&mut Edit) + Send>),
    /// Remove everything.
    Clear,
    /// Set when the session expires.
    Expiry(Expiry),
    /// Set the session's own absolute timeout.
    MaxLifetime(Option<Duration>),
    /// Set or delete the test cookie.
    TestCookie(bool),
    /// Keep this secret if there is none.
    Csrf(CsrfSecret),
    /// Forget the secret.
    ForgetCsrf,
}

/// From the stored value to the new one.
pub(crate) type Step = dyn Fn(Option<&Value>) -> Option<Value> + Send;

/// A closure that may run again, on any thread but on one at a time: those of users are `Send`, not `Sync`.
pub(crate) struct Operation<F: ?Sized>(Mutex<Box<F>>);

impl<F: ?Sized> Operation<F> {
    pub(crate) fn new(op: Box<F>) -> Self {
        Self(Mutex::new(op))
    }

    fn run<R>(&self, run: impl FnOnce(&F) -> R) -> R {
        run(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Change {
    /// Whether it writes the identity field itself.
    pub(crate) fn is_of_identity(&self) -> bool {
        match self {
            Self::Set { field, .. }
            | Self::SetDefault { field, .. }
            | Self::Delete { field }
            | Self::Update { field, .. } => field.spec().identity,
            Self::Struct(_)
            | Self::Clear
            | Self::Expiry(_)
            | Self::MaxLifetime(_)
            | Self::TestCookie(_)
            | Self::Csrf(_)
            | Self::ForgetCsrf => false,
        }
    }

    /// Makes the change. Runs user code.
    pub(crate) fn apply(&self, values: &mut Values) {
        match self {
            Self::Set { field, value, .. } => _ = values.put(*field, Some(value.clone())),
            Self::SetDefault { field, value } => {
                if values.read(*field).is_none() {
                    values.put(*field, Some(value.clone()));
                }
            }
            Self::Delete { field } => _ = values.put(*field, None),
            Self::Update { field, op } => {
                let stored = values.read(*field);
                values.put(*field, op.run(|op| op(stored.as_ref())));
            }
            Self::Struct(op) => {
                let mut edit = Edit::new(values.clone());
                op.run(|op| op(&mut edit));
                *values = edit.view.values;
            }
            Self::Clear => values.clear(),
            Self::Expiry(expiry) => values.set_expiry(*expiry),
            Self::MaxLifetime(limit) => values.set_max_lifetime(*limit),
            Self::TestCookie(set) => values.set_test_cookie(*set),
            Self::Csrf(secret) if values.csrf().is_none() => values.set_csrf(Some(*secret)),
            Self::Csrf(_) => {}
            Self::ForgetCsrf => values.set_csrf(None),
        }
    }
}

/// The values a snapshot is built from.
pub struct View {
    pub(crate) values: Values,
}

impl View {
    pub(crate) fn new(values: Values) -> Self {
        Self { values }
    }

    pub(crate) fn read(&mut self, field: &dyn AnyField) -> Option<Value> {
        self.values.read(field)
    }
}

/// A view and what was changed in it by writing a changed snapshot back.
pub struct Edit {
    pub(crate) view: View,
    pub(crate) changes: Vec<Change>,
    /// Whether only what differs is a change.
    compares: bool,
}

impl Edit {
    pub(crate) fn new(values: Values) -> Self {
        Self { view: View::new(values), changes: Vec::new(), compares: true }
    }

    /// One in which everything written is a change.
    pub(crate) fn of_everything(values: Values) -> Self {
        Self { compares: false, ..Self::new(values) }
    }

    /// Makes a set or delete that another edit found, if it is a change here.
    pub(crate) fn make(&mut self, change: Change) {
        match change {
            Change::Set { field, value, .. } => self.set(field, value),
            Change::Delete { field } => self.delete(field),
            _ => {}
        }
    }

    /// Stores `value` unless the field reads as that already.
    pub(crate) fn set(&mut self, field: &'static dyn AnyField, value: Value) {
        // A value that does not encode differs from everything: saving it gives the error.
        if self.compares
            && let Ok(new) = field.encode(&value, Format::Json).0
            && self.view.values.presented(field).is_some_and(|old| old.same_json(&new))
        {
            return;
        }
        self.view.values.put(field, Some(value.clone()));
        self.changes.push(Change::Set { field, value, after_read: false });
    }

    /// Removes what is stored, if anything is.
    pub(crate) fn delete(&mut self, field: &'static dyn AnyField) {
        if !self.compares || self.view.values.is_stored(field) {
            self.view.values.put(field, None);
            self.changes.push(Change::Delete { field });
        }
    }
}
