//! What a session type is: the fields that the derive found, in order.

use std::fmt;
use std::sync::OnceLock;

use crate::base::error::{Error, ErrorKind, Result};
use crate::data::codec::Raw;
use crate::data::faithful::Unencodable;
use crate::data::field::{AnyField, Value};

/// Stored names that start so are the library's own.
const RESERVED: char = '_';

/// The fields of a session type, in the order they are declared.
pub struct Schema {
    type_name: &'static str,
    fields: &'static [&'static dyn AnyField],
    /// The index of the identity field, once it was looked up.
    identity: OnceLock<Option<usize>>,
}

impl Schema {
    /// The schema of a type.
    pub const fn new(type_name: &'static str, fields: &'static [&'static dyn AnyField]) -> Self {
        Self { type_name, fields, identity: OnceLock::new() }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        self.type_name
    }

    pub(crate) fn fields(&self) -> &'static [&'static dyn AnyField] {
        self.fields
    }

    /// The index of the field that is stored under `name`, and that name. `hint` is the index to try first.
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

    /// The index of the `extra` field.
    pub(crate) fn extra(&self) -> Option<usize> {
        self.fields.iter().position(|field| field.spec().extra)
    }

    /// Whether `name` belongs in the `extra` field.
    pub(crate) fn is_extra(&self, name: &str) -> bool {
        !is_reserved(name) && !self.declares(name)
    }

    pub(crate) fn identity(&self) -> Option<&'static dyn AnyField> {
        let index = self.identity.get_or_init(|| self.fields.iter().position(|field| field.spec().identity));
        index.map(|index| self.fields[index])
    }

    /// Decodes a stored value. If a value of a field does not decode, logs it once, without the value.
    pub(crate) fn decode(&self, field: &dyn AnyField, raw: &Raw) -> Option<Value> {
        let decoded = field.decode(raw);
        if decoded.is_none() && field.spec().first_undecodable() {
            log::warn!(
                target: "session_rocket",
                "a stored value of `{}.{}` does not decode: it reads as absent and is kept as it is until overwritten",
                self.type_name, field.spec().name,
            );
        }
        decoded
    }

    pub(crate) fn unencodable(&self, field: &dyn AnyField, reason: Unencodable) -> Error {
        let context = format!("field `{}` of session type `{}` does not encode", field.spec().name, self.type_name);
        Error::with_source(ErrorKind::Encode, context, reason)
    }

    /// The entries of the encoded value of an `extra` field.
    ///
    /// # Errors
    /// When one of them would be taken for another field's when it is read back.
    pub(crate) fn extra_entries(&self, field: &dyn AnyField, raw: &Raw) -> Result<Vec<(String, Raw)>> {
        let entries = raw.entries().unwrap_or_default();
        if entries.iter().all(|(name, _)| self.is_extra(name)) {
            return Ok(entries);
        }
        let name = field.spec().name;
        let context = format!(
            "field `{name}` of session type `{}` holds a key that is declared as a field or starts with `_`",
            self.type_name
        );
        Err(Error::new(ErrorKind::Encode, context))
    }
}

/// Whether a stored name is the library's own.
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
