//! What accessors do: reads, and changes that are kept for replay.

use std::cell::Cell;
use std::panic::Location;
use std::sync::Arc;

use super::{Inner, Lifecycle, State};
use crate::change::{Change, Edit, Operation};
use crate::expiry::Expiry;
use crate::field::{AnyField, Value};
use crate::values::{Peek, Values};

thread_local! {
    static REPLAYING: Cell<bool> = const { Cell::new(false) };
}

/// Runs a closure again that ran before. What it writes to a session it wrote, and had logged, the first time.
pub(crate) fn replay<R>(run: impl FnOnce() -> R) -> R {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            REPLAYING.set(self.0);
        }
    }
    let _reset = Reset(REPLAYING.replace(true));
    run()
}

impl State {
    /// The stored value of a field.
    pub(crate) fn read(&self, field: &dyn AnyField) -> Option<Value> {
        self.lock().read[field.spec().index] = true;
        self.current(field)
    }

    /// As [`read`](Self::read), for a caller whose change does not rest on it.
    fn current(&self, field: &dyn AnyField) -> Option<Value> {
        let (schema, raw) = {
            let inner = self.lock();
            match inner.values.peek(field) {
                Peek::Known(value) => return value,
                Peek::Undecoded(raw) => (inner.values.schema(), raw),
            }
        };
        let decoded = schema.decode(field, &raw);
        let mut inner = self.lock();
        inner.values.remember(field, &raw, decoded.clone());
        // Another thread may have decoded it first: all readers share one value.
        match inner.values.peek(field) {
            Peek::Known(value) => value,
            Peek::Undecoded(_) => decoded,
        }
    }

    #[track_caller]
    pub(crate) fn set(&self, field: &'static dyn AnyField, value: Value) {
        if field.spec().identity {
            return self.identify(field, Some(value));
        }
        self.write(|inner| {
            let after_read = inner.read[field.spec().index];
            inner.values.set(field, value.clone());
            Some(Change::Set { field, value, after_read })
        });
    }

    #[track_caller]
    pub(crate) fn setdefault(&self, field: &'static dyn AnyField, value: Value) -> Value {
        if let Some(stored) = self.current(field) {
            return stored;
        }
        if field.spec().identity {
            self.identify(field, Some(value.clone()));
            return value;
        }
        self.write(|inner| {
            inner.values.set(field, value.clone());
            Some(Change::SetDefault { field, value: value.clone() })
        });
        value
    }

    #[track_caller]
    pub(crate) fn delete(&self, field: &'static dyn AnyField) -> Option<Value> {
        let stored = self.current(field);
        if field.spec().identity {
            self.identify(field, None);
            return stored;
        }
        self.write(|inner| {
            inner.values.delete(field);
            Some(Change::Delete { field })
        });
        stored
    }

    /// Computes a field's new value from its stored one by `op`, which runs again when another thread came between.
    #[track_caller]
    pub(crate) fn update<R>(
        &self,
        field: &'static dyn AnyField,
        op: impl Fn(Option<&Value>) -> (Option<Value>, R) + Send + 'static,
    ) -> R {
        let at = Location::caller();
        let mut seen = self.current(field);
        let (mut new, result) = op(seen.as_ref());
        if REPLAYING.get() {
            return result;
        }
        if field.spec().identity {
            self.identify_at(field, new, at);
            return result;
        }
        loop {
            {
                let mut inner = self.lock();
                if matches!(inner.values.peek(field), Peek::Known(now) if is_same(now.as_ref(), seen.as_ref())) {
                    inner.values.put(field, new);
                    inner.push(Change::Update { field, op: Operation::new(Box::new(move |value| op(value).0)) }, at);
                    return result;
                }
            }
            seen = self.current(field);
            new = replay(|| op(seen.as_ref())).0;
        }
    }

    /// Computes new values from all values by `op`, which runs again when another thread came between.
    #[track_caller]
    pub(crate) fn edit<R>(&self, op: impl Fn(&mut Edit) -> R + Send + 'static) -> R {
        let at = Location::caller();
        let mut seen = self.snapshot();
        let mut edit = Edit::new(seen.1.clone());
        let result = op(&mut edit);
        if REPLAYING.get() {
            return result;
        }
        while !edit.changes.is_empty() {
            let before = seen.1.identity();
            let after = edit.view.values.identity();
            if before.is_some() && before != after {
                self.write_changes(edit.changes, at);
                break;
            }
            let mut inner = self.lock();
            if inner.revision == seen.0 {
                inner.values = edit.view.values;
                if before != after {
                    inner.imply(Lifecycle::Cycle, after.is_some());
                }
                inner.push(Change::Struct(Operation::new(Box::new(move |edit| _ = op(edit)))), at);
                break;
            }
            drop(inner);
            seen = self.snapshot();
            edit = Edit::new(seen.1.clone());
            replay(|| op(&mut edit));
        }
        result
    }

    /// Writes what a changed snapshot differs in.
    #[track_caller]
    pub(crate) fn replace(&self, write: impl FnOnce(&mut Edit)) {
        let at = Location::caller();
        let mut edit = Edit::new(self.snapshot().1);
        write(&mut edit);
        if !REPLAYING.get() {
            self.write_changes(edit.changes, at);
        }
    }

    /// Makes changes that are sets and deletes, the identity's first: it may empty the session for those after it.
    fn write_changes(&self, changes: Vec<Change>, at: &'static Location<'static>) {
        let (identity, others): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| match change {
            Change::Set { field, .. } | Change::Delete { field } => field.spec().identity,
            _ => false,
        });
        for change in identity {
            match change {
                Change::Set { field, value, .. } => self.identify_at(field, Some(value), at),
                Change::Delete { field } => self.identify_at(field, None, at),
                _ => {}
            }
        }
        let mut inner = self.lock();
        for change in others {
            match &change {
                Change::Set { field, value, .. } => inner.values.set(*field, value.clone()),
                Change::Delete { field } => inner.values.delete(*field),
                _ => {}
            }
            inner.push(change, at);
        }
    }

    #[track_caller]
    fn identify(&self, field: &'static dyn AnyField, new: Option<Value>) {
        self.identify_at(field, new, Location::caller());
    }

    /// Sets or deletes the user's id: a new session id each time, and nothing of one user is left for another.
    fn identify_at(&self, field: &'static dyn AnyField, new: Option<Value>, at: &'static Location<'static>) {
        if REPLAYING.get() {
            return;
        }
        let old = self.current(field).and_then(|value| field.identity(&value));
        let user = new.as_ref().and_then(|value| field.identity(value));
        let login = user.is_some();
        let mut inner = self.lock();
        if old.is_some() && old != user {
            inner.empty();
            inner.imply(Lifecycle::End, login);
        } else {
            inner.imply(Lifecycle::Cycle, login);
        }
        inner.values.put(field, new.clone());
        let change = match new {
            Some(value) => Change::Set { field, value, after_read: false },
            None => Change::Delete { field },
        };
        inner.push(change, at);
    }

    #[track_caller]
    pub(crate) fn clear(&self) {
        let identity = self.lock().values.schema().identity();
        if let Some(field) = identity
            && self.current(field).is_some()
        {
            return self.identify(field, None);
        }
        self.write(|inner| {
            inner.values = Values::empty(inner.values.schema());
            Some(Change::Clear)
        });
    }

    #[track_caller]
    pub(crate) fn flush(&self) {
        self.write(|inner| {
            inner.empty();
            inner.implied = Lifecycle::Keep;
            inner.login = false;
            inner.asked = Lifecycle::End;
            None
        });
    }

    #[track_caller]
    pub(crate) fn cycle_id(&self) {
        self.write(|inner| {
            inner.asked = inner.asked.max(Lifecycle::Cycle);
            None
        });
    }

    #[track_caller]
    pub(crate) fn set_expiry(&self, expiry: Expiry) {
        self.write(|inner| {
            let change = Change::Expiry(expiry);
            change.apply(&mut inner.values);
            Some(change)
        });
    }

    #[track_caller]
    pub(crate) fn set_test_cookie(&self, set: bool) {
        self.write(|inner| {
            let change = Change::TestCookie(set);
            change.apply(&mut inner.values);
            Some(change)
        });
    }

    /// Changes the values and keeps the change for replay, unless a replay is under way.
    #[track_caller]
    fn write(&self, change: impl FnOnce(&mut Inner) -> Option<Change>) {
        if REPLAYING.get() {
            return;
        }
        let at = Location::caller();
        let mut inner = self.lock();
        match change(&mut inner) {
            Some(change) => inner.push(change, at),
            None => inner.mark(at),
        }
    }
}

fn is_same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b)),
        (None, None) => true,
        _ => false,
    }
}
