//! What accessors do: reads, and changes that are kept for replay.

use std::cell::Cell;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::{Carrier, Inner, Lifecycle, Live, State};
use crate::base::error::{Error, Result};
use crate::base::expiry::Expiry;
use crate::data::csrf::CsrfSecret;
use crate::data::field::{AnyField, Value};
use crate::data::values::{Owner, Peek, Values};
use crate::state::change::{Change, Edit, Operation};

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
        let inner = self.lock();
        inner.values.remember(field, &raw, decoded.clone());
        // Another thread may have decoded it first: all readers share one value.
        match inner.values.peek(field) {
            Peek::Known(value) => value,
            Peek::Undecoded(_) => decoded,
        }
    }

    #[track_caller]
    pub(crate) fn set(&self, field: &'static dyn AnyField, value: Value) {
        let at = Location::caller();
        if REPLAYING.get() {
            return;
        }
        if field.spec().identity {
            return self.identify(field, Some(value), at);
        }
        let mut inner = self.lock();
        let after_read = inner.read[field.spec().index];
        let replaced = inner.values.put(field, Some(value.clone()));
        inner.push(Change::Set { field, value, after_read }, at);
        drop(inner);
        drop(replaced);
    }

    #[track_caller]
    pub(crate) fn setdefault(&self, field: &'static dyn AnyField, value: Value) -> Value {
        let at = Location::caller();
        loop {
            if let Some(stored) = self.current(field) {
                return stored;
            }
            if REPLAYING.get() {
                return value;
            }
            if field.spec().identity {
                self.identify(field, Some(value.clone()), at);
                return value;
            }
            let change = Change::SetDefault { field, value: value.clone() };
            if self.put_if(field, None, Some(value.clone()), change, at) {
                return value;
            }
        }
    }

    #[track_caller]
    pub(crate) fn delete(&self, field: &'static dyn AnyField) -> Option<Value> {
        let at = Location::caller();
        loop {
            let stored = self.current(field);
            let is_absent = stored.is_none() && !self.lock().values.is_stored(field);
            if is_absent || REPLAYING.get() {
                return stored;
            }
            if field.spec().identity {
                self.identify(field, None, at);
                return stored;
            }
            if self.put_if(field, stored.as_ref(), None, Change::Delete { field }, at) {
                return stored;
            }
        }
    }

    /// Puts `new` in the place of `seen`, unless another thread came between.
    fn put_if(
        &self,
        field: &'static dyn AnyField,
        seen: Option<&Value>,
        new: Option<Value>,
        change: Change,
        at: &'static Location<'static>,
    ) -> bool {
        let mut inner = self.lock();
        if !inner.holds(field, seen) {
            return false;
        }
        let replaced = inner.values.put(field, new);
        inner.push(change, at);
        drop(inner);
        drop(replaced);
        true
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
            self.identify(field, new, at);
            return result;
        }
        loop {
            let mut inner = self.lock();
            if inner.holds(field, seen.as_ref()) {
                let replaced = inner.values.put(field, new);
                inner.push(Change::Update { field, op: Operation::new(Box::new(move |value| op(value).0)) }, at);
                drop(inner);
                drop(replaced);
                return result;
            }
            drop(inner);
            seen = self.current(field);
            new = replay(|| op(seen.as_ref())).0;
        }
    }

    /// Computes new values from all values by `op`, which runs again when another thread came between.
    #[track_caller]
    pub(crate) fn edit<R>(&self, op: impl Fn(&mut Edit) -> R + Send + 'static) -> R {
        self.run(op, false)
    }

    /// As [`edit`](Self::edit), for a caller that uses the result of the committed run. A run that changes nothing is
    /// committed as well, to prove that it saw the stored session.
    #[track_caller]
    pub(crate) fn transact(&self, op: impl Fn(&mut Edit) + Send + 'static) {
        self.run(op, true);
    }

    #[track_caller]
    fn run<R>(&self, op: impl Fn(&mut Edit) -> R + Send + 'static, transacts: bool) -> R {
        let at = Location::caller();
        let mut seen = self.snapshot();
        let mut edit = Edit::new(seen.1.clone());
        let result = op(&mut edit);
        if REPLAYING.get() {
            return result;
        }
        while transacts || !edit.changes.is_empty() {
            let identity_changes = edit.changes.iter().any(Change::is_of_identity);
            if identity_changes && seen.1.owner() != Owner::Nobody {
                // Another user, or nobody: what the closure set is to stay, what was there before is not.
                self.write_changes(edit.changes, at);
                self.lock().transacts |= transacts;
                break;
            }
            let mut inner = self.lock();
            if inner.revision == seen.0 {
                let replaced = std::mem::replace(&mut inner.values, edit.view.values);
                if identity_changes {
                    inner.imply(Lifecycle::Cycle, true);
                }
                inner.push(Change::Struct(Operation::new(Box::new(move |edit| _ = op(edit)))), at);
                inner.transacts |= transacts;
                drop(inner);
                drop(replaced);
                break;
            }
            drop(inner);
            seen = self.snapshot();
            edit = Edit::new(seen.1.clone());
            replay(|| op(&mut edit));
        }
        result
    }

    /// Writes what a given struct differs in; all of it when it is another user's.
    #[track_caller]
    pub(crate) fn replace(&self, write: impl FnOnce(&mut Edit)) {
        let at = Location::caller();
        let values = self.snapshot().1;
        let mut given = Edit::of_everything(Values::empty(values.schema()));
        write(&mut given);
        if REPLAYING.get() {
            return;
        }
        let (identity, others): (Vec<_>, Vec<_>) = given.changes.into_iter().partition(Change::is_of_identity);
        let owner = values.owner();
        let mut edit = Edit::new(values.clone());
        identity.into_iter().for_each(|change| edit.make(change));
        if owner != Owner::Nobody && edit.view.values.owner() != owner {
            // Nothing that is there is for this user.
            edit.view.values = Values::empty(values.schema());
        }
        others.into_iter().for_each(|change| edit.make(change));
        self.write_changes(edit.changes, at);
    }

    /// Makes changes that are sets and deletes, the identity's first: it may empty the session for those after it.
    fn write_changes(&self, changes: Vec<Change>, at: &'static Location<'static>) {
        let (identity, others): (Vec<_>, Vec<_>) = changes.into_iter().partition(Change::is_of_identity);
        for change in identity {
            match change {
                Change::Set { field, value, .. } => self.identify(field, Some(value), at),
                Change::Delete { field } => self.identify(field, None, at),
                _ => {}
            }
        }
        let mut replaced = Vec::new();
        let mut inner = self.lock();
        for change in others {
            match &change {
                Change::Set { field, value, .. } => replaced.push(inner.values.put(*field, Some(value.clone()))),
                Change::Delete { field } => replaced.push(inner.values.put(*field, None)),
                _ => {}
            }
            inner.push(change, at);
        }
        drop(inner);
    }

    /// Sets or deletes the user's id: a new session id each time, and nothing of one user is left for another.
    fn identify(&self, field: &'static dyn AnyField, new: Option<Value>, at: &'static Location<'static>) {
        let user = new.as_ref().and_then(|value| field.identity(value));
        loop {
            let seen = self.current(field);
            let old = seen.as_ref().and_then(|value| field.identity(value));
            let mut inner = self.lock();
            if !inner.holds(field, seen.as_ref()) {
                continue;
            }
            // An id that does not decode is some other user's.
            let leaves = inner.values.is_stored(field) && (old.is_none() || old != user);
            let emptied = leaves.then(|| inner.empty());
            inner.imply(if leaves { Lifecycle::End } else { Lifecycle::Cycle }, user.is_some());
            let replaced = inner.values.put(field, new.clone());
            match new {
                Some(value) => inner.push(Change::Set { field, value, after_read: false }, at),
                // Nobody is to be logged out: not whoever another request logs in meanwhile either.
                None => inner.mark(at),
            }
            drop(inner);
            drop((emptied, replaced));
            return;
        }
    }

    #[track_caller]
    pub(crate) fn clear(&self) {
        let at = Location::caller();
        if REPLAYING.get() {
            return;
        }
        let mut inner = self.lock();
        let identity = inner.values.schema().identity();
        let emptied = if identity.is_some_and(|field| inner.values.is_stored(field)) {
            inner.imply(Lifecycle::End, false);
            let emptied = inner.empty();
            inner.mark(at);
            (emptied.0, Some(emptied.1))
        } else {
            let empty = Values::empty(inner.values.schema());
            inner.push(Change::Clear, at);
            (std::mem::replace(&mut inner.values, empty), None)
        };
        drop(inner);
        drop(emptied);
    }

    #[track_caller]
    pub(crate) fn flush(&self) {
        let at = Location::caller();
        if REPLAYING.get() {
            return;
        }
        let mut inner = self.lock();
        let emptied = inner.empty();
        inner.implied = Lifecycle::Keep;
        inner.login = false;
        inner.asked = Lifecycle::End;
        inner.mark(at);
        drop(inner);
        drop(emptied);
    }

    #[track_caller]
    pub(crate) fn cycle_id(&self) {
        if !REPLAYING.get() {
            let mut inner = self.lock();
            inner.asked = inner.asked.max(Lifecycle::Cycle);
            // A token of before the cycle is not valid after it.
            inner.write(Change::ForgetCsrf, Location::caller());
        }
    }

    /// The secret that this session's tokens are made from; drawn where there is none.
    #[track_caller]
    pub(crate) fn csrf(&self) -> Result<CsrfSecret> {
        let at = Location::caller();
        if let Some(secret) = self.csrf_secret() {
            return Ok(secret);
        }
        // Drawn without the lock, for it may wait; another thread may have come first.
        let random = CsrfSecret::random()?;
        let mut inner = self.lock();
        if let Some(secret) = inner.values.csrf() {
            return Ok(secret);
        }
        let secret = match &inner.carrier {
            Carrier::Live(Live { id: Some(id), .. }) if inner.keeps_id() => CsrfSecret::of(id),
            _ => random,
        };
        if !REPLAYING.get() {
            inner.write(Change::Csrf(secret), at);
        }
        Ok(secret)
    }

    /// The secret that this session's tokens are made from, if there is one.
    pub(crate) fn csrf_secret(&self) -> Option<CsrfSecret> {
        self.lock().values.csrf()
    }

    /// As [`fail`](Self::fail), for what is not of a commit: the response fails.
    pub(crate) fn fail_response(&self, error: Error) {
        self.lock().note_failure(error);
    }

    #[track_caller]
    pub(crate) fn set_expiry(&self, expiry: Expiry) {
        self.write(Change::Expiry(expiry));
    }

    #[track_caller]
    pub(crate) fn set_max_lifetime(&self, limit: Option<Duration>) {
        self.write(Change::MaxLifetime(limit));
    }

    #[track_caller]
    pub(crate) fn set_test_cookie(&self, set: bool) {
        self.write(Change::TestCookie(set));
    }

    /// Makes a change, unless a replay is under way.
    #[track_caller]
    fn write(&self, change: Change) {
        if !REPLAYING.get() {
            self.lock().write(change, Location::caller());
        }
    }

    /// Whether the session has the id that it was loaded with, and keeps it.
    pub(crate) fn keeps_id(&self) -> bool {
        self.lock().keeps_id()
    }
}

impl Inner {
    /// Makes a change that drops nothing of the user's.
    fn write(&mut self, change: Change, at: &'static Location<'static>) {
        change.apply(&mut self.values);
        self.push(change, at);
    }

    /// Whether the session goes on under the id it has.
    fn keeps_id(&self) -> bool {
        self.asked.max(self.implied) == Lifecycle::Keep
    }

    /// Whether a field still reads as it did.
    fn holds(&self, field: &dyn AnyField, seen: Option<&Value>) -> bool {
        matches!(self.values.peek(field), Peek::Known(now) if is_same(now.as_ref(), seen))
    }
}

fn is_same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b)),
        (None, None) => true,
        _ => false,
    }
}
