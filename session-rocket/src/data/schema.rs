//! The schema of a session type: its fields in the order of their declaration.

use std::fmt;
use std::sync::OnceLock;

use crate::base::error::{Error, ErrorKind, Result};
use crate::data::codec::Raw;
use crate::data::faithful::Unencodable;
use crate::data::field::{AnyField, Value};

/// Stored names that start with this character are reserved for the library.
const RESERVED: char = '_';

/// The fields of a session type.
pub struct Schema {
    type_name: &'static str,
    fields: &'static [&'static dyn AnyField],
    /// The index of the identity field, cached by the first lookup.
    identity: OnceLock<Option<usize>>,
}

impl Schema {
    /// Creates the schema of a session type.
    pub const fn new(type_name: &'static str, fields: &'static [&'static dyn AnyField]) -> Self {
        Self { type_name, fields, identity: OnceLock::new() }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        self.type_name
    }

    pub(crate) fn fields(&self) -> &'static [&'static dyn AnyField] {
        self.fields
    }

    /// Returns the index of the field whose stored name or alias is `name`, and that name. Tries the index `hint` first.
    pub(crate) fn find(&self, name: &str, hint: usize) -> Option<(usize, &'static str)> {
        if let Some(field) = self.fields.get(hint).filter(|field| field.spec().stored == name && !field.spec().extra) {
            return Some((hint, field.spec().stored));
        }
        self.fields.iter().enumerate().filter(|(_, field)| !field.spec().extra).find_map(|(index, field)| {
            let spec = field.spec();
            let names = std::iter::once(&spec.stored).chain(spec.aliases);
            names.copied().find(|known| *known == name).map(|known| (index, known))
        })
    }

    pub(crate) fn declares(&self, name: &str) -> bool {
        self.find(name, 0).is_some()
    }

    pub(crate) fn extra(&self) -> Option<usize> {
        self.fields.iter().position(|field| field.spec().extra)
    }

    /// Whether the stored key `name` belongs in the `extra` field, which holds the keys that no field declares.
    pub(crate) fn is_extra(&self, name: &str) -> bool {
        !is_reserved(name) && !self.declares(name)
    }

    pub(crate) fn identity(&self) -> Option<&'static dyn AnyField> {
        let index = self.identity.get_or_init(|| self.fields.iter().position(|field| field.spec().identity));
        index.map(|index| self.fields[index])
    }

    /// Decodes a stored value. If the value does not decode, logs a warning once per field, without the value.
    pub(crate) fn decode(&self, field: &dyn AnyField, raw: &Raw) -> Option<Value> {
        let decoded = field.decode(raw);
        if decoded.is_none() && field.spec().first_undecodable() {
            log::warn!(
                target: "session_rocket",
                "a stored value of `{}.{}` cannot be decoded: the field reads as if no value is stored, and the stored value \
                 is kept until it is overwritten",
                self.type_name, field.spec().name,
            );
        }
        decoded
    }

    pub(crate) fn unencodable(&self, field: &dyn AnyField, reason: Unencodable) -> Error {
        let context = format!("cannot encode field `{}` of session type `{}`", field.spec().name, self.type_name);
        Error::with_source(ErrorKind::Encode, context, reason)
    }

    /// Returns the entries of the encoded value of an `extra` field.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] if an entry has a reserved name or the name of another field. Such an entry would not read
    /// back as an entry of the `extra` field.
    pub(crate) fn extra_entries(&self, field: &dyn AnyField, raw: &Raw) -> Result<Vec<(String, Raw)>> {
        let entries = raw.entries().unwrap_or_default();
        if entries.iter().all(|(name, _)| self.is_extra(name)) {
            return Ok(entries);
        }
        let name = field.spec().name;
        let context = format!(
            "field `{name}` of session type `{}` contains a key that is declared as a field or starts with `_`: use another \
             key",
            self.type_name
        );
        Err(Error::new(ErrorKind::Encode, context))
    }
}

pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED)
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.fields.iter().map(|field| field.spec().name);
        write!(f, "{} ", self.type_name)?;
        f.debug_set().entries(names).finish()
    }
}
