//! The values of one session: loading, reading, changing and encoding them.

mod json;
mod library;
mod settings;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, OnceLock};

use bytes::Bytes;
use serde_json::Value as Json;

use self::library::LibraryData;
use crate::base::error::Result;
use crate::base::expiry::Lifetime;
use crate::data::codec::{self, Format, PayloadError, Raw};
use crate::data::field::{AnyField, Spec, Value};
use crate::data::schema::{Schema, is_reserved};

/// An upper bound for the size of a payload without fields, in bytes.
const FRAME: usize = 8;

/// The value of one field.
#[derive(Clone)]
enum Slot {
    /// The field has no value.
    Absent,
    /// The encoded value `raw`, stored under the name `under`. A save writes `raw` back unchanged. The first read sets
    /// `seen` to the decoded value, or to `None` if `raw` does not decode.
    Stored { raw: Raw, under: &'static str, seen: OnceLock<Option<Value>> },
    /// A value that this request set and has not encoded yet.
    Set(Value),
}

/// The result of [`Values::peek`], which runs no user code.
pub(crate) enum Peek {
    Known(Option<Value>),
    Undecoded(Raw),
}

/// The values of one session. A clone is cheap.
#[derive(Clone)]
pub(crate) struct Values {
    schema: &'static Schema,
    /// One slot per field. Clones share the slots until a clone is changed.
    slots: Arc<[Slot]>,
    /// `None` if the session has only declared fields. Clones share the data until a clone is changed.
    other_data: Option<Arc<OtherData>>,
}

/// The data of a session besides its declared fields.
#[derive(Clone, Default)]
struct OtherData {
    /// Entries that a save writes back unchanged: undeclared keys that are not in the `extra` field, reserved keys that
    /// this release cannot read, and values of a field under its other names.
    undeclared: Vec<(String, Raw)>,
    library: LibraryData,
    /// The stored value of the `extra` field before this request set it.
    extra_before: Option<Raw>,
    /// The identity in the loaded record. A save keeps it if this build has no identity field, or cannot decode the field.
    loaded_identity: Option<String>,
}

/// The other data of a session that has only declared fields.
static NO_OTHER_DATA: LazyLock<OtherData> = LazyLock::new(OtherData::default);

/// The user that a session belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    Nobody,
    User(String),
    /// A user whose id does not decode, with the identity in the record.
    Unknown(Option<String>),
}

impl Values {
    pub(crate) fn empty(schema: &'static Schema) -> Self {
        Self { schema, slots: schema.fields().iter().map(|_| Slot::Absent).collect(), other_data: None }
    }

    /// Splits a payload into its fields, without decoding them.
    pub(crate) fn load(
        schema: &'static Schema,
        payload: &Bytes,
        identity: Option<String>,
    ) -> Result<Self, PayloadError> {
        let mut values = Self::empty(schema);
        if identity.is_some() {
            values.other_data_mut().loaded_identity = identity;
        }
        let mut hint = 0;
        codec::split(payload, |name, raw| match schema.find(&name, hint) {
            Some((index, under)) => {
                values.store_field(index, under, raw);
                hint = index + 1;
            }
            None => values.store_other(name, raw),
        })?;
        values.collect_extra();
        Ok(values)
    }

    fn other_data(&self) -> &OtherData {
        self.other_data.as_deref().unwrap_or(&NO_OTHER_DATA)
    }

    /// Returns the other data for a change. First copies the data if a clone shares it.
    fn other_data_mut(&mut self) -> &mut OtherData {
        Arc::make_mut(self.other_data.get_or_insert_default())
    }

    /// Removes the undeclared keys for which `keep` returns false.
    fn retain_undeclared(&mut self, keep: impl Fn(&str) -> bool) {
        if self.other_data().undeclared.iter().any(|(name, _)| !keep(name)) {
            self.other_data_mut().undeclared.retain(|(name, _)| keep(name));
        }
    }

    /// Returns a slot for a change. First copies the slots if a clone shares them.
    fn slot(&mut self, index: usize) -> &mut Slot {
        &mut Arc::make_mut(&mut self.slots)[index]
    }

    /// Inserts the stored value of a declared field. If the payload has the field under several names, the stored name wins
    /// over aliases, and `undeclared` gets the other values.
    fn store_field(&mut self, index: usize, under: &'static str, raw: Raw) {
        let stored = self.schema.fields()[index].spec().stored;
        let present = match &self.slots[index] {
            Slot::Stored { raw, under, .. } => Some((*under, raw.clone())),
            _ => None,
        };
        match present {
            Some((other, _)) if other == stored && under != stored => {
                return self.other_data_mut().undeclared.push((under.to_owned(), raw));
            }
            Some((other, older)) if other != under => self.other_data_mut().undeclared.push((other.to_owned(), older)),
            _ => {}
        }
        *self.slot(index) = Slot::Stored { raw, under, seen: OnceLock::new() };
    }

    fn store_other(&mut self, name: Cow<'_, str>, raw: Raw) {
        let data = self.other_data_mut();
        if !data.library.take(&name, &raw) {
            data.undeclared.push((name.into_owned(), raw));
        }
    }

    /// Moves the undeclared keys into the `extra` field, if the session type has one.
    fn collect_extra(&mut self) {
        let Some(extra) = self.schema.extra().filter(|_| !self.other_data().undeclared.is_empty()) else { return };
        let schema = self.schema;
        // A value that `serde_json::Value` cannot represent stays in `undeclared`, so a save does not change it.
        let is_extra = |(name, raw): &(String, Raw)| schema.is_extra(name) && raw.decode::<Json>().is_some();
        let undeclared = &mut self.other_data_mut().undeclared;
        let (entries, rest): (Vec<_>, Vec<_>) = std::mem::take(undeclared).into_iter().partition(is_extra);
        *undeclared = rest;
        if !entries.is_empty() {
            *self.slot(extra) = Slot::Stored { raw: Raw::of_entries(&entries), under: "", seen: OnceLock::new() };
        }
    }

    pub(crate) fn peek(&self, field: &dyn AnyField) -> Peek {
        match &self.slots[field.spec().index] {
            Slot::Absent => Peek::Known(None),
            Slot::Set(value) => Peek::Known(Some(value.clone())),
            Slot::Stored { raw, seen, .. } => {
                seen.get().map_or_else(|| Peek::Undecoded(raw.clone()), |value| Peek::Known(value.clone()))
            }
        }
    }

    /// Caches the decoded value of `raw`, for all clones that share the slots, if the field still holds `raw`.
    pub(crate) fn remember(&self, field: &dyn AnyField, raw: &Raw, decoded: Option<Value>) {
        if let Slot::Stored { raw: stored, seen, .. } = &self.slots[field.spec().index]
            && stored == raw
        {
            // If another thread was first, its value stays.
            let _ = seen.set(decoded);
        }
    }

    /// Returns the value of a field, if it decodes. Runs user code if the value is not decoded yet.
    pub(crate) fn read(&self, field: &dyn AnyField) -> Option<Value> {
        match self.peek(field) {
            Peek::Known(value) => value,
            Peek::Undecoded(raw) => {
                let decoded = self.schema.decode(field, &raw);
                self.remember(field, &raw, decoded.clone());
                decoded
            }
        }
    }

    /// Replaces the value of a field, or removes it.
    ///
    /// Returns the replaced value if it was decoded. Dropping it runs user code, so the caller must first release its lock.
    pub(crate) fn put(&mut self, field: &dyn AnyField, value: Option<Value>) -> Option<Value> {
        let spec = field.spec();
        self.forget_aliases(spec);
        if spec.identity {
            // A login invalidates the old CSRF secret and auth MAC (ASVS 5.0, 7.2.4).
            self.set_csrf(None);
            self.set_auth(None);
        }
        let slot = value.map_or(Slot::Absent, Slot::Set);
        let replaced = match std::mem::replace(self.slot(spec.index), slot) {
            Slot::Absent => None,
            Slot::Set(value) => Some(value),
            Slot::Stored { raw, seen, .. } => {
                if spec.extra {
                    self.other_data_mut().extra_before = Some(raw);
                }
                seen.into_inner().flatten()
            }
        };
        if spec.extra && !self.has_stored(field) {
            if self.other_data().extra_before.is_some() {
                self.other_data_mut().extra_before = None;
            }
            let schema = self.schema;
            self.retain_undeclared(|name| !schema.is_extra(name));
        }
        replaced
    }

    /// Whether a field has a value, including a value that does not decode.
    pub(crate) fn has_stored(&self, field: &dyn AnyField) -> bool {
        !matches!(self.slots[field.spec().index], Slot::Absent)
    }

    /// Removes the undeclared values under the field's aliases. Otherwise, they would reappear after the field is deleted.
    fn forget_aliases(&mut self, spec: &Spec) {
        if !spec.aliases.is_empty() {
            self.retain_undeclared(|name| !spec.aliases.contains(&name));
        }
    }

    /// Whether there is nothing to store, not even data of the library itself.
    pub(crate) fn is_blank(&self) -> bool {
        self.is_empty()
            && self.other_data().library == LibraryData::default()
            && self.other_data().undeclared.is_empty()
    }

    /// Whether the session has neither a field nor an undeclared key. Ignores reserved keys, which hold the library's data.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot, Slot::Absent))
            && self.other_data().undeclared.iter().all(|(name, _)| is_reserved(name))
    }

    /// Returns the user that the session belongs to. Runs user code.
    pub(crate) fn owner(&self) -> Owner {
        let Some(field) = self.schema.identity() else { return Owner::Nobody };
        match self.read(field).and_then(|value| field.identity(&value)) {
            Some(user) => Owner::User(user),
            None if !self.has_stored(field) => Owner::Nobody,
            None => Owner::Unknown(self.other_data().loaded_identity.clone()),
        }
    }

    /// Returns the identity to store. Runs user code.
    pub(crate) fn identity(&self) -> Option<String> {
        if self.schema.identity().is_none() {
            return self.other_data().loaded_identity.clone();
        }
        match self.owner() {
            Owner::User(user) => Some(user),
            Owner::Nobody => None,
            Owner::Unknown(identity) => identity,
        }
    }

    /// Removes everything except the identity, the data of the login, and the CSRF secret.
    ///
    /// If somebody is logged in, `Session::clear` ends the session instead. So if `self` has an identity, its
    /// user logged in with another request meanwhile, and must stay logged in.
    pub(crate) fn clear(&mut self) {
        let identity = self.schema.identity().map(|field| field.spec().index);
        let identity_slot = identity.map(|index| (index, self.slots[index].clone()));
        let OtherData { library: LibraryData { csrf, login, .. }, loaded_identity, .. } = self.other_data();
        let library = LibraryData { csrf: *csrf, login: *login, ..LibraryData::default() };
        let data = OtherData { library, loaded_identity: loaded_identity.clone(), ..OtherData::default() };
        *self = Self { other_data: Some(Arc::new(data)), ..Self::empty(self.schema) };
        if let Some((index, slot)) = identity_slot {
            *self.slot(index) = slot;
        }
    }

    /// Encodes the values that this request set. Runs user code.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] if a value cannot be encoded. The message names the field.
    pub(crate) fn encode(&mut self) -> Result<()> {
        if !self.slots.iter().any(|slot| matches!(slot, Slot::Set(_))) {
            return Ok(());
        }
        for (slot, field) in Arc::make_mut(&mut self.slots).iter_mut().zip(self.schema.fields()) {
            if let Slot::Set(value) = slot {
                let encoded = field.encode_faithfully(value);
                let mut raw = encoded.map_err(|reason| self.schema.unencodable(*field, reason))?;
                if field.spec().extra {
                    let entries = self.schema.extra_entries(*field, &raw)?;
                    let data = Arc::make_mut(self.other_data.get_or_insert_default());
                    data.undeclared.retain(|(key, _)| entries.iter().all(|(name, _)| name != key));
                    raw = Raw::of_entries(&keep_unchanged(entries, data.extra_before.as_ref()));
                }
                let seen = OnceLock::from(Some(value.clone()));
                *slot = Slot::Stored { raw, under: field.spec().stored, seen };
            }
        }
        Ok(())
    }

    /// Returns the payload. All values must be encoded.
    pub(crate) fn payload(&self, format: Format) -> Bytes {
        let (library, extra) = (self.other_data().library.fields(), self.extra_entries());
        let declared = self.slots.iter().zip(self.schema.fields()).filter_map(|(slot, field)| match slot {
            Slot::Stored { raw, under, .. } if !field.spec().extra => Some((*under, raw)),
            _ => None,
        });
        let others = self.other_data().undeclared.iter().chain(&extra).map(|(name, raw)| (name.as_str(), raw));
        codec::join(declared.chain(others).chain(library.iter().map(|(name, raw)| (*name, raw))), format)
    }

    fn extra_entries(&self) -> Vec<(String, Raw)> {
        match self.schema.extra().map(|index| &self.slots[index]) {
            Some(Slot::Stored { raw, .. }) => raw.entries().unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Returns an upper bound for the size of the payload in bytes. All values must be encoded.
    pub(crate) fn size_at_most(&self) -> usize {
        let slots = self.slots.iter().map(|slot| match slot {
            Slot::Stored { raw, under, .. } => codec::size_at_most(under, raw),
            Slot::Absent | Slot::Set(_) => 0,
        });
        let undeclared = self.other_data().undeclared.iter().map(|(name, raw)| codec::size_at_most(name, raw));
        slots.chain(undeclared).sum::<usize>() + FRAME + library::AT_MOST
    }

    /// Whether `self` and `other` have the same values under the same names, and all are encoded.
    pub(crate) fn is_identical_to(&self, other: &Self) -> bool {
        let same_slot = |pair: (&Slot, &Slot)| match pair {
            (Slot::Absent, Slot::Absent) => true,
            (Slot::Stored { raw: a, under: x, .. }, Slot::Stored { raw: b, under: y, .. }) => a == b && x == y,
            _ => false,
        };
        let (one, two) = (self.other_data(), other.other_data());
        one.library == two.library
            && self.slots.iter().zip(other.slots.iter()).all(same_slot)
            && one.undeclared == two.undeclared
    }

    /// Whether `field` has the same encoded value in `other`.
    pub(crate) fn has_identical_field(&self, other: &Self, field: &dyn AnyField) -> bool {
        let raw = |values: &Self| match &values.slots[field.spec().index] {
            Slot::Stored { raw, .. } => Some(raw.clone()),
            _ => None,
        };
        raw(self) == raw(other)
    }

    pub(crate) fn schema(&self) -> &'static Schema {
        self.schema
    }

    /// Returns the settings of this session that decide when it expires.
    pub(crate) fn lifetime(&self) -> Lifetime {
        let is_anonymous = self.schema.identity().is_some_and(|field| !self.has_stored(field));
        let library = &self.other_data().library;
        Lifetime { expiry: library.expiry, max: library.max_lifetime, is_anonymous }
    }
}

/// Replaces each unchanged entry of an `extra` field with its stored form.
///
/// Encoding an entry again could change a number, because `serde_json::Value` cannot represent every number.
fn keep_unchanged(entries: Vec<(String, Raw)>, before: Option<&Raw>) -> Vec<(String, Raw)> {
    let before = before.and_then(Raw::entries).unwrap_or_default();
    let keep = |(name, raw): (String, Raw)| {
        let stored = before.iter().find(|(other, _)| *other == name).map(|(_, stored)| stored);
        let unchanged = stored.filter(|stored| stored.decode::<Json>() == raw.decode::<Json>()).cloned();
        (name, unchanged.unwrap_or(raw))
    };
    entries.into_iter().map(keep).collect()
}
