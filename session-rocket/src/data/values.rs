//! The values of one session: loaded, read, changed and encoded again.

mod own;
mod present;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value as Json;

use self::own::Own;
use crate::base::error::Result;
use crate::base::expiry::{Expiry, Lifetime};
use crate::data::codec::{self, Format, PayloadError, Raw};
use crate::data::csrf::CsrfSecret;
use crate::data::field::{AnyField, Spec, Value};
use crate::data::schema::{Schema, is_reserved};

/// What a payload has besides its fields, at most: the format byte and the braces.
const FRAME: usize = 8;

/// What one field holds.
#[derive(Clone)]
enum Slot {
    /// Nothing.
    Absent,
    /// A stored value and its stored name. It is written back as it was. `seen` is the decoded value, once somebody read
    /// it; `None` if it does not decode.
    Stored { raw: Raw, under: &'static str, seen: OnceLock<Option<Value>> },
    /// A value that this request set, not yet encoded.
    Set(Value),
}

/// What a read finds without user code.
pub(crate) enum Peek {
    Known(Option<Value>),
    Undecoded(Raw),
}

/// All that one session holds.
#[derive(Clone)]
pub(crate) struct Values {
    schema: &'static Schema,
    /// Shared by clones until one is changed.
    slots: Arc<[Slot]>,
    /// Stored keys that no field of this build declares.
    rest: Vec<(String, Raw)>,
    own: Own,
    /// What the `extra` field held before it was set.
    extra_before: Option<Raw>,
    /// The identity of the loaded record. It is kept if this build cannot decode the field.
    loaded_identity: Option<String>,
}

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    Nobody,
    User(String),
    /// Somebody whose id does not decode, and the identity of the record.
    Unknown(Option<String>),
}

impl Values {
    /// Nothing stored.
    pub(crate) fn empty(schema: &'static Schema) -> Self {
        Self {
            schema,
            slots: schema.fields().iter().map(|_| Slot::Absent).collect(),
            rest: Vec::new(),
            own: Own::default(),
            extra_before: None,
            loaded_identity: None,
        }
    }

    /// Cuts a payload into its fields. Nothing is decoded yet.
    pub(crate) fn load(
        schema: &'static Schema,
        payload: &Bytes,
        identity: Option<String>,
    ) -> Result<Self, PayloadError> {
        let mut values = Self { loaded_identity: identity, ..Self::empty(schema) };
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

    /// A slot to be changed.
    fn slot(&mut self, index: usize) -> &mut Slot {
        &mut Arc::make_mut(&mut self.slots)[index]
    }

    /// Places the stored value of a declared field. If both the stored name and an alias occur, the stored name wins, and
    /// the other value is kept as it is.
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
        *self.slot(index) = Slot::Stored { raw, under, seen: OnceLock::new() };
    }

    fn place_other(&mut self, name: String, raw: Raw) {
        if !self.own.take(&name, &raw) {
            self.rest.push((name, raw));
        }
    }

    /// Gives the undeclared keys to the `extra` field, if there is one.
    fn collect_extra(&mut self) {
        let Some(extra) = self.schema.extra() else { return };
        let schema = self.schema;
        // A value that no JSON value can hold is not seen, and kept as it is.
        let is_seen = |(name, raw): &(String, Raw)| schema.is_extra(name) && raw.decode::<Json>().is_some();
        let (seen, unseen): (Vec<_>, Vec<_>) = std::mem::take(&mut self.rest).into_iter().partition(is_seen);
        self.rest = unseen;
        if !seen.is_empty() {
            *self.slot(extra) = Slot::Stored { raw: Raw::of_entries(&seen), under: "", seen: OnceLock::new() };
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

    /// Remembers what `raw` decoded to, if it is still there; clones that share it know it as well.
    pub(crate) fn remember(&self, field: &dyn AnyField, raw: &Raw, decoded: Option<Value>) {
        if let Slot::Stored { raw: stored, seen, .. } = &self.slots[field.spec().index]
            && stored == raw
        {
            // If another thread came first, its value stays.
            let _ = seen.set(decoded);
        }
    }

    /// The stored value. Runs user code if the value was not decoded yet.
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

    /// Replaces the value of a field, or removes it. Returns the replaced value if it was decoded, because a value must not be
    /// dropped under a lock: dropping it runs user code.
    pub(crate) fn put(&mut self, field: &dyn AnyField, value: Option<Value>) -> Option<Value> {
        let spec = field.spec();
        self.forget_aliases(spec);
        if spec.identity {
            // A token from before the login is invalid after it (ASVS 5.0, 7.2.4).
            self.set_csrf(None);
        }
        let slot = value.map_or(Slot::Absent, Slot::Set);
        let replaced = match std::mem::replace(self.slot(spec.index), slot) {
            Slot::Absent => None,
            Slot::Set(value) => Some(value),
            Slot::Stored { raw, seen, .. } => {
                if spec.extra {
                    self.extra_before = Some(raw);
                }
                seen.into_inner().flatten()
            }
        };
        if spec.extra && !self.is_stored(field) {
            self.extra_before = None;
            let schema = self.schema;
            self.rest.retain(|(name, _)| !schema.is_extra(name));
        }
        replaced
    }

    /// Whether anything is stored in a field, even if it does not decode.
    pub(crate) fn is_stored(&self, field: &dyn AnyField) -> bool {
        !matches!(self.slots[field.spec().index], Slot::Absent)
    }

    /// Removes values under aliases. A field that is written has its stored name only; an alias would bring its old value back.
    fn forget_aliases(&mut self, spec: &Spec) {
        if !spec.aliases.is_empty() {
            self.rest.retain(|(name, _)| !spec.aliases.contains(&name.as_str()));
        }
    }

    /// Whether nothing at all is kept.
    pub(crate) fn is_blank(&self) -> bool {
        self.is_empty() && self.own == Own::default() && self.rest.is_empty()
    }

    /// Whether no field and no undeclared key is stored.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot, Slot::Absent))
            && self.rest.iter().all(|(name, _)| is_reserved(name))
    }

    /// Whose session it is. Runs user code.
    pub(crate) fn owner(&self) -> Owner {
        let Some(field) = self.schema.identity() else { return Owner::Nobody };
        match self.read(field).and_then(|value| field.identity(&value)) {
            Some(user) => Owner::User(user),
            None if !self.is_stored(field) => Owner::Nobody,
            None => Owner::Unknown(self.loaded_identity.clone()),
        }
    }

    /// The identity to store. Runs user code.
    pub(crate) fn identity(&self) -> Option<String> {
        if self.schema.identity().is_none() {
            return self.loaded_identity.clone();
        }
        match self.owner() {
            Owner::User(user) => Some(user),
            Owner::Nobody => None,
            Owner::Unknown(identity) => identity,
        }
    }

    /// Removes everything except the identity, which a `clear` of another request does not remove.
    pub(crate) fn clear(&mut self) {
        let identity = self.schema.identity().map(|field| field.spec().index);
        let kept = identity.map(|index| (index, self.slots[index].clone()));
        let loaded_identity = self.loaded_identity.take();
        *self = Self { loaded_identity, ..Self::empty(self.schema) };
        if let Some((index, slot)) = kept {
            *self.slot(index) = slot;
        }
    }

    /// Encodes what was set. Runs user code.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`], naming the field.
    pub(crate) fn encode(&mut self) -> Result<()> {
        if !self.slots.iter().any(|slot| matches!(slot, Slot::Set(_))) {
            return Ok(());
        }
        for (slot, field) in Arc::make_mut(&mut self.slots).iter_mut().zip(self.schema.fields()) {
            if let Slot::Set(value) = slot {
                let encoded = field.encode_to_keep(value);
                let mut raw = encoded.map_err(|reason| self.schema.unencodable(*field, reason))?;
                if field.spec().extra {
                    let entries = self.schema.extra_entries(*field, &raw)?;
                    self.rest.retain(|(unseen, _)| entries.iter().all(|(name, _)| name != unseen));
                    raw = Raw::of_entries(&keep_unchanged(entries, self.extra_before.as_ref()));
                }
                let seen = OnceLock::from(Some(value.clone()));
                *slot = Slot::Stored { raw, under: field.spec().stored, seen };
            }
        }
        Ok(())
    }

    /// The payload of encoded values.
    pub(crate) fn payload(&self, format: Format) -> Bytes {
        let (own, extra) = (self.own.fields(), self.extra_entries());
        let declared = self.slots.iter().zip(self.schema.fields()).filter_map(|(slot, field)| match slot {
            Slot::Stored { raw, under, .. } if !field.spec().extra => Some((*under, raw)),
            _ => None,
        });
        let others = self.rest.iter().chain(&extra).map(|(name, raw)| (name.as_str(), raw));
        codec::join(declared.chain(others).chain(own.iter().map(|(name, raw)| (*name, raw))), format)
    }

    fn extra_entries(&self) -> Vec<(String, Raw)> {
        match self.schema.extra().map(|index| &self.slots[index]) {
            Some(Slot::Stored { raw, .. }) => raw.entries().unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// At least as many bytes as the payload of encoded values takes. Cheaper than the payload.
    pub(crate) fn size_at_most(&self) -> usize {
        let slots = self.slots.iter().map(|slot| match slot {
            Slot::Stored { raw, under, .. } => codec::size_at_most(under, raw),
            Slot::Absent | Slot::Set(_) => 0,
        });
        let rest = self.rest.iter().map(|(name, raw)| codec::size_at_most(name, raw));
        slots.chain(rest).sum::<usize>() + FRAME + own::AT_MOST
    }

    /// Whether encoded values would be stored just as `other` is.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let same_slot = |pair: (&Slot, &Slot)| match pair {
            (Slot::Absent, Slot::Absent) => true,
            (Slot::Stored { raw: a, under: x, .. }, Slot::Stored { raw: b, under: y, .. }) => a == b && x == y,
            _ => false,
        };
        self.own == other.own && self.slots.iter().zip(other.slots.iter()).all(same_slot) && self.rest == other.rest
    }

    /// Whether `field` is stored just as in `other`.
    pub(crate) fn same_field(&self, other: &Self, field: &dyn AnyField) -> bool {
        let raw = |values: &Self| match &values.slots[field.spec().index] {
            Slot::Stored { raw, .. } => Some(raw.clone()),
            _ => None,
        };
        raw(self) == raw(other)
    }

    pub(crate) fn schema(&self) -> &'static Schema {
        self.schema
    }

    /// What the session says about its lifetime.
    pub(crate) fn lifetime(&self) -> Lifetime {
        let is_anonymous = self.schema.identity().is_some_and(|field| !self.is_stored(field));
        Lifetime { expiry: self.own.expiry, max: self.own.max_lifetime, is_anonymous }
    }

    pub(crate) fn set_expiry(&mut self, expiry: Expiry) {
        self.forget_unread(own::EXPIRY);
        self.own.expiry = expiry;
    }

    pub(crate) fn set_max_lifetime(&mut self, limit: Option<Duration>) {
        self.forget_unread(own::MAX_LIFETIME);
        self.own.max_lifetime = limit;
    }

    pub(crate) fn test_cookie(&self) -> bool {
        self.own.test_cookie
    }

    pub(crate) fn set_test_cookie(&mut self, set: bool) {
        self.own.test_cookie = set;
    }

    pub(crate) fn csrf(&self) -> Option<CsrfSecret> {
        self.own.csrf
    }

    pub(crate) fn set_csrf(&mut self, secret: Option<CsrfSecret>) {
        self.forget_unread(own::CSRF);
        self.own.csrf = secret;
    }

    /// Removes a field of the library's own that another release wrote and this one cannot read.
    fn forget_unread(&mut self, name: &str) {
        self.rest.retain(|(other, _)| other != name);
    }
}

/// The entries of an `extra` field, unchanged ones as they were stored: a JSON value does not hold every number.
fn keep_unchanged(entries: Vec<(String, Raw)>, before: Option<&Raw>) -> Vec<(String, Raw)> {
    let before = before.and_then(Raw::entries).unwrap_or_default();
    let keep = |(name, raw): (String, Raw)| {
        let stored = before.iter().find(|(other, _)| *other == name).map(|(_, stored)| stored);
        let unchanged = stored.filter(|stored| stored.decode::<Json>() == raw.decode::<Json>()).cloned();
        (name, unchanged.unwrap_or(raw))
    };
    entries.into_iter().map(keep).collect()
}
