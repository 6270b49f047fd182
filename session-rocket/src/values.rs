//! The fields of one session as values: loaded, read, changed and put together again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::clock::Timestamp;
use crate::codec::{self, Raw, Unreadable};
use crate::data::Schema;
use crate::error::{Error, ErrorKind, Result};
use crate::expiry::Expiry;
use crate::field::{AnyField, Value};

/// Stored names that start so are the library's own.
const RESERVED: char = '_';
const EXPIRY: &str = "_expiry";
const TEST_COOKIE: &str = "_test_cookie";
/// The format byte, the braces, and both fields of the library's own.
const OWN_FIELDS_AT_MOST: usize = 128;

/// What one field holds.
#[derive(Clone)]
enum Slot {
    /// Nothing.
    Absent,
    /// What was loaded, under the name it was loaded from. Written back as it came.
    Stored { raw: Raw, under: &'static str, seen: Seen },
    /// What this request set; not yet encoded.
    Set(Value),
}

/// What is known of a stored value.
#[derive(Clone)]
enum Seen {
    Unread,
    Undecodable,
    Decoded(Value),
}

/// What a read finds without running user code.
pub(crate) enum Peek {
    Known(Option<Value>),
    Undecoded(Raw),
}

/// All that one session holds.
#[derive(Clone)]
pub(crate) struct Values {
    schema: &'static Schema,
    slots: Vec<Slot>,
    /// Stored keys that no field of this build declares.
    rest: Vec<(String, Raw)>,
    expiry: Expiry,
    test_cookie: bool,
}

/// A change as it is kept for replay on a fresher record.
pub enum Change {
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
        op: Operation<dyn Fn(Option<&Value>) -> Option<Value> + Send>,
    },
    /// Compute new values from all of them.
    Struct(Operation<dyn Fn(&mut Edit) + Send>),
    /// Remove everything.
    Clear,
    /// Set when the session expires.
    Expiry(Expiry),
    /// Set or delete the test cookie.
    TestCookie(bool),
}

/// A closure that may run again, on any thread but on one at a time: those of users are `Send`, not `Sync`.
pub struct Operation<F: ?Sized>(Mutex<Box<F>>);

impl<F: ?Sized> Operation<F> {
    pub(crate) fn new(op: Box<F>) -> Self {
        Self(Mutex::new(op))
    }

    fn run<R>(&self, run: impl FnOnce(&F) -> R) -> R {
        run(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Change {
    /// Makes the change. Runs user code.
    pub(crate) fn apply(&self, values: &mut Values) {
        match self {
            Self::Set { field, value, .. } => values.set(*field, value.clone()),
            Self::SetDefault { field, value } => {
                if values.read(*field).is_none() {
                    values.set(*field, value.clone());
                }
            }
            Self::Delete { field } => values.delete(*field),
            Self::Update { field, op } => {
                let stored = values.read(*field);
                values.put(*field, op.run(|op| op(stored.as_ref())));
            }
            Self::Struct(op) => {
                let mut edit = Edit::new(values.clone());
                op.run(|op| op(&mut edit));
                *values = edit.view.values;
            }
            Self::Clear => *values = Values::empty(values.schema),
            Self::Expiry(expiry) => values.expiry = *expiry,
            Self::TestCookie(set) => values.test_cookie = *set,
        }
    }
}

impl Values {
    /// Nothing stored.
    pub(crate) fn empty(schema: &'static Schema) -> Self {
        Self {
            schema,
            slots: vec![Slot::Absent; schema.fields().len()],
            rest: Vec::new(),
            expiry: Expiry::Default,
            test_cookie: false,
        }
    }

    /// Cuts a payload into its fields. Nothing is decoded yet.
    pub(crate) fn load(schema: &'static Schema, payload: &Bytes) -> Result<Self, Unreadable> {
        let mut values = Self::empty(schema);
        let mut hint = 0;
        for (name, raw) in codec::split(payload)? {
            match schema.find(&name, hint) {
                Some((index, under)) => {
                    values.place(index, under, raw);
                    hint = index + 1;
                }
                None => values.place_other(name, raw),
            }
        }
        values.collect_extra();
        Ok(values)
    }

    /// A stored value of a declared field. Where both the stored name and an alias are there, the stored name wins and
    /// the other is kept as it is.
    fn place(&mut self, index: usize, under: &'static str, raw: Raw) {
        let stored = self.schema.fields()[index].spec().stored;
        let held = match &self.slots[index] {
            Slot::Stored { raw, under, .. } => Some((*under, raw.clone())),
            _ => None,
        };
        match held {
            Some((other, _)) if other == stored && under != stored => return self.rest.push((under.to_owned(), raw)),
            Some((other, older)) if other != under => self.rest.push((other.to_owned(), older)),
            _ => {}
        }
        self.slots[index] = Slot::Stored { raw, under, seen: Seen::Unread };
    }

    fn place_other(&mut self, name: String, raw: Raw) {
        match name.as_str() {
            EXPIRY => match raw.decode::<StoredExpiry>() {
                Some(expiry) => return self.expiry = expiry.into(),
                None => {
                    log::warn!(target: "session_rocket", "a session's own expiry does not decode: the default holds")
                }
            },
            TEST_COOKIE => return self.test_cookie = true,
            _ => {}
        }
        self.rest.push((name, raw));
    }

    /// Gives the undeclared keys to the `extra` field, if there is one.
    fn collect_extra(&mut self) {
        let Some(extra) = self.schema.extra() else { return };
        let schema = self.schema;
        let (own, foreign) = std::mem::take(&mut self.rest).into_iter().partition(|(name, _)| schema.is_extra(name));
        self.rest = foreign;
        let own: Vec<(String, Raw)> = own;
        if !own.is_empty() {
            let raw = Raw::object(own.iter().map(|(name, raw)| (name.as_str(), raw)));
            self.slots[extra] = Slot::Stored { raw, under: "", seen: Seen::Unread };
        }
    }

    pub(crate) fn peek(&self, field: &dyn AnyField) -> Peek {
        match &self.slots[field.spec().index] {
            Slot::Absent | Slot::Stored { seen: Seen::Undecodable, .. } => Peek::Known(None),
            Slot::Set(value) | Slot::Stored { seen: Seen::Decoded(value), .. } => Peek::Known(Some(value.clone())),
            Slot::Stored { raw, seen: Seen::Unread, .. } => Peek::Undecoded(raw.clone()),
        }
    }

    /// Remembers what `raw` decoded to, if it is still there.
    pub(crate) fn remember(&mut self, field: &dyn AnyField, raw: &Raw, decoded: Option<Value>) {
        if let Slot::Stored { raw: stored, seen: seen @ Seen::Unread, .. } = &mut self.slots[field.spec().index]
            && stored == raw
        {
            *seen = decoded.map_or(Seen::Undecodable, Seen::Decoded);
        }
    }

    /// The stored value. Runs user code when it was not decoded yet.
    pub(crate) fn read(&mut self, field: &dyn AnyField) -> Option<Value> {
        match self.peek(field) {
            Peek::Known(value) => value,
            Peek::Undecoded(raw) => {
                let decoded = self.schema.decode(field, &raw);
                self.remember(field, &raw, decoded.clone());
                decoded
            }
        }
    }

    pub(crate) fn set(&mut self, field: &dyn AnyField, value: Value) {
        self.forget_aliases(field);
        self.slots[field.spec().index] = Slot::Set(value);
    }

    pub(crate) fn delete(&mut self, field: &dyn AnyField) {
        self.forget_aliases(field);
        self.slots[field.spec().index] = Slot::Absent;
    }

    pub(crate) fn put(&mut self, field: &dyn AnyField, value: Option<Value>) {
        match value {
            Some(value) => self.set(field, value),
            None => self.delete(field),
        }
    }

    /// A value that is written lives under its stored name only: what is left under an alias would come back.
    fn forget_aliases(&mut self, field: &dyn AnyField) {
        let aliases = field.spec().aliases;
        if !aliases.is_empty() {
            self.rest.retain(|(name, _)| !aliases.contains(&name.as_str()));
        }
    }

    /// Whether nothing at all is kept.
    pub(crate) fn is_blank(&self) -> bool {
        self.is_empty() && self.expiry == Expiry::Default && !self.test_cookie && self.rest.is_empty()
    }

    /// Whether no field and no undeclared key is stored.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot, Slot::Absent))
            && self.rest.iter().all(|(name, _)| is_reserved(name))
    }

    pub(crate) fn expiry(&self) -> Expiry {
        self.expiry
    }

    pub(crate) fn test_cookie(&self) -> bool {
        self.test_cookie
    }

    /// The user's id as text.
    pub(crate) fn identity(&mut self) -> Option<String> {
        let field = self.schema.identity()?;
        let value = self.read(field)?;
        field.identity(&value)
    }

    /// Encodes what was set. Runs user code.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`], naming the field.
    pub(crate) fn settle(&mut self) -> Result<()> {
        for (slot, field) in self.slots.iter_mut().zip(self.schema.fields()) {
            if let Slot::Set(value) = slot {
                let raw = field.encode(value).0.map_err(|reason| self.schema.unencodable(*field, reason))?;
                self.schema.check_extra(*field, &raw)?;
                let seen = Seen::Decoded(value.clone());
                *slot = Slot::Stored { raw, under: field.spec().stored, seen };
            }
        }
        Ok(())
    }

    /// The payload of settled values.
    pub(crate) fn payload(&self) -> Bytes {
        let extra = self.extra_fields();
        let own = self.own_fields();
        let declared = self.slots.iter().zip(self.schema.fields()).filter_map(|(slot, field)| match slot {
            Slot::Stored { raw, under, .. } if !field.spec().extra => Some((*under, raw)),
            _ => None,
        });
        let others = self.rest.iter().chain(&extra).chain(&own).map(|(name, raw)| (name.as_str(), raw));
        codec::join(declared.chain(others))
    }

    fn extra_fields(&self) -> Vec<(String, Raw)> {
        match self.schema.extra().map(|index| &self.slots[index]) {
            Some(Slot::Stored { raw, .. }) => raw.fields().unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// What the library itself keeps in the session.
    fn own_fields(&self) -> Vec<(String, Raw)> {
        let mut own = Vec::new();
        if let Some(expiry) = StoredExpiry::of(self.expiry)
            && let Ok(raw) = Raw::encode(&expiry)
        {
            own.push((EXPIRY.to_owned(), raw));
        }
        if self.test_cookie
            && let Ok(raw) = Raw::encode("worked")
        {
            own.push((TEST_COOKIE.to_owned(), raw));
        }
        own
    }

    /// At least as many bytes as the payload of settled values takes; cheaper to tell.
    pub(crate) fn size_at_most(&self) -> usize {
        // Six bytes are the longest escape of one; a name has two quotes, a colon and a comma about it.
        let entry = |name: &str, raw: &Raw| 6 * name.len() + 4 + raw.size();
        let slots = self
            .slots
            .iter()
            .map(|slot| if let Slot::Stored { raw, under, .. } = slot { entry(under, raw) } else { 0 });
        let rest = self.rest.iter().map(|(name, raw)| entry(name, raw));
        slots.chain(rest).sum::<usize>() + OWN_FIELDS_AT_MOST
    }

    /// Whether settled values would be stored just as `other` is.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let same_slot = |pair: (&Slot, &Slot)| match pair {
            (Slot::Absent, Slot::Absent) => true,
            (Slot::Stored { raw: a, under: x, .. }, Slot::Stored { raw: b, under: y, .. }) => a == b && x == y,
            _ => false,
        };
        self.expiry == other.expiry
            && self.test_cookie == other.test_cookie
            && self.slots.iter().zip(&other.slots).all(same_slot)
            && self.rest == other.rest
    }

    /// Whether `field` is stored just as in `other`.
    pub(crate) fn same_field(&self, other: &Self, field: &dyn AnyField) -> bool {
        let raw = |values: &Self| match &values.slots[field.spec().index] {
            Slot::Stored { raw, .. } => Some(raw.clone()),
            _ => None,
        };
        raw(self) == raw(other)
    }

    /// The stored names of all that is stored.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.clone().items().into_iter().map(|(name, _)| name).collect()
    }

    /// All that is stored, as JSON. What does not encode is left out: saving it is what tells.
    pub(crate) fn items(mut self) -> Map<String, Json> {
        let mut items = Map::new();
        for field in self.schema.fields() {
            let Some(value) = self.read(*field) else { continue };
            let Ok(raw) = field.encode(&value).0 else { continue };
            let Some(json) = raw.decode::<Json>() else { continue };
            match json {
                Json::Object(extra) if field.spec().extra => items.extend(extra),
                json => _ = items.insert(field.spec().stored.to_owned(), json),
            }
        }
        for (name, raw) in self.rest.iter().filter(|(name, _)| !is_reserved(name) && !self.schema.declares(name)) {
            if let Some(json) = raw.decode() {
                items.insert(name.clone(), json);
            }
        }
        items
    }

    /// What `field` reads as, encoded: the default where nothing is stored.
    fn presented(&mut self, field: &dyn AnyField) -> Option<Raw> {
        match self.read(field) {
            Some(value) => field.encode(&value).0.ok(),
            None => field.encode_default()?.0.ok(),
        }
    }

    /// What `field` reads as, as JSON; `null` for an absent `Option`.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] when the value does not encode.
    pub(crate) fn presented_json(&mut self, field: &dyn AnyField) -> Result<Json> {
        let encoded = match self.read(field) {
            Some(value) => Some(field.encode(&value)),
            None => field.encode_default(),
        };
        let Some(encoded) = encoded else { return Ok(Json::Null) };
        let raw = encoded.0.map_err(|reason| self.schema.unencodable(field, reason))?;
        Ok(raw.decode().unwrap_or(Json::Null))
    }

    pub(crate) fn schema(&self) -> &'static Schema {
        self.schema
    }
}

pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED)
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
}

impl Edit {
    pub(crate) fn new(values: Values) -> Self {
        Self { view: View::new(values), changes: Vec::new() }
    }

    /// Stores `value` unless the field reads as that already.
    pub(crate) fn set(&mut self, field: &'static dyn AnyField, value: Value) {
        // A value that does not encode differs from everything: saving it gives the error.
        if let Ok(new) = field.encode(&value).0
            && self.view.values.presented(field).is_some_and(|old| same_json(&old, &new))
        {
            return;
        }
        self.view.values.set(field, value.clone());
        self.changes.push(Change::Set { field, value, after_read: false });
    }

    /// Removes what is stored, if anything is.
    pub(crate) fn delete(&mut self, field: &'static dyn AnyField) {
        if self.view.read(field).is_some() {
            self.view.values.delete(field);
            self.changes.push(Change::Delete { field });
        }
    }
}

/// Maps without an order encode in any: their texts may differ where they do not.
fn same_json(a: &Raw, b: &Raw) -> bool {
    a == b || a.decode::<Json>() == b.decode::<Json>()
}

/// An [`Expiry`] as the session keeps it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredExpiry {
    BrowserClose,
    /// Milliseconds.
    After(u64),
    /// Milliseconds since the epoch.
    At(i64),
}

impl StoredExpiry {
    fn of(expiry: Expiry) -> Option<Self> {
        Some(match expiry {
            Expiry::Default => return None,
            Expiry::BrowserClose => Self::BrowserClose,
            Expiry::After(duration) => Self::After(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
            Expiry::At(date) => Self::At(Timestamp::from(date).as_millis()),
        })
    }
}

impl From<StoredExpiry> for Expiry {
    fn from(stored: StoredExpiry) -> Self {
        match stored {
            StoredExpiry::BrowserClose => Self::BrowserClose,
            StoredExpiry::After(millis) => Self::After(Duration::from_millis(millis)),
            StoredExpiry::At(millis) => Self::At(Timestamp::from_millis(millis).to_date()),
        }
    }
}

/// The error of a record that grew too large.
pub(crate) fn too_large(schema: &Schema, size: usize, limit: usize) -> Error {
    let name = schema.type_name();
    Error::new(ErrorKind::TooLarge, format!("a session of type `{name}` takes {size} bytes, `max_size` is {limit}"))
}
