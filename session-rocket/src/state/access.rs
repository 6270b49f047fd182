//! Reads and changes of a session. Each change is logged, so that a commit can replay it on newer data.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::base::event::EndReason;
use crate::base::expiry::Expiry;
use crate::data::auth::AuthMac;
use crate::data::field::{AnyField, Value};
use crate::data::values::{Owner, Peek, Values};
use crate::state::change::{Change, Edit, Operation, Put, Replaying, is_replaying};
use crate::state::inner::{Inner, Intent, State};
use crate::state::status::Lifecycle;

/// The new value of a field, or `None` to delete the field.
struct NewValue(Option<Value>);

/// The methods of `Session` that change several fields.
#[derive(Clone, Copy, PartialEq)]
enum Method {
    Update,
    Transact,
    Replace,
}

/// The values and changes that a change replaced. Dropping them runs user code, so the caller must not hold the lock.
type Replaced = (Option<Value>, Option<Box<(Values, Vec<Change>)>>);

impl State {
    /// Returns the stored value of a field, and records the read.
    ///
    /// After a recorded read, a `set` that overwrites the change of another request logs a warning.
    pub(crate) fn read(&self, field: &dyn AnyField) -> Option<Value> {
        self.lock().read.insert(field.spec().index);
        self.current(field)
    }

    /// Returns the stored value of a field without recording the read.
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
        match inner.values.peek(field) {
            Peek::Known(value) => value,
            Peek::Undecoded(_) => decoded,
        }
    }

    /// Reads values, computes a change from them, and makes the change.
    ///
    /// Makes no change if `compute` returns `None`. Makes no change during a replay either, because the first run has
    /// made and logged the change. If another thread changed the values after the read, reads and computes again; this
    /// second run of user code counts as a replay.
    #[track_caller]
    fn change<Op, Seen, New, Old>(
        &self,
        op: Op,
        read: impl Fn() -> Seen,
        mut compute: impl FnMut(&Op, &Seen) -> Option<New>,
        is_current: impl Fn(&Inner, &Seen) -> bool,
        make: impl FnOnce(&mut Inner, Op, New) -> Old,
    ) {
        let at = Location::caller();
        let mut is_replay = false;
        loop {
            let seen = read();
            let computed = {
                let _replaying = is_replay.then(Replaying::begin);
                compute(&op, &seen)
            };
            let Some(new) = computed.filter(|_| !is_replaying()) else { return };
            let mut inner = self.lock();
            if is_current(&inner, &seen) {
                let replaced = make(&mut inner, op, new);
                inner.mark(at);
                drop(inner);
                drop(replaced);
                return;
            }
            is_replay = true;
        }
    }

    /// Makes a change that does not depend on the stored values. Does nothing during a replay.
    #[track_caller]
    pub(super) fn write<Old>(&self, make: impl FnOnce(&mut Inner) -> Old) {
        let at = Location::caller();
        if is_replaying() {
            return;
        }
        let mut inner = self.lock();
        let replaced = make(&mut inner);
        inner.mark(at);
        drop(inner);
        drop(replaced);
    }

    /// Changes one field. `log` returns the change to log.
    #[track_caller]
    fn change_field<O>(
        &self,
        field: &'static dyn AnyField,
        op: O,
        mut compute: impl FnMut(&O, Option<&Value>) -> Option<NewValue>,
        log: impl FnOnce(O, Option<Value>) -> Change,
    ) {
        let is_identity = field.spec().identity;
        let user = |value: &Option<Value>| value.as_ref().and_then(|value| field.identity(value));
        self.change(
            op,
            || self.current(field),
            |op, seen| {
                let new = compute(op, seen.as_ref())?.0;
                let is_same_user = is_identity && user(seen).is_some_and(|old| Some(old) == user(&new));
                Some((new, is_same_user))
            },
            |inner, seen| inner.holds(field, seen.as_ref()),
            |inner, op, (new, is_same_user)| {
                if is_identity {
                    return (inner.put(Put { field, value: new }, is_same_user), Some(op));
                }
                let replaced = inner.values.put(field, new.clone());
                inner.changes.push(log(op, new));
                ((replaced, None), None)
            },
        );
    }

    #[track_caller]
    pub(crate) fn set(&self, field: &'static dyn AnyField, value: Value) {
        let spec = field.spec();
        if spec.identity {
            let compute = |value: &Value, _: Option<&Value>| Some(NewValue(Some(value.clone())));
            return self.change_field(field, value, compute, |_, new| Change::of_put(field, new));
        }
        self.write(|inner| {
            let after_read = inner.read.contains(spec.index);
            let replaced = inner.values.put(field, Some(value.clone()));
            inner.changes.push(Change::Set { field, value, after_read });
            replaced
        });
    }

    #[track_caller]
    pub(crate) fn setdefault(&self, field: &'static dyn AnyField, value: Value) -> Value {
        let mut stored = None;
        let compute = |value: &Value, seen: Option<&Value>| {
            stored = seen.cloned();
            stored.is_none().then(|| NewValue(Some(value.clone())))
        };
        self.change_field(field, value.clone(), compute, |value, _| Change::SetDefault { field, value });
        stored.unwrap_or(value)
    }

    #[track_caller]
    pub(crate) fn delete(&self, field: &'static dyn AnyField) -> Option<Value> {
        let mut stored = None;
        let compute = |(): &(), seen: Option<&Value>| {
            stored = seen.cloned();
            // A value that does not decode reads as absent, but is deleted too.
            (stored.is_some() || self.lock().values.has_stored(field)).then_some(NewValue(None))
        };
        self.change_field(field, (), compute, |(), new| Change::of_put(field, new));
        stored
    }

    /// Computes the new value of a field with `op`, and returns the result of the first run of `op`.
    ///
    /// `op` runs again if another thread changed the field during the run.
    #[track_caller]
    pub(crate) fn update<R, F>(&self, field: &'static dyn AnyField, op: F) -> R
    where
        F: Fn(Option<&Value>) -> (Option<Value>, R) + Send + 'static,
    {
        let mut first = None;
        let compute = |op: &F, seen: Option<&Value>| {
            let (new, result) = op(seen);
            first.get_or_insert(result);
            Some(NewValue(new))
        };
        let log = |op: F, _| Change::Update { field, op: Operation::new(Box::new(move |value| op(value).0)) };
        self.change_field(field, op, compute, log);
        first.expect("`change` calls `compute` at least once")
    }

    /// Computes all values with `op`, and returns the result of the first run of `op`.
    ///
    /// `op` runs again if another thread changed a field during the run.
    #[track_caller]
    pub(crate) fn edit<R>(&self, op: impl Fn(&mut Edit) -> R + Send + 'static) -> R {
        self.run(op, Method::Update)
    }

    /// Runs `op` like [`edit`](Self::edit), for a caller that needs the result of the committed run.
    ///
    /// A run that changes nothing is committed too, because the commit checks that the run saw the stored session.
    #[track_caller]
    pub(crate) fn transact(&self, op: impl Fn(&mut Edit) + Send + 'static) {
        self.run(op, Method::Transact);
    }

    /// Writes the fields that `write` changes, or all fields if `write` changes the user.
    #[track_caller]
    pub(crate) fn replace(&self, write: impl FnOnce(&mut Edit)) {
        let schema = self.lock().values.schema();
        let replacement = Edit::of_everything(Values::empty(schema), write);
        self.run(move |edit| edit.replace(&replacement), Method::Replace);
    }

    #[track_caller]
    fn run<R>(&self, op: impl Fn(&mut Edit) -> R + Send + 'static, method: Method) -> R {
        let mut first = None;
        self.change(
            op,
            || self.snapshot(),
            |op, (_, values)| {
                let mut edit = Edit::new(values.clone());
                let result = op(&mut edit);
                first.get_or_insert(result);
                let owners = edit.changes_identity().then(|| (values.owner(), edit.view.values.owner()));
                (method == Method::Transact || !edit.puts.is_empty()).then_some((edit, owners))
            },
            |inner, (revision, _)| inner.revision == *revision,
            |inner, op, (edit, owners)| {
                inner.intent.transacts |= method == Method::Transact;
                let is_login = owners.as_ref().is_some_and(|(old, _)| *old == Owner::Nobody);
                if method == Method::Replace || owners.is_some() && !is_login {
                    // If the user changes, `put_all` drops all values that `op` did not set.
                    let is_same_user = owners.is_some_and(|(old, new)| old == new);
                    return (edit.view.values, inner.put_all(edit.puts, is_same_user), Some(op));
                }
                if is_login {
                    inner.imply(Lifecycle::Cycle, true);
                }
                inner.changes.push(Change::Struct(Operation::new(Box::new(move |edit| _ = op(edit)))));
                (std::mem::replace(&mut inner.values, edit.view.values), Vec::new(), None)
            },
        );
        first.expect("`change` calls `compute` at least once")
    }

    #[track_caller]
    pub(crate) fn clear(&self) {
        self.write(|inner| {
            if inner.values.schema().identity().is_some_and(|field| inner.values.has_stored(field)) {
                inner.imply(Lifecycle::End, false);
                return inner.empty();
            }
            inner.changes.push(Change::Clear);
            let mut empty = Values::empty(inner.values.schema());
            // The session keeps its id, so its CSRF tokens stay valid.
            empty.set_csrf(inner.values.csrf());
            (std::mem::replace(&mut inner.values, empty), Vec::new())
        });
    }

    #[track_caller]
    pub(crate) fn flush(&self, reason: EndReason) {
        self.write(|inner| {
            inner.intent = Intent { requested: Lifecycle::End, reason, ..Intent::default() };
            // The next session must not inherit the CSRF secret.
            inner.browser_csrf = None;
            inner.empty()
        });
    }

    #[track_caller]
    pub(crate) fn set_auth(&self, auth: AuthMac) {
        self.write(|inner| inner.apply(Change::Auth(auth)));
    }

    #[track_caller]
    pub(crate) fn cycle_id(&self) {
        self.write(|inner| {
            inner.intent.requested = inner.intent.requested.max(Lifecycle::Cycle);
            // Earlier CSRF tokens become invalid, including those of a visitor without a session.
            inner.browser_csrf = None;
            inner.apply(Change::ForgetCsrf);
        });
    }

    #[track_caller]
    pub(crate) fn set_expiry(&self, expiry: Expiry) {
        self.write(|inner| inner.apply(Change::Expiry(expiry)));
    }

    #[track_caller]
    pub(crate) fn set_max_lifetime(&self, limit: Option<Duration>) {
        self.write(|inner| inner.apply(Change::MaxLifetime(limit)));
    }

    #[track_caller]
    pub(crate) fn set_test_cookie(&self, set: bool) {
        self.write(|inner| inner.apply(Change::TestCookie(set)));
    }
}

impl Inner {
    /// Sets or deletes a field. `is_same_user` says whether a new identity belongs to the same user as before.
    fn put(&mut self, Put { field, value }: Put, is_same_user: bool) -> Replaced {
        let mut removed = None;
        if field.spec().identity {
            // Every change of the identity gives the session a new id, and a new user sees no data of the former user.
            // An identity that does not decode counts as another user.
            let former_user_leaves = self.values.has_stored(field) && !is_same_user;
            removed = former_user_leaves.then(|| Box::new(self.empty()));
            self.imply(if former_user_leaves { Lifecycle::End } else { Lifecycle::Cycle }, value.is_some());
        }
        let replaced = self.values.put(field, value.clone());
        // A logout is not replayed, so that a user whom another request logs in meanwhile stays logged in.
        if value.is_some() || !field.spec().identity {
            self.changes.push(Change::of_put(field, value));
        }
        (replaced, removed)
    }

    /// Sets and deletes fields. Starts with the identity, because a change of the identity may empty the session.
    fn put_all(&mut self, mut puts: Vec<Put>, is_same_user: bool) -> Vec<Replaced> {
        puts.sort_by_key(|put| !put.is_of_identity());
        puts.into_iter().map(|put| self.put(put, is_same_user)).collect()
    }

    /// Whether a field still has the value that was read.
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
