//! The logged changes of a session, and the types that generated code uses to read and write whole structs.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::expiry::Expiry;
use crate::data::auth::AuthMac;
use crate::data::csrf::CsrfSecret;
use crate::data::field::{AnyField, Value};
use crate::data::values::{Owner, Values};

thread_local! {
    static REPLAYING: Cell<bool> = const { Cell::new(false) };
}

/// A guard that marks this thread as replaying.
///
/// During a replay, calls that change a session do nothing, because the first run of the closure has made and logged
/// these changes.
pub(super) struct Replaying {
    before: bool,
}

impl Replaying {
    pub(super) fn begin() -> Self {
        Self { before: REPLAYING.replace(true) }
    }
}

impl Drop for Replaying {
    fn drop(&mut self) {
        REPLAYING.set(self.before);
    }
}

/// Runs `run`, during which [`is_replaying`] returns `true`.
pub(crate) fn while_replaying<R>(run: impl FnOnce() -> R) -> R {
    let _replaying = Replaying::begin();
    run()
}

pub(super) fn is_replaying() -> bool {
    REPLAYING.get()
}

/// A logged change, which can be replayed on a newer record.
pub(crate) enum Change {
    /// Stores a value.
    Set {
        field: &'static dyn AnyField,
        value: Value,
        /// Whether this request had read the field before it set it.
        after_read: bool,
    },
    /// Stores a value if no value is stored.
    SetDefault { field: &'static dyn AnyField, value: Value },
    /// Removes the stored value.
    Delete { field: &'static dyn AnyField },
    /// Computes the new value from the stored one.
    Update { field: &'static dyn AnyField, op: Operation<FieldUpdate> },
    /// Computes new values from all stored values.
    Struct(Operation<dyn Fn(&mut Edit) + Send>),
    /// Removes all values.
    Clear,
    /// Sets the expiry of the session.
    Expiry(Expiry),
    /// Sets the absolute timeout of the session.
    MaxLifetime(Option<Duration>),
    /// Sets or deletes the test cookie.
    TestCookie(bool),
    /// Stores a CSRF secret if there is none.
    Csrf(CsrfSecret),
    /// Removes the CSRF secret.
    ForgetCsrf,
    /// Stores the MAC of the auth hash of the user who logged in.
    Auth(AuthMac),
}

pub(crate) type FieldUpdate = dyn Fn(Option<&Value>) -> Option<Value> + Send;

/// A closure that can be replayed on any thread. The mutex is needed because the closure is `Send` but not `Sync`.
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
    /// Returns the change that stores `value`, or that removes the stored value if `value` is `None`.
    pub(super) fn of_put(field: &'static dyn AnyField, value: Option<Value>) -> Self {
        match value {
            Some(value) => Self::Set { field, value, after_read: false },
            None => Self::Delete { field },
        }
    }

    /// Applies the change to `values`. Runs user code.
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
            Self::Auth(auth) => values.set_auth(Some(*auth)),
        }
    }
}

/// The values from which generated code reads a struct.
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

/// A field that was set, or deleted if `value` is `None`.
#[derive(Clone)]
pub(super) struct Put {
    pub field: &'static dyn AnyField,
    pub value: Option<Value>,
}

impl Put {
    pub(super) fn is_of_identity(&self) -> bool {
        self.field.spec().identity
    }
}

/// The values to which generated code writes a struct, and the fields that the write changed.
pub struct Edit {
    pub(crate) view: View,
    pub(super) puts: Vec<Put>,
    /// Whether `put` ignores a value that is equal to the stored one.
    compares: bool,
}

impl Edit {
    pub(super) fn new(values: Values) -> Self {
        Self { view: View::new(values), puts: Vec::new(), compares: true }
    }

    /// Returns an edit that records every field that `write` writes, even with an equal value.
    pub(super) fn of_everything(values: Values, write: impl FnOnce(&mut Self)) -> Self {
        let mut edit = Self { compares: false, ..Self::new(values) };
        write(&mut edit);
        edit
    }

    /// Writes the fields of `given`. If this removes or replaces the user, drops all other values of the former user.
    pub(super) fn replace(&mut self, given: &Self) {
        let (identity, others): (Vec<_>, Vec<_>) = given.puts.iter().cloned().partition(Put::is_of_identity);
        let owner = self.view.values.owner();
        identity.into_iter().for_each(|put| self.put(put.field, put.value));
        if owner != Owner::Nobody && self.view.values.owner() != owner {
            self.view.values = Values::empty(self.view.values.schema());
        }
        others.into_iter().for_each(|put| self.put(put.field, put.value));
    }

    pub(super) fn changes_identity(&self) -> bool {
        self.puts.iter().any(Put::is_of_identity)
    }

    /// Stores `value`, or removes the stored value if `value` is `None`.
    pub(crate) fn put(&mut self, field: &'static dyn AnyField, value: Option<Value>) {
        let is_unchanged = |values: &Values| match &value {
            Some(value) => values.has_value(field, value),
            None => !values.has_stored(field),
        };
        if self.compares && is_unchanged(&self.view.values) {
            return;
        }
        self.view.values.put(field, value.clone());
        self.puts.push(Put { field, value });
    }
}
