//! One request's session: what was loaded, what was changed, and what is to become of it.
//!
//! A pure state machine, without I/O and without a clock. No lock is held while user code runs.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::expiry::Expiry;
use crate::field::{AnyField, Value};
use crate::id::{Key, SessionId};
use crate::record::Version;
use crate::values::{Change, Edit, Operation, Peek, Values};

/// Where a session is kept.
#[derive(Clone)]
pub(crate) enum Carrier {
    /// Nowhere yet. A damaged record that the browser's id led to is removed once there is a new one.
    New { replaces: Option<(Key, Version)> },
    /// In the store.
    Live(Live),
    /// It was ended, or moved out of this request's reach: nothing is kept.
    Ended,
}

/// A session in the store.
#[derive(Clone)]
pub(crate) struct Live {
    /// Unknown when another request cycled the id meanwhile.
    pub id: Option<SessionId>,
    pub key: Key,
    pub version: Version,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// What is to become of a session's id, the stronger the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lifecycle {
    Keep,
    /// A new id, the same session.
    Cycle,
    /// The session ends; what is set afterwards makes a new one.
    End,
}

/// What the response has to tell the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CookieEffect {
    None,
    Set,
    Remove,
}

/// What a commit takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Everything,
    /// `flush` and `cycle_id` alone; all other changes are dropped.
    LifecycleOnly,
}

/// The changes of one commit.
pub(crate) struct Job {
    pub carrier: Carrier,
    /// As loaded.
    pub base: Values,
    /// As changed.
    pub values: Values,
    pub changes: Vec<Change>,
    pub lifecycle: Lifecycle,
    /// `flush` was called: the browser is to forget the id.
    pub flushed: bool,
    /// The identity was set: whatever became of the session meanwhile, the user gets one.
    pub login: bool,
}

/// What came of a commit.
pub(crate) struct Settled {
    pub carrier: Carrier,
    pub values: Values,
    pub cookie: CookieEffect,
}

/// The session of one request; clones are the same session.
#[derive(Clone)]
pub struct State(Arc<Mutex<Inner>>);

struct Inner {
    carrier: Carrier,
    base: Values,
    values: Values,
    changes: Vec<Change>,
    /// What `flush` and `cycle_id` asked for.
    asked: Lifecycle,
    /// What setting the identity brings about.
    implied: Lifecycle,
    login: bool,
    /// Which fields were read, by index.
    read: Vec<bool>,
    changed_at: Option<&'static Location<'static>>,
    /// Counts changes of `values`.
    revision: u64,
    /// Counts how often all changes were dropped.
    emptied: u64,
    cookie: CookieEffect,
    /// Of a commit whose caller has not seen it.
    failure: Option<Error>,
    head_sent: bool,
}

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
    pub(crate) fn new(carrier: Carrier, values: Values) -> Self {
        let fields = values.schema().fields().len();
        Self(Arc::new(Mutex::new(Inner {
            carrier,
            base: values.clone(),
            values,
            changes: Vec::new(),
            asked: Lifecycle::Keep,
            implied: Lifecycle::Keep,
            login: false,
            read: vec![false; fields],
            changed_at: None,
            revision: 0,
            emptied: 0,
            cookie: CookieEffect::None,
            failure: None,
            head_sent: false,
        })))
    }

    /// Nothing in here panics with the lock held in a way that leaves it half changed: a poisoned lock is as good.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

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

    /// The values as they are now, and their revision.
    pub(crate) fn snapshot(&self) -> (u64, Values) {
        let inner = self.lock();
        (inner.revision, inner.values.clone())
    }

    pub(crate) fn carrier(&self) -> Carrier {
        self.lock().carrier.clone()
    }

    pub(crate) fn is_modified(&self) -> bool {
        self.lock().is_modified()
    }

    /// Takes what there is to commit, if anything.
    pub(crate) fn take(&self, scope: Scope) -> Option<Job> {
        let mut inner = self.lock();
        if scope == Scope::LifecycleOnly {
            inner.drop_changes();
        }
        let job = inner.is_modified().then(|| Job {
            carrier: inner.carrier.clone(),
            base: inner.base.clone(),
            values: inner.values.clone(),
            changes: std::mem::take(&mut inner.changes),
            lifecycle: inner.asked.max(inner.implied),
            flushed: inner.asked == Lifecycle::End,
            login: inner.login,
        });
        inner.asked = Lifecycle::Keep;
        inner.implied = Lifecycle::Keep;
        inner.login = false;
        inner.changed_at = None;
        job
    }

    /// Goes on from what a commit came to; changes made meanwhile are kept.
    pub(crate) fn settle(&self, settled: Settled) {
        {
            let mut inner = self.lock();
            inner.carrier = settled.carrier;
            if settled.cookie != CookieEffect::None {
                inner.cookie = settled.cookie;
            }
            inner.base = settled.values;
        }
        self.rebase();
    }

    /// Takes back what a failed commit had taken on: these changes are closed.
    pub(crate) fn fail(&self, error: Error) {
        self.lock().failure = Some(error);
        self.rebase();
    }

    /// Puts the changes made since the last commit on top of what is stored. They are few and rare: other guards' of
    /// the same request, made while the commit ran.
    fn rebase(&self) {
        loop {
            let (changes, mut values, started) = {
                let mut inner = self.lock();
                let ended = inner.asked.max(inner.implied) == Lifecycle::End;
                let values = if ended { Values::empty(inner.base.schema()) } else { inner.base.clone() };
                (std::mem::take(&mut inner.changes), values, (inner.revision, inner.emptied))
            };
            replay(|| changes.iter().for_each(|change| change.apply(&mut values)));
            let mut inner = self.lock();
            let current = (inner.revision, inner.emptied) == started;
            if inner.emptied == started.1 {
                inner.changes.splice(..0, changes);
            }
            inner.revision += 1;
            if current {
                inner.values = values;
                return;
            }
        }
    }

    /// The error of a commit that nobody has been told of.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.lock().failure.take()
    }

    /// What the response head has to tell the browser; from now on it is sent.
    pub(crate) fn send_head(&self) -> (CookieEffect, Carrier, Expiry) {
        let mut inner = self.lock();
        inner.head_sent = true;
        (std::mem::replace(&mut inner.cookie, CookieEffect::None), inner.carrier.clone(), inner.base.expiry())
    }

    /// Whether the response has to tell the browser something already.
    pub(crate) fn has_news(&self) -> bool {
        self.lock().cookie != CookieEffect::None
    }

    pub(crate) fn head_sent(&self) -> bool {
        self.lock().head_sent
    }
}

impl Inner {
    fn mark(&mut self, at: &'static Location<'static>) {
        self.revision += 1;
        self.changed_at.get_or_insert(at);
    }

    fn push(&mut self, change: Change, at: &'static Location<'static>) {
        self.mark(at);
        self.changes.push(change);
    }

    fn imply(&mut self, lifecycle: Lifecycle, login: bool) {
        self.implied = self.implied.max(lifecycle);
        self.login = login;
    }

    /// Forgets all that was loaded and changed.
    fn empty(&mut self) {
        self.values = Values::empty(self.values.schema());
        self.changes.clear();
        self.emptied += 1;
        self.read.fill(false);
    }

    fn is_modified(&self) -> bool {
        !self.changes.is_empty() || self.asked.max(self.implied) != Lifecycle::Keep
    }

    fn drop_changes(&mut self) {
        self.changes.clear();
        self.emptied += 1;
        self.implied = Lifecycle::Keep;
        self.login = false;
        self.values = if self.asked == Lifecycle::End { Values::empty(self.base.schema()) } else { self.base.clone() };
        self.revision += 1;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(at) = self.changed_at.filter(|_| self.is_modified()) {
            log::error!(
                target: "session_rocket",
                "a session of type `{}` was changed at {at} and never saved: after the response, call `save().await`",
                self.base.schema().type_name(),
            );
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("modified", &self.is_modified()).finish_non_exhaustive()
    }
}

fn is_same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b)),
        (None, None) => true,
        _ => false,
    }
}
