//! The fields of one session as values: loaded, read, changed and put together again.

mod own;
mod present;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value as Json;

use self::own::Own;
use crate::base::error::Result;
use crate::data::codec::{self, Fields, Format, Raw, Unreadable};
use crate::data::field::{AnyField, Value};
use crate::data::schema::Schema;

/// Stored names that start so are the library's own.
const RESERVED: char = '_';
/// What a payload has besides its fields, at most: the format byte, the braces, and the name that values of the other
/// format stand under.
const FRAME: usize = 32;

/// What one field holds.
#[derive(Clone)]
enum Slot {
    /// Nothing.
    Absent,
    /// What was loaded, under the name it was loaded from. Written back as it came. `seen` is what it decoded to, or that
    /// it does not, once somebody asked.
    Stored { raw: Raw, under: &'static str, seen: OnceLock<Option<Value>> },
    /// What this request set; not yet encoded.
    Set(Value),
}

/// What was in a field's place before.
pub(crate) struct Replaced {
    _slot: Slot,
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
    /// Shared by clones until one is changed.
    slots: Arc<[Slot]>,
    /// Stored keys that no field of this build declares.
    rest: Vec<(String, Raw)>,
    own: Own,
    /// What the `extra` field held before it was set.
    extra_before: Option<Fields>,
    /// The identity the record was loaded with: it is kept where this build cannot read the field.
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
    pub(crate) fn load(schema: &'static Schema, payload: &Bytes, identity: Option<String>) -> Result<Self, Unreadable> {
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
        let (own, foreign) = std::mem::take(&mut self.rest).into_iter().partition(|(name, _)| schema.is_extra(name));
        self.rest = foreign;
        let own: Vec<(String, Raw)> = own;
        if !own.is_empty() {
            *self.slot(extra) = Slot::Stored { raw: Raw::Fields(own.into()), under: "", seen: OnceLock::new() };
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
            // Where another thread came first, its value stays.
            let _ = seen.set(decoded);
        }
    }

    /// The stored value. Runs user code when it was not decoded yet.
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

    /// Puts a value, or nothing, in the place of what is there; gives that back, for user code must not be dropped under
    /// a lock.
    pub(crate) fn put(&mut self, field: &dyn AnyField, value: Option<Value>) -> Replaced {
        self.forget_aliases(field);
        if field.spec().identity {
            // A token of before the login is not valid after it (ASVS 5.0, 7.2.4).
            self.set_csrf(None);
        }
        let slot = value.map_or(Slot::Absent, Slot::Set);
        let replaced = std::mem::replace(self.slot(field.spec().index), slot);
        if let Slot::Stored { raw: Raw::Fields(fields), .. } = &replaced {
            self.extra_before = Some(fields.clone());
        }
        if field.spec().extra && !self.is_stored(field) {
            self.extra_before = None;
        }
        Replaced { _slot: replaced }
    }

    /// Whether anything is stored in a field, even if it does not decode.
    pub(crate) fn is_stored(&self, field: &dyn AnyField) -> bool {
        !matches!(self.slots[field.spec().index], Slot::Absent)
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
        let value = match self.peek(field) {
            Peek::Known(value) => value,
            Peek::Undecoded(raw) => self.schema.decode(field, &raw),
        };
        match value.and_then(|value| field.identity(&value)) {
            Some(user) => Owner::User(user),
            None if matches!(self.slots[field.spec().index], Slot::Absent) => Owner::Nobody,
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

    /// Removes all but the identity, which no `clear` of another request takes away.
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
    pub(crate) fn settle(&mut self, format: Format) -> Result<()> {
        if !self.slots.iter().any(|slot| matches!(slot, Slot::Set(_))) {
            return Ok(());
        }
        for (slot, field) in Arc::make_mut(&mut self.slots).iter_mut().zip(self.schema.fields()) {
            if let Slot::Set(value) = slot {
                // Undeclared keys are JSON values: whoever declares them one day reads them as such.
                let format = if field.spec().extra { Format::Json } else { format };
                let encoded = field.encode_to_keep(value, format).0;
                let mut raw = encoded.map_err(|reason| self.schema.unencodable(*field, reason))?;
                if field.spec().extra {
                    raw = Raw::Fields(kept_raw(self.schema.extra_keys(*field, &raw)?, self.extra_before.as_deref()));
                }
                let seen = OnceLock::from(Some(value.clone()));
                *slot = Slot::Stored { raw, under: field.spec().stored, seen };
            }
        }
        Ok(())
    }

    /// The payload of settled values.
    pub(crate) fn payload(&self, format: Format) -> Bytes {
        let extra = self.extra_fields();
        let own = self.own.fields(format);
        let declared = self.slots.iter().zip(self.schema.fields()).filter_map(|(slot, field)| match slot {
            Slot::Stored { raw, under, .. } if !field.spec().extra => Some((*under, raw)),
            _ => None,
        });
        let others = self.rest.iter().chain(extra).map(|(name, raw)| (name.as_str(), raw));
        codec::join(declared.chain(others).chain(own.iter().map(|(name, raw)| (*name, raw))), format)
    }

    fn extra_fields(&self) -> &[(String, Raw)] {
        match self.schema.extra().map(|index| &self.slots[index]) {
            Some(Slot::Stored { raw: Raw::Fields(fields), .. }) => fields,
            _ => &[],
        }
    }

    /// At least as many bytes as the payload of settled values takes; cheaper to tell.
    pub(crate) fn size_at_most(&self) -> usize {
        let entry = |name: &str, raw: &Raw| codec::name_at_most(name) + raw.size_at_most();
        let slots = self
            .slots
            .iter()
            .map(|slot| if let Slot::Stored { raw, under, .. } = slot { entry(under, raw) } else { 0 });
        let rest = self.rest.iter().map(|(name, raw)| entry(name, raw));
        slots.chain(rest).sum::<usize>() + FRAME + own::AT_MOST
    }

    /// Whether settled values would be stored just as `other` is.
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
}

/// The keys of an `extra` field, those that were not changed as they were stored before, and those that could not be
/// seen.
fn kept_raw(keys: Fields, before: Option<&[(String, Raw)]>) -> Fields {
    let Some(before) = before else { return keys };
    let old: Vec<(&(String, Raw), Option<Json>)> = before.iter().map(|entry| (entry, entry.1.decode())).collect();
    let unseen = old.iter().filter(|(_, json)| json.is_none()).map(|(entry, _)| (*entry).clone());
    let unseen: Vec<_> = unseen.filter(|(name, _)| keys.iter().all(|(other, _)| other != name)).collect();
    let keep = |(name, raw): (String, Raw)| {
        let json = raw.decode::<Json>();
        let same = old.iter().find(|((other, _), old)| *other == name && old.is_some() && *old == json);
        (name, same.map_or(raw, |((_, raw), _)| raw.clone()))
    };
    keys.iter().cloned().map(keep).chain(unseen).collect()
}

pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED)
}
